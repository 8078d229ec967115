"""What tasks make: return values, and the items of a stream.

A stream is announced item by item to its holder, the client that submitted the task; each announcement is a grant of
the item.
"""

from __future__ import annotations

from collections.abc import Sequence

from jupyter_ray.ids import return_id, task_of
from jupyter_ray.local.protocol.messages import STREAMING, Consume, Item, Payload, StreamState, TaskSpec
from jupyter_ray.local.scheduler import errors, memory
from jupyter_ray.local.scheduler.dependencies import expect, free_if_unused, grant, seal
from jupyter_ray.local.scheduler.records import TaskRecord
from jupyter_ray.local.scheduler.step import Step

NONE = Payload(data=b"N.", size=2)
"""The pickled None."""


def returns(spec: TaskSpec) -> list[bytes]:
    """Return the ids of the objects that a task makes; for a stream, the one that tells its end."""
    count = spec.num_returns
    if count == 1 or count < 0:
        return [return_id(spec.task)]
    return [return_id(spec.task, index) for index in range(1, count + 1)]


def seal_values(step: Step, task: TaskRecord, values: Sequence[Payload]) -> None:
    """A task has made its values; the first ones only, where its generator raised after them."""
    for index, payload in enumerate(values, 1):
        seal(step, return_id(task.id, index), payload, task.hex)


def discard_values(step: Step, values: Sequence[Payload]) -> None:
    """Let the values of an attempt go that is followed by another one."""
    for payload in values:
        if payload.segment:
            memory.discard(step, payload.segment)


def item(step: Step, task: TaskRecord, message: Item) -> None:
    """A stream has one more item."""
    if message.index <= task.items:  # A repetition by another attempt.
        if message.payload.segment:
            memory.discard(step, message.payload.segment)
        return
    task.items = message.index
    object_id = return_id(task.id, message.index + 1)
    record = expect(step, object_id)
    record.fate = "stream"
    if task.read >= 0 and task.client.connected:
        grant(step, task.client, object_id)
    seal(step, object_id, message.payload)
    if task.read >= 0:
        payload = message.payload
        # An error goes only to who asks for it: it counts as seen then.
        alone = not (payload.segment or payload.contained or payload.is_error)
        step.send(task.client, StreamState(task.id, task.items, False, payload if alone else None))


def expect_item(step: Step, object_id: bytes) -> None:
    """Somebody waits for an item that a stream may be going to have, and for its end besides."""
    task = step.state.tasks.get(task_of(object_id))
    if task is not None and task.spec.num_returns == STREAMING and object_id == return_id(task.id, task.items + 2):
        expect(step, object_id)


def end_stream(step: Step, task: TaskRecord, payload: Payload | None) -> None:
    """Tell the holder that no more items will come; `payload` is the error that ended the stream, if one did.

    What the generator raised is its last item only: the reference that tells the end raises where the system failed.
    """
    if payload is not None and task.read >= 0:
        item(step, task, Item(task.id, task.items + 1, payload))
    missed = step.state.objects.get(return_id(task.id, task.items + 2))
    if missed is not None:
        missed.pending = False  # See `expect_item`: it will not come.
        free_if_unused(step, missed)
    ended_well = payload is None or errors.is_raised(payload)
    for object_id in returns(task.spec):
        seal(step, object_id, NONE if payload is None or ended_well else payload)
    if task.read >= 0:
        step.send(task.client, StreamState(task.id, task.items, True))
    if task.actor is not None and task.actor.spec.generator_cap > 0 and task.read >= 0:
        step.state.unread[task.id] = (task.actor, task.client.id)
        if not task.client.connected:
            read_after(step, task.client.id, task.id, -1)


def consumed(step: Step, task: TaskRecord, index: int) -> None:
    """The holder of a stream took items up to `index`; -1: it is gone."""
    if task.read < 0:
        return  # Said when it was gone, heard after that.
    task.read = max(task.read, index) if index >= 0 else index
    if task.worker is not None and task.worker.id in step.state.clients:
        step.send(step.state.clients[task.worker.id], Consume(task.id, index))
        if task.blocking:
            for request in step.state.clients[task.worker.id].requests.values():
                waits = request.kind == "read" and request.task is task and not request.done
                if waits and is_read(task, request.count):
                    step.satisfy(request)


def is_read(task: TaskRecord, index: int) -> bool:
    """Tell whether a stream was read up to an item, or nobody reads on."""
    return task.read < 0 or task.read >= index


def read_after(step: Step, client: bytes, task: bytes, index: int) -> None:
    """As `consumed`, of a stream that has ended: its actor still counts what is unread."""
    actor, reader = step.state.unread.get(task, (None, b""))
    if actor is None or reader != client:
        return
    if index < 0:
        del step.state.unread[task]
    if actor.worker is not None and actor.worker.id in step.state.clients:
        step.send(step.state.clients[actor.worker.id], Consume(task, index))


def reader_gone(step: Step, client: bytes) -> None:
    """Nobody reads the streams of a process that is dead. One that was cancelled makes nothing more anyway."""
    for ended in [task for task, (_, reader) in step.state.unread.items() if reader == client]:
        read_after(step, client, ended, -1)
    for task in step.state.tasks.values():
        if task.client.id == client and task.spec.num_returns == STREAMING and task.read >= 0 and not task.cancel_asked:
            consumed(step, task, -1)
