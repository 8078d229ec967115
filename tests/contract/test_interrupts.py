"""Jupyter's interrupt in the midst of a call: it is raised, and nothing that nobody refers to stays in the session."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray.util.state import list_actors, list_objects
from tests.contract.helpers import eventually
from tests.interrupting import interrupted

pytestmark = pytest.mark.local_only("its own bookkeeping; on a cluster Ray's own code is interrupted")

STRIDE = 11
"""Of the places, every so many: tests/unit/test_client_interrupts.py has them all."""


@ray.remote
def add(*numbers: int) -> int:
    return sum(numbers)


@ray.remote
def box() -> Sequence[ray.ObjectRef[Any]]:
    return [ray.put(1), ray.put(2)]


@ray.remote
def count() -> Iterator[int]:
    yield from range(3)


class Counter:
    def add(self, number: int) -> int:
        return number


Actor = ray.remote(Counter)


def _many() -> list[int]:
    return ray.get([add.remote(number, ray.put(1)) for number in range(3)])


def _by_turns() -> None:
    for _ in range(4):  # The third goes straight to the worker.
        assert ray.get(add.remote(1)) == 1


CALLS: dict[str, Callable[[], Any]] = {
    "put": lambda: ray.put([ray.put(1), np.zeros(200_000)]),
    "get": _many,
    "by turns": _by_turns,
    "box": lambda: ray.get(ray.get(box.remote())),
    "wait": lambda: ray.wait([add.remote(1), add.remote(2)], num_returns=2),
    "future": lambda: add.remote(1).future().result(),
    "stream": lambda: [ray.get(ref) for ref in count.options(num_returns="streaming").remote()],
    "cancel": lambda: ray.cancel(add.remote(1)),
    "actor": lambda: ray.get(Actor.remote().add.remote(1)),
    "named": lambda: Actor.options(name="counter", get_if_exists=True).remote(),
    "kill": lambda: ray.kill(Actor.remote()),
}


def _is_empty() -> bool:
    return not list_objects() and not list_actors(filters=[("state", "!=", "DEAD")])


@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_leaves_nothing_behind(cluster: Any, name: str) -> None:
    act = functools.partial(CALLS[name])
    act()
    eventually(_is_empty)
    for where in interrupted(act, STRIDE):
        assert eventually(_is_empty), where
    assert ray.get(add.remote(1, 2)) == 3
    eventually(lambda: ray.available_resources()["CPU"] == 4)
