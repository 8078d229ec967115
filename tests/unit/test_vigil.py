"""Looking for what is about to come before sleeping: when it is done, and how it learns."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest

from jupyter_ray.local import vigil
from jupyter_ray.local.vigil import Vigil


class Watched:
    """The reading end of a pipe; counts how often it is looked at, and says something at look number `speaks`."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.looks: list[float | None] = []
        self.speaks = 0
        self._poll = select.poll()
        self._poll.register(self.read_end, select.POLLIN)

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        self.looks.append(milliseconds)
        if len(self.looks) == self.speaks:
            os.write(self.write_end, b"x")
        return self._poll.poll(milliseconds)

    def wait(self, vigil: Vigil, *, speaks: int = 0, milliseconds: float = 0) -> bool:
        """Wait for a byte; tell whether it came."""
        self.looks.clear()
        self.speaks = speaks
        came = bool(vigil.poll(self, milliseconds))  # type: ignore[arg-type]
        if came:
            os.read(self.read_end, 1)
        return came


@pytest.fixture
def pipe() -> Iterator[Watched]:
    pipe = Watched()
    yield pipe
    os.close(pipe.read_end)
    os.close(pipe.write_end)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine does meanwhile, a look is in time."""
    monkeypatch.setattr(vigil, "LOOK_SECONDS", 1000.0)


def test_nothing_is_looked_for_that_nobody_expects(pipe: Watched) -> None:
    assert pipe.wait(Vigil(), speaks=1, milliseconds=7)
    assert pipe.looks == [7]


def test_what_is_expected_is_looked_for_without_sleeping(pipe: Watched, patient: None) -> None:
    eager = Vigil()
    assert eager.expect()
    assert pipe.wait(eager, speaks=3, milliseconds=7)
    assert pipe.looks == [0, 0, 0]
    assert pipe.wait(eager, speaks=1, milliseconds=7)
    assert pipe.looks == [7], "one expectation is good for one wait"


def test_it_sleeps_when_nothing_came_for_a_moment(pipe: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "LOOK_SECONDS", 0.0)
    eager = Vigil()
    assert eager.expect()
    assert not pipe.wait(eager, milliseconds=1)
    assert pipe.looks == [0, 1]


def _pauses(eager: Vigil) -> int:
    """Return how many times it does not look from now on."""
    pauses = 0
    while not eager.expect():
        pauses += 1
    return pauses


def test_it_looks_ever_more_seldom_in_vain_and_at_once_again_when_it_pays(
    pipe: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = Vigil()
    assert eager.expect()
    pauses = []
    with monkeypatch.context() as patch:
        patch.setattr(vigil, "LOOK_SECONDS", 0.0)
        for _ in range(8):
            pipe.wait(eager)
            pauses.append(_pauses(eager))
    assert pauses == [1, 3, 7, 15, 31, 63, 63, 63]
    pipe.wait(eager)
    monkeypatch.setattr(vigil, "LOOK_SECONDS", 1000.0)
    _pauses(eager)
    assert pipe.wait(eager, speaks=2)
    assert eager.expect()


def test_what_comes_late_counts_as_in_vain(pipe: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    eager = Vigil()
    monkeypatch.setattr(vigil, "LOOK_SECONDS", 0.0)
    assert eager.expect()
    assert pipe.wait(eager, speaks=1)
    assert not eager.expect(), "whoever sleeps would have been woken in time"


def test_others_get_the_processor_between_two_looks(
    pipe: Watched, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers: list[int] = []
    monkeypatch.setattr(vigil, "yield_processor", lambda: offers.append(len(pipe.looks)))
    eager = Vigil()
    assert eager.expect()
    assert pipe.wait(eager, speaks=4)
    assert offers == [1, 2, 3]
