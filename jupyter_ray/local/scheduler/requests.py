"""`get`, `wait`, and waiting for room in an actor's queue: questions that are answered when something is ready.

Opening and answering are here; that a task lends its CPUs meanwhile, and gets its answer only when it holds them
again, is in `transitions`.
"""

from __future__ import annotations

from jupyter_ray.config import ACTOR_BACKLOG
from jupyter_ray.ids import task_of
from jupyter_ray.local.protocol.messages import AwaitRead, AwaitRoom, Get, Payload, Reply, Wait
from jupyter_ray.local.scheduler import errors, memory, streams, unseen
from jupyter_ray.local.scheduler.commands import SetTimer
from jupyter_ray.local.scheduler.dependencies import free_if_unused, grant
from jupyter_ray.local.scheduler.records import ActorRecord, ClientRecord, ObjectRecord, RequestRecord, TaskRecord
from jupyter_ray.local.scheduler.states import ActorState
from jupyter_ray.local.scheduler.step import Step

AT_HAND, SMALL = 16, 4096
"""So many values come with the answer to a `wait`, of so many bytes each at most."""

STREAK = 3
"""So often in a row must a client have waited for each call before it made the next, to be offered a direct route."""


def called(client: ClientRecord, task: bytes) -> None:
    """Note that a client has made a call."""
    if client.single:
        client.streak = 0
    client.single = task


def _only_call(step: Step, client: ClientRecord, ids: list[bytes]) -> TaskRecord | None:
    """Return the one call that a client waits for, if it has been calling and waiting by turns."""
    single, client.single = client.single, b""
    if len(ids) != 1 or task_of(ids[0]) != single:
        client.streak = 0
        return None
    client.streak += 1
    return step.state.tasks.get(single) if client.streak >= STREAK else None


def open_get(step: Step, client: ClientRecord, message: Get) -> None:
    """Answer a `get` now if it can be, else remember it."""
    objects = step.state.objects
    pending: list[ObjectRecord] = []
    failed = False
    for object_id in message.ids:
        record = objects.get(object_id)
        if record is None or (record.payload is None and not record.pending):
            failed = True
        elif record.payload is None:
            pending.append(record)
        elif record.payload.is_error:
            failed = True
    request = RequestRecord(client, message.request, "get", message.ids, len(pending))
    request.call = _only_call(step, client, message.ids)
    if failed or not pending:
        client.requests[request.id] = request
        reply(step, request)
    else:
        _open(step, request, pending, message)


def open_wait(step: Step, client: ClientRecord, message: Wait) -> None:
    """Answer a `wait` now if it can be, else remember it."""
    objects = step.state.objects
    for object_id in message.ids:
        if object_id not in objects:
            streams.expect_item(step, object_id)
    pending = [
        record
        for object_id in message.ids
        if (record := objects.get(object_id)) is not None and record.payload is None and record.pending
    ]
    ready = len(message.ids) - len(pending)
    request = RequestRecord(client, message.request, "wait", message.ids, message.count - ready, count=message.count)
    request.call = _only_call(step, client, message.ids)
    if request.remaining <= 0:
        client.requests[request.id] = request
        reply(step, request)
    else:
        _open(step, request, pending, message)


def open_room(step: Step, client: ClientRecord, message: AwaitRoom) -> None:
    """Answer when the caller has few enough unfinished calls of the actor."""
    actor = step.state.actors.get(message.actor)
    request = RequestRecord(client, message.request, "room", [], 0, actor=actor)
    if actor is None or has_room(actor, client):
        client.requests[request.id] = request
        reply(step, request)
        return
    actor.room.append(request)
    _open(step, request, [], message)


def open_read(step: Step, client: ClientRecord, message: AwaitRead) -> None:
    """Answer when a stream was read so far that its producer may go on."""
    task = step.state.tasks.get(message.task)
    request = RequestRecord(client, message.request, "read", [], 0, count=message.index)
    client.requests[request.id] = request
    if task is None or task.worker is None or task.worker.id != client.id or streams.is_read(task, message.index):
        reply(step, request)
    else:
        request.task = task
        step.agenda.append((task, "paused", request))


def has_room(actor: ActorRecord, client: ClientRecord) -> bool:
    """Tell whether `client` may go on calling `actor`."""
    return actor.state is ActorState.DEAD or actor.unfinished.get(client.id, 0) <= ACTOR_BACKLOG // 2


def room_made(step: Step, actor: ActorRecord) -> None:
    """Answer the callers of `actor` that have room now."""
    still: list[RequestRecord] = []
    for request in actor.room:
        if request.done:
            continue
        if not has_room(actor, request.client):
            still.append(request)
        else:
            step.satisfy(request)
    actor.room = still


def _open(step: Step, request: RequestRecord, pending: list[ObjectRecord], message: Get | Wait | AwaitRoom) -> None:
    timeout = getattr(message, "timeout", None)
    request.client.requests[request.id] = request
    request.expires = timeout is not None
    if message.task is not None or (type(message) is Get and message.awaiter is not None):
        request.since = step.now
    if timeout is not None and timeout <= 0:
        request.complete = False
        reply(step, request)
        return
    objects = step.state.objects
    request.pinned = [record for object_id in request.ids if (record := objects.get(object_id)) is not None]
    for record in request.pinned:
        record.pins += 1
    for record in pending:
        record.await_by(request)
    task = step.state.tasks.get(message.task) if message.task is not None else None
    if task is not None and task.worker is not None and task.worker.id == request.client.id:
        request.task = task
        request.site = getattr(message, "site", "")
        step.agenda.append((task, "blocked", request))
    elif type(message) is Get and message.awaiter:
        awaiter = step.state.tasks.get(message.awaiter)
        if awaiter is not None and awaiter.worker is not None and awaiter.worker.id == request.client.id:
            request.awaiter = awaiter
            step.state.awaiting[request] = None
    if timeout is not None:
        step.commands.append(SetTimer(request.client.id, request.id, timeout))


def expire(step: Step, client: ClientRecord, request_id: int) -> None:
    """The time of a request is up: answer it with what is there, once its task holds its CPUs again."""
    request = client.requests.get(request_id)
    if request is None or request.done:
        return
    request.complete = False
    step.satisfy(request)


def refuse(step: Step, request: RequestRecord, error: Payload) -> None:
    """Answer a request that will never be satisfied with an error."""
    request.error = error
    step.satisfy(request)


def abandon(step: Step, client: ClientRecord, request_id: int) -> None:
    """Nobody waits for the answer any more."""
    request = client.requests.pop(request_id, None)
    if request is None:
        return
    request.done = True
    _forget(step, request)
    if request.task is not None:
        step.agenda.append((request.task, "abandoned", request))


def reply(step: Step, request: RequestRecord) -> None:
    """Send what is ready, and forget the request."""
    client = request.client
    if client.requests.pop(request.id, None) is None:
        return
    request.done = True
    ready: list[bytes] = []
    values: list[Payload] = []
    at_hand: list[tuple[bytes, Payload]] = []
    objects = step.state.objects
    with_values = request.kind == "get"
    refused = request.error is not None
    for object_id in request.ids:
        record = objects.get(object_id)
        payload = None if record is None else record.payload
        if payload is None:
            if record is not None and record.pending:
                if request.error is None:
                    record.asked = with_values and request.complete
                    continue
                payload, request.error = request.error, None
            else:
                payload = errors.lost(object_id)
        ready.append(object_id)
        if with_values:
            values.append(payload)
            if payload.is_error:
                unseen.seen(step, object_id)
            if payload.segment:
                memory.used(step.state, payload.segment)
            for counted in payload.contained:
                grant(step, client, counted, request.task)
        elif len(at_hand) < AT_HAND and payload.size <= SMALL and _is_plain(payload):
            at_hand.append((object_id, payload))
    step.send(client, Reply(request.id, ready, values, request.complete, refused, tuple(at_hand)))
    if request.call is not None:
        step.offers.append(request)
    _forget(step, request)


def _is_plain(payload: Payload) -> bool:
    """Whether a value may be told to who did not ask: it grants nothing, and an error that is told counts as seen."""
    return not (payload.is_error or payload.segment or payload.contained)


def _forget(step: Step, request: RequestRecord) -> None:
    if request.awaiter is not None:
        del step.state.awaiting[request]
    for record in request.pinned:
        if record.waiters:  # It is not there, or has just come and is still being told.
            record.waiters = tuple([each for each in record.waiters if each is not request])
        record.pins -= 1
        if not (record.pins or record.holders):
            free_if_unused(step, record)
