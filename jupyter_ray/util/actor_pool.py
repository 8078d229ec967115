"""``ActorPool``: spread calls over a fixed set of actors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jupyter_ray.api.calls import get, wait

Submit = Callable[[Any, Any], Any]


class ActorPool:
    """A pool of actors that takes calls as its actors become free.

    Parameters
    ----------
    actors
        Handles.

    Notes
    -----
    Source: Ray's ``ray.util.ActorPool``. In each method `fn` takes a handle and a value, and returns a reference:
    ``lambda actor, value: actor.work.remote(value)``. An error of a call is raised when its result is taken; the
    actor goes back to the pool.
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle = list(actors)
        self._running: dict[Any, tuple[int, Any]] = {}
        """The reference of each call under way, with its number and its actor."""
        self._by_number: dict[int, Any] = {}
        self._waiting: deque[tuple[Submit, Any]] = deque()
        self._next = 0
        self._next_taken = 0

    def map(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """Return the results in the order of `values`, as they come. Results that nobody took are dropped first."""
        self._drop_results()
        for value in values:
            self.submit(fn, value)
        return self._drain(self.get_next)

    def map_unordered(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """Return the results in the order in which they come. Results that nobody took are dropped first."""
        self._drop_results()
        for value in values:
            self.submit(fn, value)
        return self._drain(self.get_next_unordered)

    def submit(self, fn: Submit, value: Any) -> None:
        """Call `fn` with a free actor and `value`, now or when one is free."""
        if not self._idle:
            self._waiting.append((fn, value))
            return
        actor = self._idle.pop()
        ref = fn(actor, value)
        self._running[_key(ref)] = (self._next, actor)
        self._by_number[self._next] = ref
        self._next += 1

    def has_next(self) -> bool:
        """Tell whether there are results to take."""
        return bool(self._running)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Return the next result in the order of submission.

        Parameters
        ----------
        timeout
            Seconds; None: wait for it.
        ignore_if_timedout
            When the time is up, give this result up, so that the next call goes on to the one after it.

        Raises
        ------
        TimeoutError
            The time was up.
        StopIteration
            There are no results.
        ValueError
            `get_next_unordered` was called before.
        """
        if not self.has_next():
            raise StopIteration("No more results to get")
        ref = self._by_number.get(self._next_taken)
        if ref is None:
            raise ValueError("It is not allowed to call get_next() after get_next_unordered().")
        in_time = timeout is None or bool(wait(_refs(ref), num_returns=len(_refs(ref)), timeout=timeout)[0])
        if not in_time and not ignore_if_timedout:
            raise TimeoutError("Timed out waiting for result")
        self._take(ref)
        self._next_taken += 1
        if not in_time:
            raise TimeoutError("Timed out waiting for result; it is given up.")
        return get(ref)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Return whichever result comes next; parameters and errors as `get_next`."""
        if not self.has_next():
            raise StopIteration("No more results to get")
        firsts = {_refs(ref)[0]: ref for ref in self._by_number.values()}
        ready, rest = wait(list(firsts), num_returns=1, timeout=timeout)
        if not ready and not ignore_if_timedout:
            raise TimeoutError("Timed out waiting for result")
        ref = firsts[(ready or rest)[0]]
        number = self._take(ref)
        self._next_taken = max(self._next_taken, number + 1)
        if not ready:
            raise TimeoutError("Timed out waiting for result; it is given up.")
        return get(ref)

    def has_free(self) -> bool:
        """Tell whether an actor is free, and nothing waits for it."""
        return bool(self._idle) and not self._waiting

    def pop_idle(self) -> Any:
        """Take a free actor out of the pool; None if there is none."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Put an actor into the pool; ValueError if it is in."""
        if actor in self._idle or any(actor == busy for _, busy in self._running.values()):
            raise ValueError("Actor already belongs to current ActorPool")
        self._return(actor)

    def _take(self, ref: Any) -> int:
        number, actor = self._running.pop(_key(ref))
        del self._by_number[number]
        self._return(actor)
        return number

    def _return(self, actor: Any) -> None:
        self._idle.append(actor)
        if self._waiting:
            self.submit(*self._waiting.popleft())

    def _drop_results(self) -> None:
        while self.has_next():
            ref = next(iter(self._by_number.values()))
            self._next_taken = max(self._next_taken, self._take(ref) + 1)

    def _drain(self, take: Callable[[], Any]) -> Iterator[Any]:
        while self.has_next():
            yield take()

    def __repr__(self) -> str:
        return f"<ActorPool: {len(self._idle)} free, {len(self._running)} busy, {len(self._waiting)} calls wait>"


def _refs(ref: Any) -> list[Any]:
    return ref if isinstance(ref, list) else [ref]


def _key(ref: Any) -> Any:
    return tuple(ref) if isinstance(ref, list) else ref
