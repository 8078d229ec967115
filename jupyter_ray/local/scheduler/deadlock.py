"""Waits that can never end: a task that waits keeps what the one that it waits for needs.

CPUs are lent while a task is blocked, so only other resources can do this, and those of actors, and the turn at an
actor that runs one call at a time. The check plays the rest of the session forward as favourably as possible: whatever
runs ends, whatever fits starts and ends, and an actor whose calls all end may go.
A wait that even then never gets its answer is in vain for certain; one that might get it is left alone.

A task that awaits a result in an event loop, or waits for a future of it, is not blocked and lends nothing. It may do
something else meanwhile, or have a time limit of its own, so nothing is said of it for a while. But where the answer
cannot come before its task has ended, it can never come to it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from jupyter_ray.ids import task_of
from jupyter_ray.local.protocol.messages import Payload
from jupyter_ray.local.scheduler import errors
from jupyter_ray.local.scheduler.records import ActorRecord, GroupRecord, RequestRecord, State, TaskRecord
from jupyter_ray.local.scheduler.states import ActorState, GroupState, TaskState
from jupyter_ray.resources import CPU, Demand, describe

CIRCLE_LIMIT = 64
"""So far is a circle of calls followed, each time a task begins to wait."""
CHECK_LIMIT = 20_000
"""With more tasks than this the check would cost too much; such a session is not stuck, it is busy."""
AWAIT_SECONDS = 5.0
"""So long is a wait left alone whose task is not blocked."""
TRIED = 16
"""Of so many waits in vain it is looked whether they close a circle themselves."""
TOLD, TOLD_EACH = 40, 5
"""Of so many the story tells, and of so many of one task."""


_GO_ON = (TaskState.RUNNING, TaskState.RESUMING)
"""What is in these states waits for nothing."""
_Waits = dict[TaskRecord, list[RequestRecord]]


def is_possible(state: State) -> bool:
    """Tell whether a blocked task keeps anything, and another waits for more than CPUs that are lent."""
    for task in [each for each in state.keepers if each.state is not TaskState.BLOCKED]:
        del state.keepers[task]
    if not state.keepers:
        return False
    if state.pending_groups:
        return True
    lent = () if any(task.actor is not None and CPU in _held(task) for task in state.keepers) else {CPU}
    return any(queue.tasks and queue.demand.keys() - lent for queue in state.order)


def break_deadlock(state: State, now: float) -> tuple[list[RequestRecord], Payload] | None:
    """Return requests that will never be answered, and the error to answer them with; None if there are none."""
    if len(state.tasks) > CHECK_LIMIT:
        return None
    waits: _Waits = {}
    for client in state.clients.values():
        for request in client.requests.values():
            if request.task is not None and request.task.state is TaskState.BLOCKED and not request.done:
                waits.setdefault(request.task, []).append(request)
    for request in state.awaiting:
        if request.since > now - AWAIT_SECONDS:
            break
        if (task := awaiter(request)) is not None and not request.done:
            waits.setdefault(task, []).append(request)
    outlook = _Outlook(state, waits)
    vain = [
        (task, request)
        for task, requests in waits.items()
        if task not in outlook.ended
        for request in requests
        if not outlook.answers(request)
    ]
    if not vain:
        return None
    # What is awaited first: if there is no answer before its task ends, there is none for it, whatever else happens.
    vain.sort(key=lambda pair: (pair[1].awaiter is None, -pair[0].depth))
    for task, closing in vain[:TRIED]:
        without = _Outlook(state, waits, given_up=task)
        if without.answers(closing):
            break
    else:
        task, closing = vain[0]
        without = _Outlook(state, waits, given_up=task)
    refused = [closing]
    if closing.awaiter is not None:  # It may await a thousand results, each with a request of its own.
        refused = [request for each, request in vain if each is task and request.awaiter is not None]
    circle = [pair for pair in vain if pair[0] in without.ended]
    return refused, errors.deadlock(_story(state, outlook, circle, closing))


def awaiter(request: RequestRecord) -> TaskRecord | None:
    """Return the task that awaits the answer to a request and is not blocked; None if it does so no more."""
    task = request.awaiter
    if task is None or task.worker is None or task.worker.id != request.client.id:
        return None
    return task if task.id in task.worker.tasks else None


class _Outlook:
    """How the rest of a session may go at best, if the task `given_up` ends."""

    def __init__(self, state: State, waits: _Waits, given_up: TaskRecord | None = None) -> None:
        self._state = state
        self._waits = waits
        self._given_up = given_up
        self._free = dict(state.ledger.free)
        for group in state.groups.values():
            for bundle in group.bundles if group.state is GroupState.CREATED else ():
                _add(self._free, bundle.free)  # Somebody may remove the group.
        self._pending = [group for group in state.pending_groups if _is_possible(state, group)]
        self._groups = {object_id: group for group in self._pending for object_id in group.ready}
        """By the objects that tell that they are reserved; without those that never will be, as all know."""
        self.ended: set[TaskRecord] = set()
        """The tasks that can end."""
        self._play()

    def _play(self) -> None:
        gone: set[ActorRecord] = set()
        left = list(self._state.tasks.values())
        before = -1, 0, 0
        while before != (now := (len(left), len(gone), len(self._pending))):
            before = now
            rest = [task for task in left if not self._can_end(task)]
            for task in set(left).difference(rest):
                self.ended.add(task)
                if task.allocation is not None and task.actor is None:
                    _add(self._free, task.allocation.held)
            for actor in self._state.actors.values():
                if actor in gone or actor.allocation is None:
                    continue
                if all(call in self.ended for call in actor.calls.values()):
                    gone.add(actor)
                    _add(self._free, actor.allocation.held)
            self._pending = [group for group in self._pending if not self._has(total(group))]
            left = rest

    def _has(self, demand: Demand) -> bool:
        return all(self._free.get(name, 0) >= parts for name, parts in demand.items())

    def _can_end(self, task: TaskRecord) -> bool:
        if task is self._given_up:
            return True
        if not all(self.answers(request) for request in self._waits.get(task, ())):
            return False
        if task.state is TaskState.ASSIGNED:
            return all(call in self.ended for call in _ahead(task))
        if task.state not in (TaskState.WAITING, TaskState.READY):
            return True
        if not all(self._comes(dependency) for dependency in task.spec.dependencies):
            return False
        actor = task.actor
        if task.spec.kind == "method":
            assert actor is not None
            creation = self._state.tasks.get(actor.spec.creation.task)
            if actor.state is not ActorState.ALIVE and creation is not None and creation not in self.ended:
                return False
            return all(call in self.ended for call in _ahead(task))
        return self._has(task.spec.demand) and not any(group.id == task.spec.group for group in self._pending)

    def _comes(self, object_id: bytes) -> bool:
        record = self._state.objects.get(object_id)
        if record is None or record.payload is not None:
            return True
        group = self._groups.get(object_id)
        if group is not None:
            return group not in self._pending
        maker = self._state.tasks.get(task_of(object_id))
        return maker is None or maker in self.ended

    def answers(self, request: RequestRecord) -> bool:
        """Tell whether a request can be answered."""
        if request.expires or request.kind in ("room", "read"):
            return True
        missing = len(self.missing(request))
        return missing == 0 if request.kind == "get" else len(request.ids) - missing >= request.count

    def missing(self, request: RequestRecord) -> list[bytes]:
        """Return the objects that it asks for and that do not come."""
        return [each for each in request.ids if not self._comes(each)]

    def group_of(self, object_id: bytes) -> GroupRecord | None:
        """Return the group that is not reserved before this object comes."""
        return self._groups.get(object_id)

    def __repr__(self) -> str:
        return f"<Outlook: {len(self.ended)} of {len(self._state.tasks)} tasks can end>"


def _ahead(task: TaskRecord) -> Iterator[TaskRecord]:
    """Yield the calls that a call of an actor waits for, where one runs at a time."""
    actor = task.actor
    if actor is None or actor.concurrency > 1 or task.spec.kind != "method":
        return iter(())
    return itertools.takewhile(lambda call: call is not task, actor.handed.values())


def _is_possible(state: State, group: GroupRecord) -> bool:
    return state.ledger.possible(total(group)) and (group.strategy != "STRICT_SPREAD" or len(group.demands) == 1)


def total(group: GroupRecord) -> Demand:
    """Return what a group asks for in all."""
    demand: Demand = {}
    for bundle in group.demands:
        _add(demand, bundle)
    return demand


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
    return [request for request in _requests(state, task) if request.task is task]


def awaited(state: State, task: TaskRecord) -> list[RequestRecord]:
    """Return what a task awaits and is not blocked for."""
    return [request for request in _requests(state, task) if request.awaiter is task]


def _requests(state: State, task: TaskRecord) -> list[RequestRecord]:
    client = state.clients.get(task.worker.id) if task.worker is not None else None
    return [] if client is None else list(client.requests.values())


def _add(free: Demand, held: Demand) -> None:
    for name, parts in held.items():
        free[name] = free.get(name, 0) + parts


def _held(task: TaskRecord) -> Demand:
    owner = task.actor if task.actor is not None else task
    return owner.allocation.held if owner.allocation is not None else {}


def _story(
    state: State, outlook: _Outlook, vain: list[tuple[TaskRecord, RequestRecord]], closing: RequestRecord
) -> str:
    call = "get()" if closing.awaiter is None else "await"
    lines = [f"This {call} would never return: tasks keep what the tasks that they wait for need."]
    short: Demand = {}
    told = 0
    for task, pairs in itertools.groupby(sorted(vain, key=lambda pair: pair[0].depth), key=lambda pair: pair[0]):
        missing = [each for _, request in pairs for each in outlook.missing(request)]
        held = _held(task)
        waits = f"  {_name(task)}{f' holds {describe(held)} and' if held else ''} waits for"
        for number, object_id in enumerate(missing):
            what, needs = _needed(state, outlook, object_id)
            short.update(needs)
            if number < TOLD_EACH and told < TOLD:
                lines.append(f"{waits} {what}.")
                told += 1
        if len(missing) > TOLD_EACH and told < TOLD:
            lines.append(f"{waits} {len(missing) - TOLD_EACH} more.")
    if not short:
        lines.append("Return the reference instead of waiting for it, or let the actor run several calls at once:")
        lines.append("max_concurrency=2, or methods that are 'async def' and await the reference.")
        return "\n".join(lines)
    of_all = {name: parts for name, parts in state.ledger.total.items() if name in short}
    free = {name: parts for name, parts in state.ledger.free.items() if name in short}
    lines.append(f"  The machine has {describe(of_all)} in all; free now: {describe(free)}.")
    if free.get(CPU, 0) < short.get(CPU, 0) and any(request.awaiter is not None for _, request in vain):
        lines.append(
            "A task that awaits a result, or waits for its future, keeps its CPUs: get() and wait() lend them."
        )
    lines.append("Let one of them ask for less, or return the reference instead of waiting for it.")
    return "\n".join(lines)


def _needed(state: State, outlook: _Outlook, object_id: bytes) -> tuple[str, Demand]:
    """Tell what does not come, and why; return the resources that it waits for besides."""
    group, maker = outlook.group_of(object_id), state.tasks.get(task_of(object_id))
    if group is not None:
        return f"the placement group {group.name or group.id[:8]}, which needs {describe(total(group))}", total(group)
    if maker is None:
        return f"object {object_id.hex()[:8]}", {}
    if maker.state is TaskState.READY and maker.spec.kind != "method":
        return f"{_name(maker)}, which needs {describe(maker.spec.demand)}", maker.spec.demand
    ahead = next(_ahead(maker), None)
    if ahead is None or maker.actor is None:
        return _name(maker), {}
    turn = f"whose turn at the actor {maker.actor.label} comes after that of {_name(ahead)}"
    return f"{_name(maker)}, {turn}", {}


def _name(task: TaskRecord) -> str:
    return f"{task.spec.name} ({task.id.hex()[:8]})"
