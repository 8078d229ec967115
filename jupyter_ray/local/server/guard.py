"""The guard of the machine's memory: ends the largest worker before the machine begins to swap.

It looks only while tasks run. What is "too much" is a share of the machine's memory, or of the container's if that is
smaller; with ``JUPYTER_RAY_WORKER_MEMORY`` (bytes) it is also the sum that all workers of a session may have.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import psutil

LOOK_SECONDS = 0.25
SHORT_SHARE = 0.85
"""From here on, what is kept for convenience is given back."""


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

    def look(self, pids: Iterable[int]) -> tuple[int, str] | None:
        """Return the process to end and why, or None.

        Parameters
        ----------
        pids
            The workers that run something.
        """
        machine = psutil.virtual_memory()
        used = machine.total - machine.available
        total = machine.total
        if self._container is not None and self._container[0] < total:
            total, used = self._container[0], _number(self._container[1]) or 0
        self.is_short = used > SHORT_SHARE * total
        sizes: dict[int, int] = {}
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                info = psutil.Process(pid).memory_info()
                sizes[pid] = info.rss - getattr(info, "shared", 0)
        if not sizes:
            return None
        ours = sum(sizes.values())
        largest = max(sizes, key=lambda pid: sizes[pid])
        if self.limit and ours > self.limit:
            limit = f"the workers had {ours:,} of the {self.limit:,} bytes that JUPYTER_RAY_WORKER_MEMORY allows"
        elif used > self.share * total > 0:
            limit = f"{used:,} of {total:,} bytes of memory were in use"
        else:
            return None
        return largest, f"{limit}, and its process had most of them: {sizes[largest]:,} bytes"


def _container_limit() -> tuple[int, Path] | None:
    """Return the limit of the control group that this runs in, and the file that tells what is used; None without."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                folder = Path("/sys/fs/cgroup") / line[3:].lstrip("/")
                limit = _number(folder / "memory.max")
                if limit is not None:
                    return limit, folder / "memory.current"
    return None


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
