"""Random trees of calls against the real runtime: each has an answer, gets it, and leaves nothing.

A node starts its children in its way and returns how many nodes there are below it, and itself. So what is drawn is
how tasks, actors, streams and groups wait for each other, on few CPUs: `tests/local/test_random_programs.py` breaks
things, and shares references. What holds something while its children run (an actor with CPUs, a placement group, a
custom resource) has none such below it: else a tree could be one that has no answer, in Ray neither.
"""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.util import state
from jupyter_ray.util.placement_group import placement_group, remove_placement_group
from jupyter_ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from tests.contract.helpers import PATIENCE, eventually

SEEDS = int(os.environ.get("JUPYTER_RAY_FUZZ", "0"))
"""How many programs are run that have not been run before; 0: the same two each time."""
TREES, DEPTH, NODES = 4, 3, 10
FOLDER = "JUPYTER_RAY_RANDOM_TREES"
"""The variable that names where tasks note that they have been tried."""
KINDS = {"task": 8, "actor": 3, "maker": 2, "coroutine": 2, "grouped": 1, "stream": 3, "quick": 2, "argument": 2}
KINDS |= {"threads": 1, "impatient": 2, "found": 3, "again": 1}
HOLDING = {"holding_task": 2, "holding_actor": 2, "group": 2}
STOPPING = {"stopped": 3, "killed": 1}
"""What stops others; a placement group is not below it, since nobody would remove that."""


class Plan:
    """How a node does what it does."""

    def __init__(self, draw: random.Random, depth: int, nodes: int, *, holding: bool = False, safe: bool = True):
        kinds = KINDS | ({} if holding else HOLDING) | (STOPPING if safe else {})
        if not safe:
            kinds.pop("group", None)
        [self.kind] = draw.choices([*kinds], [*kinds.values()])
        self.cpus = draw.choice([0, 0, 0.5, 1, 2])
        self.calls = draw.choice([0, 0, 0, 1, 2])
        self.env = draw.random() < 0.05
        self.how = draw.choice(["get", "one by one", "wait", "look"])
        self.number = draw.randint(1, 3)
        self.coin, self.other_coin = draw.random() < 0.5, draw.random() < 0.5
        count = draw.randint(1, 4) if depth and nodes > 1 else 0
        holding, safe = holding or self.kind in HOLDING, safe and self.kind not in STOPPING
        below = (depth - 1, (nodes - 1) // max(count, 1))
        self.children = [Plan(draw, *below, holding=holding, safe=safe) for _ in range(count)]

    @property
    def nodes(self) -> int:
        return 1 + sum(each.nodes for each in self.children)

    def __repr__(self) -> str:
        return f"{self.kind}({self.cpus}, {self.how}, {', '.join(map(repr, self.children))})"


def start(plan: Plan) -> Any:
    """Start a node, and return the reference to its answer."""
    if plan.kind == "argument":
        return total.options(num_cpus=plan.cpus).remote(*map(start, plan.children))
    resources = {"token": 1} if plan.kind == "holding_task" else {}
    env = {"env_vars": {"RANDOM_TREE": "1"}} if plan.env else None
    function = [node, node_once, node_twice][plan.calls]
    return function.options(num_cpus=plan.cpus, resources=resources, runtime_env=env).remote(plan)


def collect(plan: Plan, refs: list[Any]) -> int:
    """Wait for the answers of children in one way or another, and return the node's own."""
    if plan.how == "get":
        return 1 + sum(ray.get(refs))
    if plan.how == "one by one":
        return 1 + sum(ray.get(each) for each in refs)
    found, timeout = 1, None if plan.how == "wait" else 0.01
    while refs:
        ready, refs = ray.wait(refs, timeout=timeout)
        found += sum(ray.get(ready))
    return found


def children(plan: Plan) -> int:
    return collect(plan, [start(each) for each in plan.children])


@ray.remote
def node(plan: Plan) -> int:
    return WAYS.get(plan.kind, children)(plan)


node_once, node_twice = (ray.remote(max_calls=calls)(node._function) for calls in (1, 2))


@ray.remote
def total(*found: int) -> int:
    return 1 + sum(found)


@ray.remote
def echo(number: int) -> int:
    return number


@ray.remote(num_cpus=0)
class Actor:
    def children(self, plan: Plan) -> int:
        return children(plan)

    def child(self, plan: Plan) -> Any:
        return ray.get(start(plan))


@ray.remote(num_cpus=0)
class Maker:
    def __init__(self, plan: Plan) -> None:
        self.found = children(plan)

    def get(self) -> int:
        return self.found


@ray.remote(num_cpus=0)
class Coroutines:
    async def children(self, plan: Plan) -> int:
        return 1 + sum(await asyncio.gather(*map(start, plan.children)))


@ray.remote(num_cpus=0, concurrency_groups={"children": 2, "quick": 1})
class Grouped:
    @ray.method(concurrency_group="children")
    def child(self, plan: Plan) -> Any:
        return ray.get(start(plan))

    @ray.method(concurrency_group="quick")
    def echo(self, number: int) -> int:
        return number


@ray.remote
def stream(plans: list[Plan]) -> Iterator[int]:
    for each in plans:
        yield ray.get(start(each))


def through_actor(plan: Plan) -> int:
    actor = Actor.options(max_concurrency=plan.number).remote()
    if plan.coin:
        return int(ray.get(actor.children.remote(plan)))
    return collect(plan, [actor.child.remote(each) for each in plan.children])


def through_maker(plan: Plan) -> int:
    return int(ray.get(Maker.remote(plan).get.remote()))


def through_holder(plan: Plan) -> int:
    options: Any = {"num_cpus": 0.5, "resources": {"token": 1}}
    if plan.coin:
        return int(ray.get(Maker.options(**options).remote(plan).get.remote()))
    return int(ray.get(Actor.options(**options).remote().children.remote(plan)))


def through_found(plan: Plan) -> int:
    """Through an actor that others ask for at the same time, and that nobody owns."""
    options: Any = {"name": f"found {plan.number}", "get_if_exists": True, "lifetime": "detached"}
    actor = Actor.options(max_concurrency=200, **options).remote()
    return collect(plan, [actor.child.remote(each) for each in plan.children])


def through_coroutine(plan: Plan) -> int:
    return int(ray.get(Coroutines.options(max_concurrency=plan.number).remote().children.remote(plan)))


def through_groups(plan: Plan) -> int:
    actor = Grouped.remote()
    refs = [actor.child.remote(each) for each in plan.children]
    assert ray.get(actor.echo.remote(7)) == 7
    return collect(plan, refs)


def through_stream(plan: Plan) -> int:
    ahead = {"_generator_backpressure_num_objects": plan.number} if plan.coin else {}
    items = stream.options(num_returns="streaming", num_cpus=plan.cpus, **ahead).remote(plan.children)
    if plan.other_coin:
        return 1 + sum(ray.get(each) for each in items)
    return collect(plan, [echo.options(num_cpus=plan.cpus).remote(each) for each in items])


def among_quick_calls(plan: Plan) -> int:
    """One after the other, for which a process is leased; then all at once."""
    refs = [start(each) for each in plan.children]
    function = echo.options(num_cpus=int(plan.coin))
    assert [ray.get(function.remote(number)) for number in range(8)] == list(range(8))
    burst = [function.remote(number) for number in range(30)]
    found = collect(plan, refs)
    assert ray.get(burst) == list(range(30))
    return found


def in_threads(plan: Plan) -> int:
    with ThreadPoolExecutor(3) as threads:
        return 1 + sum(threads.map(lambda child: ray.get(start(child)), plan.children))


def impatiently(plan: Plan) -> int:
    found = 1
    for ref in [start(each) for each in plan.children]:
        answer = None
        while answer is None:
            with contextlib.suppress(exceptions.GetTimeoutError):
                answer = ray.get(ref, timeout=0.01)
        found += answer
    return found


def in_a_group(plan: Plan) -> int:
    group = placement_group([{"CPU": 0.5, "token": 1}])
    inside: Any = {"num_cpus": 0.5, "scheduling_strategy": PlacementGroupSchedulingStrategy(group)}
    if plan.coin:
        ray.get(group.ready())
    echoes = [echo.options(**inside).remote(number) for number in range(3)]
    found = ray.get(through_group.options(**inside).remote(plan))
    assert ray.get(echoes) == [0, 1, 2]
    remove_placement_group(group)
    return int(found)


@ray.remote
def through_group(plan: Plan) -> int:
    return children(plan)


def beside_stopped(plan: Plan) -> int:
    """Each child runs twice, and one of the two is cancelled at some time."""
    refs, doubles = [], []
    for each in plan.children:
        refs.append(start(each))
        doubles.append(start(each))
        if plan.coin:
            ray.wait(refs, timeout=0.01)
        ray.cancel(doubles[-1], force=plan.other_coin, recursive=plan.number > 1)
    found = collect(plan, refs)
    with contextlib.suppress(exceptions.RayError):
        ray.get(doubles)
    return found


def through_killed(plan: Plan) -> int:
    actor = Actor.options(max_concurrency=plan.number, max_restarts=-1, max_task_retries=-1).remote()
    refs = [actor.child.remote(each) for each in plan.children]
    for _ in range(2):
        ray.wait(refs, timeout=0.05)
        ray.kill(actor, no_restart=False)
    return collect(plan, refs)


@ray.remote(max_retries=-1)
def fragile(plan: Plan) -> int:
    attempted = Path(os.environ[FOLDER], ray.get_runtime_context().get_task_id() or "")
    if not attempted.exists():
        attempted.touch()
        os._exit(1)
    return children(plan)


def at_the_second_attempt(plan: Plan) -> int:
    return int(ray.get(fragile.options(num_cpus=plan.cpus).remote(plan)))


WAYS: dict[str, Callable[[Plan], int]] = {
    "actor": through_actor,
    "maker": through_maker,
    "holding_actor": through_holder,
    "found": through_found,
    "coroutine": through_coroutine,
    "grouped": through_groups,
    "stream": through_stream,
    "quick": among_quick_calls,
    "threads": in_threads,
    "impatient": impatiently,
    "group": in_a_group,
    "stopped": beside_stopped,
    "killed": through_killed,
    "again": at_the_second_attempt,
}


def answer(plan: Plan) -> None:
    ref = start(plan)
    try:
        assert ray.get(ref, timeout=4 * PATIENCE) == plan.nodes, plan
    except exceptions.GetTimeoutError:
        pytest.fail(f"nothing came: {ray.why(ref)}\n{plan}")


@pytest.mark.parametrize("seed", range(SEEDS) or [1, 2])
def test_random_trees(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    draw = random.Random(seed)
    ray.init(num_cpus=3, resources={"token": 2}, log_to_driver=False, logging_level="ERROR")
    try:
        with ThreadPoolExecutor(TREES) as threads:
            list(threads.map(answer, [Plan(draw, DEPTH, NODES) for _ in range(TREES)]))
        for name in ray.util.list_named_actors():
            ray.kill(ray.get_actor(name))
        del threads
        gc.collect()
        eventually(lambda: all(each.state in ("FINISHED", "FAILED") for each in state.list_tasks(limit=10_000)))
        eventually(lambda: all(each.state == "DEAD" for each in state.list_actors(limit=10_000)))
        eventually(lambda: ray.available_resources() == ray.cluster_resources())
        eventually(lambda: not state.list_objects())
    finally:
        ray.shutdown()
