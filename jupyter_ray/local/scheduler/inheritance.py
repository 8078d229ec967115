"""A task leaves its pooled worker: the next one there inherits what it held, or the worker ends or is free."""

from __future__ import annotations

from jupyter_ray.local.scheduler import endings, placement
from jupyter_ray.local.scheduler.ledger import Allocation
from jupyter_ray.local.scheduler.records import TaskRecord, WorkerRecord
from jupyter_ray.local.scheduler.states import WorkerState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.resources import GPU, Demand

BUSY = WorkerState.BUSY


def leave_worker(step: Step, task: TaskRecord, *, leaving: str = "") -> None:
    """Take a task off its pooled worker; the next one that the worker has inherits the resources.

    `leaving`: why the process ends, if it does.
    """
    worker = task.worker
    allocation, task.allocation = task.allocation, None
    if worker is None:
        if allocation is not None:
            allocation.release()
            step.place = True
        return
    first = next(iter(worker.tasks), None) == task.id
    worker.tasks.pop(task.id, None)
    if not first:
        return
    worker.runs += 1
    used_gpu = allocation is not None and GPU in allocation.held
    lent, task.lent = task.lent, None
    successor = next(iter(worker.tasks.values()), None)
    if successor is not None and worker.state is BUSY and not leaving:
        _inherit(step, successor, worker, allocation, lent)
        return
    ends = leaving or used_gpu or worker.state is not BUSY
    if allocation is not None:
        # A process that has not begun has used nothing.
        endings.give_back(step.state, allocation, worker if ends and worker.state is not WorkerState.STARTING else None)
    step.place = True
    if worker.state is not BUSY:
        return
    if ends:
        for other in reversed(list(worker.tasks.values())):
            step.agenda.append((other, "returned", None))
        placement.stop_worker(step, worker, kill=False, reason=leaving or "it used a GPU")
    else:
        placement.worker_free(step, worker)


def _inherit(
    step: Step, task: TaskRecord, worker: WorkerRecord, allocation: Allocation | None, lent: Demand | None
) -> None:
    """Have a task that was handed over in advance begin, with what the one before it held and did not lend."""
    if lent and allocation is not None:
        allocation.release()
        # The worker begins it whatever there is; what was lent may be somebody else's by now.
        allocation = allocation.ledger.acquire(task.spec.demand) or Allocation(allocation.ledger, {})
    task.allocation = allocation
    placement.begin(step, task)
    if lent or placement.wants_more(worker):
        step.place = True
