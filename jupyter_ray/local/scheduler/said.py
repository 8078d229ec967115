"""What clients say, message by message: `SAID` names the function that takes each type."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from jupyter_ray.config import LINEAGE_LIMIT
from jupyter_ray.events import LogLines, RuntimeReady, Span
from jupyter_ray.ids import task_of
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler import (
    actors,
    definitions,
    dependencies,
    direct,
    errors,
    groups,
    jobs,
    memory,
    placement,
    queries,
    requests,
    streams,
    submission,
    transitions,
)
from jupyter_ray.local.scheduler.ledger import Ledger
from jupyter_ray.local.scheduler.records import ClientRecord, GroupRecord
from jupyter_ray.local.scheduler.states import ActorState, GroupState, TaskState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.resources import CPU, GPU, PARTS, amounts


def _bind(step: Step, client: ClientRecord, message: m.Bind) -> None:
    state = step.state
    if state.started:
        step.send(client, m.Answer(message.request, "This runtime is bound already.", "RuntimeError"))
        return
    state.ledger = Ledger(message.resources, message.devices)
    jobs.begin(step, client, message)
    state.job = message.job
    state.started = step.now
    state.node = message.node.hex()
    state.env = message.env
    state.tells_unseen = message.environ.get("RAY_IGNORE_UNHANDLED_ERRORS") != "1"
    state.memory.limit = message.store_limit
    state.memory.spills = message.spills
    state.memory_retries = message.memory_retries
    state.task_limit = message.task_limit
    state.lineage_limit = min(LINEAGE_LIMIT, message.store_limit // 4) if message.store_limit else LINEAGE_LIMIT
    for _ in range(min(placement.PRESTART, max(1, message.resources.get(CPU, 0) // PARTS))):
        placement.start_worker(step, message.env)
    step.events.append(
        RuntimeReady(
            seq=step.number(),
            at=step.now,
            pid=state.pid,
            engine="local",
            resources=amounts(message.resources),
            gpus=message.devices.get(GPU, []),
        )
    )
    step.place = True
    step.send(client, m.Answer(message.request, queries.resources(state, {})))


def _export(step: Step, client: ClientRecord, message: m.Export) -> None:
    dependencies.shipped(step, client, message)
    direct.redefined(step, client, message.definition)
    for asker, query in step.state.awaited.pop(message.definition, ()):
        if asker.connected:
            _query(step, asker, query)


def _submit(step: Step, client: ClientRecord, message: m.Submit) -> None:
    spec = message.spec
    if message.direct:
        direct.adopt(step, client, message)
        return
    requests.called(client, spec.task)
    actor = step.state.actors.get(spec.actor) if spec.kind == "method" and spec.actor is not None else None
    submission.submit(step, client, spec, actor)


def _create_actor(step: Step, client: ClientRecord, message: m.CreateActor) -> None:
    spec = message.spec
    existing = actors.find(step, spec.name, spec.namespace) if spec.name else None
    if existing is not None and spec.creation.segment:
        memory.discard(step, spec.creation.segment)
    if existing is not None and not spec.get_if_exists:
        text = (
            f"The name {spec.name!r} (namespace={spec.namespace!r}) is already taken by a living actor. Please use a "
            "different name, or get the actor with get_actor(), or with get_if_exists=True."
        )
        step.send(client, m.Answer(message.request, text, "ActorAlreadyExistsError"))
        return
    if existing is not None:
        found = {"actor": existing.id, "handle": existing.spec.handle, "created": False}
        step.send(client, m.Answer(message.request, found))
        return
    actor = actors.register(step, client, spec)
    submission.submit(step, client, spec.creation, actor)
    if message.request:
        made = {"actor": actor.id, "handle": spec.handle, "created": True}
        step.send(client, m.Answer(message.request, made))


def _returned(step: Step, tasks: list[bytes]) -> None:
    for task_id in reversed(tasks):
        task = step.state.tasks.get(task_id)
        if task is not None and task.state is TaskState.ASSIGNED:
            step.agenda.append((task, "returned", None))


def _get(step: Step, client: ClientRecord, message: m.Get) -> None:
    _returned(step, message.returned)
    requests.open_get(step, client, message)


def _wait(step: Step, client: ClientRecord, message: m.Wait) -> None:
    _returned(step, message.returned)
    requests.open_wait(step, client, message)


def _await_room(step: Step, client: ClientRecord, message: m.AwaitRoom) -> None:
    _returned(step, message.returned)
    requests.open_room(step, client, message)


def _abandon(step: Step, client: ClientRecord, message: m.Abandon) -> None:
    requests.abandon(step, client, message.request)


def _put(step: Step, client: ClientRecord, message: m.Put) -> None:
    dependencies.grant(step, client, message.object)
    if message.site:
        step.state.objects[message.object].site = sys.intern(message.site)
    dependencies.seal(step, message.object, message.payload)


def _drop(step: Step, client: ClientRecord, message: m.Drop) -> None:
    for counted, grants in message.counts:
        dependencies.drop(step, client, counted, grants)


def _cancel(step: Step, client: ClientRecord, message: m.Cancel) -> None:
    task = step.state.tasks.get(task_of(message.object))
    if task is not None and task.spec.kind != "actor":
        transitions.cancel(step, task, force=message.force, recursive=message.recursive)


def _kill(step: Step, client: ClientRecord, message: m.Kill) -> None:
    actor = step.state.actors.get(message.actor)
    if actor is None or actor.state is ActorState.DEAD:
        return
    reason = "it was killed by `ray.kill`"
    if message.no_restart:
        actors.leave(step, actor, reason)
        actors.end(step, actor, reason)
    elif actor.worker is not None:
        if actor.state is ActorState.ALIVE:
            actor.state = ActorState.RESTARTING  # Calls that come after this wait for the new process.
        placement.stop_worker(step, actor.worker, kill=True, reason=reason)
    else:
        actors.count_restart(step, actor, reason)


def _leave(step: Step, client: ClientRecord, message: m.Leave) -> None:
    worker = step.state.workers.get(client.id)
    actor = None if worker is None else worker.actor
    if worker is None or actor is None or actor.worker is not worker:
        return
    worker.orderly = True
    if actor.state is not ActorState.DEAD and not actor.leaving and not message.failed:
        actors.leave(step, actor, f"its process leaves on purpose (INTENDED_USER_EXIT): {message.reason}")


def _interrupted(step: Step, client: ClientRecord, message: m.Interrupted) -> None:
    task = step.state.tasks.get(message.task)
    if task is not None and task.worker is not None and task.worker.id == client.id:
        task.reaching = False


def _unwritten(step: Step, client: ClientRecord, message: m.Unwritten) -> None:
    if message.segment not in memory.named(step.state):
        memory.discard(step, message.segment)


def _lost(step: Step, client: ClientRecord, message: m.Lost) -> None:
    """The server has looked at the segments before; what is still known is there for everybody but the sender."""
    task = step.state.tasks.get(message.task) if message.task is not None else None
    if task is not None and task.worker is not None and task.worker.id == client.id:
        intact = any(segment in step.state.segments for segment in message.segments)
        step.agenda.append((task, "unread", message.reason if intact else ""))


def _create_group(step: Step, client: ClientRecord, message: m.CreateGroup) -> None:
    group = GroupRecord(
        message.group, message.name, message.strategy, message.bundles, client, message.detached, step.now
    )
    group.lacks = message.lacks
    groups.create(step, group)
    worker = step.state.workers.get(client.id)
    if worker is not None and (actor := worker.actor) is not None and actor.spec.detached and not message.detached:
        actor.groups += (message.group,)  # What others make lives as long as the session (as in Ray).


def _remove_group(step: Step, client: ClientRecord, message: m.RemoveGroup) -> None:
    remove_group(step, message.group)


def remove_group(step: Step, group_id: str) -> None:
    """Give a placement group back: its actors end, and its tasks fail."""
    state = step.state
    group = state.groups.get(group_id)
    if group is None or group.state is GroupState.REMOVED:
        return
    reason = "its placement group was removed (INTENDED_SYSTEM_EXIT)"
    for actor in list(state.actors.values()):
        if actor.spec.creation.group == group.id and actor.state is not ActorState.DEAD:
            placed = actor.state is ActorState.ALIVE
            never = None if placed else errors.group_removed(actor.spec.creation.name, group.id, is_actor=True)
            actors.end(step, actor, reason, never)
    for task in list(state.tasks.values()):
        if task.spec.kind == "task" and task.spec.group == group.id:
            runs = task.state in (TaskState.RUNNING, TaskState.BLOCKED, TaskState.RESUMING)
            error = errors.group_removed(task.spec.name, group.id, is_actor=False, runs=runs)
            transitions.lose_group(step, task, error)
    groups.release(step, group)


def _query(step: Step, client: ClientRecord, message: m.Query) -> None:
    answer = queries.QUERIES.get(message.what)
    if answer is None:
        known = ", ".join(sorted(queries.QUERIES))
        step.send(client, m.Answer(message.request, f"No query {message.what!r}; there are {known}.", "ValueError"))
    else:
        if message.what == "definition":
            wanted = message.arguments["definition"]
            record = step.state.functions.get(wanted)
            if (0 if record is None else record.version) < message.arguments.get("version", 0):
                step.state.awaited.setdefault(wanted, []).append((client, message))
                return
            _handed(step, client, wanted)
        elif message.what == "garbage":
            memory.collect_now(step)
        arguments = {**message.arguments, "now": step.now, "asker": client}
        try:
            told = m.Answer(message.request, answer(step.state, arguments))
        except Exception as error:  # It changed nothing: no reason to end the session of whoever asked.
            told = m.Answer(message.request, f"The query {message.what!r} failed: {error!r}.", type(error).__name__)
        step.send(client, told)


def _handed(step: Step, client: ClientRecord, definition: str) -> None:
    """A client is about to get a definition: it holds what is in it, and a worker need not be sent it again."""
    record = definitions.find(step.state, definition)
    if record is None or not record.version:
        return
    for counted in record.contained:
        dependencies.grant(step, client, counted)
    worker = step.state.workers.get(client.id)
    if worker is not None:
        worker.functions[definition] = record.version


def _done(step: Step, client: ClientRecord, message: m.Done) -> None:
    task = step.state.tasks.get(message.task)
    if task is None or task.worker is None or task.worker.id != client.id:
        for payload in message.returns:  # It ended otherwise meanwhile: by `kill`, say.
            if payload.segment:
                memory.discard(step, payload.segment)
        return
    number = task.spec.num_returns
    wanted = 0 if number == m.STREAMING else 1 if number < 0 else number
    if len(message.returns) < (1 if message.failed else 0 if message.cancelled else wanted):
        raise ValueError(f"{task.spec.name} is done with {len(message.returns)} of {wanted} return values.")
    if step.agenda:  # What came before comes first.
        step.agenda.append((task, "done", message))
    else:
        transitions.apply(step, task, "done", message)


def _unlease(step: Step, client: ClientRecord, message: m.Unlease) -> None:
    direct.end_lease(step, client, message.worker)


def _item(step: Step, client: ClientRecord, message: m.Item) -> None:
    task = step.state.tasks.get(message.task)
    if task is not None and task.worker is not None and task.worker.id == client.id:
        streams.item(step, task, message)
    elif message.payload.segment:
        memory.discard(step, message.payload.segment)


def _gave_back(step: Step, client: ClientRecord, message: m.Returned) -> None:
    worker = step.state.workers.get(client.id)
    if worker is not None:
        worker.recalled = False
    _returned(step, message.tasks)


def _consumed(step: Step, client: ClientRecord, message: m.Consumed) -> None:
    task = step.state.tasks.get(message.task)
    if task is None:
        streams.read_after(step, client.id, message.task, message.index)
    elif task.client is client:
        streams.consumed(step, task, message.index)


def _log(step: Step, client: ClientRecord, message: m.Log) -> None:
    """What is printed goes to the driver whose call it was; an actor may have been made by another one."""
    worker = step.state.workers.get(client.id)
    task = None if message.task is None else step.state.tasks.get(message.task)
    asker = client if task is None else task.client
    step.events.append(
        LogLines(
            seq=step.number(),
            at=step.now,
            stream=message.stream,
            text=message.text,
            name=message.name,
            pid=worker.pid if worker is not None else 0,
            task=None if message.task is None else message.task.hex(),
            actor=None if message.actor is None else message.actor.hex(),
            cell=message.cell,
            attempt=message.attempt,
            job=step.state.guest(asker.job),
        )
    )


def _span(step: Step, client: ClientRecord, message: m.Span) -> None:
    worker = step.state.workers.get(client.id)
    step.events.append(
        Span(
            seq=step.number(),
            at=step.now,
            name=message.name,
            since=message.since,
            until=message.until,
            worker="" if worker is None else worker.id.hex(),
            extra=message.extra,
            task=None if message.task is None else message.task.hex(),
        )
    )


def _named(step: Step, client: ClientRecord, message: m.Named) -> None:
    worker = step.state.workers.get(client.id)
    if worker is not None and worker.actor is not None:
        worker.actor.repr_name = message.text


def _ignored(step: Step, client: ClientRecord, message: m.ClientMessage) -> None:
    """Messages that are the server's own business."""


SAID: dict[type, Callable[[Step, ClientRecord, Any], None]] = {
    m.Hello: _ignored,
    m.Bind: _bind,
    m.Join: jobs.join,
    m.Export: _export,
    m.Submit: _submit,
    m.CreateActor: _create_actor,
    m.Get: _get,
    m.Wait: _wait,
    m.AwaitRoom: _await_room,
    m.AwaitRead: requests.open_read,
    m.Abandon: _abandon,
    m.Put: _put,
    m.Drop: _drop,
    m.Cancel: _cancel,
    m.Kill: _kill,
    m.Leave: _leave,
    m.Interrupted: _interrupted,
    m.Named: _named,
    m.Query: _query,
    m.Subscribe: _ignored,
    m.Done: _done,
    m.Item: _item,
    m.Returned: _gave_back,
    m.Log: _log,
    m.Span: _span,
    m.Shutdown: _ignored,
    m.Seen: _ignored,
    m.Loaded: _ignored,
    m.CellBegan: _ignored,
    m.SearchPath: _ignored,
    m.Consumed: _consumed,
    m.AwaitSpace: memory.ask,
    m.Lost: _lost,
    m.Claimed: memory.claimed,
    m.Unwritten: _unwritten,
    m.CreateGroup: _create_group,
    m.RemoveGroup: _remove_group,
    m.GroupReady: groups.announce,
    m.Ran: direct.ran,
    m.Report: direct.report,
    m.Unlease: _unlease,
}
