"""Promises of what ends what: cancels, kills, last handles, and what they leave alone."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, TaskCancelledError
from tests.contract.helpers import PATIENCE, eventually, is_running

pytestmark = pytest.mark.usefixtures("cluster")


@ray.remote(num_cpus=0, max_retries=0)
def linger(folder: Path, name: str = "began") -> None:
    """Note that it runs, and how it was ended."""
    try:
        (folder / name).touch()
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        (folder / f"{name} was interrupted").touch()
        raise


def cancelled(ref: Any) -> bool:
    with pytest.raises(TaskCancelledError):
        ray.get(ref, timeout=PATIENCE)
    return True


@pytest.mark.local_only("Ray's soft cancel does nothing in this case")
def test_a_driver_that_ignores_interrupts_can_cancel() -> None:
    program = """
        import signal, sys, time
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # As in a shell's background job.
        import jupyter_ray as ray
        ray.init(num_cpus=1)

        @ray.remote
        def linger():
            while True:
                time.sleep(0.01)

        for _ in range(2):
            ref = linger.remote()
            while not ray.util.state.list_tasks(filters=[("state", "=", "RUNNING")]):
                time.sleep(0.01)
            ray.cancel(ref)
            try:
                ray.get(ref, timeout=30)
            except ray.exceptions.TaskCancelledError:
                print("cancelled", file=sys.stderr)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stderr.count("cancelled") == 2, done.stderr


def test_a_task_may_make_something_else_of_the_interrupt(tmp_path: Path) -> None:
    @ray.remote
    def ends(how: str) -> int:
        try:
            (tmp_path / how).touch()
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            if how == "raises":
                raise ValueError("something else") from None
            return 7

    returns, raises = ends.remote("returns"), ends.remote("raises")
    eventually(lambda: len(list(tmp_path.iterdir())) == 2)
    ray.cancel(returns)
    ray.cancel(raises)
    assert ray.get(returns, timeout=PATIENCE) == 7
    with pytest.raises(ValueError, match="something else"):
        ray.get(raises, timeout=PATIENCE)


def test_whoever_waits_hears_of_a_cancel(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0)
    def cancel(refs: list[Any]) -> None:
        ray.cancel(refs[0])

    @ray.remote(num_cpus=0)
    def use(value: Any) -> None: ...

    async def wait(ref: Any) -> None:
        await ref

    @ray.remote(num_returns=2)
    def two() -> None:
        linger._function(tmp_path, "two")

    ref = linger.remote(tmp_path)
    depends = use.remote(use.remote(ref))
    heard: list[bool] = []
    thread = threading.Thread(target=lambda: heard.append(cancelled(ref)))
    thread.start()
    eventually((tmp_path / "began").exists)
    ray.get(cancel.remote([ref]), timeout=PATIENCE)
    thread.join(PATIENCE)
    assert heard == [True]
    assert cancelled(depends)
    with pytest.raises(TaskCancelledError):
        asyncio.run(wait(ref))
    assert ray.wait([ref], timeout=0)[0] == [ref]
    first, second = two.remote()
    eventually((tmp_path / "two").exists)
    ray.cancel(second)
    assert cancelled(first)
    assert cancelled(second)


@pytest.mark.parametrize("kind", ["plain", "threaded", "looping"])
def test_a_cancelled_call_of_an_actor_takes_its_children_along(kind: str, tmp_path: Path) -> None:
    class Plain:
        def parent(self) -> None:
            ray.get(linger.remote(tmp_path))

    class Looping:
        async def parent(self) -> None:
            await linger.remote(tmp_path)

    options = {"max_concurrency": 2} if kind == "threaded" else {}
    actor: Any = ray.remote(num_cpus=0, **options)(Looping if kind == "looping" else Plain).remote()
    ref = actor.parent.remote()
    eventually((tmp_path / "began").exists)
    ray.cancel(ref)
    assert cancelled(ref)
    eventually((tmp_path / "began was interrupted").exists)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_call_that_runs_in_an_actor_is_told_of_its_cancel(threads: int, tmp_path: Path) -> None:
    @ray.remote(num_cpus=0, max_concurrency=threads)
    class Watches:
        def watch(self, name: str) -> None:
            (tmp_path / name).touch()
            eventually(ray.get_runtime_context().is_canceled)
            (tmp_path / f"{name} saw it").touch()

        def is_cancelled(self) -> bool:
            return ray.get_runtime_context().is_canceled()

    watches = Watches.remote()
    refs = [watches.watch.remote(str(number)) for number in range(threads)]
    eventually(lambda: len(list(tmp_path.iterdir())) == threads)
    for ref in refs:
        ray.cancel(ref)
    assert all(cancelled(ref) for ref in refs)
    eventually(lambda: len(list(tmp_path.glob("* saw it"))) == threads)
    assert not ray.get(watches.is_cancelled.remote()), "another call is not cancelled"


def test_where_nobody_can_ask_whether_it_was_cancelled() -> None:
    class Looping:
        async def coroutine(self) -> bool:
            return ray.get_runtime_context().is_canceled()

        def plain(self) -> bool:
            return ray.get_runtime_context().is_canceled()

    looping: Any = ray.remote(num_cpus=0)(Looping).remote()
    for ask in (
        ray.get_runtime_context().is_canceled,
        lambda: ray.get(looping.coroutine.remote()),
        lambda: ray.get(looping.plain.remote()),
    ):
        with pytest.raises(RuntimeError):
            ask()


@ray.remote(num_cpus=0)
class Actor:
    def __init__(self, folder: Path | None = None, *more: Any, **named: Any) -> None:
        self.calls = 0
        self.given = (more, named)
        if folder is not None:
            atexit.register((folder / "atexit").touch)
            (folder / f"made {len(list(folder.glob('made *')))}").touch()

    def count(self) -> int:
        self.calls += 1
        return self.calls

    def state(self) -> Any:
        return self.given, self.calls, ray.get_runtime_context().was_current_actor_reconstructed

    def pid(self) -> int:
        return os.getpid()

    def die_once(self, mark: Path) -> str:
        if not mark.exists():
            mark.touch()
            os._exit(1)
        return "survived"

    def items(self, mark: Path) -> Iterator[int]:
        for number in range(4):
            if number == 2:
                self.die_once(mark)
            yield number

    def itself(self) -> Any:
        self.me = ray.get_runtime_context().current_actor
        return self.me

    def child(self, **options: Any) -> Any:
        self.made = Actor.options(**options).remote()
        return self.made


def is_dead(actor: Any) -> bool:
    try:
        ray.get(actor.count.remote(), timeout=PATIENCE)
    except ActorDiedError:
        return True
    except ActorUnavailableError:
        pass
    return False


def test_kill_that_allows_a_restart_is_a_crash(tmp_path: Path) -> None:
    ref = ray.put("by reference")
    actor = Actor.options(max_restarts=1).remote(tmp_path, ref, 1, name=ref)
    assert ray.get([actor.count.remote(), actor.count.remote()]) == [1, 2]
    pid = ray.get(actor.pid.remote())
    ray.kill(actor, no_restart=False)
    eventually(lambda: not is_running(pid))
    state = ray.get(actor.state.options(max_task_retries=-1).remote(), timeout=PATIENCE)
    assert state == ((("by reference", 1), {"name": "by reference"}), 0, True), "its arguments are the same"
    ray.kill(actor, no_restart=False)
    eventually(lambda: is_dead(actor))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["made 0", "made 1"], "no exit handler ran"
    endless = Actor.options(max_restarts=-1).remote()
    ray.kill(endless)
    eventually(lambda: is_dead(endless))


def test_calls_that_may_be_retried_go_on_in_the_new_process(tmp_path: Path) -> None:
    actor = Actor.options(max_restarts=-1, max_task_retries=-1).remote()
    calls = [actor.count.remote(), actor.die_once.remote(tmp_path / "first"), *(actor.count.remote() for _ in "abc")]
    first, survived, *others = ray.get(calls, timeout=PATIENCE)
    assert survived == "survived"
    assert {first, *others} <= {1, 2, 3, 4}, "retries keep no order, and the first may have been told or not"
    by_call = Actor.options(max_restarts=1).remote()
    again = by_call.die_once.options(max_task_retries=-1)  # Ray may use up one more while the actor starts.
    assert ray.get(again.remote(tmp_path / "second"), timeout=PATIENCE) == "survived"
    with pytest.raises(RayActorError):
        ray.get(Actor.options(max_restarts=1).remote().die_once.remote(tmp_path / "third"), timeout=PATIENCE)
    assert [ray.get(each) for each in actor.items.remote(tmp_path / "fourth")] == [0, 1, 2, 3]


def test_an_actor_keeps_itself_alive_by_no_handle_of_its_own() -> None:
    actor = Actor.remote()
    assert ray.get(actor.itself.remote()) == actor
    pid = ray.get(actor.pid.remote())
    del actor
    eventually(lambda: not is_running(pid))


def test_what_keeps_an_actor_alive() -> None:
    @ray.remote(num_cpus=0)
    def make() -> list[Any]:
        return [Actor.remote()]

    counted = Actor.remote().count
    assert ray.get(counted.remote()) == 1, "the method of a handle is enough"
    stored = ray.put({"handle": [Actor.remote()]})
    [made] = ray.get(make.remote())
    ray.get([make.remote() for _ in range(3)])  # Others come and go meanwhile.
    assert ray.get(ray.get(stored)["handle"][0].count.remote()) == 1
    assert ray.get(made.count.remote()) == 1
    assert ray.get(counted.remote()) == 2


def test_a_detached_actor_outlives_the_actor_that_made_it() -> None:
    owner = Actor.remote()
    bound, detached = Actor.remote(), None
    try:
        bound = ray.get(owner.child.remote())
        detached = ray.get(owner.child.remote(name="outlives its maker", lifetime="detached"))
        ray.get([bound.count.remote(), detached.count.remote()])
        ray.kill(owner)
        del detached
        eventually(lambda: is_dead(owner))
        detached = ray.get_actor("outlives its maker")
        assert ray.get(detached.count.remote()) == 2
    finally:
        if detached is not None:
            ray.kill(detached)


def test_the_calls_of_each_thread_keep_their_order() -> None:
    @ray.remote(num_cpus=0)
    class Notes:
        def __init__(self) -> None:
            self.notes: list[tuple[int, int]] = []

        def note(self, thread: int, number: int) -> None:
            self.notes.append((thread, number))

        def read(self) -> list[tuple[int, int]]:
            return self.notes

    @ray.remote(num_cpus=0)
    def fail() -> int:
        raise KeyError("no number")

    def call(thread: int) -> None:
        for number in range(50):
            notes.note.remote(thread, number)
            if number == 25:
                notes.note.remote(thread, fail.remote())  # It takes its turn, and fails alone.

    notes = Notes.remote()
    threads = [threading.Thread(target=call, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = ray.get(notes.read.remote(), timeout=PATIENCE)
    for thread_number in range(4):
        assert [number for thread, number in found if thread == thread_number] == list(range(50))


def test_a_constructor_that_is_not_done_yet(tmp_path: Path) -> None:
    @ray.remote(num_cpus=0)
    class Slow:
        def __init__(self, gate: Path, begun: Path) -> None:
            begun.touch()
            eventually(gate.exists)

        def answer(self) -> int:
            return 42

    gate, begun = tmp_path / "gate", tmp_path / "begun"
    slow = Slow.remote(gate, begun)
    calls = [slow.answer.remote() for _ in range(3)]
    assert ray.wait(calls, timeout=0)[0] == []
    gate.touch()
    assert ray.get(calls, timeout=PATIENCE) == [42] * 3
    begun.unlink()
    killed = Slow.remote(tmp_path / "never", begun)
    call = killed.answer.remote()
    eventually(begun.exists)
    ray.kill(killed)
    with pytest.raises(ActorDiedError):
        ray.get(call, timeout=PATIENCE)


def test_without_a_name_a_session_has_a_namespace_of_its_own(start: Callable[..., Any]) -> None:
    @ray.remote(num_cpus=0)
    def where() -> tuple[str, list[str]]:
        return ray.get_runtime_context().namespace, ray.util.list_named_actors()

    namespaces = []
    for _ in range(2):
        start()
        namespaces.append(ray.get_runtime_context().namespace)
        actor = Actor.options(name="the same").remote()
        assert ray.get(ray.get_actor("the same").count.remote()) == 1
        assert ray.get(where.remote()) == (namespaces[-1], ["the same"])
        elsewhere = Actor.options(name="the same", namespace="elsewhere").remote()
        assert ray.get_actor("the same", namespace="elsewhere") == elsewhere != actor
        del actor, elsewhere
        ray.shutdown()
    assert len({str(uuid.UUID(namespace)) for namespace in namespaces}) == 2


@pytest.mark.parametrize("end", ["last handle", "kill"])
def test_what_a_task_has_made_goes_on_when_its_process_becomes_an_actor_s(
    start: Callable[..., Any], tmp_path: Path, end: str
) -> None:
    start(num_cpus=1)

    @ray.remote
    def make() -> list[Any]:
        write.remote()
        return [Actor.remote()]

    @ray.remote(num_cpus=0)
    def write() -> None:
        (tmp_path / "begun").touch()
        eventually((tmp_path / "gate").exists)
        (tmp_path / "written").touch()

    [made] = ray.get(make.remote())
    eventually((tmp_path / "begun").exists)
    others = [Actor.remote() for _ in range(3)]
    pids = ray.get([other.pid.remote() for other in others])
    if end == "kill":
        deque(map(ray.kill, others), 0)
    others.clear()
    eventually(lambda: not any(map(is_running, pids)))
    assert ray.get(made.count.remote(), timeout=PATIENCE) == 1
    (tmp_path / "gate").touch()
    eventually((tmp_path / "written").exists)
