"""Streams: the items of a streaming task, as its caller sees them.

The reader thread moves `StreamState.items` forward; the program takes items. A stream holds each announced item until
it is taken and there is an `ObjectRef` for it. Where a task waits for one, the runtime is asked besides, so that the
task lends its CPUs meanwhile: the producer may need them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from jupyter_ray.engine.context import current_task
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.exceptions import GetTimeoutError, ResourceDeadlockError
from jupyter_ray.ids import return_id
from jupyter_ray.local.client.references import References
from jupyter_ray.local.protocol import messages

if TYPE_CHECKING:
    import asyncio

_LOOK = 0.1
"""Seconds between two looks: a signal that came right before a wait is heard then."""
_STALLED = 1.0
"""Seconds after which the runtime hears that a task awaits the next item."""
_ANNOUNCED = 1.0
"""Seconds within which an item that is there has been announced: by the message before the one that says so."""


def settle(future: asyncio.Future[None]) -> None:
    """Wake whoever awaits `future`."""
    if not future.done():
        future.set_result(None)


class StreamOwner(Protocol):
    """What a stream needs of its client."""

    references: References

    def consumed(self, task: bytes, index: int, *, soon: bool = True) -> None:
        """Tell the runtime how far the stream was read; -1: nobody reads on."""

    def wait_for_item(self, item: bytes, end: bytes, timeout: float | None, until: float | None) -> None:
        """Wait until the item is there, or the stream has ended, or the time is up; the running task is blocked."""

    def get(self, ids: Sequence[bytes], timeout: float | None) -> list[object]:
        """Wait for values."""

    def stream_closed(self, state: StreamState) -> None:
        """The program dropped the generator. Called from a finalizer."""

    def check_alive(self) -> None:
        """Raise if the session has ended."""


class StreamState:
    """What is known of one stream. `lock` guards it."""

    def __init__(self, task: bytes) -> None:
        self.task = task
        self.items = 0
        self.taken = 0
        self.ended = False
        self.told = False
        """The producer is told how far it was read, and of its end too."""
        self.changed = threading.Condition(threading.Lock())
        self.listeners: list[Callable[[], None]] = []

    def update(self, message: messages.StreamState, references: References) -> None:
        """Take the runtime's word; called in the reader thread."""
        with self.changed:
            references.arrived(return_id(self.task, index + 1) for index in range(self.items + 1, message.items + 1))
            self.items = max(self.items, message.items)
            if message.value is not None:
                references.remember(return_id(self.task, message.items + 1), message.value)
            self.ended = self.ended or message.ended
            self._tell()

    def fail(self) -> None:
        """Nothing will come any more: the session has ended."""
        with self.changed:
            self.ended = True
            self._tell()

    def _tell(self) -> None:
        self.changed.notify_all()
        listeners, self.listeners = self.listeners, []
        for listener in listeners:
            listener()

    def held(self) -> list[bytes]:
        """Return the ids of the items that were announced and not taken."""
        return [return_id(self.task, index + 1) for index in range(self.taken + 1, self.items + 1)]


class Stream:
    """The engine's end of an `ObjectRefGenerator`.

    Parameters
    ----------
    state
        The stream's state.
    owner
        The client.
    backpressure
        Whether the producer waits for us to read.
    """

    def __init__(self, state: StreamState, owner: StreamOwner, *, backpressure: bool) -> None:
        self._state = state
        self._owner = owner
        self._backpressure = state.told = backpressure
        self._whole: ObjectRef[object] | None = ObjectRef(return_id(state.task, 1))
        self._last: bytes | None = None

    def next(self, timeout: float | None) -> bytes | None:
        """Wait for the next item and return its object id, or None at the end."""
        state = self._state
        deadline = None if timeout is None else time.monotonic() + timeout
        end = return_id(state.task, 1)
        while current_task() is not None and not self.ready():  # The task lends its CPUs, as in `wait`.
            rest = None if deadline is None else deadline - time.monotonic()
            if rest is not None and rest <= 0:
                break
            self._owner.wait_for_item(return_id(state.task, state.taken + 2), end, rest, deadline)
            with state.changed:
                state.changed.wait_for(self.ready, _ANNOUNCED)
            if rest is None and not self.ready():
                self._owner.get([end], None)  # The runtime says that it can never come: this raises why.
        with state.changed:
            while state.items <= state.taken and not state.ended:
                rest = None if deadline is None else deadline - time.monotonic()
                if rest is not None and rest <= 0:
                    raise GetTimeoutError(f"The stream had no next item within {timeout} seconds.")
                state.changed.wait(_LOOK if rest is None else min(rest, _LOOK))
        return self._take()

    def _take(self) -> bytes | None:
        state = self._state
        self.taken()
        with state.changed:
            if state.items <= state.taken:
                self._owner.check_alive()
                return None
            state.taken += 1
            index = state.taken
            was_last = state.items <= index
        self._last = return_id(state.task, index + 1)
        if self._backpressure:  # After the last one that is there, its producer may wait for just this.
            self._owner.consumed(state.task, index, soon=not was_last)
        return self._last

    def taken(self) -> None:
        """Let go of what was taken last: there is a reference for it now."""
        last, self._last = self._last, None
        if last is not None:
            self._owner.references.let_go((last,))

    async def next_async(self) -> bytes | None:
        """As `next`, without blocking the event loop."""
        import asyncio  # Whoever gets here has it.

        state = self._state
        while True:
            loop = asyncio.get_running_loop()
            woken = loop.create_future()

            def wake(loop: asyncio.AbstractEventLoop = loop, woken: asyncio.Future[None] = woken) -> None:
                with contextlib.suppress(RuntimeError):  # The loop may be closed by now.
                    loop.call_soon_threadsafe(settle, woken)

            with state.changed:
                if state.items > state.taken or state.ended:
                    break
                state.listeners.append(wake)
            stalled = None if current_task() is None else loop.call_later(_STALLED, self._ask, woken)
            try:
                await woken
            finally:
                if stalled is not None:
                    stalled.cancel()
        return self._take()

    def _ask(self, woken: asyncio.Future[None]) -> None:
        """Await the stream's end too, so that the runtime can tell the running task that no item ever comes."""
        if woken.done() or self._whole is None:
            return
        whole = self._whole.as_future()

        def told(whole: asyncio.Future[object]) -> None:
            error = None if whole.cancelled() else whole.exception()
            if isinstance(error, ResourceDeadlockError) and not woken.done():
                woken.set_exception(error)

        whole.add_done_callback(told)
        woken.add_done_callback(lambda _: whole.cancel())

    def ready(self) -> bool:
        """Tell whether `next` would return at once."""
        return self._state.items > self._state.taken or self._state.ended

    def finished(self) -> bool:
        """Tell whether all items were taken and the task has ended."""
        return self._state.ended and self._state.items <= self._state.taken

    def completed(self) -> ObjectRef[object]:
        """Return a reference that is ready when the task has ended."""
        assert self._whole is not None
        return self._whole

    def task(self) -> bytes:
        """Return the id of the task."""
        return self._state.task

    def close(self) -> None:
        """Let the items that nobody took go. Called from a finalizer."""
        self.taken()
        self._whole = None
        self._owner.stream_closed(self._state)
