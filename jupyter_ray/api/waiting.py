"""``wait``: checks of what the user gave, then the engine; generators are looked at here."""

from __future__ import annotations

import operator
import time
from typing import Any

from jupyter_ray.api.mistakes import checked_timeout, hint, warn_if_in_event_loop
from jupyter_ray.engine import registry
from jupyter_ray.engine.base import Engine
from jupyter_ray.engine.refs import ObjectRef, ids_of
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.ids import NIL_OBJECT

Waitable = ObjectRef[Any] | ObjectRefGenerator

_FEW = 8
"""So many references are looked for in a list one by one."""
_STREAM_POLL = 0.01
"""Seconds between two looks at a stream, at the most."""
_STREAMS: list[bytes] = []
"""Stands for the ids of a list with generators in it: they have none."""
_MOST_LEFT_OVER = 20_000
_left_over: list[bytes] = []
"""The ids of the rest that the last `wait` returned: with that, most programs wait again."""


def wait(
    ray_waitables: list[Any], *, num_returns: int = 1, timeout: float | None = None, fetch_local: bool = True
) -> tuple[list[Any], list[Any]]:
    """Wait until some of the references are ready.

    Parameters
    ----------
    ray_waitables
        A list of different references or generators. A failed task counts as ready; a generator is, when its next item
        is there.
    num_returns
        How many to wait for.
    timeout
        Seconds; None: for ever.
    fetch_local
        On one machine: of no effect.

    Returns
    -------
    (list, list)
        Those that are ready, at most `num_returns`, and the rest; each in the order given.

    Raises
    ------
    TypeError
        This is no list of references, or `num_returns` is no int.
    ValueError
        There are duplicates or a nil reference, `num_returns` is below 1 or above their number, or `timeout` is
        negative.

    Notes
    -----
    Source: Ray's ``ray.wait``.
    """
    wanted = "wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator"
    if isinstance(ray_waitables, ObjectRef | ObjectRefGenerator):
        raise TypeError(f"{wanted}, got a single {type(ray_waitables).__name__}.{hint(ray_waitables, 'wait')}")
    if not isinstance(ray_waitables, list):
        raise TypeError(f"{wanted}, got {type(ray_waitables)}.{hint(ray_waitables, 'wait')}")
    if timeout is not None:
        timeout = checked_timeout(timeout)
    ids = _ids_left_over(ray_waitables)
    if ids is None:
        ids = _checked_ids(ray_waitables, wanted)
    engine = registry.current() or registry.required()
    if not ray_waitables:
        return [], []
    num_returns = _checked_number(num_returns, len(ray_waitables))
    if timeout != 0:
        warn_if_in_event_loop("wait", "`await` asyncio.wait(...)")
    if ids is _STREAMS:
        return _wait_with_streams(engine, ray_waitables, num_returns, timeout, fetch_local)
    return _split(ray_waitables, ids, engine.wait(ray_waitables, num_returns, timeout, fetch_local))


def _checked_ids(waitables: list[Any], wanted: str) -> list[bytes]:
    """Return the ids of references, or `_STREAMS` if there are generators among them.

    Raises
    ------
    TypeError
        Something else is among them; the message begins with `wanted`.
    ValueError
        One is twice among them, or is nil.
    """
    kinds = set(map(type, waitables))
    for kind in kinds:
        if not issubclass(kind, ObjectRef | ObjectRefGenerator):
            raise TypeError(f"{wanted}, got list containing {kind}")
    if any(issubclass(kind, ObjectRefGenerator) for kind in kinds):
        ids, different = _STREAMS, set(waitables)
        is_one_nil = any(each.is_nil() for each in waitables if isinstance(each, ObjectRef))
    else:
        ids = ids_of(waitables)
        different = set(ids)
        is_one_nil = NIL_OBJECT in different
    if len(different) != len(waitables):
        raise ValueError("Wait requires a list of unique ray_waitables.")
    if is_one_nil:
        raise ValueError("A reference that is nil refers to nothing: it cannot be waited for.")
    return ids


def _checked_number(number: Any, most: int) -> int:
    """Return how many to wait for, of `most`."""
    try:
        number = operator.index(number)
    except TypeError:
        if not isinstance(number, float):
            raise TypeError(f"num_returns must be an int, got {number!r}.") from None
        if number <= most:
            number = int(number)  # As in Ray: half of them, for one.
    if number <= 0:
        raise ValueError(f"Invalid number of objects to return {number}.")
    if number > most:
        raise ValueError("num_returns cannot be greater than the number of ray_waitables provided to ray.wait.")
    return int(number)


def _ids_left_over(refs: list[Any]) -> list[bytes] | None:
    """Return the ids of `refs` if they are what the last `wait` has left: they need no further look."""
    if len(refs) != len(_left_over) or not refs:
        return None
    try:
        ids = ids_of(refs)
    except AttributeError:
        return None
    return ids if ids == _left_over else None


def _split(refs: list[Any], ids: list[bytes], ready: list[bytes]) -> tuple[list[Any], list[Any]]:
    """Return those of `refs` that are ready, and the rest, each in order. `ids` are theirs, and are used up."""
    global _left_over
    if len(ready) > _FEW:
        _left_over = []
        those = set(ready)
        return [ref for ref in refs if ref.binary() in those], [ref for ref in refs if ref.binary() not in those]
    positions = sorted(map(ids.index, ready))
    rest = refs.copy()
    for position in reversed(positions):
        del rest[position], ids[position]
    _left_over = ids if len(ids) <= _MOST_LEFT_OVER else []
    return [refs[position] for position in positions], rest


def _wait_with_streams(
    engine: Engine, items: list[Waitable], count: int, timeout: float | None, fetch_local: bool
) -> tuple[list[Waitable], list[Waitable]]:
    """As `wait`, by looking again and again: a stream's next item has no reference yet that could be waited for."""
    end = None if timeout is None else time.monotonic() + timeout
    refs = [item for item in items if isinstance(item, ObjectRef)]
    streams = [item for item in items if isinstance(item, ObjectRefGenerator)]
    pause = 0.001
    while True:
        done = set(engine.wait(refs, len(refs), 0, fetch_local)) if refs else set()
        ready = [item for item in items if _is_ready(item, done)][:count]
        left = None if end is None else end - time.monotonic()
        if len(ready) >= count or (left is not None and left <= 0):
            return ready, [item for item in items if item not in ready]
        # Blocking in the engine lends this task's CPUs meanwhile, which a sleep would not.
        awaited = [ref for ref in refs if ref.binary() not in done]
        awaited += [stream.completed() for stream in streams if not _would_return(stream)]
        pause = min(pause * 2, _STREAM_POLL)
        engine.wait(awaited, 1, pause if left is None else min(pause, left), fetch_local)


def _is_ready(item: Waitable, done: set[bytes]) -> bool:
    return item.binary() in done if isinstance(item, ObjectRef) else _would_return(item)


def _would_return(stream: ObjectRefGenerator) -> bool:
    """Tell whether `next` would return at once, or end the iteration."""
    return stream.next_ready() or stream.is_finished()
