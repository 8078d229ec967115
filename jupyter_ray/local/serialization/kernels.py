"""Triton's kernels: a task makes them anew of function and text. They hold locks, and do not pickle by themselves.

Those of a module that the worker can import go by their name.
"""

from __future__ import annotations

import importlib
import linecache
import os
import sys
from operator import attrgetter
from typing import Any

import cloudpickle

_OPTIONS = ("version", "do_not_specialize", "do_not_specialize_on_alignment", "debug", "noinline", "launch_metadata")


def reduce_kernel(kernel: Any) -> Any:
    """Return how what ``triton.jit`` makes of a function is pickled."""
    function = kernel.fn
    module = sys.modules.get(function.__module__)
    try:
        found = attrgetter(function.__qualname__)(module)
    except AttributeError:  # Of a function's inside.
        found = None
    if found is kernel and function.__module__ != "__main__" and function.__module__ not in _by_value():
        return function.__qualname__
    filename = function.__code__.co_filename
    options = {name: getattr(kernel, name, None) for name in _OPTIONS}
    options["repr"] = getattr(kernel, "_repr", None)
    lines = [] if os.path.exists(filename) else linecache.getlines(filename)
    return _make_kernel, (function, filename, lines, options)


def _by_value() -> set[str]:
    registered: set[str] = cloudpickle.list_registry_pickle_by_value()
    return registered


def _make_kernel(function: Any, filename: str, lines: list[str], options: dict[str, Any]) -> Any:
    if lines:  # A notebook's cell, as it is now: Triton compiles from the text.
        linecache.cache[filename] = (sum(map(len, lines)), None, lines, filename)
    given = {name: value for name, value in options.items() if value is not None}
    return importlib.import_module("triton").jit(function, **given)
