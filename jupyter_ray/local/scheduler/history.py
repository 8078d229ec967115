"""What is remembered of tasks that have ended, for those who ask afterwards."""

from __future__ import annotations

from jupyter_ray.local.scheduler.records import TaskDigest, TaskRecord, TaskState
from jupyter_ray.local.scheduler.step import Step

KEPT = 10_000
"""So many ended tasks are remembered; the oldest go first."""


def remember(step: Step, task: TaskRecord, error: str, *, raised: bool) -> None:
    """Note a task that has come into its last state.

    Parameters
    ----------
    error
        One line, if it failed.
    raised
        Its code ran to an end; else it was ended.
    """
    kept = step.state.history
    kept[task.id] = digest(task, step.now, error, _error_type(task, raised))
    if len(kept) > KEPT:
        kept.popitem(last=False)


def digest(task: TaskRecord, ended: float = 0.0, error: str = "", error_type: str = "") -> TaskDigest:
    """Return what is told of a task."""
    spec, worker = task.spec, task.worker
    return TaskDigest(
        spec.task,
        spec.kind,
        spec.name,
        task.actor.spec.class_name if task.actor is not None else "",
        spec.definition,
        spec.actor,
        spec.parent,
        spec.demand,
        spec.site,
        spec.group,
        task.attempt,
        task.made,
        task.begun,
        ended,
        task.state,
        None if worker is None else worker.id,
        0 if worker is None else worker.pid,
        error,
        error_type,
    )


def _error_type(task: TaskRecord, raised: bool) -> str:
    """Return Ray's word for why a task failed; empty if it did not."""
    if task.state is TaskState.FINISHED:
        return ""
    if task.state is TaskState.CANCELLED:
        return "TASK_CANCELLED"
    if raised or not task.begun:  # An argument that is an error counts as the task's own, as in Ray.
        return "TASK_EXECUTION_EXCEPTION"
    return "WORKER_DIED" if task.spec.kind == "task" else "ACTOR_DIED"
