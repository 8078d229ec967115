"""The processes of a contender: found by a mark in their environment, measured, and ended.

Whoever starts a process with the mark finds all its descendants by it, also those that left for a session of their own
and lost their parents, as runtimes and daemons do.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable

import psutil

MARK = "JUPYTER_RAY_BENCHMARK"


def marked(mark: str) -> list[psutil.Process]:
    """Return the living processes that carry the mark, without the caller."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def ours() -> list[psutil.Process]:
    """Return the other processes of the contender that this process belongs to."""
    return marked(os.environ[MARK])


def memory(processes: Iterable[psutil.Process]) -> float:
    """Return their memory in bytes: proportional set size where the system tells it, else resident."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            full = process.memory_full_info()
            total += getattr(full, "pss", None) or full.rss
    return total


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU time that they have used, with that of their children that ended."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def end(mark: str, patience: float = 3.0) -> int:
    """Kill what still carries the mark after `patience` seconds; return how many that were."""
    deadline = time.monotonic() + patience
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed = set()
    while left:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed.add(process.pid)
        psutil.wait_procs(left, timeout=2)
        left = [process for process in marked(mark) if process.status() != psutil.STATUS_ZOMBIE]
    return len(killed)


def this() -> psutil.Process:
    """Return the calling process."""
    return psutil.Process()
