"""How far a caller may be ahead of an actor, so that a flood is slowed at its source.

Ray takes any number of calls, and runs them as they come: a caller that never waits fills its memory, and everybody
else's calls wait behind its own. So after each stretch of calls a mark is sent, an empty call that comes back when all
before it have begun; with too many marks out, the caller waits for the oldest. What counts for the others is how long
the actor's queue is in time, and that depends on how many flood it and on the machine: so where marks are long on their
way, the stretches become shorter. An actor that is slow by nature gets as many calls as the program likes, within
reason: where it takes less than a hundred a second, more marks may be out. That counts the calls of all who flood it,
as the actor's marks tell: the share of one of many is small where the actor is quick. Nothing is refused, and no wait
is for ever, so that actors which call each other, or themselves, go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import Any

import ray
from ray.core.generated.gcs_pb2 import ActorTableData

STRETCH = 200
"""Calls between two marks, at most: with half of them a caller keeps 0.95 of the rate that it has without marks."""

FIRST = 25
"""Calls to the first mark: how quick the actor is turns out then."""

SHORTEST = 12
"""Calls between two marks, at least: a mark is a call too."""

LONG_SECONDS, SHORT_SECONDS = 0.2, 0.1
"""A mark that is on its way for longer makes the stretches shorter, one that comes back earlier makes them longer."""

AHEAD = 2
"""Marks that may be out: what a quick actor does in some tenths of a second. With one, callers wait half the time."""

FAR_AHEAD = 64
"""Marks that may be out at an actor that is slow."""

_AT_ONCE_SECONDS = 0.001
PATIENCE_SECONDS = 1.0
SLOW = 100
"""An actor that takes fewer calls while somebody waits for it so long is slow."""

START_SECONDS = 5.0
"""An actor whose process starts is waited for so long: how quick it is turns out then."""

CROWD = 16
"""Who waits counts on so many callers at most, so that what has stopped an actor stops them for half a minute."""

_STARTING = (ActorTableData.DEPENDENCIES_UNREADY, ActorTableData.PENDING_CREATION, ActorTableData.RESTARTING)


class Pace:
    """How far this process is ahead of one actor; a handle has one.

    Parameters
    ----------
    native
        Ray's handle.
    """

    __slots__ = (
        "_all", "_allowed", "_crowd", "_marks", "_native", "_own", "_send", "_since", "_told", "calls", "stretch",
    )  # fmt: skip

    def __init__(self, native: Any) -> None:
        self._native = native
        self._send: Any = None
        self._marks: deque[tuple[Any, float, int]] = deque()
        """Those that are out, since when, and for how many calls."""
        self._told: int | None = None
        """How many calls the actor has taken from all, as its last mark said."""
        self._since = 0.0
        self._own = self._all = 0
        """How many calls of this process, and of all, it has taken since then, while this process waited for it."""
        self._crowd = 1.0
        """For how many callers like this one it works, it seems."""
        self._allowed = AHEAD
        self.stretch = FIRST
        """Calls from one mark to the next."""
        self.calls = 0
        """Since the last mark."""

    def mark(self, *, wait: bool) -> None:
        """A stretch of calls was made; wait if they are too many.

        Parameters
        ----------
        wait
            Whether the caller may wait.
        """
        self.calls = 0
        marks = self._marks
        seconds = PATIENCE_SECONDS if wait and asyncio._get_running_loop() is None else 0.0
        asked = time.monotonic()
        while len(marks) >= self._allowed:
            try:
                oldest, sent, calls = marks[0]
            except IndexError:  # Another thread was quicker.
                break
            self._since = self._since or asked
            ready, _ = ray.wait([oldest], timeout=seconds, fetch_local=False)
            if ready:
                if marks and marks[0][0] is oldest:
                    marks.popleft()
                self._came_back(sent, calls, asked, _said(oldest))
                asked = time.monotonic()
            elif self._allowed >= FAR_AHEAD:
                break
            elif not seconds or self._seems_slow(calls, asked):
                self._allow_more()
        if len(marks) < FAR_AHEAD:
            if self._send is None:
                self._send = self._native.mark.options(enable_task_events=False).remote
            marks.append((self._send(self.stretch), time.monotonic(), self.stretch))

    def _seems_slow(self, calls: int, asked: float) -> bool:
        """Tell whether the actor is slow: the oldest mark, for so many calls, is waited for since then."""
        now = time.monotonic()
        if now - self._since < START_SECONDS and _is_starting(self._native):
            return False
        return calls * self._crowd < SLOW * (now - asked) / PATIENCE_SECONDS

    def _came_back(self, sent: float, calls: int, asked: float, said: int | None) -> None:
        now = time.monotonic()
        told, self._told = self._told, said
        taken = calls if said is None or told is None else said - told
        self._allowed = max(AHEAD, self._allowed - 1)
        if now - asked < _AT_ONCE_SECONDS:  # Perhaps it was back long since: nobody waits for this actor.
            self._since = 0.0
            self._own = self._all = 0
            self.stretch = min(STRETCH, 2 * self.stretch)
            return
        self._own += calls
        self._all += max(calls, taken)  # The actor counts from zero when it was made again.
        self._crowd = min(CROWD, self._all / self._own)
        if (lasted := now - self._since) > PATIENCE_SECONDS:
            slow = self._all < SLOW * lasted / PATIENCE_SECONDS
            self._since, self._own, self._all = now, 0, 0
            if slow:
                self._allow_more()
                return
        if self._allowed > AHEAD:
            return
        if now - sent < SHORT_SECONDS:
            self.stretch = min(STRETCH, 2 * self.stretch)
        elif now - sent > LONG_SECONDS:
            self.stretch = max(SHORTEST, self.stretch // 2)

    def _allow_more(self) -> None:
        self._allowed = min(FAR_AHEAD, 2 * self._allowed)
        self.stretch = STRETCH

    def __repr__(self) -> str:
        return f"<Pace: {len(self._marks)} of {self._allowed} marks are out, one for {self.stretch} calls>"


def _is_starting(native: Any) -> bool:
    with contextlib.suppress(Exception):  # Ray Client's handles do not know.
        return native._get_local_state() in _STARTING
    return False


def _said(mark: Any) -> int | None:
    """Return what a mark that is back says: how many calls the actor has taken. None if it says nothing."""
    with contextlib.suppress(Exception):  # The actor is gone, or the connection.
        if isinstance(mark, ray.ObjectRef):  # Ray's own `get` warns of itself in an async actor.
            [said], _ = ray._private.worker.global_worker.get_objects([mark])
        else:
            said = ray.get(mark)
        return said if isinstance(said, int) else None
    return None
