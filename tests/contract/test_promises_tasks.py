"""Promises of Ray's documentation about tasks that the other files do not cover."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import RayTaskError, TaskCancelledError
from tests.contract.helpers import eventually

pytestmark = pytest.mark.usefixtures("cluster")

DYNAMIC = pytest.mark.filterwarnings("ignore:num_returns='dynamic'")


def _numbers(count: int, error: bool) -> Any:
    for number in range(count):
        yield np.full(50_000, number)
    if error:
        raise ValueError("no more")


class _Actor:
    def numbers(self, count: int, error: bool) -> Any:
        yield from _numbers(count, error)


@DYNAMIC
@pytest.mark.parametrize("of_an_actor", [False, True])
@pytest.mark.parametrize("error", [False, True])
def test_what_a_generator_yielded_before_it_failed_can_be_read(of_an_actor: bool, error: bool) -> None:
    numbers: Any = ray.remote(_Actor).remote().numbers if of_an_actor else ray.remote(_numbers)
    first, second, third, fourth = numbers.options(num_returns=4).remote(2, error)
    assert [array[0] for array in ray.get([first, second])] == [0, 1]
    for ref in (third, fourth):
        with pytest.raises(ValueError, match="no more" if error else "returned 2 objects") as found:
            ray.get(ref)
        assert isinstance(found.value, RayTaskError)
    assert [array[0] for array in ray.get(numbers.options(num_returns=2).remote(3, error))] == [0, 1]
    assert ray.get(numbers.options(num_returns=1).remote(2, error))[0] == 0
    items = list(ray.get(numbers.options(num_returns="dynamic").remote(2, error)))
    assert [array[0] for array in ray.get(items[:2])] == [0, 1]
    assert len(items) == 2 + error
    if error:
        with pytest.raises(ValueError, match="no more"):
            ray.get(items[2])


@DYNAMIC
def test_a_generator_that_fails_before_it_yields_gives_its_error_as_its_one_item() -> None:
    (item,) = ray.get(ray.remote(_numbers).options(num_returns="dynamic").remote(0, True))
    with pytest.raises(ValueError, match="no more"):
        ray.get(item)


@DYNAMIC
@pytest.mark.parametrize("num_returns", [2, "dynamic"])
def test_a_generator_that_failed_halfway_is_tried_again(tmp_path: Path, num_returns: Any) -> None:
    @ray.remote(retry_exceptions=True, max_retries=1)
    def numbers() -> Any:
        yield 1
        if not marker.exists():
            marker.touch()
            raise ValueError("the first time")
        yield 2

    marker = tmp_path / "tried"
    returned = numbers.options(num_returns=num_returns).remote()
    assert ray.get(list(returned if num_returns == 2 else ray.get(returned))) == [1, 2]


def test_a_cancelled_task_leaves_its_worker_able_to_run_the_same_function(tmp_path: Path) -> None:
    @ray.remote
    def wait(number: int) -> int:
        eventually(gate.exists)
        return number

    gate = tmp_path / "gate"
    for _ in range(3):
        refs = [wait.remote(number) for number in range(20)]
        for ref in refs:
            ray.cancel(ref)
        for ref in refs:
            with pytest.raises(TaskCancelledError):
                ray.get(ref)
    gate.touch()
    assert ray.get([wait.remote(number) for number in range(20)]) == list(range(20))


def test_no_name_is_no_actor() -> None:
    for name in (None, "", "   "):
        with pytest.raises(ValueError, match="actor"):
            ray.get_actor(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retries": -2}, "'max_retries' only accepts None, 0, -1 or a positive integer"),
        ({"max_calls": -1}, "'max_calls' only accepts None, 0 or a positive integer"),
        ({"num_returns": -1}, "'num_returns' only accepts None, a non-negative integer, 'streaming'"),
    ],
)
def test_options_out_of_range_say_what_is_in_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ray.remote(**options)(_numbers)


def test_a_task_that_states_none_for_its_cpus_asks_for_none() -> None:
    @ray.remote
    def held() -> Any:
        return ray.get_runtime_context().get_assigned_resources()

    assert ray.get(held.remote()) == {"CPU": 1}
    for one_that_asks_for_none in (held.options(num_cpus=None), ray.remote(num_cpus=None)(held._function)):
        assert ray.get(one_that_asks_for_none.remote()) == {}
    assert ray.get(held.options(num_gpus=None).remote()) == {"CPU": 1}
