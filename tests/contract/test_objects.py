"""Objects: ``get``, ``put``, ``wait``, references in containers, futures, lifetimes."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.events import ObjectFreed
from tests.contract.helpers import PATIENCE, Log, eventually

pytestmark = pytest.mark.usefixtures("cluster")


@ray.remote
def echo(x: Any) -> Any:
    return x


@ray.remote
def after(path: str, value: Any) -> Any:
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.01)
    return value


def test_get_keeps_order_and_duplicates() -> None:
    a, b = echo.remote("a"), echo.remote("b")
    assert ray.get([b, a, b]) == ["b", "a", "b"]
    assert ray.get([]) == []


def test_get_wants_references() -> None:
    with pytest.raises(ValueError, match="list of ObjectRefs"):
        ray.get(1)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"not an ray\.ObjectRef"):
        ray.get([1])  # type: ignore[list-item]


def test_get_times_out(tmp_path: Path) -> None:
    ref = after.remote(str(tmp_path / "gate"), 1)
    for timeout in (0, 0.05):
        with pytest.raises(exceptions.GetTimeoutError) as caught:
            ray.get(ref, timeout=timeout)
        assert isinstance(caught.value, TimeoutError)
    (tmp_path / "gate").touch()
    assert ray.get(ref, timeout=30) == 1
    assert ray.get(ref, timeout=0) == 1


def test_the_first_error_is_raised_without_waiting(tmp_path: Path) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("k")

    pending = after.remote(str(tmp_path / "gate"), 1)
    with pytest.raises(KeyError):
        ray.get([pending, fail.remote()], timeout=30)
    (tmp_path / "gate").touch()
    ray.get(pending)


def test_put_takes_a_snapshot() -> None:
    value = {"a": [1, 2]}
    ref = ray.put(value)
    value["a"].append(3)
    assert ray.get(ref) == {"a": [1, 2]}
    with pytest.raises(TypeError, match="not allowed"):
        ray.put(ref)
    with pytest.raises(ValueError, match="_owner"):
        ray.put(1, _owner=ref)


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_arrays_are_read_only_wherever_they_go(size: int) -> None:
    array = np.arange(size)

    @ray.remote
    def look(x: Any) -> tuple[bool, int]:
        return x.flags.writeable, int(x.sum())

    ref = ray.put(array)
    back = ray.get(ref)
    assert not back.flags.writeable
    assert (back == array).all()
    for argument in (ref, array, echo.remote(array)):
        assert ray.get(look.remote(argument)) == (False, int(array.sum()))
    result = ray.get(echo.remote(array))
    assert not result.flags.writeable


def test_arrays_with_gaps_are_read_only_wherever_they_are_made() -> None:
    @ray.remote
    class Maker:
        def one(self) -> Any:
            import numpy  # The first to do so in this process.

            return {"value": numpy.ones((10, 10))[:, ::2]}

        def some(self) -> Iterator[Any]:
            import numpy

            yield numpy.ones((10, 10))[:, ::2]

    for found in (
        ray.get(Maker.remote().one.remote())["value"],
        ray.get(next(Maker.remote().some.remote())),
        ray.get(ray.put(np.ones((10, 10))[:, ::2])),
    ):
        assert found.sum() == 50
        assert not found.flags.writeable


def test_a_large_array_is_read_without_a_copy() -> None:
    ref = ray.put(np.zeros(1_000_000))
    one, two = ray.get(ref), ray.get(ref)
    assert one.__array_interface__["data"][0] == two.__array_interface__["data"][0]
    assert one.__array_interface__["data"][0] % 64 == 0


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")  # NumPy 2.5; it can still be done.
def test_what_a_reader_does_to_an_array_object_is_its_own() -> None:
    ref = ray.put(np.arange(1_000_000))
    one = ray.get(ref)
    one.shape = (1000, 1000)
    two = ray.get(ref)
    assert two.shape == (1_000_000,)
    assert not two.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        two.flags.writeable = True
    objects = ray.put(np.array([[number] for number in range(100_000)] + [None], dtype=object))
    one = ray.get(objects)
    one[0].append("mine")
    assert ray.get(objects)[0] == [0], "it holds objects, which are no part of the file: each reader has its own"


def test_wait(tmp_path: Path) -> None:
    done = [echo.remote(n) for n in range(3)]
    ray.get(done)
    pending = [after.remote(str(tmp_path / "gate"), n) for n in range(2)]
    mixed = [pending[0], done[2], done[0], pending[1], done[1]]
    assert ray.wait(mixed, num_returns=3) == ([done[2], done[0], done[1]], pending)
    ready, rest = ray.wait(mixed, num_returns=2)
    assert len(ready) == 2
    assert sorted([*ready, *rest], key=mixed.index) == mixed
    assert ray.wait(mixed, num_returns=4, timeout=0.05) == ([done[2], done[0], done[1]], pending)
    assert ray.wait(pending, timeout=0) == ([], pending)
    (tmp_path / "gate").touch()
    assert ray.wait(mixed, num_returns=5, timeout=30) == (mixed, [])


def test_a_failed_task_is_ready() -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("k")

    ref = fail.remote()
    assert ray.wait([ref], timeout=30) == ([ref], [])


def test_wait_wants_different_references() -> None:
    ref = echo.remote(1)
    with pytest.raises(TypeError, match="list"):
        ray.wait(ref)
    with pytest.raises(ValueError, match="unique"):
        ray.wait([ref, ref])
    for wrong in ({"num_returns": 0}, {"num_returns": 2}, {"timeout": -1}):
        with pytest.raises(ValueError, match=r"num_returns|Invalid|nonnegative"):
            ray.wait([ref], **wrong)  # type: ignore[arg-type]


def test_wait_takes_a_number_that_was_divided() -> None:
    refs = [echo.remote(each) for each in range(3)]
    ray.get(refs)
    for number, taken in ((len(refs) / 3, 1), (len(refs) / 2, 1), (2.9, 2)):
        ready, rest = ray.wait(refs, num_returns=number)  # type: ignore[arg-type]
        assert (len(ready), len(rest)) == (taken, len(refs) - taken)


def test_references_in_containers_keep_their_objects() -> None:
    @ray.remote
    def make() -> dict[str, Any]:
        return {"refs": [ray.put(n) for n in range(3)], "nested": ray.put([ray.put("deep")])}

    made = ray.get(make.remote())
    assert ray.get(made["refs"]) == [0, 1, 2]
    assert ray.get(ray.get(made["nested"])[0]) == "deep"
    inner = ray.put("inner")
    outer = ray.put([inner])
    del inner
    assert ray.get(ray.get(outer)[0]) == "inner"
    assert ray.get(ray.get(echo.remote([ray.put(5)]))[0]) == 5


@pytest.mark.local_only("in Ray an object ends with the process that made it (its owner)")
def test_a_returned_reference_outlives_its_maker() -> None:
    @ray.remote
    class Maker:
        def make(self) -> list[Any]:
            return [ray.put(np.ones(100_000)), echo.remote("task")]

    maker = Maker.remote()
    array, task = ray.get(maker.make.remote())
    ray.kill(maker)
    assert ray.get(array).sum() == 100_000
    assert ray.get(task) == "task"


@pytest.mark.local_only("Ray has no events for the life of an object")
def test_an_object_is_freed_with_its_last_reference() -> None:
    with Log() as log:
        ref = ray.put(np.zeros(100_000))
        name = ref.hex()
        held = ray.put([ref])
        del ref
        assert ray.get(ray.get(held)[0]).shape == (100_000,)
        assert not log.find(ObjectFreed, object=name)
        del held
        eventually(lambda: log.find(ObjectFreed, object=name))


def test_futures_and_await() -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("k")

    future = echo.remote(1).future()
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(timeout=30) == 1
    with pytest.raises(KeyError):
        fail.remote().future().result(timeout=30)

    async def main() -> list[int]:
        with pytest.raises(KeyError):
            await fail.remote()
        assert await echo.remote("x") == "x"
        return await asyncio.gather(*[echo.remote(n) for n in range(3)])

    assert asyncio.run(main()) == [0, 1, 2]


def test_get_from_many_threads() -> None:
    values: list[int] = []

    def run(n: int) -> None:
        for k in range(20):
            values.append(ray.get(echo.remote(100 * n + k)))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values) == [100 * n + k for n in range(4) for k in range(20)]


def test_waiting_does_not_burn_the_processor(tmp_path: Path) -> None:
    ref = after.remote(str(tmp_path / "gate"), 1)
    threading.Timer(0.5, (tmp_path / "gate").touch).start()
    began = time.process_time()
    assert ray.get(ref, timeout=30) == 1
    assert time.process_time() - began < 0.3


@pytest.mark.parametrize("items", [256, 6_000, 50_000])
def test_arrays_of_any_size_begin_at_a_multiple_of_64(items: int) -> None:
    array = np.arange(float(items))
    for got in (ray.get(ray.put(array)), ray.get(echo.remote(array)), ray.get(echo.remote([array]))[0]):
        assert got.ctypes.data % 64 == 0
        assert not got.flags.writeable
        assert (got == array).all()


@pytest.mark.local_only("Ray reads that variable when it is imported")
def test_references_may_be_kept_from_travelling_out_of_band(monkeypatch: pytest.MonkeyPatch) -> None:
    ref = ray.put(1)

    @ray.remote
    def closes_over_it() -> Any:
        return ray.get(ref)

    monkeypatch.setenv("RAY_allow_out_of_band_object_ref_serialization", "0")
    with pytest.raises(exceptions.OufOfBandObjectRefSerializationException, match=ref.hex()):
        closes_over_it.remote()
    with pytest.raises(exceptions.OufOfBandObjectRefSerializationException, match=ref.hex()):
        ray.cloudpickle.dumps(ref)
    assert ray.get(ray.get(echo.remote([ref]))[0]) == 1
    monkeypatch.delenv("RAY_allow_out_of_band_object_ref_serialization")
    assert ray.get(closes_over_it.remote()) == 1


def test_a_future_for_a_loop_that_does_not_run_yet() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        futures = [ray.put(number).as_future() for number in range(3)]
        assert loop.run_until_complete(asyncio.gather(*futures)) == [0, 1, 2]
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@pytest.mark.local_only("Ray pickles results itself, and rebuilds such a class without its slots")
def test_an_instance_of_a_class_with_slots_comes_back() -> None:
    @dataclasses.dataclass(slots=True)
    class Point:
        x: int
        y: int = 0

    @ray.remote
    def moved(point: Point) -> tuple[Point, bool]:
        return Point(point.x + 1, 7), hasattr(point, "__dict__")

    point, has_dict = ray.get(moved.remote(Point(1)), timeout=PATIENCE)
    assert point == Point(2, 7)
    assert not has_dict


@pytest.mark.local_only("Ray's pickler manages some 490 levels of nested lists as this engine wraps them")
def test_lists_in_lists_a_thousand_deep_are_values_like_others() -> None:
    nested: list[Any] = []
    for _ in range(1_000):
        nested = [nested]

    def depth(value: Any) -> int:
        steps = 0
        while value:
            (value,) = value
            steps += 1
        return steps

    assert depth(ray.get(ray.put(nested))) == 1_000
    assert depth(ray.get(echo.remote(nested))) == 1_000
