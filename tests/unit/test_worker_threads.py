"""The pool of threads of a concurrent actor."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from jupyter_ray.local.worker.threads import EAGER, Threads

LIMIT = 60


@pytest.mark.parametrize("size", [1, 3, EAGER + 8])
def test_as_many_calls_run_at_once_as_there_may_be_threads(size: int) -> None:
    together = threading.Barrier(size + 1)
    pool = Threads(size, "actor", lambda call: (together.wait(LIMIT), None)[1])
    for _ in range(2):
        for number in range(size):
            pool.submit(number)  # type: ignore[arg-type]
        together.wait(LIMIT)
    pool.drain(queued=True)
    assert together.n_waiting == 0


def test_threads_come_only_when_they_are_needed() -> None:
    calls = threading.Semaphore(0)
    pool = Threads(EAGER + 8, "actor", lambda call: calls.release())
    for number in range(100):
        pool.submit(number)  # type: ignore[arg-type]
        assert calls.acquire(timeout=LIMIT)
    assert len(pool._threads) <= EAGER + 1
    pool.drain(queued=True)


@pytest.mark.parametrize("queued", [True, False])
def test_what_is_queued_runs_or_is_dropped_at_the_end(queued: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go, ran = threading.Event(), threading.Event(), []

    def run(call: Any) -> None:
        begun.set()
        go.wait(LIMIT)
        ran.append(call)

    pool = Threads(1, "actor", run)
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
