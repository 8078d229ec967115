"""A wait that has an end.

``queue.SimpleQueue.get(timeout=...)`` has none in CPython 3.11 and 3.12 where the time is up between two of its steps:
it computes what is left, finds less than nothing, and takes that for "no limit". On a busy machine a thread that
waits for a millisecond loses its processor just there now and then, and never comes back (`docs/decisions/0014-*`). A
lock's own wait is right, and is C code, which an interrupt does not tear.
"""

from __future__ import annotations

import math
import queue
import threading
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class Bell:
    """Wakes the one thread that waits for it, or that does so next. Rung twice before that, it is rung once."""

    __slots__ = ("_silent",)

    def __init__(self) -> None:
        self._silent = threading.Lock()
        self._silent.acquire()

    def ring(self) -> None:
        """Let the thread go on. Safe in finalizers and signal handlers."""
        try:  # noqa: SIM105 - `suppress` is Python code, and takes longer
            self._silent.release()
        except RuntimeError:  # It rings.
            pass

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is rung, or for `timeout` seconds (None or infinity: for ever); return whether it was."""
        if timeout is None or timeout == math.inf:
            return self._silent.acquire()
        return self._silent.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX))

    def __repr__(self) -> str:
        return f"<Bell: {'silent' if self._silent.locked() else 'rung'}>"


class Mailbox(Generic[T]):
    """A queue of which one thread takes."""

    __slots__ = ("_bell", "_items")

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._bell = Bell()

    def put(self, item: T) -> None:
        """Add an item."""
        self._items.put(item)
        self._bell.ring()

    def get(self, timeout: float | None = None) -> T:
        """Take the oldest item, or wait for one.

        Raises
        ------
        queue.Empty
            There was none for `timeout` seconds.
        """
        end = math.inf if timeout is None else monotonic() + timeout
        while True:
            try:
                return self._items.get_nowait()
            except queue.Empty:
                if not self._bell.wait(end - monotonic()):
                    raise

    def __repr__(self) -> str:
        return f"<Mailbox: {self._items.qsize()} items>"
