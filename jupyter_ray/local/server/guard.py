"""The guard of the machine's memory: ends one worker before the machine begins to swap.

It looks only while tasks run. What is "too much" is a share of the machine's memory, or of the container's if that is
smaller; with ``JUPYTER_RAY_WORKER_MEMORY`` (bytes) it is also the sum that all workers of a session may have.

Of the workers, the first goes whose end alone makes enough room, in the order in which they are given; where none
would, the largest. So many small ones are never ended for the sake of a large one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

LOOK_SECONDS = 0.25
SHORT_SHARE = 0.85
"""From here on, what is kept for convenience is given back."""
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
        self._container = _container_limit()

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
        if self._container is not None and self._container[0] < total:
            total, used = self._container[0], _used(self._container[1])
        self.is_short = used > SHORT_SHARE * total
        is_over = used > self.share * total > 0
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
            reason = f"the workers had {ours:,} of the {limit:,} bytes that JUPYTER_RAY_WORKER_MEMORY allows"
        elif is_over and sizes:
            excess, limit = used - int(self.share * total), total
            reason = f"{used:,} of {total:,} bytes of memory were in use"
        else:
            return None
        wanted = excess + min(BREATH_SHARE * limit, BREATH_BYTES)
        most = max(sizes.values())
        ended = next(pid for pid, size in sizes.items() if size >= min(wanted, most))
        text = f"the machine was running low on memory: {reason}, {sizes[ended]:,} of them by its process"
        return ended, text, sizes[ended] == most


def _container_limit() -> tuple[int, Path] | None:
    """Return the limit of the control group that this runs in, and its folder; None without."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                folder = Path("/sys/fs/cgroup") / line[3:].lstrip("/")
                limit = _number(folder / "memory.max")
                if limit is not None:
                    return limit, folder
    return None


def _used(group: Path) -> int:
    """Return what a control group uses, but for copies of files that the kernel would drop."""
    used = _number(group / "memory.current") or 0
    with contextlib.suppress(OSError):
        for line in (group / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in ("active_file", "inactive_file"):
                used -= int(value)
    return used


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
