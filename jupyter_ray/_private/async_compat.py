"""Ray's ``ray._private.async_compat``: which functions are asynchronous."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
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


def sync_to_async(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return a coroutine function that calls `func`; `func` itself if it is asynchronous."""
    if is_async_func(func):
        return func

    @functools.wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper
