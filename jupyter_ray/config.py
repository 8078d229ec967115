"""Limits and paths, with the reason for each figure."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

LOCAL_ADDRESS = "unix:"
"""What the address of a local runtime begins with; the path of its socket follows."""

INLINE_LIMIT = 100 * 1024
"""Bytes up to which a value travels in the message; larger ones go to shared memory (Ray's figure)."""

RESERVE_FROM = 768 * 1024
"""Bytes from which on a process asks for room before it writes a value, and writes it into the file of a freed one if
there is one: a message costs less than the copy."""

SPARE_SHARE = 4
"""Files of freed values may take one part in so many of the object store; one that is larger is kept alone."""

SPARE_SECONDS = 10.0
"""Seconds after which such a file that nobody wanted is removed."""

PROMISE_SECONDS = 10.0
"""Seconds for which room is kept free for a process that was going to write: it may have been stopped."""

FULL_SECONDS = 2.0
"""Seconds for which a full object store that may not spill waits for values to be freed (Ray's figure)."""

GARBAGE_SHARE = 0.7
GARBAGE_SECONDS = 10.0
"""Above this share of the object store all processes collect garbage, with so many seconds between (Ray's figures)."""

LINEAGE_LIMIT = 256 * 1024**2
"""Bytes of submissions and their arguments that are kept so that large results can be computed again; of a small object
store, a quarter at most, since large arguments are kept in shared memory. Past it the oldest are forgotten."""

ACTOR_BACKLOG = 25_000
"""Calls that one caller may have unfinished on one actor; past it ``.remote()`` waits.

So that a flood is slowed at its source. One of them takes some two kilobytes; programs for Ray queue 20,000.
"""

EVENT_LOG = 30_000
"""Events that the runtime remembers."""

EVENT_LOG_BYTES = 64 * 1024**2
"""Bytes that they may take: that of a call names all its arguments and results, which may be thousands."""

EVENT_LOG_TEXT = 16 * 1024**2
"""Characters of what tasks printed that the runtime remembers; of older lines it keeps only that there were some."""

EVENT_INTERVAL = 0.04
"""Seconds between two batches of events: less than a screen needs, more than a burst takes."""

LOG_INTERVAL = 0.05
"""Seconds that printed lines wait to be sent together."""

IDLE_WORKER_SECONDS = 5.0
"""Seconds after which a worker beyond the number of CPUs is let go."""

CLOSURE_WARNING = 1024**2
CLOSURE_LIMIT = 95 * 1024**2
"""Bytes of a pickled function from which on we warn and refuse (Ray's limit)."""
LIBRARY_LIMIT = 128 * 1024**2
"""Bytes that the large definitions of a process may have together; it lets go of those that were used least lately."""

SHUTDOWN_SECONDS = 5.0
"""Seconds that `shutdown` grants the runtime before it is killed."""

DISK_SHARE = "RAY_local_fs_capacity_threshold"
"""The environment variable that tells workers above which share of a disk no value goes there."""


IN_MEMORY = Path("/dev/shm")
"""Where files are in memory, on Linux."""

RUNTIME_SOCKET = "runtime.sock"
"""In a session's folder: where the runtime listens."""

_session_folders: dict[str, Path] = {}


def session_folder(session: str, root: str | None = None) -> Path:
    """Return the folder (mode 0700) of a session's sockets and logs: in `root`, else in ``RAY_TMPDIR``, as in Ray.

    The first call for a session settles it, since a program may change its environment meanwhile.
    """
    if session not in _session_folders:
        root = root or os.environ.get("RAY_TMPDIR") or temporary_folder()
        _session_folders[session] = Path(root) / f"{session_prefix()}{session}"
    return _session_folders[session]


def working_directory() -> str:
    """Return where this process is; the root, where that folder was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


def temporary_folder() -> str:
    """Return what `tempfile.gettempdir` returns; mostly without its import, which takes a fortieth of a start."""
    usual = os.environ.get("TMPDIR") or "/tmp"
    if "tempfile" not in sys.modules and os.path.isabs(usual) and os.path.isdir(usual) and os.access(usual, os.W_OK):
        return usual
    import tempfile

    return tempfile.gettempdir()


def session_prefix() -> str:
    """Return what the names of this user's session folders begin with."""
    return f"jupyter_ray-{os.getuid()}-"


def crash_report(session: str, worker: bytes) -> Path:
    """Return where a worker's stacks are written if it crashes."""
    return session_folder(session) / f"crash-{worker.hex()}"


def guest_folder(session: str, job: str) -> Path:
    """Return where the folders are copied to that the runtime environments of a driver name which joined."""
    return session_folder(session) / f"guest-{job}"


def spill_folder(session: str) -> Path:
    """Return the folder to which values go that have no room in memory; a link, where `init` named another disk."""
    return session_folder(session) / "spilled"


def spill_folders(session: str) -> list[Path]:
    """Return all folders to which such values go, by turns; more than one where `init` named several disks."""
    return all_folders(spill_folder(session))


def all_folders(first: Path) -> list[Path]:
    """Return `first` and what is beside it for further disks."""
    folders = [first]
    while (further := further_folder(first, len(folders))).is_symlink():
        folders.append(further)
    return folders


def further_folder(first: Path, number: int) -> Path:
    """Return the link that stands for a further disk beside `first`."""
    return first.with_name(f"{first.name}.{number}")


def shared_memory_folder(session: str) -> Path:
    """Return the folder of a session's shared-memory files: in memory where the system offers that."""
    usable = IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK)  # A container's may be read-only.
    return (IN_MEMORY if usable else Path(temporary_folder())) / f"jupyter_ray-{os.getuid()}-{session}-shm"


def remove_folders(session: str) -> None:
    """Remove what a session has left, in memory and on disk; idempotent."""
    import shutil

    for folder in spill_folders(session):
        with contextlib.suppress(OSError):
            shutil.rmtree(os.readlink(folder), ignore_errors=True)
    for folder in (shared_memory_folder(session), session_folder(session)):
        shutil.rmtree(folder, ignore_errors=True)
