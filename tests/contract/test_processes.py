"""What a session consists of: few processes, no network, folders that only their owner can read."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray import config
from jupyter_ray.engine import registry
from jupyter_ray.events import LogLines
from jupyter_ray.exceptions import RaySystemError
from tests.contract.helpers import PATIENCE, Log, eventually, is_running
from tests.leaks import HELPERS


@pytest.fixture
def session() -> Iterator[str]:
    ray.init(num_cpus=2)
    engine = registry.current()
    assert engine is not None
    yield engine.process.session
    ray.shutdown()


def _family() -> list[psutil.Process]:
    """Return this process's descendants, without the helper of Python that an earlier test has started."""
    alive = [each for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]
    return [each for each in alive if not any(helper in " ".join(each.cmdline()) for helper in HELPERS)]


def test_a_session_is_a_runtime_a_template_and_its_workers(session: str) -> None:
    @ray.remote
    def pid() -> int:
        return os.getpid()

    ray.get([pid.remote() for _ in range(50)])
    assert len(_family()) == 4, [each.cmdline() for each in _family()]


def test_a_template_that_is_killed_is_replaced(session: str) -> None:
    @ray.remote
    def family() -> tuple[int, int]:
        return os.getpid(), os.getppid()

    worker, template = ray.get(family.remote())
    psutil.Process(template).kill()
    eventually(lambda: not is_running(worker))
    assert ray.get(family.remote(), timeout=60)[1] != template


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no worker is tied to its template")
def test_a_worker_that_the_runtime_lets_go_leaves_the_session_s_folders(session: str) -> None:
    class Stubborn:
        def stay(self) -> tuple[int, int]:
            ctypes.CDLL(None).prctl(1, 0)  # It does not die with the template,
            os.setpgid(0, os.getpgid(os.getppid()))  # nor with the group that it led.
            return os.getpid(), os.getppid()

    @ray.remote
    def pid() -> int:
        return os.getpid()

    actor: Any = ray.remote(Stubborn).remote()
    worker, template = ray.get(actor.stay.remote())
    psutil.Process(template).kill()
    eventually(lambda: not is_running(worker))
    assert config.session_folder(session).is_dir()
    assert ray.get(pid.remote(), timeout=PATIENCE) != worker


def test_nothing_listens_on_the_network() -> None:
    def ports() -> set[object]:
        return {each.laddr for each in psutil.Process().net_connections(kind="inet")}

    class Actor:
        def size(self, data: bytes) -> int:
            return len(data)

    before = ports()
    ray.init(num_cpus=2)
    try:
        actor: Any = ray.remote(Actor).remote()
        assert ray.get(actor.size.remote(bytes(2_000_000))) == 2_000_000
        ray.get(ray.remote(os.getpid).remote())
        assert ports() == before
        assert len(_family()) >= 4
        for process in _family():
            assert not process.net_connections(kind="inet"), process.cmdline()
    finally:
        ray.shutdown()


def test_the_folders_are_private(session: str) -> None:
    for folder in (config.session_folder(session), config.shared_memory_folder(session)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_ps_shows_what_a_process_runs(session: str) -> None:
    @ray.remote
    def title() -> str:
        return str(psutil.Process().cmdline()[0])

    @ray.remote
    class Actor:
        def title(self) -> str:
            return str(title._function())

        def pid(self) -> int:
            return os.getpid()

    assert ray.get(title.remote()) == "ray::title"
    assert ray.get(title.options(name="other").remote()) == "ray::other"
    for options in ({}, {"max_concurrency": 2}):
        actor: Any = Actor.options(**options).remote()  # type: ignore[attr-defined]
        assert ray.get(actor.title.remote()) == "ray::Actor.title"
        assert ray.get(actor.title.options(name="its own").remote()) == "ray::its own"
        process = psutil.Process(ray.get(actor.pid.remote()))
        assert process.cmdline()[0] == "ray::Actor"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux tells it")
def test_the_threads_of_an_actor_keep_their_names(session: str) -> None:
    @ray.remote
    class Actor:
        def names(self) -> list[str]:
            return sorted(file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm"))

        def add(self, one: int, two: int) -> int:
            return one + two

    actor: Any = Actor.options(max_concurrency=2).remote()  # type: ignore[attr-defined]
    names = ray.get(actor.names.remote())
    assert {"actor_0", "actor_1"} < set(names)
    assert ray.get([actor.add.remote(number, 1) for number in range(20)]) == list(range(1, 21))
    assert ray.get(actor.names.remote()) == names


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="Linux tells it, and others have none")
@pytest.mark.parametrize(("said", "niceness"), [("5", 5), ("much", 0)])
def test_the_niceness_of_workers_can_be_set(monkeypatch: pytest.MonkeyPatch, said: str, niceness: int) -> None:
    monkeypatch.setenv("RAY_worker_niceness", said)
    before = os.nice(0)
    with ray.init(num_cpus=1):
        assert ray.get(ray.remote(os.nice).remote(0)) == min(before + niceness, 19)


def test_a_task_may_use_multiprocess_as_any_program_does(session: str) -> None:
    @ray.remote
    def f() -> list[int]:
        import multiprocess

        with multiprocess.get_context("fork").Pool(1) as pool:
            result: list[int] = pool.map(lambda x: x + 1, [1, 2])
            return result

    assert ray.get(f.remote()) == [2, 3]


def test_tasks_use_the_managers_of_the_program_and_so_do_the_processes_that_they_start(session: str) -> None:
    with multiprocessing.Manager() as manager:
        counts, told = manager.dict(), manager.Queue()

        @ray.remote
        def count(counts: Any, name: str) -> Any:
            counts[name] = counts.get(name, 0) + 1
            told.put(name)
            return counts

        @ray.remote
        def in_processes() -> None:
            def tell(counts: Any) -> None:
                counts["child"] = 1
                told.put("child")

            tell.__module__ = "__main__"  # As of what a notebook defines.
            with multiprocessing.get_context("fork").Pool(1) as pool:
                pool.apply_async(tell, (counts,)).get(timeout=PATIENCE)

        back = ray.get(count.remote(counts, "task"), timeout=60)
        ray.get(count.remote(back, "task"), timeout=60)
        ray.get(in_processes.remote(), timeout=60)
        assert dict(counts) == {"task": 2, "child": 1}
        assert [told.get(timeout=PATIENCE) for _ in range(3)] == ["task", "task", "child"]


def test_the_kernel_ends_workers_first_when_memory_runs_out(session: str) -> None:
    @ray.remote
    def adjusted() -> int:
        return int(Path("/proc/self/oom_score_adj").read_text())

    assert ray.get(adjusted.remote()) == 1000
    assert int(Path("/proc/self/oom_score_adj").read_text()) < 1000


def test_a_process_that_a_task_forks_has_no_session_and_leaves_that_of_the_task_alone(session: str) -> None:
    @ray.remote
    def echo(value: Any) -> Any:
        return value

    @ray.remote
    def fork() -> tuple[str, int]:
        print("the task's line")

        def child(answers: Any) -> None:
            print("the child's line")
            try:
                answers.put(ray.get(echo.remote("another's answer")))
            except RaySystemError as error:
                answers.put(str(error))

        forking: Any = multiprocessing.get_context("fork")
        answers = forking.Queue()
        process = forking.Process(target=child, args=(answers,))
        process.start()
        told = answers.get(timeout=PATIENCE)
        process.join(PATIENCE)
        return told, ray.get(echo.remote(5))

    with Log() as log:
        told, own = ray.get(fork.remote(), timeout=PATIENCE)
        assert "forked from a worker" in told
        assert own == 5

        def lines() -> list[str]:
            return "".join(event.text for event in log.find(LogLines)).splitlines()  # One may come in pieces.

        eventually(lambda: sorted(lines()) == ["the child's line", "the task's line"])


@pytest.mark.parametrize(("code", "ends"), [(3, 3), (None, 0)])
def test_a_forked_process_that_comes_to_the_end_of_its_task_ends(session: str, code: int | None, ends: int) -> None:
    @ray.remote(max_retries=0)
    def fork() -> int:
        pid = os.fork()
        if pid == 0 and code is not None:
            sys.exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if pid else -1

    assert ray.get(fork.remote(), timeout=PATIENCE) == ends
    assert ray.get(fork.remote(), timeout=PATIENCE) == ends


def test_a_task_ends_by_a_hangup_as_any_program_does(session: str) -> None:
    @ray.remote
    def handler() -> bool:
        return signal.getsignal(signal.SIGHUP) is signal.SIG_DFL

    assert ray.get(handler.remote(), timeout=PATIENCE)


def test_the_first_digits_tell_processes_apart(session: str) -> None:
    @ray.remote(num_cpus=0)
    class Keeper:
        def worker(self) -> str:
            return ray.get_runtime_context().get_worker_id()

    keepers: list[Any] = [Keeper.remote() for _ in range(8)]  # type: ignore[attr-defined]
    found = [*ray.get([each.worker.remote() for each in keepers]), ray.get_runtime_context().get_worker_id()]
    assert len({each[:8] for each in found}) == 9
    assert {len(each) for each in found} == {56}
