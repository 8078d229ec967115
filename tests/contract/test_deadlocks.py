"""Waits in vain of tasks that are not blocked: what is awaited in an event loop, futures, placement groups."""

import asyncio
import concurrent.futures
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import ActorDiedError, ResourceDeadlockError
from jupyter_ray.util import placement_group, remove_placement_group
from tests.contract.helpers import PATIENCE

pytestmark = pytest.mark.local_only("a cluster does not say who waits for whom (see tests/cluster)")

KINDS = ("await", "gather", "future", "asyncio future", "wrapped future", "stream", "group", "task", "task's group")


@ray.remote(num_cpus=0)
def leaf() -> int:
    return 1


@ray.remote(num_cpus=0)
def produce() -> Any:
    yield 1


class Waiter:
    """An async actor that holds the resource that it waits for."""

    def __init__(self, resource: str) -> None:
        self.needs: dict[str, float] = {resource: 1}
        self.leaf = leaf.options(resources=self.needs)

    async def wait(self, kind: str) -> Any:
        if kind == "await":
            return await self.leaf.remote()
        if kind == "gather":
            return await asyncio.gather(*(self.leaf.remote() for _ in range(50)))
        if kind == "asyncio future":
            return await self.leaf.remote().as_future()
        if kind == "wrapped future":
            return await asyncio.wrap_future(self.leaf.remote().future())
        if kind == "future":
            return await asyncio.to_thread(self.leaf.remote().future().result)
        if kind == "stream":
            return [await item async for item in produce.options(resources=self.needs).remote()]
        group = placement_group([self.needs])
        try:
            return await group.ready()
        finally:
            remove_placement_group(group)


@ray.remote(num_cpus=0)
def plain(kind: str) -> Any:
    if kind == "task":
        return asyncio.run(Waiter(kind).wait("await"))
    group = placement_group([{kind: 1}])
    try:
        return ray.get(group.ready())
    finally:
        remove_placement_group(group)


def test_what_can_never_come_to_who_awaits_it_raises(start: Callable[..., Any]) -> None:
    start(num_cpus=2, resources=dict.fromkeys(KINDS, 1))
    actors = []
    refs = {}
    for kind in KINDS:
        if kind.startswith("task"):
            refs[kind] = plain.options(resources={kind: 1}).remote(kind)
        else:
            actors.append(ray.remote(Waiter).options(num_cpus=0, resources={kind: 1}).remote(kind))
            refs[kind] = actors[-1].wait.remote(kind)
    for kind, ref in refs.items():
        with pytest.raises(ResourceDeadlockError) as caught:
            ray.get(ref, timeout=PATIENCE)
        told = str(caught.value)
        assert f"holds {kind}: 1 and waits for" in told, told
        assert f"which needs {kind}: 1" in told, told
        assert f"The machine has {kind}: 1 in all" in told, told
        assert "keeps its CPUs" not in told, "it holds none"
        if kind == "gather":
            assert re.search(r"waits for \d+ more", told), told
    del actors
    assert ray.get(leaf.options(resources=dict.fromkeys(KINDS, 1)).remote(), timeout=PATIENCE) == 1, "all came back"


def test_a_cpu_that_is_not_lent_is_named(start: Callable[..., Any]) -> None:
    start(num_cpus=1)

    @ray.remote(max_retries=0)
    def parent() -> int:
        async def wait() -> int:
            return int(await leaf.options(num_cpus=1).remote())

        return asyncio.run(wait())

    with pytest.raises(ResourceDeadlockError, match=r"(?s)parent .* holds CPU: 1 .*get\(\) and wait\(\) lend them"):
        ray.get(parent.remote(), timeout=PATIENCE)
    assert ray.get(leaf.options(num_cpus=1).remote(), timeout=PATIENCE) == 1


def test_circles_of_awaits(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=2, resources={"left": 1, "right": 1})

    class Turns:
        async def itself(self) -> int:
            return int(await ray.get_runtime_context().current_actor.one.remote())

        async def one(self) -> int:
            return 1

    class Holder:
        async def take(self, resource: str, began: Path, wait_for: Path) -> int:
            began.touch()
            while not wait_for.exists():
                await asyncio.sleep(0.01)
            return int(await leaf.options(resources={resource: 1}).remote())

    alone = ray.remote(Turns).options(max_concurrency=1).remote()
    holders = [ray.remote(Holder).options(num_cpus=0, resources={name: 1}).remote() for name in ("left", "right")]
    a, b = tmp_path / "a", tmp_path / "b"
    taking = [holders[0].take.remote("right", a, b), holders[1].take.remote("left", b, a)]
    with pytest.raises(
        ResourceDeadlockError, match=r"waits for Turns\.one \(\w+\), whose turn at the actor Turns comes"
    ):
        ray.get(alone.itself.remote(), timeout=PATIENCE)
    assert ray.get(alone.one.remote(), timeout=PATIENCE) == 1
    [refused], [other] = ray.wait(taking, timeout=PATIENCE)
    told = r"Holder\.take \(\w+\) holds {}: 1 and waits for leaf \(\w+\), which needs {}: 1"
    with pytest.raises(ResourceDeadlockError, match=told.format("left", "right")) as caught:
        ray.get(refused)
    assert re.search(told.format("right", "left"), str(caught.value))
    ray.kill(holders[taking.index(refused)])
    assert ray.get(other, timeout=PATIENCE) == 1, "what the other one holds came back with its end"


def test_a_time_limit_is_kept_and_the_value_may_come_later(start: Callable[..., Any]) -> None:
    start(num_cpus=2, resources={"tool": 1})

    class Waiter:
        async def limited(self) -> str:
            self.ref = leaf.options(resources={"tool": 1}).remote()
            try:
                await asyncio.wait_for(self.ref, 0.2)
            except (TimeoutError, asyncio.TimeoutError):
                return "in time"
            return "never"

        async def refused(self) -> list[Any]:
            try:
                await self.ref
            except ResourceDeadlockError:
                return [self.ref]
            return []

    waiter = ray.remote(Waiter).options(num_cpus=0, resources={"tool": 1}).remote()
    assert ray.get(waiter.limited.remote(), timeout=PATIENCE) == "in time"
    [ref] = ray.get(waiter.refused.remote(), timeout=PATIENCE)
    del waiter
    assert ray.get(ref, timeout=PATIENCE) == 1, "what was refused is no value of the object"


class Keeper:
    def take(self, value: Any) -> Any:
        return value


def test_a_call_whose_argument_needs_what_its_actor_keeps(start: Callable[..., Any]) -> None:
    start(num_cpus=2, resources={"tool": 1, "other": 1})

    needs = {"tool": 1}
    keeper = ray.remote(Keeper).options(num_cpus=0, resources=needs).remote()
    later = leaf.options(name="later").remote()
    between = ray.remote(lambda value, other: value).options(num_cpus=0, name="between")
    ref = keeper.take.remote(between.remote(leaf.options(resources=needs).remote(), later))
    told = (
        r"(?s)Keeper\.take \(\w+\) holds tool: 1 and waits for between \(\w+\)\."
        r".*between \(\w+\) waits for leaf \(\w+\), which needs tool: 1\..*The machine has tool: 1 in all"
    )
    with pytest.raises(ResourceDeadlockError, match=told):
        ray.get(ref)
    second = ray.remote(Keeper).options(num_cpus=0, resources=needs).remote()
    ref = keeper.take.remote(second.take.remote(1))
    with pytest.raises(ResourceDeadlockError, match=r"Keeper\.take \(\w+\), whose actor Keeper needs tool: 1 to begin"):
        ray.get(ref)
    assert ray.wait([ref], timeout=0.1)[0] == [], "only the get was refused"
    ray.kill(keeper)
    with pytest.raises(ActorDiedError):
        ray.get(ref, timeout=PATIENCE)
    assert ray.get(second.take.remote(2), timeout=PATIENCE) == 2


def test_a_driver_that_waits_for_a_future(start: Callable[..., Any]) -> None:
    """Who asks for its result hears it; a future that nobody asks does not: what it needs may be let go."""
    start(num_cpus=1, resources={"tool": 1})
    needs = {"tool": 1}
    keeper = ray.remote(Keeper).options(num_cpus=0, resources=needs).remote()
    ray.get(keeper.take.remote(1))
    wanted = leaf.options(resources=needs).remote()
    ref = keeper.take.remote(wanted)
    future, later = ref.future(), wanted.future()
    with pytest.raises(ResourceDeadlockError, match=r"Keeper\.take \(\w+\)"):
        ref.future().result()
    assert not concurrent.futures.wait([future, later], timeout=0.1).done
    ray.kill(keeper)
    assert later.result(PATIENCE) == 1
    assert isinstance(future.exception(PATIENCE), ActorDiedError)


def test_for_a_moment_it_only_waits(start: Callable[..., Any]) -> None:
    """A program that looks for a second whether something is ready finds that it is not, as in Ray."""
    start(num_cpus=1, num_gpus=1)

    class Holder:
        def block(self) -> int:
            return int(ray.get(leaf.options(num_cpus=1, num_gpus=1).remote()))

    for needs in ({"num_cpus": 1}, {"num_gpus": 1}):
        actor = ray.remote(Holder).options(**needs).remote()
        ray.get(actor.__ray_ready__.remote())
        began = time.monotonic()
        ref = actor.block.remote()
        with pytest.raises(ResourceDeadlockError, match=r"Holder\.block \(\w+\) holds"):
            ray.get(ref, timeout=PATIENCE)
        assert time.monotonic() - began > 1.9
        ray.kill(actor)


def test_calls_of_one_actor_that_wait_for_each_other_beyond_its_room(start: Callable[..., Any]) -> None:
    start(num_cpus=2)

    class Threaded:
        def go(self, depth: int) -> int:
            me = ray.get_runtime_context().current_actor
            return 1 + int(ray.get(me.go.remote(depth - 1))) if depth else 0

    class Async:
        async def go(self, depth: int) -> int:
            me = ray.get_runtime_context().current_actor
            return 1 + int(await me.go.remote(depth - 1)) if depth else 0

    actors = [ray.remote(kind).options(max_concurrency=3).remote() for kind in (Threaded, Async)]
    assert ray.get([actor.go.remote(2) for actor in actors], timeout=PATIENCE) == [2, 2]
    for ref, kind in zip([actor.go.remote(3) for actor in actors], ("Threaded", "Async"), strict=True):
        with pytest.raises(ResourceDeadlockError, match=f"the actor {kind} runs 3 calls at once, and those wait"):
            ray.get(ref, timeout=None)
    assert ray.get([actor.go.remote(2) for actor in actors], timeout=PATIENCE) == [2, 2]
