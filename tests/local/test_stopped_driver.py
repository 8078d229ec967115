"""A driver that is stopped (SIGSTOP), or keeps Python's interpreter, while a worker is kept for its quick calls."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray.util import state
from tests.contract.helpers import PATIENCE, eventually
from tests.local.drivers import Driver

PROGRAM = """
import signal

@ray.remote(max_retries=0)
def call(driver=0, path="", seconds=0.0):
    if path:
        with open(path, "a") as file:
            print("called", file=file)
    if driver:
        os.kill(driver, signal.SIGSTOP)
    time.sleep(seconds)
    return driver

def calls(number):
    return [ray.get(call.remote()) for _ in range(number)]
"""


@pytest.fixture
def guest() -> Iterator[Driver]:
    """A driver beside this one, on one CPU, whose quick calls go straight to the worker."""
    try:
        address = ray.init(num_cpus=1, log_to_driver=False).address_info["address"]
        with Driver() as driver:
            driver.do(f"ray.init({address!r}, log_to_driver=False)")
            driver.do(PROGRAM)
            driver.do("calls(100)")
            yield driver
    finally:
        ray.shutdown()


@ray.remote(max_retries=0)
def mine() -> int:
    return os.getpid()


def is_stopped(driver: Driver) -> bool:
    return psutil.Process(driver.pid).status() == psutil.STATUS_STOPPED


def go_on(driver: Driver) -> None:
    driver.process.send_signal(signal.SIGCONT)


def test_what_is_kept_for_a_driver_that_is_stopped_goes_to_others(guest: Driver, tmp_path: Path) -> None:
    for number in range(3):
        path = tmp_path / str(number)
        # The call ends while its driver is stopped: the answer waits for it.
        guest.begin(f"calls(100); assert ray.get(call.remote({guest.pid}, {str(path)!r})) == {guest.pid}; calls(20)")
        eventually(lambda: is_stopped(guest))
        assert ray.get([mine.remote() for _ in range(3)], timeout=PATIENCE)
        go_on(guest)
        guest.finish()
        assert path.read_text() == "called\n"


def test_a_call_that_runs_while_its_driver_is_stopped_keeps_its_cpu(guest: Driver, tmp_path: Path) -> None:
    path = tmp_path / "calls"
    guest.begin(f"calls(100); assert ray.get(call.remote({guest.pid}, {str(path)!r}, 2.0)) == {guest.pid}; calls(20)")
    eventually(lambda: is_stopped(guest))
    began = time.monotonic()
    ref = mine.remote()
    running = eventually(lambda: state.list_tasks(filters=[("state", "=", "RUNNING")]))
    assert [task.name for task in running] == ["call"]
    assert "call" in ray.why(ref)
    ray.get(ref, timeout=PATIENCE)
    assert time.monotonic() - began > 1.0, "the CPU was in use"
    go_on(guest)
    guest.finish()
    assert path.read_text() == "called\n"


def test_a_driver_that_keeps_the_interpreter_keeps_no_cpu(guest: Driver, tmp_path: Path) -> None:
    """In code that does not let go of it no thread can answer the runtime."""
    path = tmp_path / "begun"
    guest.do("began = time.monotonic(); sum(range(10**7)); speed = 10**7 / (time.monotonic() - began)")
    guest.begin(f"calls(100); open({str(path)!r}, 'w').close(); sum(range(int(5 * speed))); ended = time.monotonic()")
    eventually(path.exists)
    ray.get(mine.remote(), timeout=PATIENCE)
    ended = time.monotonic()
    guest.finish()
    assert ended < guest.ask("ended")
    assert guest.ask("calls(3)") == [0, 0, 0]


def test_a_driver_that_was_stopped_at_any_time_goes_on_as_before(guest: Driver, tmp_path: Path) -> None:
    path, end = tmp_path / "calls", tmp_path / "end"
    path.touch()
    guest.begin(f"while not os.path.exists({str(end)!r}): assert ray.get(call.remote(0, {str(path)!r})) == 0")
    sizes = [0]

    def has_called() -> bool:
        return path.stat().st_size > sizes[-1]

    for _ in range(5):
        eventually(has_called)
        sizes.append(path.stat().st_size)
        guest.process.send_signal(signal.SIGSTOP)
        assert ray.get(mine.remote(), timeout=PATIENCE)
        go_on(guest)
    end.touch()
    guest.finish()
