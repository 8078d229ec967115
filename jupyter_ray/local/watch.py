"""What the code of a remote function or class can reach by name, and whether a name means something else by now.

A name is a global, a variable of an enclosing function, a default, or an attribute of a class. What they lead to is
followed through functions and classes that travel by value (those of a notebook, say), and through what they wrap.
"""

from __future__ import annotations

import functools
import linecache
import os
import types
from collections.abc import Iterable
from typing import Any

from cloudpickle import cloudpickle

from jupyter_ray.local.serialization import values
from jupyter_ray.local.serialization.unseen_names import unseen_names

_MISSING = object()
"""The value of a name that there is not."""
_IMMUTABLE = (int, float, complex, str, bytes, bool, type(None), types.ModuleType, types.BuiltinFunctionType, range)
_SOURCE_LIMIT = 256 * 1024
"""Characters of a notebook cell that travel with its functions, at most."""


class Watch:
    """What `value` can reach by name, and what each name meant when the watch was made.

    It holds all of that: so no other object gets the identity of one that it compares with.

    Attributes
    ----------
    names
        Globals and attributes of classes: (namespace, name, value).
    cells
        Variables of enclosing functions: (cell, name, value).
    functions
        The functions on the way: (function, code, defaults, defaults of keyword-only parameters).
    is_mutable
        Something on the way can be changed in place (a list, an instance), which no identity would tell.
    sources
        Lines of the notebook cells on the way, by file name: with them the worker shows lines in tracebacks.
    """

    __slots__ = ("_seen", "cells", "functions", "is_mutable", "names", "sources")

    def __init__(self, value: Any) -> None:
        self.names: list[tuple[Any, str, Any]] = []
        self.cells: list[tuple[types.CellType, str, Any]] = []
        self.functions: list[tuple[Any, types.CodeType, Any, Any]] = []
        self.is_mutable = False
        self.sources: dict[str, list[str]] = {}
        self._seen: dict[int, Any] = {}
        self._visit(value)
        self._seen.clear()

    def is_stale(self) -> bool:
        """Tell whether a name means something else now."""
        for namespace, name, value in self.names:
            if namespace.get(name, _MISSING) is not value:
                return True
        for cell, _, value in self.cells:
            if _content(cell) is not value:
                return True
        return any(
            function.__code__ is not code
            or function.__defaults__ is not defaults
            or function.__kwdefaults__ is not named
            for function, code, defaults, named in self.functions
        )

    def largest(self) -> tuple[str, int]:
        """Return name and pickled size of the largest variable, rather than of a function that it makes large."""
        largest_data, largest_code = ("", 0), ("", 0)
        for _, name, value in (*self.names, *self.cells):
            try:
                size = values.code_dumps(value).size
            except Exception:  # It is measured for a message only.
                continue
            if isinstance(value, type | types.FunctionType | staticmethod | classmethod | property):
                largest_code = max(largest_code, (name, size), key=_size)
            else:
                largest_data = max(largest_data, (name, size), key=_size)
        return largest_code if _size(largest_code) > 2 * _size(largest_data) else largest_data

    def _visit(self, value: Any) -> None:
        if id(value) in self._seen or isinstance(value, _IMMUTABLE):
            return
        self._seen[id(value)] = value
        if isinstance(value, types.FunctionType):
            self._visit_function(value)
        elif isinstance(value, type):
            self._visit_class(value)
        elif (parts := _parts(value)) is not None:
            for part in parts:
                self._visit(part)
        elif not type(value).__module__.startswith("jupyter_ray."):  # References and handles do not change.
            self.is_mutable = True

    def _visit_function(self, function: types.FunctionType) -> None:
        if not _by_value(function):
            return
        code = function.__code__
        self.functions.append((function, code, function.__defaults__, function.__kwdefaults__))
        self._note_source(code.co_filename)
        namespace = function.__globals__
        # No attributes: whose names they have lived on.
        for name in {**cloudpickle._extract_code_globals(code), **dict.fromkeys(unseen_names(code))}:
            value = namespace.get(name, _MISSING)
            self.names.append((namespace, name, value))
            if value is not _MISSING:
                self._visit(value)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            value = _content(cell)
            self.cells.append((cell, name, value))
            if value is not _MISSING:
                self._visit(value)
        for part in (
            *(function.__defaults__ or ()),
            *(function.__kwdefaults__ or {}).values(),
            *vars(function).values(),
        ):
            self._visit(part)

    def _visit_class(self, kind: type) -> None:
        if not _by_value(kind):
            return
        namespace = vars(kind)
        for name, value in list(namespace.items()):
            if name in ("__dict__", "__weakref__", "__doc__", "__module__"):
                continue
            self.names.append((namespace, name, value))
            self._visit(value)
        for base in kind.__bases__:
            self._visit(base)

    def _note_source(self, filename: str) -> None:
        """Keep the text of a notebook cell; that of a file the worker can read for itself."""
        entry = linecache.cache.get(filename)
        if filename in self.sources or entry is None or len(entry) != 4 or os.path.exists(filename):
            return
        if sum(map(len, entry[2])) <= _SOURCE_LIMIT:
            self.sources[filename] = entry[2]


def _parts(value: Any) -> Iterable[Any] | None:
    """Return what a value that does not change itself is made of; None if it is no such value."""
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    if isinstance(value, property):
        return value.fget, value.fset, value.fdel
    if isinstance(value, values.LruCache):
        return () if values.is_importable(value) else (value.__wrapped__,)
    if isinstance(value, functools.partial):
        return value.func, *value.args, *value.keywords.values()
    return value if isinstance(value, tuple | frozenset) else None


def _size(variable: tuple[str, int]) -> int:
    return variable[1]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _by_value(value: Any) -> bool:
    try:
        return not cloudpickle._should_pickle_by_reference(value)
    except TypeError:
        return True
