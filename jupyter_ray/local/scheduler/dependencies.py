"""Who holds which object, which actor's handle and which definition, and who waits for them.

A counted id lives while a process holds it (grants) or something that may still need it pins it: a task its arguments
and its definition, an object what it contains. Objects and definitions are freed at once when the last reference goes;
an actor without references ends after its queued calls.
"""

from __future__ import annotations

from collections.abc import Iterable

from jupyter_ray.events import ObjectFreed, ObjectSealed
from jupyter_ray.ids import ACTOR_ID_SIZE, OBJECT_ID_SIZE, task_of_text
from jupyter_ray.local.protocol.messages import Export, Payload, TaskSpec, Undefine
from jupyter_ray.local.scheduler import definitions, errors, handles, lineage, memory, unseen
from jupyter_ray.local.scheduler.records import (
    ActorRecord,
    ClientRecord,
    FunctionRecord,
    ObjectRecord,
    RequestRecord,
    TaskRecord,
)
from jupyter_ray.local.scheduler.states import TaskState
from jupyter_ray.local.scheduler.step import Step


def expect(step: Step, object_id: bytes, holders: int = 0) -> ObjectRecord:
    """Return the record of an object that a task is to make, and that has so many holders more."""
    record = step.state.objects.get(object_id)
    if record is None:
        record = step.state.objects[object_id] = ObjectRecord(object_id, holders=holders, pending=True)
    else:
        record.pending = True
        record.holders += holders
    return record


def promise(step: Step, client: ClientRecord, object_id: bytes) -> None:
    """A task of `client` is to make an object, which `client` holds."""
    client.holds[object_id] = client.holds.get(object_id, 0) + 1
    expect(step, object_id, 1)


def grant(step: Step, client: ClientRecord, counted: bytes, task: TaskRecord | None = None) -> None:
    """`client` gets one more reference; `task` is the one that it gets it for."""
    client.holds[counted] = client.holds.get(counted, 0) + 1
    if len(counted) == ACTOR_ID_SIZE:
        actor = step.state.actors.get(counted)
        if actor is not None:
            actor.holders += 1
            handles.show(step, actor, client, task)
        return
    if len(counted) != OBJECT_ID_SIZE:
        definitions.counted_as(step.state, counted).holders += 1
        return
    record = step.state.objects.get(counted)
    if record is None:
        record = step.state.objects[counted] = ObjectRecord(counted)
    record.holders += 1


def drop(step: Step, client: ClientRecord, counted: bytes, grants: int) -> None:
    """`client` has dropped what `grants` grants gave it."""
    held = client.holds.get(counted, 0)
    if grants >= held:
        grants = held
        client.holds.pop(counted, None)
    elif grants > 0:
        client.holds[counted] = held - grants
    else:
        return
    if len(counted) == ACTOR_ID_SIZE:
        actor = step.state.actors.get(counted)
        if actor is not None:
            actor.holders -= grants
            if grants == held:
                handles.hide(step, actor, client.id)
            unheld(step, actor)
        return
    if len(counted) != OBJECT_ID_SIZE:
        function = definitions.counted_as(step.state, counted)
        function.holders -= grants
        forget_if_unused(step, function)
        return
    record = step.state.objects.get(counted)
    if record is not None:
        record.holders -= grants
        free_if_unused(step, record)


def drop_all(step: Step, client: ClientRecord) -> None:
    """`client` is gone, and with it all that it held."""
    for counted, grants in list(client.holds.items()):
        drop(step, client, counted, grants)


def pin(step: Step, counted_ids: Iterable[bytes], label: str | None = None) -> None:
    """Something needs all of `counted_ids`; `label` is the id (hex) of an object that contains them, if one does."""
    for counted in counted_ids:
        if len(counted) == ACTOR_ID_SIZE:
            actor = step.state.actors.get(counted)
            if actor is not None:
                actor.holders += 1
                if label is not None:
                    handles.show_object(step, actor, label)
            continue
        if len(counted) != OBJECT_ID_SIZE:
            definitions.counted_as(step.state, counted).pins += 1
            continue
        record = step.state.objects.get(counted)
        if record is None:
            record = step.state.objects[counted] = ObjectRecord(counted)
        record.pins += 1


def unpin(step: Step, counted_ids: Iterable[bytes], label: str | None = None) -> None:
    """Undo `pin`."""
    for counted in counted_ids:
        if len(counted) == ACTOR_ID_SIZE:
            actor = step.state.actors.get(counted)
            if actor is not None:
                actor.holders -= 1
                if label is not None:
                    handles.hide_object(step, actor, label)
                unheld(step, actor)
            continue
        if len(counted) != OBJECT_ID_SIZE:
            _unpin_definition(step, definitions.counted_as(step.state, counted))
            continue
        record = step.state.objects.get(counted)
        if record is not None:
            record.pins -= 1
            free_if_unused(step, record)


def need(step: Step, spec: TaskSpec, function: FunctionRecord | None = None) -> FunctionRecord | None:
    """A call needs its arguments, what they contain, and its definition as that is now, or was before; return it."""
    if spec.definition and spec.kind != "method":
        function = function or definitions.named(step.state, spec.definition)
        function.calls += 1
    if spec.contained:
        pin(step, spec.contained)
    if spec.dependencies:
        pin(step, spec.dependencies)
    return function


def need_no_more(step: Step, spec: TaskSpec, function: FunctionRecord | None) -> None:
    """Undo `need`."""
    if spec.dependencies:
        unpin(step, spec.dependencies)
    if spec.contained:
        unpin(step, spec.contained)
    if function is not None:
        function.calls -= 1
        if not (function.calls or function.holders):
            forget_if_unused(step, function)


def shipped(step: Step, client: ClientRecord, message: Export) -> None:
    """`client` ships a definition, or a newer version of one."""
    record = definitions.named(step.state, message.definition)
    if message.granted:
        grant(step, client, message.definition.encode())
    if record.version:
        record = definitions.for_newer(step.state, record)
    old, referred = record.contained, record.refers
    pin(step, message.contained)
    for other in message.refers:
        definitions.named(step.state, other).pins += 1
    record.version, record.name, record.blob = message.version, message.name, message.blob
    record.contained, record.refers = message.contained, message.refers
    record.seconds = None
    unpin(step, old)
    for other in referred:
        _unpin_definition(step, definitions.named(step.state, other))


def _unpin_definition(step: Step, record: FunctionRecord) -> None:
    record.pins -= 1
    if not record.holders:
        forget_if_unused(step, record)


def forget_if_unused(step: Step, record: FunctionRecord) -> None:
    """Forget a definition that nobody can ask for any more, and tell those that were sent it."""
    state, candidates, gone = step.state, [record], []
    while candidates:
        candidate = candidates.pop()
        if state.functions.get(candidate.id) is not candidate:
            continue
        unused = definitions.unused_with(state, candidate)
        for each in unused:
            del state.functions[each.id]
        for other in [state.functions.get(key) for each in unused for key in each.refers]:
            if other is not None:
                other.pins -= 1
                candidates.append(other)
        gone += unused
    if not gone:
        return
    keys = dict.fromkeys(key for each in gone for key in definitions.known_as(state, each))
    for worker in state.workers.values():
        known = [key for key in keys if worker.functions.pop(key, None) is not None]
        if known and worker.id in state.clients:
            step.send(state.clients[worker.id], Undefine(known))
    for lease in state.leases.values():
        lease.told.difference_update(each.id for each in gone)
    for each in gone:
        unpin(step, each.contained)


def unheld(step: Step, actor: ActorRecord) -> None:
    """Put `actor` on the agenda if nobody can call it any more."""
    if actor.holders <= 0:
        step.pump[actor] = None


def free_if_unused(step: Step, record: ObjectRecord) -> None:
    """Free an object that has no reference."""
    if record.holders > 0 or record.pins > 0:
        return
    payload = record.payload
    if payload is None:
        if not record.pending:
            step.state.objects.pop(record.id, None)
        return
    del step.state.objects[record.id]
    step.events.append(ObjectFreed(seq=step.number(), at=step.now, object=record.id.hex()))
    if payload.segment or payload.contained:
        discard(step, payload, record.id)
    if step.state.unseen:
        unseen.dropped(step, record.id)


def discard(step: Step, payload: Payload, object_id: bytes) -> None:
    """Let a value go for good."""
    if payload.segment:
        _leave_segment(step, payload.segment, object_id)
        unpin(step, lineage.freed(step, object_id))
    if payload.contained:
        unpin(step, payload.contained, object_id.hex())


def _leave_segment(step: Step, segment: str, object_id: bytes, *, damaged: bool = False) -> None:
    owners = step.state.segments[segment]
    del owners[object_id]
    if not owners:
        del step.state.segments[segment]
        memory.discard(step, segment, damaged=damaged)


def lose(step: Step, record: ObjectRecord) -> None:
    """An object's value is gone, and another is to come: who waits for others too waits for this one again."""
    payload = record.payload
    assert payload is not None
    record.payload = None
    record.pending = True
    for client in step.state.clients.values():
        for request in client.requests.values():
            if not request.done and record in request.pinned:
                request.remaining += 1
                record.await_by(request)
    for task in step.state.tasks.values():
        if task.state is TaskState.WAITING:
            named = task.spec.dependencies.count(record.id)
            task.missing += named
            for _ in range(named):
                record.needed_by(task)
    _leave_segment(step, payload.segment, record.id, damaged=True)
    if payload.contained:
        unpin(step, payload.contained, record.id.hex())


def seal(step: Step, object_id: bytes, payload: Payload, task: str = "") -> None:
    """Give an object its value, and tell all that wait for it. `task` is what made it (hex), where that is at hand.

    A second value is discarded: the first one may have been read.
    """
    record = step.state.objects.get(object_id)
    if record is None:
        record = step.state.objects[object_id] = ObjectRecord(object_id)
    if record.payload is not None:
        if payload.segment and payload.segment not in step.state.segments:
            memory.discard(step, payload.segment)
        return
    record.payload = payload
    record.pending = False
    if payload.segment:
        owners = step.state.segments.setdefault(payload.segment, {})
        if not owners:
            memory.stored(step, payload.segment, payload.size)
        owners[object_id] = None
    if payload.contained:
        pin(step, payload.contained, object_id.hex())
    name = object_id.hex()
    step.events.append(
        ObjectSealed(
            seq=step.number(),
            at=step.now,
            object=name,
            size=payload.size,
            task=task or task_of_text(name),
        )
    )
    if record.waiters:
        waiters, record.waiters = record.waiters, ()
        for request in waiters:
            request_progress(step, request, payload.is_error)
    if record.dependents:
        dependents, record.dependents = record.dependents, None
        if payload.is_error:
            unseen.seen(step, object_id)
        for each in dependents:
            each.missing -= 1
            if payload.is_error:
                step.agenda.append((each, "argument_failed", errors.of_argument(each, payload)))
            elif each.missing == 0:
                step.agenda.append((each, "arguments_ready", None))
    if not record.holders:
        free_if_unused(step, record)


def request_progress(step: Step, request: RequestRecord, is_error: bool) -> None:
    """One of the objects that `request` names is ready."""
    if request.done:
        return
    request.remaining -= 1
    if request.remaining <= 0 or (is_error and request.kind == "get"):
        step.satisfy(request)
