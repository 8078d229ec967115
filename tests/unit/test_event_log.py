"""The runtime's log: who is sent what, and how printed text is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_ray import config
from jupyter_ray.events import AnyEvent, LogLines, TaskQueued
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.server import log as log_module
from jupyter_ray.local.server.log import BEHIND, TEXT_BATCH, UNSHOWN, EventLog


class Peer:
    """A connection that only notes what it is sent."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.waits = 0
        self.paused = False

    def backlog(self) -> int:
        return self.waits

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def text(self) -> int:
        return sum(len(each.text) for each in self.events if isinstance(each, LogLines))


class Bench:
    """A log, its driver, and a worker that prints."""

    def __init__(self) -> None:
        self.log = EventLog(lambda to, message: to.events.extend(message.events))  # type: ignore[attr-defined]
        self.driver: Any = Peer()
        self.worker: Any = Peer()
        self.seq = 0

    def subscribe(self, peer: Any = None, logs_only: bool = False) -> None:
        self.log.subscribe(peer or self.driver, m.Subscribe(True, logs_only))

    def tasks(self, count: int) -> None:
        self.seq += count
        self.log.record([TaskQueued(seq=self.seq, at=0.0, task="t") for _ in range(count)])

    def prints(self, size: int) -> None:
        self.seq += 1
        line = LogLines(seq=self.seq, at=0.0, stream="stdout", text="x" * size, name="f", pid=1)
        self.log.record([line])
        self.log.printed(self.worker)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_subscriber_gets_every_event_once(bench: Bench) -> None:
    bench.tasks(3)
    bench.subscribe()
    bench.tasks(2)
    assert not bench.log.publish()
    assert not bench.log.publish()
    assert len(bench.driver.events) == 5


def test_one_that_wants_lines_gets_no_others(bench: Bench) -> None:
    bench.subscribe(logs_only=True)
    bench.tasks(5)
    bench.prints(10)
    bench.log.publish()
    assert [type(each) for each in bench.driver.events] == [LogLines]


def test_what_is_not_shown_yet_holds_the_rest_back(bench: Bench) -> None:
    bench.subscribe()
    for _ in range(40):
        bench.prints(TEXT_BATCH // 2)
    assert bench.log.publish()
    first = bench.driver.text()
    assert UNSHOWN < first <= UNSHOWN + 2 * TEXT_BATCH
    assert bench.log.publish()
    assert bench.driver.text() == first
    while bench.driver.text() < 40 * (TEXT_BATCH // 2):
        before = bench.driver.text()
        bench.log.seen(bench.driver, 3 * TEXT_BATCH)
        assert bench.driver.text() > before
    assert not bench.log.publish()


def test_a_full_socket_holds_back_too(bench: Bench) -> None:
    bench.subscribe()
    bench.driver.waits = log_module.SEND_BUFFER + 1
    bench.tasks(3)
    assert bench.log.publish()
    assert not bench.driver.events
    assert not bench.log.publish(everything=True), "a result follows"
    assert len(bench.driver.events) == 3


def test_a_flood_is_braked_at_its_source(bench: Bench) -> None:
    bench.subscribe()
    printed = 0
    while not bench.worker.paused:
        bench.prints(TEXT_BATCH)
        printed += TEXT_BATCH
        bench.log.publish()
        assert printed < 2 * (BEHIND + UNSHOWN)
    while bench.worker.paused:
        bench.log.seen(bench.driver, TEXT_BATCH)
    while bench.driver.text() < printed:
        bench.log.seen(bench.driver, TEXT_BATCH)
    assert bench.driver.text() == printed, "nothing is lost"


def test_who_leaves_brakes_nobody(bench: Bench) -> None:
    bench.subscribe()
    while not bench.worker.paused:
        bench.prints(TEXT_BATCH)
    bench.log.leave(bench.driver)
    assert not bench.worker.paused
    bench.prints(BEHIND * 2)
    assert not bench.worker.paused


def test_old_text_is_forgotten_and_events_are_not(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "EVENT_LOG_TEXT", 1000)
    bench.tasks(2)
    for _ in range(30):
        bench.prints(100)
    bench.subscribe()
    assert len(bench.driver.events) == 32
    assert bench.driver.text() == 1000
    assert not bench.log.publish()


def test_old_events_are_forgotten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "EVENT_LOG", 10)
    bench.tasks(5)
    bench.prints(100)
    bench.tasks(12)
    bench.prints(100)
    bench.subscribe()
    assert len(bench.driver.events) == 10
    assert bench.driver.text() == 100
