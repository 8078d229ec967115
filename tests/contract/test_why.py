"""`why`: the chain that something hangs on, in plain sentences."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import jupyter_ray as ray
from jupyter_ray.util.placement_group import placement_group, remove_placement_group
from jupyter_ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from tests.contract.helpers import eventually

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """What tasks wait for; those of a test that has failed must not keep the next one's CPUs."""
    yield tmp_path / "open"
    (tmp_path / "open").touch()


@ray.remote
def slow(gate: str) -> int:
    """Take 10 ms at least: the next call of a function that is quick would be handed to a busy process in advance."""
    while True:
        time.sleep(0.01)
        if os.path.exists(gate):
            return 1


@ray.remote
def after(value: int) -> int:
    return value


@ray.remote
def blocked(refs: list[ray.ObjectRef[int]]) -> int:
    return int(ray.get(refs[0]))


class said:
    """Whether `why` says all these words of something; shows what it did say."""

    def __init__(self, ref: object, *parts: str) -> None:
        self._ref = ref
        self._parts = parts
        self._told = ""

    def __call__(self) -> bool:
        self._told = ray.why(self._ref)
        return all(part in self._told for part in self._parts)

    def __repr__(self) -> str:
        return f"{self._parts} in {self._told!r}"


def test_the_chain_is_told_to_its_end(gate: Path) -> None:
    first = slow.remote(str(gate))
    waiting = after.remote(first)
    watcher = blocked.remote([waiting])
    eventually(said(first, "slow", "has been running for", "in process"))
    eventually(said(waiting, "after", "waits for 1 argument", "the result of slow", "has been running for"))
    eventually(said(watcher, "blocked", "blocked in get()", "the result of after", "slow"))
    gate.touch()
    assert ray.get(watcher) == 1
    assert "ready" in ray.why(first)


@pytest.mark.local_only("on a cluster nobody records where a task waits")
def test_it_is_told_in_which_get_a_task_is_blocked(gate: Path) -> None:
    @ray.remote
    def of_two(first: list[ray.ObjectRef[int]], second: list[ray.ObjectRef[int]]) -> None:
        ray.get(first[0])
        ray.wait(second)

    quick, late = after.remote(1), slow.remote(str(gate))
    ref = of_two.remote([quick], [late])
    lines = of_two._function.__code__.co_firstlineno
    eventually(said(ref, f'has been blocked in wait() (File "{__file__}", line {lines + 3}, in of_two) for'))
    gate.touch()
    ray.get(ref)


def test_an_argument_to_which_there_is_no_reference_here(gate: Path) -> None:
    waiting = after.remote(slow.remote(str(gate)))
    eventually(said(waiting, "after", "waits for 1 argument", "the result of slow", "has been running for"))
    gate.touch()
    assert ray.get(waiting) == 1


def test_resources_and_their_holders(gate: Path) -> None:
    found = [node["Resources"]["CPU"] for node in ray.nodes() if node["Resources"].get("CPU")]
    cpus = found[0]
    holders = [slow.options(num_cpus=cpus).remote(str(gate)) for _ in found]
    for holder in holders:
        eventually(said(holder, "has been running for"))
    second = slow.options(num_cpus=cpus, name="second").remote(str(gate))
    eventually(said(second, "second", f"waits for CPU: {cpus:g}", "slow", f"holds CPU: {cpus:g}"))
    gate.touch()
    ray.get([*holders, second])


def test_actors_and_their_queues(gate: Path) -> None:
    @ray.remote
    class Busy:
        def work(self, gate: str) -> int:
            while not os.path.exists(gate):
                time.sleep(0.01)
            return 2

    actor = Busy.remote()
    refs = [actor.work.remote(str(gate)) for _ in range(3)]
    eventually(said(refs[2], "number 2", "at the actor Busy", "has been running for"))
    eventually(said(actor, "Busy", "is alive in process", "2 calls wait"))
    gate.touch()
    assert ray.get(refs) == [2, 2, 2]
    ray.kill(actor)
    eventually(said(actor, "dead", "ray.kill"))


@pytest.mark.local_only("Ray reports attempts only when the task has ended")
@pytest.mark.parametrize("fault", ["error", "crash"])
def test_a_retry_and_the_error_before_it(gate: Path, fault: str) -> None:
    @ray.remote(max_retries=3, retry_exceptions=True)
    def at_second_try(first: str, gate: str) -> str:
        if not os.path.exists(first):
            Path(first).touch()
            if fault == "crash":
                os._exit(7)
            raise ValueError("not yet")
        while not os.path.exists(gate):
            time.sleep(0.01)
        return "done"

    ref = at_second_try.remote(f"{gate}.first", str(gate))
    error = "exit code 7" if fault == "crash" else "ValueError: not yet"
    eventually(said(ref, "at_second_try", "is at attempt 2, after:", error, "has been running for"))
    gate.touch()
    assert ray.get(ref) == "done"


@pytest.mark.local_only("on a cluster only Ray knows how to reach an actor's process")
def test_an_actor_that_is_not_there_yet_or_never_will_be(gate: Path) -> None:
    @ray.remote
    class Slow:
        def __init__(self, gate: str) -> None:
            while gate and not os.path.exists(gate):
                time.sleep(0.01)
            if not gate:
                raise ValueError("no gate")

        def work(self) -> int:
            return 3

    actor = Slow.remote(str(gate))
    ref = actor.work.remote()
    eventually(said(actor, "The actor Slow is being made", "Slow.__init__", "has been running for"))
    eventually(said(ref, "Slow.work", "waits for its actor", "Slow.__init__", "has been running for"))
    gate.touch()
    assert ray.get(ref) == 3
    broken = Slow.remote("")
    eventually(said(broken, "The actor Slow is dead", "ValueError: no gate"))


@pytest.mark.local_only("on a cluster calls are queued by Ray, not here")
def test_calls_that_are_at_the_actor_before_their_turn_wait_too(gate: Path) -> None:
    @ray.remote
    class Busy:
        def work(self, gate: str) -> None:
            while not os.path.exists(gate):
                time.sleep(0.01)

        def quick(self) -> None: ...

    actor = Busy.remote()
    ray.get([actor.quick.remote() for _ in range(20)])  # Calls that are short are handed over before their turn.
    first, second = actor.work.remote(str(gate)), actor.work.remote(str(gate))
    eventually(said(second, "comes next in process"))
    assert "; 1 call waits." in ray.why(actor)
    gate.touch()
    ray.get([first, second])


@pytest.mark.local_only("on a cluster only Ray knows who holds a placement group's resources")
def test_a_task_in_a_placement_group(gate: Path) -> None:
    cpus = ray.cluster_resources()["CPU"]
    group = placement_group([{"CPU": cpus - 1}, {"CPU": 1}], name="taken")
    later = placement_group([{"CPU": 2}], name="later")
    try:
        assert group.wait(30)
        waiting = after.options(scheduling_strategy=PlacementGroupSchedulingStrategy(later)).remote(1)
        eventually(said(waiting, "waits for the placement group later", "taken reserves"))
        first, second = (
            slow.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 1), name=name).remote(str(gate))
            for name in ("first", "second")
        )
        eventually(said(first, "has been running for"))
        told = ray.why(second)
        assert "waits for CPU: 1 of bundle 1 of the placement group taken" in told
        assert "Of CPU: 1, first" in told
        gate.touch()
        assert ray.get([first, second]) == [1, 1]
    finally:
        remove_placement_group(group)
        remove_placement_group(later)


def test_what_it_cannot_explain() -> None:
    with pytest.raises(TypeError, match="not int"):
        ray.why(3)


@pytest.mark.local_only("Ray's get does not say what it waited for")
def test_a_get_whose_time_is_up_says_what_it_waited_for(gate: Path) -> None:
    ref = after.remote(slow.remote(str(gate)))
    assert eventually(said(ref, "has been running for"))
    with pytest.raises(ray.exceptions.GetTimeoutError, match=r"1 of 1 within 1 s\)\. after .* waits for 1 argument"):
        ray.get(ref, timeout=1)
    with pytest.raises(ray.exceptions.GetTimeoutError, match=r"within 0\.01 s\)\.$"):  # A poll, which need not know.
        ray.get(ref, timeout=0.01)


@pytest.mark.local_only("Ray's get does not say what it waited for")
def test_a_group_that_can_never_be_reserved_says_so_when_the_time_is_up() -> None:
    group = placement_group([{"CPU": 1000}])
    try:
        with pytest.raises(ray.exceptions.GetTimeoutError, match=r"asks for CPU: 1000, and this machine has CPU: \d+ "):
            ray.get(group.ready(), timeout=1)
    finally:
        remove_placement_group(group)
