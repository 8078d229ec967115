"""What events have told of a cluster: reports of several processes, in any order, as the life of a task."""

from __future__ import annotations

import msgspec
import pytest

from jupyter_ray import events as ev
from jupyter_ray.ray_cluster import past
from jupyter_ray.ray_cluster.told import Told

SUBMITTED = ev.TaskSubmitted(
    task="a", name="f", kind="task", parent=None, dependencies=[], returns=[], demand={}, actor=None
)
STARTED, FINISHED = ev.TaskStarted(task="a", worker="w", held={}), ev.TaskFinished(task="a")


def test_what_is_reported_before_the_task_itself_comes_after_it() -> None:
    told = Told()
    assert told.take(STARTED) == told.take(FINISHED) == []
    assert not told.knows_task("a")
    assert told.take(SUBMITTED) == [SUBMITTED, STARTED, FINISHED]
    assert told.has_ended("a")


def test_nothing_is_told_twice() -> None:
    told = Told()
    assert told.take(SUBMITTED) == [SUBMITTED]
    assert told.some_go_on()
    assert told.take(SUBMITTED) == []
    assert told.take(FINISHED) == [FINISHED]
    assert told.take(FINISHED) == told.take(SUBMITTED) == []
    assert not told.some_go_on()


def test_a_task_that_begins_again_was_retried() -> None:
    told = Told()
    for event in (SUBMITTED, STARTED, FINISHED):
        told.take(event)
    again = ev.TaskStarted(task="a", worker="w", held={}, attempt=1)
    assert told.take(again) == [ev.TaskRetried(task="a", attempt=1, reason="it failed"), again]
    assert told.some_go_on()


def test_what_a_task_held_and_waited_for_ends_with_it() -> None:
    told = Told()
    told.take(SUBMITTED)
    told.take(ev.HandlePassed(actor="c", holder="a", holder_kind="task", label="f"))
    told.take(ev.TaskBlocked(task="a", waits_for=["00ff"], lent={}))
    assert told.waits_of("a") == [b"\x00\xff"]
    assert told.take(FINISHED) == [FINISHED, ev.HandleDropped(actor="c", holder="a")]
    assert told.waits_of("a") == []


def test_workers_live_until_their_end_is_told() -> None:
    told = Told()
    told.take(ev.WorkerStarted(worker="w", pid=1))
    assert told.knows_worker("w")
    assert told.living_workers() == ["w"]
    told.take(ev.WorkerDied(worker="w", reason="", expected=True))
    assert not told.knows_worker("w")


def test_what_is_remembered_of_a_cluster_is_bounded_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was by number alone: thirty thousand calls with a thousand references each took gigabytes."""
    monkeypatch.setattr(past, "EVENT_LOG_BYTES", 10_000_000)
    monkeypatch.setattr(past, "EVENT_LOG", 1_000)
    kept = past.Past()
    for _ in range(2_000):
        kept.add(FINISHED)
    assert len(kept) == 1_000
    wide = msgspec.structs.replace(SUBMITTED, dependencies=["x"] * 1_000)
    long = ev.LogLines(stream="stdout", text="x" * 100_000, name="f", pid=1)
    for event in (wide, long):
        for _ in range(300):
            kept.add(event)
        assert 90 < len(kept) < 110
        assert set(map(type, kept)) == {type(event)}
    for _ in range(2_000):
        kept.add(FINISHED)
    assert list(kept) == [FINISHED] * 1_000
    assert kept.bytes < 1_000_000
