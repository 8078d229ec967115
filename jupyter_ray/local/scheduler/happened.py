"""What happens to processes and with time: `HAPPENED` names the function that takes each stimulus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from jupyter_ray.events import WorkerDied, WorkerStarted
from jupyter_ray.local.protocol import names
from jupyter_ray.local.protocol.messages import STREAMING
from jupyter_ray.local.scheduler import (
    actors,
    blocking,
    dependencies,
    direct,
    endings,
    history,
    jobs,
    memory,
    pauses,
    placement,
    recovery,
    requests,
    starved,
    streams,
    transitions,
)
from jupyter_ray.local.scheduler.records import ActorRecord, ClientRecord, TaskRecord, WorkerRecord
from jupyter_ray.local.scheduler.said import remove_group
from jupyter_ray.local.scheduler.states import CRASHED, ActorState, TaskState, WorkerState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.local.scheduler.stimuli import (
    AwaitedLong,
    ClientJoined,
    DriverLeft,
    MemoryShort,
    Outdated,
    RequestExpired,
    SegmentsLost,
    Spilled,
    Tick,
    WorkerJoined,
    WorkerLost,
)

STUCK_SECONDS = 1.0


def _client_joined(step: Step, stimulus: ClientJoined) -> None:
    step.state.clients[stimulus.client] = ClientRecord(stimulus.client, is_driver=True, pid=stimulus.pid)


def _driver_left(step: Step, stimulus: DriverLeft) -> None:
    client = step.state.clients.get(stimulus.client)
    if client is None:
        return
    jobs.end(step, client)
    state = step.state
    kept = {group for actor in state.actors.values() if actor.state is not ActorState.DEAD for group in actor.groups}
    for group in list(state.groups.values()):  # Those that a detached actor made go with that.
        if group.creator.job == client.job and client.job and not group.detached and group.id not in kept:
            remove_group(step, group.id)


def _worker_joined(step: Step, stimulus: WorkerJoined) -> None:
    state = step.state
    worker = state.workers.get(stimulus.worker)
    if worker is None:
        return
    guest, _ = names.split_environment(worker.env)
    job = bytes.fromhex(guest) if guest else state.job
    state.clients[worker.id] = ClientRecord(worker.id, is_driver=False, job=job)
    worker.pid = stimulus.pid
    worker.joined = step.now
    step.events.append(WorkerStarted(seq=step.number(), at=step.now, worker=worker.id.hex(), pid=stimulus.pid))
    if worker.state is not WorkerState.STARTING:
        return
    state.unstarted = 0
    if not worker.tasks:
        placement.worker_free(step, worker)
        return
    worker.state = WorkerState.ACTOR if worker.actor is not None else WorkerState.BUSY
    for task in list(worker.tasks.values()):
        placement.begin(step, task)
        placement.execute(step, task)
    step.place = True  # An actor may have waited until fewer processes start, whatever those are for.


def _worker_lost(step: Step, stimulus: WorkerLost) -> None:
    state = step.state
    worker = state.workers.pop(stimulus.worker, None)
    if worker is None:
        return
    placement.worker_gone(step, worker)
    endings.ended(state, worker)
    if worker.state is WorkerState.STARTING and not worker.doomed:
        state.unstarted += 1
    worker.state = WorkerState.DEAD
    reason = worker.doomed or stimulus.reason
    history.remember_worker(step, worker, reason, out_of_memory=stimulus.out_of_memory)
    step.events.append(
        WorkerDied(
            seq=step.number(),
            at=step.now,
            worker=worker.id.hex(),
            reason=reason,
            expected=bool(worker.doomed) and worker.exit_type != CRASHED,
        )
    )
    client = state.clients.pop(worker.id, None)
    if client is not None:
        _disconnect(step, client)
    told = msgspec.structs.replace(stimulus, reason=reason)
    if worker.actor is not None:
        _actor_process_lost(step, worker, worker.actor, told)
    else:
        for task in reversed(list(worker.tasks.values())):  # What had not begun goes to the front, one by one.
            step.agenda.append((task, "worker_lost", told))
    if client is not None:
        _clear_up_after(step, worker, client)


def _disconnect(step: Step, client: ClientRecord) -> None:
    """A worker's process is gone: nobody waits for its answers, nor writes what it was about to write."""
    client.connected = False
    for request in list(client.requests.values()):
        if request.task is not None and request.task.spec.kind == "actor":
            request.task = None  # It waits no more, and may be on its way to another process.
        requests.abandon(step, client, request.id)
    memory.client_gone(step, client.id)


def _actor_process_lost(step: Step, worker: WorkerRecord, actor: ActorRecord, lost: WorkerLost) -> None:
    """An actor's process is gone: queue its constructor for another one, if it is to be restarted."""
    creation = step.state.tasks.get(actor.spec.creation.task)
    if creation is not None and creation.worker is worker:
        worker.tasks.pop(creation.id, None)
    actor.last_pid = worker.pid
    actor.untold = not worker.doomed and not actor.leaving
    if actor.worker is worker and actors.process_lost(step, actor, lost.reason, out_of_memory=lost.out_of_memory):
        spec = actor.spec.creation
        creation = creation or TaskRecord(
            spec.task, spec, actor.creator, spec.task.hex(), actor=actor, since=step.now, made=step.now
        )
        creation.retry_reason = lost.reason
        _make_again(step, creation, actor, short=lost.out_of_memory)


def _clear_up_after(step: Step, worker: WorkerRecord, client: ClientRecord) -> None:
    """Let what a worker's process held, leased, read and had started go with it."""
    direct.end_leases(step, client)
    dependencies.drop_all(step, client)
    if not worker.retired:
        _orphans(step, client, worker.actor, tasks=not worker.orderly)
    streams.reader_gone(step, client.id)
    job = step.state.jobs.get(client.job)
    if job is not None and job.ended:  # It may have been the last that kept something of it.
        jobs.sweep(step, job.id)


def _make_again(step: Step, creation: TaskRecord, actor: ActorRecord, *, short: bool) -> None:
    """Queue a constructor for another process; memory may be `short`."""
    if creation.id not in step.state.tasks:
        step.state.tasks[creation.id] = creation
        creation.function = dependencies.need(step, creation.spec, actor.function)
    creation.worker = None
    creation.allocation = None
    creation.lent = None
    creation.blocking = 0
    creation.attempt = actor.restarts
    creation.state = TaskState.READY
    pauses.begin(step, creation, actor.brief, long=short)


def _orphans(step: Step, client: ClientRecord, own: ActorRecord | None, *, tasks: bool) -> None:
    """What a dead process had started and nobody else wants ends with it, as in Ray.

    Of an actor's process that is what the actor had started; what tasks had that ran there before goes on.
    A task that runs ends with its process, and what it had started in its turn. A call that an actor has goes on, but
    for a stream, which nobody else can read.
    """
    state = step.state
    for task in list(state.tasks.values()) if tasks else ():
        if task.client is not client or task.spec.kind == "actor" or not jobs.started_by(own, task.spec):
            continue
        begun = task.state not in (TaskState.WAITING, TaskState.READY)
        if task.spec.kind == "method" and begun and task.spec.num_returns != STREAMING:
            continue
        records = (state.objects.get(object_id) for object_id in streams.returns(task.spec))
        if not any(record is not None and (record.holders > 0 or record.pins > 0) for record in records):
            transitions.cancel(step, task, force=task.spec.kind == "task", recursive=False)
    for actor_id in list(client.created_actors):
        actor = state.actors.get(actor_id)
        if actor is None or not jobs.started_by(own, actor.spec.creation):
            continue
        if not actor.spec.detached and actor.state is not ActorState.DEAD:
            actors.end(step, actor, "its owner has died: the process that made it is gone")


def _request_expired(step: Step, stimulus: RequestExpired) -> None:
    client = step.state.clients.get(stimulus.client)
    if client is not None:
        requests.expire(step, client, stimulus.request)


def _outdated(step: Step, stimulus: Outdated) -> None:
    for worker in [step.state.workers.get(each) for each in stimulus.workers]:
        if worker is None or worker.actor is not None:  # An actor keeps what it has begun with.
            continue
        worker.outdated = True
        if worker.state is WorkerState.IDLE:
            placement.worker_free(step, worker)
        elif (lease := step.state.leases.get(worker.id)) is not None:
            direct.ask_back(step, lease)
        elif worker.state is WorkerState.BUSY and len(worker.tasks) > 1:
            placement.take_back(step, worker)


def _memory_short(step: Step, stimulus: MemoryShort) -> None:
    memory.short(step)


def _segments_lost(step: Step, stimulus: SegmentsLost) -> None:
    recovery.lose(step, stimulus.segments)


def _awaited_long(step: Step, stimulus: AwaitedLong) -> None:
    step.suspect = True


def _tick(step: Step, stimulus: Tick) -> None:
    placement.tick(step)
    blocking.tick(step)
    memory.tick(step)
    direct.tick(step)
    if starved.stuck(step.state, step.now - STUCK_SECONDS):
        memory.collect(step)  # Only garbage may hold the handles of those actors.
    pauses.end(step)


HAPPENED: dict[type, Callable[[Step, Any], None]] = {
    ClientJoined: _client_joined,
    DriverLeft: _driver_left,
    WorkerJoined: _worker_joined,
    WorkerLost: _worker_lost,
    RequestExpired: _request_expired,
    Spilled: memory.spilled,
    SegmentsLost: _segments_lost,
    MemoryShort: _memory_short,
    Outdated: _outdated,
    AwaitedLong: _awaited_long,
    Tick: _tick,
}
