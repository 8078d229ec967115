"""Waiting for what a test expects, with a limit."""

from __future__ import annotations

import asyncio
import inspect
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

_LATE = "The condition wasn't met before the timeout expired."


def attempts(timeout: float, retry_interval_ms: float) -> Iterator[float]:
    """Yield how many seconds to sleep after each attempt, until the time is up."""
    end = time.monotonic() + timeout
    while time.monotonic() <= end:
        yield retry_interval_ms / 1000


def wait_for_condition(
    condition_predictor: Callable[..., bool],
    timeout: float = 10,
    retry_interval_ms: float = 100,
    raise_exceptions: bool = False,
    **kwargs: Any,
) -> None:
    """Return as soon as a condition holds.

    Parameters
    ----------
    condition_predictor
        Tells whether it does; called with `kwargs`.
    timeout
        In seconds.
    retry_interval_ms
        Between two looks.
    raise_exceptions
        What `condition_predictor` raises is raised; else it means: not yet.

    Raises
    ------
    RuntimeError
        The time is up; the message has the last exception.

    Notes
    -----
    Source: Ray's ``ray._common.test_utils``.
    """
    last = None
    for pause in attempts(timeout, retry_interval_ms):
        try:
            if condition_predictor(**kwargs):
                return
        except Exception:
            if raise_exceptions:
                raise
            last = traceback.format_exc()
        time.sleep(pause)
    raise RuntimeError(_LATE + (f" Last exception: {last}" if last is not None else ""))


async def async_wait_for_condition(
    condition_predictor: Callable[..., Any], timeout: float = 10, retry_interval_ms: float = 100, **kwargs: Any
) -> None:
    """Return as soon as a condition holds, which may be a coroutine function; see `wait_for_condition`."""
    last = None
    for pause in attempts(timeout, retry_interval_ms):
        try:
            found = condition_predictor(**kwargs)
            if await found if inspect.isawaitable(found) else found:
                return
        except Exception as error:
            last = error
        await asyncio.sleep(pause)
    raise RuntimeError(_LATE + (f" Last exception: {last}" if last is not None else ""))
