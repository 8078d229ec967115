"""Placement groups on one machine (RAY_API S12)."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import concurrent.futures
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import (
    ActorDiedError,
    RayActorError,
    RayError,
    RaySystemError,
    ResourceDeadlockError,
    TaskPlacementGroupRemoved,
    WorkerCrashedError,
)
from jupyter_ray.ids import PlacementGroupID
from jupyter_ray.util import (
    PlacementGroup,
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from jupyter_ray.util.placement_group import (
    VALID_PLACEMENT_GROUP_STRATEGIES,
    check_placement_group_index,
    validate_placement_group,
)
from jupyter_ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from jupyter_ray.util.state import list_tasks
from tests.contract.helpers import PATIENCE, eventually

pytestmark = pytest.mark.usefixtures("cluster")


ONE_MACHINE = pytest.mark.local_only("bundles are spread over several machines, or need one that is large enough")


@ray.remote
def hold(gate: str) -> int:
    while not os.path.exists(gate):
        time.sleep(0.01)
    return 1


def available() -> float:
    return ray.available_resources().get("CPU", 0.0)


@pytest.mark.parametrize("strategy", ["PACK", "SPREAD", pytest.param("STRICT_PACK", marks=ONE_MACHINE)])
def test_a_group_reserves_and_gives_back(strategy: str) -> None:
    eventually(lambda: available() == 4)
    group = placement_group([{"CPU": 1}, {"CPU": 2}], strategy=strategy)
    assert ray.get(group.ready(), timeout=30) == group
    assert group.wait(30)
    assert available() == 1
    assert group.bundle_specs == [{"CPU": 1}, {"CPU": 2}]
    assert placement_group_table(group)["state"] == "CREATED"
    remove_placement_group(group)
    eventually(lambda: available() == 4)
    assert placement_group_table(group)["state"] == "REMOVED"


@ONE_MACHINE
def test_strict_spread_stays_pending() -> None:
    group = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")
    assert not group.wait(0.1)
    assert placement_group_table()[group.id.hex()]["state"] == "PENDING"
    remove_placement_group(group)


def test_tasks_and_actors_run_inside_and_end_with_the_group(tmp_path: Path) -> None:
    group = placement_group([{"CPU": 1}, {"CPU": 1}], name="mine")
    assert group.wait(30)
    assert get_placement_group("mine") == group
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)

    @ray.remote(num_cpus=1)
    class Inside:
        def group(self) -> Any:
            return get_current_placement_group()

        def pid(self) -> int:
            return os.getpid()

    actor = Inside.options(scheduling_strategy=strategy).remote()
    assert ray.get(actor.group.remote()) == group
    other = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=1)
    gate = tmp_path / "gate"
    gate.touch()
    assert ray.get(hold.options(scheduling_strategy=other).remote(str(gate))) == 1
    remove_placement_group(group)
    with pytest.raises(RayActorError, match="INTENDED_SYSTEM_EXIT"):
        eventually(lambda: not ray.get(actor.pid.remote(), timeout=30))
    with pytest.raises(TaskPlacementGroupRemoved):
        ray.get(hold.options(scheduling_strategy=other).remote("x"), timeout=30)
    eventually(lambda: available() == 4)


@pytest.mark.local_only("Ray reports a task whose placement group was removed as one whose worker died")
def test_a_task_that_runs_ends_with_its_group(tmp_path: Path) -> None:
    group = placement_group([{"CPU": 1}])
    inside = PlacementGroupSchedulingStrategy(group)
    task = hold.options(scheduling_strategy=inside, max_retries=0).remote(str(tmp_path / "never"))
    eventually(lambda: "has been running for" in ray.why(task))
    remove_placement_group(group)
    with pytest.raises(TaskPlacementGroupRemoved):
        ray.get(task, timeout=30)


def test_children_inherit_only_if_captured() -> None:
    group = placement_group([{"CPU": 2}])
    assert group.wait(30)

    @ray.remote
    def child() -> Any:
        return get_current_placement_group()

    @ray.remote
    def parent() -> Any:
        return ray.get(child.remote())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It is deprecated.
        assert ray.get_runtime_context().current_placement_group_id == ray.PlacementGroupID.nil()
    captured = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    plain = PlacementGroupSchedulingStrategy(group)
    assert ray.get(parent.options(scheduling_strategy=captured).remote(), timeout=30) == group
    assert ray.get(parent.options(scheduling_strategy=plain).remote(), timeout=30) is None
    remove_placement_group(group)


def test_a_strategy_of_the_default_group_takes_over_the_callers() -> None:
    """What libraries pass on where they were given no group, as in Ray: the caller's, if there is one."""
    group = placement_group([{"CPU": 2}])
    assert group.wait(30)

    @ray.remote
    def child() -> Any:
        return get_current_placement_group()

    @ray.remote
    def parent(capture: bool | None) -> Any:
        strategy = PlacementGroupSchedulingStrategy("default", placement_group_capture_child_tasks=capture)
        return ray.get(child.options(scheduling_strategy=strategy).remote())

    inside = parent.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group))
    assert ray.get(parent.remote(True), timeout=30) is None
    assert ray.get([inside.remote(capture) for capture in (None, False)], timeout=30) == [None, None]
    assert ray.get(inside.remote(True), timeout=30) == group
    strategy = PlacementGroupSchedulingStrategy("default", placement_group_bundle_index=0)
    with pytest.raises(ValueError, match="index must be -1"):  # Through Ray Client it is told at get().
        ray.get(child.options(scheduling_strategy=strategy).remote(), timeout=30)
    remove_placement_group(group)


@pytest.mark.not_through_client("if Ray itself refuses a call, the error comes at get()")
def test_bad_groups_say_so_at_once() -> None:
    wrong: list[Any] = [[], [{}], [{"CPU": 0}], [{"CPU": -1}], ["CPU"], {"CPU": 1}]
    for bundles in wrong:
        with pytest.raises(ValueError, match=r"[Bb]undle"):
            placement_group(bundles)
    with pytest.raises(ValueError, match="strategy"):
        placement_group([{"CPU": 1}], strategy="LOOSE")
    group = placement_group([{"CPU": 1}])
    big = hold.options(num_cpus=3, scheduling_strategy=PlacementGroupSchedulingStrategy(group))
    assert group.wait(30)
    row = placement_group_table(group)
    assert row["bundles_to_node_id"][0] in [node["NodeID"] for node in ray.nodes()]
    with pytest.raises(ValueError, match="cannot fit"):
        big.remote("x")
    for index in (-2, 1):
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
        with pytest.raises(ValueError, match="bundle index"):
            hold.options(scheduling_strategy=strategy).remote("x")
    with pytest.raises(TypeError, match="PlacementGroup"):
        remove_placement_group("group")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="scheduling_strategy"):
        hold.options(scheduling_strategy=3)
    with pytest.raises(ValueError, match="non-empty"):
        get_placement_group("")
    remove_placement_group(group)


def test_no_group_is_ready_at_once_and_never_reserved() -> None:
    nothing = PlacementGroup.empty()
    assert ray.get(nothing.ready(), timeout=PATIENCE) == nothing
    assert not nothing.wait(0.01)


def test_a_group_waits_for_a_machine_with_its_labels() -> None:
    node = next(row["NodeID"] for row in ray.nodes() if row["Resources"].get("CPU"))
    for selector in ({"zone": "!east"}, {"ray.io/node-id": node}):
        met = placement_group([{"CPU": 1}], bundle_label_selector=[selector])
        assert met.wait(PATIENCE), selector
        remove_placement_group(met)
    unmet = placement_group([{"CPU": 1}], bundle_label_selector=[{"zone": "east"}])
    apart = placement_group([{"CPU": 1}], topology_strategy={"rack": "STRICT_PACK"})
    for group in (unmet, apart):
        assert not group.wait(0.5)
        assert placement_group_table(group)["stats"]["scheduling_state"] == "INFEASIBLE"
        remove_placement_group(group)


@pytest.mark.local_only("the sentence is about one machine")
def test_why_a_group_with_labels_waits() -> None:
    group = placement_group([{"CPU": 1}], bundle_label_selector=[{"zone": "east"}])
    assert "a machine with the labels {'zone': 'east'}" in str(ray.why(group.ready()))
    remove_placement_group(group)


@pytest.mark.local_only("Ray waits for a machine that can hold the group")
def test_nobody_waits_for_ever_for_a_group_that_no_machine_can_hold() -> None:
    large = placement_group([{"CPU": 100}], name="large")
    spread = placement_group([{"CPU": 1}] * 2, strategy="STRICT_SPREAD")
    elsewhere = placement_group([{"CPU": 1}], bundle_label_selector=[{"zone": "east"}])
    told = {
        large: "The placement group large asks for CPU: 100, and this machine",
        spread: "a machine for each of its 2 bundles",
        elsewhere: "the labels {'zone': 'east'}",
    }

    @ray.remote(num_cpus=0)
    def wait_for_it(group: Any) -> Any:
        return ray.get(group.ready())

    @ray.remote
    def inside() -> int:
        return 1

    ways: list[Callable[[Any], Any]] = [
        lambda group: group.ready(),
        lambda group: inside.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group)).remote(),
        lambda group: wait_for_it.remote(group),
    ]
    # All at once: each of them is told after a few seconds.
    waits = [(group, way) for group in told for way in ways]
    with concurrent.futures.ThreadPoolExecutor(len(waits)) as threads:
        futures = [threads.submit(lambda each: ray.get(each[1](each[0])), wait) for wait in waits]
        for (group, _), future in zip(waits, futures, strict=True):
            with pytest.raises(ResourceDeadlockError, match="would never return") as raised:
                future.result(timeout=60)
            assert told[group] in str(raised.value)
    for group in told:
        assert not group.wait(0)
        assert placement_group_table(group)["state"] == "PENDING"
        remove_placement_group(group)


def test_what_a_group_would_be_can_be_checked_alone() -> None:
    for strategy in VALID_PLACEMENT_GROUP_STRATEGIES:
        validate_placement_group([{"CPU": 1, "other": 2.2}, {"GPU": 0.75}], strategy=strategy)
    validate_placement_group([{"CPU": 1}], bundle_label_selector=[{"ray.io/accelerator-type": "A100"}])
    wrong: Any
    for wrong, text in (
        ("CPU", "must be a list"),
        ([], "must be a non-empty list"),
        ([{"CPU": 1}, "CPU"], "resource dictionaries"),
        ([{8: 7}], "resource dictionaries"),
        ([{"CPU": "6"}], "resource dictionaries"),
        ([{"CPU": 0, "GPU": 0}], "only 0 values"),
        ([{"CPU": -1}], "must not be negative"),
    ):
        with pytest.raises(ValueError, match=text):
            validate_placement_group(wrong)
    for wrong, text in (
        ("A100", "must be a list"),
        (["A100"], "must be a list of string dictionary"),
        ([{1: "A100"}], "must be a list of string dictionary"),
        ([{"key": 1}], "must be a list of string dictionary"),
        ([{"INVALID key!": "value"}], "Invalid label selector provided"),
    ):
        with pytest.raises(ValueError, match=text):
            validate_placement_group([{"CPU": 1}] * len(wrong), bundle_label_selector=wrong)
    with pytest.raises(ValueError, match="Invalid placement group strategy"):
        validate_placement_group([{"CPU": 1}], strategy="ANY")
    with pytest.raises(ValueError, match="lifetime"):
        validate_placement_group([{"CPU": 1}], lifetime="long")
    with pytest.raises(ValueError, match="only works with STRICT_PACK"):
        validate_placement_group([{"CPU": 1}], _soft_target_node_id="00" * 28)
    with pytest.raises(ValueError, match="Invalid hex ID of _soft_target_node_id"):
        validate_placement_group([{"CPU": 1}], "STRICT_PACK", _soft_target_node_id="no id")
    group = PlacementGroup(PlacementGroupID.from_random(), [{"CPU": 1}])
    check_placement_group_index(group, 0)
    for index in (-2, 1):
        with pytest.raises(ValueError, match="bundle index"):
            check_placement_group_index(group, index)
    with pytest.raises(ValueError, match="If placement group is not set"):
        check_placement_group_index(PlacementGroup.empty(), 0)


def test_one_group_of_a_name() -> None:
    group = placement_group([{"CPU": 1}], name="only one")
    assert group.wait(PATIENCE)
    with pytest.raises(RaySystemError, match="only one"):
        placement_group([{"CPU": 1}], name="only one")
    remove_placement_group(group)
    with pytest.raises(TaskPlacementGroupRemoved):
        group.wait(PATIENCE)
    again = placement_group([{"CPU": 1}], name="only one")
    assert again.wait(PATIENCE)
    remove_placement_group(again)


@pytest.mark.filterwarnings("ignore:The placement_group parameter is deprecated")
def test_options_beside_the_group_of_a_decorator() -> None:
    group = placement_group([{"CPU": 1}, {"CPU": 1}])

    @ray.remote(placement_group=group, num_cpus=1)
    def inside() -> bool:
        return get_current_placement_group() == group

    assert ray.get(inside.options(placement_group_bundle_index=1).remote(), timeout=PATIENCE)
    with pytest.raises(ValueError, match="via the scheduling_strategy option"):
        inside.options(scheduling_strategy="SPREAD")
    strategy = PlacementGroupSchedulingStrategy(group)
    with pytest.raises(ValueError, match="via the scheduling_strategy option"):
        ray.remote(scheduling_strategy=strategy)(_Nothing).options(placement_group=group)
    remove_placement_group(group)


@pytest.mark.not_through_client("if Ray itself refuses a call, the error comes at get()")
def test_nothing_of_a_group_without_one() -> None:
    with pytest.raises(ValueError, match="bundle index must be -1"):
        ray.remote(int).options(placement_group_bundle_index=0).remote()
    group = placement_group([{"CPU": 2}], topology_strategy={"ray.io/node-id": "STRICT_PACK"})

    def current() -> bool:
        return get_current_placement_group() is not None

    def outer() -> list[bool]:
        inner = ray.remote(current)
        outside = inner.options(scheduling_strategy=PlacementGroupSchedulingStrategy(None))
        return ray.get([inner.remote(), inner.options(placement_group=None).remote(), outside.remote()])

    inside = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    assert ray.get(ray.remote(outer).options(scheduling_strategy=inside).remote()) == [True, False, False]
    remove_placement_group(group)
    nowhere = PlacementGroupSchedulingStrategy(None, placement_group_bundle_index=1)
    with pytest.raises(ValueError, match="bundle index must be -1"):
        ray.remote(current).options(scheduling_strategy=nowhere).remote()


def test_what_is_deprecated_says_so() -> None:
    group = placement_group([{"CPU": 1}])
    with pytest.warns(DeprecationWarning, match="placement_group parameter is deprecated"):
        ray.remote(int).options(placement_group=group)
    remove_placement_group(group)
    with pytest.warns(DeprecationWarning, match="'object_store_memory' for bundles is deprecated"):
        remove_placement_group(placement_group([{"CPU": 1, "object_store_memory": 0}]))
    with pytest.warns(DeprecationWarning, match="'object_store_memory' for actors is deprecated"):
        ray.remote(object_store_memory=1)(type("Plain", (), {}))


@ONE_MACHINE
def test_ready_needs_no_process_and_says_what_it_waits_for() -> None:
    cpus = int(ray.cluster_resources()["CPU"])
    everything = placement_group([{"CPU": cpus}])
    assert ray.get(everything.ready()) == everything
    second = placement_group([{"CPU": 1}], name="second")
    ready = second.ready()
    assert not second.wait(0.01)
    first = everything.id.hex()[:8]
    reserved = f"Of CPU: {cpus}, the placement group {first} reserves CPU: {cpus}."
    assert ray.why(ready) == f"The placement group second waits for CPU: 1. {reserved}"
    assert [task for task in list_tasks() if "ready" in task.name] == []
    remove_placement_group(everything)
    assert ray.get(ready, timeout=60) == second
    remove_placement_group(second)
    with pytest.raises(TaskPlacementGroupRemoved):
        ray.get(second.ready(), timeout=60)


def test_who_waits_for_a_group_that_is_removed_is_told(tmp_path: Path) -> None:
    never = placement_group([{"CPU": 1}, {"CPU": 1000}])
    ready, inside = never.ready(), PlacementGroupSchedulingStrategy(never)
    task = hold.options(scheduling_strategy=inside).remote(str(tmp_path / "never"))
    actor: Any = ray.remote(_Nothing).options(scheduling_strategy=inside).remote()
    call = actor.nothing.remote()
    remove_placement_group(never)
    for waiting, error in ((ready, TaskPlacementGroupRemoved), (task, TaskPlacementGroupRemoved), (call, RayError)):
        with pytest.raises(error, match="group"):
            ray.get(waiting, timeout=60)


class _Nothing:
    def nothing(self) -> None: ...


@ONE_MACHINE
def test_a_running_task_of_a_removed_group_counts_as_crashed(tmp_path: Path) -> None:
    group = placement_group([{"CPU": 1}])
    running = hold.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group), max_retries=0)
    task = running.remote(str(tmp_path / "never"))
    waiting = running.remote(str(tmp_path / "never"))
    eventually(lambda: "has been running for" in ray.why(task))
    remove_placement_group(group)
    with pytest.raises(WorkerCrashedError, match="was removed"):
        ray.get(task, timeout=60)
    with pytest.raises(TaskPlacementGroupRemoved) as caught:
        ray.get(waiting, timeout=60)
    assert not isinstance(caught.value, WorkerCrashedError)


@ONE_MACHINE
def test_statistics_of_groups() -> None:
    def told(group: Any) -> tuple[str, bool]:
        found = placement_group_table(group)["stats"]
        assert found["scheduling_attempt"] == 1
        return found["scheduling_state"], found["end_to_end_creation_latency_ms"] > 0

    group, second = placement_group([{"CPU": 3}]), placement_group([{"CPU": 2}])
    never = placement_group([{"CPU": 1}, {"absent": 1}])
    assert group.wait(PATIENCE)
    assert [told(each) for each in (group, second, never)] == [
        ("FINISHED", True), ("NO_RESOURCES", False), ("INFEASIBLE", False),
    ]  # fmt: skip
    remove_placement_group(group)
    assert second.wait(PATIENCE)
    assert told(second) == ("FINISHED", True)
    for each in (second, never):
        remove_placement_group(each)
    assert told(never) == ("REMOVED", False)


def test_a_group_as_a_dict() -> None:
    group = placement_group([{"CPU": 1}])
    again = PlacementGroup.from_dict(group.to_dict())
    assert (again, again.bundle_cache) == (group, [{"CPU": 1}])
    assert PlacementGroup(id=group.id).to_dict() == {"id": group.id.hex(), "bundle_cache": None}
    remove_placement_group(group)


@pytest.mark.parametrize("restarts", [False, True])
def test_what_a_detached_actor_made_ends_with_its_process(restarts: bool) -> None:
    class Keeper:
        def reserve(self, lifetime: str | None = None) -> PlacementGroup:
            group = placement_group([{"CPU": 1}], lifetime=lifetime)
            assert group.wait(PATIENCE)
            return group

    made = ray.remote(num_cpus=0, max_restarts=1, max_task_retries=-1)(Keeper)
    keeper = made.options(name="keeper", lifetime="detached").remote()
    mine, detached = ray.get([keeper.reserve.remote(), keeper.reserve.remote("detached")])
    ray.kill(keeper, no_restart=not restarts)
    if restarts:
        eventually(lambda: placement_group_table(mine)["state"] == "REMOVED")
        mine = ray.get(keeper.reserve.remote())
        assert placement_group_table(mine)["state"] == "CREATED"
        ray.kill(keeper)
    eventually(lambda: placement_group_table(mine)["state"] == "REMOVED")
    assert placement_group_table(detached)["state"] == "CREATED"
    remove_placement_group(detached)


@pytest.mark.local_only("in Ray the actors of a removed group end some time later")
def test_no_call_is_answered_that_was_made_after_the_group_was_removed() -> None:
    @ray.remote(num_cpus=1)
    class Member:
        def answer(self) -> int:
            return 1

    @ray.remote(num_cpus=0)
    class Other:
        def call(self, member: Any, times: int) -> list[int]:
            return [ray.get(member.answer.remote()) for _ in range(times)]

    other: Any = Other.remote()
    for _ in range(20):
        group = placement_group([{"CPU": 1}])
        member: Any = Member.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group)).remote()
        assert [ray.get(member.answer.remote()) for _ in range(10)] == [1] * 10  # By now they go straight there.
        assert ray.get(other.call.remote(member, 10)) == [1] * 10
        remove_placement_group(group)
        with pytest.raises(ActorDiedError, match="its placement group was removed"):
            ray.get(member.answer.remote())
        with pytest.raises(ActorDiedError, match="its placement group was removed"):
            ray.get(other.call.remote(member, 1))
