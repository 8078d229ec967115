"""Promises that meet: streams and timeouts, races for a name, tasks that nobody awaits. Each was compared with Ray."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray._common.test_utils import SignalActor, wait_for_condition
from jupyter_ray.exceptions import RayTaskError, TaskCancelledError
from jupyter_ray.util import ActorPool

pytestmark = pytest.mark.usefixtures("cluster")

PATIENCE = 30.0


@ray.remote(num_cpus=0)
class Log:
    """An async actor that remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    async def told(self) -> list[Any]:
        return self.lines

    async def begins(self, fails: bool) -> None:
        self.later = asyncio.create_task(self._later(fails))

    async def _later(self, fails: bool) -> None:
        self.lines.append("began")
        if fails:
            raise ValueError
        await asyncio.sleep(0.01)
        self.lines.append("ended")

    async def cancels_itself(self) -> None:
        raise asyncio.CancelledError

    async def waits_for(self, box: list[Any], seconds: float) -> Any:
        try:
            return await asyncio.wait_for(box[0], seconds)
        except asyncio.TimeoutError:
            return "late"


@ray.remote(num_cpus=0)
def numbers(signal: Any, count: int) -> Any:
    ray.get(signal.wait.remote())
    yield from range(count)


def test_a_timeout_of_a_streams_next_item_loses_none() -> None:
    signal = SignalActor.remote()
    stream = numbers.remote(signal, 3)

    async def reads() -> list[int]:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.__anext__(), 0.1)
        await signal.send.remote()
        return [await ref async for ref in stream]

    assert asyncio.run(reads()) == [0, 1, 2]


def test_a_stream_whose_process_dies_half_way_gives_each_item_once(tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    @ray.remote(max_retries=2)
    def halting() -> Any:
        with runs.open("a") as file:
            file.write("x")
        for number in range(4):
            if number == 2 and len(runs.read_text()) == 1:
                os._exit(1)
            yield number

    assert [ray.get(ref) for ref in halting.remote()] == [0, 1, 2, 3]
    assert runs.read_text() == "xx"


def test_who_asks_for_a_name_at_the_same_moment_gets_the_same_actor() -> None:
    found: list[Any] = []
    named = Log.options(name="one for all", get_if_exists=True)
    threads = [threading.Thread(target=lambda: found.append(named.remote())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    @ray.remote(num_cpus=0)
    def asks() -> str:
        actor = Log.options(name="one for all", get_if_exists=True).remote()
        identifier: str = actor._actor_id.hex()
        return identifier

    others = ray.get([asks.remote() for _ in range(4)])
    assert len({actor._actor_id.hex() for actor in found} | set(others)) == 1


def test_what_an_actor_does_in_the_background_goes_on_after_the_call() -> None:
    log = Log.remote()
    ray.get(log.begins.remote(fails=True))
    ray.get(log.begins.remote(fails=False))
    wait_for_condition(lambda: ray.get(log.told.remote()) == ["began", "began", "ended"], timeout=PATIENCE)


def test_a_method_that_cancels_itself_ends_alone() -> None:
    log = Log.remote()
    with pytest.raises(TaskCancelledError):
        ray.get(log.cancels_itself.remote())
    assert ray.get(log.told.remote()) == []


def test_a_time_limit_in_an_actor_leaves_the_result_to_others() -> None:
    signal, log = SignalActor.remote(), Log.remote()
    ref = signal.wait.remote()
    assert ray.get(log.waits_for.remote([ref], 0.1)) == "late"
    waiting = log.waits_for.remote([ref], PATIENCE)
    ray.get(signal.send.remote())
    assert ray.get([waiting, ref]) == [None, None]


def test_an_error_of_a_pools_task_comes_at_its_place() -> None:
    @ray.remote(num_cpus=0)
    class Worker:
        def inverse(self, number: int) -> float:
            return 1 / number

    pool = ActorPool([Worker.remote(), Worker.remote()])
    results = pool.map(lambda actor, number: actor.inverse.remote(number), [1, 0, 2])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert isinstance(caught.value, RayTaskError)
