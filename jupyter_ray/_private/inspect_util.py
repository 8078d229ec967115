"""Ray's ``ray._private.inspect_util``: what kind of function a thing is."""

from __future__ import annotations

import inspect
from typing import Any

_CYTHON = ("cython_function_or_method", "fused_cython_function")


def is_cython(obj: Any) -> bool:
    """Tell whether this is a function, or a method, that Cython compiled."""
    return type(getattr(obj, "__func__", obj)).__name__ in _CYTHON


def is_function_or_method(obj: Any) -> bool:
    """Tell whether this is a function or a method, of Python's or of Cython's."""
    return inspect.isfunction(obj) or inspect.ismethod(obj) or is_cython(obj)


def is_class_method(f: Any) -> bool:
    """Tell whether a method that was read from a class is bound to that class."""
    return getattr(f, "__self__", None) is not None


def is_static_method(cls: type, f_name: str) -> bool:
    """Tell whether a class, or one of its bases, has a static method of that name."""
    return isinstance(inspect.getattr_static(cls, f_name, None), staticmethod)
