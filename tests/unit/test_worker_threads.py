"""The pool of threads of a concurrent actor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jupyter_ray.local.client.threads import Housekeeper
from jupyter_ray.local.worker.threads import EAGER, LOOK_SECONDS, Threads

LIMIT = 60


@pytest.fixture
def make() -> Iterator[Callable[..., Threads]]:
    """Make a pool that is looked after as in a worker."""
    pools: list[Threads] = []

    def look() -> None:
        for pool in pools:
            pool.look()

    house = Housekeeper({"calls": (LOOK_SECONDS, look)})
    house.start()

    def make(size: int, run: Callable[[Any], object]) -> Threads:
        pools.append(Threads(size, "actor", run, lambda: house.want("calls")))  # type: ignore[arg-type]
        return pools[-1]

    yield make
    house.stop()


@pytest.mark.parametrize("size", [1, 3, EAGER + 8])
def test_as_many_calls_run_at_once_as_there_may_be_threads(size: int, make: Callable[..., Threads]) -> None:
    together = threading.Barrier(size + 1)
    pool = make(size, lambda call: (together.wait(LIMIT), None)[1])
    for _ in range(2):
        for number in range(size):
            pool.submit(number)  # type: ignore[arg-type]
        together.wait(LIMIT)
    pool.drain(queued=True)
    assert together.n_waiting == 0


def test_threads_come_only_when_they_are_needed(make: Callable[..., Threads]) -> None:
    calls = threading.Semaphore(0)
    pool = make(EAGER + 8, lambda call: calls.release())
    for number in range(100):
        pool.submit(number)  # type: ignore[arg-type]
        assert calls.acquire(timeout=LIMIT)
    assert len(pool._threads) <= EAGER + 1
    pool.drain(queued=True)


@pytest.mark.parametrize("queued", [True, False])
def test_what_is_queued_runs_or_is_dropped_at_the_end(
    queued: bool, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Threads]
) -> None:
    begun, go, ran = threading.Event(), threading.Event(), []

    def run(call: Any) -> None:
        begun.set()
        go.wait(LIMIT)
        ran.append(call)

    pool = make(1, run)
    pool.submit(1)  # type: ignore[arg-type]
    assert begun.wait(LIMIT)
    pool.submit(2)  # type: ignore[arg-type]
    (thread,), joining = pool._threads, threading.Event()
    join = thread.join

    def note() -> None:
        joining.set()
        join(LIMIT)

    monkeypatch.setattr(thread, "join", note)
    drain = threading.Thread(target=pool.drain, kwargs={"queued": queued})
    drain.start()
    assert joining.wait(LIMIT), "by now, what is to be dropped is gone"
    go.set()
    drain.join(LIMIT)
    assert ran == ([1, 2] if queued else [1])


def test_quick_calls_are_not_held_up_by_one_that_waits(make: Callable[..., Threads]) -> None:
    """After many quick ones, no thread is woken for the next at once: it is looked whether somebody goes on."""
    size, ran = 4, threading.Semaphore(0)
    together = threading.Barrier(size + 1)

    def run(call: Any) -> None:
        if call == "wait":
            together.wait(LIMIT)
        ran.release()

    pool = make(size, run)
    for _ in range(20):
        for number in range(50):
            pool.submit(number)  # type: ignore[arg-type]
        for _ in range(50):
            assert ran.acquire(timeout=LIMIT)
        for _ in range(size - 1):
            pool.submit("wait")  # type: ignore[arg-type]
        for number in range(50):
            pool.submit(number)  # type: ignore[arg-type]
        for _ in range(50):
            assert ran.acquire(timeout=LIMIT), "the one that is left runs them all"
        pool.submit("wait")  # type: ignore[arg-type]
        together.wait(LIMIT)
        for _ in range(size):
            assert ran.acquire(timeout=LIMIT)
    pool.drain(queued=True)


def test_nobody_looks_where_all_threads_have_a_call(make: Callable[..., Threads]) -> None:
    begun, go, looks = threading.Semaphore(0), threading.Event(), []

    def run(call: Any) -> None:
        begun.release()
        go.wait(LIMIT)

    pool = Threads(2, "actor", run, lambda: looks.append(1))
    for number in range(2):
        pool.submit(number)  # type: ignore[arg-type]
        assert begun.acquire(timeout=LIMIT)
    pool.look()
    looks.clear()
    for number in range(10):
        pool.submit(number)  # type: ignore[arg-type]
    pool.look()
    assert not looks
    go.set()
    pool.drain(queued=True)
