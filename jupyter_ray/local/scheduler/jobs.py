"""The jobs of drivers that joined: their beginning, and their end, with which ends what they have made.

With the first driver the whole runtime ends; of another one, what its detached actors have made lives on with them.
"""

from __future__ import annotations

from jupyter_ray.ids import ACTOR_ID_SIZE
from jupyter_ray.local.protocol import names
from jupyter_ray.local.protocol.messages import STREAMING, Answer, Bind, Join, TaskSpec
from jupyter_ray.local.scheduler import (
    actors,
    dependencies,
    direct,
    errors,
    memory,
    placement,
    queries,
    requests,
    streams,
)
from jupyter_ray.local.scheduler.records import ActorRecord, ClientRecord, JobRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ActorState, TaskState
from jupyter_ray.local.scheduler.step import Step

KEPT = 1_000
"""So many jobs that have ended are still told of."""


def begin(step: Step, client: ClientRecord, message: Bind | Join) -> None:
    """Note the job of a driver."""
    jobs = step.state.jobs
    client.job = message.job
    jobs[message.job] = JobRecord(
        message.job,
        client.id,
        client.pid,
        message.namespace,
        message.env,
        message.entrypoint,
        message.metadata,
        step.now,
    )
    ended = [job.id for job in jobs.values() if job.ended and not lives_on(step.state, job.id)]
    for job in ended[:-KEPT]:
        del jobs[job]


def join(step: Step, client: ClientRecord, message: Join) -> None:
    """A guest tells of its job."""
    begin(step, client, message)
    step.send(client, Answer(message.request, {**queries.resources(step.state, {}), **message.told}))


def lives_on(state: State, job: bytes) -> bool:
    """Tell whether a job has detached actors, which outlive its driver."""
    return any(
        actor.spec.detached and actor.creator.job == job and actor.state is not ActorState.DEAD
        for actor in state.actors.values()
    )


def end(step: Step, client: ClientRecord) -> None:
    """A driver that had joined is gone."""
    state = step.state
    client.connected = False
    for request in list(client.requests):
        requests.abandon(step, client, request)
    memory.client_gone(step, client.id)
    del state.clients[client.id]
    job = state.jobs.get(client.job)
    if job is not None:
        job.ended = step.now
        sweep(step, client.job)
    direct.end_leases(step, client)
    streams.reader_gone(step, client.id)
    dependencies.drop_all(step, client)


def sweep(step: Step, job: bytes) -> None:
    """End what a job has that has ended; but not its detached actors, nor what those have made."""
    state = step.state
    staying = _staying(state, job) if lives_on(state, job) else {}
    for actor in list(state.actors.values()):
        stays = actor.spec.detached or _is_of(staying, actor.creator, actor.spec.creation)
        if actor.creator.job == job and not stays:
            actors.died(step, actor, errors.JOB_ENDED)
    guest = state.guest(job)
    for worker in list(state.workers.values()):
        if names.split_environment(worker.env)[0] == guest and worker.id not in staying:
            placement.stop_worker(step, worker, kill=True, reason=errors.JOB_ENDED)
    for task in list(state.tasks.values()):
        if task.client.job != job or task.spec.kind == "actor" or _is_of(staying, task.client, task.spec):
            continue
        queued = task.state in (TaskState.WAITING, TaskState.READY)
        elsewhere = task.worker is not None and not task.worker.doomed
        if elsewhere and not queued and task.state is not TaskState.ASSIGNED and task.spec.num_returns != STREAMING:
            continue  # A call that an actor of somebody else has begun goes on, as when another caller dies.
        task.cancel_asked = True
        if queued or elsewhere:  # Else it ends with its worker, and is not tried again.
            step.agenda.append((task, "cancelled", False))


def _staying(state: State, job: bytes) -> dict[bytes, ActorRecord | None]:
    """Return the workers of a job's detached actors, and of what these have made in their turn, with their actors."""
    staying: dict[bytes, ActorRecord | None] = {}
    while True:
        before = len(staying)
        for actor in state.actors.values():
            stays = (actor.spec.detached and actor.creator.job == job) or _is_of(
                staying, actor.creator, actor.spec.creation
            )
            if actor.worker is not None and stays:
                staying[actor.worker.id] = actor
        for task in state.tasks.values():
            begun = task.spec.kind == "task" and task.state is not TaskState.ASSIGNED  # Else it runs elsewhere.
            if begun and task.worker is not None and _is_of(staying, task.client, task.spec):
                staying[task.worker.id] = None
        if len(staying) == before:
            return staying


def _is_of(staying: dict[bytes, ActorRecord | None], client: ClientRecord, spec: TaskSpec) -> bool:
    """Tell whether a call was made by what stays; see `started_by`."""
    return client.id in staying and started_by(staying[client.id], spec)


def started_by(own: ActorRecord | None, spec: TaskSpec) -> bool:
    """Tell whether a call was made by the actor of a process itself, and not by a task that had run there before."""
    return own is None or spec.parent is None or spec.parent[-ACTOR_ID_SIZE:] == own.id
