"""What must hold between two steps. Tests call `validate` after each; it is too slow for anything else."""

from __future__ import annotations

from collections import Counter

from jupyter_ray.ids import task_of
from jupyter_ray.local.scheduler import definitions
from jupyter_ray.local.scheduler.ledger import Ledger
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ENDED, ActorState, TaskState, WorkerState
from jupyter_ray.resources import CPU, PARTS


def validate(state: State) -> None:
    """Check the whole state.

    Raises
    ------
    AssertionError
        Something is inconsistent; the message says what.
    """
    _resources(state)
    _tasks(state)
    _workers(state)
    _actors(state)
    _references(state)
    _requests(state)
    _memory(state)
    _lineage(state)


def _resources(state: State) -> None:
    assert state.ending.keys() <= state.workers.keys(), "a process that has ended keeps devices"
    _ledger(state, state.ledger)
    for group in state.groups.values():
        for bundle in group.bundles if group.reserved else []:
            _ledger(state, bundle)


def _ledger(state: State, ledger: Ledger) -> None:
    allocations = {
        id(allocation): allocation
        for allocation in [
            *(task.allocation for task in state.tasks.values()),
            *(actor.allocation for actor in state.actors.values()),
            *(allocation for group in state.groups.values() for allocation in group.reserved),
            *(lease.allocation for lease in state.leases.values()),
            *(allocation for kept in state.ending.values() for allocation in kept),
        ]
        if allocation is not None and allocation.ledger is ledger
    }
    held: Counter[str] = Counter()
    devices: Counter[tuple[str, int]] = Counter()
    for allocation in allocations.values():
        held.update(allocation.held)
        for kind, taken in allocation.devices.items():
            devices.update({(kind, index): parts for index, parts in taken.items()})
    for name, total in ledger.total.items():
        assert held[name] + ledger.free[name] == total, f"{name}: {held[name]} + {ledger.free[name]} != {total}"
        assert ledger.free[name] >= 0, f"{name} is oversubscribed"
    for kind, rooms in ledger.devices.items():
        for index, free in enumerate(rooms):
            assert free >= 0, f"{kind} {index} is oversubscribed"
            if ledger is state.ledger:
                parts = devices[kind, index]
                assert parts + free == PARTS, f"{kind} {index}: {parts} held + {free} free"


def _tasks(state: State) -> None:
    for task in state.tasks.values():
        assert task.state not in ENDED, f"{task!r} is over, and still there"
        if task.spec.kind == "task":
            first = task.worker is not None and next(iter(task.worker.tasks)) == task.id
            assert (task.allocation is not None) == first, f"{task!r}: who is first on its worker holds, nobody else"
        if task.state is TaskState.RUNNING and task.spec.kind == "task":
            assert task.allocation is not None, f"{task!r} runs and holds nothing"
            assert task.allocation.held == task.spec.demand or task.lent, f"{task!r} holds {task.allocation.held}"
        if task.state is TaskState.BLOCKED and task.spec.kind == "task":
            assert task.allocation is not None, f"{task!r} is blocked without an allocation"
            assert CPU not in task.allocation.held, f"{task!r} is blocked with a CPU"
        if task.state in (TaskState.WAITING, TaskState.READY):
            assert task.worker is None, f"{task!r} has not begun, and has a worker"
        else:
            assert task.worker is not None, f"{task!r} has no worker"
            assert task.worker.tasks.get(task.id) is task, f"{task!r} is not on its worker"
        if task.state is TaskState.WAITING:
            assert task.missing > 0, f"{task!r} waits for nothing"
        if task.state is TaskState.READY and task.spec.kind != "method":
            queued = any(task in queue.tasks for queue in state.ready.values())
            pausing = any(task is each for _, each in state.later)
            assert queued or pausing, f"{task!r} is ready and not queued"


def _workers(state: State) -> None:
    assert state.idle.keys() <= {worker.env for worker in state.workers.values()}, "environments without workers"
    for worker in state.workers.values():
        idle = worker in state.idle.get(worker.env, [])
        assert idle == (worker.state is WorkerState.IDLE), f"{worker!r}: idle list and state differ"
        leased = worker.id in state.leases
        assert leased == (worker.state is WorkerState.LEASED), f"{worker!r}: leases and state differ"
        if worker.state is WorkerState.IDLE or leased:
            assert not worker.tasks, f"{worker!r} is not at work and has tasks"
        if worker.actor is None:
            begun = [task for task in worker.tasks.values() if task.state is not TaskState.ASSIGNED]
            assert len(begun) <= 1, f"{worker!r} runs {len(begun)} tasks at once"
    for queue in state.ready.values():
        assert queue in state.order, f"{queue!r} is not served"
    assert len(state.order) == len(state.ready)


def _actors(state: State) -> None:
    for actor in state.actors.values():
        queued = sum(task.enqueued for queue in actor.queues.values() for task in queue)
        assert actor.queued == queued, f"{actor!r} miscounts its queue: {queued} are there"
        if actor.state is ActorState.DEAD:
            assert actor.allocation is None, f"{actor!r} is dead and holds something"
            assert not actor.calls, f"{actor!r} is dead and has calls"
            assert actor.holders, f"{actor!r} is dead, and nobody can ask for it"
        for task in actor.handed.values():
            assert actor.calls.get(task.id) is task, f"{actor!r} has handed over a call that is over"
        load = Counter(task.spec.concurrency_group for task in actor.handed.values())
        counted = {group: number for group, number in actor.load.items() if number}
        assert counted == (load if actor.spec.concurrency_groups else {}), f"{actor!r} miscounts its groups' calls"
        waiting = [task for task in actor.handed.values() if task.state is TaskState.ASSIGNED]
        assert list(actor.ahead.values()) == waiting, f"{actor!r} miscounts the calls that have not begun"
        unfinished = Counter(task.client.id for task in actor.calls.values())
        assert dict(unfinished) == actor.unfinished, f"{actor!r} miscounts unfinished calls"


def _references(state: State) -> None:
    holders: Counter[bytes] = Counter()
    for client in state.clients.values():
        holders.update(client.holds)
    pins: Counter[bytes] = Counter()
    for record in state.objects.values():
        if record.payload is not None:
            pins.update(record.payload.contained)
    needs = [(task.spec, task.function) for task in state.tasks.values()]
    living = [actor for actor in state.actors.values() if actor.state is not ActorState.DEAD]
    needs += [(actor.spec.creation, actor.function) for actor in living]
    calls: Counter[str] = Counter()
    for spec, needed in needs:
        pins.update(spec.dependencies)
        pins.update(spec.contained)
        if spec.kind != "method" and spec.definition:
            assert needed is not None
            calls[needed.id] += 1
    for client in state.clients.values():
        for request in client.requests.values():
            pins.update(record.id for record in request.pinned)
    for kept in state.lineage.values():
        pins.update(kept.pins)
    for function in state.functions.values():
        pins.update(function.contained)
        pins.update(other.encode("latin-1") for other in function.refers)
    for record in state.objects.values():
        assert record.holders == holders[record.id], f"{record!r}: held {holders[record.id]} times"
        assert record.pins == pins[record.id], f"{record!r}: pinned {pins[record.id]} times"
        assert record.holders or record.pins or record.payload is None, f"{record!r} is garbage"
    for actor in state.actors.values():
        count = holders[actor.id] + pins[actor.id]
        assert actor.holders == count, f"{actor!r}: {actor.holders} counted, {count} there"
    for function in state.functions.values():
        counted = function.id.encode("latin-1")
        assert function.holders == holders[counted], f"{function!r}: held {holders[counted]} times"
        assert function.pins == pins[counted], f"{function!r}: pinned {pins[counted]} times"
        assert function.calls == calls.pop(function.id, 0), f"{function!r} miscounts its calls"
        assert not definitions.unused_with(state, function), f"{function!r} is garbage"
    assert not calls, f"calls run what is not known: {calls}"
    known = {*state.actors, *state.objects, *(each.encode("latin-1") for each in state.functions)}
    for counted in holders:
        assert counted in known, f"{counted.hex()} is held and not known"


def _memory(state: State) -> None:
    memory = state.memory
    assert memory.used == sum(memory.here.values()), f"{memory!r} miscounts"
    assert memory.moving_bytes == sum(memory.moving.values()), f"{memory!r} miscounts"
    assert memory.spare_bytes == sum(room.size for room in memory.spares.values()), f"{memory!r} miscounts spares"
    assert memory.promised_bytes == sum(room.size for room in memory.promised.values()), f"{memory!r} miscounts"
    arguments = {task.spec.segment for task in state.tasks.values()} | {
        kept.spec.segment for kept in state.lineage.values()
    }
    arguments |= {actor.spec.creation.segment for actor in state.actors.values() if actor.state is not ActorState.DEAD}
    for segment in memory.here:
        assert segment in state.segments or segment in arguments, f"{segment} is in memory, and freed"
    for rooms in (memory.spares, memory.promised):
        for segment, room in rooms.items():
            assert room.client in state.clients, f"{segment} is kept for {room.client.hex()}, which is gone"


def _lineage(state: State) -> None:
    named: dict[str, set[bytes]] = {}
    for record in state.objects.values():
        if record.payload is not None and record.payload.segment:
            named.setdefault(record.payload.segment, set()).add(record.id)
    assert {name: set(owners) for name, owners in state.segments.items()} == named, "the index of segments is wrong"
    users: Counter[bytes] = Counter()
    for kept in state.lineage.values():
        users.update(parent.spec.task for parent in kept.parents if state.lineage.get(parent.spec.task) is parent)
    for task, kept in state.lineage.items():
        assert kept.spec.task == task
        assert kept.users == users[task], f"{kept!r} is named by {users[task]}"
        assert kept.live or kept.users, f"{kept!r} is kept for nothing"
        for object_id in kept.live:
            assert object_id in state.objects, f"{kept!r} is kept for {object_id.hex()}, which is freed"
            record = state.objects[object_id]
            lost = record.payload is None and record.pending and task in state.tasks
            assert lost or (record.payload is not None and record.payload.segment), f"{kept!r}: {record!r} is safe"
    announced = {object_id for group in state.groups.values() for object_id in group.ready}
    for record in state.objects.values():
        if record.payload is None and record.pending:
            assert task_of(record.id) in state.tasks or record.id in announced, f"nothing makes {record!r}"
    assert state.lineage_bytes == sum(kept.size for kept in state.lineage.values()), "lineage is miscounted"
    assert state.recovering <= set(state.tasks), "a task is being run again, and is over"


def _requests(state: State) -> None:
    for request in state.awaiting:
        assert request.client.requests.get(request.id) is request, f"{request!r} is not awaited any more"
    for client in state.clients.values():
        for request in client.requests.values():
            if request.kind in ("room", "read") or request.done:
                continue
            pending = [each for each in request.pinned if each.payload is None]
            assert pending, f"{request!r} could be answered"
            for record in pending:
                assert request in record.waiters, f"{request!r} is forgotten by {record!r}"
