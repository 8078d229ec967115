"""Promises of streams: how far a producer goes ahead, who may have one, and what never waits."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.events import ObjectFreed, ObjectSealed
from jupyter_ray.exceptions import RayTaskError, TaskCancelledError
from tests.contract.helpers import PATIENCE, Log, eventually

pytestmark = pytest.mark.usefixtures("cluster")


@ray.remote(num_cpus=0)
def numbers(count: int, fail: bool = False) -> Iterator[int]:
    yield from range(count)
    if fail:
        raise ValueError("no more")


def _noted(folder: Path) -> Iterator[int]:
    for number in range(6):
        (folder / str(number)).touch()
        yield number


class _Noting:
    def plain(self, folder: Path) -> Iterator[int]:
        yield from _noted(folder)

    @ray.method(_generator_backpressure_num_objects=2)
    def bounded(self, folder: Path) -> Iterator[int]:
        yield from _noted(folder)


class _NotingInALoop:
    async def plain(self, folder: Path) -> AsyncIterator[int]:
        for number in _noted(folder):
            yield number


@pytest.mark.parametrize("what", ["task", "method", "method that says so", "async method"])
def test_a_producer_pauses_when_so_many_items_are_unread(what: str, tmp_path: Path) -> None:
    bound = {"_generator_backpressure_num_objects": 2}
    actor: Any = ray.remote(num_cpus=0)(_NotingInALoop if what == "async method" else _Noting).remote()
    if what == "task":
        stream = ray.remote(_noted).options(**bound).remote(tmp_path)
    elif what == "method that says so":
        stream = actor.bounded.remote(tmp_path)
    else:
        stream = actor.plain.options(**bound).remote(tmp_path)

    def made() -> int:
        return len(list(tmp_path.iterdir()))

    eventually(lambda: made() == 2)
    time.sleep(0.3)  # Nothing tells that nothing happens.
    assert made() == 2
    ahead = made()
    refs = []
    while ahead < 6:
        refs.append(next(stream))
        eventually(lambda ahead=ahead: made() > ahead)  # type: ignore[misc]
        assert made() <= len(refs) + 2
        ahead = made()
    assert [ray.get(ref) for ref in [*refs, *stream]] == list(range(6))


def test_a_stream_does_not_travel() -> None:
    @ray.remote
    def take(value: Any) -> None: ...

    @ray.remote
    def gives() -> Any:
        return numbers.remote(1)

    class Gives:
        def plain(self) -> Any:
            return numbers.remote(1)

    class GivesInALoop(Gives):
        async def coroutine(self) -> Any:
            return numbers.remote(1)

    stream = numbers.remote(1)
    for use in (
        lambda: pickle.dumps(stream),
        lambda: ray.cloudpickle.dumps([stream]),
        lambda: copy.copy(stream),
        lambda: ray.put(stream),
        lambda: ray.put({"key": [stream]}),
        lambda: take.remote(stream),
        lambda: take.remote([stream]),
    ):
        with pytest.raises(TypeError, match=r"ObjectRefGenerator"):
            use()
    actor: Any = ray.remote(num_cpus=0)(Gives).remote()
    looping: Any = ray.remote(num_cpus=0)(GivesInALoop).remote()
    for ref in (gives.remote(), actor.plain.remote(), looping.plain.remote(), looping.coroutine.remote()):
        with pytest.raises(TypeError, match=r"ObjectRefGenerator") as found:
            ray.get(ref, timeout=PATIENCE)
        assert isinstance(found.value, RayTaskError)
    assert ray.get(next(stream)) == 0


async def _read(stream: Any) -> list[Any]:
    found: list[Any] = []
    async for ref in stream:
        try:
            found.append(await ref)
        except ValueError as error:
            found.append(str(error).splitlines()[-1])
    return found


def test_a_stream_is_read_by_a_loop_in_the_driver_and_in_actors() -> None:
    class Reader:
        async def read(self, fail: bool) -> list[Any]:
            return await _read(numbers.remote(2, fail))

    reader: Any = ray.remote(num_cpus=0)(Reader).remote()
    for fail, expected in ((False, [0, 1]), (True, [0, 1, "ValueError: no more"])):
        assert asyncio.run(_read(numbers.remote(2, fail))) == expected
        assert ray.get(reader.read.remote(fail), timeout=PATIENCE) == expected

    async def one_after_the_other() -> Any:
        stream = numbers.remote(1)
        ref = await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        return await ref, await stream.completed()

    assert asyncio.run(one_after_the_other()) == (0, None)


def test_what_never_waits(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote(num_cpus=0)
    def gated() -> Iterator[int]:
        eventually(gate.exists)
        yield 1

    stream = gated.remote()
    assert (stream.next_ready(), stream.is_finished()) == (False, False)
    assert ray.wait([stream, stream.completed()], timeout=0)[0] == []
    gate.touch()
    eventually(stream.next_ready)
    assert not stream.is_finished()
    assert ray.get(next(stream)) == 1
    eventually(stream.is_finished)
    assert not stream.next_ready()
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(stream)


def test_streams_and_references_are_waited_for_together(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote(num_cpus=0)
    def gated() -> Iterator[int]:
        eventually(gate.exists)
        yield 1

    late, stream, ref = gated.remote(), numbers.remote(2), ray.put(1)
    assert ray.wait([late, stream, ref], num_returns=2, timeout=PATIENCE) == ([stream, ref], [late])
    assert ray.wait([late, stream, ref], num_returns=3, timeout=0)[1] == [late]
    with pytest.raises(ValueError, match="unique"):
        ray.wait([stream, stream])
    gate.touch()
    assert ray.wait([late, stream, ref], num_returns=3, timeout=PATIENCE) == ([late, stream, ref], [])
    assert ray.get(next(late)) == 1


def test_a_cancelled_stream_ends_with_its_error() -> None:
    @ray.remote(num_cpus=0)
    def endless() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1
            time.sleep(0.01)

    stream = endless.remote()
    assert ray.get(next(stream), timeout=PATIENCE) == 0
    ray.cancel(stream)
    with pytest.raises(TaskCancelledError):
        deque(map(ray.get, stream), 0)
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.local_only("Ray has no events for the life of an object")
def test_dropping_a_stream_lets_its_unread_objects_go() -> None:
    @ray.remote
    def arrays() -> Iterator[bytes]:
        for _ in range(3):
            yield bytes(200_000)

    stream = arrays.remote()
    with Log() as log:
        eventually(stream.next_ready)
        kept = next(stream)
        ray.wait([stream.completed()], timeout=PATIENCE)
        task = kept.task_id().hex()

        def made() -> set[str]:
            return {event.object for event in log.find(ObjectSealed) if event.object.startswith(task)}

        eventually(lambda: len(made()) >= 3)
        del stream
        gc.collect()
        gone = made() - {kept.hex()}
        eventually(lambda: gone <= {event.object for event in log.find(ObjectFreed)})
    assert len(ray.get(kept)) == 200_000


def test_a_generator_may_yield_nothing_and_return_what_it_likes() -> None:
    @ray.remote
    def none() -> Iterator[int]:
        return
        yield

    @ray.remote
    def references() -> Iterator[Any]:
        yield ray.put(7)
        yield None

    assert list(none.remote()) == []
    first, second = (ray.get(ref) for ref in references.remote())
    assert (ray.get(first), second) == (7, None)


def test_each_error_of_a_method_s_stream_is_one_more_reference() -> None:
    class Fails:
        def plain(self, made: Callable[[], Any]) -> Iterator[Any]:
            yield 1
            yield made()

    class FailsInALoop:
        async def plain(self, made: Callable[[], Any]) -> AsyncIterator[Any]:
            yield 1
            yield made()

    for kind in (Fails, FailsInALoop):
        actor: Any = ray.remote(num_cpus=0)(kind).remote()
        first, error = actor.plain.remote(lambda: 1 / 0)
        assert ray.get(first) == 1
        with pytest.raises(ZeroDivisionError):
            ray.get(error)
        first, error = actor.plain.remote(lambda: numbers)  # A remote function travels,
        assert ray.get(next(ray.get(error).remote(1))) == 0
        first, error = actor.plain.remote(lambda: iter(x for x in [1]))  # a generator does not.
        with pytest.raises(TypeError):
            ray.get(error)
