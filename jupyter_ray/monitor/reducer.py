"""Folds events into the model, one at a time: no I/O, no clock, no locks.

This runs in the kernel's process beside the user's code, so it does little for each event: it changes records and
notes which rows are dirty. Whatever needs a look at many records (resource rows, lists for the panel) is left to
`snapshot`, which runs at most ten times a second.

Events about tasks, actors and workers that have no record (folded long ago, or older than the subscription) change
nothing, with one exception: a task that starts out of the blue gets a record, because it holds resources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from jupyter_ray import events as ev
from jupyter_ray.monitor.model import (
    ENDED,
    STARTED,
    Actor,
    Group,
    Holder,
    Model,
    RuntimeState,
    Task,
    TaskState,
    Worker,
)


def fold(model: Model, events: Iterable[ev.Event]) -> None:
    """Fold `events`, in their order, into `model`.

    If one of them raises, the events before it are folded; with an iterator, the caller may go on after it.
    """
    handler_of = _HANDLERS.get
    for event in events:
        model.events += 1
        handler = handler_of(event.__class__)
        if handler is not None:
            handler(model, event)


def set_runtime(
    model: Model,
    state: RuntimeState,
    *,
    at: float,
    message: str = "",
    pid: int | None = None,
    engine: str | None = None,
) -> None:
    """Set the state of the runtime as a whole; when that is its end, nothing lives any more.

    Parameters
    ----------
    state
        The new state.
    at
        Now, in Unix seconds.
    message
        What a person should know: why it is so, what to do.
    pid
        The runtime's process. None keeps the known one, unless the runtime is gone.
    engine
        ``"local"`` or ``"ray"``; None keeps the known one.
    """
    runtime = model.runtime
    gone = state in ("absent", "stopped", "dead")
    if runtime.state != state:
        runtime.since = at
    runtime.state = state
    runtime.message = message
    runtime.pid = None if gone else (pid if pid is not None else runtime.pid)
    runtime.engine = engine or runtime.engine
    model.dirty.runtime = True
    if gone:
        model.totals = {}
        model.gpus = []
        model.dirty.resources = True
        _end_everything(model, at, "failed" if state == "dead" else "cancelled", message or "the runtime stopped")


# Changes that several events share


def _move(model: Model, task: Task, state: TaskState, at: float) -> None:
    group = task.group
    counts = group.counts
    counts[task.state] -= 1
    counts[state] += 1
    group.last = at
    task.state = state
    dirty = model.dirty
    dirty.groups[group.id] = group
    if task.shown:
        dirty.tasks[task.id] = task


def _leave_worker(model: Model, task: Task) -> None:
    """The task runs no more: what it held and where it ran are free."""
    del model.holding[task.id]
    if task.granted:
        model.dirty.resources = True
    task.granted = task.lent = task.waits_for = None
    worker = model.workers.get(task.worker or "")
    if worker is not None and worker.task == task.id:
        worker.task = None
        worker.state = "actor" if worker.actor is not None else "idle"
        model.dirty.workers[worker.id] = worker


def _end(model: Model, task_id: str, at: float, state: TaskState, error: str | None) -> None:
    task = model.tasks.get(task_id)
    if task is None or task.state in ENDED:
        return
    started = task.state in STARTED
    if started:
        _leave_worker(model, task)
    owner = task.owner
    if owner is not None:
        if started:
            owner.running -= 1
        else:
            owner.queue -= 1
        owner.finished += 1
        model.dirty.actors[owner.id] = owner
    _move(model, task, state, at)
    task.ended = at
    task.error = error
    model.retire(task)


def _reopen(model: Model, task: Task) -> None:
    """An attempt is over, or the result was lost: take back what its start, or its end, changed elsewhere."""
    if task.state in STARTED:
        _leave_worker(model, task)
        if task.owner is not None:
            task.owner.running -= 1
            task.owner.queue += 1
    elif task.state in ENDED:
        if task.parent in model.tasks:
            model.tasks[task.parent].children += 1
        if task.owner is not None:
            task.owner.finished -= 1
            task.owner.queue += 1
    if task.owner is not None:
        model.dirty.actors[task.owner.id] = task.owner


def _end_everything(model: Model, at: float, state: TaskState, reason: str) -> None:
    for task in list(model.tasks.values()):
        _end(model, task.id, at, state, reason if state == "failed" else None)
    for actor in list(model.actors.values()):
        _actor_died(model, ev.ActorDied(actor=actor.id, reason=reason, at=at))
    for worker in list(model.workers):
        _worker_died(model, ev.WorkerDied(worker=worker, reason=reason, expected=True, at=at))


# The runtime


def _runtime_ready(model: Model, event: ev.RuntimeReady) -> None:
    model.totals = dict(event.resources)
    model.gpus = list(event.gpus)
    model.dirty.resources = True
    set_runtime(model, "ready", at=event.at, pid=event.pid, engine=event.engine)


def _runtime_stopped(model: Model, event: ev.RuntimeStopped) -> None:
    set_runtime(model, "stopped" if event.expected else "dead", at=event.at, message=event.message)


# Tasks


def _task_submitted(model: Model, event: ev.TaskSubmitted) -> None:
    task_id, name, kind, parent_id, at = event.task, event.name, event.kind, event.parent, event.at
    if task_id in model.tasks:
        return
    parent_group: Group | None = None
    if parent_id is not None:
        parent = model.tasks.get(parent_id)
        if parent is not None:
            parent.children += 1
            parent_group = parent.group
    key = (event.site, name, kind, parent_group.id if parent_group is not None else None)
    group = model.group_index.get(key)
    if group is None:
        group = model.new_group(site=event.site, name=name, kind=kind, cell=event.cell, parent=parent_group, at=at)
    if event.demand != group.demand:
        group.demand = event.demand
    actor_id, owner = event.actor, None
    if actor_id is not None:
        if kind == "method":
            owner = model.actors.get(actor_id)
            if owner is not None:
                owner.queue += 1
                model.dirty.actors[actor_id] = owner
        _note_actor(group, actor_id)
    deps = None
    if event.dependencies:
        # What the parent itself made is there already: that is no edge of the DAG.
        deps = model.producers_of(event.dependencies, but=parent_id)
        _link_groups(model, group, event.dependencies)
    task = Task(
        id=task_id,
        name=name,
        kind=kind,
        state="waiting" if event.dependencies else "pending",
        group=group,
        parent=parent_id,
        actor=actor_id,
        cell=event.cell,
        demand=group.demand,
        submitted=at,
        owner=owner,
        deps=deps,
    )
    group.counts[task.state] += 1
    group.last = at
    model.dirty.groups[group.id] = group
    made = (task_id, group)
    for key_of_object in event.returns:
        model.producers[key_of_object] = made
    if len(model.producers) > model.limits.objects:
        model.trim_objects()
    model.admit(task)


def _note_actor(group: Group, actor_id: str) -> None:
    """A group names its actor as long as it has only one."""
    if group.actor != actor_id:
        group.actor = actor_id if not any(group.counts.values()) else None


def _link_groups(model: Model, group: Group, objects: list[str]) -> None:
    for key in objects[: model.limits.links]:
        made = model.producers.get(key)
        if made is not None and made[1] is not group:
            source = made[1].id if made[1].id in model.groups else "other"
            if source != group.id and source not in group.deps:
                group.deps[source] = None


def _task_queued(model: Model, event: ev.TaskQueued) -> None:
    task = model.tasks.get(event.task)
    if task is not None and task.state == "waiting":
        _move(model, task, "pending", event.at)


def _task_started(model: Model, event: ev.TaskStarted) -> None:
    task = model.tasks.get(event.task)
    if task is None:
        task = _unknown_task(model, event)
    elif task.state in STARTED or task.state in ENDED:
        _reopen(model, task)
    owner = task.owner
    if owner is not None:
        owner.queue -= 1
        owner.running += 1
        model.dirty.actors[owner.id] = owner
    _move(model, task, "running", event.at)
    task.worker = event.worker
    task.started = event.at
    task.ended = None
    task.attempt = event.attempt
    if event.held:
        task.granted = event.held
        model.dirty.resources = True
    if event.gpus:
        task.gpus = event.gpus
    model.holding[task.id] = task
    if not task.shown:
        model.show(task)
    if task.kind == "actor":
        actor = model.actors.get(task.actor or "")
        if actor is not None and actor.state == "pending":
            actor.state = "starting"
            model.dirty.actors[actor.id] = actor
    worker = model.workers.get(event.worker)
    if worker is None:
        worker = model.workers[event.worker] = Worker(id=event.worker, pid=None, started=event.at)
    worker.task = task.id
    worker.state = "actor" if worker.actor is not None else "busy"
    model.dirty.workers[worker.id] = worker


def _unknown_task(model: Model, event: ev.TaskStarted) -> Task:
    group = model.group_index.get((None, "earlier calls", "task", None)) or model.new_group(
        site=None, name="earlier calls", kind="task", cell=None, parent=None, at=event.at
    )
    task = Task(
        id=event.task,
        name=f"task {event.task[:8]}",
        kind="task",
        state="pending",
        group=group,
        parent=None,
        actor=None,
        cell=None,
        demand=event.held,
        submitted=event.at,
    )
    group.counts["pending"] += 1
    model.admit(task)
    return task


def _task_blocked(model: Model, event: ev.TaskBlocked) -> None:
    task = model.tasks.get(event.task)
    if task is None or task.state not in STARTED:
        return
    _move(model, task, "blocked", event.at)
    task.waits_for = model.producers_of(event.waits_for, but=task.id)
    task.lent = event.lent or None
    if event.lent:
        model.dirty.resources = True
    _mark_worker(model, task, "busy", "blocked")


def _task_unblocked(model: Model, event: ev.TaskUnblocked) -> None:
    task = model.tasks.get(event.task)
    if task is None or task.state != "blocked":
        return
    _move(model, task, "running", event.at)
    if task.lent:
        model.dirty.resources = True
    task.lent = task.waits_for = None
    _mark_worker(model, task, "blocked", "busy")


def _mark_worker(model: Model, task: Task, before: str, after: Any) -> None:
    worker = model.workers.get(task.worker or "")
    if worker is not None and worker.task == task.id and worker.state == before:
        worker.state = after
        model.dirty.workers[worker.id] = worker


def _task_finished(model: Model, event: ev.TaskFinished) -> None:
    _end(model, event.task, event.at, "finished", None)


def _task_failed(model: Model, event: ev.TaskFailed) -> None:
    _end(model, event.task, event.at, "failed", event.error[: model.limits.text])


def _task_cancelled(model: Model, event: ev.TaskCancelled) -> None:
    _end(model, event.task, event.at, "cancelled", None)


def _task_retried(model: Model, event: ev.TaskRetried) -> None:
    task = model.tasks.get(event.task)
    if task is None:
        return
    _reopen(model, task)
    _move(model, task, "pending", event.at)
    task.attempt = event.attempt
    task.error = event.reason[: model.limits.text]
    task.worker = task.gpus = task.started = task.ended = None


# Actors and their handles


def _actor_created(model: Model, event: ev.ActorCreated) -> None:
    actor = _actor_record(model, event.actor, event.at)
    actor.class_name = event.class_name
    actor.name = event.name
    actor.task = event.task
    actor.parent = event.parent
    constructor = model.tasks.get(event.task)
    if constructor is not None and constructor.actor is None:
        constructor.actor = event.actor
        if constructor.shown:
            model.dirty.tasks[constructor.id] = constructor


def _actor_record(model: Model, actor_id: str, at: float) -> Actor:
    actor = model.actors.get(actor_id)
    if actor is None:
        actor = Actor(id=actor_id, name=None, class_name="actor", task="", parent=None, created=at)
        model.actors[actor_id] = actor
    model.dirty.actors[actor_id] = actor
    return actor


def _actor_alive(model: Model, event: ev.ActorAlive) -> None:
    actor = _actor_record(model, event.actor, event.at)
    actor.state = "alive"
    actor.worker = event.worker
    actor.pid = event.pid
    actor.held = event.held
    actor.gpus = event.gpus
    actor.error = None
    constructor = model.holding.get(actor.task)
    if constructor is not None:  # What the constructor held is the actor's now; it must not count twice.
        constructor.granted = constructor.gpus = None
        if constructor.shown:
            model.dirty.tasks[constructor.id] = constructor
    worker = model.workers.get(event.worker)
    if worker is None:
        worker = model.workers[event.worker] = Worker(id=event.worker, pid=event.pid, started=event.at)
    worker.actor = actor.id
    worker.state = "actor"
    model.dirty.workers[worker.id] = worker
    model.dirty.resources = True


def _actor_restarted(model: Model, event: ev.ActorRestarted) -> None:
    actor = _actor_record(model, event.actor, event.at)
    actor.state = "restarting"
    actor.restarts = event.restarts
    actor.error = event.reason[: model.limits.text]
    _release_actor(model, actor)


def _actor_died(model: Model, event: ev.ActorDied) -> None:
    actor = model.actors.get(event.actor)
    if actor is None or actor.state == "dead":
        return
    actor.state = "dead"
    actor.error = event.reason[: model.limits.text]
    _release_actor(model, actor)
    model.dirty.actors[actor.id] = actor
    model.bury(actor)


def _release_actor(model: Model, actor: Actor) -> None:
    worker = model.workers.get(actor.worker or "")
    if worker is not None and worker.actor == actor.id:
        worker.actor = None
        worker.state = "busy" if worker.task is not None else "idle"
        model.dirty.workers[worker.id] = worker
    actor.worker = actor.pid = None
    actor.held = {}
    actor.gpus = []
    model.dirty.resources = True


def _handle_passed(model: Model, event: ev.HandlePassed) -> None:
    actor = model.actors.get(event.actor)
    if actor is None:
        return
    holder = actor.holders.get(event.holder)
    if holder is None:
        holder = actor.holders[event.holder] = Holder(kind=event.holder_kind, label=event.label)
    holder.count += 1
    model.dirty.actors[actor.id] = actor


def _handle_dropped(model: Model, event: ev.HandleDropped) -> None:
    actor = model.actors.get(event.actor)
    if actor is not None and actor.holders.pop(event.holder, None) is not None:
        model.dirty.actors[actor.id] = actor


# Objects and workers


def _object_sealed(model: Model, event: ev.ObjectSealed) -> None:
    if event.task is not None and event.object not in model.producers:  # Put by a task, or one of a stream.
        task = model.tasks.get(event.task)
        if task is not None:
            model.producers[event.object] = (task.id, task.group)
            if len(model.producers) > model.limits.objects:
                model.trim_objects()


def _object_freed(model: Model, event: ev.ObjectFreed) -> None:
    model.producers.pop(event.object, None)


def _worker_started(model: Model, event: ev.WorkerStarted) -> None:
    worker = model.workers.get(event.worker)
    if worker is None:
        worker = model.workers[event.worker] = Worker(id=event.worker, pid=event.pid, started=event.at)
    worker.pid = event.pid
    model.dirty.workers[worker.id] = worker


def _worker_died(model: Model, event: ev.WorkerDied) -> None:
    worker = model.workers.pop(event.worker, None)
    if worker is not None:
        model.dirty.workers.pop(worker.id, None)
        if worker.sent:
            model.dirty.gone_workers[worker.id] = True


_HANDLERS: Final[dict[type[ev.Event], Callable[[Model, Any], None]]] = {
    ev.RuntimeReady: _runtime_ready,
    ev.RuntimeStopped: _runtime_stopped,
    ev.TaskSubmitted: _task_submitted,
    ev.TaskQueued: _task_queued,
    ev.TaskStarted: _task_started,
    ev.TaskBlocked: _task_blocked,
    ev.TaskUnblocked: _task_unblocked,
    ev.TaskFinished: _task_finished,
    ev.TaskFailed: _task_failed,
    ev.TaskCancelled: _task_cancelled,
    ev.TaskRetried: _task_retried,
    ev.ActorCreated: _actor_created,
    ev.ActorAlive: _actor_alive,
    ev.ActorRestarted: _actor_restarted,
    ev.ActorDied: _actor_died,
    ev.HandlePassed: _handle_passed,
    ev.HandleDropped: _handle_dropped,
    ev.ObjectSealed: _object_sealed,
    ev.ObjectFreed: _object_freed,
    ev.WorkerStarted: _worker_started,
    ev.WorkerDied: _worker_died,
}
