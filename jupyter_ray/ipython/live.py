"""Live lines: what a `%%remote` cell shows while its task runs, until the result is there.

Which thread does what::

    main thread ── add(), finish(), settle() ──► lines, under the lock
    engine's threads ── feed(events), a task's `when_ready` ──► lines, under the lock; they never draw
    board's thread ── draws what has changed, at most four times a second a line, and the results

The thread starts with the first line and ends with the last.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from jupyter_ray.engine import registry
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.events import (
    AnyEvent,
    LogLines,
    RuntimeStopped,
    TaskBlocked,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskQueued,
    TaskRetried,
    TaskStarted,
    TaskUnblocked,
)
from jupyter_ray.exceptions import RayError, TaskCancelledError
from jupyter_ray.interrupts import Change, shielded
from jupyter_ray.ipython.cells import Cell
from jupyter_ray.ipython.markup import Bundle, state_bundle

logger = logging.getLogger(__name__)

ENDED = frozenset({"finished", "failed", "cancelled", "lost"})
_RECENT_EVENTS = 10_000
_STATE_OF: dict[type[Any], str] = {
    TaskQueued: "pending",
    TaskStarted: "running",
    TaskBlocked: "blocked",
    TaskUnblocked: "running",
    TaskRetried: "pending",
}
_END_OF: dict[type[Any], str] = {TaskFinished: "finished", TaskFailed: "failed", TaskCancelled: "cancelled"}


class Page(Protocol):
    """Where lines are drawn."""

    def update(self, line: Line, bundle: Bundle) -> None:
        """Replace what the line shows."""

    def render(self, line: Line, value: Any, error: BaseException | None) -> Bundle | None:
        """Return how a result looks; None where the state says it all."""

    def end(self, line: Line, state: Bundle, result: Bundle | None) -> None:
        """Show the line's last state, and the result if there is one to show."""


class Line:
    """One task's line.

    Attributes
    ----------
    task : str
        The task's id, hex.
    quiet : bool
        Do not show the result (the cell ends with a semicolon, or returns it itself).
    """

    def __init__(
        self, name: str, ref: ObjectRef[Any], cell: Cell | None, display_id: str, *, quiet: bool, now: float
    ) -> None:
        self.name = name
        self.ref: ObjectRef[Any] | None = ref
        self.task = ref.task_id().hex()
        self.cell = cell
        self.display_id = display_id
        self.quiet = quiet
        self.state = "pending"
        self.submitted = now
        self.started: float | None = None
        self.ended: float | None = None
        self.result: tuple[Any, BaseException | None] | None = None
        self.changed = True
        self.next_draw = 0.0

    def __repr__(self) -> str:
        return f"<Line {self.name} {self.state}>"

    def apply(self, event: AnyEvent) -> None:
        """Take in an event of this task."""
        if self.state in ENDED:
            return
        ended = _END_OF.get(type(event))
        if ended is not None:
            self.ended = event.at  # The state changes with the result, which is on its way.
            return
        state = _STATE_OF.get(type(event))
        if state is None:
            return
        if isinstance(event, TaskStarted):
            self.started = event.at
        elif isinstance(event, TaskRetried):
            self.started = None
        self.changed = self.changed or state != self.state
        self.state = state

    def settle(self, value: Any, error: BaseException | None, now: float) -> None:
        """Take in the result."""
        if self.state in ENDED:
            return
        cause = getattr(error, "cause", None)
        cancelled = isinstance(error, TaskCancelledError) or isinstance(cause, TaskCancelledError)
        self.state = "cancelled" if cancelled else "failed" if error is not None else "finished"
        self.result = (value, error)
        self.ended = self.ended or now
        self.changed = True

    def lose(self, now: float) -> None:
        """The runtime is gone, and the result with it."""
        if self.state not in ENDED:
            self.state = "lost"
            self.ended = now
            self.changed = True

    def elapsed(self, now: float) -> float | None:
        """Return for how many seconds the task has run, or ran; None before it started.

        A task can be over before the event of its start is here: then it is the time since it was submitted.
        """
        if self.started is None:
            return None if self.ended is None else max(0.0, self.ended - self.submitted)
        return max(0.0, (self.ended if self.ended is not None else now) - self.started)

    def bundle(self, now: float) -> Bundle:
        """Return what the line shows."""
        return state_bundle(self.name, self.state, self.elapsed(now))

    def interval(self, now: float) -> float | None:
        """Return the seconds between two drawings; None while nothing moves."""
        if self.state not in ("running", "blocked"):
            return None
        elapsed = self.elapsed(now) or 0.0
        return 0.25 if elapsed < 10 else 1.0 if elapsed < 60 else 5.0


class Board:
    """Draws the lines of all tasks that were submitted by magics.

    Parameters
    ----------
    page
        Where.
    clock
        Unix seconds, as in events.
    """

    def __init__(self, page: Page, *, clock: Callable[[], float] = time.time) -> None:
        self._page = page
        self._clock = clock
        self._lines: dict[str, Line] = {}
        self._drawing: set[str] = set()
        """Tasks whose end is being drawn."""
        self._lock = threading.RLock()
        """Guards everything here. In the main thread taken in a shield: what an interrupt tears nobody would draw."""
        self._wake = Change()
        """Tells the thread that there may be something to draw."""
        self._news = 0
        self._recording = 0
        self._recent: deque[AnyEvent] = deque(maxlen=_RECENT_EVENTS)
        self._thread: threading.Thread | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Board of {len(self._lines)} lines>"

    def now(self) -> float:
        """Return the time by the board's clock."""
        return self._clock()

    def record(self) -> None:
        """Remember events from now on until `add` or `forget`: those of a task that is about to be submitted."""
        with self._lock, shielded():
            self._recording += 1

    def forget(self) -> None:
        """The task was not submitted after all."""
        with self._lock, shielded():
            self._recording = max(0, self._recording - 1)
            if not self._recording:
                self._recent.clear()

    def add(self, line: Line, *, follow: bool = True) -> None:
        """Show a line from now on.

        Parameters
        ----------
        line
            Of a task just submitted.
        follow
            Take the result when it comes. False: the caller waits for it and calls `finish`.
        """
        with self._lock, shielded():
            for event in self._recent:
                if getattr(event, "task", None) == line.task:
                    line.apply(event)
            self._lines[line.task] = line
            self._closed = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jupyter_ray-live", daemon=True)
                self._thread.start()
            self._tell()
        self.forget()
        if follow:
            self.follow(line)

    def follow(self, line: Line) -> None:
        """Take the line's result when it comes."""

        def settle(value: Any, error: BaseException | None) -> None:
            with self._lock, shielded():
                line.settle(value, error, self._clock())
                self._tell()

        ref = line.ref
        if ref is not None:
            ref._when_ready(settle)

    def finish(self, line: Line, value: Any, error: BaseException | None) -> None:
        """Show the line's end, before this returns: the cell that waited ends next."""
        with self._lock, shielded():
            line.settle(value, error, self._clock())
            self._lines.pop(line.task, None)
            line.ref = None
            bundle = line.bundle(self._clock())
        self._page.end(line, bundle, None)

    def settle(self, timeout: float) -> None:
        """Wait until the ends of tasks that have ended are drawn: the cell that runs is about to end."""
        with self._lock, shielded():
            lines = {line.ref: line.task for line in self._lines.values() if line.ref is not None}
            ended = set(self._drawing)
        engine = registry.current()  # `ray.wait` would start a session, where the cell has just ended this one.
        with shielded(), contextlib.suppress(RayError):  # It has ended, or dies now: the lines say so.
            if lines and engine is not None:
                ready = set(engine.wait(list(lines), len(lines), 0, False))
                ended |= {task for ref, task in lines.items() if ref.binary() in ready}
            if ended:
                self._wake.wait_for(lambda: ended.isdisjoint(self._drawing | self._lines.keys()), timeout)

    def feed(self, events: Sequence[AnyEvent]) -> None:
        """Take in events; any thread. Costs nothing while there are no lines."""
        if not self._lines and not self._recording:
            return
        with self._lock, shielded():
            changed = False
            for event in events:
                if isinstance(event, RuntimeStopped):
                    for line in self._lines.values():
                        line.lose(event.at)
                    changed = True
                    continue
                if isinstance(event, LogLines):
                    continue
                if self._recording:
                    self._recent.append(event)
                found = self._lines.get(getattr(event, "task", None) or "")
                if found is not None:
                    found.apply(event)
                    changed = changed or found.changed
            if changed:
                self._tell()

    def stop(self) -> None:
        """The session is over: lines that still move never will."""
        with self._lock, shielded():
            for line in self._lines.values():
                line.lose(self._clock())
            self._tell()

    def close(self, timeout: float = 1.0) -> None:
        """Draw no more; safe to repeat."""
        self.stop()
        with self._lock, shielded():
            self._closed = True
            self._tell()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._lock:
                due, pause = self._due()
                if not due and (not self._lines or self._closed):
                    self._thread = None
                    return
                seen = self._news
            for line, bundle, final in due:
                self._draw(line, bundle, final)
                if final:
                    self._drawing.discard(line.task)
                    self._wake.tell()
            if not due:
                self._wake.wait_for(lambda: self._news != seen, pause)  # noqa: B023 - called here and now.

    def _tell(self) -> None:
        """Have the thread look; the caller holds the lock."""
        self._news += 1
        self._wake.tell()

    def _due(self) -> tuple[list[tuple[Line, Bundle, bool]], float | None]:
        """Return what to draw now, and the seconds until there is more; the caller holds the lock."""
        now = self._clock()
        due: list[tuple[Line, Bundle, bool]] = []
        pauses: list[float] = []
        for line in list(self._lines.values()):
            interval = line.interval(now)
            final = line.state in ENDED
            wanted = line.changed or interval is not None
            # A clock that was set back must not stop the line.
            wait = min(line.next_draw - now, 5.0)
            if wanted and (final or wait <= 0):
                due.append((line, line.bundle(now), final))
                line.changed = False
                line.next_draw = now + max(interval or 0.25, 0.25)
                if final:
                    self._drawing.add(line.task)
                    del self._lines[line.task]
            elif wanted:
                pauses.append(wait)
        return due, min(pauses) if pauses else None

    def _draw(self, line: Line, bundle: Bundle, final: bool) -> None:
        try:
            if not final:
                self._page.update(line, bundle)
                return
            result, line.result, line.ref = line.result, None, None
            shown = None
            if result is not None and not (line.quiet and result[1] is None):
                shown = self._page.render(line, *result)
            self._page.end(line, bundle, shown)
        except Exception:  # The page cannot be reached, or a result's own repr fails: never the end of the thread.
            logger.debug("a live line could not be drawn", exc_info=True)
