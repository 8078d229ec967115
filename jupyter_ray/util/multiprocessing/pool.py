"""``Pool``: the interface of `multiprocessing.Pool`, on actors. Source: Ray's ``ray.util.multiprocessing``.

Differences from `multiprocessing.Pool`, which are Ray's: ``imap`` and ``imap_unordered`` yield an error as a value and
go on; their input is read as results are taken, so it may be endless.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import TimeoutError
from types import TracebackType
from typing import Any

from jupyter_ray.api.calls import put
from jupyter_ray.api.cluster import cluster_resources
from jupyter_ray.api.init import init
from jupyter_ray.api.session import is_initialized
from jupyter_ray.interrupts import Change, Flag, shielded
from jupyter_ray.util.pool_workers import Batch, Call, Failed, PoolTaskError, Workers

__all__ = ["AsyncResult", "IMapIterator", "Pool", "PoolTaskError", "TimeoutError"]

Callback = Callable[[Any], Any]

_CHUNKS_PER_PROCESS = 4
_AHEAD = 2
"""Batches per process that `imap` starts before their results are asked for."""
_log = logging.getLogger("jupyter_ray")


class AsyncResult:
    """What will come of `apply_async`, `map_async` or `starmap_async`.

    Parameters
    ----------
    batches
        How many batches there are.
    single
        The result is that of the only call, not a list.
    callback, error_callback
        Called, in a thread of their own, with the result or the error, which is in a `PoolTaskError` as that of `imap`.
    """

    def __init__(
        self, batches: int, single: bool, callback: Callback | None = None, error_callback: Callback | None = None
    ) -> None:
        self._parts: list[list[Any] | None] = [None] * batches
        self._left = batches
        self._single = single
        self._callback = callback
        self._error_callback = error_callback
        self._done = Flag()
        self._failed: Failed | None = None
        self._value: Any = [] if not single else None
        if not batches:
            self._end()

    def _take(self, index: int, results: list[Any]) -> None:
        self._parts[index] = results
        self._left -= 1
        if self._left:
            return
        results = [result for part in self._parts for result in part or ()]
        self._failed = next((result for result in results if isinstance(result, Failed)), None)
        if self._failed is None:
            self._value = results[0] if self._single else results
        self._end()

    def _end(self) -> None:
        callback = self._callback if self._failed is None else self._error_callback
        if callback is None:
            self._done.set()
        else:
            threading.Thread(target=self._call_back, args=(callback,), name="pool-callback", daemon=True).start()

    def _call_back(self, callback: Callback) -> None:
        try:
            callback(self._value if self._failed is None else self._failed.value())
        finally:
            self._done.set()

    def get(self, timeout: float | None = None) -> Any:
        """Return the result, or raise the error of the first call that failed.

        Raises
        ------
        multiprocessing.TimeoutError
            `timeout` seconds went by.
        """
        self.wait(timeout)
        if not self._done.is_set():
            raise TimeoutError(f"The result was not ready after {timeout} s.")
        if self._failed is not None:
            raise self._failed.error()
        return self._value

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is there, or `timeout` seconds went by."""
        self._done.wait(timeout)

    def ready(self) -> bool:
        """Tell whether the result is there."""
        return self._done.is_set()

    def successful(self) -> bool:
        """Tell whether no call failed; ValueError while the result is not there."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._failed is None

    def __repr__(self) -> str:
        return f"<AsyncResult: {'ready' if self.ready() else f'{self._left} of {len(self._parts)} batches to come'}>"


class IMapIterator:
    """The results of `imap` or `imap_unordered`, as they come. An error is a value: a `PoolTaskError`."""

    def __init__(self, items: Iterator[Any], size: int, submit: Callable[[list[Call], int, Any], None], ahead: int,
                 ordered: bool, on_end: Callable[[], object] = lambda: None) -> None:  # fmt: skip
        self._items = items
        self._size = size
        self._read: collections.deque[Any] = collections.deque()
        """Items that are to go to a process next: an interrupt loses none of them."""
        self._reading = threading.RLock()
        self._lock = threading.Lock()
        """Held while results are taken."""
        self._submit = submit
        self._ordered = ordered
        self._changed = Change()
        self._arrived: dict[int, list[Any]] = {}
        self._buffer: collections.deque[Any] = collections.deque()
        self._submitted = 0
        self._taken = 0
        self._ahead = ahead
        self._on_end = on_end
        self.exhausted = False
        """All items have been submitted."""
        self._submit_more()

    def _submit_more(self) -> None:
        """Submit what may be under way at once."""
        with self._reading:
            while self._submitted - self._taken < self._ahead:
                self._read.extend(itertools.islice(self._items, self._size - len(self._read)))
                if not self._read:
                    if not self.exhausted:
                        self.exhausted = True
                        self._on_end()
                    return
                with shielded():
                    self._submit([((item,), {}) for item in self._read], self._submitted, self._take)
                    self._submitted += 1
                    self._read.clear()

    def _take(self, index: int, results: list[Any]) -> None:
        self._arrived[index] = results
        self._changed.tell()

    def _has_next(self) -> bool:
        return self._taken in self._arrived if self._ordered else bool(self._arrived)

    def next(self, timeout: float | None = None) -> Any:
        """Return the next result; an error is returned, not raised: in a `PoolTaskError` that of the function.

        Raises
        ------
        StopIteration
            There are no more.
        multiprocessing.TimeoutError
            `timeout` seconds went by.
        """
        while True:
            with contextlib.suppress(IndexError):
                result = self._buffer.popleft()
                return result.value() if isinstance(result, Failed) else result
            if self._taken == self._submitted:
                self._submit_more()  # After an interrupt there may be more.
                if self._taken == self._submitted:
                    raise StopIteration
            if not self._changed.wait_for(self._has_next, timeout):
                raise TimeoutError(f"The next result was not ready after {timeout} s.")
            with self._lock, shielded():
                if self._has_next():  # No other thread has taken it meanwhile.
                    index = self._taken if self._ordered else next(iter(self._arrived))
                    self._buffer.extend(self._arrived.pop(index))
                    self._taken += 1
            self._submit_more()

    def __next__(self) -> Any:
        return self.next()

    def __iter__(self) -> IMapIterator:
        return self

    def __repr__(self) -> str:
        return f"<IMapIterator: {self._taken} of {self._submitted} batches taken>"


class Pool:
    """A pool of worker processes with the interface of `multiprocessing.Pool`.

    Parameters
    ----------
    processes
        How many; None: as many as the session has CPUs.
    initializer, initargs
        Called once in each process before its first call.
    maxtasksperchild
        Replace a process after so many batches.
    context
        Of no effect (multiprocessing's).
    ray_address
        Where to find a cluster if no session runs; None: start one here, of `processes` CPUs.
    ray_remote_args
        Options of the actors, such as ``{"num_cpus": 1}``. Without them the processes hold no CPU.

    Raises
    ------
    ValueError
        `processes` is less than 1, or more than the CPUs of the session.
    """

    __slots__ = ("__del__", "__dict__", "__weakref__")

    __del__: Callable[[], object]
    """C code: an interrupt does not stop it."""

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] | None = None,
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1.")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable.")
        if maxtasksperchild is not None and maxtasksperchild < 1:
            raise ValueError("maxtasksperchild must be a positive int or None.")
        if context is not None:
            with shielded():
                _log.warning("The 'context' argument of Pool has no effect here; use 'ray_remote_args' for options.")
        self._size = _processes(processes, ray_address)
        options = {"num_cpus": 0, **(ray_remote_args or {})}
        self._workers = Workers(self._size, options, maxtasksperchild, initializer, tuple(initargs or ()))
        self._closed = False
        with shielded():  # Before its processes have somebody who ends them, they end with it.
            self.__del__ = self._workers.abandon
            self._workers.start()

    # --- one call ---

    def apply(
        self, func: Callable[..., Any], args: Iterable[Any] | None = None, kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func` in a process of the pool; return its result or raise its error."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult:
        """Call `func` in a process of the pool; return at once."""
        self._check_running()
        result = AsyncResult(1, True, callback, error_callback)
        self._submit(func, _name(func), [(tuple(args or ()), kwargs or {})], 0, result._take)
        return result

    # --- many calls ---

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: float | None = None) -> list[Any]:
        """Call `func` with each item; return the results in order, or raise the error of the first that failed.

        Parameters
        ----------
        func
            Takes one item.
        iterable
            The items.
        chunksize
            Items that go to a process at once; None: some four batches per process.
        """
        result: list[Any] = self.map_async(func, iterable, chunksize).get()
        return result

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: float | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult:
        """As `map`; return at once."""
        calls: list[Call] = [((item,), {}) for item in iterable]
        return self._map(func, calls, chunksize, callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: float | None = None
    ) -> list[Any]:
        """As `map`, with items that are the arguments of a call."""
        result: list[Any] = self.starmap_async(func, iterable, chunksize=chunksize).get()
        return result

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        callback: Callback | None = None,
        error_callback: Callback | None = None,
        chunksize: float | None = None,
    ) -> AsyncResult:
        """As `starmap`; return at once. The order of the parameters is Ray's, not that of `multiprocessing`."""
        calls: list[Call] = [(tuple(item), {}) for item in iterable]
        return self._map(func, calls, chunksize, callback, error_callback)

    def imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: float | None = 1) -> IMapIterator:
        """Return an iterator of the results in order. Items are read as results are taken.

        An error is a value: a `PoolTaskError`, whose `underlying` is what the function raised.
        """
        return self._imap(func, iterable, chunksize, ordered=True)

    def imap_unordered(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: float | None = 1
    ) -> IMapIterator:
        """As `imap`, in the order in which results come."""
        return self._imap(func, iterable, chunksize, ordered=False)

    def _map(
        self,
        func: Callable[..., Any],
        calls: list[Call],
        chunksize: float | None,
        callback: Callback | None,
        error_callback: Callback | None,
    ) -> AsyncResult:
        self._check_running()
        size = _chunksize(chunksize) if chunksize is not None else -(-len(calls) // (self._size * _CHUNKS_PER_PROCESS))
        batches = [calls[start : start + size] for start in range(0, len(calls), size or 1)]
        result = AsyncResult(len(batches), False, callback, error_callback)
        shared = put(func) if len(batches) > 1 else func
        for index, batch in enumerate(batches):
            self._submit(shared, _name(func), batch, index, result._take)
        return result

    def _imap(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: float | None, *, ordered: bool
    ) -> IMapIterator:
        self._check_running()
        size = _chunksize(1 if chunksize is None else chunksize)
        shared = put(func)

        def submit(calls: list[Call], index: int, sink: Any) -> None:
            self._submit(shared, _name(func), calls, index, sink)

        results = IMapIterator(iter(iterable), size, submit, _AHEAD * self._size, ordered, self._workers.look)
        self._workers.serve(results)
        return results

    def _submit(
        self, func: Any, name: str, calls: list[Call], index: int, sink: Callable[[int, list[Any]], None]
    ) -> None:
        def done(results: list[Any], _pool: Pool = self) -> None:  # A pool lives until its results are there.
            sink(index, results)

        self._workers.submit(Batch(func, calls, done, name))

    # --- the end ---

    def close(self) -> None:
        """Take no more calls; the processes end when those that were made are done.

        And when iterators of `imap` have been read to their end, or are gone: but `join` does not wait for that, and
        what they have not submitted by then fails.
        """
        if not self._closed:
            self._workers.close()
            self._closed = True

    def terminate(self) -> None:
        """End the processes at once. Results that are not there become errors."""
        self._closed = True
        self._workers.terminate()

    def join(self) -> None:
        """Wait until the processes have ended; ValueError unless `close` or `terminate` was called."""
        if not self._closed:
            raise ValueError("Pool is still running")
        self._workers.join()

    def _check_running(self) -> None:
        if self._closed:
            raise ValueError("Pool not running")

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.terminate()

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        return f"<Pool of {self._size} processes{', closed' if self._closed else ''}>"


def _processes(processes: int | None, address: str | None) -> int:
    """Return the number of processes, after starting a session if none runs."""
    if not is_initialized():
        address = address or os.environ.get("RAY_ADDRESS") or None
        local = address in (None, "local")
        init(address=address, num_cpus=processes if local else None)
    cpus = int(cluster_resources().get("CPU", 0))
    if processes is not None and processes > cpus:
        raise ValueError(
            f"Tried to start a pool with {processes} processes, but the session has only {cpus} CPUs. "
            "Ask for fewer, or give init(num_cpus=...) more."
        )
    return processes or max(1, cpus)


def _name(func: Any) -> str:
    """Return what to call the tasks that call `func`."""
    return f"Pool: {getattr(func, '__name__', type(func).__name__)}"


def _chunksize(size: float) -> int:
    if size < 1:
        raise ValueError(f"Chunksize must be 1+, not {size}")
    return math.ceil(size)
