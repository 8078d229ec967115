"""The processes of a contender: found, measured, and ended.

Whoever starts a process with the mark in its environment finds its descendants by it, also those that left for a
session of their own and lost their parents, as runtimes and daemons do. A process that changes its title may lose its
environment over that; so children of those that were found count too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "JUPYTER_RAY_BENCHMARK"
ROOT = Path(__file__).resolve().parent.parent
QUIET = {"SPT_NOENV": "1"}
"""Keeps `setproctitle` from writing titles over the environment."""


def environment(mark: str, temporary: str | None = None) -> dict[str, str]:
    """Return the environment of a process that is to be found by the mark, and that can import what is here.

    What it leaves in `temporary` is for the caller to remove; see `remove`.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    own = {MARK: mark, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"} | QUIET
    return os.environ | own | ({"TMPDIR": temporary} if temporary else {})


def temporary() -> str:
    """Return a new folder whose path is short enough for the sockets in it."""
    return tempfile.mkdtemp(prefix="jrb-", dir="/tmp")


def remove(temporary: str) -> None:
    """Remove the folder, and the shared memory of the sessions in it whose runtimes were killed."""
    for session in Path(temporary).glob("jupyter_ray-*"):
        shutil.rmtree(Path("/dev/shm") / f"{session.name}-shm", ignore_errors=True)
    shutil.rmtree(temporary, ignore_errors=True)


def marked(mark: str) -> list[psutil.Process]:
    """Return the living processes that carry the mark, and their descendants, without the caller."""
    parents: dict[int, psutil.Process] = {}
    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            children.setdefault(process.ppid(), []).append(process)
            if process.environ().get(MARK) == mark:
                parents[process.pid] = process
    found: dict[int, psutil.Process] = {}
    left = list(parents.values())
    while left:
        process = left.pop()
        if process.pid not in found:
            found[process.pid] = process
            left += children.get(process.pid, [])
    found.pop(os.getpid(), None)
    return [process for process in found.values() if _lives(process)]


def ours() -> list[psutil.Process]:
    """Return the other processes of the contender that this process belongs to."""
    return marked(os.environ[MARK])


def this() -> psutil.Process:
    """Return the calling process."""
    return psutil.Process()


def memory(processes: Iterable[psutil.Process]) -> float:
    """Return their memory in bytes: proportional set size where the system tells it, else resident."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            full = process.memory_full_info()
            total += getattr(full, "pss", None) or full.rss
    return total


def touch(size: float) -> None:
    """Let another process write to so many bytes of memory, and end."""
    if size > 0:
        program = "import mmap, sys; size = int(sys.argv[1]); memory = mmap.mmap(-1, size)\n"
        program += "for page in range(0, size, mmap.PAGESIZE): memory[page] = 1"
        subprocess.run([sys.executable, "-c", program, str(int(size))], check=True)


def clocks(processes: Iterable[psutil.Process]) -> dict[int, float]:
    """Return the CPU seconds that each has used so far, by pid."""
    found = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found[process.pid] = _clock(process)
    return found


def _clock(process: psutil.Process) -> float:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            # What clock_getcpuclockid(3) returns: to the nanosecond, with the threads that ended.
            return time.clock_gettime(~process.pid << 3 | 2)
    times = process.cpu_times()
    return times.user + times.system


class CpuMeter:
    """The CPU time that this process and the others of its contender use from now on."""

    def __init__(self) -> None:
        self._before = clocks([*ours(), this()])

    def __call__(self) -> float:
        """Return it in seconds. Processes that ended meanwhile are forgotten, those that came count."""
        now = clocks([this()])  # before looking for the others, which takes time
        now |= clocks(ours())
        return sum(used - self._before.get(pid, 0.0) for pid, used in now.items())


def end(mark: str, known: Iterable[psutil.Process] = (), patience: float = 3.0) -> int:
    """Kill what still lives, of those known and those marked, after `patience` seconds; return how many that were."""
    known = list(known)
    deadline = time.monotonic() + patience
    while (left := _left(mark, known)) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed: set[int] = set()
    while left:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed.add(process.pid)
        psutil.wait_procs(left, timeout=2)
        left = _left(mark, known)
    return len(killed)


def _left(mark: str, known: list[psutil.Process]) -> list[psutil.Process]:
    every = {process.pid: process for process in [*(each for each in known if _lives(each)), *marked(mark)]}
    return list(every.values())


def _lives(process: psutil.Process) -> bool:
    """Whether it is still the same process, and no zombie: those wait for their parents, not for us."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
