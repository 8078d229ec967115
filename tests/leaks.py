"""What a test run leaves behind: processes, shared memory and session folders of the runtimes that it started, and what
the test process itself keeps of them: sockets, open files, mapped memory.

Who owns what: `Watch` sets an environment variable in the test process. Every process started from it inherits the
variable, also one that has left for a session of its own and has lost its parents, as the runtime does by design. So
processes are told apart from those of another test run on the same machine. A folder belongs to this run unless a
living process of somebody else names its session on the command line, as every runtime does.
"""

from __future__ import annotations

import gc
import os
import socket
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
        self._kept = set(_kept())
        self.tolerated: set[int] = set()
        """Processes that may stay, with all that they start: the nodes of a cluster that modules share."""
        os.environ[MARK] = self._mark

    def __repr__(self) -> str:
        return f"<Watch {self._mark}: {len(self.processes())} processes, {len(self.folders())} folders>"

    def processes(self) -> dict[int, str]:
        """Living processes started by this run, by pid, each as a line for people."""
        ours = {process.pid: process for process in psutil.Process(self.owner).children(recursive=True)}
        ours |= {process.pid: process for process in psutil.process_iter() if self._is_ours(process)}
        ours.pop(self.owner, None)
        for root in self.tolerated & ours.keys():
            for each in (ours[root], *ours[root].children(recursive=True)):
                ours.pop(each.pid, None)
        lines = {pid: _describe(process) for pid, process in sorted(ours.items())}
        return {pid: line for pid, line in lines.items() if line is not None}

    def folders(self) -> list[Path]:
        """Session folders and shared memory that appeared since, less those of runtimes that others started."""
        new = sorted(set(_folders()) - self._folders)
        others = self._command_lines_of_others() if new else ""
        return [folder for folder in new if _session(folder) not in others]

    def kept(self) -> dict[str, str]:
        """Unix sockets, files of sessions, and mappings of them that this process has since, each with a line."""
        return {key: line for key, line in _kept().items() if key not in self._kept}

    def leftovers(self, patience: float, processes: bool = True) -> list[str]:
        """What is still there after at most `patience` seconds; empty as soon as nothing is.

        Only what was there all the time counts: what appears while we wait is somebody else's.
        """
        deadline = time.monotonic() + patience
        left: dict[int | str | Path, str] | None = None
        while True:
            gc.collect()
            now: dict[int | str | Path, str] = {path: str(path) for path in self.folders()}
            now.update(self.kept())
            if processes:
                now |= {pid: f"process {line}" for pid, line in self.processes().items()}
            left = {key: line for key, line in now.items() if left is None or key in left}
            if not left or time.monotonic() > deadline:
                return sorted(left.values())
            time.sleep(0.1)

    def end(self) -> None:
        """Kill what is left, so that one leak is reported once and does not disturb what comes after."""
        for pid in self.processes():
            try:
                psutil.Process(pid).kill()
            except psutil.NoSuchProcess:
                continue
        self._folders.update(_folders())
        self._kept.update(_kept())

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self._mark
        except (psutil.Error, OSError):  # it ended, or belongs to another user
            return False

    def _command_lines_of_others(self) -> str:
        lines = []
        for process in psutil.process_iter():
            if process.pid == self.owner or self._is_ours(process):
                continue
            try:
                lines.append(" ".join(process.cmdline()))
            except (psutil.Error, OSError):
                continue
        return "\n".join(lines)


def _folders() -> list[Path]:
    shared = Path("/dev/shm")
    places = [Path(tempfile.gettempdir()), *([shared] if shared.is_dir() else [])]
    return [path for place in places for path in place.glob(PATTERN)]


def _leads_to_a_session(descriptor: int) -> bool:
    """Tell the connections of a client from the pairs of sockets that event loops have for themselves."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            return "/jupyter_ray-" in str(connection.getpeername())
    except OSError:
        return True  # Its peer is gone, and nobody has closed it.


def _kept() -> dict[str, str]:
    """What this process has open, by a key that tells a later one apart; only where there is a /proc."""
    kept: dict[str, str] = {}
    if not os.path.isdir("/proc/self/fd"):
        return kept
    sockets = {each.fd for each in psutil.Process().net_connections(kind="unix") if _leads_to_a_session(each.fd)}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if int(name) in sockets or "/jupyter_ray-" in target:
            kept[f"{name} {target}"] = f"file descriptor {name}: {target}"
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "/jupyter_ray-" in line:
            kept[line] = f"mapped memory: {line}"
    return kept


def _session(folder: Path) -> str:
    """Return the session's name in a folder's: both `jupyter_ray-0-f00` and `jupyter_ray-0-f00-shm` give `f00`."""
    return folder.name.removesuffix("-shm").split("-", 2)[-1]


def _describe(process: psutil.Process) -> str | None:
    """One line about a process; None for a zombie, and for helpers that Python itself keeps."""
    try:
        command = " ".join(" ".join(process.cmdline()).split())
        if process.status() == psutil.STATUS_ZOMBIE or any(helper in command for helper in HELPERS):
            return None
        return f"{process.pid} (parent {process.ppid()}, {process.status()}): {command[:200] or process.name()!r}"
    except psutil.NoSuchProcess:
        return None
