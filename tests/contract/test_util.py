"""``ray.util`` on real processes."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray import util
from jupyter_ray.util.actor_group import ActorGroup
from jupyter_ray.util.annotations import RayDeprecationWarning
from jupyter_ray.util.queue import Empty, Full, Queue

pytestmark = pytest.mark.usefixtures("cluster")


def test_a_pool_of_actors() -> None:
    @ray.remote
    class Worker:
        def double(self, x: int) -> int:
            if x < 0:
                raise ValueError("negative")
            return 2 * x

    pool = util.ActorPool([Worker.remote() for _ in range(2)])
    assert list(pool.map(lambda actor, x: actor.double.remote(x), range(20))) == [2 * x for x in range(20)]
    assert sorted(pool.map_unordered(lambda actor, x: actor.double.remote(x), range(20))) == [2 * x for x in range(20)]
    pool.submit(lambda actor, x: actor.double.remote(x), -1)
    with pytest.raises(ValueError, match="negative"):
        pool.get_next()
    assert pool.has_free()


def test_a_pool_gives_no_calls_to_a_dead_actor() -> None:
    @ray.remote
    class Worker:
        def work(self, fatal: bool) -> int:
            if fatal:
                os._exit(1)
            return os.getpid()

    pool = util.ActorPool([Worker.remote(), Worker.remote()])
    for fatal in (True, False, False, False):
        pool.submit(lambda actor, fatal: actor.work.remote(fatal), fatal)
    with pytest.raises(ray.exceptions.ActorDiedError):
        pool.get_next()
    assert len({pool.get_next() for _ in range(3)}) == 1
    assert pool.pop_idle() is not None
    assert pool.pop_idle() is None


def test_a_pool_that_a_program_derives_finds_the_inside_of_rays() -> None:
    """Programs hand out references instead of values, or see to it who is free: so they use what is private in Ray."""

    class Eager(util.ActorPool):
        returned = 0

        def _return_actor(self, actor: Any) -> None:
            Eager.returned += 1
            self._idle_actors.append(actor)
            while self._idle_actors and self._pending_submits:
                self.submit(*self._pending_submits.pop(0))

        def refs(self) -> Iterator[Any]:
            while self.has_next():
                (ref,), _ = ray.wait(list(self._future_to_actor))
                number, actor = self._future_to_actor.pop(ref)
                self._return_actor(actor)
                del self._index_to_future[number]
                self._next_return_index = max(self._next_return_index, number + 1)
                yield ref

    @ray.remote
    class Worker:
        def double(self, x: int) -> int:
            return 2 * x

    pool = Eager([Worker.remote() for _ in range(2)])
    for x in range(5):
        pool.submit(lambda actor, x: actor.double.remote(x), x)
    assert (pool._next_task_index, len(pool._pending_submits)) == (2, 3)
    assert sorted(ray.get(list(pool.refs()))) == [0, 2, 4, 6, 8]
    assert list(pool.map(lambda actor, x: actor.double.remote(x), range(3))) == [0, 2, 4]
    assert Eager.returned == 8


def test_a_group_of_actors() -> None:
    class Worker:
        def __init__(self, first: int, *, step: int) -> None:
            self.value, self.step = first, step

        def add(self, times: int) -> int:
            self.value += times * self.step
            return self.value

        def get_actor_metadata(self) -> str:
            return f"from {self.value}"

    with pytest.warns(RayDeprecationWarning, match=r"ray\.util\.multiprocessing"):
        group = ActorGroup(Worker, num_actors=2, num_cpus_per_actor=0, init_args=(5,), init_kwargs={"step": 10})
    assert group.actor_metadata == ["from 5", "from 5"]
    assert ray.get(group.add.remote(1)) == [15, 15]
    assert ray.get(group[1].actor.add.remote(1)) == 25
    assert ray.get(group.add.remote(0)) == [15, 25]
    with pytest.raises(TypeError, match=r"add\.remote"):
        group.add(1)
    with pytest.raises(AttributeError, match="subtract"):
        group.subtract.remote(1)
    with pytest.raises(RuntimeError, match="run already"):
        group.start()
    group.add_actors(1)
    group.remove_actors([0])
    assert ray.get(group.add.remote(0)) == [25, 5]
    gone = [each.actor for each in group]
    for patience in (5, 0):
        group.shutdown(patience)
        assert len(group) == 0
        with pytest.raises(RuntimeError, match="start"):
            group.add.remote(1)
        group.start()
        assert ray.get(group.add.remote(0)) == [5, 5]
    for actor in gone:
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(actor.add.remote(0))
    for wrong in ({"num_actors": 0}, {"num_cpus_per_actor": -1}, {"num_gpus_per_actor": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))), pytest.warns(RayDeprecationWarning):
            ActorGroup(Worker, **wrong)  # type: ignore[arg-type]


def test_results_are_not_held_back_for_a_full_chunk(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote
    def wait_for_gate(x: int) -> int:
        while x == 0 and not gate.exists():
            time.sleep(0.01)
        return x

    for results in (
        util.as_completed([wait_for_gate.remote(x) for x in range(3)], timeout=0.1),
        util.map_unordered(wait_for_gate, range(3), timeout=0.1),
    ):
        assert {next(results), next(results)} == {1, 2}
        gate.touch()
        assert list(results) == [0]
        gate.unlink()
    with pytest.raises(ValueError, match="chunk_size"):
        next(util.as_completed([], num_returns=2))
    with pytest.raises(ValueError, match="chunk_size"):
        next(util.map_unordered(wait_for_gate, [], num_returns=2))


@pytest.mark.parametrize("maxsize", [4 / 2, np.int64(2)])
def test_a_queue_takes_any_number_as_its_size(maxsize: float) -> None:
    queue = Queue(maxsize)
    queue.put_nowait_batch([1, 2])
    assert queue.full()
    with pytest.raises(Full):
        queue.put_nowait(3)
    assert queue.get_nowait_batch(2) == [1, 2]


def test_a_queue_between_tasks() -> None:
    queue = Queue(maxsize=5)

    @ray.remote
    def produce(queue: Any, n: int) -> None:
        for k in range(n):
            queue.put(k)

    @ray.remote
    def consume(queue: Any, n: int) -> list[int]:
        return [queue.get(timeout=30) for _ in range(n)]

    producer, consumer = produce.remote(queue, 20), consume.remote(queue, 20)
    assert ray.get(consumer) == list(range(20))
    ray.get(producer)
    with pytest.raises(Empty):
        queue.get(timeout=0.05)
    queue.put_nowait_batch(range(5))
    with pytest.raises(Full):
        queue.put(5, timeout=0.05)
    assert queue.qsize() == 5

    async def take() -> int:
        value: int = await queue.get_async()
        return value

    assert asyncio.run(take()) == 0
    queue.shutdown()
    uses: list[Callable[[], Any]] = [queue.get, queue.qsize, lambda: queue.put(1), lambda: asyncio.run(take())]
    for use in uses:
        with pytest.raises(ray.exceptions.RayActorError, match=r"ended by shutdown\(\).*make a new Queue"):
            use()


def test_named_actors() -> None:
    @ray.remote
    class Named:
        pass

    actor = Named.options(name="listed").remote()
    ray.get(actor.__ray_ready__.remote())
    assert "listed" in util.list_named_actors()
    assert {"name": "listed", "namespace": "contract"} in util.list_named_actors(all_namespaces=True)


def test_serializers() -> None:
    class Box:
        def __init__(self, x: int) -> None:
            self.x = x
            self.lock = threading.Lock()

    util.register_serializer(Box, serializer=lambda box: box.x, deserializer=Box)

    @ray.remote
    def read(box: Any) -> int:
        return box.x

    assert ray.get(read.remote(Box(4))) == 4
    util.deregister_serializer(Box)
    with pytest.raises(TypeError):
        read.remote(Box(4))
