"""How the rest of a session may go at best: what deadlocks are found by."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from jupyter_ray.ids import task_of
from jupyter_ray.local.scheduler.records import ActorRecord, GroupRecord, RequestRecord, TaskRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ActorState, GroupState, TaskState
from jupyter_ray.resources import Demand, describe

Waits = dict[TaskRecord, list[RequestRecord]]


class Outlook:
    """How the rest of a session may go at best, if the task `given_up` ends."""

    def __init__(self, state: State, waits: Waits, given_up: TaskRecord | None = None) -> None:
        self._state = state
        self._waits = waits
        self._given_up = given_up
        self._free = dict(state.ledger.free)
        for group in state.groups.values():
            for bundle in group.bundles if group.state is GroupState.CREATED else ():
                _add(self._free, bundle.free)  # Somebody may remove the group.
        for lease in state.leases.values():
            _add(self._free, lease.allocation.held)  # It comes back, or belongs to a task that is known.
        for kept in state.ending.values():
            for allocation in kept:
                _add(self._free, allocation.held)
        self._pending = list(state.pending_groups)
        self._hopeless = {group.id: group for group in state.pending_groups if obstacle(state, group)}
        self._groups = {object_id: group for group in self._pending for object_id in group.ready}
        """By the objects that tell that they are reserved."""
        self.ended: set[TaskRecord] = set()
        """The tasks that can end."""
        self._full: dict[ActorRecord, bool] = {}
        """Whether calls that do not end take all the room of an actor that runs several at once."""
        self._play()

    def _play(self) -> None:
        gone: set[ActorRecord] = set()
        left = list(self._state.tasks.values())
        before = -1, 0, 0
        while before != (now := (len(left), len(gone), len(self._pending))):
            before = now
            self._full.clear()
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
            self._pending = [
                group for group in self._pending if group.id in self._hopeless or not self._has(total(group))
            ]
            left = rest

    def _has(self, demand: Demand) -> bool:
        return all(self._free.get(name, 0) >= parts for name, parts in demand.items())

    def _can_end(self, task: TaskRecord) -> bool:
        if task is self._given_up:
            return True
        if not all(self.answers(request) for request in self._waits.get(task, ())):
            return False
        if task.state is TaskState.ASSIGNED:
            return self._gets_turn(task)
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
            return self._gets_turn(task)
        return self._has(task.spec.demand) and not any(group.id == task.spec.group for group in self._pending)

    def _gets_turn(self, task: TaskRecord) -> bool:
        actor = task.actor
        if actor is None or actor.concurrency == 1:
            return all(call in self.ended for call in ahead(task))
        full = self._full.get(actor)
        if full is None:
            begun = (call for call in actor.handed.values() if call.id not in actor.ahead)
            full = sum(call not in self.ended for call in begun) >= actor.concurrency
            self._full[actor] = full
        return not full

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
        missing = len(self.missing(request.ids))
        return missing == 0 if request.kind == "get" else len(request.ids) - missing >= request.count

    def missing(self, objects: Iterable[bytes]) -> list[bytes]:
        """Return those of some objects that do not come."""
        return [each for each in objects if not self._comes(each)]

    def group_of(self, object_id: bytes) -> GroupRecord | None:
        """Return the group that is not reserved before this object comes."""
        return self._groups.get(object_id)

    def hopeless(self, object_id: bytes) -> GroupRecord | None:
        """Return the group that this machine can never hold, and for which the object or its maker waits."""
        group, maker = self._groups.get(object_id), self._state.tasks.get(task_of(object_id))
        name = group.id if group is not None else maker.spec.group if maker is not None else None
        return self._hopeless.get(name or "")

    def __repr__(self) -> str:
        return f"<Outlook: {len(self.ended)} of {len(self._state.tasks)} tasks can end>"


def ahead(task: TaskRecord) -> Iterator[TaskRecord]:
    """Yield the calls that a call of an actor waits for, where one runs at a time."""
    actor = task.actor
    if actor is None or actor.concurrency > 1 or task.spec.kind != "method":
        return iter(())
    return itertools.takewhile(lambda call: call is not task, actor.handed.values())


def held(task: TaskRecord) -> Demand:
    """Return what a task keeps while it waits, or its actor: CPUs are among it, which plain tasks lend."""
    owner = task.actor if task.actor is not None else task
    return owner.allocation.held if owner.allocation is not None else {}


def total(group: GroupRecord) -> Demand:
    """Return what a group asks for in all."""
    demand: Demand = {}
    for bundle in group.demands:
        _add(demand, bundle)
    return demand


def is_excluded(group: GroupRecord) -> bool:
    """Tell whether one machine can never hold a group, however much it had."""
    return bool(group.lacks) or (group.strategy == "STRICT_SPREAD" and len(group.demands) > 1)


def obstacle(state: State, group: GroupRecord) -> str:
    """Say in a sentence why this machine can never hold a group; "" if it can."""
    name = f"The placement group {group.name or group.id[:8]}"
    needs = total(group)
    if group.lacks:
        return f"{name} wants a machine with the labels {group.lacks}, and this one lacks them."
    if is_excluded(group):
        return f"{name} wants a machine for each of its {len(group.demands)} bundles, and there is only one machine."
    if not state.ledger.possible(needs):
        there = {each: state.ledger.total.get(each, 0) for each in needs}
        return f"{name} asks for {describe(needs)}, and this machine has {describe(there)} in all."
    return ""


def _add(free: Demand, held: Demand) -> None:
    for name, parts in held.items():
        free[name] = free.get(name, 0) + parts
