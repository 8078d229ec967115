"""A flood of an actor is slowed at its source: how far ahead, and for how long others wait."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest

import jupyter_ray as ray
from tests.contract.helpers import eventually

pytestmark = pytest.mark.usefixtures("session")


class Model:
    """Stands for time, for Ray's `wait`, and for an actor that takes `seconds` for each call."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds = 0.0
        self.pace: Any = None
        self.back: list[float] = []
        """When the marks come back."""

    @property
    def __ray_ready__(self) -> Any:
        return self

    def options(self, **options: Any) -> Any:
        return self

    def remote(self) -> int:
        free = max(self.back[-1] if self.back else 0.0, self.now)
        self.back.append(free + self.pace.stretch * self.seconds)
        return len(self.back) - 1

    def monotonic(self) -> float:
        return self.now

    def wait(self, marks: list[int], *, timeout: float, fetch_local: bool) -> tuple[list[int], list[int]]:
        back = self.back[marks[0]]
        if back > self.now + timeout:
            self.now += timeout
            return [], marks
        self.now = max(self.now, back)
        return marks, []

    def flood(self, seconds: float, marks: int) -> tuple[int, float]:
        """Flood the actor; return how many calls it is behind, and for how long that keeps it."""
        self.seconds = seconds
        for _ in range(marks):
            self.pace.mark(wait=True)
        return sum(calls for _, _, calls in self.pace._marks), self.back[-1] - self.now


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    from jupyter_ray.ray_cluster import flow

    found = Model()
    monkeypatch.setattr(flow, "ray", found)
    monkeypatch.setattr(flow, "time", found)
    found.pace = flow.Pace(found)
    return found


@pytest.mark.parametrize("seconds", [0.0002, 0.001, 0.002, 0.003, 0.005, 0.009])
def test_a_caller_is_ahead_by_part_of_a_second(seconds: float, model: Model) -> None:
    """Whether it has the actor to itself or is one of many that flood it."""
    assert model.flood(seconds, 400)[1] < 0.3


@pytest.mark.parametrize("seconds", [0.011, 0.1, 5.0])
def test_an_actor_that_is_slow_by_nature_gets_what_the_program_likes(seconds: float, model: Model) -> None:
    assert model.flood(seconds, 400)[0] == 12_800


def test_a_caller_gets_further_ahead_when_the_others_have_gone(model: Model) -> None:
    few = model.flood(0.008, 400)[0]
    assert model.flood(0.0002, 400)[0] > 4 * few


@ray.remote
class Quick:
    def __init__(self) -> None:
        self.calls = 0

    def take(self) -> None:
        time.sleep(0.005)  # marked: it stands for work
        self.calls += 1

    def count(self) -> int:
        return self.calls


def test_who_asks_a_flooded_actor_waits_for_part_of_a_second() -> None:
    actor = Quick.remote()

    @ray.remote
    def flood(handle: Any) -> None:
        while True:
            handle.take.remote()

    ref = flood.remote(actor)
    try:
        eventually(lambda: ray.get(actor.count.remote()) > 300)
        seconds = []
        for _ in range(7):
            began = time.monotonic()
            ray.get(actor.count.remote())
            seconds.append(time.monotonic() - began)
        assert statistics.median(seconds) < 0.8  # 250 calls ahead would be more than a second.
    finally:
        ray.cancel(ref, force=True)
        ray.kill(actor)
