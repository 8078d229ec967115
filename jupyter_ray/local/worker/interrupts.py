"""Soft cancel: a `KeyboardInterrupt` in the main thread, but only inside the code of the task that it is meant for.

The reader thread names the task and sends SIGINT to the main thread, which ends a blocking system call too. The
handler runs in the main thread between two of its instructions, so `enter` and `leave` need no lock. One that comes
too late, in the next task, is ignored. A SIGINT that is none of these is the task's own, as of a watchdog that calls
`_thread.interrupt_main`, and does what it does in any program.

A cancel may also come before its call, which is in a caller's socket, or between two steps of the call's beginning. So
it is noted before anybody looks for the call, and a call that begins looks whether it is noted.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable
from types import FrameType

_NOTED = 1000
"""So many cancels are kept, most of them of calls that had ended."""

UNCANCELLED = b""
"""Stands for a call that no cancel interrupts: an actor's."""

_IMPORT = "<frozen importlib._bootstrap>"
"""The file, as code objects name it, of Python's own that imports."""

_handler_of: Callable[[int], object] = _signal.getsignal
"""As `signal.getsignal`, which takes 2 µs to look for a constant's name."""


class Interrupts:
    """Delivers cancels to the main thread. Make it there."""

    def __init__(self) -> None:
        self._running: bytes | None = None
        self._noted: OrderedDict[bytes, None] = OrderedDict()
        self._thread = threading.get_ident()
        self._handler = self._handle
        self._sent = 0
        self._come = 0
        """So many of those that were sent have come, or are one with others that have."""
        self.tore_import = False
        """A cancel came in the midst of an import. Many a C library cannot be imported again in the same process."""
        self.reached: Callable[[bytes], None] = lambda task: None
        """Called right before a task is interrupted, in the main thread."""

    def install(self) -> None:
        """Take over SIGINT, also where the driver was started with it ignored."""
        signal.signal(signal.SIGINT, self._handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        task = self._running
        ours, self._come = self._come != self._sent, self._sent
        if task is not None and task in self._noted:
            self.forget(task)
            self.reached(task)
        elif task is None or ours:
            return
        self.tore_import = self.tore_import or _imports(frame)
        raise KeyboardInterrupt

    def note(self, task: bytes) -> None:
        """Note a cancel, before the call is looked for. In the thread that reads."""
        self._noted[task] = None
        if len(self._noted) > _NOTED:
            self._noted.popitem(last=False)

    def noted(self, task: bytes) -> bool:
        """Tell whether the cancel of a call has come that is about to begin."""
        return task in self._noted

    def forget(self, task: bytes) -> None:
        """A cancel has been delivered; or the task comes once more, and it was meant for another run of it."""
        if self._noted:
            self._noted.pop(task, None)

    def enter(self, task: bytes) -> None:
        """User code of `task` begins; put `leave` into a `finally` that covers this call."""
        if _handler_of(signal.SIGINT) is not self._handler:  # An earlier task took it, or switched it off.
            self.install()
        self._running = task
        if task in self._noted:  # The cancel came while the arguments were unpickled.
            self.forget(task)
            self.reached(task)
            raise KeyboardInterrupt

    def leave(self) -> None:
        """User code ends."""
        self._running = None

    def interrupt(self, task: bytes) -> None:
        """Interrupt `task`, whose cancel is noted, if its code runs in the main thread; called from another thread."""
        if self._running == task:
            self._sent += 1
            signal.pthread_kill(self._thread, signal.SIGINT)

    def __repr__(self) -> str:
        return f"<Interrupts: {'in' if self._running else 'outside of'} user code>"


def _imports(frame: FrameType | None) -> bool:
    """Tell whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False
