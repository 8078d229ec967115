"""Segments: files in the session's shared-memory folder, each with one value, written once and then only read.

A process writes only files that begin with its own prefix, and nobody reads one before the message that names it. So
a process that is killed half-way leaves a file that no object names: the runtime, which knows all names, removes what
bears a dead client's prefix. Removing is the runtime's alone; a mapping outlives its file, and closes when the last
view of it dies.

Owner: `SegmentStore` is shared by all threads of its process. `_mappings` is a weak dictionary whose entries are only
ever replaced by equal ones.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from jupyter_ray.config import RESERVE_FROM
from jupyter_ray.exceptions import ObjectStoreFullError

ALIGNMENT = 64
"""Bytes: the start of every buffer, so that vector instructions find their arrays as NumPy would have placed them."""


class Unreadable(Exception):
    """A segment cannot be read here: it is gone, damaged, or this process lacks what it takes."""

    def __init__(self, segment: str, reason: str) -> None:
        super().__init__(f"The segment {segment} cannot be read: {reason}")
        self.segment = segment
        self.reason = reason


def prefix(client: bytes) -> str:
    """Return what the names of all segments of a client begin with."""
    return client.hex() + "-"


def remove_unnamed(folder: Path, client: bytes, named: set[str]) -> list[str]:
    """Remove the segments of a dead client that no object names; return their names."""
    removed: list[str] = []
    for name in os.listdir(folder) if folder.is_dir() else ():
        if name.startswith(prefix(client)) and name not in named:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder / name)
                removed.append(name)
    return removed


class SegmentStore:
    """Writes and maps segments for one process.

    Parameters
    ----------
    folder
        The session's shared-memory folder.
    client
        This process's id: the prefix of what it writes.
    disk
        The folder to which the runtime moves values that have no room in memory.
    """

    def __init__(self, folder: Path, client: bytes, disk: Path | None = None) -> None:
        self._folder = str(folder)
        self._disk = None if disk is None else str(disk)
        self.reserve: Callable[[int], object] = lambda size: None
        """Waits until there is room for so many bytes, before a large value is written."""
        self._prefix = prefix(client)
        self._numbers = itertools.count(1)
        self._mappings: weakref.WeakValueDictionary[str, mmap.mmap] = weakref.WeakValueDictionary()

    def write(self, parts: Sequence[bytes | memoryview]) -> tuple[str, list[int], int]:
        """Write a new segment.

        Parameters
        ----------
        parts
            Flat buffers; each begins at a multiple of `ALIGNMENT`.

        Returns
        -------
        (str, list of int, int)
            The segment's name; offset and length of each part; bytes in all.

        Raises
        ------
        ObjectStoreFullError
            The memory is not there.
        """
        layout: list[int] = []
        end = 0
        for part in parts:
            start = -(-end // ALIGNMENT) * ALIGNMENT
            layout += (start, len(part))
            end = start + len(part)
        if end >= RESERVE_FROM:
            self.reserve(end)
        name = self._prefix + str(next(self._numbers))
        path = f"{self._folder}/{name}"
        try:
            self._write(path, parts, layout, end)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(path)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT):
                raise ObjectStoreFullError(
                    f"There is no room for {end:,} bytes in the shared memory at {self._folder}. "
                    "Drop references to large objects that are not needed any more, or free space there."
                ) from error
            raise
        return name, layout, end

    def _write(self, path: str, parts: Sequence[bytes | memoryview], layout: list[int], size: int) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # `pwrite` fails with ENOSPC where a store through a mapping would be killed with SIGBUS.
            for part, start in zip(parts, layout[::2], strict=True):
                view = memoryview(part)
                position = start
                while view:
                    written = os.pwrite(descriptor, view, position)
                    view = view[written:]
                    position += written
            os.ftruncate(descriptor, max(size, 1))
        finally:
            os.close(descriptor)

    def open(self, name: str, size: int = 1) -> memoryview:
        """Return a read-only view of a segment; while one lives, all reads in this process share its addresses.

        Raises
        ------
        Unreadable
            There is no such segment (any more), it has fewer bytes than `size`, or it cannot be mapped.
        """
        mapping = self._mappings.get(name)
        if mapping is None:
            if "/" in name:
                raise ValueError(f"{name!r} is no name of a segment")
            try:
                mapping = self._map(name, size)
            except OSError as error:
                raise Unreadable(name, str(error)) from error
            mapping = self._mappings.setdefault(name, mapping)
        return memoryview(mapping)

    def _map(self, name: str, size: int) -> mmap.mmap:
        descriptor = self._find(name)
        try:
            there = os.fstat(descriptor).st_size
            if there < max(size, 1):  # To read past its end would end the process.
                raise Unreadable(name, f"it has {there:,} of {size:,} bytes")
            return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)

    def _find(self, name: str) -> int:
        try:
            return os.open(f"{self._folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._disk is None:
                raise
        return os.open(f"{self._disk}/{name}", os.O_RDONLY | os.O_CLOEXEC)

    def unlink(self, name: str) -> None:
        """Remove a segment that this process wrote and never told anybody about."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._folder}/{name}")

    def __repr__(self) -> str:
        return f"<SegmentStore {self._folder}: {len(self._mappings)} mapped>"
