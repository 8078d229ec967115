"""Writing into a file through a mapping that is kept, at the speed of a memory copy.

Two things cost more than the copy: new pages, which are cleared first, and their entries in the page table. A mapping
of a file whose pages are all there spares both, and `populate` pays for the second in advance. It also makes writing
safe: pages that are not there would kill the process (SIGBUS) where there is no room for them; `populate` fails
instead.

All calls here let go of the interpreter lock. Linux alone offers what this needs (since 5.14); elsewhere `offered` is
False, and files are written by system calls.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from jupyter_ray.interrupts import started

_READ_WRITE = 0x1 | 0x2
_SHARED = 0x1
_POPULATE_WRITE = 23
_FAILED = ctypes.c_void_p(-1).value
_PAGE = os.sysconf("SC_PAGE_SIZE")

SHARE_FROM = 8 * 1024**2
"""Bytes that one thread copies alone: to start another takes as long as copying half a megabyte."""
_THREADS = 4
"""More do not help: memory is the limit."""


class _View(ctypes.Structure):
    """Python's ``Py_buffer``: the way to the address of a buffer that is read-only."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    )
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return libc


_calls: Any = _libc() if sys.platform == "linux" else None


class Mapping:
    """A writable mapping of the first `size` bytes of a file; it ends with its last reference.

    Parameters
    ----------
    descriptor
        Of the file; may be closed afterwards.
    size
        Bytes.

    Raises
    ------
    OSError
        The file cannot be mapped.
    """

    __slots__ = ("__del__", "_address", "size")

    __del__: Callable[[], object]
    """C code: an interrupt does not stop it."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._address = _calls.mmap(None, size, _READ_WRITE, _SHARED, descriptor, 0)
        if self._address == _FAILED:
            raise OSError(ctypes.get_errno(), "mmap")
        self.__del__ = functools.partial(_calls.munmap, self._address, size)
        self.size = size
        """Bytes that may be written: less than were mapped, after the file was cut."""

    def populate(self) -> None:
        """See to it that all pages are there.

        Raises
        ------
        OSError
            They cannot be.
        """
        if _calls.madvise(self._address, -(-self.size // _PAGE) * _PAGE, _POPULATE_WRITE):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    def write(self, part: bytes | memoryview, start: int) -> None:
        """Copy a contiguous buffer to offset `start`; a large one by several threads."""
        size = len(part)
        if not 0 <= start <= start + size <= self.size:
            raise ValueError(f"{size} bytes at {start} do not fit into {self!r}")
        pieces = max(1, min(size // SHARE_FROM, _THREADS, _cpus()))
        step = -(-size // pieces // _PAGE) * _PAGE if pieces > 1 else size
        helpers: list[threading.Thread] = []
        try:
            for first in range(step, size, step):
                which = part, start, first, min(first + step, size)
                helper = threading.Thread(target=self._copy, args=which, daemon=True)
                if started(helper):
                    helpers.append(helper)
                else:
                    self._copy(*which)
            self._copy(part, start, 0, min(step, size))
        finally:
            for each in helpers:
                each.join()  # After an interrupt, they go on with what they hold themselves.

    def _copy(self, part: bytes | memoryview, start: int, first: int, last: int) -> None:
        view = _View()
        source = ctypes.py_object(part)
        ctypes.pythonapi.PyObject_GetBuffer(source, ctypes.byref(view), 0)
        try:
            ctypes.memmove(self._address + start + first, (view.buf or 0) + first, last - first)
        finally:
            ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))

    def __repr__(self) -> str:
        return f"<Mapping: {self.size:,} bytes>"


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def mapped(descriptor: int, size: int) -> Mapping | None:
    """Return a populated mapping of a file; None where that is not offered, or fails."""
    if not offered():
        return None
    try:
        mapping = Mapping(descriptor, size)
        mapping.populate()
    except OSError:
        return None
    return mapping


_offered: bool | None = None


def offered() -> bool:
    """Tell whether this system can do it."""
    global _offered
    if _offered is None:
        _offered = _calls is not None and _probe()
    return _offered


def _probe() -> bool:
    address = _calls.mmap(None, _PAGE, _READ_WRITE, _SHARED | 0x20, -1, 0)  # Of no file.
    if address == _FAILED:
        return False
    try:
        return not _calls.madvise(address, _PAGE, _POPULATE_WRITE)
    finally:
        _calls.munmap(address, _PAGE)
