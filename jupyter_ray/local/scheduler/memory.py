"""Shared memory: what is in it, what goes to disk, who waits for room, and which files are written into again.

Rules. What was used least recently goes first, and nothing that somebody reads: its memory would stay in use. A value
that is on disk is read from there, so nothing has to come back. A process asks for room before it writes a large
value, and is answered when there is; what it was promised counts until it has come. Where all values are being read,
or the new one is larger than the whole store, it goes to disk itself. So does a new one where none may be moved there,
once nothing is freed for a while.

A large file whose value was freed is kept as a spare, for the process that wrote it. Spares count as used, and are the
first to go. What maps a file keeps its memory: the writer is told when a file that it may have mapped is gone.
"""

from __future__ import annotations

import itertools

from jupyter_ray.config import (
    FULL_SECONDS,
    GARBAGE_SECONDS,
    GARBAGE_SHARE,
    PROMISE_SECONDS,
    RESERVE_FROM,
    SPARE_SECONDS,
    SPARE_SHARE,
)
from jupyter_ray.events import ObjectSpilled
from jupyter_ray.ids import task_of
from jupyter_ray.local.protocol.messages import Answer, AwaitSpace, Claimed, Collect, Forget, Spare
from jupyter_ray.local.protocol.names import ON_DISK, writer
from jupyter_ray.local.scheduler.commands import DiscardSegment, DropSpare, KeepSpare, SpillSegment
from jupyter_ray.local.scheduler.records import ClientRecord
from jupyter_ray.local.scheduler.room import Memory, Room
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.local.scheduler.stimuli import Spilled

NAMED = 5
"""An error lists this many of the largest objects."""
READ_SECONDS = 1.0
"""A value that somebody was found to read is not looked at again for so long."""
_SPARES_WITHOUT_LIMIT = 1024**3


def stored(step: Step, segment: str, size: int) -> None:
    """A value, or a call's arguments, came in a file."""
    memory = step.state.memory
    _break_promise(memory, segment)
    if segment not in memory.on_disk:
        memory.here[segment] = size
        memory.used += size
        if _is_short(memory):
            collect(step)
        _make_room(step, 0)
    if memory.waiting:
        _answer(step)


def _is_short(memory: Memory) -> bool:
    return memory.tight or memory.used > memory.limit * GARBAGE_SHARE > 0


def collect(step: Step) -> None:
    """Have all processes look for references that only garbage holds, at intervals; what they drop need not move."""
    memory = step.state.memory
    if step.now - memory.collected >= GARBAGE_SECONDS:
        memory.collected = step.now
        memory.tight = False
        collect_now(step)


def collect_now(step: Step) -> None:
    """Have all processes look for references that only garbage holds."""
    for client in step.state.clients.values():
        step.send(client, Collect())


def named(state: State) -> set[str]:
    """Return the files that objects and calls name."""
    calls = itertools.chain(
        (task.spec for task in state.tasks.values()),
        (kept.spec for kept in state.lineage.values()),
        (actor.spec.creation for actor in state.actors.values()),
    )
    return {*state.segments, *(spec.segment for spec in calls)}


def used(state: State, segment: str) -> None:
    """A value was handed to somebody: it is the last one to go."""
    here = state.memory.here
    size = here.pop(segment, None)
    if size is not None:
        here[segment] = size


def discard(step: Step, segment: str, *, damaged: bool = False) -> None:
    """A file is not needed any more, or `damaged`."""
    memory = step.state.memory
    _break_promise(memory, segment)
    memory.on_disk.discard(segment)
    memory.read.pop(segment, None)
    size = memory.here.pop(segment, None)
    if size is not None:
        memory.used -= size
    if segment in memory.moving:
        memory.unwanted.add(segment)
    client = step.state.clients.get(writer(segment))
    if size is not None and client is not None and not damaged and _spare_room(memory, size):
        memory.mapped.discard(segment)
        memory.spares[segment] = Room(client.id, size, step.now)
        memory.spare_bytes += size
        step.commands.append(KeepSpare(segment))
        step.send(client, Spare(segment, size))
    else:
        step.commands.append(DiscardSegment(segment))
        _forget(step, segment)
    if memory.waiting:
        _answer(step)


def ask(step: Step, client: ClientRecord, message: AwaitSpace) -> None:
    """A process wants to write `message.size` bytes."""
    memory = step.state.memory
    if message.size < 0:
        raise ValueError(f"{message.size} bytes are no size.")
    if memory.limit and message.size > memory.limit:
        step.send(client, _to_disk(memory, message))
        return
    memory.waiting.append((client.id, message, step.now))
    _answer(step)


def claimed(step: Step, client: ClientRecord, message: Claimed) -> None:
    """A process writes into a spare file, whose bytes count for the new segment from now on."""
    memory = step.state.memory
    if message.size < 0:
        raise ValueError(f"{message.size} bytes are no size.")
    _take_spare(memory, message.spare)
    if message.segment:
        promise = memory.promised.get(message.segment)
        _promise(step, client.id, message.segment, message.size - (promise.size if promise is not None else 0))
        memory.mapped.add(message.segment)
    if memory.waiting:
        _answer(step)


def spilled(step: Step, stimulus: Spilled) -> None:
    """A file is on disk now, or could not be moved there."""
    state, memory, segment = step.state, step.state.memory, stimulus.segment
    size = memory.moving.pop(segment, None)
    if size is None:
        return
    memory.moving_bytes -= size
    wanted = segment not in memory.unwanted
    memory.unwanted.discard(segment)
    if stimulus.outcome == "moved":
        memory.failure = ""
        memory.moved += 1
        memory.moved_bytes += size
        owner = next(iter(state.segments.get(segment, ())), None)
        if owner is not None:
            step.events.append(ObjectSpilled(seq=step.number(), at=step.now, object=owner.hex(), size=size))
        _forget(step, segment)
    elif wanted and stimulus.outcome == "read":
        memory.here[segment] = size
        memory.used += size
        memory.read[segment] = step.now
    elif wanted and stimulus.outcome in ("failed", "full"):
        memory.failure = stimulus.reason
        memory.disk_full = stimulus.outcome == "full"
        memory.here = {segment: size, **memory.here}
        memory.used += size
    if stimulus.outcome == "read":
        _make_room(step, 0)
    _answer(step)


def client_gone(step: Step, client: bytes) -> None:
    """A process has ended, and with it what it was about to write, and might have written."""
    memory = step.state.memory
    for segment in [each for each, room in memory.promised.items() if room.client == client]:
        _break_promise(memory, segment)
    for segment in [each for each, room in memory.spares.items() if room.client == client]:
        _drop_spare(step, segment)
    _answer(step)


def short(step: Step) -> None:
    """The machine runs out of memory: give back what is kept for convenience."""
    for segment in list(step.state.memory.spares):
        _drop_spare(step, segment)


def due(state: State) -> bool:
    """Tell whether `tick` may have something to do."""
    memory = state.memory
    return bool(memory.spares or memory.promised or memory.waiting or _is_short(memory))


def tick(step: Step) -> None:
    """Remove spares that nobody wanted, and count no longer on who was going to write and did not; look for garbage."""
    memory = step.state.memory
    if _is_short(memory):
        collect(step)
    for segment in [each for each, room in memory.spares.items() if step.now - room.since > SPARE_SECONDS]:
        _drop_spare(step, segment)
    for segment in [each for each, room in memory.promised.items() if step.now - room.since > PROMISE_SECONDS]:
        _break_promise(memory, segment)
    if memory.waiting:
        _answer(step)


# --- room ----------------------------------------------------------------------------------------------------------


def _excess(memory: Memory, wanted: int) -> int:
    """Return the bytes that there are too many in memory, with `wanted` more."""
    return memory.used + memory.moving_bytes + memory.spare_bytes + memory.promised_bytes + wanted - memory.limit


def _make_room(step: Step, wanted: int) -> None:
    """Remove spares, and begin to move values to disk, until `wanted` more bytes have room."""
    memory = step.state.memory
    if not memory.limit:
        return
    while memory.spares and _excess(memory, wanted) > 0:
        _drop_spare(step, next(iter(memory.spares)))
    if _excess(memory, wanted) > 0:
        memory.tight = True
        collect(step)  # What only garbage holds need not move.
    if not memory.spills:
        return
    excess = _excess(memory, wanted) - memory.moving_bytes
    chosen: list[str] = []
    if excess > 0:
        for segment, size in memory.here.items():
            if excess <= 0:
                break
            if step.now - memory.read.get(segment, 0.0) >= READ_SECONDS:
                chosen.append(segment)
                excess -= size
    if not wanted and len(chosen) == len(memory.here):
        del chosen[-1:]  # The one that just came.
    for segment in chosen:
        memory.read.pop(segment, None)
        size = memory.here.pop(segment)
        memory.used -= size
        memory.moving[segment] = size
        memory.moving_bytes += size
        step.commands.append(SpillSegment(segment))


def _answer(step: Step) -> None:
    """Answer those that have room now, in the order in which they asked; and all, if there will never be any."""
    memory = step.state.memory
    while memory.waiting:
        asking, message, since = memory.waiting[0]
        client = step.state.clients.get(asking)
        if client is None:
            memory.waiting.popleft()
            continue
        refused = _none_yet(step, message, since) if memory.limit and _excess(memory, message.size) > 0 else None
        if refused is None and memory.limit and _excess(memory, message.size) > 0:
            return
        if refused is None:
            memory.full = False
            _promise(step, asking, message.segment, message.size)
        memory.waiting.popleft()
        step.send(client, refused or Answer(message.request, True))


def _none_yet(step: Step, message: AwaitSpace, since: float) -> Answer | None:
    """Make room, and return None if there is some now or soon; else what the process is told, who asked at `since`."""
    memory = step.state.memory
    if memory.failure and not memory.moving:
        text = f"The object store is full, and its values cannot be moved to disk: {memory.failure}."
        memory.failure = ""  # The next one tries again.
        kind = "OutOfDiskError" if memory.disk_full else "ObjectStoreFullError"
        return Answer(message.request, text + _remedy(step.state), kind)
    if not memory.failure:
        _make_room(step, message.size)
    if memory.moving or _comes_soon(memory) or _excess(memory, message.size) <= 0:
        return None  # What is promised comes, and can be moved then; or its time is up.
    if not memory.spills and not memory.full and step.now - since < FULL_SECONDS:
        return None  # What was dropped may be on its way, and what only garbage held.
    memory.full = True
    return _to_disk(memory, message)


def _comes_soon(memory: Memory) -> bool:
    """Tell whether somebody writes who does not wait for room himself, as a task does with its next return value."""
    asking = {client for client, _message, _since in memory.waiting}
    return any(room.client not in asking for room in memory.promised.values())


def _to_disk(memory: Memory, message: AwaitSpace) -> Answer:
    memory.on_disk.add(message.segment)
    return Answer(message.request, ON_DISK)


def _promise(step: Step, client: bytes, segment: str, size: int) -> None:
    memory = step.state.memory
    room = memory.promised.get(segment)
    if room is None:
        room = memory.promised[segment] = Room(client, 0, step.now)
    size = max(size, -room.size)
    room.size += size
    room.since = step.now
    memory.promised_bytes += size


def _break_promise(memory: Memory, segment: str) -> None:
    room = memory.promised.pop(segment, None)
    if room is not None:
        memory.promised_bytes -= room.size


# --- spares --------------------------------------------------------------------------------------------------------


def _spare_room(memory: Memory, size: int) -> bool:
    """Tell whether a freed file is kept: there may be some, and one more that is larger than all of them may be."""
    most = memory.limit // SPARE_SHARE if memory.limit else _SPARES_WITHOUT_LIMIT
    fits = memory.spare_bytes + size <= most or memory.spare_bytes <= most < size
    return size >= RESERVE_FROM and not memory.waiting and fits


def _take_spare(memory: Memory, segment: str) -> None:
    room = memory.spares.pop(segment, None)
    if room is not None:
        memory.spare_bytes -= room.size


def _drop_spare(step: Step, segment: str) -> None:
    memory = step.state.memory
    client = step.state.clients.get(memory.spares[segment].client)
    _take_spare(memory, segment)
    step.commands.append(DropSpare(segment))
    if client is not None:
        step.send(client, Forget([segment]))


def _forget(step: Step, segment: str) -> None:
    memory = step.state.memory
    if segment in memory.mapped:
        memory.mapped.discard(segment)
        client = step.state.clients.get(writer(segment))
        if client is not None:
            step.send(client, Forget([segment]))


# --- what is told --------------------------------------------------------------------------------------------------


def _remedy(state: State) -> str:
    memory = state.memory
    largest = sorted(memory.here.items(), key=lambda item: -item[1])[:NAMED]
    holders = "; ".join(f"{_holder(state, segment)} ({size:,} bytes)" for segment, size in largest)
    count = len(memory.here)
    listed = f" In memory: {memory.used:,} bytes in {count} object{'' if count == 1 else 's'}" + (
        f", the largest {holders}" if holders else ""
    )
    return f"{listed}. Drop references that are not needed, or give init() a larger object_store_memory."


def _holder(state: State, segment: str) -> str:
    """Return what people call the value in a file: an object and who made it, or the arguments of a task."""
    owner = next(iter(state.segments.get(segment, ())), None)
    if owner is None:
        task = next((each for each in state.tasks.values() if each.spec.segment == segment), None)
        return "arguments of a call" if task is None else f"arguments of {task.spec.name}"
    task_id = task_of(owner)
    maker = state.history.get(task_id)
    running = state.tasks.get(task_id)
    site = state.objects[owner].site if owner in state.objects else ""
    put = f"put() at {site}" if site else "put()"
    name = maker.name if maker is not None else running.spec.name if running is not None else put
    return f"{owner.hex()[:8]} of {name}"
