"""What is promised of faults and safety, where other tests do not show it."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.events import RuntimeReady
from jupyter_ray.util import ActorPool, placement_group, state
from jupyter_ray.util.multiprocessing import Pool
from jupyter_ray.util.queue import Queue
from tests.contract.helpers import PATIENCE, Log, eventually

pytestmark = pytest.mark.usefixtures("no_leaks_after_test")


@pytest.mark.local_only("there is no runtime process of this session's own")
def test_a_killed_runtime_is_noticed_within_a_second(start: Callable[..., Any]) -> None:
    seconds = []
    for _ in range(3):  # The machine may be busy.
        start(num_cpus=1)
        ref = ray.remote(time.sleep).remote(1000)
        with Log() as log:
            [ready] = eventually(lambda: log.find(RuntimeReady))
            os.kill(ready.pid, signal.SIGKILL)
            began = time.monotonic()
            with pytest.raises(exceptions.RaySystemError):
                ray.get(ref, timeout=PATIENCE)
            seconds.append(time.monotonic() - began)
        ray.shutdown()
    assert min(seconds) < 1, seconds


@pytest.mark.local_only("there is no runtime process of this session's own")
def test_whoever_waits_hears_of_the_runtime_s_end(start: Callable[..., Any]) -> None:
    start(num_cpus=2)

    @ray.remote(num_cpus=0)
    class Actor:
        async def wait(self) -> None:
            await asyncio.sleep(1000)

    @ray.remote(num_cpus=0)
    def items() -> Iterator[int]:
        yield 1
        time.sleep(1000)

    async def awaited() -> None:
        await sleep.remote(1000)

    async def read() -> list[Any]:
        return [ref async for ref in items.remote()]

    sleep = ray.remote(num_cpus=0)(time.sleep)
    actor, queue, pool = Actor.remote(), Queue(), Pool(1)
    group = placement_group([{"CPU": 1000}])
    ways: list[Callable[[], Any]] = [
        lambda: ray.get(sleep.remote(1000)),
        lambda: ray.get([sleep.remote(1000)], timeout=1000),
        lambda: ray.wait([sleep.remote(1000)]),
        lambda: ray.get(actor.wait.remote()),
        lambda: asyncio.run(awaited()),
        lambda: asyncio.run(read()),
        lambda: list(items.remote()),
        lambda: sleep.remote(1000).future().result(timeout=1000),
        queue.get,
        lambda: queue.get(timeout=1000),
        lambda: pool.map(time.sleep, [1000]),
        lambda: ray.get(group.ready()),
        lambda: group.wait(1000),
    ]
    runtime = ray.get(ray.remote(lambda: int(os.environ["RAY_RAYLET_PID"])).remote())
    with ThreadPoolExecutor(len(ways)) as threads:
        waiting = [threads.submit(way) for way in ways]
        time.sleep(1)  # Most wait by now; those that come later hear of it too.
        assert not any(each.done() for each in waiting)
        os.kill(runtime, signal.SIGKILL)
        for each in waiting:
            with pytest.raises(exceptions.RaySystemError, match=r"init\(\)"):
                each.result(timeout=PATIENCE)


@pytest.mark.local_only("the processes of a cluster listen on the network")
def test_no_part_of_the_api_opens_a_port(start: Callable[..., Any]) -> None:
    @ray.remote
    class Actor:
        async def double(self, value: int) -> int:
            return 2 * value

    @ray.remote
    def items() -> Iterator[Any]:
        yield np.zeros(1_000_000)
        yield ray.put(1)

    def ports(process: psutil.Process) -> set[Any]:
        return {each.laddr for each in process.net_connections(kind="inet")}

    before = ports(psutil.Process())
    start(num_cpus=2, object_store_memory=80 * 1024**2)
    actors = [Actor.remote() for _ in range(2)]
    queue = Queue()
    queue.put(1)
    with Pool(2) as pool:
        assert pool.map(abs, range(3)) == [0, 1, 2]
        assert list(ActorPool(actors).map(lambda actor, value: actor.double.remote(value), range(3))) == [0, 2, 4]
        assert len([ray.get(ref) for ref in items.remote()]) == 2
        kept = [ray.put(np.zeros(4_000_000)) for _ in range(4)]  # Some go to disk.
        assert queue.get() == 1
        assert state.list_actors()
        assert ray.timeline() is not None
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        assert len(family) >= 8
        assert [each.cmdline() for each in family[1:] if ports(each)] == []
        assert ports(family[0]) == before
    assert len(kept) == 4
