"""The guard of the machine's memory: ends one worker before the machine begins to swap.

It looks only while tasks run. What is "too much" is a share of the machine's memory, or of the control group's if
that is smaller; with ``JUPYTER_RAY_WORKER_MEMORY`` (bytes) it is also the sum that all workers of a session may have.

It looks more often the faster memory fills. Where the kernel is faster still, its OOM killer is named.

Of the workers, the first goes whose end alone makes enough room, in the order in which they are given; where none
would, the largest. So many small ones are never ended for the sake of a large one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic

from jupyter_ray.local import cgroups

LOOK_SECONDS, LEAST_LOOK_SECONDS = 0.25, 0.02
SHORT_SHARE = 0.85
"""From here on, what is kept for convenience is given back."""
SIGKILLED = "its process was ended by SIGKILL (sent by somebody)"
OOM_KILLED = "the kernel's OOM killer ended its process, as memory had run out"
_VMSTAT = Path("/proc/vmstat")
BREATH_SHARE, BREATH_BYTES = 0.05, 3 * 1024**3
"""So much more than what is too much has to become free, of the limit and at most (as in Ray)."""


class Guard:
    """Says which worker has to go, if one has."""

    def __init__(self) -> None:
        self.limit = 0
        """Bytes that all workers together may have; 0: no such limit."""
        self.share = 0.0
        """Of the machine's memory, that may be in use; 0: all."""
        self.is_short = False
        """Memory was getting short at the last look."""
        self.pause = LOOK_SECONDS
        """Seconds until the next look."""
        self._seen = (0, 0.0)
        """Bytes in use at the last look, and when that was."""
        self._kills = (_kills(), _kills())
        """Of the kernel's OOM killer, at the last look but one, and at the last."""
        self._group = cgroups.memory()

    def bound(self, environ: Mapping[str, str], share: float) -> None:
        """Take what the driver has said: in its environment of all workers together, and of the machine's memory."""
        limit = environ.get("JUPYTER_RAY_WORKER_MEMORY", "")
        self.limit = int(limit) if limit.isdigit() else 0
        self.share = share

    def look(self, workers: Callable[[], Iterable[int]]) -> tuple[int, str, bool] | None:
        """Return the process to end, why, and whether it had the most; or None.

        Parameters
        ----------
        workers
            Tells the processes, first those whose end costs least; asked only if it matters, since there may be many.
        """
        import psutil  # Not before tasks run: it would take a part of the time of each start.

        machine = psutil.virtual_memory()
        used, total = machine.total - machine.available, machine.total
        if self._group is not None and self._group[0] < total:
            total, used = self._group[0], cgroups.used(self._group[1])
        self.is_short = used > SHORT_SHARE * total
        is_over = used > self.share * total > 0
        self._kills = (self._kills[1], _kills())
        self._seen, (before, then) = (used, now := monotonic()), self._seen
        self.pause = LOOK_SECONDS
        if used > before and self.share and not is_over:  # In half the time till it is too much, at this speed.
            until = (self.share * total - used) / (used - before) * (now - then) / 2
            self.pause = min(max(until, LEAST_LOOK_SECONDS), LOOK_SECONDS)
        if not (is_over or self.limit):
            return None
        sizes: dict[int, int] = {}
        for pid in workers():
            with contextlib.suppress(psutil.Error):
                info = psutil.Process(pid).memory_info()
                sizes[pid] = info.rss - getattr(info, "shared", 0)
        ours = sum(sizes.values())
        if self.limit and ours > self.limit:
            excess, limit = ours - self.limit, self.limit
            reason = f"the workers had {_size(ours)} of the {_size(limit)} that JUPYTER_RAY_WORKER_MEMORY allows"
        elif is_over and sizes:
            excess, limit = used - int(self.share * total), total
            reason = f"{_size(used)} of {_size(total)} of memory were in use"
        else:
            return None
        wanted = excess + min(BREATH_SHARE * limit, BREATH_BYTES)
        most = max(sizes.values())
        ended = next(pid for pid, size in sizes.items() if size >= min(wanted, most))
        text = f"the machine was running low on memory: {reason}, {_size(sizes[ended])} of that by its process"
        return ended, text, sizes[ended] == most

    def explain(self, reason: str) -> str:
        """Return why a process ended, with the kernel in the place of an unknown sender of SIGKILL."""
        return OOM_KILLED if reason == SIGKILLED and _kills() > self._kills[0] else reason


def _size(amount: int) -> str:
    return f"{amount / 1e9:.2f} GB"


def _kills() -> int:
    """Return how many processes the kernel's OOM killer has ended since the machine started; 0 if that is not told."""
    with contextlib.suppress(OSError, ValueError):
        return int(_VMSTAT.read_bytes().partition(b"\noom_kill ")[2].partition(b"\n")[0])
    return 0
