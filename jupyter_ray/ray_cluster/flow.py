"""How far a caller may be ahead of an actor, so that a flood is slowed at its source.

Ray takes any number of calls, and runs them as they come: a caller that never waits fills its memory, and everybody
else's calls wait behind its own. So after each stretch of calls a mark is sent, an empty call that comes back when all
before it have begun; with too many marks out, the caller waits for the oldest. An actor that is slow by nature gets as
many calls as the program likes, within reason: where a mark takes long, more may be out. Nothing is refused, and no
wait is for ever, so that actors which call each other, or themselves, go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import ray

STRETCH = 100
"""Calls between two marks."""

AHEAD = 2
"""Marks that may be out: what a quick actor does in some tenths of a second. With one, callers wait half the time."""

FAR_AHEAD = 128
"""Marks that may be out at an actor that is slow."""

PATIENCE_SECONDS = 1.0
"""An actor that takes longer for a stretch is slow."""


class Pace:
    """How far this process is ahead of one actor; a handle has one.

    Parameters
    ----------
    native
        Ray's handle.
    """

    __slots__ = ("_allowed", "_marks", "_native", "calls")

    def __init__(self, native: Any) -> None:
        self._native = native
        self._marks: deque[Any] = deque()
        self._allowed = AHEAD
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
        while len(marks) >= self._allowed:
            try:
                oldest = marks[0]
            except IndexError:  # Another thread was quicker.
                break
            seconds = PATIENCE_SECONDS if wait and asyncio._get_running_loop() is None else 0.0
            ready, _ = ray.wait([oldest], timeout=seconds, fetch_local=False)
            if ready:
                if marks and marks[0] is oldest:
                    marks.popleft()
                self._allowed = max(AHEAD, self._allowed - 1)
            elif self._allowed < FAR_AHEAD:
                self._allowed = min(FAR_AHEAD, 2 * self._allowed)
            else:
                break
        if len(marks) < FAR_AHEAD:
            marks.append(self._native.__ray_ready__.options(enable_task_events=False).remote())

    def __repr__(self) -> str:
        return f"<Pace: {len(self._marks)} of {self._allowed} marks are out>"
