"""Which workers go first when memory runs out: those whose end costs least, in Ray's order."""

from __future__ import annotations

from jupyter_ray.local.scheduler.records import WorkerRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import WorkerState


def expendable(state: State) -> list[WorkerRecord]:
    """Return the workers: idle ones, then those whose work may be tried again, then the others; the newest first."""
    return sorted((each for each in state.workers.values() if _may_end(each)), key=_loss)


def _may_end(worker: WorkerRecord) -> bool:
    if worker.doomed or not worker.pid:
        return False
    return worker.state is WorkerState.IDLE or worker.actor is not None or bool(worker.tasks)


def _loss(worker: WorkerRecord) -> tuple[int, float]:
    if worker.actor is not None:
        return 1 if worker.actor.spec.max_restarts else 2, -worker.given
    task = next(iter(worker.tasks.values()), None)
    if task is None:
        return 0, -worker.idle_since
    return 1 if task.spec.max_retries else 2, -task.begun
