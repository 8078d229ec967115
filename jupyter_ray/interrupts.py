"""What an interrupt must not tear.

Python runs signal handlers in the main thread, between any two instructions, and what they raise (Jupyter's interrupt,
a program's own time limit by SIGALRM) ends whatever was being done: between the steps of a `threading.Condition` or
`Event`, which are Python's, it leaves their lock taken, and the next thread waits for ever. So the main thread

- takes and gives back plain locks, which is C code, by ``with``;
- does what must be whole in a shield (`shielded`): signals are noted, and delivered at its end;
- waits for another thread by a `Change` or a `Flag`, never by a condition or an event.
"""

from __future__ import annotations

import os
import signal
import threading
import time

# `signal`'s own wrappers make enumerations, and take twenty times as long.
from _signal import getsignal  # type: ignore[import-not-found]
from _signal import signal as set_signal
from collections.abc import Callable
from types import FrameType

from jupyter_ray.bell import Bell

_SIGNALS = tuple(
    int(getattr(signal, name))
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGUSR1", "SIGUSR2")
)
"""Those whose handlers programs raise from."""

main_thread = threading.main_thread().ident
"""The thread in which signal handlers run."""
os.register_at_fork(after_in_child=lambda: globals().update(main_thread=threading.get_ident()))

_LOOK_SECONDS = 0.1

Sleep = Callable[[Callable[[], object]], object]
"""Calls its argument, which sleeps until there is something to read."""


class Change:
    """What threads wait for, and another thread tells of."""

    def __init__(self) -> None:
        self._waiting: list[Bell] = []
        """One for each thread that waits. An interrupt may leave one here, which does no harm."""

    def tell(self) -> None:
        """Have those that wait look again; after what they look at has changed."""
        for each in tuple(self._waiting):
            each.ring()

    def wait_for(self, there: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until `there()` is true, or for `timeout` seconds; return whether it is."""
        if there():
            return True
        end = None if timeout is None else time.monotonic() + timeout
        told = Bell()
        self._waiting.append(told)
        try:
            while not there():
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return False
                if threading.get_ident() == main_thread:
                    # A signal from right before the wait does not end it.
                    left = _LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)
                told.wait(left)
            return True
        finally:
            self._waiting.remove(told)

    def __repr__(self) -> str:
        return f"<Change: {len(self._waiting)} wait>"


class Flag:
    """A `threading.Event` that an interrupt does not tear."""

    def __init__(self) -> None:
        self._set = False
        self._change = Change()

    def set(self) -> None:
        """Let those go on that wait."""
        self._set = True
        self._change.tell()

    def clear(self) -> None:
        """Let those wait that come."""
        self._set = False

    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or for `timeout` seconds; return whether it is."""
        return self._change.wait_for(self.is_set, timeout)

    def __repr__(self) -> str:
        return f"<Flag: {'set' if self._set else 'not set'}>"


def started(thread: threading.Thread) -> bool:
    """Start a thread, also where an interrupt comes; return False at an interpreter's exit, where Python starts none.

    That is Python 3.12 and later.
    """
    with shielded():  # A start waits for the thread in Python code.
        try:
            thread.start()
        except RuntimeError:
            return False
    return True


class Bare:
    """Of a thread that no signal handler interrupts."""

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def sleep(self, poll: Callable[[], object]) -> None:
        """Sleep."""
        poll()


BARE = Bare()


def shielded() -> Shield | Bare:
    """Return a context in which nothing but its `sleep` is interrupted by a signal."""
    return Shield() if threading.get_ident() == main_thread else BARE


class Shield:
    """Stands before the signal handlers of the main thread: passes signals on while it sleeps, and else notes them."""

    def __init__(self) -> None:
        self._handlers = {number: handler for number in _SIGNALS if callable(handler := getsignal(number))}
        self._heard: list[int] = []
        self._passes = False

    def __enter__(self) -> Shield:
        try:
            for number in self._handlers:
                set_signal(number, self._hear)
        except BaseException:  # Of a handler that still stood alone.
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._step_aside()
        except BaseException:  # Of a handler that stands alone again.
            self._passes = True
            self._step_aside()
            raise
        finally:
            self._passes = True
            if self._heard:
                self._deliver()

    def _deliver(self) -> None:
        """Send what was noted once more; where a handler raises, the other signals are heard all the same."""
        while self._heard:
            number = self._heard.pop(0)
            try:
                signal.raise_signal(number)
            except BaseException:
                self._heard = [each for each in self._heard if each != number]
                self._deliver()
                raise

    def _step_aside(self) -> None:
        for number, handler in self._handlers.items():
            if getsignal(number) == self._hear:  # Else a handler has put another in its place.
                set_signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._passes:
            self._handlers[number](number, frame)
        else:
            self._heard.append(number)

    def sleep(self, poll: Callable[[], object]) -> None:
        """Sleep, and let signals end it."""
        try:
            self._passes = True
            while self._heard:
                number = self._heard.pop(0)
                self._handlers[number](number, None)
            poll()
        finally:
            self._passes = False
