"""The runtime process, from the driver's side: folders, socket, start and end.

The driver makes the folders and the listening socket itself, so that it can connect at once, while the runtime is
still importing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from jupyter_ray.config import (
    RUNTIME_SOCKET,
    SHUTDOWN_SECONDS,
    remove_folders,
    session_folder,
    shared_memory_folder,
    working_directory,
)
from jupyter_ray.interrupts import shielded

_ROOT = str(Path(__file__).resolve().parents[2])
# What imports make stays: to look through it for garbage would take a tenth of the start.
_CODE = "import gc, sys; gc.disable(); sys.path[0] = {root!r}; from jupyter_ray.local.server.main import main; main()"
_LOG_TAIL = 2_000


_PATH_LIMIT = 103
"""Bytes of a Unix socket's path: macOS takes so many, Linux four more."""
_LONGEST_NAME = len("w-0123456789abcdef")
"""Of the sockets in the session's folder."""


def _fill_standard_descriptors() -> None:
    """See that no socket takes the numbers of standard streams that the program lacks: the runtime's would hide it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def is_stopped(pid: int) -> bool:
    """Tell whether somebody has stopped a process."""
    import psutil  # Not before somebody waits for long: it would take a part of the time of each start.

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


class Runtime:
    """A runtime process that this driver started, and the connection to it.

    Parameters
    ----------
    root
        Where the session's folder is made; None: where `session_folder` says.

    Attributes
    ----------
    session
        Names the session and its folders.
    connection
        A connected socket; whoever uses it closes it.
    """

    def __init__(self, root: str | None = None) -> None:
        self._words = ""
        self.session = os.urandom(6).hex()
        self.folder = session_folder(self.session, root)
        self.shared_memory = shared_memory_folder(self.session)
        address = self.folder / RUNTIME_SOCKET
        room = _PATH_LIMIT - len(os.fsencode(self.folder)) - 1 - _LONGEST_NAME
        if room < 0:
            raise OSError(
                errno.ENAMETOOLONG,
                f"The paths of the sockets in {self.folder} would be {-room} bytes too long for this system. Set "
                "init(_temp_dir=...), RAY_TMPDIR or TMPDIR to a shorter path, such as /tmp.",
            )
        # Whole, it ends with its connection, and removes its folders, wherever an interrupt comes next.
        with shielded():
            self._make(address)

    def _make(self, address: Path) -> None:
        _fill_standard_descriptors()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.folder.mkdir(mode=0o700)
            self.shared_memory.mkdir(mode=0o700)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(str(address))
                listener.listen(512)
                self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self.connection.connect(str(address))
                self.process = self._spawn(listener.fileno())
        except BaseException:
            self.remove_folders()
            raise

    def _spawn(self, listener: int) -> subprocess.Popen[bytes]:
        path = [entry for entry in sys.path if entry]
        arguments = {
            "session": self.session,
            "root": str(self.folder.parent),
            "listen_fd": listener,
            "sys_path": path if _ROOT in path else [_ROOT, *path],
            "driver_pid": os.getpid(),
        }
        with open(self.folder / "runtime.log", "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _CODE.format(root=_ROOT), json.dumps(arguments)],
                cwd=working_directory(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(listener,),
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process."""
        return self.process.pid

    @property
    def stopped(self) -> bool:
        """Whether somebody has stopped the process."""
        return is_stopped(self.pid)

    def give_up(self) -> None:
        """End the process, which does not hear us."""
        self.process.kill()

    def last_words(self) -> str:
        """Return the end of the runtime's log, for an error's text; "" if it said nothing."""
        with contextlib.suppress(OSError):
            self._words = (self.folder / "runtime.log").read_text(errors="replace")[-_LOG_TAIL:].strip()
        return self._words

    def end(self) -> None:
        """Wait for the process to end by itself, for `SHUTDOWN_SECONDS` at most, then kill it; remove what it left."""
        try:
            self.process.wait(SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.remove_folders()

    def remove_folders(self) -> None:
        """Remove the session's folders; idempotent."""
        self.last_words()  # Another thread may ask for them.
        remove_folders(self.session)

    def __repr__(self) -> str:
        return f"<Runtime {self.session}: pid {self.process.pid}, {'alive' if self.alive else 'ended'}>"
