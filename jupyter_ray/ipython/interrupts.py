"""A top-level ``await ref`` that the interrupt button can end.

While a cell awaits, the kernel's event loop sleeps in ``select``, and Python runs its signal handlers only when the
loop wakes. With the loop's own wake-up socket as `signal.set_wakeup_fd` the signal itself wakes it; ipykernel then
cancels the cell's task.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from typing import Any


def install(kernel: Any) -> Callable[[], None]:
    """Let signals wake the kernel's event loop; return the undo. Does nothing where that cannot be."""
    if kernel is None or threading.current_thread() is not threading.main_thread():
        return lambda: None
    try:
        loop = kernel.io_loop.asyncio_loop
        number = loop._csock.fileno()  # Private, and absent in other loops.
        before = signal.set_wakeup_fd(number, warn_on_full_buffer=False)
    except (AttributeError, ValueError, OSError):
        return lambda: None
    if before not in (-1, number):  # Somebody else wants to be woken; that must go on.
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        return lambda: None

    def undo() -> None:
        with contextlib.suppress(ValueError, OSError):  # Not in the main thread, or the loop is closed.
            if signal.set_wakeup_fd(before) != number:
                signal.set_wakeup_fd(before)

    return undo
