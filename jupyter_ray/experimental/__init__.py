"""Ray's ``ray.experimental``: of it, the progress bars (``tqdm_ray``)."""
