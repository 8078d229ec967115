"""Waits that can never end: a blocked task keeps what the one that it waits for needs.

CPUs are lent while a task waits, so only other resources can do this, and the turn at an actor that runs one call at a
time. The check plays the rest of the session forward as favourably as possible: whatever runs ends, whatever fits
starts and ends, and an actor whose calls all end may go.
A blocked task that even then never gets its answer is stuck for certain; one that might get it is left alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from jupyter_ray.ids import task_of
from jupyter_ray.local.protocol.messages import Payload
from jupyter_ray.local.scheduler import errors
from jupyter_ray.local.scheduler.records import ActorRecord, RequestRecord, State, TaskRecord
from jupyter_ray.local.scheduler.states import ActorState, GroupState, TaskState
from jupyter_ray.resources import CPU, Demand, describe

CIRCLE_LIMIT = 64
"""So far is a circle of calls followed, each time a task begins to wait."""
CHECK_LIMIT = 20_000
"""With more tasks than this the check would cost too much; such a session is not stuck, it is busy."""


_GO_ON = (TaskState.RUNNING, TaskState.RESUMING)
"""What is in these states waits for nothing."""


def is_possible(state: State) -> bool:
    """Tell whether a blocked task keeps anything, and another waits for more than CPUs."""
    for task in [each for each in state.keepers if each.state is not TaskState.BLOCKED]:
        del state.keepers[task]
    return bool(state.keepers) and any(queue.tasks and queue.demand.keys() - {CPU} for queue in state.order)


def break_deadlock(state: State) -> tuple[RequestRecord, Payload] | None:
    """Return a request that will never be answered, and the error to answer it with; None if there is none."""
    if len(state.tasks) > CHECK_LIMIT:
        return None
    waits: dict[TaskRecord, list[RequestRecord]] = {}
    for client in state.clients.values():
        for request in client.requests.values():
            if request.task is not None and not request.done:
                waits.setdefault(request.task, []).append(request)
    ended = _play(state, waits)
    stuck = [task for task in waits if task not in ended and task.state is TaskState.BLOCKED]
    if not stuck:
        return None
    closing = max(stuck, key=lambda task: task.depth)
    never = next(request for request in waits[closing] if not _can_answer(state, request, ended))
    return never, errors.deadlock(_story(state, stuck, closing, ended, waits))


def _play(state: State, waits: dict[TaskRecord, list[RequestRecord]]) -> set[TaskRecord]:
    """Return the tasks that can end."""
    free = dict(state.ledger.free)
    for group in state.groups.values():
        for bundle in group.bundles if group.state is GroupState.CREATED else ():
            _add(free, bundle.free)  # Somebody may remove the group.
    ended: set[TaskRecord] = set()
    gone: set[ActorRecord] = set()
    left = list(state.tasks.values())
    while True:
        rest = [task for task in left if not _can_end(state, task, free, ended, waits)]
        for task in set(left).difference(rest):
            ended.add(task)
            if task.allocation is not None and task.actor is None:
                _add(free, task.allocation.held)
        for actor in state.actors.values():
            if actor not in gone and actor.allocation is not None and all(c in ended for c in actor.calls.values()):
                gone.add(actor)
                _add(free, actor.allocation.held)
        if len(rest) == len(left):
            return ended
        left = rest


def _can_end(
    state: State,
    task: TaskRecord,
    free: Demand,
    ended: set[TaskRecord],
    waits: dict[TaskRecord, list[RequestRecord]],
) -> bool:
    if task.state is TaskState.BLOCKED:
        return all(_can_answer(state, request, ended) for request in waits.get(task, []))
    if task.state is TaskState.ASSIGNED:
        return all(call in ended for call in _ahead(task))
    if task.state not in (TaskState.WAITING, TaskState.READY):
        return True
    if not all(_comes(state, dependency, ended) for dependency in task.spec.dependencies):
        return False
    actor = task.actor
    if task.spec.kind == "method":
        assert actor is not None
        creation = state.tasks.get(actor.spec.creation.task)
        if actor.state is not ActorState.ALIVE and creation is not None and creation not in ended:
            return False
        return all(call in ended for call in _ahead(task))
    return all(free.get(name, 0) >= parts for name, parts in task.spec.demand.items())


def _ahead(task: TaskRecord) -> Iterator[TaskRecord]:
    """Yield the calls that a call of an actor waits for, where one runs at a time."""
    actor = task.actor
    if actor is None or actor.concurrency > 1 or task.spec.kind != "method":
        return iter(())
    return itertools.takewhile(lambda call: call is not task, actor.handed.values())


def closes_circle(state: State, blocked: TaskRecord, request: RequestRecord) -> bool:
    """Tell whether a task begins to wait for what waits for itself, perhaps behind it at its actor."""
    if request.expires:
        return False
    seen: set[TaskRecord] = set()
    awaited = request.ids
    queue: list[TaskRecord] = []
    while True:
        makers = (state.tasks.get(task_of(each)) for each in awaited[:CIRCLE_LIMIT])
        queue += [maker for maker in makers if maker is not None and maker.state not in _GO_ON]
        if not queue or len(seen) > CIRCLE_LIMIT:
            return False
        task = queue.pop()
        if task is blocked:
            return True
        awaited = []
        if task in seen:
            continue
        seen.add(task)
        queue += itertools.islice(_ahead(task), 1)  # What is between waits for the first one too.
        if task.actor is not None and task.actor.state is not ActorState.ALIVE:
            creation = state.tasks.get(task.actor.spec.creation.task)
            queue += [creation] if creation is not None else []
        if task.state is TaskState.WAITING:
            awaited = task.spec.dependencies
        elif task.state is TaskState.BLOCKED and task.worker is not None:
            others = open_requests(state, task)
            awaited = [each for other in others if not other.expires for each in other.ids]


def open_requests(state: State, task: TaskRecord) -> list[RequestRecord]:
    """Return what the threads of a task wait for."""
    client = state.clients.get(task.worker.id) if task.worker is not None else None
    return [] if client is None else [each for each in client.requests.values() if each.task is task]


def _comes(state: State, object_id: bytes, ended: set[TaskRecord]) -> bool:
    record = state.objects.get(object_id)
    if record is None or record.payload is not None:
        return True
    maker = state.tasks.get(task_of(object_id))
    return maker is None or maker in ended


def _can_answer(state: State, request: RequestRecord, ended: set[TaskRecord]) -> bool:
    if request.expires or request.kind in ("room", "read"):
        return True
    missing = sum(1 for each in request.ids if not _comes(state, each, ended))
    return missing == 0 if request.kind == "get" else len(request.ids) - missing >= request.count


def _add(free: Demand, held: Demand) -> None:
    for name, parts in held.items():
        free[name] = free.get(name, 0) + parts


def _held(task: TaskRecord) -> Demand:
    owner = task.actor if task.actor is not None else task
    return owner.allocation.held if owner.allocation is not None else {}


def _story(
    state: State,
    stuck: list[TaskRecord],
    closing: TaskRecord,
    ended: set[TaskRecord],
    waits: dict[TaskRecord, list[RequestRecord]],
) -> str:
    short: set[str] = set()
    lines = ["This get() would never return: tasks keep what the tasks that they wait for need."]
    for task in sorted(stuck, key=lambda each: each.depth):
        for request in waits[task]:
            for object_id in request.ids:
                maker = state.tasks.get(task_of(object_id))
                if maker is None or maker in ended:
                    continue
                held = _held(task)
                holds = f" holds {describe(held)} and" if held else ""
                line = f"  {_name(task)}{holds} waits for {_name(maker)}"
                if maker.state is TaskState.READY and maker.spec.kind != "method":
                    line += f", which needs {describe(maker.spec.demand)}"
                elif maker.actor is not None and (ahead := next(_ahead(maker), None)):
                    line += f", whose turn at the actor {maker.actor.label} comes after that of {_name(ahead)}"
                lines.append(line + ".")
                if maker.state is TaskState.READY and maker.spec.kind != "method":
                    short.update(maker.spec.demand)
    if not short:
        lines.append("Return the reference instead of waiting for it, or let the actor run several calls at once:")
        lines.append("max_concurrency=2, or methods that are 'async def' and await the reference.")
        return "\n".join(lines[:40])
    total = {name: parts for name, parts in state.ledger.total.items() if name in short}
    free = {name: parts for name, parts in state.ledger.free.items() if name in short}
    lines.append(f"  The machine has {describe(total)} in all; free now: {describe(free)}.")
    lines.append("Let one of them ask for less, or return the reference instead of waiting for it.")
    return "\n".join(lines[:40])


def _name(task: TaskRecord) -> str:
    return f"{task.spec.name} ({task.id.hex()[:8]})"
