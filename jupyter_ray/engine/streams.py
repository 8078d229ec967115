"""Streams: the references that a task makes one after the other, as its caller reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Protocol

from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.exceptions import GetTimeoutError
from jupyter_ray.ids import TaskID


class Stream(Protocol):
    """What an engine offers to one `ObjectRefGenerator`. When it goes, so do the items that nobody took."""

    def next(self, timeout: float | None) -> ObjectRef[Any] | None:
        """Wait for the next item and return its reference, or None at the end. Raises GetTimeoutError."""

    async def next_async(self) -> ObjectRef[Any] | None:
        """As `next`, without blocking the event loop."""

    def ready(self) -> bool:
        """Tell whether `next` would return at once."""

    def finished(self) -> bool:
        """Tell whether all items were taken and the task has ended."""

    def completed(self) -> ObjectRef[Any]:
        """Return a reference that is ready when the task has ended."""

    def task(self) -> bytes:
        """Return the id of the task."""


class ObjectRefGenerator:
    """The references that a streaming task makes, as they come.

    Iterate over it, or use ``async for``; each item is an `ObjectRef`. Source: Ray's ``ObjectRefGenerator``.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> ObjectRefGenerator:
        return self

    def __next__(self) -> ObjectRef[Any]:
        return self._take(self._stream.next(None))

    def _next_sync(self, timeout_s: float | None = None) -> ObjectRef[Any]:
        """As `next`; the nil reference when the time is up (private in Ray too, but widely used)."""
        try:
            return self._take(self._stream.next(timeout_s))
        except GetTimeoutError:
            return ObjectRef.nil()

    async def _next_async(self, timeout_s: float | None = None) -> ObjectRef[Any]:
        """As `_next_sync`, without blocking the event loop."""
        import asyncio

        try:
            return await asyncio.wait_for(self.__anext__(), timeout_s)
        except (TimeoutError, asyncio.TimeoutError):
            return ObjectRef.nil()

    @staticmethod
    def _take(item: ObjectRef[Any] | None) -> ObjectRef[Any]:
        if item is None:
            raise StopIteration
        return item

    def __aiter__(self) -> AsyncIterator[ObjectRef[Any]]:
        return self

    async def __anext__(self) -> ObjectRef[Any]:
        item = await self._stream.next_async()
        if item is None:
            raise StopAsyncIteration
        return item

    def completed(self) -> ObjectRef[Any]:
        """Return a reference that is ready when the task has ended; it raises if the system failed."""
        return self._stream.completed()

    @property
    def _generator_ref(self) -> ObjectRef[Any]:
        """As `completed` (private in Ray too, but widely used)."""
        return self._stream.completed()

    def next_ready(self) -> bool:
        """Tell whether the next item is there, without waiting."""
        return self._stream.ready() and not self._stream.finished()

    def is_finished(self) -> bool:
        """Tell whether all items were taken and the task has ended, without waiting."""
        return self._stream.finished()

    def task_id(self) -> TaskID:
        """Return the id of the generator's task."""
        return TaskID(self._stream.task())

    def send(self, *given: Any) -> None:
        """Not offered, as `throw`, `close` and their asynchronous twins; drop the generator to stop reading."""
        raise NotImplementedError("send, throw and close are not supported by ObjectRefGenerator: just iterate.")

    throw = close = asend = athrow = aclose = send

    def __getstate__(self) -> Any:
        raise TypeError("Serializing a ObjectRefGenerator is not allowed: iterate over it here, and pass the refs.")

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self._stream.task().hex()})"


class DynamicObjectRefGenerator:
    """The references that a task with ``num_returns="dynamic"`` made: the value of its one reference.

    Iterable once or often, and picklable. Source: Ray's ``DynamicObjectRefGenerator``.
    """

    def __init__(self, refs: Sequence[ObjectRef[Any]]) -> None:
        self._refs = list(refs)

    def __iter__(self) -> Iterator[ObjectRef[Any]]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)

    def __repr__(self) -> str:
        return f"DynamicObjectRefGenerator({len(self._refs)} references)"
