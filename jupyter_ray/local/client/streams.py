"""Streams: the items of a streaming task, as its caller sees them.

The reader thread adds the items that are announced, each with its `ObjectRef`; the program takes them. Where a task
waits for one, the runtime is asked besides, so that the task lends its CPUs meanwhile: the producer may need them.

`StreamState.lock` is a plain lock, which C code takes and gives back: an interrupt in the midst of a `Condition`'s own
steps, which are Python's, would leave it taken for ever.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from jupyter_ray.bell import Bell
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

    def check_alive(self) -> None:
        """Raise if the session has ended."""


class StreamState:
    """What is known of one stream. `lock` guards it."""

    def __init__(self, task: bytes) -> None:
        self.task = task
        self.items = 0
        self.coming: deque[ObjectRef[object]] = deque()
        """Of those that were announced and not taken."""
        self.ended = False
        self.closed = False
        self.told = False
        """The producer is told how far it was read, and of its end too."""
        self.lock = threading.Lock()
        self.listeners: list[Callable[[], None]] = []

    def update(self, message: messages.StreamState, references: References) -> None:
        """Take the runtime's word; called in the reader thread."""
        with self.lock:
            for index in range(self.items + 1, message.items + 1):
                self.coming.append(references.reference(return_id(self.task, index + 1), ObjectRef, 1))
            self.items = max(self.items, message.items)
            if message.value is not None:
                references.remember(return_id(self.task, message.items + 1), message.value)
            if self.closed:
                self.coming.clear()
            self.ended = self.ended or message.ended
            self._tell()

    def fail(self) -> None:
        """Nothing will come any more: the session has ended."""
        with self.lock:
            self.ended = True
            self._tell()

    def close(self) -> bool:
        """Let what nobody took go, and what is announced from now on; return whether it had ended."""
        with self.lock:
            self.closed = True
            self.coming.clear()
            return self.ended

    def _tell(self) -> None:
        listeners, self.listeners = self.listeners, []
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> bool:
        """Have `listener` called at the next change, in the reader thread; False: there is an item, or the end."""
        with self.lock:
            if self.ready():
                return False
            self.listeners.append(listener)
            return True

    def ignore(self, listener: Callable[[], None]) -> None:
        """Undo `listen`."""
        with self.lock:
            if listener in self.listeners:
                self.listeners.remove(listener)

    def ready(self) -> bool:
        """Tell whether there is an item, or the end."""
        return bool(self.coming) or self.ended


class Stream:
    """The engine's end of an `ObjectRefGenerator`, which alone has it.

    Parameters
    ----------
    state
        The stream's state.
    owner
        The client.
    ahead
        After so many items that were not read the producer waits for us; 0: never.
    """

    __slots__ = ("__del__", "__weakref__", "_ahead", "_owner", "_said", "_state", "_whole")

    __del__: Callable[[], object]

    def __init__(self, state: StreamState, owner: StreamOwner, ahead: int) -> None:
        self._state = state
        self._owner = owner
        self._ahead = ahead
        self._said = 0
        """The producer was told at once that we have read so far."""
        state.told = ahead > 0
        self._whole = owner.references.promised(return_id(state.task, 1), ObjectRef)

    def next(self, timeout: float | None) -> ObjectRef[object] | None:
        """Wait for the next item and return its reference, or None at the end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._await_lending(deadline)
            if not self._listen(deadline):
                raise GetTimeoutError(f"The stream had no next item within {timeout} seconds.")
            item = self._take()
            if item is not None or self.finished():
                return item  # Else another thread has taken it.

    def _await_lending(self, deadline: float | None) -> None:
        """Wait for an item, in a task: it lends its CPUs meanwhile, as in `wait`."""
        state = self._state
        end = return_id(state.task, 1)
        while current_task() is not None and not self.ready():
            rest = None if deadline is None else deadline - time.monotonic()
            if rest is not None and rest <= 0:
                break
            self._owner.wait_for_item(return_id(state.task, state.items + 2), end, rest, deadline)
            self._listen(time.monotonic() + _ANNOUNCED)
            if rest is None and not self.ready():
                self._owner.get([end], None)  # The runtime says that it can never come: this raises why.

    def _listen(self, deadline: float | None) -> bool:
        """Wait for an item, or the end; False: the time was up."""
        told = Bell()
        heard = told.ring
        while self._state.listen(heard):
            while True:
                rest = _LOOK if deadline is None else min(deadline - time.monotonic(), _LOOK)
                if rest <= 0:
                    self._state.ignore(heard)
                    return False
                if told.wait(rest):
                    break
        return True

    def _take(self) -> ObjectRef[object] | None:
        state = self._state
        with state.lock:
            item = state.coming.popleft() if state.coming else None
            index = state.items - len(state.coming)
            was_last = not state.coming
        if item is None:
            self._owner.check_alive()
        elif self._ahead:
            # After the last item that is there, its producer may wait for just this.
            waits = was_last and state.items - self._said >= self._ahead
            if waits:
                self._said = index
            self._owner.consumed(state.task, index, soon=not waits)
        return item

    async def next_async(self) -> ObjectRef[object] | None:
        """As `next`, without blocking the event loop."""
        import asyncio  # Whoever gets here has it.

        state = self._state
        while True:
            loop = asyncio.get_running_loop()
            woken = loop.create_future()

            def wake(loop: asyncio.AbstractEventLoop = loop, woken: asyncio.Future[None] = woken) -> None:
                with contextlib.suppress(RuntimeError):  # The loop may be closed by now.
                    loop.call_soon_threadsafe(settle, woken)

            if not state.listen(wake):
                item = self._take()
                if item is not None or self.finished():
                    return item
                continue  # Another thread has taken it.
            stalled = None if current_task() is None else loop.call_later(_STALLED, self._ask, woken)
            try:
                await woken
            finally:
                state.ignore(wake)
                if stalled is not None:
                    stalled.cancel()

    def _ask(self, woken: asyncio.Future[None]) -> None:
        """Await the stream's end too, so that the runtime can tell the running task that no item ever comes."""
        if woken.done():
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
        return self._state.ready()

    def finished(self) -> bool:
        """Tell whether all items were taken and the task has ended."""
        return self._state.ended and not self._state.coming

    def completed(self) -> ObjectRef[object]:
        """Return a reference that is ready when the task has ended."""
        return self._whole

    def task(self) -> bytes:
        """Return the id of the task."""
        return self._state.task
