"""What is left of sessions whose processes were all killed at once, as by ``kill -9`` or for want of memory.

Each process of a session sees to it that nothing stays when the others are gone; of the last one nobody is left. So a
runtime looks after others of its user: it removes the folders of those that nobody answers for.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import time
from pathlib import Path

from jupyter_ray.config import (
    IN_MEMORY,
    RUNTIME_SOCKET,
    remove_folders,
    session_folder,
    session_prefix,
    shared_memory_folder,
)

AGE_SECONDS = 60.0
"""A folder that is younger may be of a session that is only being made."""
_SESSION = re.compile("[0-9a-f]{12}")


def remove(root: Path) -> list[str]:
    """Remove the folders of sessions that are dead, in `root` and in shared memory.

    A session counts as dead if its shared memory is on this machine (`root` may be shared with others), its folder
    has not been changed for `AGE_SECONDS`, and nobody listens to its socket. Without a socket it was never begun; if
    it has values all the same, somebody has tidied up `root`, and it may be alive.

    Returns
    -------
    list of str
        The sessions.
    """
    removed = []
    for folder in root.glob(f"{session_prefix()}*"):
        session = folder.name.removeprefix(session_prefix())
        if not _SESSION.fullmatch(session):
            continue
        with contextlib.suppress(OSError):  # It goes while we look, or is another user's.
            if not _is_ours(folder) or not _is_old(folder):
                continue
            session_folder(session, str(root))
            memory, address = shared_memory_folder(session), folder / RUNTIME_SOCKET
            if not memory.is_relative_to(IN_MEMORY) or not _is_ours(memory):
                continue
            if _is_refused(address) if address.exists() else not any(memory.iterdir()):
                remove_folders(session)
                removed.append(session)
    return removed


def _is_ours(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _is_old(folder: Path) -> bool:
    return time.time() - folder.lstat().st_mtime > AGE_SECONDS


def _is_refused(address: Path) -> bool:
    """Tell whether nobody listens to a socket. One who is stopped, or has no time, does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.setblocking(False)
        try:
            peer.connect(str(address))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
