"""Ray's ``ray._common.test_utils``: what people who write programs for Ray use in their own tests."""

from __future__ import annotations

import asyncio
import subprocess
import time
from typing import Any

from jupyter_ray._common.drivers import TIMEOUT as DEFAULT_DRIVER_TIMEOUT_SECONDS
from jupyter_ray._common.drivers import run as _run
from jupyter_ray._common.waiting import async_wait_for_condition as async_wait_for_condition
from jupyter_ray._common.waiting import wait_for_condition as wait_for_condition
from jupyter_ray.api.remote import remote
from jupyter_ray.not_offered import unusable

__all__ = ["Semaphore", "SignalActor"]


@remote(num_cpus=0)
class SignalActor:
    """What tasks of a test wait for, until the test lets them go on."""

    def __init__(self) -> None:
        self._sent = asyncio.Event()
        self._waiting = 0

    async def send(self, clear: bool = False) -> None:
        """Let all go on that wait, and with `clear` only those."""
        self._sent.set()
        if clear:
            self._sent.clear()

    async def wait(self, should_wait: bool = True) -> None:
        """Return once `send` was called."""
        if should_wait:
            self._waiting += 1
            try:
                await self._sent.wait()
            finally:
                self._waiting -= 1

    async def cur_num_waiters(self) -> int:
        """Return how many calls of `wait` have not returned."""
        return self._waiting


@remote(num_cpus=0)
class Semaphore:
    """A semaphore for tasks and actors."""

    def __init__(self, value: int = 1) -> None:
        self._free = asyncio.Semaphore(value)

    async def acquire(self) -> None:
        """Take one; wait until there is one."""
        await self._free.acquire()

    async def release(self) -> None:
        """Give one back."""
        self._free.release()

    async def locked(self) -> bool:
        """Tell whether there is none to take."""
        return self._free.locked()


class FakeTimer:
    """A clock that goes on when it is told to, for tests."""

    def __init__(self, start_time: float | None = None) -> None:
        self.reset(start_time)

    def reset(self, start_time: float | None = None) -> None:
        """Set the clock: None for what it is."""
        self._now = time.time() if start_time is None else start_time

    def time(self) -> float:
        """Return Unix seconds."""
        return self._now

    def advance(self, by: float) -> None:
        """Let so many seconds pass."""
        self._now += by

    def realistic_sleep(self, amt: float) -> None:
        """Let a little more than so many seconds pass, as a sleep does."""
        self._now += amt + 0.001


def run_string_as_driver(
    driver_script: str,
    env: dict[str, str] | None = None,
    encode: str = "utf-8",
    timeout: float | None = DEFAULT_DRIVER_TIMEOUT_SECONDS,
) -> str:
    """Run a program as a driver of its own; return what it printed, to stdout and to stderr.

    Parameters
    ----------
    driver_script
        The program's text.
    env
        All of its environment; None: this process's.
    encode
        How text is encoded.
    timeout
        In seconds; None: none.

    Raises
    ------
    subprocess.CalledProcessError
        It failed; `output` has what it printed, as bytes.
    subprocess.TimeoutExpired
        It took too long, and was killed.

    Notes
    -----
    Source: Ray's ``ray._common.test_utils``.
    """
    return _run(driver_script, env, encode, timeout, subprocess.STDOUT)[0]


def is_named_tuple(cls: type) -> bool:
    """Tell whether a class is one of ``collections.namedtuple``."""
    return issubclass(cls, tuple) and all(isinstance(each, str) for each in getattr(cls, "_fields", (0,)))


_OF_A_CLUSTER = (
    "MetricSamplePattern", "PrometheusTimeseries", "TelemetryCallsite", "assert_tensors_equivalent",
    "check_library_usage_telemetry", "fetch_prometheus", "fetch_prometheus_metric_timeseries",
    "fetch_prometheus_metrics", "fetch_prometheus_timeseries", "fetch_raw_prometheus", "simulate_s3_bucket",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, _OF_A_CLUSTER)
