"""What events have told so far of a cluster: its tasks, actors and processes. So none of it is told twice, or too soon.

Several tell of one task: who made it, who runs it, and Ray's own state. They come in any order, and one may tell what
another has told. `Told.take` brings them into the order of a task's life.

Owner: whoever holds the event log's lock; single look-ups need none.
"""

from __future__ import annotations

from jupyter_ray import events as ev
from jupyter_ray.config import EVENT_LOG

_KNOWN, _ENDED = "known", "ended"
_ENDS = ev.TaskFinished | ev.TaskFailed | ev.TaskCancelled


class Told:
    """What events have told."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._early: dict[str, list[ev.AnyEvent]] = {}
        """What was reported of tasks before it was told that they were made."""
        self._waits: dict[str, list[bytes]] = {}
        """Which objects blocked tasks wait for."""
        self._handles: dict[str, list[str]] = {}
        """Which actors' handles tasks hold."""
        self._actors: set[str] = set()
        self._workers: set[str] = set()

    def take(self, event: ev.AnyEvent) -> list[ev.AnyEvent]:
        """Note what an event says; return it with what follows from it, or nothing if it is old news or too early."""
        if isinstance(event, ev.ActorCreated):
            self._actors.add(event.actor)
        elif isinstance(event, ev.WorkerStarted):
            self._workers.add(event.worker)
        elif isinstance(event, ev.WorkerDied):
            self._workers.discard(event.worker)
        elif isinstance(event, ev.HandlePassed) and event.holder_kind == "task":
            self._handles.setdefault(event.holder, []).append(event.actor)
        task = getattr(event, "task", None)
        if task is None or isinstance(event, ev.LogLines | ev.ObjectSealed | ev.ActorCreated):
            return [event]
        if isinstance(event, ev.TaskSubmitted):
            return self._submitted(event)
        if isinstance(event, ev.TaskBlocked):
            self._waits[task] = [bytes.fromhex(each) for each in event.waits_for]
        elif isinstance(event, ev.TaskUnblocked):
            self._waits.pop(task, None)
        if task not in self._states:  # Another process reports who made it, and its report may be the later one.
            self._early.setdefault(task, []).append(event)
            if len(self._early) > EVENT_LOG:
                del self._early[next(iter(self._early))]
            return []
        if isinstance(event, ev.TaskStarted):
            return self._started(event)
        return self._ended(task, event) if isinstance(event, _ENDS) else [event]

    def _submitted(self, event: ev.TaskSubmitted) -> list[ev.AnyEvent]:
        if event.task in self._states:  # Ray's state told of it before its maker's report came.
            return []
        self._states[event.task] = _KNOWN
        if len(self._states) > 2 * EVENT_LOG:
            for old in [each for each, state in self._states.items() if state == _ENDED][:EVENT_LOG]:
                del self._states[old]
        return [event, *(each for early in self._early.pop(event.task, ()) for each in self.take(early))]

    def _started(self, event: ev.TaskStarted) -> list[ev.AnyEvent]:
        if not event.attempt or self._states[event.task] != _ENDED:
            return [event]
        self._states[event.task] = _KNOWN
        return [ev.TaskRetried(task=event.task, attempt=event.attempt, reason="it failed"), event]

    def _ended(self, task: str, event: ev.AnyEvent) -> list[ev.AnyEvent]:
        if self._states[task] == _ENDED:
            return []
        self._states[task] = _ENDED
        self._waits.pop(task, None)
        dropped = self._handles.pop(task, ())
        return [event, *(ev.HandleDropped(actor=actor, holder=task) for actor in dropped)]

    def knows_task(self, task: str) -> bool:
        """Tell whether events told of a task."""
        return task in self._states

    def has_ended(self, task: str) -> bool:
        """Tell whether events told that a task has ended."""
        return self._states.get(task) == _ENDED

    def some_go_on(self) -> bool:
        """Tell whether there are tasks that have not ended, as far as is known."""
        return _KNOWN in self._states.values()

    def knows_actor(self, actor: str) -> bool:
        """Tell whether events told of an actor."""
        return actor in self._actors

    def knows_worker(self, worker: str) -> bool:
        """Tell whether events told of a worker that lives."""
        return worker in self._workers

    def living_workers(self) -> list[str]:
        """Return the workers that events told of and that, as far as is known, live."""
        return list(self._workers)

    def waits_of(self, task: str) -> list[bytes]:
        """Return the ids of the objects that a task was reported to wait for."""
        return self._waits.get(task, [])

    def __repr__(self) -> str:
        return f"<Told: {len(self._states)} tasks, {len(self._actors)} actors, {len(self._workers)} workers>"
