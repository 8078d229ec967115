"""Faults: killed workers, a killed runtime, an interrupted driver, sessions that follow each other."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray import config, exceptions
from jupyter_ray.engine import registry
from jupyter_ray.events import LogLines, RuntimeReady
from jupyter_ray.local.protocol.names import is_spare
from tests.contract.helpers import PATIENCE, Log, eventually, is_running

pytestmark = pytest.mark.usefixtures("no_leaks_after_test")

MIB = 1024**2


def test_a_killed_worker_is_noticed(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=2)
    path = tmp_path / "pid"

    @ray.remote(max_retries=0)
    def sleep() -> None:
        path.with_suffix(".new").write_text(str(os.getpid()))
        path.with_suffix(".new").rename(path)
        time.sleep(1000)

    ref = sleep.remote()
    eventually(path.exists)
    os.kill(int(path.read_text()), signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(exceptions.WorkerCrashedError):
        ray.get(ref, timeout=30)
    assert time.monotonic() - began < 5  # 1 on a machine of one's own.


def test_a_killed_worker_is_replaced(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=2)

    @ray.remote(max_retries=2)
    def fragile() -> int:
        attempts = len(list(tmp_path.iterdir()))
        (tmp_path / str(attempts)).touch()
        if attempts < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return attempts

    assert ray.get(fragile.remote(), timeout=30) == 2
    for each in tmp_path.iterdir():
        each.unlink()
    with pytest.raises(exceptions.WorkerCrashedError):
        ray.get(fragile.options(max_retries=1).remote(), timeout=30)


def test_an_exit_of_the_process_is_a_crash(start: Callable[..., Any]) -> None:
    start(num_cpus=2)

    @ray.remote(max_retries=0)
    def leave() -> None:
        os._exit(3)

    @ray.remote
    def fine() -> int:
        return 1

    with pytest.raises(exceptions.WorkerCrashedError):
        ray.get(leave.remote(), timeout=30)
    assert ray.get(fine.remote(), timeout=30) == 1


def test_a_killed_actor(start: Callable[..., Any]) -> None:
    start(num_cpus=2)

    @ray.remote
    class Actor:
        def pid(self) -> int:
            return os.getpid()

        def sleep(self) -> None:
            time.sleep(1000)

    actor = Actor.remote()
    pid = ray.get(actor.pid.remote())
    ref = actor.sleep.remote()
    os.kill(pid, signal.SIGKILL)
    for each in (ref, actor.pid.remote()):
        with pytest.raises(exceptions.ActorDiedError):
            ray.get(each, timeout=30)


@pytest.mark.local_only("the store belongs to the nodes, and its size was set when they were started")
@pytest.mark.parametrize("again", [False, True], ids=["a new file", "a file that is used again"])
def test_a_worker_that_is_killed_while_it_writes_a_value(
    start: Callable[..., Any], tmp_path: Path, again: bool
) -> None:
    start(num_cpus=1, object_store_memory=64 * MIB)
    engine = registry.current()
    assert engine is not None
    memory = config.shared_memory_folder(engine.process.session)
    once = tmp_path / "once"

    @ray.remote(max_retries=1)
    def make(dies: bool) -> Any:
        value = np.full(8 * MIB, 7, dtype=np.uint8)
        if dies and not once.exists():
            from jupyter_ray.local.store.mapping import Mapping

            write, copy = os.pwrite, Mapping.write

            def die(begin: Callable[[], object]) -> None:
                begin()
                once.write_text(str(len([each for each in memory.iterdir() if each.stat().st_size])))
                os.kill(os.getpid(), signal.SIGKILL)

            def write_half(descriptor: int, view: memoryview, position: int) -> int:
                if len(view) > MIB:
                    die(lambda: write(descriptor, view[: len(view) // 2], position))
                return write(descriptor, view, position)

            def copy_half(self: Mapping, part: memoryview, start: int) -> None:
                if len(part) > MIB:
                    die(lambda: copy(self, part[: len(part) // 2], start))
                copy(self, part, start)

            os.pwrite = write_half  # type: ignore[assignment]
            Mapping.write = copy_half  # type: ignore[assignment, method-assign]
        return value

    if again:
        ray.get(make.remote(False))
        eventually(lambda: any(is_spare(each.name) for each in memory.iterdir()))
    assert int(ray.get(make.remote(True), timeout=PATIENCE)[-1]) == 7
    assert once.read_text() == "1", "it was killed after the file had been begun"
    eventually(lambda: not [each for each in memory.iterdir() if not is_spare(each.name)])
    ref = ray.put(np.zeros(63 * MIB, dtype=np.uint8))  # The room that it had been promised is free.
    assert ray.get(ref)[-1] == 0


@pytest.mark.local_only("there is no runtime process of this session's own")
def test_a_killed_runtime(start: Callable[..., Any]) -> None:
    start(num_cpus=2)

    @ray.remote
    def sleep() -> None:
        time.sleep(1000)

    with Log() as log:
        [ready] = eventually(lambda: log.find(RuntimeReady))
        assert ready.pid > 1
        ref = sleep.remote()
        kept = ray.put(1)
        family = [each.pid for each in psutil.Process(ready.pid).children(recursive=True)]
        engine = registry.current()
        assert engine is not None
        session = engine.process.session
        folders = [config.session_folder(session), config.shared_memory_folder(session)]
        assert all(folder.exists() for folder in folders)
        os.kill(ready.pid, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(exceptions.RaySystemError, match=r"init\(\)"):
            ray.get(ref, timeout=30)
        assert time.monotonic() - began < 5  # 1 on a machine of one's own.
    eventually(lambda: not any(map(is_running, [ready.pid, *family])))
    eventually(lambda: not any(folder.exists() for folder in folders))
    assert ray.get(kept) == 1  # It is in this process too.
    for use in (lambda: sleep.remote(), lambda: ray.put(2), lambda: ray.wait([ref])):
        with pytest.raises(exceptions.RaySystemError, match=r"init\(\)"):
            use()
    start(num_cpus=2)
    assert ray.get(ray.put(2)) == 2


@pytest.mark.local_only("there is no runtime process of this session's own")
def test_shutdown_does_not_wait_for_a_runtime_that_is_stopped(start: Callable[..., Any]) -> None:
    """It reads nothing, and a thread that calls holds the connection."""
    start(num_cpus=1)

    @ray.remote
    def f(value: bytes) -> int:
        return len(value)

    assert ray.get(f.remote(b"")) == 0
    with Log() as log:
        [ready] = eventually(lambda: log.find(RuntimeReady))
    family = [ready.pid, *(each.pid for each in psutil.Process(ready.pid).children(recursive=True))]
    os.kill(ready.pid, signal.SIGSTOP)
    calls: list[Any] = []

    def flood() -> None:
        with contextlib.suppress(exceptions.RaySystemError):
            while True:
                calls.append(f.remote(bytes(1000)))

    flooding = threading.Thread(target=flood)
    flooding.start()

    def stuck() -> bool:
        before = len(calls)
        time.sleep(0.1)
        return len(calls) == before > 0

    eventually(stuck)
    began = time.monotonic()
    ray.shutdown()
    assert time.monotonic() - began < config.SHUTDOWN_SECONDS + 10  # 5.2 in all on a machine of one's own.
    flooding.join(PATIENCE)
    assert not flooding.is_alive()
    eventually(lambda: not any(map(is_running, family)))


@pytest.mark.local_only("there is no runtime process of this session's own")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose children lost their parents")
@pytest.mark.parametrize("fault", ["", "worker", "template", "runtime"])
def test_what_a_task_started_does_not_outlive_the_session(
    start: Callable[..., Any], tmp_path: Path, fault: str
) -> None:
    start(num_cpus=2)

    @ray.remote(max_retries=0)
    def begin(path: Path) -> None:
        near = subprocess.Popen(["sleep", "1000"])
        far = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        daemons = "for how in '' setsid; do $how sleep 1000 > /dev/null & echo $!; done"
        orphans = subprocess.run(daemons, shell=True, stdout=subprocess.PIPE, check=True).stdout.decode().split()
        (path / "half").write_text(json.dumps([os.getpid(), near.pid, far.pid, *map(int, orphans)]))
        (path / "half").rename(path / "pids")
        time.sleep(1000)

    ref = begin.remote(tmp_path)
    eventually((tmp_path / "pids").exists)
    worker, *started = json.loads((tmp_path / "pids").read_text())
    assert all(map(is_running, started))
    template = psutil.Process(worker).parent()
    assert template is not None
    if fault:
        os.kill({"worker": worker, "template": template.pid, "runtime": template.ppid()}[fault], signal.SIGKILL)
        with pytest.raises(exceptions.RayError):
            ray.get(ref, timeout=30)
    ray.shutdown()
    if fault == "runtime":  # Its template has to do it.
        eventually(lambda: not any(map(psutil.pid_exists, started)))
    assert not any(map(psutil.pid_exists, started))


def test_sessions_follow_each_other(start: Callable[..., Any]) -> None:
    @ray.remote
    def pid() -> int:
        return os.getpid()

    @ray.remote
    class Actor:
        def pid(self) -> int:
            return os.getpid()

    pids = set()
    for _ in range(2):
        start(num_cpus=1)
        actor = Actor.remote()
        pids |= {ray.get(pid.remote()), ray.get(actor.pid.remote())}
        ray.shutdown()
        assert not ray.is_initialized()
    assert len(pids) == 4
    eventually(lambda: not any(map(is_running, pids)))
    start(num_cpus=1)
    with pytest.raises(exceptions.RayError):
        ray.get(actor.pid.remote(), timeout=30)


def run(program: str, *args: str, **options: Any) -> subprocess.Popen[str]:
    """Start a driver of its own, in a process group of its own, as a kernel is."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def test_an_interrupt_during_get_leaves_everything_alive(tmp_path: Path) -> None:
    driver = run(
        """
        import os, pathlib, signal, sys, threading, time, traceback
        signal.signal(signal.SIGINT, signal.default_int_handler)
        import jupyter_ray as ray
        ray.init(num_cpus=2)
        gate = pathlib.Path(sys.argv[1])

        @ray.remote
        def slow():
            while not gate.exists():
                time.sleep(0.01)
            return os.getpid()

        @ray.remote
        class Counter:
            def __init__(self):
                self.value = 0
            def inc(self):
                self.value += 1
                return self.value

        counter = Counter.remote()
        ray.get(counter.inc.remote())
        ref = slow.remote()

        def tell():  # When the main thread waits in `get`.
            main = threading.main_thread().ident
            while not any(f.name == "get" for f in traceback.extract_stack(sys._current_frames()[main])):
                time.sleep(0.01)
            print("blocked", flush=True)

        try:
            threading.Thread(target=tell).start()
            ray.get(ref)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert ray.get(counter.inc.remote()) == 2
        gate.touch()
        ray.get(ref)
        print("done", flush=True)
        """,
        str(tmp_path / "gate"),
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "blocked\n"
    os.killpg(driver.pid, signal.SIGINT)
    began = time.monotonic()
    assert driver.stdout.readline() == "interrupted\n"
    assert time.monotonic() - began < 3  # 0.2 on a machine of one's own.
    assert driver.stderr is not None
    with driver:  # `communicate` loses what came with the line read before.
        out, err = driver.stdout.read(), driver.stderr.read()
    assert out == "done\n", err
    assert driver.returncode == 0, err


def test_nothing_outlives_a_killed_driver() -> None:
    driver = run(
        """
        import os, time
        import jupyter_ray as ray
        ray.init(num_cpus=2)

        @ray.remote
        def sleep():
            time.sleep(1000)

        @ray.remote
        class Actor:
            def pid(self):
                return os.getpid()

        actor = Actor.remote()
        refs = [sleep.remote() for _ in range(2)]
        print(ray.get(actor.pid.remote()), flush=True)
        time.sleep(1000)
        """
    )
    assert driver.stdout is not None
    pid = int(driver.stdout.readline())
    driver.kill()
    driver.communicate()
    eventually(lambda: not is_running(pid), limit=10)  # The leak check of the module looks for the rest.


def test_a_script_prints_what_tasks_print_and_leaves_in_peace() -> None:
    driver = run(
        """
        import sys
        import jupyter_ray as ray

        @ray.remote
        def speak(n):
            print("said", n)
            print("complained", n, file=sys.stderr)
            return n

        assert ray.get([speak.remote(word) for word in ("a", "b", "c")]) == ["a", "b", "c"]
        """
    )
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 0, err
    for n in ("a", "b", "c"):  # Words: lines that differ in numbers alone would be folded.
        assert f") said {n}\n" in out
        assert f") complained {n}\n" in err
    assert "(speak pid=" in out
    assert "Traceback" not in err


@pytest.mark.local_only("Ray starts threads of its own there too")
@pytest.mark.parametrize("stopped", [False, True])
def test_a_script_that_still_works_while_it_exits(stopped: bool) -> None:
    """Python 3.12 starts no threads any more then; other versions are made to do the same."""
    driver = run(
        """
        import atexit, os, signal, sys, threading, time
        import numpy as np
        import psutil
        import jupyter_ray as ray

        @ray.remote
        def size(value):
            time.sleep(0.3)  # So long that a thread would wait for the answer.
            return value.nbytes

        def refuse(thread):
            raise RuntimeError("can't create new thread at interpreter shutdown")

        def late():
            threading.Thread.start = refuse
            print([ray.get(size.remote(np.ones(n))) for n in (1, 2, 3, 4, 1_000_000)])
            print(size.remote(np.ones(5)).future().result())
            if sys.argv[1] == "True":
                [runtime] = psutil.Process().children()
                runtime.suspend()

        ray.init(num_cpus=1)
        atexit.register(late)
        """,
        str(stopped),
    )
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 0, err
    assert out == "[8, 16, 24, 32, 8000000]\n40\n"
    assert "Traceback" not in err


@pytest.mark.local_only("each node's own memory monitor decides, by the memory of that node")
def test_the_share_of_memory_that_may_be_in_use_is_chosen_at_init(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    @ray.remote(max_retries=0)
    def wait(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    with pytest.raises(ValueError, match="memory_usage_threshold"):
        start(_system_config={"memory_usage_threshold": 1.5})
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.0001")
    start(num_cpus=1)
    with pytest.raises(exceptions.OutOfMemoryError):
        ray.get(wait.remote(10 * PATIENCE), timeout=PATIENCE)  # Till it is ended, however late the guard looks.
    ray.shutdown()
    start(num_cpus=1, _system_config={"memory_monitor_refresh_ms": 0})
    assert ray.get(wait.remote(1), timeout=PATIENCE) == 1, "the guard would look four times meanwhile"


@pytest.mark.local_only("each node's own memory monitor decides, by the memory of that node")
def test_a_task_that_exhausts_memory_is_ended_and_says_so(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RAY_WORKER_MEMORY", str(300 * 1024**2))
    start(num_cpus=2)

    @ray.remote(max_retries=0)
    def greedy() -> None:
        hoard = []
        while True:
            hoard.append(bytearray(8 * 1024**2))
            time.sleep(0.005)

    @ray.remote
    def modest() -> int:
        return 1

    task = greedy.remote()
    with pytest.raises(exceptions.OutOfMemoryError, match="greedy"):
        ray.get(task, timeout=PATIENCE)
    assert ray.get(modest.remote(), timeout=PATIENCE) == 1


@pytest.mark.local_only("each node's own memory monitor decides, by the memory of that node")
def test_when_memory_runs_out_the_newest_goes_and_an_actor_s_calls_say_so(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RAY_WORKER_MEMORY", str(400 * 1024**2))
    start(num_cpus=2, _system_config={"task_oom_retries": 0})

    @ray.remote
    class Hoard:
        def __init__(self) -> None:
            self.kept: list[bytearray] = []

        def keep(self, mib: int) -> int:
            for _ in range(mib):
                self.kept.append(bytearray(1024**2))
                self.kept[-1][::4096] = bytes(256)
            return len(self.kept)

    @ray.remote(max_retries=-1)
    def keep(mib: int) -> None:
        kept = [bytearray(b"x") * 1024**2 for _ in range(mib)]
        time.sleep(10 * PATIENCE)
        del kept

    hoard = Hoard.remote()
    assert ray.get(hoard.keep.remote(250), timeout=PATIENCE) == 250
    with pytest.raises(exceptions.OutOfMemoryError, match="keep"):
        ray.get(keep.remote(200), timeout=PATIENCE)
    assert ray.get(hoard.keep.remote(1), timeout=PATIENCE) == 251, "the actor has more, but is older"
    ended = [each for each in ray.util.state.list_workers(detail=True) if each.exit_type == "NODE_OUT_OF_MEMORY"]
    assert "running low on memory" in str(ended[0].exit_detail)
    with Log() as log:
        lines = eventually(lambda: log.find(LogLines, name="jupyter_ray", stream="stderr"))
    assert f"Process {ended[0].pid} (keep) was ended: the machine was running low on memory" in lines[0].text
    with pytest.raises(exceptions.OutOfMemoryError, match="Hoard"):
        ray.get(hoard.keep.remote(10_000), timeout=PATIENCE)


def test_a_driver_that_only_warmed_up_and_is_killed_leaves_nothing(tmp_path: Path) -> None:
    program = """
        import sys, time
        from jupyter_ray.api import session
        session.warm_up()
        print("warm", flush=True)
        time.sleep(1000)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "warm\n"
        eventually(lambda: len(psutil.Process(driver.pid).children(recursive=True)) >= 2)
        family = [each.pid for each in psutil.Process(driver.pid).children(recursive=True)]
        driver.kill()
    eventually(lambda: not any(is_running(pid) for pid in family))
