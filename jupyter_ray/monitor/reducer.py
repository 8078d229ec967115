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
from jupyter_ray.monitor import actor_events, task_events
from jupyter_ray.monitor.model import Model
from jupyter_ray.monitor.records import RuntimeState, TaskState


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
        model.set_nodes([])
        model.dirty.resources = True
        if state == "dead":
            _end_everything(model, at, "failed", message or "the runtime died")
        else:  # As somebody asked for: nothing went wrong with anybody.
            _end_everything(model, at, "cancelled", "")


def _end_everything(model: Model, at: float, state: TaskState, reason: str) -> None:
    for task in list(model.tasks.values()):
        task_events.end(model, task.id, at, state, reason if state == "failed" else None)
    for actor in list(model.actors.values()):
        actor_events.actor_died(model, ev.ActorDied(actor=actor.id, reason=reason, at=at))
    for worker in list(model.workers):
        actor_events.worker_died(model, ev.WorkerDied(worker=worker, reason=reason, expected=True, at=at))


def _runtime_ready(model: Model, event: ev.RuntimeReady) -> None:
    model.totals = dict(event.resources)
    model.gpus = list(event.gpus)
    model.set_nodes(event.nodes)
    set_runtime(model, "ready", at=event.at, pid=event.pid, engine=event.engine)


def _nodes_changed(model: Model, event: ev.NodesChanged) -> None:
    model.set_nodes(event.nodes)
    model.totals = {}
    for node in event.nodes:
        for kind, amount in node.resources.items():
            model.totals[kind] = model.totals.get(kind, 0.0) + amount


def _runtime_stopped(model: Model, event: ev.RuntimeStopped) -> None:
    set_runtime(model, "stopped" if event.expected else "dead", at=event.at, message=event.message)


_HANDLERS: Final[dict[type[ev.Event], Callable[[Model, Any], None]]] = {
    ev.RuntimeReady: _runtime_ready,
    ev.NodesChanged: _nodes_changed,
    ev.RuntimeStopped: _runtime_stopped,
    ev.TaskSubmitted: task_events.task_submitted,
    ev.TaskQueued: task_events.task_queued,
    ev.TaskStarted: task_events.task_started,
    ev.TaskBlocked: task_events.task_blocked,
    ev.TaskUnblocked: task_events.task_unblocked,
    ev.TaskFinished: task_events.task_finished,
    ev.TasksRan: task_events.tasks_ran,
    ev.TaskFailed: task_events.task_failed,
    ev.TaskCancelled: task_events.task_cancelled,
    ev.TaskRetried: task_events.task_retried,
    ev.ActorCreated: actor_events.actor_created,
    ev.ActorAlive: actor_events.actor_alive,
    ev.ActorRestarted: actor_events.actor_restarted,
    ev.ActorDied: actor_events.actor_died,
    ev.HandlePassed: actor_events.handle_passed,
    ev.HandleDropped: actor_events.handle_dropped,
    ev.ObjectSealed: actor_events.object_sealed,
    ev.ObjectFreed: actor_events.object_freed,
    ev.ObjectsFreed: actor_events.objects_freed,
    ev.WorkerStarted: actor_events.worker_started,
    ev.WorkerDied: actor_events.worker_died,
}
