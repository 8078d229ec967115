"""Async and threaded actors, and concurrency groups."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.events import LogLines
from tests.contract.helpers import PATIENCE, Log, eventually

pytestmark = pytest.mark.usefixtures("cluster")


@ray.remote
class Signal:
    """Calls of `wait` return after `send`."""

    def __init__(self) -> None:
        import asyncio

        self.event = asyncio.Event()
        self.waiting = 0

    async def wait(self) -> int:
        self.waiting += 1
        await self.event.wait()
        return self.waiting

    async def count(self) -> int:
        return self.waiting

    def send(self) -> None:
        self.event.set()


def test_an_async_actor_runs_many_calls_at_once() -> None:
    signal = Signal.remote()
    refs = [signal.wait.remote() for _ in range(50)]
    eventually(lambda: ray.get(signal.count.remote()) == 50)
    ray.get(signal.send.remote())
    assert ray.get(refs) == [50] * 50


def test_an_async_actors_calls_await_references() -> None:
    @ray.remote
    def f(n: int) -> int:
        return n

    @ray.remote
    class Gather:
        async def run(self) -> list[int]:
            return await asyncio.gather(*[f.remote(n) for n in range(4)])

    assert ray.get(Gather.remote().run.remote()) == [0, 1, 2, 3]


def test_an_async_actors_concurrency_is_limited() -> None:
    @ray.remote(max_concurrency=2)
    class Limited:
        def __init__(self) -> None:
            self.now = self.most = 0

        async def run(self) -> int:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.01)
            self.now -= 1
            return self.most

    limited = Limited.remote()
    assert max(ray.get([limited.run.remote() for _ in range(20)])) == 2


def test_a_concurrency_of_none_at_all_is_the_default() -> None:
    @ray.remote(max_concurrency=0)
    class Plain:
        def get(self) -> int:
            return 1

    assert ray.get(Plain.remote().get.remote(), timeout=PATIENCE) == 1


@pytest.mark.local_only("Ray begins the calls of an async actor in any order")
def test_calls_that_a_call_has_woken_go_on_before_the_next_begins() -> None:
    @ray.remote(max_concurrency=2)
    class Pairs:
        """The second of each pair opens the gate for the first, which closes it again."""

        def __init__(self) -> None:
            self.gate = asyncio.Event()
            self.here = 0
            self.story: list[str] = []

        async def meet(self, name: str) -> list[str]:
            self.story.append(name)
            self.here += 1
            if self.here == 2:
                self.gate.set()
            else:
                await self.gate.wait()
                self.gate.clear()
                self.here = 0
            self.story.append(name.upper())
            return self.story

    pairs = Pairs.remote()
    stories = ray.get([pairs.meet.remote(name) for name in "abcdef"], timeout=PATIENCE)
    assert "".join(max(stories, key=lambda story: sum(1 for _ in story))) == "abBAcdDCefFE"


@pytest.mark.local_only("Ray shows lines as it reads them from a worker's log file")
def test_lines_of_concurrent_calls_keep_their_order() -> None:
    @ray.remote
    class Talkers:
        def __init__(self) -> None:
            self.gate = asyncio.Event()
            self.here = 0

        async def talk(self, name: str) -> None:
            print(f"{name} is here")
            self.here += 1
            if self.here == 3:
                self.gate.set()
            await self.gate.wait()
            print(f"{name} leaves")

    talkers = Talkers.remote()
    ray.get([talkers.talk.remote(name) for name in "abc"], timeout=PATIENCE)
    with Log() as log:
        lines = eventually(
            lambda: found if len(found := "".join(e.text for e in log.find(LogLines)).splitlines()) == 6 else None
        )
    assert lines == ["a is here", "b is here", "c is here", "c leaves", "a leaves", "b leaves"]


def test_async_generators() -> None:
    @ray.remote
    class Source:
        async def numbers(self, n: int) -> AsyncIterator[int]:
            for k in range(n):
                yield k

    async def main() -> list[int]:
        return [await ref async for ref in Source.remote().numbers.remote(3)]

    assert asyncio.run(main()) == [0, 1, 2]


def test_a_running_async_call_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "cancelled"

    @ray.remote
    class Sleeper:
        def __init__(self) -> None:
            self.running = 0

        async def sleep(self) -> None:
            self.running += 1
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                path.touch()
                raise

        async def count(self) -> int:
            return self.running

    sleeper = Sleeper.remote()
    ref = sleeper.sleep.remote()
    eventually(lambda: ray.get(sleeper.count.remote()))
    ray.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(ref, timeout=30)
    eventually(path.exists)
    assert ray.get(sleeper.count.remote()) == 1


def test_a_threaded_actor() -> None:
    @ray.remote(max_concurrency=3)
    class Threads:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(3)

        def meet(self) -> str:
            self.barrier.wait(timeout=30)
            return threading.current_thread().name

    threads = Threads.remote()
    assert len(set(ray.get([threads.meet.remote() for _ in range(3)]))) == 3


def test_concurrency_groups() -> None:
    @ray.remote(concurrency_groups={"io": 2, "compute": 1})
    class Groups:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(2)

        @ray.method(concurrency_group="io")
        def meet(self) -> str:
            self.barrier.wait(timeout=30)
            return threading.current_thread().name

        @ray.method(concurrency_group="compute")
        def compute(self) -> str:
            return threading.current_thread().name

        def default(self) -> str:
            return threading.current_thread().name

    groups = Groups.remote()
    io = set(ray.get([groups.meet.remote(), groups.meet.remote()]))
    others = {ray.get(groups.compute.remote()), ray.get(groups.default.remote())}
    assert len(io) == 2
    assert len(io | others) == 4
    assert ray.get(groups.default.options(concurrency_group="compute").remote()) in others


def test_a_full_concurrency_group_keeps_no_calls_of_another_away() -> None:
    @ray.remote(concurrency_groups={"wait": 1, "tell": 1}, num_cpus=0)
    class Groups:
        def __init__(self) -> None:
            self.told = threading.Event()

        @ray.method(concurrency_group="wait")
        def wait(self) -> bool:
            return self.told.wait(timeout=60)

        @ray.method(concurrency_group="tell")
        def tell(self) -> None:
            self.told.set()

    groups = Groups.remote()
    waiting = [groups.wait.remote() for _ in range(1_200)]
    ray.get(groups.tell.remote(), timeout=30)
    assert all(ray.get(waiting))


@pytest.mark.local_only("Ray runs calls as they come: a flooding caller delays the others")
def test_one_caller_does_not_starve_another() -> None:
    @ray.remote
    class Slow:
        def work(self) -> int:
            time.sleep(0.005)
            return 1

    slow = Slow.remote()

    @ray.remote
    def flood(handle: Any) -> None:
        ray.get([handle.work.remote() for _ in range(2000)])

    tasks = [flood.remote(slow) for _ in range(2)]
    ray.get(slow.work.remote())
    for _ in range(5):
        began = time.monotonic()
        ray.get(slow.work.remote())
        assert time.monotonic() - began < 3  # 0.02 s on a machine of one's own; 20 s if served in order of arrival.
    for task in tasks:
        ray.cancel(task, force=True)
    ray.kill(slow)


def test_a_reference_that_an_async_actor_returns_stays_one() -> None:
    @ray.remote
    class Keeper:
        def __init__(self) -> None:
            self._kept = ray.put(7)

        async def wait(self) -> None: ...

        def kept(self) -> Any:
            return self._kept

    keeper = Keeper.remote()
    assert ray.get(ray.get(keeper.kept.remote())) == 7


@pytest.mark.local_only("an actor's threads are Ray's: Python counts a thread once it has run a call")
def test_a_threaded_actor_has_its_threads_from_the_start() -> None:
    class Actor:
        def threads(self) -> int:
            return threading.active_count()

    actor: Any = ray.remote(max_concurrency=3, concurrency_groups={"io": 2})(Actor).remote()
    before = ray.get(actor.threads.remote())
    assert before >= 5
    assert ray.get([actor.threads.remote() for _ in range(20)])[-1] == before


def test_a_method_that_raises_cancelled_error_counts_as_cancelled(cluster: Any) -> None:
    class Gives:
        async def up(self) -> None:
            raise asyncio.CancelledError

    async def caller() -> str:
        try:
            await ray.remote(Gives).remote().up.remote()
        except asyncio.CancelledError:
            return "the caller's loop took it for its own"
        except exceptions.TaskCancelledError:
            return "cancelled"
        return "nothing"

    assert asyncio.run(caller()) == "cancelled"


def test_a_loop_runs_a_thousand_calls_and_plain_methods_too() -> None:
    class Looping:
        def __init__(self) -> None:
            self.waiting = 0
            self.gate = asyncio.Event()
            self.thread = threading.get_ident()

        async def wait(self) -> int:
            self.waiting += 1
            await self.gate.wait()
            return self.waiting

        def plain(self) -> tuple[int, bool]:
            asyncio.get_running_loop()
            return self.waiting, threading.get_ident() == self.thread

        def open(self) -> None:
            self.gate.set()

    def all_at_once(actor: Any, number: int) -> None:
        refs = [actor.wait.remote() for _ in range(number)]
        eventually(lambda: ray.get(actor.plain.remote()) == (number, True))
        ray.get(actor.open.remote())
        assert ray.get(refs, timeout=PATIENCE) == [number] * number

    kind = ray.remote(num_cpus=0)(Looping)
    all_at_once(kind.remote(), 999)  # And the one that asks.
    all_at_once(kind.options(max_concurrency=4000).remote(), 3999)


def test_a_group_that_is_not_there() -> None:
    @ray.remote(num_cpus=0, concurrency_groups={"io": 2})
    class Groups:
        def plain(self) -> int:
            return threading.get_ident()

    groups = Groups.remote()
    with pytest.raises(ValueError, match="no concurrency group 'nope'"):
        groups.plain.options(concurrency_group="nope").remote()
    default = {ray.get(groups.plain.remote()) for _ in range(3)}
    io = set(ray.get([groups.plain.options(concurrency_group="io").remote() for _ in range(4)]))
    assert len(default) == 1
    assert not default & io
