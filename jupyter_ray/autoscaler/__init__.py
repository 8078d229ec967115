"""``ray.autoscaler``: of it, what programs ask of a cluster that grows (`sdk`). One machine does not grow."""
