"""Waits for what only the end of an actor or of a placement group would give back, or of the task that awaits it.

Tasks end, and what they hold comes back; actors and placement groups keep theirs while they live. Somebody who holds
their handles and waits for what cannot start beside them may wait for ever, so it has to be said. It is no error: the
handles may go at any time. A task that awaits a result in an event loop, or waits for its future, keeps its CPUs: it
may be doing something else meanwhile.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Hashable

from jupyter_ray.ids import task_of
from jupyter_ray.local.scheduler.deadlock import AWAIT_SECONDS, CIRCLE_LIMIT, awaiter, of_drivers
from jupyter_ray.local.scheduler.outlook import obstacle, total
from jupyter_ray.local.scheduler.records import ActorRecord, RequestRecord, TaskRecord, WorkerRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import TaskState, WorkerState
from jupyter_ray.local.scheduler.stories import AWAITED
from jupyter_ray.local.scheduler.why import waits_for
from jupyter_ray.resources import Demand

TOLD_SECONDS = 5.0
"""For so long, an actor may just be about to end."""
CLOSELY_SECONDS = 1.0, 8.0
"""So often it is looked closely whether something is awaited in vain: at first, and where it was not."""


def awaited_in_vain(state: State, now: float) -> bool:
    """Tell whether something has been awaited for so long that it may never come: a deadlock is to be looked for."""
    old = [*itertools.takewhile(lambda request: request.since <= now - AWAIT_SECONDS, state.awaiting)]
    tasks = {task for task in map(awaiter, old) if task is not None}
    waiting = {task.worker for task in tasks}
    if not waiting and not any(of_drivers(state, now)):
        return False
    if any(_is_full(actor, tasks) for actor in state.actors.values()):
        return True  # Perhaps its calls wait for one that has no room.
    if starved(state, now, AWAIT_SECONDS, waiting):
        return True
    pending = [group for group in state.pending_groups if now - group.made >= AWAIT_SECONDS]
    if any(obstacle(state, group) for group in pending):
        return True
    groups = [total(group) for group in pending]
    coming = _coming(state, waiting) if groups else {}
    return any(coming.get(name, 0) < parts for demand in groups for name, parts in demand.items())


def _is_full(actor: ActorRecord, waiting: Container[TaskRecord]) -> bool:
    """Tell whether calls wait for room at an actor, and all that have begun wait for something."""
    if len(actor.calls) <= actor.concurrency or actor.spec.concurrency_groups or not actor.handed:
        return False
    begun = (call for call in actor.handed.values() if call.id not in actor.ahead)
    return all(call.state is TaskState.BLOCKED or call in waiting for call in begun)


def starved(
    state: State, now: float, seconds: float = TOLD_SECONDS, waiting: Container[WorkerRecord | None] = ()
) -> dict[Hashable, TaskRecord]:
    """Return the first of each class of tasks that has waited for so long for what nothing gives back of itself.

    That is: what runs gives it back, but for actors, and for what runs on workers that are `waiting`.
    """
    old: dict[Hashable, tuple[TaskRecord, Demand]] = {}
    for queue in state.order:
        first = next((task for task in queue.tasks if task.state is TaskState.READY), None)
        if first is not None and queue.group is None and now - first.since >= seconds:
            old[queue.key] = first, queue.demand
    if not old:
        return {}
    coming = _coming(state, waiting)
    return {
        key: task
        for key, (task, demand) in old.items()
        if any(coming.get(name, 0) < parts for name, parts in demand.items())
    }


def _coming(state: State, waiting: Container[WorkerRecord | None]) -> Demand:
    """Return what is free when all tasks have ended that run now, but for those of workers that are `waiting`."""
    coming = dict(state.ledger.free)
    workers = [worker for worker in state.workers.values() if worker not in waiting]
    on_workers = [task for worker in workers for task in worker.tasks.values()]  # A queue may be long.
    allocations = [task.allocation for task in on_workers if task.actor is None and not _awaits(state, task.worker)]
    leases = [lease for lease in state.leases.values() if lease.worker not in waiting]
    allocations += [lease.allocation for lease in leases if not _awaits(state, lease.worker)]
    allocations += [actor.allocation for actor in state.actors.values() if actor.leaving]
    allocations += [allocation for kept in state.ending.values() for allocation in kept]
    for allocation in allocations:
        if allocation is not None and allocation.ledger is state.ledger:
            for name, parts in allocation.held.items():
                coming[name] = coming.get(name, 0) + parts
    return coming


def _awaits(state: State, worker: WorkerRecord | None) -> bool:
    """Tell whether a worker waits for a task that has not begun, and lends nothing meanwhile."""
    client = None if worker is None else state.clients.get(worker.id)
    for request in () if client is None else client.requests.values():
        if request.task is None:
            makers = (state.tasks.get(task_of(each)) for each in request.ids)
            if any(maker and maker.state is TaskState.READY and maker.spec.kind == "task" for maker in makers):
                return True
    return False


def _wait_of_its_driver(state: State, task: TaskRecord) -> float:
    """Return since when the driver that has made a task waits for something that has not begun; 0: it does not."""
    requests = task.client.requests.values() if task.client.is_driver else ()
    return max(
        (request.since for request in requests if not request.done and _has_not_begun(state, request)), default=0.0
    )


def _has_not_begun(state: State, request: RequestRecord) -> bool:
    makers = (state.tasks.get(task_of(each)) for each in request.ids[:CIRCLE_LIMIT])
    return any(maker is not None and maker.state in (TaskState.WAITING, TaskState.READY) for maker in makers)


class Starved:
    """Which classes of tasks people have heard of."""

    def __init__(self) -> None:
        self._told: dict[Hashable, float] = {}
        """And when."""
        self._due = 0.0
        self._pause = 0.0

    def suspects(self, state: State, now: float) -> bool:
        """Tell whether something may be awaited in vain; not more often than it is worth to look closely."""
        if not awaited_in_vain(state, now):
            self._pause = 0.0
            return False
        if self._pause and now < self._due:
            return False
        at_first, at_last = CLOSELY_SECONDS
        self._pause = min(2 * self._pause, at_last) or at_first
        self._due = now + self._pause
        return True

    def to_tell(self, state: State, now: float) -> list[tuple[TaskRecord, str, str | None]]:
        """Return those that people have not heard of, what to tell them, and in which cell; None: in that which runs.

        They hear of it once, and again when they wait for such a call nonetheless: it may be another cell that does.
        """
        found = starved(state, now)
        waits = {key: _wait_of_its_driver(state, task) for key, task in found.items()}
        news = [
            (key, task)
            for key, task in found.items()
            if key not in self._told or self._told[key] < waits[key] <= now - TOLD_SECONDS
        ]
        self._told = {key: self._told.get(key, now) for key in found} | {key: now for key, _ in news}
        awaited = any(_awaits(state, worker) for worker in state.workers.values())
        remedy = f"{AWAITED} {_REMEDY}" if awaited else _REMEDY
        return [
            (task, f"{waits_for(state, task, now)} {remedy}\n", None if waits[key] else task.spec.cell)
            for key, task in news
        ]

    def __repr__(self) -> str:
        return f"<Starved: {len(self._told)} classes told>"


_REMEDY = (
    "Actors and placement groups keep what they hold while they live: let go of one, or kill it; let them ask for less "
    "(num_cpus=0 for an actor that mostly waits); or declare more in init()."
)


def stuck(state: State, then: float = math.inf) -> bool:
    """Tell whether calls have waited since `then`, and no task runs that could make room: actors have it all."""
    waiting = (queue.tasks[0] for queue in state.order if queue.tasks)
    return any(task.state is TaskState.READY and task.since <= then for task in waiting) and not any(
        worker.state is WorkerState.BUSY for worker in state.workers.values()
    )
