"""How actors end and are made again: by their own will, by a signal, with their owner; what their callers are told."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.actor import exit_actor
from jupyter_ray.exceptions import ActorDiedError, ActorUnavailableError, AsyncioActorExit
from jupyter_ray.util.state import list_tasks
from tests.contract.helpers import PATIENCE, eventually, is_running

pytestmark = pytest.mark.usefixtures("cluster")


@ray.remote(num_cpus=0)
class Gate:
    """Those who await `opened` go on when somebody opens it."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._waiting = 0

    async def opened(self) -> None:
        self._waiting += 1
        await self._open.wait()
        self._waiting -= 1

    def open(self, *, close: bool = False) -> None:
        self._open.set()
        if close:
            self._open.clear()

    def waiting(self) -> int:
        return self._waiting


@ray.remote(num_cpus=0)
class Counter:
    def __init__(self, gate: Any = None) -> None:
        if gate is not None:
            ray.get(gate.opened.remote())
        self._count = 0

    def increment(self) -> int:
        self._count += 1
        return self._count

    def pid(self) -> int:
        return os.getpid()

    def leave(self, code: object) -> None:
        sys.exit(code)  # type: ignore[arg-type]

    def make(self) -> Any:
        self._child = Counter.remote()  # type: ignore[attr-defined]
        return [self._child]


def end(actor: Any) -> None:
    pid = ray.get(actor.pid.remote())
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_running(pid))


def test_the_error_says_who_died_and_why() -> None:
    killed: Any = Counter.remote()  # type: ignore[attr-defined]
    ray.kill(killed)
    crashed: Any = Counter.remote()  # type: ignore[attr-defined]
    end(crashed)
    owner: Any = Counter.remote()  # type: ignore[attr-defined]
    orphan = ray.get(owner.make.remote())[0]
    ray.get(orphan.pid.remote())
    end(owner)
    eventually(lambda: ray.util.state.get_actor(orphan._actor_id.hex()).state == "DEAD")  # type: ignore[union-attr]
    for actor, reason in (
        (killed, "it was killed by `ray.kill`"),
        (crashed, "its worker process has died"),
        (orphan, "its owner has died"),
    ):
        with pytest.raises(ActorDiedError, match=f"The actor is dead because {reason}") as caught:
            ray.get(actor.increment.remote())
        assert caught.value.actor_id == actor._actor_id.hex()


def test_sys_exit_with_a_code_is_a_crash() -> None:
    peaceful: Any = Counter.options(max_restarts=1).remote()  # type: ignore[attr-defined]
    with pytest.raises(ActorDiedError, match="exit code 0"):
        ray.get(peaceful.leave.remote(0))
    with pytest.raises(ActorDiedError, match="exit code 0"):
        ray.get(peaceful.increment.remote())
    failing: Any = Counter.options(max_restarts=1).remote()  # type: ignore[attr-defined]
    with pytest.raises(ActorUnavailableError, match="exit code 4"):
        ray.get(failing.leave.remote(4))
    assert ray.get(failing.increment.options(max_task_retries=-1).remote()) == 1
    with pytest.raises(ActorDiedError, match="exit code 4"):
        ray.get(failing.leave.remote(4))


def test_calls_while_the_actor_is_made_again() -> None:
    gate: Any = Gate.remote()  # type: ignore[attr-defined]
    actor: Any = Counter.options(max_restarts=1).remote(gate)  # type: ignore[attr-defined]
    early = actor.increment.remote()  # The first constructor is waited for, whatever the call's retries.
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    ray.get(gate.open.remote(close=True))
    assert ray.get(early) == 1
    end(actor)
    with pytest.raises(ActorUnavailableError):
        ray.get(actor.increment.remote(), timeout=PATIENCE)
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    with pytest.raises(ActorUnavailableError, match="The actor is restarting"):
        ray.get(actor.increment.remote(), timeout=PATIENCE)
    patient = actor.increment.options(max_task_retries=1).remote()
    ray.get(gate.open.remote())
    assert ray.get(patient, timeout=PATIENCE) == 1
    end(actor)
    with pytest.raises(ActorDiedError):
        ray.get(actor.increment.remote(), timeout=PATIENCE)


def test_calls_wait_for_a_constructor_that_crashes_at_first(tmp_path: Path) -> None:
    class Fragile:
        def __init__(self) -> None:
            if not (tmp_path / "tried").exists():
                (tmp_path / "tried").touch()
                os._exit(1)

        def answer(self) -> int:
            return 42

    actor: Any = ray.remote(Fragile).options(max_restarts=2).remote()
    assert ray.get(actor.answer.remote()) == 42


class _Leaver:
    """Writes into its folder what of it runs."""

    def __init__(self, folder: Path, where: str = "") -> None:
        self._folder = folder
        atexit.register(self._mark, "handler")
        if where == "constructor":
            exit_actor()
        if where == "task of the constructor":
            self._task = asyncio.create_task(self._exit_later())

    def _mark(self, name: str) -> None:
        (self._folder / name).touch()

    async def _exit_later(self) -> None:
        await self.exit()

    async def exit(self) -> None:
        leave: Callable[[], object] = exit_actor
        leave()
        self._mark("after")

    async def exit_in_a_task(self) -> None:
        self._task = asyncio.create_task(self._exit_later())

    async def catch(self) -> str:
        try:
            exit_actor()
        except AsyncioActorExit:
            return "still here"

    async def slow(self, gate: Any) -> int:
        await gate.opened.remote()
        return 1


@pytest.mark.parametrize(
    ("where", "method"),
    [("constructor", ""), ("task of the constructor", ""), ("", "exit"), ("", "exit_in_a_task"), ("", "catch")],
)
def test_an_async_actor_exits_from_anywhere(where: str, method: str, tmp_path: Path) -> None:
    actor: Any = ray.remote(_Leaver).options(max_restarts=-1).remote(tmp_path, where)
    if method:
        call = getattr(actor, method).remote()
        if method == "exit_in_a_task":
            ray.wait([call])
        else:
            with pytest.raises(ActorDiedError, match=r"INTENDED_USER_EXIT.*exit_actor\(\)"):
                ray.get(call)
    eventually((tmp_path / "handler").exists)
    with pytest.raises(ActorDiedError, match=r"exit_actor\(\)"):
        ray.get(actor.slow.remote(None))
    assert not (tmp_path / "after").exists()


def test_calls_that_run_are_finished_and_others_not_begun(tmp_path: Path) -> None:
    gate: Any = Gate.remote()  # type: ignore[attr-defined]
    actor: Any = ray.remote(_Leaver).options(max_concurrency=2).remote(tmp_path)
    running = actor.slow.remote(gate)
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    leaving = actor.exit.remote()
    waiting = [actor.slow.remote(gate) for _ in range(5)]
    with pytest.raises(ActorDiedError):
        ray.get(leaving)
    ray.get(gate.open.remote())
    assert ray.get(running) == 1
    for call in waiting:
        with pytest.raises(ActorDiedError, match=r"exit_actor\(\)"):
            ray.get(call)


def test_to_catch_the_exit_does_not_keep_a_plain_actor() -> None:
    class Stubborn:
        def exit(self) -> str:
            try:
                exit_actor()
            except SystemExit:
                return "still here"

        def again(self) -> None: ...

    actor: Any = ray.remote(Stubborn).remote()
    for call in (actor.exit.remote(), actor.again.remote()):
        with pytest.raises(ActorDiedError, match=r"exit_actor\(\)"):
            ray.get(call)


def test_a_decorated_method() -> None:
    def doubled(function: Any) -> Any:
        def run(self: object, left: int, right: int) -> int:
            return int(function(self, left + right))

        def invoke(call: Any) -> Any:
            return lambda args, kwargs: (call([args[0], args[0]], {}), kwargs)

        run.__ray_invocation_decorator__ = invoke  # type: ignore[attr-defined]
        return run

    class Adder:
        @doubled
        def add_one(self, number: int) -> int:
            return number + 1

    actor: Any = ray.remote(Adder).remote()
    ref, kwargs = actor.add_one.remote(3, told=True)
    assert ray.get(ref) == 7
    assert kwargs == {"told": True}


@pytest.mark.local_only("whether an actor is pending depends on the cluster's other nodes")
@pytest.mark.parametrize("max_restarts", [0, 1])
def test_a_pending_actor_that_is_killed_has_used_a_restart(max_restarts: int) -> None:
    holder: Any = Counter.options(num_cpus=4).remote()  # type: ignore[attr-defined]
    ray.get(holder.pid.remote())
    pending: Any = Counter.options(num_cpus=4, max_restarts=max_restarts).remote()  # type: ignore[attr-defined]
    for _ in range(max_restarts):
        ray.kill(pending, no_restart=False)
    assert ray.util.state.get_actor(pending._actor_id.hex()).state == "PENDING_CREATION"  # type: ignore[union-attr]
    early = pending.increment.remote()
    ray.kill(pending, no_restart=False)
    for call in (early, pending.increment.remote()):
        with pytest.raises(ActorDiedError, match=r"ray\.kill"):
            ray.get(call, timeout=PATIENCE)
    assert ray.util.state.get_actor(pending._actor_id.hex()).state == "DEAD"  # type: ignore[union-attr]


@pytest.mark.local_only("Ray makes the actor again at growing intervals of more than a second")
def test_an_actor_that_crashes_as_it_is_made_ends_when_nobody_wants_it() -> None:
    class Fragile:
        def __init__(self) -> None:
            os._exit(1)

    fragile: Any = ray.remote(max_restarts=-1)(Fragile).options(name="fragile").remote()
    actor = fragile._actor_id.hex()
    eventually(lambda: (ray.util.state.get_actor(actor).num_restarts or 0) > 1)  # type: ignore[union-attr]
    assert ray.util.list_named_actors() == ["fragile"]
    del fragile
    eventually(lambda: not ray.util.list_named_actors())
    eventually(lambda: ray.util.state.get_actor(actor).state == "DEAD")  # type: ignore[union-attr]


@pytest.mark.local_only("Ray does so only if its environment variables ask for it")
@pytest.mark.parametrize("how", ["kill", "signal", "last handle"])
def test_what_an_actor_started_ends_with_it(how: str) -> None:
    class Parent:
        def start(self) -> list[int]:
            self._child = subprocess.Popen(["sleep", "1000"])
            return [os.getpid(), self._child.pid]

        def start_apart(self) -> int:
            return subprocess.Popen(["sleep", "1000"], start_new_session=True).pid

    parent: Any = ray.remote(Parent).remote()
    pid, child = ray.get(parent.start.remote())
    apart = ray.get(parent.start_apart.remote())
    try:
        assert is_running(child)
        if how == "kill":
            ray.kill(parent)
        elif how == "signal":
            os.kill(pid, signal.SIGKILL)
        else:
            del parent
        eventually(lambda: not is_running(child))
        assert is_running(apart)  # It has a session of its own: somebody wants it to stay.
    finally:
        os.kill(apart, signal.SIGKILL)


@pytest.mark.local_only("a worker of Ray passes a signal on to what it runs")
@pytest.mark.parametrize("kind", ["async", "threaded"])
def test_sigterm_lets_the_calls_of_a_concurrent_actor_end(kind: str) -> None:
    class Threaded:
        def terminate(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        def wait(self, gate: Any) -> str:
            ray.get(gate.opened.remote())
            return "done"

    class Async:
        def terminate(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        async def wait(self, gate: Any) -> str:
            await gate.opened.remote()
            return "done"

    gate: Any = Gate.remote()  # type: ignore[attr-defined]
    options = {"max_restarts": 1, "max_concurrency": 2}
    actor: Any = ray.remote(**options)(Async if kind == "async" else Threaded).remote()
    running = actor.wait.remote(gate)
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    ray.get(actor.terminate.remote())
    ray.get(gate.open.remote(close=True))
    assert ray.get(running) == "done"
    again = actor.wait.options(max_task_retries=-1).remote(gate)  # It was not the actor's own will: it is made again.
    eventually(lambda: ray.get(gate.waiting.remote()) == 1)
    ray.get(gate.open.remote())
    assert ray.get(again) == "done"


@pytest.mark.local_only("on several machines another CPU is free")
def test_an_actor_is_made_again_while_its_caller_has_the_last_cpu(start: Callable[..., Any]) -> None:
    start(num_cpus=1)

    @ray.remote
    def watch() -> int:
        actor: Any = Counter.options(max_restarts=1).remote()  # type: ignore[attr-defined]
        pid = ray.get(actor.pid.remote())
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ActorUnavailableError):
            ray.get(actor.increment.remote())
        state = ray.util.state.get_actor
        eventually(lambda: state(actor._actor_id.hex()).state == "ALIVE")  # type: ignore[union-attr]
        return int(ray.get(actor.increment.remote()))

    assert ray.get(watch.remote()) == 1


@ray.remote(num_cpus=0)
class Parent:
    """Begins a task that nobody waits for, and ends."""

    def go(self, path: str, how: str) -> None:
        wait_and_write.remote(path)
        while not os.path.exists(f"{path}.begun"):
            pass
        if how == "exit_actor":
            exit_actor()
        elif how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            sys.exit(int(how))


@ray.remote(num_cpus=0, max_retries=0)
def wait_and_write(path: str) -> None:
    Path(f"{path}.half").write_text(str(os.getpid()))
    Path(f"{path}.half").rename(f"{path}.begun")
    while not os.path.exists(f"{path}.go"):
        pass
    Path(path).touch()


@pytest.mark.parametrize("how", ["exit_actor", "0", "1", "killed"])
def test_the_tasks_of_an_actor_that_ends_by_itself_go_on(tmp_path: Path, how: str) -> None:
    path = tmp_path / "written"
    parent: Any = Parent.remote()  # type: ignore[attr-defined]
    with pytest.raises((ActorDiedError, ActorUnavailableError)):
        ray.get(parent.go.remote(str(path), how), timeout=PATIENCE)
    if how == "killed":
        eventually(lambda: not list_tasks(filters=[("name", "=", "wait_and_write"), ("state", "=", "RUNNING")]))
        Path(f"{path}.go").touch()
        assert not path.exists()
    else:
        Path(f"{path}.go").touch()
        eventually(path.exists)


@ray.remote(num_cpus=0)
class Keeper:
    """Holds handles, so that actors do not end for want of them."""

    def keep(self, actors: list[Any]) -> None:
        self._actors = actors

    def ask(self) -> int:
        return int(ray.get(self._actors[0].increment.remote()))


@pytest.mark.parametrize("leave", [sys.exit, os._exit])
def test_what_a_task_started_ends_when_it_ends_its_process(tmp_path: Path, leave: Callable[[int], Any]) -> None:
    @ray.remote(max_retries=0)
    def begin(keeper: Any, path: str) -> None:
        ray.get(keeper.keep.remote([Counter.remote()]))  # type: ignore[attr-defined]
        wait_and_write.remote(path)
        while not os.path.exists(f"{path}.begun"):
            pass
        leave(1)

    keeper: Any = Keeper.remote()  # type: ignore[attr-defined]
    path = tmp_path / "written"
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(begin.remote(keeper, str(path)), timeout=PATIENCE)
    eventually(lambda: not is_running(int(Path(f"{path}.begun").read_text())))
    eventually(lambda: _is_dead(keeper))


def _is_dead(keeper: Any) -> bool:
    try:
        ray.get(keeper.ask.remote())
    except ActorDiedError:
        return True
    return False


@pytest.mark.local_only(
    "a process reports what it has started once a second, and what it has not reported dies with it"
)
def test_a_call_that_an_actor_has_outlives_the_process_that_made_it(start: Callable[..., Any]) -> None:
    start()
    gate: Any = Gate.options(name="gate", lifetime="detached").remote()  # type: ignore[attr-defined]

    @ray.remote(max_retries=0)
    def calls_and_dies(gate: Any) -> None:
        gate.opened.options(name="outlives").remote()
        while not ray.get(gate.waiting.remote()):
            pass
        os._exit(1)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(calls_and_dies.remote(gate))
    rows = ray.util.state.list_tasks
    assert rows(filters=[("name", "=", "outlives")])[0].state == "RUNNING"
    assert ray.get(gate.waiting.remote()) == 1
    ray.kill(gate)
    eventually(lambda: rows(filters=[("name", "=", "outlives")])[0].state == "FAILED")
    row = rows(filters=[("name", "=", "outlives")], detail=True)[0]
    assert row.error_type == "WORKER_DIED"
    assert row.error_message == "The actor is dead because it was killed by `ray.kill`"


@pytest.mark.local_only("on several machines another CPU is free")
def test_an_actor_that_only_garbage_holds_gives_way(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    gc.disable()
    try:
        actor: Any = Counter.options(num_cpus=1).remote()  # type: ignore[attr-defined]
        assert ray.get(actor.increment.remote()) == 1
        cycle = [actor]
        cycle.append(cycle)
        del cycle
        actor = Counter.options(num_cpus=1).remote()  # type: ignore[attr-defined]
        assert ray.get(actor.increment.remote(), timeout=PATIENCE) == 1
    finally:
        gc.enable()


@pytest.mark.local_only("the cluster's own configuration says how long")
def test_an_actor_has_so_long_to_say_farewell(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=1, _system_config={"actor_graceful_shutdown_timeout_ms": 500})

    class Slow:
        def pid(self) -> int:
            return os.getpid()

        def __ray_shutdown__(self) -> None:
            (tmp_path / "begun").touch()
            time.sleep(2 * PATIENCE)

    actor: Any = ray.remote(Slow).remote()
    pid = ray.get(actor.pid.remote())
    del actor
    eventually((tmp_path / "begun").exists)
    eventually(lambda: not is_running(pid), limit=PATIENCE / 2)  # It would have 30 s else.


class Starts:
    """Leaves work to others that has only begun when it ends."""

    def __init__(self, done: Path) -> None:
        self._done = done
        self._leaving = threading.Event()

    def _work(self) -> None:
        self._leaving.wait()
        time.sleep(0.3)  # It takes so long.
        self._done.touch()

    def thread(self) -> int:
        threading.Thread(target=self._work).start()
        return os.getpid()

    def executor(self) -> int:
        concurrent.futures.ThreadPoolExecutor(1).submit(self._work)
        return os.getpid()

    def daemon(self) -> int:
        threading.Thread(target=self._work, daemon=True).start()
        return os.getpid()

    def processes(self) -> int:
        self._executor = concurrent.futures.ProcessPoolExecutor(1)
        assert self._executor.submit(abs, -1).result() == 1
        return os.getpid()

    def __ray_shutdown__(self) -> None:
        self._leaving.set()


@pytest.mark.parametrize("work", ["thread", "executor", "daemon"])
def test_threads_that_are_no_daemons_may_end_what_they_do(work: str, tmp_path: Path) -> None:
    actor: Any = ray.remote(Starts).remote(tmp_path / "done")
    pid = ray.get(getattr(actor, work).remote())
    del actor
    eventually(lambda: not is_running(pid))
    assert (tmp_path / "done").exists() is (work != "daemon")


def test_an_actor_that_leaves_an_executor_of_processes_ends_soon(tmp_path: Path) -> None:
    actor: Any = ray.remote(Starts).remote(tmp_path / "done")
    pid = ray.get(actor.processes.remote())
    del actor
    eventually(lambda: not is_running(pid), limit=PATIENCE / 2)  # It would be killed after 30 s.
