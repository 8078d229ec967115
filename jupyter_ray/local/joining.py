"""A runtime that another driver has started, seen by one that joins it.

Whoever may enter the session's folder is the user that owns it, and so is who listens there: both are looked at,
since what comes from there is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

from jupyter_ray._version import __version__
from jupyter_ray.config import (
    LOCAL_ADDRESS,
    RUNTIME_SOCKET,
    session_folder,
    session_prefix,
    shared_memory_folder,
)
from jupyter_ray.local.launcher import is_stopped
from jupyter_ray.local.transport import peer_uid

_MARK = "runtime.json"
"""The file in a session's folder that says that its runtime is bound, and what it is."""
_REMEDY = (
    "take the address from init().address_info['address'] of the driver that started it, write 'auto' for the newest "
    "one, or leave the address out for a runtime of your own"
)


def address_of(session: str) -> str:
    """Return the address by which others join the runtime of a session."""
    return f"{LOCAL_ADDRESS}{session_folder(session) / RUNTIME_SOCKET}"


def announce(session: str, pid: int) -> None:
    """Let others join: the runtime, process `pid`, is bound."""
    (session_folder(session) / _MARK).write_text(json.dumps({**_here(), "pid": pid}))


def newest(root: str | None) -> str | None:
    """Return the address of this user's runtime that was bound last and lives; None if there is none.

    Parameters
    ----------
    root
        Where sessions have their folders; None: where this process would make its own.
    """
    marks: list[tuple[float, Path]] = []
    for folder in Path(root or os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()).glob(f"{session_prefix()}*"):
        try:
            marks.append(((folder / _MARK).stat().st_mtime, folder))
        except OSError:  # It is not bound, or of another user, or about to go.
            continue
    for _, folder in sorted(marks, reverse=True):
        address = f"{LOCAL_ADDRESS}{folder / RUNTIME_SOCKET}"
        try:
            _connect(address, folder).close()
        except ConnectionError:  # Left by one that was killed.
            continue
        return address
    return None


class Joined:
    """A runtime that another driver has started, and the connection to it.

    Parameters
    ----------
    address
        `address_of` it.

    Attributes
    ----------
    session
        Names the session and its folders.
    connection
        A connected socket; whoever uses it closes it.
    pid
        Of the runtime's process.

    Raises
    ------
    ConnectionError
        Nobody answers there, or somebody whom this user has not started.
    RuntimeError
        It runs another Python, or another version of this package.
    """

    def __init__(self, address: str) -> None:
        self.folder = Path(address.removeprefix(LOCAL_ADDRESS)).expanduser().absolute().parent
        self.connection = _connect(address, self.folder)
        try:
            about = _about(address, self.folder)
        except BaseException:
            self.connection.close()
            raise
        self.pid = int(about["pid"])
        self.session = self.folder.name.removeprefix(session_prefix())
        session_folder(self.session, str(self.folder.parent))
        self.shared_memory = shared_memory_folder(self.session)

    @property
    def stopped(self) -> bool:
        """Whether somebody has stopped the runtime's process."""
        return is_stopped(self.pid)

    def give_up(self) -> None:
        """Close the connection to a runtime that does not hear us."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def last_words(self) -> str:
        """Return nothing: what a runtime says at its end its own driver tells."""
        return ""

    def end(self) -> None:
        """Do nothing: it is not ours."""

    def __repr__(self) -> str:
        return f"<Joined {self.session}: pid {self.pid}>"


def _here() -> dict[str, Any]:
    return {"version": __version__, "python": ".".join(map(str, sys.version_info[:2]))}


def _connect(address: str, folder: Path) -> socket.socket:
    try:
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
            raise PermissionError(f"{folder} is not a folder that you alone may enter")
        if not folder.name.startswith(session_prefix()):
            raise FileNotFoundError(f"{folder} is no folder of a session")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(folder / RUNTIME_SOCKET))
            if peer_uid(connection) not in (None, os.getuid()):
                raise PermissionError("another user listens there")
        except BaseException:
            connection.close()
            raise
    except OSError as error:
        raise ConnectionError(
            f"Could not find any running Ray instance at {address!r} ({error.strerror or error}): {_REMEDY}."
        ) from None
    return connection


def _about(address: str, folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / _MARK).read_text())
    except (OSError, ValueError):
        raise ConnectionError(f"The runtime at {address!r} is not ready, or about to end: {_REMEDY}.") from None
    there, here = ({name: each.get(name) for name in _here()} for each in (about, _here()))
    if there != here:
        raise RuntimeError(
            f"Version mismatch: the runtime at {address!r} was started with jupyter_ray {there['version']} and Python "
            f"{there['python']}, and this process has jupyter_ray {here['version']} and Python {here['python']}. "
            "Drivers that share a runtime must have the same."
        )
    return about
