"""A worker that somebody stopped (SIGSTOP): the others go on, it is told, and every way to end it works."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.events import LogLines, RuntimeReady
from tests.contract.helpers import PATIENCE, Log, eventually, is_running

pytestmark = pytest.mark.usefixtures("no_leaks_after_test")


@ray.remote
def hold(path: str) -> str:
    """Tell the process, and wait until it may go on."""
    told = Path(path)
    told.with_suffix(".new").write_text(str(os.getpid()))
    told.with_suffix(".new").rename(told)
    while not told.with_suffix(".go").exists():
        time.sleep(0.01)
    return "went on"


@ray.remote
def quick(number: int) -> int:
    return number


class _Actor:
    def pid(self) -> int:
        return os.getpid()

    def count(self, *values: bytes) -> int:
        return len(values)


Actor: Any = ray.remote(_Actor)


NOT_TOLD = pytest.mark.local_only("Ray does not notice that a process is stopped")


@pytest.fixture
def stop() -> Iterator[Callable[[int], None]]:
    """Stop a process; at the end, let it go on if it is still there."""
    stopped: list[int] = []

    def stop(pid: int) -> None:
        stopped.append(pid)
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)

    yield stop
    for pid in stopped:
        if is_running(pid):
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def held(start: Callable[..., Any], tmp_path: Path, stop: Callable[[int], None]) -> tuple[Any, int, Path]:
    """A task whose process is stopped, in a session of two CPUs."""
    start(num_cpus=2)
    path = tmp_path / "pid"
    ref = hold.remote(str(path))
    eventually(path.exists)
    pid = int(path.read_text())
    stop(pid)
    return ref, pid, path.with_suffix(".go")


def test_others_go_on_and_so_does_it(held: tuple[Any, int, Path]) -> None:
    ref, pid, go = held
    assert ray.get([quick.remote(number) for number in range(200)], timeout=PATIENCE) == list(range(200))
    assert ray.wait([ref], timeout=0)[0] == []
    os.kill(pid, signal.SIGCONT)
    go.touch()
    assert ray.get(ref, timeout=PATIENCE) == "went on"


@NOT_TOLD
def test_it_is_told_and_why_says_it(held: tuple[Any, int, Path]) -> None:
    ref, pid, _ = held
    assert f"Process {pid} is stopped (SIGSTOP): `kill -CONT {pid}` lets it go on." in ray.why(ref)
    with Log() as log:
        lines = eventually(lambda: log.find(LogLines, pid=pid, stream="stderr"))
    assert [each.text for each in lines] == [
        f"Process {pid} is stopped (SIGSTOP): hold does not go on before `kill -CONT {pid}`.\n"
    ]
    os.kill(pid, signal.SIGCONT)
    assert "is stopped" not in eventually(lambda: "" if "is stopped" in (text := ray.why(ref)) else text)


def test_cancel_with_force_ends_it(held: tuple[Any, int, Path]) -> None:
    ref, pid, _ = held
    ray.cancel(ref, force=True)
    with pytest.raises((exceptions.TaskCancelledError, exceptions.WorkerCrashedError)):
        ray.get(ref, timeout=PATIENCE)
    eventually(lambda: not is_running(pid))


@NOT_TOLD
def test_a_soft_cancel_is_heard_when_it_goes_on(held: tuple[Any, int, Path]) -> None:
    ref, pid, _ = held
    ray.cancel(ref)
    assert "A cancel of hold" in ray.why(ref)
    os.kill(pid, signal.SIGCONT)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(ref, timeout=PATIENCE)


def test_shutdown_does_not_wait_for_it(held: tuple[Any, int, Path]) -> None:
    _, pid, _ = held
    began = time.monotonic()
    ray.shutdown()
    assert time.monotonic() - began < 5  # Half a second on a machine of one's own.
    eventually(lambda: not is_running(pid))


@NOT_TOLD
def test_a_stopped_actor_is_told(start: Callable[..., Any], stop: Callable[[int], None]) -> None:
    start(num_cpus=2)
    actor = Actor.remote()
    pid = ray.get(actor.pid.remote())
    stop(pid)
    ref = actor.pid.remote()
    assert f"Process {pid} is stopped" in ray.why(actor)
    assert f"Process {pid} is stopped" in eventually(lambda: text if str(pid) in (text := ray.why(ref)) else "")


def test_kill_ends_a_stopped_actor(start: Callable[..., Any], stop: Callable[[int], None]) -> None:
    start(num_cpus=2)
    actor = Actor.remote()
    pid = ray.get(actor.pid.remote())
    stop(pid)
    ref = actor.pid.remote()
    assert ray.get(quick.remote(1), timeout=PATIENCE) == 1
    ray.kill(actor)
    with pytest.raises(exceptions.ActorDiedError):
        ray.get(ref, timeout=PATIENCE)
    eventually(lambda: not is_running(pid))


@NOT_TOLD
def test_the_process_that_makes_workers_is_told_too(start: Callable[..., Any], stop: Callable[[int], None]) -> None:
    start(num_cpus=1)
    first = Actor.remote()
    template = psutil.Process(ray.get(first.pid.remote())).parent()
    assert template is not None
    stop(template.pid)
    refs = [Actor.remote().pid.remote() for _ in range(3)]  # The first of them may find a process that is there.
    said = f"Process {template.pid}, which starts the workers, is stopped (SIGSTOP): `kill -CONT {template.pid}` lets"
    eventually(lambda: said in ray.why(refs[-1]))
    with Log() as log:
        eventually(lambda: any(said in each.text for each in log.find(LogLines, stream="stderr")))
    os.kill(template.pid, signal.SIGCONT)
    assert len(set(ray.get(refs, timeout=PATIENCE))) == 3
    assert "starts the workers" not in ray.why(refs[-1])


@pytest.mark.local_only("there is no runtime process of this session's own")
def test_who_waits_hears_that_the_runtime_is_stopped(
    start: Callable[..., Any], stop: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    start(num_cpus=1)
    with Log() as log:
        [ready] = eventually(lambda: log.find(RuntimeReady))
    assert ray.get(quick.remote(0)) == 0
    stop(ready.pid)
    said = f"The runtime, process {ready.pid}, is stopped (SIGSTOP): `kill -CONT {ready.pid}` lets it go on."

    def go_on_when_told() -> None:
        try:
            eventually(lambda: said in caplog.text)
        finally:
            os.kill(ready.pid, signal.SIGCONT)

    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(go_on_when_told)
        assert ray.get(quick.remote(5)) == 5
        told.result()
    assert caplog.text.count(said) == 1


@pytest.mark.local_only("there is no runtime process of this session's own")
def test_a_wait_has_its_end_where_the_runtime_is_stopped(
    start: Callable[..., Any], stop: Callable[[int], None], tmp_path: Path
) -> None:
    start(num_cpus=2)
    with Log() as log:
        [ready] = eventually(lambda: log.find(RuntimeReady))
    there, told = ray.put(1), tmp_path / "told"
    never = hold.remote(str(tmp_path / "pid"))

    @ray.remote
    def impatient(refs: list[Any]) -> None:
        told.touch()
        try:
            ray.get(refs[0], timeout=2)
        except exceptions.GetTimeoutError:
            told.write_text("late")

    inside = impatient.remote([never])
    eventually(told.exists)
    stop(ready.pid)
    for timeout in (0, 1):
        began = time.monotonic()
        with pytest.raises(exceptions.GetTimeoutError, match="1 of 1"):
            ray.get([there, never], timeout=timeout)
        assert ray.wait([never], timeout=timeout) == ([], [never])
        with ThreadPoolExecutor(3) as pool:
            for waits in [pool.submit(ray.get, never, timeout=timeout) for _ in range(3)]:
                with pytest.raises(exceptions.GetTimeoutError):
                    waits.result()
        assert time.monotonic() - began < 8, "three waits of a second and some looks each"
    eventually(lambda: told.read_text() == "late")
    os.kill(ready.pid, signal.SIGCONT)
    assert ray.get([quick.remote(1), inside], timeout=PATIENCE) == [1, None]
    (tmp_path / "pid.go").touch()
    assert ray.get(never, timeout=PATIENCE) == "went on"


@NOT_TOLD
def test_a_call_by_turns_with_more_than_a_socket_holds(start: Callable[..., Any], stop: Callable[[int], None]) -> None:
    """What calls and waits by turns writes to the worker's own socket, which nobody reads now."""
    start(num_cpus=2)
    actor = Actor.remote()
    pid = ray.get(actor.pid.remote())
    refs = [ray.put(bytes(90_000)) for _ in range(8)]
    ray.get(refs)  # They are known here, so that a call can bring them along.
    for _ in range(10):
        assert ray.get(actor.count.remote(*refs)) == 8
    stop(pid)
    ref = actor.count.remote(*refs)
    began = time.monotonic()
    with pytest.raises(exceptions.GetTimeoutError):
        ray.get(ref, timeout=2)
    assert time.monotonic() - began < 2 + 5  # 2 on a machine of one's own.
    assert f"Process {pid} is stopped" in ray.why(ref)
    os.kill(pid, signal.SIGCONT)
    assert ray.get(ref, timeout=PATIENCE) == 8


@NOT_TOLD
def test_calls_that_wait_behind_it_run_elsewhere(
    start: Callable[..., Any], tmp_path: Path, stop: Callable[[int], None]
) -> None:
    """Short tasks are handed over in advance; the one that is stopped runs again, like that of any killed worker."""
    start(num_cpus=1)
    assert ray.get([sometimes.remote("", number) for number in range(50)]) == list(range(50))
    path = tmp_path / "pid"
    refs = [sometimes.remote(str(path) if not number else "", number) for number in range(20)]
    eventually(path.exists)
    pid = int(path.read_text())
    stop(pid)
    assert ray.get(refs, timeout=PATIENCE) == list(range(20))
    eventually(lambda: not is_running(pid))


@ray.remote
def sometimes(path: str, number: int) -> int:
    """Be quick, but for the first time with a path."""
    told = Path(path)
    if path and not told.exists():
        told.write_text(str(os.getpid()))
        while True:
            time.sleep(0.01)
    return number
