"""Shared memory: what is in it, what goes to disk, and who waits for room.

Rules. What was used least recently goes first; a value that is on disk is read from there, so nothing has to come
back. A process asks for room before it writes a large value, and is answered when the values in memory, those that
are just being moved included, leave it.
"""

from __future__ import annotations

from jupyter_ray.events import ObjectSpilled
from jupyter_ray.local.protocol.messages import Answer, AwaitSpace, Payload
from jupyter_ray.local.scheduler.commands import SpillSegment
from jupyter_ray.local.scheduler.records import ClientRecord, State
from jupyter_ray.local.scheduler.step import Step

NAMED = 5
"""An error lists this many of the largest objects."""


def stored(step: Step, object_id: bytes, payload: Payload) -> None:
    """A value came into shared memory."""
    memory = step.state.memory
    memory.objects[object_id] = payload
    memory.used += payload.size
    _make_room(step, 0)


def used(state: State, object_id: bytes) -> None:
    """A value was handed to somebody: it is the last one to go."""
    payload = state.memory.objects.pop(object_id, None)
    if payload is not None:
        state.memory.objects[object_id] = payload


def freed(step: Step, object_id: bytes) -> None:
    """A value is not needed any more, or was lost."""
    memory = step.state.memory
    payload = memory.objects.pop(object_id, None)
    if payload is not None:
        memory.used -= payload.size
        _answer(step)


def ask(step: Step, client: ClientRecord, message: AwaitSpace) -> None:
    """A process wants to write `message.size` bytes."""
    memory = step.state.memory
    if memory.limit and message.size > memory.limit:
        refusal = (
            f"{message.size:,} bytes do not fit into the object store at all: its limit is {memory.limit:,} bytes."
        )
        step.send(client, Answer(message.request, refusal + _remedy(step.state), "ObjectStoreFullError"))
        return
    memory.waiting.append((client, message))
    _make_room(step, message.size)
    _answer(step)


def spilled(step: Step, object_id: bytes, segment: str, *, failed: str) -> None:
    """A value is on disk now, or could not be moved there (`failed` says why)."""
    state, memory = step.state, step.state.memory
    payload = memory.moving.pop(segment, None)
    if payload is None:
        return
    memory.moving_bytes -= payload.size
    record = state.objects.get(object_id)
    if not failed:
        memory.failure = ""
        event = ObjectSpilled(seq=step.number(), at=step.now, object=object_id.hex(), size=payload.size)
        step.events.append(event)
    elif record is not None and record.payload is payload:
        memory.failure = failed
        memory.objects = {object_id: payload, **memory.objects}
        memory.used += payload.size
    _answer(step)


def _make_room(step: Step, wanted: int) -> None:
    memory = step.state.memory
    if not memory.limit:
        return
    while memory.used + wanted > memory.limit and len(memory.objects) > (0 if wanted else 1):
        object_id = next(iter(memory.objects))
        payload = memory.objects.pop(object_id)
        memory.used -= payload.size
        memory.moving[payload.segment] = payload
        memory.moving_bytes += payload.size
        step.commands.append(SpillSegment(object_id, payload.segment))


def _answer(step: Step) -> None:
    """Answer those that have room now, in the order in which they asked; and all, if there will never be any."""
    memory = step.state.memory
    while memory.waiting:
        client, message = memory.waiting[0]
        if memory.limit and memory.used + memory.moving_bytes + message.size > memory.limit:
            if memory.moving:
                return
            if memory.objects and not memory.failure:
                _make_room(step, message.size)
                return
            text = f"The object store is full, and its values cannot be moved to disk: {memory.failure}."
            answer = Answer(message.request, text + _remedy(step.state), "ObjectStoreFullError")
            memory.failure = ""  # The next one tries again.
        else:
            answer = Answer(message.request, True)
        memory.waiting.popleft()
        if client.connected:
            step.send(client, answer)


def _remedy(state: State) -> str:
    memory = state.memory
    largest = sorted(memory.objects.items(), key=lambda item: -item[1].size)[:NAMED]
    holders = ", ".join(f"{object_id.hex()[-12:]} ({payload.size:,} bytes)" for object_id, payload in largest)
    listed = f" In memory: {memory.used:,} bytes in {len(memory.objects)} objects" + (
        f", the largest {holders}" if holders else ""
    )
    return f"{listed}. Drop references that are not needed, or give init() a larger object_store_memory."
