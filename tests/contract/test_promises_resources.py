"""What the table of Ray's API says of resources, where other tests do not: RAY_API, sections 1, 6 and 7."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import ActorUnschedulableError, GetTimeoutError, ResourceDeadlockError
from jupyter_ray.util import placement_group, remove_placement_group
from jupyter_ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from tests.contract.helpers import PATIENCE, eventually

pytestmark = pytest.mark.local_only(
    "the tests choose resources at init; a cluster's resources are given (see tests/cluster)"
)


@ray.remote
def hold(gate: Path) -> int:
    eventually(gate.exists, 2 * PATIENCE)
    return 1


@ray.remote
class Plain:
    def held(self) -> dict[str, float]:
        return ray.get_runtime_context().get_assigned_resources()


def test_an_actor_that_states_no_cpus_waits_for_none(start: Callable[..., Any], tmp_path: Path) -> None:
    """It wants a machine that has one, free or not."""
    start(num_cpus=1)
    busy = hold.remote(tmp_path / "gate")
    eventually(lambda: "CPU" not in ray.available_resources())
    assert ray.get([Plain.remote().held.remote() for _ in range(20)], timeout=PATIENCE) == [{}] * 20
    (tmp_path / "gate").touch()
    assert ray.get(busy) == 1
    group = placement_group([{"CPU": 1}])
    inside = PlacementGroupSchedulingStrategy(group, 0)
    first = Plain.options(num_cpus=1, scheduling_strategy=inside).remote()
    assert ray.get(first.held.remote(), timeout=PATIENCE) == {"CPU": 1.0}
    assert ray.get(Plain.options(scheduling_strategy=inside).remote().held.remote(), timeout=PATIENCE) == {}
    remove_placement_group(group)
    ray.shutdown()
    start(num_cpus=0, resources={"disk": 1})
    with pytest.raises(ActorUnschedulableError, match="CPU"):
        Plain.remote()
    assert ray.get(Plain.options(num_cpus=0).remote().held.remote()) == {}


def test_an_actor_s_constructor_may_wait_for_other_actors(start: Callable[..., Any]) -> None:
    class Nested:
        def __init__(self, depth: int) -> None:
            self.depth = 1 + ray.get(ray.remote(Nested).remote(depth - 1).measure.remote()) if depth else 0

        def measure(self) -> int:
            return self.depth

    start(num_cpus=1)
    assert ray.get(ray.remote(Nested).remote(5).measure.remote(), timeout=PATIENCE) == 5


def test_a_constructor_knows_what_it_is(start: Callable[..., Any]) -> None:
    class Known:
        def __init__(self) -> None:
            context = ray.get_runtime_context()
            self.found = context.get_task_function_name(), context.get_actor_id(), context.current_actor
            self.name = context.get_task_name()

        def get(self) -> Any:
            return self.found

        def get_name(self) -> Any:
            return self.name

    start(num_cpus=1)
    named = ray.remote(Known).options(name="named").remote()
    assert ray.get(named.get_name.remote()) == "named:Known.__init__"
    actor = ray.remote(Known).remote()
    assert ray.get(actor.get_name.remote()) == "Known.__init__"
    name = f"{__name__}.test_a_constructor_knows_what_it_is.<locals>.Known.__init__"
    assert ray.get(actor.get.remote()) == (name, actor._actor_id.hex(), actor)


@pytest.mark.parametrize("name", ["memory", "object_store_memory"])
def test_memory_is_no_custom_resource(start: Callable[..., Any], name: str) -> None:
    start(num_cpus=1)
    with pytest.raises(ValueError, match="must not contain the key 'memory'"):
        hold.options(resources={name: 1}).remote("x")
    with pytest.raises(ValueError, match="must not contain the key 'memory'"):
        Plain.options(resources={name: 1}).remote()


def test_a_wait_that_can_never_end_is_found_behind_a_task_that_keeps_nothing(start: Callable[..., Any]) -> None:
    start(num_cpus=4, num_gpus=1)

    @ray.remote
    def slow() -> int:
        time.sleep(0.3)
        return 1

    @ray.remote(num_gpus=1)
    def leaf(value: int) -> int:
        return value

    @ray.remote
    def between(late: bool, timeout: float | None) -> int:
        try:
            return int(ray.get(leaf.remote(slow.remote() if late else 1), timeout=timeout))
        except GetTimeoutError:
            return 7

    @ray.remote(num_gpus=1)
    def top(late: bool = False, timeout: float | None = None) -> int:
        return int(ray.get(between.remote(late, timeout)))

    @ray.remote(num_gpus=1)
    class Actor:
        def top(self) -> int:
            return int(ray.get(between.remote(False, None)))

    told = r"(?s)(top|Actor\.top) \(\w+\) holds GPU: 1 and waits for between .*between \(\w+\) waits for leaf"
    for late in (False, True):
        with pytest.raises(ResourceDeadlockError, match=told):
            ray.get(top.remote(late), timeout=PATIENCE)
    actor = Actor.remote()
    with pytest.raises(ResourceDeadlockError, match=told.replace("holds GPU: 1 and ", ".*")):
        ray.get(actor.top.remote(), timeout=PATIENCE)
    ray.kill(actor)
    assert ray.get(top.remote(timeout=1.5), timeout=PATIENCE) == 7, "it does not wait for ever"
    assert ray.get(leaf.remote(1), timeout=PATIENCE) == 1


def test_what_a_group_reserves_may_come_back(start: Callable[..., Any]) -> None:
    """Whoever removes the group lets those go on that wait for it: that is no cycle."""
    start(num_cpus=2, num_gpus=1, resources={"disk": 1})

    @ray.remote(num_gpus=1)
    def leaf() -> int:
        return 1

    @ray.remote(resources={"disk": 1})
    def top(inside: Any) -> int:
        return int(ray.get(leaf.options(scheduling_strategy=inside).remote()))

    for waits_for_group in (False, True):
        group = placement_group([{"GPU": 1}])
        assert group.wait(PATIENCE)
        later = placement_group([{"GPU": 1, "CPU": 1}]) if waits_for_group else None
        ref = top.remote(PlacementGroupSchedulingStrategy(later) if later is not None else "DEFAULT")
        eventually(lambda ref=ref: "leaf" in ray.why(ref))  # type: ignore[misc]
        assert ray.wait([ref], timeout=1.2)[0] == []
        remove_placement_group(group)
        assert ray.get(ref, timeout=PATIENCE) == 1
        if later is not None:
            remove_placement_group(later)
