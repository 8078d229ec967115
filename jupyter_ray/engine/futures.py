"""Futures of references: for threads, and for event loops.

Cancelling one cancels no task (as in Ray); the runtime only hears that nobody waits any more.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from jupyter_ray.engine.context import current_task, in_event_loop
from jupyter_ray.interrupts import Flag

if TYPE_CHECKING:
    import asyncio

_MOMENT = 0.5
"""Seconds that a driver's wait may last before the runtime hears of it: most end before."""

T = TypeVar("T")
Settle = Callable[[Any, BaseException | None], None]
Withdraw = Callable[[], object]
"""Tells that the answer is not waited for any more; it may have come."""


class Reference(Protocol):
    """What a future needs of its reference."""

    def _when_ready(self, callback: Settle, awaited: bool = False) -> Withdraw | None:
        """Call `callback(value, error)` from any thread once the value is there; see `Counter.when_ready`."""

    @property
    def _hurry(self) -> Callable[[], None]:
        """What is called when a program begins to wait; see `Counter.hurry`."""


class _Condition(threading.Condition):
    """A condition whose lock is taken and given back by C code alone.

    An interrupt between the steps of the usual one, which are Python's, leaves the lock taken for ever; then whoever
    settles the future waits for it, and with it all futures of the session.
    """

    __slots__ = ("__enter__", "__exit__")

    def __init__(self) -> None:
        lock = threading.RLock()
        super().__init__(lock)
        self.__enter__ = lock.__enter__  # type: ignore[method-assign]
        self.__exit__ = lock.__exit__  # type: ignore[method-assign]


class _Future(concurrent.futures.Future[T]):
    """A future that tells when a program waits for it.

    Then what it asks for is asked at once. And the runtime is told who waits without an end, a driver after a moment:
    only so is found what waits for itself. A future that nobody waits for gets no such error: what it needs may be
    let go.
    """

    _hurry: Callable[[], None] = staticmethod(lambda: None)
    _reference: Reference | None = None

    def __init__(self) -> None:
        super().__init__()
        self._condition = _Condition()

    def result(self, timeout: float | None = None) -> T:
        self._await(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._await(timeout)
        return super().exception(0)

    def _await(self, timeout: float | None) -> None:
        """Wait till it is done, or for `timeout` seconds."""
        if self.done():
            return
        self._hurry()
        flag = Flag()

        def tell(done: object) -> None:
            flag.set()

        self.add_done_callback(tell)
        withdraw: Withdraw | None = None
        try:
            if timeout is None and (current_task() is not None or not flag.wait(_MOMENT)):
                reference = self._reference
                if reference is not None:
                    withdraw = reference._when_ready(self.settle, awaited=True)
            flag.wait(timeout)
        finally:
            if not self.done():
                if withdraw is not None:
                    withdraw()
                with self._condition, contextlib.suppress(ValueError):
                    self._done_callbacks.remove(tell)  # type: ignore[attr-defined]

    def cancel(self) -> bool:
        cancelled = super().cancel()
        if cancelled:
            self._reference = None
        return cancelled

    def settle(self, value: Any, error: BaseException | None) -> None:
        self._reference = None
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            if error is not None:
                self.set_exception(_raisable(error))
            else:
                self.set_result(value)


def future_of(reference: Reference) -> concurrent.futures.Future[Any]:
    """Return a future of a value, for threads."""
    future: _Future[Any] = _Future()
    awaited = in_event_loop()  # It is handed to `asyncio.wrap_future`, which never asks for its result.
    if not awaited:
        future._reference = reference
    _withdrawn(future, reference._when_ready(future.settle, awaited=awaited))
    future._hurry = reference._hurry
    return future


def asyncio_future_of(reference: Reference) -> asyncio.Future[Any]:
    """Return a future of a value, for the running loop, or for the thread's own where none runs."""
    import asyncio  # Not before somebody needs it: a notebook imports this module at once.

    loop = asyncio.get_event_loop()
    future: asyncio.Future[Any] = loop.create_future()
    kept: list[Reference] = [reference]

    def settle(value: Any, error: BaseException | None) -> None:
        def in_loop() -> None:
            kept.clear()  # The object stays until the value was handed over.
            if future.done():
                return
            if error is not None:
                future.set_exception(_raisable(error))
            else:
                future.set_result(value)

        with contextlib.suppress(RuntimeError):  # The loop may be closed by now.
            loop.call_soon_threadsafe(in_loop)

    _withdrawn(future, reference._when_ready(settle, awaited=True))
    loop.call_soon(reference._hurry)  # When all have asked that do so in this turn of the loop.
    return future


def _raisable(error: BaseException) -> BaseException:
    """Return what a coroutine may raise for `error`, where it awaits the future.

    Python takes a `StopIteration` in an `await` for the value that it has, and a `StopAsyncIteration` for the end of an
    ``async for``: the task's error would be lost. The same as in Ray, and as Python does for a coroutine's own.
    """
    if not isinstance(error, StopIteration | StopAsyncIteration):
        return error
    instead = RuntimeError(f"generator raised {type(error).__name__}")
    instead.__cause__ = error
    return instead


def _withdrawn(future: Any, withdraw: Withdraw | None) -> None:
    if withdraw is not None:
        future.add_done_callback(lambda done: withdraw() if done.cancelled() else None)
