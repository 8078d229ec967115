"""What a test run leaves behind: processes, shared memory and session folders of the runtimes that it started.

Who owns what: `Watch` sets an environment variable in the test process. Every process started from it inherits the
variable, also one that has left for a session of its own and has lost its parents, as the runtime does by design. So
processes are told apart from those of another test run on the same machine, and a folder belongs to this run unless
a living process of somebody else uses it.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import psutil

MARK = "JUPYTER_RAY_TEST_RUN"
PATTERN = "jupyter_ray-*"

# Python's own helpers, one per process that uses multiprocess or shared memory. They end with the process.
HELPERS = ("multiprocess.resource_tracker", "multiprocessing.resource_tracker")


class Watch:
    """Knows what was there when it was made, and names what has come since.

    Attributes
    ----------
    owner : int
        The process whose descendants are watched.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._mark = f"{self.owner}-{time.time_ns()}"
        self._folders = set(_folders())
        os.environ[MARK] = self._mark

    def __repr__(self) -> str:
        return f"<Watch {self._mark}: {len(self.processes())} processes, {len(self.folders())} folders>"

    def processes(self) -> dict[int, str]:
        """Living processes started by this run, by pid, each as a line for people."""
        ours = {process.pid: process for process in psutil.Process(self.owner).children(recursive=True)}
        ours |= {process.pid: process for process in psutil.process_iter() if self._is_ours(process)}
        ours.pop(self.owner, None)
        lines = {pid: _describe(process) for pid, process in sorted(ours.items())}
        return {pid: line for pid, line in lines.items() if line is not None}

    def folders(self) -> list[Path]:
        """Session folders and shared memory that appeared since, less those in use by processes of others."""
        new = sorted(set(_folders()) - self._folders)
        return [folder for folder in new if not self._is_used_by_others(folder)] if new else []

    def leftovers(self, patience: float, processes: bool = True) -> list[str]:
        """What is still there after at most `patience` seconds; empty as soon as nothing is."""
        deadline = time.monotonic() + patience
        while True:
            found = [f"process {line}" for line in self.processes().values()] if processes else []
            found += [str(path) for path in self.folders()]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def end(self) -> None:
        """Kill what is left, so that one leak is reported once and does not disturb what comes after."""
        for pid in self.processes():
            try:
                psutil.Process(pid).kill()
            except psutil.NoSuchProcess:
                continue
        self._folders.update(_folders())

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self._mark
        except (psutil.Error, OSError):  # it ended, or belongs to another user
            return False

    def _is_used_by_others(self, folder: Path) -> bool:
        text = str(folder)
        for process in psutil.process_iter():
            if process.pid == self.owner or self._is_ours(process):
                continue
            try:
                if folder.name in " ".join(process.cmdline()):
                    return True
                used = [entry.path for entry in process.memory_maps()] + [entry.path for entry in process.open_files()]
                if any(path.startswith(text) for path in used):
                    return True
                if any(text in str(entry.laddr) for entry in process.net_connections(kind="unix")):
                    return True
            except (psutil.Error, OSError):
                continue
        return False


def _folders() -> list[Path]:
    shared = Path("/dev/shm")
    places = [Path(tempfile.gettempdir()), *([shared] if shared.is_dir() else [])]
    return [path for place in places for path in place.glob(PATTERN)]


def _describe(process: psutil.Process) -> str | None:
    """One line about a process; None for a zombie, and for helpers that Python itself keeps."""
    try:
        command = " ".join(" ".join(process.cmdline()).split())
        if process.status() == psutil.STATUS_ZOMBIE or any(helper in command for helper in HELPERS):
            return None
        return f"{process.pid} (parent {process.ppid()}, {process.status()}): {command[:200] or process.name()!r}"
    except psutil.NoSuchProcess:
        return None
