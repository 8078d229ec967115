"""The scheduler: a stimulus in, a list of commands out.

No sockets, no clock, no randomness: `handle` gets the time with the stimulus, and its results can be replayed. A
client's message is taken by the function that `_SAID` names for its type; that changes records and leaves an agenda,
which `_settle` works off until nothing is left. Events are numbered as they are made; `take_events` hands them to
whoever keeps the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_ray.events import AnyEvent, LogLines, RuntimeReady, WorkerDied, WorkerStarted
from jupyter_ray.ids import task_of
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler import (
    actors,
    deadlock,
    dependencies,
    placement,
    queries,
    requests,
    streams,
    submission,
    transitions,
)
from jupyter_ray.local.scheduler.commands import Command, DiscardSegment
from jupyter_ray.local.scheduler.ledger import Ledger
from jupyter_ray.local.scheduler.records import (
    ActorState,
    ClientRecord,
    FunctionRecord,
    State,
    TaskRecord,
    TaskState,
    WorkerState,
)
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.local.scheduler.stimuli import (
    ClientJoined,
    RequestExpired,
    Said,
    Stimulus,
    Tick,
    WorkerJoined,
    WorkerLost,
)
from jupyter_ray.resources import CPU, PARTS, amounts

PRESTART = 8
"""At most this many workers are started before anybody asks."""


class Scheduler:
    """The state of one session, and the one way to change it. `pid` is the process that it runs in."""

    def __init__(self, pid: int = 0) -> None:
        self.state = State(pid=pid)
        self._seq = 0
        self._events: list[AnyEvent] = []

    def handle(self, stimulus: Stimulus, now: float) -> list[Command]:
        """Take one stimulus at the time `now` (Unix seconds) and return what is to be done, in order."""
        step = Step(self.state, now, self._seq)
        if type(stimulus) is Said:
            client = self.state.clients.get(stimulus.client)
            if client is not None:
                _SAID[type(stimulus.message)](step, client, stimulus.message)
        else:
            _HAPPENED[type(stimulus)](step, stimulus)
        _settle(step)
        self._seq = step.seq
        self._events += step.events
        return step.commands

    def take_events(self) -> list[AnyEvent]:
        """Return the events since the last time, in order."""
        events, self._events = self._events, []
        return events

    @property
    def wants_tick(self) -> bool:
        """Whether something may become due without a stimulus: give `Tick` some ten times a second while it is so."""
        state = self.state
        keep = max(1, state.ledger.total.get(CPU, 0) // PARTS)
        if sum(map(len, state.idle.values())) > keep:
            return True
        return any(len(worker.tasks) > 1 for queue in state.order for worker in queue.workers)

    def __repr__(self) -> str:
        return f"<Scheduler: {self.state!r}>"


def _settle(step: Step) -> None:
    while True:
        if step.agenda:
            task, stimulus, detail = step.agenda.popleft()
            transitions.apply(step, task, stimulus, detail)
        elif step.answers:
            requests.reply(step, step.answers.pop(0))
        elif step.pump:
            actor = next(iter(step.pump))
            del step.pump[actor]
            actors.pump(step, actor)
        elif step.place:
            step.place = False
            placement.place(step)
        elif step.suspect:
            step.suspect = False
            refused = deadlock.break_deadlock(step.state)
            if refused is not None:
                requests.refuse(step, *refused)
                step.suspect = True
        else:
            return


# --- what clients say --------------------------------------------------------------------------------------------


def _bind(step: Step, client: ClientRecord, message: m.Bind) -> None:
    state = step.state
    if state.bound:
        step.send(client, m.Answer(message.request, "This runtime is bound already.", "RuntimeError"))
        return
    state.ledger = Ledger(message.resources, message.gpus)
    state.namespace = message.namespace
    state.env = message.env
    state.bound = True
    for _ in range(min(PRESTART, max(1, message.resources.get(CPU, 0) // PARTS))):
        placement.start_worker(step, message.env)
    step.events.append(
        RuntimeReady(
            seq=step.number(),
            at=step.now,
            pid=state.pid,
            engine="local",
            resources=amounts(message.resources),
            gpus=message.gpus,
        )
    )
    step.place = True
    step.send(client, m.Answer(message.request, queries.resources(state, {})))


def _export(step: Step, client: ClientRecord, message: m.Export) -> None:
    old = step.state.functions.get(message.definition)
    dependencies.pin(step, message.contained)
    step.state.functions[message.definition] = FunctionRecord(
        message.definition, message.version, message.name, message.blob, message.contained
    )
    if old is not None:
        dependencies.unpin(step, old.contained)


def _submit(step: Step, client: ClientRecord, message: m.Submit) -> None:
    spec = message.spec
    actor = step.state.actors.get(spec.actor) if spec.kind == "method" and spec.actor is not None else None
    submission.submit(step, client, spec, actor)


def _create_actor(step: Step, client: ClientRecord, message: m.CreateActor) -> None:
    spec = message.spec
    existing = actors.find(step, spec.name, spec.namespace) if spec.name else None
    if existing is not None and not spec.get_if_exists:
        text = f"The name {spec.name!r} (namespace={spec.namespace!r}) is already taken by a living actor."
        step.send(client, m.Answer(message.request, text, "ActorAlreadyExistsError"))
        return
    if existing is not None:
        dependencies.grant(step, client, existing.id)
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
    reason = "it was ended by kill()"
    if message.no_restart:
        worker = actor.worker
        actors.leave(step, actor, reason)
        actors.died(step, actor, reason)
        if worker is not None:
            placement.stop_worker(step, worker, kill=True, reason=reason)
    elif actor.worker is not None:
        placement.stop_worker(step, actor.worker, kill=True, reason=reason)


def _query(step: Step, client: ClientRecord, message: m.Query) -> None:
    answer = queries.QUERIES.get(message.what)
    if answer is None:
        known = ", ".join(sorted(queries.QUERIES))
        step.send(client, m.Answer(message.request, f"No query {message.what!r}; there are {known}.", "ValueError"))
    else:
        step.send(client, m.Answer(message.request, answer(step.state, {**message.arguments, "now": step.now})))


def _done(step: Step, client: ClientRecord, message: m.Done) -> None:
    task = step.state.tasks.get(message.task)
    if task is None or task.worker is None or task.worker.id != client.id:
        for payload in message.returns:  # It ended otherwise meanwhile: by `kill`, say.
            if payload.segment:
                step.commands.append(DiscardSegment(payload.segment, payload.size))
        return
    step.agenda.append((task, "done", message))


def _item(step: Step, client: ClientRecord, message: m.Item) -> None:
    task = step.state.tasks.get(message.task)
    if task is not None and task.worker is not None and task.worker.id == client.id:
        streams.item(step, task, message)
    elif message.payload.segment:
        step.commands.append(DiscardSegment(message.payload.segment, message.payload.size))


def _gave_back(step: Step, client: ClientRecord, message: m.Returned) -> None:
    worker = step.state.workers.get(client.id)
    if worker is not None:
        worker.recalled = False
    _returned(step, message.tasks)


def _consumed(step: Step, client: ClientRecord, message: m.Consumed) -> None:
    task = step.state.tasks.get(message.task)
    if task is not None and task.client is client:
        streams.consumed(step, task, message.index)


def _log(step: Step, client: ClientRecord, message: m.Log) -> None:
    worker = step.state.workers.get(client.id)
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
        )
    )


def _ignored(step: Step, client: ClientRecord, message: m.ClientMessage) -> None:
    """Messages that are the server's own business."""


_SAID: dict[type, Callable[[Step, ClientRecord, Any], None]] = {
    m.Hello: _ignored,
    m.Bind: _bind,
    m.Export: _export,
    m.Submit: _submit,
    m.CreateActor: _create_actor,
    m.Get: _get,
    m.Wait: _wait,
    m.AwaitRoom: _await_room,
    m.Abandon: _abandon,
    m.Put: _put,
    m.Drop: _drop,
    m.Cancel: _cancel,
    m.Kill: _kill,
    m.Query: _query,
    m.Subscribe: _ignored,
    m.Done: _done,
    m.Item: _item,
    m.Returned: _gave_back,
    m.Log: _log,
    m.Shutdown: _ignored,
    m.Consumed: _consumed,
}


# --- what happens ------------------------------------------------------------------------------------------------


def _client_joined(step: Step, stimulus: ClientJoined) -> None:
    step.state.clients[stimulus.client] = ClientRecord(stimulus.client, is_driver=True)


def _worker_joined(step: Step, stimulus: WorkerJoined) -> None:
    state = step.state
    worker = state.workers.get(stimulus.worker)
    if worker is None:
        return
    state.clients[worker.id] = ClientRecord(worker.id, is_driver=False)
    worker.pid = stimulus.pid
    step.events.append(WorkerStarted(seq=step.number(), at=step.now, worker=worker.id.hex(), pid=stimulus.pid))
    if worker.state is not WorkerState.STARTING:
        return
    if not worker.tasks:
        placement.worker_free(step, worker)
        return
    worker.state = WorkerState.ACTOR if worker.actor is not None else WorkerState.BUSY
    for task in list(worker.tasks.values()):
        placement.begin(step, task)
        placement.execute(step, task)


def _worker_lost(step: Step, stimulus: WorkerLost) -> None:
    state = step.state
    worker = state.workers.pop(stimulus.worker, None)
    if worker is None:
        return
    placement.worker_gone(step, worker)
    worker.state = WorkerState.DEAD
    reason = worker.doomed or stimulus.reason
    step.events.append(
        WorkerDied(seq=step.number(), at=step.now, worker=worker.id.hex(), reason=reason, expected=bool(worker.doomed))
    )
    client = state.clients.pop(worker.id, None)
    if client is not None:
        client.connected = False
        for request in list(client.requests):
            requests.abandon(step, client, request)
    tasks = list(worker.tasks.values())
    actor = worker.actor
    if actor is not None:
        creation = state.tasks.get(actor.spec.creation.task)
        if creation is not None and creation.worker is worker:
            worker.tasks.pop(creation.id, None)
        if actor.worker is worker and actors.process_lost(step, actor, reason):
            _make_again(step, creation or TaskRecord(actor.spec.creation, actor.creator, actor=actor), actor.restarts)
    else:
        for task in tasks:
            step.agenda.append((task, "worker_lost", (reason, stimulus.out_of_memory)))
    if client is not None:
        dependencies.drop_all(step, client)
        if not worker.retired:
            _orphans(step, client)


def _make_again(step: Step, creation: TaskRecord, attempt: int) -> None:
    """Queue a constructor for another process."""
    if creation.id not in step.state.tasks:
        step.state.tasks[creation.id] = creation
        dependencies.pin(step, creation.spec.dependencies)
        dependencies.pin(step, creation.spec.contained)
    creation.worker = None
    creation.allocation = None
    creation.lent = {}
    creation.blocking = 0
    creation.attempt = attempt
    creation.state = TaskState.READY
    placement.enqueue(step, creation)


def _orphans(step: Step, client: ClientRecord) -> None:
    """What a dead process had started and nobody else wants ends with it, as in Ray."""
    state = step.state
    for task in list(state.tasks.values()):
        if task.client is not client or task.spec.kind == "actor":
            continue
        records = (state.objects.get(object_id) for object_id in streams.returns(task.spec))
        if not any(record is not None and (record.holders > 0 or record.pins > 0) for record in records):
            transitions.cancel(step, task, force=task.spec.kind == "task", recursive=True)
    for actor_id in list(client.created_actors):
        actor = state.actors.get(actor_id)
        if actor is not None and not actor.spec.detached and actor.state is not ActorState.DEAD:
            reason = "the process that made it is gone"
            worker = actor.worker
            actors.died(step, actor, reason)
            if worker is not None:
                placement.stop_worker(step, worker, kill=True, reason=reason)


def _request_expired(step: Step, stimulus: RequestExpired) -> None:
    client = step.state.clients.get(stimulus.client)
    if client is not None:
        requests.expire(step, client, stimulus.request)


def _tick(step: Step, stimulus: Tick) -> None:
    placement.tick(step)


_HAPPENED: dict[type, Callable[[Step, Any], None]] = {
    ClientJoined: _client_joined,
    WorkerJoined: _worker_joined,
    WorkerLost: _worker_lost,
    RequestExpired: _request_expired,
    Tick: _tick,
}
