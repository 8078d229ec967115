"""The global variables of a pool's process, for functions that came to it by value.

What a notebook or script defines comes so, each function with globals of its own. Programs for `multiprocessing` count
on a process having one of each name: its initializer, or an earlier call, sets what later calls read.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

_MISSING = object()
_CODE = (types.FunctionType, types.ModuleType, type)
_CONSTANTS = (bool, bytes, complex, float, frozenset, int, str, tuple, type(None))


class PoolGlobals:
    """What the functions of one process have set."""

    def __init__(self) -> None:
        self._set: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<PoolGlobals {sorted(self._set)}>"

    @contextlib.contextmanager
    def of(self, function: Any, *, filled: bool = False) -> Iterator[None]:
        """Let a function run with what others have set, and keep what it sets.

        `filled`: it may also fill what it has, such as a dictionary; then that is the one which the others see.
        """
        there = _globals(function)
        if there is None:
            yield
            return
        there.update(self._set)
        before = dict(there)
        try:
            yield
        finally:
            self._set |= {
                name: value
                for name, value in there.items()
                if not name.startswith("__")
                and (before.get(name, _MISSING) is not value or (filled and not isinstance(value, _CODE + _CONSTANTS)))
            }


def _globals(function: Any) -> dict[str, Any] | None:
    """Return the globals of a function that has its own, and not those of a module."""
    while isinstance(function, functools.partial | types.MethodType):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    if not isinstance(function, types.FunctionType):
        return None
    module = sys.modules.get(function.__module__ or "")
    of_module: Mapping[str, Any] = {} if module is None else vars(module)
    return None if of_module is function.__globals__ else function.__globals__
