"""Exceptions that come back from pickling though their ``__init__`` takes other arguments than it passes on.

Python makes an exception again by calling its class with its ``args``. A class such as ::

    class Refused(Exception):
        def __init__(self, code, reason):
            super().__init__(reason)

cannot be called so, and would be lost on its way to whoever says ``except Refused``. Its state is complete without the
call: its ``args`` and its ``__dict__``.

So it is where a part of these cannot be pickled (the connection that failed, a lock): the rest goes, and something
stands for it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any


def portable(error: BaseException) -> Any:
    """Return what is to be pickled in the place of `error`, which comes back; mostly that is `error` itself."""
    return _Portable(error) if _has_own_init(type(error)) else error


class _Portable:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        error = self._error
        reduced: Any = error.__reduce__()  # With an OSError's file among the arguments.
        kind, args, *state = reduced
        return _rebuilt, (kind, args, error.args, state[0] if state else {})


def _has_own_init(kind: type[BaseException]) -> bool:
    """Tell whether Python code makes instances of a class that says nothing of how they are pickled."""
    plain = isinstance(kind.__reduce__, MethodDescriptorType) and kind.__reduce_ex__ is object.__reduce_ex__
    return plain and isinstance(kind.__init__, FunctionType) and kind.__setstate__ is BaseException.__setstate__


def _rebuilt(kind: Any, args: tuple[Any, ...], shown: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    """Make an exception as Python does, or where its class takes other arguments, without its ``__init__``."""
    error: BaseException | None
    try:
        error = kind(*args)
    except Exception:
        error = None
    if error is None or not _same(error.args, shown):
        error = _made_of(kind, args)
        error.args = shown
    for name, value in state.items():
        BaseException.__setattr__(error, name, value)  # A frozen dataclass refuses to be told so.
    return error


def _made_of(kind: Any, args: tuple[Any, ...]) -> BaseException:
    """Return an instance that only built-in code has made."""
    error: BaseException = kind.__new__(kind, *args)
    ways = (vars(each).get("__init__") for each in kind.__mro__)
    compiled = next(way for way in ways if isinstance(way, WrapperDescriptorType))
    compiled(error, *args)  # It sets what a built-in class keeps in C, such as `errno` and `code`.
    return error


class NotSent:
    """Stands for a part of an exception that could not be pickled."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __repr__(self) -> str:
        return f"<not sent: {self._what}>"


def without_what_does_not_pickle(error: BaseException, dumps: Callable[[Any], object]) -> BaseException:
    """Return an exception like `error` in which something stands for each part that `dumps` refuses."""

    def sent(part: Any) -> Any:
        try:
            dumps(part)
        except Exception as refused:
            return NotSent(f"{type(part).__module__}.{type(part).__qualname__} ({refused})")
        return part

    like = _made_of(type(error), tuple(map(sent, error.args)))
    for name, value in vars(error).items():
        BaseException.__setattr__(like, name, sent(value))
    BaseException.__setattr__(like, "__cause__", error.__cause__)
    return like


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    try:
        return bool(one == other)
    except Exception:  # An array does not say whether it is equal.
        return len(one) == len(other)
