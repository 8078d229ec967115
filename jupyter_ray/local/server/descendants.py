"""What user code has started: nothing of it outlives the session.

Each worker leads a process group, which ends with it. What has left that group for a session of its own ends with this
one, and is found by descent: on Linux a process that has lost its parents becomes a child of the template, or of the
runtime where there is no template. Both collect those that have ended, so that no zombies are left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 0.5
"""For so long descendants are ended, and waited for: one that forks without end, or is stuck in the kernel, is left."""

_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """Have this process become the parent of its descendants that lose theirs, where the kernel offers that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def collect(but: int | None) -> None:
    """Collect the children of this process that have ended, but for the one that somebody else waits for."""
    for child in _children(os.getpid()):
        if child != but:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)


def end() -> None:
    """End all that descends from this process, also what it starts meanwhile, and collect it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    ended: set[int] = set()
    with contextlib.suppress(ChildProcessError):  # There are none any more.
        while time.monotonic() < deadline:
            new = _descendants(os.getpid()) - ended
            for pid in new:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            ended |= new
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
            if not new:
                time.sleep(0.001)


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    new = _children(pid)
    while new:
        found.update(new)
        new = [child for parent in new for child in _children(parent) if child not in found]
    return found


def _children(pid: int) -> list[int]:
    """Return the children of a process; the kernel's own list of them is much quicker than a look at all processes."""
    try:
        lists = [Path(thread, "children").read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):  # It has ended, or the kernel keeps no such list.
        import psutil  # Seldom needed, and not before the start is over.

        with contextlib.suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(pid).children()]
        return []
    return [int(child) for text in lists for child in text.split()]
