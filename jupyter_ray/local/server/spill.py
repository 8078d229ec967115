"""The runtime's hand on shared-memory files: moving one to disk, in a thread of its own; keeping and dropping spares.

The copy is complete and has its name before the original goes: whoever looks for a segment in memory first, and then
on disk, finds it at any moment. A reader holds a shared lock on what it has mapped (see `store.spares`): that stays.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from jupyter_ray.local.protocol.names import spare_name
from jupyter_ray.local.store.segments import check_share

HALF = ".part"
NOTICE_BYTES = 2 << 30
"""So much goes to disk before people are told (Ray's figure)."""


def spill(memory: Path, disk: Path, segment: str, share: float = 1.0) -> bool:
    """Move `segment` from one folder to the other, whose disk may be filled up to that share.

    False: somebody reads it, and it stays.

    Raises
    ------
    OSError
        The disk is full, say; the segment is still in memory, and nothing of it is on disk.
    """
    disk.mkdir(mode=0o700, exist_ok=True)
    half = disk / f"{segment}{HALF}"
    with open(memory / segment, "rb") as file:
        if not _lock(file.fileno()):
            return False
        fcntl.flock(file, fcntl.LOCK_UN)  # Readers may come while this copies.
        try:
            check_share(disk, share)
            with open(half, "wb") as copy:
                while piece := file.read(1 << 20):
                    copy.write(piece)
            if _lock(file.fileno()):
                os.rename(half, disk / segment)
                os.unlink(memory / segment)
                return True
        except OSError:
            _remove(half)
            raise
    _remove(half)
    return False


class Notice:
    """Tells people that values go to disk, ever more seldom. Source: Ray's ``verbose_spill_logs``.

    Parameters
    ----------
    first
        Bytes after which they are told first; 0: never.
    """

    def __init__(self, first: int = NOTICE_BYTES) -> None:
        self._next = first
        self._bytes = self._number = 0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notice:
        """Return the notice that the driver's environment asks for, by ``RAY_verbose_spill_logs`` in bytes."""
        text = environ.get("RAY_verbose_spill_logs", "")
        return cls(int(text)) if text.isdecimal() else cls()

    def moved(self, size: int) -> str | None:
        """Count a value of `size` bytes that was moved; return what people should know now, if anything."""
        self._bytes += size
        self._number += 1
        if not self._next or self._bytes < self._next:
            return None
        while self._next <= self._bytes:
            self._next *= 2
        return (
            f"Spilled {self._bytes >> 20} MiB to disk, {self._number} values: the object store is full. init with more "
            "object_store_memory keeps them in memory; RAY_verbose_spill_logs=0 hides this line.\n"
        )

    def __repr__(self) -> str:
        return f"<Notice: {self._number} values, {self._bytes:,} bytes>"


def keep_spare(memory: Path, segment: str) -> None:
    """Give the file of a freed segment the name of a spare one; if it is gone, whoever wants it will see."""
    with contextlib.suppress(OSError):
        os.rename(memory / segment, memory / spare_name(segment))


def drop_spare(memory: Path, segment: str) -> None:
    """Remove a spare file; its memory is free at once, unless somebody still reads what it held."""
    path = memory / spare_name(segment)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # Its writer has just taken it.
    try:
        if _lock(descriptor):  # Its writer cannot take it now; and what it has mapped holds nothing any more.
            os.ftruncate(descriptor, 0)
    finally:
        _remove(path)
        os.close(descriptor)


def is_full(error: BaseException) -> bool:
    """Tell whether an error means that the disk has no room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
