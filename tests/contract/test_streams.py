"""Streams of tasks: who waits for an item lends its CPUs, and an item goes with its reference."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.events import ObjectFreed
from jupyter_ray.exceptions import ResourceDeadlockError
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
    assert ray.available_resources()["CPU"] == 1
    with pytest.raises(ResourceDeadlockError):  # Actors keep what they hold.
        ray.get(Total.options(num_cpus=1).remote().total.remote(5), timeout=PATIENCE)


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
    assert stream.is_finished()
    assert not stream.next_ready()
    other = numbers.options(num_returns=1).remote()
    assert ray.wait([other, stream], num_returns=2, timeout=PATIENCE) == ([other, stream], [])
