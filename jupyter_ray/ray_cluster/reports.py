"""What a process notes of its own calls: for the event log, for the panel, and for `why`.

In the driver the events go into its log at once; in a worker they go to the driver with what the worker observes. The
little that `why` needs is kept in any case: what the arguments of a call wait for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from jupyter_ray import events as ev
from jupyter_ray.engine.context import current_cell, current_task
from jupyter_ray.engine.sites import call_site
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.ray_cluster import refs
from jupyter_ray.ray_cluster.calls import EVERYTHING, NOTHING, Plan
from jupyter_ray.ray_cluster.poller import Poller

_KEPT = 10_000
"""Of so many calls it is kept what they wait for."""
_KEPT_IDS = 200_000
"""So many ids that may be, since a call may have thousands of arguments; all of the last call's in any case."""


class Reports:
    """The reports of one process's calls.

    Parameters
    ----------
    engine
        Whose calls.
    log, observer
        Where the events go: a driver has a log, a worker an observer.
    """

    def __init__(self, engine: Any, log: Any, observer: Any) -> None:
        self._engine = engine
        self._log = log
        self._observer = observer
        self._dependencies: OrderedDict[bytes, list[bytes]] = OrderedDict()
        self._names: OrderedDict[bytes, str] = OrderedDict()
        self._ids = 0
        self._lock = threading.Lock()
        self.poller: Poller | None = None
        if log is not None:
            self.poller = Poller(engine, log)
            log.on_watch = self.poller.watch

    def level(self, task: TaskContext | None) -> int:
        """Return what shall be reported of a call that `task` makes now; None: the driver."""
        if self._log is not None:
            return self._log.observe  # type: ignore[no-any-return]
        return NOTHING if self._observer is None else self._observer.level(task)

    def before_call(self) -> None:
        """Send what a task has printed: it comes before what the call prints."""
        if self._observer is not None:
            self._observer.flush_printed()

    @contextlib.contextmanager
    def passing(self) -> Iterator[list[bytes]]:
        """Collect the ids of the actors whose handles are pickled inside the block, in this thread."""
        before, refs.passing.actors = getattr(refs.passing, "actors", None), []
        try:
            yield refs.passing.actors
        finally:
            refs.passing.actors = before

    def _add(self, *happened: ev.AnyEvent) -> None:
        if self._log is not None:
            self._log.add(*happened)
        elif self._observer is not None:
            for event in happened:
                self._observer.add(event)

    # --- calls ---

    def note(self, returned: Any, name: str, dependencies: list[Any]) -> None:
        """Keep what `why` needs of a call that has dependencies."""
        task = _task_of(returned)
        if task is None:
            return
        with self._lock:
            self._dependencies[task] = [ref.binary() for ref in dependencies]
            self._names[task] = name
            self._ids += len(dependencies)
            while len(self._names) > _KEPT or (self._ids > _KEPT_IDS and len(self._names) > 1):
                self._ids -= len(self._dependencies.popitem(last=False)[1])
                self._names.popitem(last=False)

    def submitted(self, plan: Plan, returned: Any, dependencies: list[Any], passed: list[bytes], actor: Any) -> None:
        """A call was made."""
        task = _task_of(returned)
        if task is None:
            return
        context = current_task()
        now = time.time()
        ids = [] if isinstance(returned, ObjectRefGenerator) else [ref.hex() for ref in returned]
        called = None if actor is None else actor.binary().hex()
        self._add(
            ev.TaskSubmitted(
                at=now,
                task=task.hex(),
                name=plan.name,
                kind="task" if called is None else "method",
                parent=None if context is None else context.task.hex(),
                dependencies=[ref.hex() for ref in dependencies],
                returns=ids,
                demand=plan.held,
                actor=called,
                cell=current_cell(),
                site=call_site(),
            ),
            *_passed(now, passed, task.hex(), called, plan.name),
        )

    def actor_created(self, ref: Any, class_name: str, options: Any, plan: Plan, passed: list[bytes]) -> None:
        """An actor was asked for."""
        if self.level(current_task()) < EVERYTHING:
            return
        context = current_task()
        now = time.time()
        actor = ref.binary().hex()
        # Ray's id of a constructor's task: that of an actor's tasks, with no number of their own.
        task = (b"\xff" * 8 + ref.binary()).hex()
        parent = None if context is None else context.task.hex()
        own: list[ev.HandlePassed] = []  # The driver's are counted where they come and go.
        if context is not None:
            within = context.actor.hex() if context.actor else None
            own = _passed(now, [ref.binary()], context.task.hex(), within, context.name)
        self._add(
            ev.TaskSubmitted(
                at=now,
                task=task,
                name=f"{class_name}.__init__",
                kind="actor",
                parent=parent,
                dependencies=[],
                returns=[],
                demand=plan.held,
                actor=actor,
                cell=current_cell(),
                site=call_site(),
            ),
            ev.ActorCreated(at=now, actor=actor, class_name=class_name, name=options.name, task=task, parent=parent),
            *own,
            *_passed(now, passed, task, actor, class_name),
        )

    @contextlib.contextmanager
    def blocked(self, awaited: Sequence[Any]) -> Iterator[None]:
        """Report a wait of a task, if it lasts."""
        task = current_task()
        if self._observer is None or task is None:
            yield
            return
        self._observer.wait_begins(task, awaited)
        try:
            yield
        finally:
            self._observer.wait_ends(task)

    # --- for `why` ---

    def name_of(self, task: bytes) -> str:
        """Return the name of a task that this process submitted, "" if it is not known."""
        return self._names.get(task, "")

    def dependencies_of(self, task: bytes) -> list[bytes]:
        """Return the ids of the references that a call was given."""
        return list(self._dependencies.get(task, ()))

    def waits_of(self, task: bytes) -> list[bytes]:
        """Return the ids of the references that a running task waits for, as far as workers told."""
        return [] if self._log is None else list(self._log.told.waits_of(task.hex()))

    def close(self) -> None:
        """End the state thread."""
        if self.poller is not None:
            self.poller.close()


def _passed(now: float, handles: Sequence[bytes], task: str, actor: str | None, label: str) -> list[ev.HandlePassed]:
    """Return what tells that a task got handles, or the actor got them whose call it is."""
    kind: Literal["task", "actor"] = "task" if actor is None else "actor"
    return [
        ev.HandlePassed(at=now, actor=each.hex(), holder=actor or task, holder_kind=kind, label=label)
        for each in dict.fromkeys(handles)
    ]


def _task_of(returned: Any) -> bytes | None:
    if isinstance(returned, ObjectRefGenerator):
        return returned.task_id().binary()
    return bytes(returned[0]._native_task().binary()) if returned else None
