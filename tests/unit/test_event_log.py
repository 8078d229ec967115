"""The runtime's log: who is sent what, and how printed text is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_ray import config
from jupyter_ray.events import AnyEvent, LogLines, RuntimeReady, TaskFinished, TaskQueued, TaskSubmitted
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.server import log as log_module
from jupyter_ray.local.server.archive import CHUNK, HELD_BACK
from jupyter_ray.local.server.condense import MANY
from jupyter_ray.local.server.log import BEHIND, TEXT_BATCH, UNSHOWN, EventLog


class Peer:
    """A connection that only notes what it is sent."""

    def __init__(self, job: str = "") -> None:
        self.job = job
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

    def prints(self, size: int, job: str = "") -> None:
        self.seq += 1
        line = LogLines(seq=self.seq, at=0.0, stream="stdout", text="x" * size, name="f", pid=1, job=job)
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


@pytest.mark.parametrize("condensed", [True, False])
def test_one_that_wants_lines_gets_no_others(bench: Bench, condensed: bool) -> None:
    bench.log.subscribe(bench.driver, m.Subscribe(True, logs_only=True, condensed=condensed))
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
        bench.log.seen(bench.driver, m.Seen(3 * TEXT_BATCH))
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
        bench.log.seen(bench.driver, m.Seen(TEXT_BATCH))
    while bench.driver.text() < printed:
        bench.log.seen(bench.driver, m.Seen(TEXT_BATCH))
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


def test_events_that_everybody_has_had_become_bytes_and_come_back(bench: Bench) -> None:
    count = 3 * CHUNK + 50
    for number in range(count):
        bench.log.record([TaskQueued(seq=number, at=0.5, task=f"task {number}")])
    assert len(bench.log._log._chunks) == count // CHUNK
    bench.subscribe()
    assert [each.seq for each in bench.driver.events] == list(range(count))
    assert bench.driver.events[5] == TaskQueued(seq=5, at=0.5, task="task 5")
    late: Any = Peer()
    bench.subscribe(late)
    assert late.events == bench.driver.events


def test_who_has_not_had_events_gets_them_as_they_are(bench: Bench) -> None:
    bench.subscribe()
    bench.driver.waits = log_module.SEND_BUFFER + 1
    bench.tasks(3 * CHUNK)
    assert not bench.log._log._chunks
    bench.tasks(HELD_BACK)
    assert bench.log._log._chunks, "there is a bound"
    bench.driver.waits = 0
    assert not bench.log.publish()
    assert len(bench.driver.events) == 3 * CHUNK + HELD_BACK


def test_the_oldest_events_are_forgotten_by_the_thousand(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "EVENT_LOG", 3 * CHUNK)
    for number in range(10 * CHUNK):
        bench.log.record([TaskQueued(seq=number, at=0.5, task="t")])
        assert len(bench.log._log) < 4 * CHUNK
    bench.subscribe()
    kept = [each.seq for each in bench.driver.events]
    assert 3 * CHUNK <= len(kept) < 4 * CHUNK
    assert kept == list(range(kept[0], 10 * CHUNK))


def test_the_oldest_events_are_forgotten_where_they_take_much(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call names all its arguments: thirty thousand with a thousand each took gigabytes."""
    monkeypatch.setattr(config, "EVENT_LOG_BYTES", 100_000)
    names = ["x" * 50] * 100
    for number in range(10 * CHUNK):
        call = TaskSubmitted(
            seq=number, at=0.5, task="t", name="f", kind="task", parent=None, dependencies=names, returns=[], demand={}
        )
        bench.log.record([call])
    assert bench.log._log.bytes == sum(map(len, bench.log._log._chunks)) <= 100_000
    assert len(bench.log._log) < 2 * CHUNK
    bench.tasks(10 * CHUNK)
    assert len(bench.log._log) >= 10 * CHUNK, "small ones have room"


def test_of_forgotten_events_the_log_keeps_no_lengths(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It kept one for each line that was printed, until all of them together were long."""
    monkeypatch.setattr(config, "EVENT_LOG", 3 * CHUNK)
    for _ in range(10 * CHUNK):
        bench.prints(1)
    assert len(bench.log._texts) == len(bench.log._log) == bench.log._text < 5 * CHUNK


def test_text_of_events_that_are_bytes_is_forgotten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3 * CHUNK):
        bench.prints(10)
    monkeypatch.setattr(config, "EVENT_LOG_TEXT", 25 * CHUNK)
    bench.prints(10)
    bench.subscribe()
    assert len(bench.driver.events) == 3 * CHUNK + 1
    assert bench.driver.text() == 10 * (2 * CHUNK + 1), "all that is kept together"


def calls(first: int, *, end: bool) -> list[AnyEvent]:
    names = [f"{number:048x}" for number in range(first, first + MANY)]
    made: list[AnyEvent] = [
        TaskSubmitted(
            seq=1 + first + number,
            task=name,
            name="f",
            kind="task",
            parent=None,
            dependencies=[],
            returns=[],
            demand={},
        )
        for number, name in enumerate(names)
    ]
    return made + [TaskFinished(seq=first + MANY, task=name) for name in names] if end else made


def test_of_a_burst_the_calls_under_way_are_told_with_what_comes_next(bench: Bench) -> None:
    bench.log.subscribe(bench.driver, m.Subscribe(True, condensed=True))
    bench.log.record([*calls(0, end=True), *calls(MANY, end=True), *calls(2 * MANY, end=False)])
    assert bench.log.publish(), "there is more to come"
    [ran] = bench.driver.events
    assert ran.count == 2 * MANY
    bench.log.publish(everything=True)
    assert len(bench.driver.events) == 1 + MANY


def test_who_gets_a_condensed_stream_is_not_sent_more_text_than_it_shows(bench: Bench) -> None:
    bench.log.subscribe(bench.driver, m.Subscribe(True, condensed=True))
    for _ in range(40):
        bench.prints(TEXT_BATCH // 2)
    assert bench.log.publish()
    assert UNSHOWN < bench.driver.text() <= UNSHOWN + 2 * TEXT_BATCH
    while bench.driver.text() < 40 * (TEXT_BATCH // 2):
        before = bench.driver.text()
        bench.log.seen(bench.driver, m.Seen(3 * TEXT_BATCH))
        assert bench.driver.text() > before
    assert not bench.log.publish()
    assert not bench.log.has_lines


def test_a_condensed_stream_is_bounded_where_nobody_reads_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "EVENT_LOG", 100)
    again: list[bool] = []
    bench.log._send = lambda to, message: again.extend([message.again] * len(message.events))
    bench.driver.waits = log_module.SEND_BUFFER + 1
    bench.tasks(50)
    bench.log.subscribe(bench.driver, m.Subscribe(True, condensed=True, asked=1))
    for _ in range(4):
        bench.tasks(45)
        assert bench.log.publish()
    bench.driver.waits = 0
    assert not bench.log.publish()
    assert again == [True] * 20 + [False] * 180, "the oldest went, and what came later is told as what it is"


def test_all_that_is_remembered_is_told_to_who_comes_late(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "EVENT_LOG", 3 * CHUNK)
    for number in range(10 * CHUNK + CHUNK // 2):
        bench.log.record([TaskQueued(seq=number, at=0.5, task="t")])
    bench.log.subscribe(bench.driver, m.Subscribe(True, condensed=True))
    assert len(bench.driver.events) == len(bench.log._log) > 3 * CHUNK


def test_no_event_of_a_burst_is_lost(bench: Bench) -> None:
    """Calls that each take a value of another are told of one by one, however many there are."""
    assert log_module.RUSH_LIMIT < config.EVENT_LOG
    bench.log.subscribe(bench.driver, m.Subscribe(True, condensed=True))
    bench.tasks(config.EVENT_LOG + log_module.RUSH_LIMIT)
    assert not bench.log.may_wait
    bench.log.publish()
    assert len(bench.driver.events) == config.EVENT_LOG + log_module.RUSH_LIMIT


@pytest.mark.parametrize("condensed", [True, False])
def test_what_had_happened_before_somebody_listened_is_marked(bench: Bench, condensed: bool) -> None:
    messages: list[m.Events] = []
    bench.log._send = lambda to, message: messages.append(message)

    def sent() -> list[tuple[int, int, bool]]:
        told = [(len(each.events), each.asked, each.again) for each in messages]
        messages.clear()
        return told

    bench.tasks(3)
    bench.log.subscribe(bench.driver, m.Subscribe(True, condensed=condensed, asked=1))
    assert sent() == [(3, 1, True)]
    bench.tasks(2)
    bench.log.subscribe(bench.driver, m.Subscribe(True, condensed=condensed, asked=2))
    assert sent() == [(2, 1, False), (5, 2, True)], "what the first had not had, then all for the second"
    bench.tasks(1)
    bench.log.subscribe(bench.driver, m.Subscribe(True, condensed=condensed, asked=2))
    assert sent() == [(1, 2, False)], "nobody new listens"
    bench.driver.waits = log_module.SEND_BUFFER + 1
    bench.log.subscribe(bench.driver, m.Subscribe(True, condensed=condensed, asked=3))
    assert sent() == []
    bench.tasks(1)
    bench.driver.waits = 0
    bench.log.publish()
    assert sent() == [(6, 3, True), (1, 3, False)]


@pytest.mark.parametrize("condensed", [True, False])
@pytest.mark.parametrize("logs_only", [True, False])
def test_each_driver_gets_the_lines_of_its_own_job(bench: Bench, condensed: bool, logs_only: bool) -> None:
    guest: Any = Peer("0a0b0c0d")
    bench.prints(1)
    bench.prints(10, guest.job)
    for peer in (bench.driver, guest):
        bench.log.subscribe(peer, m.Subscribe(True, logs_only, condensed))
    bench.prints(2)
    bench.prints(20, guest.job)
    bench.prints(500, "0e0e0e0e")
    bench.log.publish(everything=True)
    assert [len(each.text) for each in bench.driver.events if isinstance(each, LogLines)] == [1, 2]
    assert [len(each.text) for each in guest.events if isinstance(each, LogLines)] == [10, 20]


def test_one_that_shows_nothing_brakes_the_workers_of_its_own_job_alone(bench: Bench) -> None:
    guest: Any = Peer("0a0b0c0d")
    theirs: Any = Peer(guest.job)
    bench.subscribe(logs_only=True)
    bench.subscribe(guest, logs_only=True)
    while not theirs.paused:
        bench.prints(TEXT_BATCH, guest.job)
        bench.log.printed(theirs)
        bench.log.publish()
        bench.prints(10)
        bench.log.publish()
        bench.log.seen(bench.driver, m.Seen(10))
    assert not bench.worker.paused
    assert bench.driver.text() >= 10 * (BEHIND // TEXT_BATCH)
    before = guest.text()
    bench.log.publish(everything=True, to=[bench.driver])
    assert guest.text() == before, "what is told to others is not pressed upon it"
    bench.log.leave(guest)
    assert not theirs.paused


def test_who_joins_late_hears_what_the_machine_has(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "EVENT_LOG", CHUNK)
    ready = RuntimeReady(seq=1, at=0.0, pid=1, engine="local", resources={"CPU": 2.0}, gpus=[])
    bench.log.record([ready])
    bench.tasks(10 * CHUNK)
    for condensed in (False, True):
        guest: Any = Peer("0a0b0c0d")
        bench.log.subscribe(guest, m.Subscribe(True, condensed=condensed))
        bench.log.publish(everything=True)
        assert [each for each in guest.events if isinstance(each, RuntimeReady)] == [ready] == guest.events[:1]
