"""Streams of tasks: who waits for an item lends its CPUs, and an item goes with its reference."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import _thread
import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.events import ObjectFreed
from jupyter_ray.exceptions import ResourceDeadlockError, TaskCancelledError, WorkerCrashedError
from tests.contract.helpers import PATIENCE, Log, eventually


def test_a_task_that_waits_for_a_stream_lends_its_cpus(start: Callable[..., Any]) -> None:
    start(num_cpus=1)

    @ray.remote
    def numbers(count: int) -> Iterator[int]:
        for number in range(count):
            time.sleep(0.01)
            yield number

    @ray.remote
    def total(count: int) -> int:
        return sum(ray.get(ref) for ref in numbers.remote(count))

    @ray.remote
    class Total:
        def total(self, count: int) -> int:
            return sum(ray.get(ref) for ref in numbers.remote(count))

    assert ray.get([total.remote(count) for count in range(5)], timeout=PATIENCE) == [0, 0, 1, 3, 6]
    assert ray.get(Total.remote().total.remote(5), timeout=PATIENCE) == 10


@pytest.mark.local_only("the tests choose resources at init; a cluster's resources are given (see tests/cluster)")
def test_an_actor_that_waits_for_a_stream_keeps_its_cpu(start: Callable[..., Any]) -> None:
    start(num_cpus=1)

    @ray.remote
    def numbers() -> Iterator[int]:
        yield 1

    @ray.remote(num_cpus=1)
    class Total:
        def total(self) -> int:
            return sum(ray.get(ref) for ref in numbers.remote())

    assert ray.available_resources()["CPU"] == 1
    with pytest.raises(ResourceDeadlockError):  # Actors keep what they hold.
        ray.get(Total.remote().total.remote(), timeout=PATIENCE)


@pytest.mark.local_only("Ray has no events for the life of an object")
def test_an_item_of_a_stream_is_freed_with_its_reference(start: Callable[..., Any]) -> None:
    start(num_cpus=1)

    @ray.remote
    def arrays() -> Iterator[Any]:
        for number in range(3):
            yield bytes(number + 1) * 200_000

    stream = arrays.remote()
    with Log() as log:
        for _ in range(2):
            ref = next(stream)
            ray.get(ref)
            name = ref.hex()
            del ref
            eventually(lambda name=name: log.find(ObjectFreed, object=name))  # type: ignore[misc]


@pytest.mark.parametrize("ahead", [1, -1])
def test_a_stream_that_nobody_reads_on_is_made_to_its_end(
    start: Callable[..., Any], tmp_path: Path, ahead: int
) -> None:
    start(num_cpus=1)

    @ray.remote(_generator_backpressure_num_objects=ahead)
    def numbers() -> Iterator[int]:
        for number in range(5):
            (tmp_path / str(number)).touch()
            yield number

    stream = numbers.remote()
    assert ray.get(next(stream), timeout=PATIENCE) == 0
    del stream
    eventually(lambda: len(list(tmp_path.iterdir())) == 5)


def test_a_stream_is_only_to_be_read(start: Callable[..., Any]) -> None:
    start(num_cpus=1)

    @ray.remote
    def numbers() -> Iterator[int]:
        yield 1

    stream = numbers.remote()
    for name in ("send", "throw", "close", "asend", "athrow", "aclose"):
        with pytest.raises(NotImplementedError):
            getattr(stream, name)()
    assert ray.get(stream._generator_ref, timeout=PATIENCE) is None
    assert stream.next_ready()
    assert ray.get(next(stream)) == 1
    eventually(stream.is_finished)
    assert not stream.next_ready()
    other = numbers.options(num_returns=1).remote()
    assert ray.wait([other, stream], num_returns=2, timeout=PATIENCE) == ([other, stream], [])


@pytest.mark.parametrize("returns", ["streaming", 3])
def test_an_async_generator_is_a_task(start: Callable[..., Any], tmp_path: Path, returns: Any) -> None:
    start(num_cpus=1)

    @ray.remote
    async def numbers(count: int) -> AsyncIterator[int]:
        beside = asyncio.ensure_future(asyncio.sleep(1000))
        try:
            for number in range(count):
                await asyncio.sleep(0)
                yield number
        finally:
            await asyncio.sleep(0)
            beside.cancel()
            (tmp_path / "closed").touch()

    if returns == "streaming":
        assert [ray.get(ref) for ref in numbers.remote(3)] == [0, 1, 2]
    else:
        assert ray.get(numbers.options(num_returns=returns).remote(3)) == [0, 1, 2]
    assert (tmp_path / "closed").exists()


def test_a_cancel_closes_the_async_generator_of_a_task(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=1)

    @ray.remote
    async def numbers() -> AsyncIterator[int]:
        try:
            yield os.getpid()
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            (tmp_path / "closed").touch()

    stream = numbers.remote()
    pid = ray.get(next(stream), timeout=PATIENCE)
    ray.cancel(stream)
    with pytest.raises(TaskCancelledError):
        ray.get(next(stream), timeout=PATIENCE)
    assert (tmp_path / "closed").exists()

    @ray.remote
    async def fail() -> AsyncIterator[int]:
        yield os.getpid()
        raise ValueError("after the first")

    stream = fail.remote()
    assert ray.get(next(stream), timeout=PATIENCE) == pid  # The worker has outlived the cancel.
    with pytest.raises(ValueError, match="after the first"):
        ray.get(next(stream), timeout=PATIENCE)


class _Counting:
    """Its streams share a bound, and it tells what they have made."""

    def __init__(self) -> None:
        self.made = 0

    def numbers(self, count: int) -> Iterator[int]:
        for number in range(count):
            self.made += 1
            yield number

    @ray.method(_num_objects_per_yield=2)
    def pairs(self, count: int) -> Iterator[tuple[int, int]]:
        for number in range(count):
            self.made += 2
            yield number, -number

    def so_far(self) -> int:
        return self.made


class _AsyncCounting(_Counting):
    async def numbers(self, count: int) -> AsyncIterator[int]:  # type: ignore[override]
        for number in range(count):
            self.made += 1
            yield number


@pytest.mark.local_only("in Ray one stream may take all of a bound that an actor's streams share")
@pytest.mark.parametrize("kind", [_Counting, _AsyncCounting])
def test_the_streams_of_an_actor_may_share_a_bound(start: Callable[..., Any], kind: type) -> None:
    start(num_cpus=1)
    actor = ray.remote(max_concurrency=4, _actor_generator_backpressure_num_objects=3)(kind).remote()

    def made() -> int:
        count: int = ray.get(actor.so_far.remote())
        return count

    first, second = actor.numbers.remote(2), actor.numbers.remote(4)
    eventually(lambda: made() == 3)
    one = next(first)
    eventually(lambda: made() == 4)
    assert ray.get(one) == 0
    del first
    eventually(lambda: made() >= 5)
    assert [ray.get(ref) for ref in second] == [0, 1, 2, 3]
    assert made() == 6

    @ray.remote(max_retries=0)
    def leave(actor: Any) -> None:
        stream = actor.numbers.remote(9)
        ray.get(next(stream))
        os._exit(1)

    with pytest.raises(WorkerCrashedError):  # Who read it is gone, and with it what it left unread.
        ray.get(leave.remote(actor), timeout=PATIENCE)
    assert [ray.get(ref) for ref in actor.numbers.remote(4)] == [0, 1, 2, 3]


def test_a_generator_may_yield_several_objects_at_once(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    actor = ray.remote(_Counting).remote()
    assert [ray.get(ref) for ref in actor.pairs.remote(3)] == [0, 0, 1, -1, 2, -2]

    @ray.remote(_num_objects_per_yield=2)
    def wrong() -> Iterator[Any]:
        yield 1, 2
        yield 3

    stream = wrong.remote()
    assert [ray.get(next(stream)) for _ in range(2)] == [1, 2]
    with pytest.raises(ValueError, match="tuple or list of"):
        ray.get(next(stream))
    with pytest.raises(ValueError, match="cannot be overridden"):
        wrong.options(_num_objects_per_yield=3)


def test_a_bounded_stream_that_was_dropped_is_made_to_its_end(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=2)
    held, made = tmp_path / "held", tmp_path / "made"
    held.touch()

    @ray.remote(_generator_backpressure_num_objects=1)
    def numbers(path: Path) -> Iterator[int]:
        yield from range(5)
        path.touch()

    @ray.remote(num_cpus=2)
    def occupy() -> None:
        while held.exists():
            pass

    busy = occupy.remote()
    stream = numbers.remote(made)
    del stream  # Before the call begins.
    held.unlink()
    ray.get(busy, timeout=PATIENCE)
    eventually(made.exists)


def test_a_bounded_stream_whose_reader_is_gone_is_made_to_its_end(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=2)
    made = tmp_path / "made"

    @ray.remote(_generator_backpressure_num_objects=1)
    def numbers() -> Iterator[int]:
        yield from range(5)
        made.touch()

    @ray.remote
    class Reader:
        def leave(self) -> None:
            stream = numbers.remote()
            ray.get(next(stream))
            sys.exit(1)

    Reader.remote().leave.remote()
    eventually(made.exists)


@pytest.mark.local_only("a cluster's processes read their environment when they start")
def test_a_stream_has_so_many_items_at_most(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_max_num_generator_returns", "2")
    start(num_cpus=1)

    @ray.remote
    def numbers() -> Iterator[int]:
        yield from range(3)

    first, second, error = numbers.remote()
    assert ray.get([first, second], timeout=PATIENCE) == [0, 1]
    with pytest.raises(ValueError, match="2 items at most"):
        ray.get(error, timeout=PATIENCE)


@pytest.mark.parametrize(
    "ahead",
    [
        1,
        pytest.param(-1, marks=pytest.mark.local_only("Ray lets a stream without a bound go on when its reader dies")),
    ],
)
def test_a_stream_of_an_actor_ends_with_the_process_that_reads_it(start: Callable[..., Any], ahead: int) -> None:
    start(num_cpus=2)

    @ray.remote
    class Numbers:
        made = 0

        def numbers(self) -> Iterator[int]:
            for number in range(1000):
                self.made = number
                time.sleep(0.01)
                yield number

        def last(self) -> int:
            return self.made

    @ray.remote(max_retries=0)
    def read(actor: Any) -> None:
        stream = actor.numbers.options(_generator_backpressure_num_objects=ahead).remote()
        ray.get(next(stream))
        os._exit(1)

    actor = Numbers.remote()
    with pytest.raises(WorkerCrashedError):
        ray.get(read.remote(actor), timeout=PATIENCE)
    assert ray.get(actor.last.remote(), timeout=PATIENCE) < 999


def test_a_bounded_stream_goes_on_when_its_task_runs_again(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=1)
    crashed = tmp_path / "crashed"

    @ray.remote(max_retries=1, _generator_backpressure_num_objects=1)
    def numbers() -> Iterator[int]:
        for number in range(4):
            if number == 2 and not crashed.exists():  # What was made before has been read by now.
                crashed.touch()
                os._exit(1)
            yield number

    assert [ray.get(item, timeout=PATIENCE) for item in _within(numbers.remote())] == [0, 1, 2, 3]


@pytest.mark.local_only("in Ray a call that runs again takes room in its actor's bound for streams once more")
def test_a_call_that_runs_again_takes_no_room_of_its_actor_s_streams_twice(start: Callable[..., Any]) -> None:
    start(num_cpus=1)

    @ray.remote(max_task_retries=3, _actor_generator_backpressure_num_objects=2)
    class Numbers:
        def __init__(self) -> None:
            self.attempts = 0

        def make(self) -> Iterator[int]:
            self.attempts += 1
            yield from range(2)
            if self.attempts < 3:
                raise OSError("try again")
            yield from range(2, 4)

    stream = Numbers.remote().make.options(retry_exceptions=True).remote()
    assert [ray.get(item, timeout=PATIENCE) for item in _within(stream)] == [0, 1, 2, 3]


@pytest.mark.local_only("Ray waits in its own code, where only the signal itself is noticed")
def test_who_waits_for_an_item_can_be_interrupted(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=1)
    go = tmp_path / "go"

    @ray.remote
    def numbers() -> Iterator[int]:
        while not go.exists():
            time.sleep(0.01)
        yield 1

    stream = numbers.remote()
    timer = threading.Timer(0.1, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    go.touch()
    assert ray.get(next(stream), timeout=PATIENCE) == 1


def _within(stream: Any) -> Iterator[Any]:
    """Yield the items of a stream, each of which must come in time."""
    while True:
        ready, _ = ray.wait([stream], timeout=PATIENCE)
        assert ready, "the stream has stopped"
        try:
            yield next(stream)
        except StopIteration:
            return


@pytest.mark.local_only("Ray pickles what a stream yields, and lets go of its generator after the call")
def test_what_a_stream_does_last_belongs_to_its_call(start: Callable[..., Any], tmp_path: Path) -> None:
    """An item fails in our code, where the generator waits; its `finally` must not run when the call is over."""
    start()

    def last(name: str) -> None:
        (tmp_path / name).write_text(str(ray.get_runtime_context().get_task_name()))

    @ray.remote
    def plain() -> Iterator[Any]:
        try:
            yield threading.Lock()
        finally:
            last("plain")

    @ray.remote
    class Actor:
        async def items(self) -> AsyncIterator[Any]:
            try:
                yield threading.Lock()
            finally:
                last("async")

    actor = Actor.remote()
    for stream in (plain.remote(), actor.items.options(num_returns="streaming").remote()):
        with pytest.raises(Exception, match="lock"):
            [ray.get(ref) for ref in stream]
    eventually(lambda: (tmp_path / "plain").exists() and (tmp_path / "async").exists())
    assert (tmp_path / "plain").read_text() == "plain"
    assert (tmp_path / "async").read_text() == "Actor.items"
