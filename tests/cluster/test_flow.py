"""A flood of an actor is slowed at its source: how far ahead, and for how long others wait."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any

import pytest

import jupyter_ray as ray
from tests.contract.helpers import eventually

pytestmark = pytest.mark.usefixtures("session")


class Model:
    """Stands for time, for Ray's `wait`, and for an actor that takes `seconds` for each call of each of its callers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds = 0.0
        self.callers = 1
        self.pace: Any = None
        self.back: list[float] = []
        """When the marks come back."""
        self.said: list[int] = []
        """What they say then."""

    @property
    def mark(self) -> Any:
        return self

    def options(self, **options: Any) -> Any:
        return self

    def remote(self, calls: int) -> int:
        free = max(self.back[-1] if self.back else 0.0, self.now)
        self.back.append(free + calls * self.callers * self.seconds)
        self.said.append((self.said[-1] if self.said else 0) + calls * self.callers)
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

    def stop(self, seconds: float) -> None:
        """Let the actor do nothing for a while."""
        out = len(self.pace._marks)
        self.back[-out:] = [each + seconds for each in self.back[-out:]]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    from jupyter_ray.ray_cluster import flow

    found = Model()
    monkeypatch.setattr(flow, "ray", found)
    monkeypatch.setattr(flow, "time", found)
    monkeypatch.setattr(flow, "_said", lambda mark: found.said[mark])
    found.pace = flow.Pace(found)
    return found


@pytest.mark.parametrize("seconds", [0.0002, 0.001, 0.002, 0.003, 0.005, 0.009])
def test_a_caller_is_ahead_by_part_of_a_second(seconds: float, model: Model) -> None:
    """Whether it has the actor to itself or is one of many that flood it."""
    assert model.flood(seconds, 400)[1] < 0.3


@pytest.mark.parametrize("seconds", [0.011, 0.1, 5.0])
def test_an_actor_that_is_slow_by_nature_gets_what_the_program_likes(seconds: float, model: Model) -> None:
    assert model.flood(seconds, 400)[0] == 12_800


@pytest.mark.parametrize("callers", [4, 16])
@pytest.mark.parametrize("seconds", [0.001, 0.003, 0.009])
def test_an_actor_is_not_slow_because_many_flood_it(seconds: float, callers: int, model: Model) -> None:
    """Each is told of the others, and is no further ahead than alone: what it has out is quickly done by itself."""
    model.callers = callers
    assert model.flood(seconds, 400)[0] <= 2 * 200


def test_an_actor_is_not_slow_because_its_process_starts(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray says that it does."""
    from jupyter_ray.ray_cluster import flow

    began = model.now
    monkeypatch.setattr(flow, "_is_starting", lambda native: model.now < began + 4.0)
    model.back.append(4.0)
    model.said.append(0)
    assert max(model.flood(0.001, 1)[0] for _ in range(40)) <= 3 * 200


def test_an_actor_that_does_not_start_holds_nobody_up_for_ever(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_ray.ray_cluster import flow

    monkeypatch.setattr(flow, "_is_starting", lambda native: True)
    model.back.append(1e6)
    model.said.append(0)
    assert model.flood(0.001, 64)[0] > 10_000
    assert model.now < 15


@pytest.mark.parametrize("callers", [1, 4])
def test_an_actor_is_not_slow_because_its_machine_was_busy(callers: int, model: Model) -> None:
    """It does nothing for a second and a half: who floods it waits for that."""
    model.callers = callers
    model.flood(0.001, 400)
    for _ in range(5):
        model.stop(1.5)
        ahead = [model.flood(0.001, 1)[0] for _ in range(40)]
        assert max(ahead) <= 3 * 200


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


def test_who_asks_a_flooded_actor_waits_behind_few_calls() -> None:
    actor = Quick.remote()

    @ray.remote
    def flood(handle: Any) -> None:
        from jupyter_ray.ray_cluster import flow

        flow.SLOW = 5  # On a busy machine each call takes many times as long. Slow actors have a test above.
        while True:
            handle.take.remote()

    ref = flood.remote(actor)
    try:
        eventually(lambda: ray.get(actor.count.remote()) > 300, limit=100.0)
        counts = [ray.get(actor.count.remote()) for _ in range(8)]
        ahead = statistics.median(after - before for before, after in itertools.pairwise(counts))
        assert ahead < 160  # 250 calls ahead would be more than a second.
    finally:
        ray.cancel(ref, force=True)
        ray.kill(actor)
