"""Requests that wait for an answer.

Who takes a request out of the table owns its slot: the reader to fill it, or the asking thread to give it up. So an
answer and an interrupt that come at the same moment cannot both have it.
"""

from __future__ import annotations

import builtins
import itertools
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol, TypeVar

from jupyter_ray import exceptions
from jupyter_ray.local.protocol.messages import Answer, Reply

LOOK_SECONDS = 0.1
Response = Reply | Answer
T = TypeVar("T")


class Blocking(Protocol):
    """What a worker does around a wait of one of its tasks."""

    def begin(self) -> None:
        """A task is about to wait."""

    def end(self) -> None:
        """The wait is over."""


class Patience:
    """Of a wait whose end the runtime tells: where that is stopped, nobody would ever tell it.

    Parameters
    ----------
    until
        When the time is up, by the monotonic clock.
    is_stopped
        Tells whether somebody has stopped the runtime. It is asked only when the answer is late.
    """

    __slots__ = ("_is_stopped", "_next_look")

    def __init__(self, until: float, is_stopped: Callable[[], bool]) -> None:
        self._next_look = until + LOOK_SECONDS
        self._is_stopped = is_stopped

    def is_over(self) -> bool:
        """Tell whether to wait no more."""
        now = monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        return self._is_stopped()


class Slot:
    """Where the answer to one request goes: to a thread that waits, or to a callback (called in the reader thread)."""

    __slots__ = ("callback", "filled", "lock", "response")

    def __init__(self, callback: Callable[[Response | None], None] | None = None) -> None:
        self.callback = callback
        self.response: Response | None = None
        self.filled = False
        self.lock = threading.Lock()
        self.lock.acquire()

    def is_filled(self) -> bool:
        """Tell whether there is the answer."""
        return self.filled

    def filled_or(self, patience: Patience) -> Callable[[], bool]:
        """Return what tells whether there is the answer, or no reason to wait for it."""
        return lambda: self.filled or patience.is_over()

    def fill(self, response: Response | None) -> None:
        """Hand over the answer; None: there will be none."""
        if self.callback is not None:
            self.callback(response)
        else:
            self.response = response
            self.filled = True
            self.lock.release()


def told(answer: Response) -> Any:
    """Return the value of an `Answer`; raise it if that is an error."""
    assert isinstance(answer, Answer)
    if answer.error:
        kind = getattr(exceptions, answer.error, None) or getattr(builtins, answer.error, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            raise kind(answer.value)
        raise exceptions.RaySystemError(f"{answer.error}: {answer.value}")
    return answer.value


class Requests:
    """The open requests of a client."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, Slot] = {}

    def number(self) -> int:
        """Return the number of a new request."""
        return next(self._numbers)

    def open(self, number: int, slot: Slot) -> None:
        """Have the answer go to `slot`."""
        self._open[number] = slot

    def take(self, number: int) -> Slot | None:
        """Take a request out; None if somebody else has it."""
        return self._open.pop(number, None)

    def fail_all(self) -> None:
        """There will be no answers any more."""
        while self._open:
            try:
                _, slot = self._open.popitem()
            except KeyError:
                return
            slot.fill(None)

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Requests: {len(self._open)} open>"
