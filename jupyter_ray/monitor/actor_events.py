"""How the events of actors, handles, objects and workers change the model. `reducer` says what the rules are."""

from __future__ import annotations

from jupyter_ray import events as ev
from jupyter_ray.monitor.model import Model
from jupyter_ray.monitor.records import Actor, Holder


def actor_created(model: Model, event: ev.ActorCreated) -> None:
    """Name the actor, and its constructor's task as such."""
    actor = model.actor(event.actor, event.at)
    actor.class_name = event.class_name
    actor.name = event.name
    actor.task = event.task
    actor.parent = event.parent
    if actor.held:
        model.dirty.resources = True  # Its label there may be new.
    constructor = model.tasks.get(event.task)
    if constructor is not None and constructor.actor is None:
        constructor.actor = event.actor
        if constructor.shown:
            model.dirty.tasks[constructor.id] = constructor


def actor_alive(model: Model, event: ev.ActorAlive) -> None:
    """The actor takes over what its constructor held."""
    actor = model.actor(event.actor, event.at)
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
    worker = model.worker(event.worker, event.at)
    actor.node = worker.node
    worker.pid = event.pid
    worker.actor = actor.id
    worker.state = "actor"
    model.dirty.resources = True


def actor_restarted(model: Model, event: ev.ActorRestarted) -> None:
    """The actor holds nothing until it is alive again."""
    actor = model.actor(event.actor, event.at)
    actor.state = "restarting"
    actor.restarts = event.restarts
    actor.error = event.reason[: model.limits.text]
    _release_actor(model, actor)


def actor_died(model: Model, event: ev.ActorDied) -> None:
    """The actor holds nothing any more; its row stays for a while."""
    actor = model.actors.get(event.actor)
    if actor is None or actor.state == "dead":
        return
    actor.state = "dead"
    text = event.reason[: model.limits.text] or None
    actor.error, actor.reason = (None, text) if event.expected else (text, None)
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


def handle_passed(model: Model, event: ev.HandlePassed) -> None:
    """Count one more handle of the holder."""
    actor = model.actors.get(event.actor)
    if actor is None:
        return
    holder = actor.holders.get(event.holder)
    if holder is None:
        holder = actor.holders[event.holder] = Holder(kind=event.holder_kind, label=event.label)
    holder.count += 1
    model.dirty.actors[actor.id] = actor


def handle_dropped(model: Model, event: ev.HandleDropped) -> None:
    """The holder has none left, however many it was passed."""
    actor = model.actors.get(event.actor)
    if actor is not None and actor.holders.pop(event.holder, None) is not None:
        model.dirty.actors[actor.id] = actor


def object_sealed(model: Model, event: ev.ObjectSealed) -> None:
    """Learn who made an object that no call announced: one put by a task, or one of a stream."""
    if event.task is not None and event.object not in model.producers:
        task = model.tasks.get(event.task)
        if task is not None:
            model.producers[event.object] = (task.id, task.group)
            if len(model.producers) > model.limits.objects:
                model.trim_objects()


def object_freed(model: Model, event: ev.ObjectFreed) -> None:
    """Nobody can depend on the object any more."""
    model.producers.pop(event.object, None)


def objects_freed(model: Model, event: ev.ObjectsFreed) -> None:
    """Nobody can depend on the objects any more."""
    for key in event.objects:
        model.producers.pop(key, None)


def worker_started(model: Model, event: ev.WorkerStarted) -> None:
    """Make the worker's record; on a cluster, work may have been told of before its worker was."""
    worker = model.worker(event.worker, event.at)
    worker.pid = event.pid
    if event.node is not None and worker.node is None:
        worker.node = event.node
        task, actor = model.tasks.get(worker.task or ""), model.actors.get(worker.actor or "")
        if task is not None:
            task.node = event.node
            if task.shown:
                model.dirty.tasks[task.id] = task
        if actor is not None:
            actor.node = event.node
            model.touch(actor)
        model.dirty.resources = True


def worker_died(model: Model, event: ev.WorkerDied) -> None:
    """Take the worker out of the view; what becomes of its task is told by the task's own events."""
    worker = model.workers.pop(event.worker, None)
    if worker is not None:
        model.dirty.workers.pop(worker.id, None)
        if worker.sent:
            model.dirty.gone_workers[worker.id] = True
