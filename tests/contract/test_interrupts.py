"""Jupyter's interrupt in the midst of a call: it is raised, and nothing that nobody refers to stays in the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray.util.state import list_actors, list_objects
from tests.contract.helpers import eventually
from tests.interrupting import interrupted

pytestmark = pytest.mark.local_only("about the local engine's bookkeeping; on a cluster Ray's own code is interrupted")

STRIDE = 11
"""Of the places, every so many: tests/unit/test_client_interrupts.py has them all."""

CALLS = ["put", "get", "by turns", "box", "wait", "future", "stream", "cancel", "actor", "named", "kill"]


def call(name: str) -> Callable[[], Any]:
    """Return what makes the call. Its functions and class travel by value: their processes import nothing."""

    @ray.remote
    def add(*numbers: int) -> int:
        return sum(numbers)

    @ray.remote
    def box() -> Sequence[ray.ObjectRef[Any]]:
        return [ray.put(1), ray.put(2)]

    @ray.remote(num_returns="streaming")
    def count() -> Iterator[int]:
        yield from range(3)

    class Counter:
        def add(self, number: int) -> int:
            return number

    actor = ray.remote(Counter)

    def by_turns() -> None:
        for _ in range(4):  # The third goes straight to the worker.
            assert ray.get(add.remote(1)) == 1

    calls: dict[str, Callable[[], Any]] = {
        "put": lambda: ray.put([ray.put(1), np.zeros(200_000)]),
        "get": lambda: ray.get([add.remote(number, ray.put(1)) for number in range(3)]),
        "by turns": by_turns,
        "box": lambda: ray.get(ray.get(box.remote())),
        "wait": lambda: ray.wait([add.remote(1), add.remote(2)], num_returns=2),
        "future": lambda: add.remote(1).future().result(),
        "stream": lambda: [ray.get(ref) for ref in count.remote()],
        "cancel": lambda: ray.cancel(add.remote(1)),
        "actor": lambda: ray.get(actor.remote().add.remote(1)),
        "named": lambda: actor.options(name="counter", get_if_exists=True).remote(),
        "kill": lambda: ray.kill(actor.remote()),
    }
    return calls[name]


def is_empty() -> bool:
    return not list_objects() and not list_actors(filters=[("state", "!=", "DEAD")])


@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_leaves_nothing_behind(cluster: Any, name: str) -> None:
    act = call(name)
    act()
    eventually(is_empty)
    for where in interrupted(act, STRIDE):
        assert eventually(is_empty), where
    act()
    eventually(lambda: is_empty() and ray.available_resources().get("CPU") == 4)
