"""Workers that somebody stopped (SIGSTOP): they say nothing, so it has to be said for them.

A stopped worker can be let go on, so its task is left alone, and people are told. Only where calls wait behind it that
another worker could run is it ended: its task is tried again, or fails, like that of any killed worker.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

TOLD_SECONDS = 1.0
"""For so long, somebody may just be looking."""
ENDED_SECONDS = 5.0


def stopped(pids: Iterable[int]) -> list[int]:
    """Return those of `pids` that are stopped."""
    import psutil  # Not before tasks run: it would take a part of the time of each start.

    found: list[int] = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                found.append(pid)
    return found


class Stopped:
    """Since when each worker has been stopped, in the seconds of one clock."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}
        self._told: set[int] = set()

    def look(self, pids: Iterable[int], now: float) -> None:
        """Look at the workers that run something."""
        found = stopped(pids)
        self._since = {pid: self._since.get(pid, now) for pid in found}
        self._told.intersection_update(found)

    def to_tell(self, now: float) -> list[int]:
        """Return those that people have not heard of, once."""
        news = [pid for pid, since in self._since.items() if now - since >= TOLD_SECONDS and pid not in self._told]
        self._told.update(news)
        return news

    def for_long(self, now: float) -> list[int]:
        """Return those that nothing should wait behind any more."""
        return [pid for pid, since in self._since.items() if now - since >= ENDED_SECONDS]

    def __repr__(self) -> str:
        return f"<Stopped: {len(self._since)} processes>"
