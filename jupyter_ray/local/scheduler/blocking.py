"""A task that waits: it lends its CPUs, and goes on when it holds them again.

These are transitions, of `transitions.TABLE`; but for `tick` and `detach`.

A stream that waits for its reader keeps its CPUs as long as nobody needs them.

A task with threads may wait with one of them and go on with another. It lends its CPUs when a thread begins to wait,
and has them back when a call of one returns. Whether that thread still does something cannot be seen: where calls wait
for their turn meanwhile, perhaps those that the other thread waits for, it lends them again after a moment.
"""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_ray.events import TaskBlocked, TaskUnblocked
from jupyter_ray.local.scheduler import deadlock, requests
from jupyter_ray.local.scheduler.records import RequestRecord, TaskRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import TaskState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.resources import CPU, amounts

WAITS_SHOWN = 100
LOOK_SECONDS = 0.5
"""So often it is looked whether a task that keeps something waits for ever, for others that wait in their turn."""
AGAIN_SECONDS = 0.2
"""So long after a call of one thread has returned, a task lends its CPUs again, for another thread that waits."""


def blocked(step: Step, task: TaskRecord, request: RequestRecord) -> None:
    """A plain task, or a constructor, lends its CPUs while it waits; GPUs and all else stay. So says Ray."""
    task.blocking += 1
    _lend(step, task, request.ids)
    if deadlock.closes_circle(step.state, task, request):
        step.suspect = True


def _lend(step: Step, task: TaskRecord, awaited: list[bytes]) -> None:
    task.state = TaskState.BLOCKED
    task.since = step.now
    allocation = task.allocation
    if allocation is not None and not task.lent and (cpus := allocation.held.get(CPU)):
        task.lent = {CPU: cpus}
        allocation.lend(task.lent)
    step.place = True  # Whether it lends or not: its process does not count against the bound any more.
    kept = task.actor.allocation if task.actor is not None else allocation
    if kept is not None and kept.held:
        step.state.keepers[task] = None
        step.suspect = True
    elif step.state.recovering:
        step.suspect = True
    step.events.append(
        TaskBlocked(
            seq=step.number(),
            at=step.now,
            task=task.hex,
            waits_for=[each.hex() for each in awaited[:WAITS_SHOWN]],
            lent=amounts(task.lent or {}),
        )
    )


def blocked_again(step: Step, task: TaskRecord, request: RequestRecord) -> None:
    """Another thread of the task waits too."""
    task.blocking += 1
    if deadlock.closes_circle(step.state, task, request):
        step.suspect = True


def paused(step: Step, task: TaskRecord, request: RequestRecord) -> None:
    """A stream waits for its reader. It keeps its CPUs while nobody else needs them: one that is read costs nothing."""
    task.blocking += 1
    if step.state.resuming:
        _make_way(step)


def _make_way(step: Step) -> None:
    """Have streams that wait for their readers lend their CPUs: one that has what it waited for may be a reader."""
    for request in step.state.resuming:
        task = request.task
        if task is None or not task.lent or task.allocation is None:
            continue
        for stream in list(halfway(step.state)):
            if task.allocation.ledger.fits(task.lent):
                break
            if any(each.kind == "read" for each in deadlock.open_requests(step.state, stream)):
                _lend(step, stream, [])


def satisfied(step: Step, task: TaskRecord, request: RequestRecord) -> None:
    """What it waited for is there; it still needs the CPUs that it lent."""
    if task.lent:
        task.state = TaskState.RESUMING
        task.since = step.now
        step.state.resuming.append(request)
        step.place = True
        _make_way(step)
    else:
        resumed(step, task, request)


def resumed(step: Step, task: TaskRecord, request: RequestRecord) -> None:
    """It has all that it needs: the answer goes out."""
    task.blocking -= 1
    if task.state is not TaskState.RUNNING:
        task.state = TaskState.RUNNING
        task.since = step.now
        step.events.append(TaskUnblocked(seq=step.number(), at=step.now, task=task.hex))
    requests.reply(step, request)


def abandoned(step: Step, task: TaskRecord, request: RequestRecord) -> None:
    """The task stopped waiting by itself: it was interrupted, and its thread runs already."""
    task.blocking -= 1
    if task.blocking > 0 or task.state is TaskState.RUNNING:
        return
    if task.lent and task.allocation is not None and task.allocation.reclaim(task.lent):
        task.lent = None
    task.state = TaskState.RUNNING
    step.events.append(TaskUnblocked(seq=step.number(), at=step.now, task=task.hex))


def detach(state: State, task: TaskRecord) -> None:
    """The task is tried again: what threads of this attempt still wait for is no wait of the next one."""
    if task.blocking and task.worker is not None and task.worker.id in state.clients:
        for request in deadlock.open_requests(state, task):
            request.task = None
        task.blocking = 0


def halfway(state: State) -> Iterator[TaskRecord]:
    """Yield what waits and holds its CPUs, if a call waits for its turn: streams, tasks of which a thread goes on."""
    if not state.resuming and not any(queue.tasks for queue in state.order):
        return
    for worker in state.workers.values():
        first = next(iter(worker.tasks.values()), None)
        if first is not None and first.blocking and first.state is TaskState.RUNNING and first.allocation is not None:
            yield first


def tick(step: Step) -> None:
    """Lend the CPUs again of the tasks that have been halfway for a moment; look whether anybody waits for ever."""
    possible = step.state.vain or deadlock.is_possible(step.state)
    if possible and step.now - step.state.looked >= LOOK_SECONDS:
        step.state.looked = step.now
        step.suspect = True
    for task in list(halfway(step.state)):
        if step.now - task.since >= AGAIN_SECONDS:
            _lend(step, task, [each for request in deadlock.open_requests(step.state, task) for each in request.ids])
