"""Ray's ``ray._private.ray_microbenchmark_helpers``: how often a second a function can be called."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any

from jupyter_ray.api.init import init
from jupyter_ray.api.session import shutdown

filter_pattern = os.environ.get("TESTS_TO_RUN", "")
skip_pattern = os.environ.get("TESTS_TO_SKIP", "")

_ROUNDS = (2.0,) * 4
"""Seconds."""

Rates = list[tuple[str, float, float] | None]


def timeit(name: str, fn: Callable[[], Any], multiplier: float = 1, warmup_time_sec: float = 10) -> Rates:
    """Call a function for some seconds, print how often a second, and return the name, the rate and its deviation.

    Parameters
    ----------
    name
        What is measured. Names are left out that do not contain the environment variable ``TESTS_TO_RUN``, or that
        contain ``TESTS_TO_SKIP``.
    fn
        The function.
    multiplier
        How many operations a call is.
    warmup_time_sec
        For so long it is called before.
    """
    measuring = _measured(name, multiplier, warmup_time_sec)
    try:
        next(measuring)
        while True:
            fn()
            measuring.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def asyncio_timeit(
    name: str, async_fn: Callable[[], Coroutine[Any, Any, Any]], multiplier: float = 1, warmup_time_sec: float = 10
) -> Rates:
    """As `timeit`, for a coroutine function."""
    measuring = _measured(name, multiplier, warmup_time_sec)
    try:
        next(measuring)
        while True:
            await async_fn()
            measuring.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _measured(name: str, multiplier: float, warmup: float) -> Generator[None, None, Rates]:
    """Yield for each call that is to be made; return the rates."""
    if filter_pattern not in name or (skip_pattern and skip_pattern in name):
        return [None]
    rates: list[float] = []
    for seconds in (warmup, *_ROUNDS):
        begun = now = time.perf_counter()
        calls = 0
        while now < begun + seconds or not calls:
            yield
            calls, now = calls + 1, time.perf_counter()
        rates.append(multiplier * calls / max(now - begun, 1e-9))
    mean, deviation = statistics.fmean(rates[1:]), statistics.pstdev(rates[1:])
    print(name, "per second", round(mean, 2), "+-", round(deviation, 2))
    return [(name, mean, deviation)]


@contextlib.contextmanager
def ray_setup_and_teardown(**init_args: Any) -> Iterator[None]:
    """Start a session, and end it."""
    init(**init_args)
    try:
        yield
    finally:
        shutdown()
