"""What a task may do to itself, to its values and to the queue, and what whoever waits for it sees."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.events import LogLines
from jupyter_ray.exceptions import (
    GetTimeoutError,
    RayActorError,
    RaySystemError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from tests.contract.helpers import PATIENCE, Log, eventually

shared = pytest.mark.usefixtures("cluster")


@shared
@pytest.mark.parametrize("leave", [sys.exit, os._exit])
def test_a_task_that_ends_its_process_is_tried_again(tmp_path: Path, leave: Callable[[int], Any]) -> None:
    @ray.remote(max_retries=2)
    def attempt(until: int) -> int:
        count = len(list(tmp_path.iterdir()))
        (tmp_path / str(count)).touch()
        if count < until:
            leave(1)
        return count

    assert ray.get(attempt.remote(2), timeout=PATIENCE) == 2
    with pytest.raises(WorkerCrashedError, match="died unexpectedly while executing this task") as found:
        ray.get(attempt.remote(9), timeout=PATIENCE)
    assert not isinstance(found.value, RayTaskError)
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.local_only("Ray's driver reads the variable once, for all later calls")
@shared
@pytest.mark.parametrize(("variable", "attempts"), [("0", 1), ("2", 3), (None, 4)])
def test_the_environment_says_how_often_a_task_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, attempts: int
) -> None:
    """Where the task says nothing of it; in a task, the environment that it has. Source: Ray's documentation."""
    if variable is not None:
        monkeypatch.setenv("RAY_TASK_MAX_RETRIES", variable)

    @ray.remote
    def leave(folder: str) -> None:
        (Path(folder) / str(time.time_ns())).touch()
        os._exit(1)

    with pytest.raises(WorkerCrashedError):
        ray.get(leave.remote(str(tmp_path)), timeout=PATIENCE)
    assert len(list(tmp_path.iterdir())) == attempts


@pytest.mark.local_only("Ray raises the error of int()")
@shared
@pytest.mark.parametrize("variable", ["often", "-2"])
def test_how_often_a_task_is_tried_again_must_be_a_number(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("RAY_TASK_MAX_RETRIES", variable)

    @ray.remote
    def nothing() -> None: ...

    with pytest.raises(ValueError, match="RAY_TASK_MAX_RETRIES must be"):
        nothing.remote()


@shared
@pytest.mark.parametrize("end", [lambda: os._exit(1), lambda: os.kill(os.getpid(), signal.SIGKILL)])
def test_the_last_words_of_a_process_are_heard(end: Callable[[], Any]) -> None:
    @ray.remote(max_retries=0)
    def speak() -> None:
        print("the last words")
        end()

    with Log() as log:
        with pytest.raises(WorkerCrashedError):
            ray.get(speak.remote(), timeout=PATIENCE)
        eventually(lambda: any("the last words" in line.text for line in log.find(LogLines)))


@shared
def test_what_was_flushed_is_heard_at_once() -> None:
    @ray.remote
    def speak() -> None:
        for _ in range(3):
            print("word", flush=True)
        time.sleep(PATIENCE)

    with Log() as log:
        ref = speak.remote()
        eventually(lambda: "".join(line.text for line in log.find(LogLines)).count("word\n") == 3)
    ray.cancel(ref, force=True)


@shared
def test_a_stream_whose_process_ends_has_a_last_item_that_raises_and_does_not_complete(tmp_path: Path) -> None:
    @ray.remote(max_retries=0)
    def numbers() -> Any:
        yield 1
        while not (tmp_path / "read").exists():
            time.sleep(0.01)
        sys.exit(3)

    stream = numbers.remote()
    assert ray.get(next(stream), timeout=PATIENCE) == 1
    (tmp_path / "read").touch()
    for ref in (next(stream), stream.completed()):
        with pytest.raises(WorkerCrashedError):
            ray.get(ref, timeout=PATIENCE)
    assert list(stream) == []


@shared
@pytest.mark.parametrize("base", [BaseException, MemoryError])
def test_the_error_is_of_the_class_that_was_raised(base: Any) -> None:
    kind = type("Raised", (base,), {}) if base is BaseException else base

    @ray.remote
    def fail() -> None:
        raise kind("what happened")

    with pytest.raises(kind, match="what happened") as found:
        ray.get(fail.remote())
    assert isinstance(found.value, RayTaskError)


@shared
def test_a_value_that_cannot_be_rebuilt_is_a_system_error() -> None:
    class Stubborn:
        def __reduce__(self) -> Any:
            return int, ("no number",)

    @ray.remote
    def take(value: Any) -> None: ...

    @ray.remote
    def make() -> Any:
        return Stubborn()

    for ref in (ray.put(Stubborn()), make.remote(), take.remote(Stubborn())):
        with pytest.raises(RaySystemError, match="no number"):
            ray.get(ref)
    with pytest.raises(RaySystemError, match="no number"):
        make.remote().future().result(PATIENCE)


@shared
def test_a_module_that_the_worker_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "gone_before_use.py"
    module.write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import gone_before_use  # type: ignore[import-not-found]

    module.unlink()

    @ray.remote
    def read() -> Any:
        return gone_before_use.value

    @ray.remote
    class Reader:
        def read(self) -> Any:
            return gone_before_use.value

    with pytest.raises(RuntimeError, match=r"failed to import on the worker: .*No module named 'gone_before_use'"):
        ray.get(read.remote())
    with pytest.raises(RayActorError, match=r"(?s)The actor with name Reader failed to import on the worker"):
        ray.get(Reader.remote().read.remote())


@shared
def test_the_text_of_an_error_names_the_task_in_the_place_of_pythons_heading() -> None:
    @ray.remote
    def inner() -> float:
        return 1 / 0

    @ray.remote
    def outer() -> Any:
        return ray.get(inner.remote())

    @ray.remote
    class Maker:
        def __init__(self) -> None:
            raise KeyError("the part")

        def ping(self) -> None: ...

    with pytest.raises(ZeroDivisionError) as found:
        ray.get(outer.remote())
    text = str(found.value)
    assert text.startswith("ray::outer() (pid=")
    assert text.count("ray::") == 2
    assert "Traceback" not in text
    assert text.endswith("ZeroDivisionError: division by zero")
    with pytest.raises(
        RayActorError, match=r"raised in its creation task, ray::Maker.__init__\(\) \(pid=.*, actor_id="
    ):
        ray.get(Maker.remote().ping.remote())


@shared
def test_what_is_late_is_counted() -> None:
    @ray.remote
    def sleep() -> None:
        time.sleep(PATIENCE)

    late = sleep.remote()
    with pytest.raises(GetTimeoutError, match=r"some object\(s\) not ready \(1 of [12] within 0.1 s\)"):
        ray.get([ray.put(1), late], timeout=0.1)
    ray.cancel(late, force=True)


@shared
def test_a_call_of_a_method_is_not_cancelled_by_force_even_when_it_has_ended() -> None:
    @ray.remote
    class Counter:
        def count(self) -> int:
            return 1

    ref = Counter.remote().count.remote()
    assert ray.get(ref) == 1
    with pytest.raises(ValueError, match="force=True is not supported for actor tasks"):
        ray.cancel(ref, force=True)


@pytest.mark.local_only("Ray promises no order among tasks")
def test_tasks_that_come_back_from_a_killed_worker_keep_their_turn(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=1)
    log = tmp_path / "log"

    @ray.remote
    def note(number: int) -> None:
        with log.open("a") as file:
            file.write(f"{number}\n")

    @ray.remote
    def sleep() -> None:
        time.sleep(PATIENCE)

    ray.get([note.remote(0) for _ in range(20)])  # It is known to be quick: several are handed on at once.
    log.unlink()
    first = sleep.remote()
    rest = [note.remote(number) for number in range(40)]
    ray.cancel(first, force=True)
    with pytest.raises(TaskCancelledError):
        ray.get(first, timeout=PATIENCE)
    ray.get(rest, timeout=PATIENCE)
    assert log.read_text().split() == [str(number) for number in range(40)]


@shared
def test_an_error_of_the_system_in_an_argument_is_the_tasks_own() -> None:
    @ray.remote
    class Mortal:
        def end(self) -> None:
            os._exit(1)

    @ray.remote(max_retries=0)
    def crash() -> None:
        os._exit(1)

    @ray.remote
    def take(value: Any) -> Any:
        return value

    @ray.remote
    class Taker:
        def take(self, value: Any) -> Any:
            return value

    for lost, kind in ((Mortal.remote().end.remote(), RayActorError), (crash.remote(), WorkerCrashedError)):
        taker = Taker.remote()
        for ref in (take.remote(lost), take.remote(take.remote(lost)), taker.take.remote(lost)):
            with pytest.raises(RayTaskError, match="input arguments for this task could not be computed") as found:
                ray.get(ref, timeout=PATIENCE)
            assert isinstance(found.value, kind)
        assert ray.get(taker.take.remote(1), timeout=PATIENCE) == 1


@shared
def test_an_error_in_an_argument_tells_the_whole_way() -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("first")

    @ray.remote
    def take(value: Any) -> None: ...

    with pytest.raises(KeyError) as found:
        ray.get(take.remote(take.remote(fail.remote())), timeout=PATIENCE)
    text = str(found.value)
    assert text.startswith("ray::take() (")
    assert text.count("input arguments for this task could not be computed") == 2
    assert text.endswith("KeyError: 'first'")

    @ray.remote
    class Taker:
        def take(self, value: Any) -> None: ...

    taker = Taker.remote()
    with pytest.raises(KeyError, match=taker._actor_id.hex()):
        ray.get(taker.take.remote(fail.remote()), timeout=PATIENCE)


@shared
def test_an_actor_without_its_argument_tells_what_failed_as_for_any_error_of_its_constructor() -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("first")

    @ray.remote(max_retries=0)
    def crash() -> None:
        os._exit(1)

    @ray.remote
    class Taker:
        def __init__(self, value: Any) -> None: ...

        def take(self) -> None: ...

    for bad, last in ((fail.remote(), "KeyError: 'first'"), (crash.remote(), "WorkerCrashedError: The worker died")):
        pattern = r"raised in its creation task, ray::Taker.__init__\(\) \(.*\)\n  At least one of the input arguments "
        with pytest.raises(RayActorError, match=pattern) as found:
            ray.get(Taker.remote(bad).take.remote(), timeout=PATIENCE)
        assert re.search(f"[.\n]{last}.*$", str(found.value))


@shared
def test_a_task_that_raises_keyboard_interrupt_counts_as_cancelled() -> None:
    @ray.remote
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(TaskCancelledError):
        ray.get(interrupt.remote(), timeout=PATIENCE)


class Locked(Exception):
    """As those of web clients, which keep the connection that failed (aiohttp's)."""

    def __init__(self, lock: object, status: int) -> None:
        super().__init__(lock, status)
        self.lock = lock
        self.status = status

    def __str__(self) -> str:
        return f"held: {self.status}"


class Refuses(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("no")


@shared
def test_an_error_arrives_without_what_does_not_pickle_of_it() -> None:
    @ray.remote
    def fail() -> None:
        raise Locked(threading.Lock(), 503)

    with pytest.raises(Locked, match="held: 503") as found:
        ray.get(fail.remote(), timeout=PATIENCE)
    assert isinstance(found.value, RayTaskError)
    assert found.value.status == 503
    assert type(found.value.cause) is Locked
    assert repr(found.value.cause.lock) == "<not sent: _thread.lock (cannot pickle '_thread.lock' object)>"


@shared
def test_an_error_that_does_not_pickle_says_so() -> None:
    @ray.remote
    def fail() -> None:
        raise Refuses("held")

    with pytest.raises(RayTaskError, match="held") as found:
        ray.get(fail.remote(), timeout=PATIENCE)
    assert "Refuses isn't serializable" in str(found.value.cause)
