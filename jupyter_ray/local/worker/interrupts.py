"""Soft cancel: a `KeyboardInterrupt` in the main thread, but only inside the code of the task that it is meant for.

The reader thread names the task and sends SIGINT to the main thread, which ends a blocking system call too. The
handler runs in the main thread between two of its instructions, so `enter` and `leave` need no lock. Any other SIGINT
is ignored: it was meant for the notebook.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import signal
import threading
from collections.abc import Callable
from types import FrameType

_handler_of: Callable[[int], object] = _signal.getsignal
"""As `signal.getsignal`, which takes 2 µs to look for a constant's name."""


class Interrupts:
    """Delivers cancels to the main thread. Make it there."""

    def __init__(self) -> None:
        self._running: bytes | None = None
        self._target: bytes | None = None
        self._thread = threading.get_ident()
        self._handler = self._handle
        self.reached: Callable[[bytes], None] = lambda task: None
        """Called right before a task is interrupted, in the main thread."""

    def install(self) -> None:
        """Take over SIGINT, also where the driver was started with it ignored."""
        signal.signal(signal.SIGINT, self._handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        task = self._target
        if task is not None and task == self._running:
            self._target = None
            self.reached(task)
            raise KeyboardInterrupt

    def enter(self, task: bytes) -> None:
        """User code of `task` begins; put `leave` into a `finally` that covers this call."""
        if _handler_of(signal.SIGINT) is not self._handler:  # An earlier task took it, or switched it off.
            self.install()
        self._running = task
        if self._target == task:  # The cancel came while the arguments were unpickled.
            self._target = None
            self.reached(task)
            raise KeyboardInterrupt

    def leave(self) -> None:
        """User code ends."""
        self._running = None

    def interrupt(self, task: bytes) -> None:
        """Interrupt `task` if its code runs in the main thread; called from another thread."""
        self._target = task
        if self._running == task:
            signal.pthread_kill(self._thread, signal.SIGINT)

    def __repr__(self) -> str:
        return f"<Interrupts: {'in' if self._running else 'outside of'} user code>"
