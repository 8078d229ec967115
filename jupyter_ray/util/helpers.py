"""The small functions of Ray's ``ray.util``."""

from __future__ import annotations

import copyreg
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from jupyter_ray.api.calls import get
from jupyter_ray.api.session import session_engine
from jupyter_ray.api.waiting import wait
from jupyter_ray.engine.refs import ObjectRef

DEFAULT_BACKPRESSURE_SIZE, DEFAULT_CHUNK_SIZE = 100, 10


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """Return the living named actors.

    Parameters
    ----------
    all_namespaces
        Those of all namespaces, as dicts with ``name`` and ``namespace``; else the names in the session's namespace.

    Notes
    -----
    Source: Ray's ``ray.util.list_named_actors``.
    """
    found = session_engine().list_named_actors(all_namespaces)
    if all_namespaces:
        return [{"name": name, "namespace": namespace} for namespace, name in found]
    return [name for _, name in found]


def as_completed(
    refs: Sequence[ObjectRef[Any]], *, chunk_size: int = 10, yield_obj_refs: bool = False, **waiting: Any
) -> Iterator[Any]:
    """Yield the values of `refs` as they come, or the references themselves.

    Parameters
    ----------
    refs
        References to results.
    chunk_size
        Results taken at once.
    yield_obj_refs
        Yield references instead of values.
    **waiting
        For `wait`: ``timeout``, after which what is there is yielded though it is less than `chunk_size`.

    Notes
    -----
    Source: Ray's ``ray.util.as_completed``.
    """
    if chunk_size < 1:
        raise ValueError("`chunk_size` must be >= 1")
    if "num_returns" in waiting:
        raise ValueError("num_returns is chunk_size here: use that.")
    left = list(refs)
    while left:
        ready, left = wait(left, num_returns=min(chunk_size, len(left)), **waiting)
        yield from ready if yield_obj_refs else get(ready)


def map_unordered(
    fn: Any, items: Iterable[Any], *, backpressure_size: int | None = 100, chunk_size: int = 10,
    yield_obj_refs: bool = False, **waiting: Any,
) -> Iterator[Any]:  # fmt: skip
    """Call a remote function, or a method of an actor, with each of `items`, and yield results as they come.

    Parameters
    ----------
    fn
        Has ``.remote``.
    items
        One argument of each call.
    backpressure_size
        Calls under way at most; None: no limit.
    chunk_size
        Results taken at once.
    yield_obj_refs
        Yield references instead of values.
    **waiting
        For `wait`, as in `as_completed`.

    Notes
    -----
    Source: Ray's ``ray.util.map_unordered``.
    """
    if backpressure_size is not None and backpressure_size <= 0:
        raise ValueError("backpressure_size must be positive.")
    if "num_returns" in waiting:
        raise ValueError("num_returns is chunk_size here: use that.")
    running: list[ObjectRef[Any]] = []
    for item in items:
        running.append(fn.remote(item))
        while backpressure_size is not None and len(running) >= backpressure_size:
            ready, running = wait(running, num_returns=min(chunk_size, len(running)), **waiting)
            yield from ready if yield_obj_refs else get(ready)
    yield from as_completed(running, chunk_size=chunk_size, yield_obj_refs=yield_obj_refs, **waiting)


def register_serializer(cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]) -> None:
    """Pickle instances of `cls` in this process as ``serializer(instance)``; ``deserializer`` rebuilds them anywhere.

    Notes
    -----
    Source: Ray's ``ray.util.register_serializer``.
    """
    copyreg.pickle(cls, lambda value: (_deserialize, (deserializer, serializer(value))))


def deregister_serializer(cls: type) -> None:
    """Undo `register_serializer`; nothing if there was none."""
    copyreg.dispatch_table.pop(cls, None)


def _deserialize(deserializer: Callable[[Any], Any], state: Any) -> Any:
    return deserializer(state)


def get_node_ip_address(address: str | None = None) -> str:
    """Return the address of this machine; nothing listens on it. `address` is Ray's, and of no effect."""
    return "127.0.0.1"


def get_node_instance_id() -> str:
    """Return the cloud's id of this machine, which ``RAY_CLOUD_INSTANCE_ID`` tells; "" without it (as in Ray)."""
    return os.environ.get("RAY_CLOUD_INSTANCE_ID", "")


_logged: dict[str, float] = {}
_log_once_off = False
_log_period: float | None = None


def log_once(key: str) -> bool:
    """Tell whether to log: True at the first call with `key`, then False, or True once a minute if that was enabled."""
    now = time.monotonic()
    last = _logged.get(key)
    if _log_once_off or (last is not None and (_log_period is None or now - last < _log_period)):
        return False
    _logged[key] = now
    return True


def reset_log_once(key: str | None = None) -> None:
    """Have `log_once` return True again for `key`, or for every key."""
    if key is None:
        _logged.clear()
    else:
        _logged.pop(key, None)


def disable_log_once_globally() -> None:
    """Make `log_once` return False always."""
    global _log_once_off
    _log_once_off = True


def enable_periodic_logging() -> None:
    """Make `log_once` return True once a minute for each key."""
    global _log_period
    _log_period = 60.0
