"""The thread of a client that does small chores."""

from __future__ import annotations

import math
import threading

from jupyter_ray.bell import Bell
from jupyter_ray.local.client.threads import Housekeeper
from tests.contract.helpers import eventually


class SlowBell(Bell):
    """Who rings it loses the processor until the thread that woke has done its work and sleeps again."""

    __slots__ = ("house",)

    house: Housekeeper

    def ring(self) -> None:
        super().ring()
        eventually(lambda: not self.house._wanted and self.house._sleeps_until == math.inf)


def test_who_is_slow_to_ask_does_not_make_it_deaf() -> None:
    done = threading.Semaphore(0)
    house = Housekeeper({"first": (0.0, done.release), "second": (0.0, done.release)})
    slow, quick = SlowBell(), house._bell
    slow.house, house._bell = house, slow
    house.start()
    try:
        eventually(lambda: house._sleeps_until == math.inf)
        for chore in ("first", "second", "first"):
            house.want(chore)
            assert done.acquire(timeout=30), f"{chore} was asked for, and never done"
    finally:
        house._stopped = True
        Bell.ring(slow)
        house._bell = quick
        house.stop()


def test_chores_that_many_threads_ask_for_are_all_done() -> None:
    counts = {"a": 0, "b": 0}
    finished: list[str] = []

    def count(chore: str) -> None:
        counts[chore] += 1

    def ask_once(chore: str) -> None:
        before = counts[chore]
        house.want(chore)
        eventually(lambda: counts[chore] > before)

    def ask(chore: str) -> None:
        for _ in range(300):
            ask_once(chore)
        finished.append(chore)

    house = Housekeeper({"a": (0.0, lambda: count("a")), "b": (0.001, lambda: count("b"))})
    house.start()
    try:
        threads = [threading.Thread(target=ask, args=(chore,)) for chore in ("a", "b", "a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert sorted(finished) == ["a", "a", "b", "b"]
    finally:
        house.stop()
