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
from functools import partial
from typing import TYPE_CHECKING, Protocol

from jupyter_ray.bell import Bell
from jupyter_ray.engine.context import current_task
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.exceptions import GetTimeoutError, RaySystemError, ResourceDeadlockError
from jupyter_ray.ids import return_id
from jupyter_ray.local.client.references import References
from jupyter_ray.local.client.threads import Departures
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


class Asker(Protocol):
    """What streams need of their client."""

    references: References
    departures: Departures

    def send(self, message: messages.ClientMessage, *, soon: bool = True) -> None:
        """Send a message that has no answer."""

    def ask(
        self, make: Callable[[int, bytes | None], messages.ClientMessage], blocks: bool, until: float | None = None
    ) -> object:
        """Send a request and wait for its answer."""

    def get(self, ids: Sequence[bytes], timeout: float | None) -> list[object]:
        """Wait for values."""

    def want(self, chore: str) -> None:
        """Ask the housekeeper for a chore."""

    def attention(self) -> None:
        """Have the reader thread read, where it slept since nobody expected anything."""

    def check_alive(self) -> None:
        """Raise if the session has ended."""


class Consumed(Protocol):
    """See `Streams.consumed`."""

    def __call__(self, task: bytes, index: int, *, soon: bool = True) -> None:
        """Tell how far a stream was read."""


class Streams:
    """The streams that this process reads."""

    def __init__(self, client: Asker) -> None:
        self._client = client
        self._open: dict[bytes, StreamState] = {}
        """Those of which more may be told, by task."""
        self._read: dict[bytes, int] = {}
        """How far streams were read, and the runtime has not been told yet: several items are told of at once."""

    def open(self, task: bytes, ahead: int) -> Stream:
        """Follow a streaming task that is about to be submitted; see `Stream`."""
        state = StreamState(task)
        stream = Stream(state, self._client, self.consumed, ahead)
        stream.__del__ = partial(self._client.departures.report, partial(self._close, state))
        self._open[task] = state
        self._client.attention()
        return stream

    def _close(self, state: StreamState) -> None:
        """Nobody reads a stream any more: its generator is gone."""
        self._open.pop(state.task, None)
        if not state.close() or state.told:
            self.consumed(state.task, -1, soon=False)

    def consumed(self, task: bytes, index: int, *, soon: bool = True) -> None:
        """Tell how far a stream was read; with `soon`, within a millisecond, if it was not read on by then.

        `index` is -1 if nobody reads on.
        """
        if soon:
            self._read[task] = index
            self._client.want("reads")
            return
        self._read.pop(task, None)
        with contextlib.suppress(RaySystemError):
            # Nobody waits to hear that it is read no more.
            self._client.send(messages.Consumed(task, index), soon=index < 0)

    def tell_what_was_read(self) -> None:
        """Send what waits to be told: a chore."""
        for task in list(self._read):
            index = self._read.pop(task, 0)
            if index:
                self._client.send(messages.Consumed(task, index), soon=False)

    def heard(self, message: messages.StreamState) -> None:
        """Take the runtime's word of a stream; called in the reader thread."""
        state = self._open.get(message.task)
        references = self._client.references
        if state is not None:
            state.update(message, references)
            if message.ended:
                self._open.pop(message.task, None)
        elif not message.ended:  # Announced while the program dropped the generator: let go of this one item.
            references.reference(return_id(message.task, message.items + 1), ObjectRef, 1)

    def fail(self) -> None:
        """Nothing will come any more: the session has ended."""
        for state in list(self._open.values()):
            state.fail()

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<Streams: {len(self._open)} open>"


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
    client
        The client.
    consumed
        Tells the runtime how far the stream was read; see `Streams.consumed`.
    ahead
        After so many items that were not read the producer waits for us; 0: never.
    """

    __slots__ = ("__del__", "__weakref__", "_ahead", "_client", "_consumed", "_said", "_state", "_whole")

    __del__: Callable[[], object]

    def __init__(self, state: StreamState, client: Asker, consumed: Consumed, ahead: int) -> None:
        self._state = state
        self._client = client
        self._consumed = consumed
        self._ahead = ahead
        self._said = 0
        """The producer was told at once that we have read so far."""
        state.told = ahead > 0
        self._whole = client.references.promised(return_id(state.task, 1), ObjectRef)

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
            ids = [return_id(state.task, state.items + 2), end]
            self._client.ask(partial(_wait, ids, rest), blocks=True, until=deadline)
            self._listen(time.monotonic() + _ANNOUNCED)
            if rest is None and not self.ready():
                self._client.get([end], None)  # The runtime says that it can never come: this raises why.

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
            self._client.check_alive()
        elif self._ahead:
            # After the last item that is there, its producer may wait for just this.
            waits = was_last and state.items - self._said >= self._ahead
            if waits:
                self._said = index
            self._consumed(state.task, index, soon=not waits)
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


def _wait(ids: list[bytes], timeout: float | None, number: int, task: bytes | None) -> messages.Wait:
    return messages.Wait(number, ids, 1, timeout, task)
