"""What a program may get wrong in a call of `get` or `wait`, and may have meant instead."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import MethodType
from typing import Any

from jupyter_ray.engine.context import current_task
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.interrupts import shielded

_log = logging.getLogger("jupyter_ray")


def hint(value: Any, function: str = "get") -> str:
    """Return what to write instead of a value that is no reference: a sentence with a space before it, or ``""``.

    Parameters
    ----------
    value
        What stands where a reference, or a list of them, should.
    function
        ``"get"`` or ``"wait"``.
    """
    kind = type(value).__name__
    if isinstance(value, MethodType) and value.__name__ == "remote":
        return " The call was not made: write .remote(...), with parentheses."
    if kind in ("RemoteFunction", "ActorMethod"):
        return " Call it first, with .remote(...): that returns the reference."
    if kind in ("ActorHandle", "ActorClass"):
        return " Call a method of an actor first: actor.method.remote(...) returns the reference."
    if isinstance(value, ObjectRef | ObjectRefGenerator):
        return f" Write ray.{function}([...]), for one reference too." if function == "wait" else ""
    if isinstance(value, Mapping):
        return f" Write ray.{function}(list(d.values())) for the values of a dict." if _holds(value.values()) else ""
    if isinstance(value, list):
        return " Nested lists are not searched: make one flat list." if _holds(value) else ""
    if isinstance(value, Iterator) or (isinstance(value, Iterable) and _holds(value)):
        return f" Write ray.{function}(list(...)) for what it holds."
    return " It is already a value." if function == "get" and value is not None else ""


def _holds(values: Any) -> bool:
    """Tell whether references are among the elements; an iterator is not looked into, which would use it up."""
    if isinstance(values, str | bytes | bytearray | memoryview):
        return False
    if hasattr(values, "__array__") and str(getattr(values, "dtype", "")) != "object":
        return False  # Of arrays, and of what Pandas makes, only those of objects can hold any.
    return any(isinstance(each, ObjectRef) for each in values)


def checked_timeout(timeout: float) -> float:
    """Return a time limit, or raise a TypeError or a ValueError that says what it may be."""
    try:
        possible = timeout >= 0
        if type(timeout) is not float and type(timeout) is not int:  # NumPy's, a fraction: a message has plain ones.
            timeout = float(timeout)
    except TypeError as error:
        raise TypeError(f"The 'timeout' argument must be a number of seconds, or None, got {timeout!r}.") from error
    if not possible:
        raise ValueError(f"The 'timeout' argument must be nonnegative. Received {timeout}")
    return timeout


_warned: set[str] = set()


def warn_if_in_event_loop(what: str, instead: str) -> None:
    """Warn, once, about blocking the event loop of an async actor (a notebook's own loop idles anyway)."""
    task = current_task()
    if task is None or task.actor is None or what in _warned or "asyncio" not in sys.modules:
        return
    import asyncio

    if asyncio._get_running_loop() is not None:
        _warned.add(what)
        if getattr(sys.modules.get("jupyter_ray._private.worker"), "blocking_get_inside_async_warned", False):
            return  # Who knows it says so: Daft, for one.
        with shielded():
            _log.warning(
                "Using blocking ray.%s inside an async actor. This blocks its event loop, and so all its calls. "
                "Please %s.",
                what,
                instead,
            )
