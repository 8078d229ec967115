"""A cancel that comes to a worker before its call, or as the call begins: it is not lost."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_ray.local.client.routes import door_of
from jupyter_ray.local.protocol import codec
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.worker.interrupts import Interrupts
from tests.unit.test_worker import WORKER, Async, Counter, Worker, start, worker

__all__ = ["start", "worker"]

CALLER = b"c" * 16


def bring(worker: Worker, body: m.Body, **spec: Any) -> socket.socket:
    """Bring a call to the worker's own socket."""
    caller = socket.socket(socket.AF_UNIX)
    caller.connect(str(door_of(worker.folders[0], WORKER)))
    called = m.TaskSpec(name="f", body=codec.encode_body(body), **spec)
    caller.sendall(codec.encode(m.Hello("driver", CALLER, 1)) + codec.encode(m.Call(called, 0, ())))
    return caller


@pytest.mark.parametrize(
    ("kind", "options", "method"),
    [
        (Counter, {}, "increment"),
        (Counter, {"max_concurrency": 2}, "increment"),
        (Async, {"is_async": True, "max_concurrency": 10}, "forever"),
    ],
    ids=["plain", "threaded", "async"],
)
def test_of_a_call_to_an_actor(worker: Worker, kind: type, options: dict[str, Any], method: str) -> None:
    """The runtime heard of it from its caller, and it is still in the caller's socket."""
    worker.become(kind, **options)
    task = worker.ids.task()
    worker.runtime.say(m.Interrupt(task))
    assert worker.runtime.expect(m.Interrupted).task == task
    with bring(worker, m.Body(method=method), task=task, kind="method", actor=b"a" * 16):
        assert worker.runtime.expect(m.Submit).caller == CALLER
        assert worker.done(task).cancelled
    if kind is Counter:
        assert worker.value(method) == 1  # It did not begin.


def test_of_a_task(worker: Worker) -> None:
    assert worker.value(quick) == 1
    (exported,) = worker.exports
    task = worker.ids.task()
    worker.runtime.say(m.Interrupt(task))
    assert worker.value(quick) == 1  # It has been heard.
    with bring(worker, m.Body(function="quick"), task=task, kind="task", definition=exported.definition):
        assert worker.runtime.expect(m.Submit).caller == CALLER
        assert worker.runtime.expect(m.Interrupted).task == task
        assert worker.done(task).cancelled


def quick() -> int:
    return 1


class Slow:
    """Takes its time to be unpickled."""

    def __init__(self, begun: Path) -> None:
        self.begun = begun

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return _unpickle, (self.begun,)


def _unpickle(begun: Path) -> None:
    begun.touch()
    while not begun.with_suffix(".cancelled").exists():
        time.sleep(0.01)


def test_of_two_tasks_of_which_the_first_has_just_ended(worker: Worker, tmp_path: Path) -> None:
    """It does not take the place of the other one's."""
    ended = worker.execute(quick)
    assert worker.done(ended).returns
    begun = tmp_path / "begun"
    task = worker.execute(lambda slow: 2, Slow(begun))
    while not begun.exists():
        time.sleep(0.01)
    worker.runtime.say(m.Interrupt(task), m.Interrupt(ended), m.Recall())
    assert worker.runtime.expect(m.Returned).tasks == []  # They have been heard.
    begun.with_suffix(".cancelled").touch()
    assert worker.runtime.expect(m.Interrupted).task == task
    assert worker.done(task).cancelled


def test_of_a_task_that_runs_once_more(worker: Worker) -> None:
    """It came too late for the first time, whose result was lost since: the second is not meant."""
    task = worker.execute(quick)
    assert not worker.done(task).cancelled
    worker.runtime.say(m.Interrupt(task))
    again = worker.execute(quick, task=task)
    assert again != task
    assert not worker.runtime.expect(m.Done).cancelled


def test_one_that_comes_late_does_not_interrupt_the_next_task() -> None:
    """That gets its own interrupts only."""
    before = signal.getsignal(signal.SIGINT)
    interrupts = Interrupts()
    interrupts.install()
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        interrupts.enter(b"first")
        interrupts.note(b"first")
        interrupts.interrupt(b"first")
        interrupts.leave()
        interrupts.enter(b"second")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        interrupts.leave()
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
