"""``Queue``: a first-in, first-out queue that tasks and actors share. An actor holds the items."""

from __future__ import annotations

import asyncio
import numbers
import queue
from collections.abc import Iterable
from typing import Any

from jupyter_ray.api.calls import get, kill
from jupyter_ray.api.remote import remote
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.exceptions import ActorDiedError, RayActorError


class Empty(queue.Empty):
    """There is no item."""


class Full(queue.Full):
    """There is no room."""


class Queue:
    """A queue that may be passed to tasks and actors.

    Parameters
    ----------
    maxsize
        Items that it holds at most; 0: no limit.
    actor_options
        Options of the actor behind it.

    Notes
    -----
    Source: Ray's ``ray.util.queue.Queue``; the interface is that of `queue.Queue`, and of `asyncio.Queue` in the
    ``_async`` methods.
    """

    def __init__(self, maxsize: float = 0, actor_options: dict[str, Any] | None = None) -> None:
        size: Any = maxsize
        if not isinstance(size, numbers.Real):  # Also `n / 2`, and NumPy's.
            raise TypeError(f"maxsize must be a number, got {type(maxsize)}.")
        if actor_options is not None and not isinstance(actor_options, dict):
            raise TypeError(f"actor_options must be a dict, got {type(actor_options)}.")
        self.maxsize = maxsize
        options = {"num_cpus": 0, **(actor_options or {})}  # It is there at once, however busy the machine is.
        self.actor: Any = remote(_QueueActor).options(**options).remote(maxsize)

    def _call(self, method: str, *args: Any) -> ObjectRef[Any]:
        if self.actor is None:
            raise ActorDiedError("This queue was ended by shutdown(), and its items are gone: make a new Queue.")
        ref: ObjectRef[Any] = getattr(self.actor, method).remote(*args)
        return ref

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """Return the number of items."""
        number: int = get(self._call("qsize"))
        return number

    def qsize(self) -> int:
        """Return the number of items."""
        return self.size()

    def empty(self) -> bool:
        """Tell whether there is no item."""
        return self.size() == 0

    def full(self) -> bool:
        """Tell whether there is no room."""
        return 0 < self.maxsize <= self.size()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item.

        Parameters
        ----------
        item
            Anything that pickles.
        block
            Wait for room.
        timeout
            Seconds to wait; None: for ever.

        Raises
        ------
        Full
            There was no room in time.
        ValueError
            `timeout` is negative.
        """
        _check(block, timeout)
        if not get(self._call("put", item, timeout if block else 0)):
            raise Full

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Remove and return the oldest item; parameters and errors as `put`, with `Empty`."""
        _check(block, timeout)
        found, item = get(self._call("get", timeout if block else 0))
        if not found:
            raise Empty
        return item

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """As `put`, without blocking the event loop."""
        _check(block, timeout)
        if not await self._call("put", item, timeout if block else 0):
            raise Full

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """As `get`, without blocking the event loop."""
        _check(block, timeout)
        found, item = await self._call("get", timeout if block else 0)
        if not found:
            raise Empty
        return item

    def put_nowait(self, item: Any) -> None:
        """Add an item if there is room, else raise `Full`."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Remove and return the oldest item, or raise `Empty`."""
        return self.get(block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add all items if there is room for all, else none, and raise `Full`."""
        if not isinstance(items, Iterable):
            raise TypeError("Argument 'items' must be an Iterable")
        left = get(self._call("put_batch", list(items)))
        if left:
            raise Full(left)

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Remove and return the oldest `num_items` items if there are so many, else none, and raise `Empty`."""
        if not isinstance(num_items, int):
            raise TypeError("Argument 'num_items' must be an int")
        if num_items < 0:
            raise ValueError("'num_items' must be nonnegative")
        items: list[Any] | None = get(self._call("get_batch", num_items))
        if items is None:
            raise Empty(f"Cannot get {num_items} items from queue of size {self.size()}.")
        return items

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """End the actor behind the queue.

        Parameters
        ----------
        force
            At once; calls that wait raise `RayActorError`.
        grace_period_s
            Seconds that it gets otherwise.
        """
        if self.actor is None:
            return
        if not force:
            ended = self.actor.__ray_terminate__.remote()
            try:
                get(ended, timeout=grace_period_s)
            except (RayActorError, TimeoutError):
                force = True
        if force:
            kill(self.actor, no_restart=True)
        self.actor = None

    def __repr__(self) -> str:
        return f"<Queue on {self.actor!r}, at most {self.maxsize or 'any number of'} items>"


class _QueueActor:
    """Holds the items. Async, so that calls that wait do not hinder others."""

    def __init__(self, maxsize: Any) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)
        self._maxsize = maxsize

    def qsize(self) -> int:
        return self._queue.qsize()

    def empty(self) -> bool:
        return self._queue.empty()

    def full(self) -> bool:
        return self._queue.full()

    async def put(self, item: Any, timeout: float | None) -> bool:
        try:
            if timeout == 0:
                self._queue.put_nowait(item)
            else:
                await asyncio.wait_for(self._queue.put(item), timeout)
        except (asyncio.QueueFull, asyncio.TimeoutError):
            return False
        return True

    async def get(self, timeout: float | None) -> tuple[bool, Any]:
        try:
            if timeout == 0:
                return True, self._queue.get_nowait()
            return True, await asyncio.wait_for(self._queue.get(), timeout)
        except (asyncio.QueueEmpty, asyncio.TimeoutError):
            return False, None

    def put_batch(self, items: list[Any]) -> str:
        if 0 < self._maxsize < self._queue.qsize() + len(items):
            return f"Cannot add {len(items)} items to queue of size {self._queue.qsize()} and maxsize {self._maxsize}."
        for item in items:
            self._queue.put_nowait(item)
        return ""

    def get_batch(self, count: int) -> list[Any] | None:
        if count > self._queue.qsize():
            return None
        return [self._queue.get_nowait() for _ in range(count)]


def _check(block: bool, timeout: float | None) -> None:
    if block and timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
