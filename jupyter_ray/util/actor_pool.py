"""``ActorPool``: spread calls over a fixed set of actors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jupyter_ray.api.calls import get
from jupyter_ray.api.waiting import wait
from jupyter_ray.exceptions import ActorDiedError

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
    actor goes back to the pool, unless it is dead. The attributes are private in Ray too, but widely used by pools that
    programs derive from it: so they have Ray's names and types, and an actor that becomes free goes through
    ``_return_actor``.
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle_actors = list(actors)
        self._future_to_actor: dict[Any, tuple[int, Any]] = {}
        """The reference of each call under way, with its number and its actor."""
        self._index_to_future: dict[int, Any] = {}
        self._pending_submits: list[tuple[Submit, Any]] = []
        self._next_task_index = 0
        self._next_return_index = 0

    def map(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """Return the results in the order of `values`, as they come. Results that nobody took are dropped first."""
        return self._map(fn, values, self.get_next)

    def map_unordered(self, fn: Submit, values: Iterable[Any]) -> Iterator[Any]:
        """Return the results in the order in which they come. Results that nobody took are dropped first."""
        return self._map(fn, values, self.get_next_unordered)

    def _map(self, fn: Submit, values: Iterable[Any], get_next: Callable[[], Any]) -> Iterator[Any]:
        self._drop_results()
        for value in values:
            self.submit(fn, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield get_next()

        return results()  # So that the calls have begun before anybody takes the first result.

    def submit(self, fn: Submit, value: Any) -> None:
        """Call `fn` with a free actor and `value`, now or when one is free."""
        if not self._idle_actors:
            self._pending_submits.append((fn, value))
            return
        actor = self._idle_actors.pop()
        ref = fn(actor, value)
        self._future_to_actor[_key(ref)] = (self._next_task_index, actor)
        self._index_to_future[self._next_task_index] = ref
        self._next_task_index += 1

    def has_next(self) -> bool:
        """Tell whether there are results to take."""
        return bool(self._future_to_actor)

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
        ref = self._index_to_future.get(self._next_return_index)
        if ref is None:
            raise ValueError("It is not allowed to call get_next() after get_next_unordered().")
        in_time = timeout is None or bool(wait(_refs(ref), num_returns=len(_refs(ref)), timeout=timeout)[0])
        if not in_time and not ignore_if_timedout:
            raise TimeoutError("Timed out waiting for result")
        _, actor = self._take(ref)
        self._next_return_index += 1
        if not in_time:
            self._return_actor(actor)
            raise TimeoutError(f"Timed out waiting for result. The task {ref} has been ignored.")
        return self._result(ref, actor)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Return whichever result comes next; parameters and errors as `get_next`."""
        if not self.has_next():
            raise StopIteration("No more results to get")
        firsts = {_refs(ref)[0]: ref for ref in self._index_to_future.values()}
        ready, rest = wait(list(firsts), num_returns=1, timeout=timeout)
        if not ready and not ignore_if_timedout:
            raise TimeoutError("Timed out waiting for result")
        ref = firsts[(ready or rest)[0]]
        number, actor = self._take(ref)
        self._next_return_index = max(self._next_return_index, number + 1)
        if not ready:
            self._return_actor(actor)
            raise TimeoutError(f"Timed out waiting for result. The task {ref} has been ignored.")
        return self._result(ref, actor)

    def has_free(self) -> bool:
        """Tell whether an actor is free, and nothing waits for it."""
        return bool(self._idle_actors) and not self._pending_submits

    def pop_idle(self) -> Any:
        """Take a free actor out of the pool; None if there is none."""
        return self._idle_actors.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Put an actor into the pool; ValueError if it is in."""
        if actor in self._idle_actors or any(actor == busy for _, busy in self._future_to_actor.values()):
            raise ValueError("Actor already belongs to current ActorPool")
        self._return_actor(actor)

    def _take(self, ref: Any) -> tuple[int, Any]:
        number, actor = self._future_to_actor.pop(_key(ref))
        del self._index_to_future[number]
        return number, actor

    def _result(self, ref: Any, actor: Any) -> Any:
        alive = True
        try:
            return get(ref)
        except ActorDiedError:
            alive = False  # It would be given call after call, and fail each of them.
            raise
        finally:
            if alive:
                self._return_actor(actor)
            else:
                self._submit_pending()

    def _return_actor(self, actor: Any) -> None:
        self._idle_actors.append(actor)
        self._submit_pending()

    def _submit_pending(self) -> None:
        if self._pending_submits and self._idle_actors:
            self.submit(*self._pending_submits.pop(0))

    def _drop_results(self) -> None:
        while self.has_next():
            ref = next(iter(self._index_to_future.values()))
            number, actor = self._take(ref)
            self._return_actor(actor)
            self._next_return_index = max(self._next_return_index, number + 1)

    def __repr__(self) -> str:
        free, busy, waiting = len(self._idle_actors), len(self._future_to_actor), len(self._pending_submits)
        return f"<ActorPool: {free} free, {busy} busy, {waiting} calls wait>"


def _refs(ref: Any) -> list[Any]:
    return ref if isinstance(ref, list) else [ref]


def _key(ref: Any) -> Any:
    return tuple(ref) if isinstance(ref, list) else ref
