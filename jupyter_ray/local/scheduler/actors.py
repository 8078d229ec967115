"""Actors: who may be called, in which order, and what becomes of the calls when an actor goes.

Rules. Calls of one caller start in the order in which they were made; callers take turns, so a flood of one delays
another by one call. A worker has at most as many calls as it can run at once, and, if they are short, the next few in
advance.
"""

from __future__ import annotations

from collections import deque

from jupyter_ray.events import ActorAlive, ActorCreated, ActorDied, ActorRestarted
from jupyter_ray.local.protocol.messages import ActorSpec, Payload
from jupyter_ray.local.scheduler import endings, errors, history, memory
from jupyter_ray.local.scheduler.dependencies import grant, need, need_no_more
from jupyter_ray.local.scheduler.pauses import LONGEST
from jupyter_ray.local.scheduler.placement import AHEAD_LIMIT, AHEAD_SECONDS, begin, execute, stop_worker
from jupyter_ray.local.scheduler.records import ActorRecord, ClientRecord, TaskRecord, WorkerRecord
from jupyter_ray.local.scheduler.requests import room_made
from jupyter_ray.local.scheduler.states import ActorState, TaskState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.resources import amounts

ALIVE, DEAD = ActorState.ALIVE, ActorState.DEAD
WAITING, ASSIGNED = TaskState.WAITING, TaskState.ASSIGNED
_AHEAD_IN_GROUPS = 1000
"""So many calls of each concurrency group may be with the worker."""


def find(step: Step, name: str, namespace: str) -> ActorRecord | None:
    """Return the living actor of that name."""
    actor_id = step.state.names.get((namespace, name))
    actor = step.state.actors.get(actor_id) if actor_id is not None else None
    return None if actor is None or actor.state is DEAD or actor.leaving else actor


def register(step: Step, client: ClientRecord, spec: ActorSpec) -> ActorRecord:
    """Make the record of a new actor, held by its creator."""
    state = step.state
    actor = state.actors[spec.actor] = ActorRecord(spec, client)
    if spec.name:
        state.names[spec.namespace, spec.name] = spec.actor
    creation = spec.creation
    step.events.append(
        ActorCreated(
            seq=step.number(),
            at=step.now,
            actor=spec.actor.hex(),
            class_name=spec.class_name,
            name=spec.name or None,
            task=creation.task.hex(),
            parent=None if creation.parent is None else creation.parent.hex(),
        )
    )
    client.created_actors.add(spec.actor)
    parent = state.tasks.get(creation.parent) if creation.parent is not None else None
    grant(step, client, spec.actor, parent)
    # Kept until the actor is dead, so that it can be restarted.
    actor.function = need(step, creation)
    return actor


def count_call(actor: ActorRecord, task: TaskRecord) -> None:
    """Note a call that has begun its life."""
    actor.calls[task.id] = task
    actor.unfinished[task.client.id] = actor.unfinished.get(task.client.id, 0) + 1


def enqueue_call(step: Step, actor: ActorRecord, task: TaskRecord, *, front: bool = False) -> None:
    """Put a call into its caller's queue."""
    key = actor.lane(task)
    queue = actor.queues.get(key)
    if queue is None:
        queue = actor.queues[key] = deque()
    if front:
        queue.appendleft(task)
    else:
        queue.append(task)
    task.enqueued = True
    actor.queued += 1
    step.pump[actor] = None


def learn(actor: ActorRecord, seconds: float) -> None:
    """Note how long a call took."""
    actor.seconds = seconds if actor.seconds is None else 0.8 * actor.seconds + 0.2 * seconds


def _surplus(actor: ActorRecord) -> int:
    """Return how many calls may be handed over before their turn."""
    if actor.spec.concurrency_groups:
        return _AHEAD_IN_GROUPS * (1 + len(actor.spec.concurrency_groups))
    return 0 if actor.seconds is None else min(AHEAD_LIMIT, int(AHEAD_SECONDS / max(actor.seconds, 1e-6)))


def pump(step: Step, actor: ActorRecord) -> None:
    """Hand over as many calls as the worker may have; end the actor if nobody can call it any more."""
    if actor.state is ALIVE and not actor.leaving:
        _hand_over(step, actor)
    if actor.state is DEAD:
        if actor.holders <= 0 and not actor.calls and step.state.actors.pop(actor.id, None) is not None:
            history.remember_actor(step, actor)
        return
    if actor.holders <= 0 and not actor.calls and not actor.spec.detached and not actor.leaving:
        if actor.state is ALIVE and actor.worker is not None:
            leave(step, actor, "all references to the actor were removed")
            stop_worker(step, actor.worker, kill=False, reason=actor.leaving)
        elif actor.state in (ActorState.PENDING, ActorState.RESTARTING):
            creation = step.state.tasks.get(actor.spec.creation.task)
            if creation is not None and creation.state in (WAITING, TaskState.READY):
                step.agenda.append((creation, "cancelled", False))


def leave(step: Step, actor: ActorRecord, reason: str) -> None:
    """The actor is about to end on purpose: no new calls, no restart, and its name is free."""
    actor.leaving = reason
    _free_name(step, actor)


def _free_name(step: Step, actor: ActorRecord) -> None:
    key = (actor.spec.namespace, actor.spec.name)
    if step.state.names.get(key) == actor.id:
        del step.state.names[key]


def _hand_over(step: Step, actor: ActorRecord) -> None:
    queues, handed, worker = actor.queues, actor.handed, actor.worker
    concurrency = actor.concurrency
    if not queues:
        return
    surplus = _surplus(actor)
    if len(handed) > concurrency + surplus // 2 and not actor.spec.concurrency_groups:
        return  # There is time to hand over the next ones together.
    window = concurrency + surplus
    skipped = 0
    assert worker is not None
    while queues and skipped < len(queues) and len(handed) < window:
        caller, queue = next(iter(queues.items()))
        del queues[caller]
        while queue and not queue[0].enqueued:
            queue.popleft()  # It was cancelled.
        if not queue:
            continue
        queues[caller] = queue
        task = queue[0]
        if task.state is WAITING or actor.load.get(task.spec.concurrency_group, 0) >= _AHEAD_IN_GROUPS:
            skipped += 1
            continue
        skipped = 0
        queue.popleft()
        task.enqueued = False
        actor.queued -= 1
        hand(actor, worker, task)
        if len(handed) <= concurrency or actor.spec.concurrency_groups:
            begin(step, task)
        else:
            task.state = ASSIGNED
            task.since = step.now
            actor.ahead[task.id] = task
        execute(step, task)


def hand(actor: ActorRecord, worker: WorkerRecord, task: TaskRecord) -> None:
    """Note that the actor's worker has a call."""
    task.worker = worker
    worker.tasks[task.id] = actor.handed[task.id] = task
    if actor.spec.concurrency_groups:
        group = task.spec.concurrency_group
        actor.load[group] = actor.load.get(group, 0) + 1


def call_ended(step: Step, actor: ActorRecord, task: TaskRecord, seconds: float | None) -> None:
    """A call is over, in whatever way: count it, and let the next ones come."""
    actor.calls.pop(task.id, None)
    caller = task.client.id
    left = actor.unfinished.get(caller, 0) - 1
    if left > 0:
        actor.unfinished[caller] = left
    else:
        actor.unfinished.pop(caller, None)
    if seconds is not None:
        learn(actor, seconds)
    call_off(step, actor, task)
    if actor.room:
        room_made(step, actor)


def call_off(step: Step, actor: ActorRecord, task: TaskRecord) -> None:
    """The call is not with the actor's worker or queue any more."""
    handed, ahead = actor.handed, actor.ahead
    if handed.pop(task.id, None) is not None:
        if actor.load:
            actor.load[task.spec.concurrency_group] -= 1
        ahead.pop(task.id, None)
        if task.worker is not None:
            task.worker.tasks.pop(task.id, None)
        while ahead and len(handed) - len(ahead) < actor.concurrency:
            begin(step, ahead.pop(next(iter(ahead))))
    elif task.enqueued:
        task.enqueued = False
        actor.queued -= 1
    step.pump[actor] = None


def alive(step: Step, actor: ActorRecord) -> None:
    """The constructor returned: the actor keeps what it holds while it lives, and takes calls."""
    actor.state = ALIVE
    actor.lived = True
    allocation, worker = actor.allocation, actor.worker
    step.events.append(
        ActorAlive(
            seq=step.number(),
            at=step.now,
            actor=actor.id.hex(),
            worker=worker.id.hex() if worker is not None else "",
            pid=worker.pid if worker is not None else 0,
            held=amounts(allocation.held) if allocation is not None else {},
            gpus=allocation.gpus if allocation is not None else [],
        )
    )
    step.pump[actor] = None
    step.place = True


def died(step: Step, actor: ActorRecord, reason: str, payload: Payload | None = None) -> None:
    """The actor is gone for good: its calls fail, and what it held is free."""
    if actor.state is DEAD:
        return
    state = step.state
    actor.state = DEAD
    actor.death_reason = reason
    actor.death = payload or errors.actor_died(actor, reason)
    _free_name(step, actor)
    if actor.allocation is not None:
        endings.give_back(state, actor.allocation, actor.worker)
        actor.allocation = None
    for task in list(actor.calls.values()):
        step.agenda.append((task, "actor_died", actor.death))
    for queue in actor.queues.values():
        for task in queue:
            task.enqueued = False
    actor.queues.clear()
    actor.queued = 0
    creation = actor.spec.creation
    pending = state.tasks.get(creation.task)
    if pending is not None:
        step.agenda.append((pending, "actor_died", actor.death))
    need_no_more(step, creation, actor.function)
    if creation.segment:
        memory.discard(step, creation.segment)
    room_made(step, actor)
    actor.creator.created_actors.discard(actor.id)
    expected = bool(actor.leaving)
    name = actor.id.hex()
    step.events.append(ActorDied(seq=step.number(), at=step.now, actor=name, reason=reason, expected=expected))
    step.place = True
    step.pump[actor] = None


def end(step: Step, actor: ActorRecord, reason: str, payload: Payload | None = None) -> None:
    """The actor is gone for good, and its process is ended."""
    worker = actor.worker
    died(step, actor, reason, payload)
    if worker is not None:
        stop_worker(step, worker, kill=True, reason=reason)


def count_restart(step: Step, actor: ActorRecord, reason: str, payload: Payload | None = None) -> bool:
    """Count one restart of an actor that is not there (any more); return False if that was one too many: it is dead."""
    if 0 <= actor.spec.max_restarts <= actor.restarts:
        died(step, actor, reason, payload)
        return False
    actor.restarts += 1
    step.events.append(
        ActorRestarted(seq=step.number(), at=step.now, actor=actor.id.hex(), restarts=actor.restarts, reason=reason)
    )
    return True


def process_lost(step: Step, actor: ActorRecord, reason: str, *, out_of_memory: bool) -> bool:
    """The actor's process ended. Return True if the actor is to be made anew; else it died."""
    worker, actor.worker = actor.worker, None
    soon = worker is not None and not worker.doomed and step.now - worker.given < LONGEST
    actor.brief = actor.brief + 1 if soon else 0
    if actor.state is DEAD:
        return False
    if actor.leaving:
        died(step, actor, actor.leaving)
        return False
    payload = errors.out_of_memory(actor.label, reason) if out_of_memory else None
    if not count_restart(step, actor, f"its worker process has died: {reason}", payload):
        return False
    actor.state = ActorState.RESTARTING
    if actor.allocation is not None:
        actor.allocation.release()
        actor.allocation = None
    unavailable = errors.actor_unavailable(actor.id, actor.label, reason)
    for task in reversed(list(actor.handed.values())):
        step.agenda.append((task, "actor_lost", unavailable))
    for task in list(actor.calls.values()):
        if task.state is TaskState.READY and actor.lived:
            step.agenda.append((task, "actor_lost", unavailable))
    actor.handed.clear()
    actor.load.clear()
    actor.ahead.clear()
    if worker is not None:
        worker.tasks.clear()
    step.place = True
    step.pump[actor] = None  # Nobody may want it any more.
    return True
