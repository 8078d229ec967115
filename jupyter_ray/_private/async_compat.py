"""Ray's ``ray._private.async_compat``: which functions are asynchronous."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any


def is_async_func(func: Any) -> bool:
    """Tell whether a function is asynchronous: a coroutine function, or an asynchronous generator."""
    return inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func)


def has_async_methods(cls: type) -> bool:
    """Tell whether a class has asynchronous methods, so that its actor has an event loop."""
    return bool(inspect.getmembers(cls, predicate=is_async_func))


def get_new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop."""
    return asyncio.new_event_loop()
