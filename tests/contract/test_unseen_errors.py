"""An exception that nobody gets is told on the driver's stderr, once, when its last reference goes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.events import LogLines
from tests.contract.helpers import Log, eventually

pytestmark = pytest.mark.local_only("Ray itself logs errors that nobody gets")


@ray.remote(num_returns=2)
def fail(text: str) -> None:
    raise ValueError(text)


@ray.remote
def pass_on(value: Any) -> Any:
    return value


@ray.remote(num_cpus=4)
def sleep() -> None:
    while True:
        time.sleep(0.01)


@ray.remote
def items(text: str) -> Any:
    yield 1
    raise ValueError(text)


class _Actor:
    def fail(self, text: str) -> None:
        raise KeyError(text)


def _told(log: Log) -> list[str]:
    return [line.text for line in log.find(LogLines, stream="stderr") if "Unhandled error" in line.text]


def _drop_in_all_ways() -> None:
    actor = ray.remote(_Actor).remote()
    first, second = fail.remote("seen")
    with pytest.raises(ValueError, match="seen"):
        ray.get(second)
    del first, second
    half, other = fail.remote("seen late")
    ray.wait([half])
    del half
    with pytest.raises(ValueError, match="seen late"):
        ray.get(other)
    fail.remote("never seen")
    fail.remote("TaskCancelledError is but a name")
    actor.fail.remote("of a method")
    pass_on.remote(fail.remote("passed on")[0])
    stream = items.remote("of a stream")
    next(stream)
    items.remote("of a dropped stream")
    ray.cancel(pass_on.remote(fail.remote("cancelled")[0]))
    never = sleep.remote()
    passed = pass_on.remote(pass_on.remote(never))
    ray.cancel(never)
    ray.wait([passed])  # Nobody asks why it failed, and nobody needs to be told.


def test_errors_that_nobody_gets_are_told_once(start: Callable[..., Any]) -> None:
    start()
    with Log() as log:
        _drop_in_all_ways()
        wanted = ["never seen", "but a name", "of a method", "passed on", "of a stream", "of a dropped stream"]
        eventually(lambda: all(any(text in told for told in _told(log)) for text in wanted))
        told = [text for text in _told(log) if "cancelled" not in text]  # Whether that was in time is open.
        assert len(told) == len(wanted)
        assert all("Traceback" in text for text in told)
        assert not any("sleep" in text for text in _told(log))


def test_crashes_that_nobody_asks_about_are_told(start: Callable[..., Any]) -> None:
    @ray.remote(max_retries=0)
    def crash() -> None:
        os._exit(3)

    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("cannot be made")

    start()
    with Log() as log:
        asked = crash.remote()
        with pytest.raises(exceptions.WorkerCrashedError):
            ray.get(asked)
        del asked
        crash.remote()
        Broken.remote()  # type: ignore[attr-defined]
        told = eventually(lambda: found if len(found := _told(log)) == 2 else [])
    assert any("WorkerCrashedError" in text and "exit code 3" in text for text in told)
    assert any("Broken.__init__" in text and "cannot be made" in text for text in told)


class _Fragile:
    def crash(self) -> None:
        os._exit(3)

    def go_on(self) -> int:
        return os.getpid()


@pytest.mark.parametrize("max_restarts", [0, 1])
def test_the_death_of_an_actor_that_nobody_asks_about_is_told_once(
    start: Callable[..., Any], max_restarts: int
) -> None:
    start()
    with Log() as log:
        quiet, asked, loud = (ray.remote(_Fragile).options(max_restarts=max_restarts).remote() for _ in range(3))
        assert ray.get(quiet.go_on.remote())
        ray.kill(quiet)
        with pytest.raises(exceptions.RayActorError):
            ray.get(asked.crash.remote())
        loud.crash.remote()
        for _ in range(3):
            loud.go_on.remote()
        eventually(lambda: _told(log))
        with contextlib.suppress(exceptions.RayActorError):
            ray.get(loud.go_on.remote())
        ray.get_runtime_context()._engine.flush_events()
        told = _told(log)
    error = "ActorUnavailableError" if max_restarts else "ActorDiedError"
    assert [error in text and "exit code 3" in text for text in told] == [True]


def test_that_can_be_switched_off(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    start(num_cpus=1)
    with Log() as log:
        fail.remote("never seen")
        assert ray.get(pass_on.remote(1)) == 1
        engine = ray.get_runtime_context()._engine
        engine.flush_events()
        assert not _told(log)


def test_what_a_get_of_several_had_asked_for_is_not_told_when_it_raises_the_error_of_another(
    start: Callable[..., Any],
) -> None:
    """Else the first look at a thousand calls that all fail would be followed by 999 tracebacks, some time later."""
    start()
    with Log() as log:
        refs = [late.remote(number) for number in range(6)]
        with pytest.raises(ValueError, match="number 0"):
            ray.get(refs)
        ready, _ = ray.wait(refs, num_returns=6)
        assert len(ready) == 6
        with pytest.raises(ValueError, match="number 5"):
            ray.get(refs[5])
        del refs, ready
        alone = late.remote(7)
        ray.wait([alone])
        del alone
        eventually(lambda: _told(log))
        assert ["number 7" in each for each in _told(log)] == [True]


@ray.remote(max_retries=0)
def late(number: int) -> None:
    time.sleep(0.1 * number)
    raise ValueError(f"number {number}")


def test_that_a_task_is_tried_again_is_told(start: Callable[..., Any], tmp_path: Path) -> None:
    def once(name: str) -> bool:
        tried = tmp_path / name
        if tried.exists():
            return False
        tried.touch()
        return True

    @ray.remote(max_retries=2)
    def crash() -> None:
        if once("crash"):
            os._exit(3)

    @ray.remote(max_retries=-1, retry_exceptions=True)
    def refuse() -> None:
        if once("refuse"):
            raise ValueError("not yet")

    start()
    with Log() as log:
        ray.get([crash.remote(), refuse.remote()])
        told = eventually(lambda: found if len(found := _tried_again(log)) == 2 else [])
    assert any("Task crash failed. There are 2 retries remaining" in text and "exit code 3" in text for text in told)
    assert any("Task refuse failed. There are infinite retries" in text and "not yet" in text for text in told)


def _tried_again(log: Log) -> list[str]:
    return [line.text for line in log.find(LogLines, stream="stderr") if "will be retried" in line.text]


def test_a_test_may_take_the_place_of_what_prints_them(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As tests of programs do that count them."""
    caught: list[BaseException] = []
    monkeypatch.setattr(ray._private.worker, "_unhandled_error_handler", caught.append)
    start(log_to_driver=True)
    actor = ray.remote(_Actor).remote()
    fail.remote("never seen")
    actor.fail.remote("of a method")
    eventually(lambda: len(caught) == 2)
    assert all(isinstance(each, exceptions.RayTaskError) for each in caught)
    assert {word for each in caught for word in ("never seen", "of a method") if word in str(each)} == {
        "never seen",
        "of a method",
    }
    assert "Unhandled error" not in capfd.readouterr().err
