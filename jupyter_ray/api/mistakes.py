"""What a program may have meant that gave `get` or `wait` something else than references, in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MethodType
from typing import Any

from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.streams import ObjectRefGenerator


def hint(value: Any, function: str = "get") -> str:
    """Return a sentence with a space before it, or ``""``.

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
        return f" Write ray.{function}(list(d.values())) for what a dict holds." if _holds(value.values()) else ""
    if isinstance(value, list):
        return " Lists in a list are not looked into: make one list of all." if _holds(value) else ""
    if isinstance(value, Iterator) or (isinstance(value, Iterable) and _holds(value)):
        return f" Write ray.{function}(list(...)) for what it holds."
    return " It is a value already." if function == "get" and value is not None else ""


def _holds(values: Any) -> bool:
    """Tell whether references are among the elements; an iterator is not looked into, which would use it up."""
    if isinstance(values, str | bytes | bytearray | memoryview):
        return False
    if hasattr(values, "__array__") and str(getattr(values, "dtype", "")) != "object":
        return False  # Of arrays, and of what Pandas makes, only those of objects can hold any.
    return any(isinstance(each, ObjectRef) for each in values)
