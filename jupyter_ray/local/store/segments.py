"""Segments: files in the session's shared-memory folder, each with one value, written once and then only read.

A process writes only files that begin with its own prefix, and nobody reads one before the message that names it. So
a process that is killed half-way leaves a file that no object names: the runtime, which knows all names, removes what
bears a dead client's prefix. Removing is the runtime's alone; a mapping outlives its file, and closes when the last
view of it dies. Files of freed values are written into again, but never one that somebody reads: see `spares`.

Owner: `SegmentStore` is shared by all threads of its process. `_mappings` is a weak dictionary whose entries are only
ever replaced by equal ones.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import itertools
import mmap
import os
import resource
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jupyter_ray.config import RESERVE_FROM, all_folders
from jupyter_ray.exceptions import ObjectStoreFullError, OutOfDiskError
from jupyter_ray.interrupts import Sleep, shielded
from jupyter_ray.local.protocol.names import ON_DISK, prefix, turn
from jupyter_ray.local.store import mapping
from jupyter_ray.local.store.spares import Claim, Spares

ALIGNMENT = 64
"""Bytes: the start of every buffer, so that vector instructions find their arrays as NumPy would have placed them."""


class Unreadable(Exception):
    """A segment cannot be read here: it is gone, damaged, or this process lacks what it takes."""

    def __init__(self, segment: str, reason: str) -> None:
        super().__init__(f"The segment {segment} cannot be read: {reason}")
        self.segment = segment
        self.reason = reason


class Layout(list[int]):
    """Offset and length of each part of a segment that no message names yet: it goes with this."""

    __slots__ = ("__del__",)

    __del__: Callable[[], object]


_Read = tuple[mmap.mmap, Any]
"""A mapping, and the array that was read from it, if it holds one."""

_MANY_FILES = 65_536

_PATIENCE = 5.0
"""Seconds that a reader waits for whoever is just moving the file: it takes microseconds."""


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
        self._disk = disk
        self.disk_share = 1.0
        """Above this share of a disk, no value goes there."""
        self.spares = Spares(self._folder)
        self.reserve: Callable[[int, str], object] = lambda size, segment: None
        """Waits until there is room for so many bytes of a segment; returns `ON_DISK` if they have to go there."""
        self.unwritten: Callable[[str], object] = lambda segment: None
        """Tells the runtime that a segment for which there was room will not come, or is named by nobody."""
        self.report: Callable[[Callable[[], object]], object] = lambda end: None
        """Has something done soon; C code."""
        self._prefix = prefix(client)
        self._numbers = itertools.count(1)
        self._mappings: weakref.WeakValueDictionary[str, mmap.mmap] = weakref.WeakValueDictionary()
        self._lingering: dict[str, _Read] = {}
        """What was read since the last look."""
        self._older: dict[str, _Read] = {}
        self._closed = False

    def write(self, parts: Sequence[bytes | memoryview], *, unnamed: bool = False) -> tuple[str, list[int], int]:
        """Write a new segment.

        Parameters
        ----------
        parts
            Flat buffers; each begins at a multiple of `ALIGNMENT`.
        unnamed
            The file is to go where the layout goes before it was `named`, as an interrupt may have it.

        Returns
        -------
        (str, list of int, int)
            The segment's name; offset and length of each part; bytes in all.

        Raises
        ------
        ObjectStoreFullError
            The memory is not there.
        """
        layout: list[int] = Layout() if unnamed else []
        end = 0
        for part in parts:
            start = -(-end // ALIGNMENT) * ALIGNMENT
            layout += (start, len(part))
            end = start + len(part)
        name = self._prefix + str(next(self._numbers))
        with shielded() as shield:  # An interrupt between `open` and `close` would leave the file, and its descriptor.
            if end < RESERVE_FROM:
                self._write_new(self._folder, name, parts, layout, end, shield.sleep)
            else:
                try:
                    self._write_large(name, parts, layout, end, shield.sleep)
                except BaseException:
                    self.unwritten(name)
                    raise
            if isinstance(layout, Layout):
                layout.__del__ = functools.partial(self.report, functools.partial(self.unwritten, name))
            return name, layout, end

    def _write_large(
        self, name: str, parts: Sequence[bytes | memoryview], layout: list[int], size: int, sleep: Sleep
    ) -> None:
        claim = self.spares.take(size, name)
        where: object = None
        if claim is None:
            where = self._reserve(size, name, sleep)
            claim = None if where == ON_DISK else self.spares.take(size, name)  # It may have come with the answer.
            if claim is None:
                folder = self._folder
                if where == ON_DISK and self._disks:
                    folder = self._disks[turn(name, len(self._disks))]
                self._write_new(folder, name, parts, layout, size, sleep)
                return
        try:
            if where is None and size - claim.size >= RESERVE_FROM:
                self._reserve(size - claim.size, name, sleep)
            self._write_again(name, claim, parts, layout, size)
            sleep(_nothing)  # An interrupt that came meanwhile: nobody would get the file.
        except BaseException as error:
            self._give_up(f"{self._folder}/{name}", size, error)
            raise
        finally:
            claim.release()

    def _reserve(self, size: int, name: str, sleep: Sleep) -> object:
        """Wait for room: that an interrupt may end."""
        answer: list[object] = []
        sleep(lambda: answer.append(self.reserve(size, name)))
        return answer[0]

    def _write_again(
        self, name: str, claim: Claim, parts: Sequence[bytes | memoryview], layout: list[int], size: int
    ) -> None:
        warm = min(claim.size, size)
        kept = claim.mapping or mapping.mapped(claim.descriptor, warm)
        if kept is None:
            warm = 0
        else:
            kept.size = warm = min(kept.size, warm)
        for part, start in zip(parts, layout[::2], strict=True):
            view = memoryview(part)
            inside = max(0, min(len(view), warm - start))
            if inside and kept is not None:
                kept.write(view[:inside], start)
            _pwrite(claim.descriptor, view[inside:], start + inside)
        if claim.size != size:
            os.ftruncate(claim.descriptor, size)
        if kept is not None and kept.size == size:
            self.spares.keep(name, kept)

    def _write_new(
        self, folder: str, name: str, parts: Sequence[bytes | memoryview], layout: list[int], size: int, sleep: Sleep
    ) -> None:
        path = f"{folder}/{name}"
        try:
            if folder != self._folder:
                os.makedirs(folder, 0o700, exist_ok=True)
                check_share(folder, self.disk_share)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                # `pwrite` fails with ENOSPC where a store through a mapping would be killed with SIGBUS.
                for part, start in zip(parts, layout[::2], strict=True):
                    _pwrite(descriptor, memoryview(part), start)
                os.ftruncate(descriptor, max(size, 1))
            finally:
                os.close(descriptor)
            sleep(_nothing)  # See above.
        except BaseException as error:
            self._give_up(path, size, error)
            raise

    def _give_up(self, path: str, size: int, error: BaseException) -> None:
        """Remove what was begun.

        Raises
        ------
        ObjectStoreFullError
            The error is that there is no room.
        """
        with contextlib.suppress(OSError):
            os.unlink(path)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT):
            in_memory = path.startswith(self._folder + "/")
            where = "shared memory" if in_memory else "folder for values on disk"
            kind = ObjectStoreFullError if in_memory else OutOfDiskError
            raise kind(
                f"There is no room for {size:,} bytes in the {where} at {os.path.realpath(os.path.dirname(path))}. "
                "Drop references to large objects that are not needed any more, or free space there."
            ) from error

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
                mapping = self._mappings.setdefault(name, self._map_by_all_means(name, size))
            except OSError as error:
                raise Unreadable(name, str(error)) from error
        return memoryview(mapping)

    def linger(self, name: str, array: Any = None) -> None:
        """Keep a segment mapped for a while: who reads it again soon finds its pages. Ask for `leave_old` then.

        Parameters
        ----------
        name
            The segment.
        array
            Its value, if that is an array: see `read_before`.
        """
        mapping = self._mappings.get(name)
        if mapping is not None and not self._closed:
            self._lingering[name] = mapping, array

    def read_before(self, name: str) -> Any:
        """Return the array that was read from a segment a moment ago, or None: a view of it costs no unpickling."""
        read = self._lingering.get(name) or self._older.get(name)
        return None if read is None else read[1]

    def leave(self, name: str) -> None:
        """Unmap a segment as soon as nobody reads it: its file is about to be freed."""
        self._lingering.pop(name, None)
        self._older.pop(name, None)

    def leave_old(self) -> bool:
        """Do not keep what was not used since the last time; return whether anything is still kept."""
        self._older, self._lingering = self._lingering, {}
        return bool(self._older)

    def close(self) -> None:
        """Keep nothing that nobody reads any more: a reference, or a remote function, may outlive the session."""
        self._closed = True
        self._lingering, self._older = {}, {}

    def _map_by_all_means(self, name: str, size: int) -> mmap.mmap:
        try:
            return self._map(name, size)
        except OSError as error:
            if error.errno != errno.EMFILE or not _raise_limit():
                raise
        return self._map(name, size)

    def _map(self, name: str, size: int) -> mmap.mmap:
        deadline = 0.0
        while True:
            with shielded():  # An interrupt between `open` and `close` would leave the descriptor.
                path, descriptor = self._find(name)
                try:
                    if _lock_shared(path, descriptor):
                        there = os.fstat(descriptor).st_size
                        if there < max(size, 1):  # To read past its end would end the process.
                            raise Unreadable(name, f"it has {there:,} of {size:,} bytes")
                        return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)  # Has one of its own, with the lock.
                finally:
                    os.close(descriptor)
            now = time.monotonic()
            deadline = deadline or now + _PATIENCE
            if now > deadline:
                raise Unreadable(name, "it is locked")
            time.sleep(0.0002)  # A lock that one waits for would have no end where its holder is stopped.

    def _find(self, name: str) -> tuple[str, int]:
        path = f"{self._folder}/{name}"
        try:
            return path, _open(path)
        except FileNotFoundError:
            if not self._disks:
                raise
        path = f"{self._disks[turn(name, len(self._disks))]}/{name}"
        return path, _open(path)

    @functools.cached_property
    def _disks(self) -> list[str]:
        """Where segments may be that are not in memory; not looked for before the session has begun."""
        return [] if self._disk is None else [str(folder) for folder in all_folders(self._disk)]

    def __repr__(self) -> str:
        return f"<SegmentStore {self._folder}: {len(self._mappings)} mapped, {self.spares!r}>"


def _nothing() -> None: ...


def check_share(folder: str | Path, share: float) -> None:
    """Raise the OSError of a full disk, where one is in use by more than that share."""
    if share < 1:
        disk = os.statvfs(folder)
        if disk.f_bavail < disk.f_blocks * (1 - share):
            raise OSError(
                errno.ENOSPC, f"Over {share:.1%} of the disk is in use (local_fs_capacity_threshold)", str(folder)
            )


def _pwrite(descriptor: int, view: memoryview, position: int) -> None:
    while view:
        written = os.pwrite(descriptor, view, position)
        view = view[written:]
        position += written


def _lock_shared(path: str, descriptor: int) -> bool:
    """Lock a file for reading; False if it is being moved, or has just lost this name."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        there, ours = os.stat(path), os.fstat(descriptor)
    except (BlockingIOError, FileNotFoundError):
        return False
    return there.st_ino == ours.st_ino and there.st_dev == ours.st_dev


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _raise_limit() -> bool:
    """Let this process open more files, where the system allows it: each array that is held needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, _MANY_FILES)
    if 0 <= soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return True
    return False
