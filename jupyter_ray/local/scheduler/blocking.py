"""A task that waits: it lends its CPUs, and goes on when it holds them again.

These are transitions, of `transitions.TABLE`.
"""

from __future__ import annotations

from jupyter_ray.events import TaskBlocked, TaskUnblocked
from jupyter_ray.local.scheduler import deadlock, requests
from jupyter_ray.local.scheduler.records import RequestRecord, TaskRecord
from jupyter_ray.local.scheduler.states import TaskState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.resources import CPU, amounts

WAITS_SHOWN = 100


def blocked(step: Step, task: TaskRecord, request: RequestRecord) -> None:
    """A plain task, or a constructor, lends its CPUs while it waits; GPUs and all else stay. So says Ray."""
    task.state = TaskState.BLOCKED
    task.since = step.now
    task.blocking += 1
    allocation = task.allocation
    if allocation is not None and not task.lent and (cpus := allocation.held.get(CPU)):
        task.lent = {CPU: cpus}
        allocation.lend(task.lent)
        step.place = True
    kept = task.actor.allocation if task.actor is not None else allocation
    if (kept is not None and kept.held) or step.state.recovering or deadlock.closes_circle(step.state, task, request):
        step.suspect = True
    step.events.append(
        TaskBlocked(
            seq=step.number(),
            at=step.now,
            task=task.id.hex(),
            waits_for=[each.hex() for each in request.ids[:WAITS_SHOWN]],
            lent=amounts(task.lent or {}),
        )
    )


def blocked_again(step: Step, task: TaskRecord, request: RequestRecord) -> None:
    """Another thread of the task waits too."""
    task.blocking += 1


def satisfied(step: Step, task: TaskRecord, request: RequestRecord) -> None:
    """What it waited for is there; it still needs the CPUs that it lent."""
    if task.lent:
        task.state = TaskState.RESUMING
        task.since = step.now
        step.state.resuming.append(request)
        step.place = True
    else:
        resumed(step, task, request)


def resumed(step: Step, task: TaskRecord, request: RequestRecord) -> None:
    """It has all that it needs: the answer goes out."""
    task.blocking -= 1
    if task.state is not TaskState.RUNNING:
        task.state = TaskState.RUNNING
        task.since = step.now
        step.events.append(TaskUnblocked(seq=step.number(), at=step.now, task=task.id.hex()))
    requests.reply(step, request)


def abandoned(step: Step, task: TaskRecord, request: RequestRecord) -> None:
    """The task stopped waiting by itself: it was interrupted, and its thread runs already."""
    task.blocking -= 1
    if task.blocking > 0 or task.state is TaskState.RUNNING:
        return
    if task.lent and task.allocation is not None and task.allocation.reclaim(task.lent):
        task.lent = None
    task.state = TaskState.RUNNING
    step.events.append(TaskUnblocked(seq=step.number(), at=step.now, task=task.id.hex()))
