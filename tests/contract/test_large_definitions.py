"""Functions that bring much along: their processes keep those that were used last."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

import jupyter_ray as ray

pytestmark = pytest.mark.usefixtures("cluster")

SIZE = 40_000_000


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # That they are large.
        yield


def large(number: int) -> Any:
    data = bytes([number]) * SIZE

    @ray.remote(num_cpus=4)  # So they have one process between them.
    def first_byte() -> tuple[int, int, int]:
        return data[0], os.getpid(), psutil.Process().memory_info().rss

    return first_byte


@pytest.mark.local_only("in Ray a process keeps all that it has ever run")
def test_a_process_runs_large_functions_in_turn_and_keeps_few_of_them() -> None:
    functions = [large(number) for number in range(6)]
    values, processes, sizes = zip(
        *[ray.get(function.remote()) for _ in range(2) for function in functions], strict=True
    )
    assert list(values) == [0, 1, 2, 3, 4, 5] * 2
    assert len(set(processes)) == 1
    assert max(sizes) - sizes[0] < 4.5 * SIZE, "three are kept, and the next is just being read"
