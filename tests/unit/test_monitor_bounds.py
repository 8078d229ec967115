"""The model and its messages stay small, whatever a program does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_ray import events as ev
from jupyter_ray.monitor.model import Model
from jupyter_ray.monitor.records import Limits
from jupyter_ray.monitor.reducer import fold
from jupyter_ray.monitor.snapshot import Writer, describe


def submitted(task: str, **fields: Any) -> ev.TaskSubmitted:
    made: dict[str, Any] = {
        "name": "f",
        "kind": "task",
        "parent": None,
        "dependencies": [],
        "returns": [f"{task}.0"],
        "demand": {"CPU": 1.0},
        "site": "1",
    }
    return ev.TaskSubmitted(task=task, **{**made, **fields})


def lifecycles(count: int) -> Iterator[ev.AnyEvent]:
    """Tasks in flocks of 100, each under a parent of its own, at 1,000 call sites, with handles and workers."""
    for number in range(count):
        flock, task = f"p{number // 100}", f"t{number}"
        if number % 100 == 0:
            yield submitted(flock, name="parent", site=f"parent {number // 100 % 1000}")
            yield ev.TaskStarted(task=flock, worker=f"w{number}", held={"CPU": 1.0})
            yield ev.ActorCreated(actor=f"a{number}", class_name="A", name=None, task="", parent=flock)
            yield ev.ActorAlive(actor=f"a{number}", worker=f"aw{number}", pid=1, held={"CPU": 1.0})
        yield submitted(task, parent=flock, site=str(number % 7), dependencies=[f"t{number - 1}.0"])
        yield ev.TaskQueued(task=task)
        yield ev.TaskStarted(task=task, worker="w", held={"CPU": 1.0})
        yield ev.ObjectSealed(object=f"{task}.0", size=1, task=task)
        yield ev.TaskFinished(task=task)
        if number % 100 == 99:
            yield ev.TaskFinished(task=flock)
            yield ev.ActorDied(actor=f"a{number - 99}", reason="over")
            yield ev.WorkerDied(worker=f"aw{number - 99}", reason="over", expected=True)
            yield ev.WorkerDied(worker=f"w{number - 99}", reason="over", expected=True)


def test_200_000_tasks_leave_a_bounded_model() -> None:
    limits = Limits(objects=5_000)
    model = Model(limits)
    events = lifecycles(200_000)
    largest = 0
    while batch := [event for _, event in zip(range(5_000), events, strict=False)]:
        fold(model, batch)
        largest = max(largest, len(model.shown))
        assert not {row.id for row in model.dirty.tasks.values()} - model.shown.keys()
        assert not model.dirty.groups.keys() - model.groups.keys()
    assert largest == len(model.tasks) == len(model.shown) == limits.tasks
    assert model.runtime.dropped == 202_000 - limits.tasks
    assert limits.groups // 2 < len(model.groups) <= limits.groups + 1
    assert len(model.group_index) <= 10 * limits.groups
    assert len(model.producers) <= limits.objects
    assert len(model.actors) == limits.dead_actors
    assert list(model.workers) == ["w"]
    assert len(model.holding) == 0
    # Nothing was sent, so there is nothing to take back.
    dirty = model.dirty
    assert not {*dirty.gone_tasks, *dirty.gone_groups, *dirty.gone_actors, *dirty.gone_workers}
    # No call is lost from the counts.
    groups = describe(model)["groups"]
    assert sum(row["counts"]["finished"] for row in groups) == 202_000
    assert sum(row["folded"] for row in groups) == model.runtime.dropped
    ids = {row["id"] for row in groups}
    assert all(row["parent"] in ids | {None} and ids.issuperset(row["deps"]) for row in groups)
    snapshot = Writer(model, "e").snapshot()
    assert len(json.dumps(snapshot)) < 1_600_000
    assert len(snapshot["state"]["tasks"]) == limits.tasks


def test_the_living_are_never_removed_and_the_oldest_ended_go_first() -> None:
    model = Model(Limits(tasks=3))
    fold(model, [submitted(task) for task in "abc"])
    fold(model, [ev.TaskFinished(task=task) for task in "ba"])
    fold(model, [submitted("d")])
    assert list(model.shown) == ["a", "c", "d"]
    fold(model, [submitted("e")])
    assert list(model.shown) == ["c", "d", "e"]
    assert describe(model)["groups"][0]["folded"] == 2
    assert describe(model)["runtime"]["dropped"] == 2


def test_what_finds_no_room_gets_a_row_when_it_starts() -> None:
    model = Model(Limits(tasks=2))
    fold(model, [submitted(task) for task in "abcd"])
    assert list(model.shown) == ["a", "b"]
    assert describe(model)["groups"][0]["counts"] == {"pending": 4}
    fold(model, [ev.TaskCancelled(task="d"), ev.TaskStarted(task="c", worker="w", held={})])
    assert list(model.shown) == ["a", "b", "c"]
    assert describe(model)["groups"][0]["counts"] == {"pending": 2, "running": 1, "cancelled": 1}
    assert describe(model)["groups"][0]["folded"] == 1
    fold(model, [ev.TaskFinished(task="c")])
    assert list(model.shown) == ["a", "b"]


def test_a_million_calls_that_wait_are_two_thousand_rows() -> None:
    model = Model()
    fold(model, (submitted(f"t{number}") for number in range(30_000)))
    assert len(model.shown) == 2_000
    [group] = describe(model)["groups"]
    assert group["counts"] == {"pending": 30_000}
    demands = {id(task.demand) for task in model.tasks.values()}
    assert len(demands) == 1  # Equal dicts are one.


def test_parents_of_the_living_are_kept_last() -> None:
    model = Model(Limits(tasks=3))
    fold(model, [submitted("parent"), submitted("child", parent="parent")])
    fold(model, [ev.TaskFinished(task="parent")])
    for number in range(5):
        fold(model, [submitted(f"t{number}"), ev.TaskFinished(task=f"t{number}")])
        assert list(model.shown) == ["parent", "child", f"t{number}"]
    fold(model, [ev.TaskFinished(task="child"), submitted("x"), submitted("y"), submitted("z")])
    assert list(model.shown) == ["x", "y", "z"]


def test_a_parent_gives_way_to_those_that_run() -> None:
    model = Model(Limits(tasks=1))
    fold(model, [submitted("parent"), submitted("child", parent="parent"), ev.TaskFinished(task="parent")])
    assert list(model.shown) == ["parent"]
    fold(model, [ev.TaskStarted(task="child", worker="w", held={})])
    assert list(model.shown) == ["child"]


def test_groups_that_all_live_leave_newcomers_to_the_catch_all() -> None:
    model = Model(Limits(groups=3))
    fold(model, [submitted(f"t{number}", site=str(number)) for number in range(10)])
    groups = {row["id"]: row for row in describe(model)["groups"]}
    assert list(groups) == ["g1", "g2", "g3", "other"]
    assert groups["other"]["counts"] == {"pending": 7}
    fold(model, [ev.TaskFinished(task=f"t{number}") for number in range(10)])
    fold(model, [submitted(f"u{number}", site=f"u{number}") for number in range(10)])
    assert len(model.groups) <= 4
    assert sum(sum(row["counts"].values()) for row in describe(model)["groups"]) == 20


def test_a_merged_parent_leaves_its_children_to_the_catch_all() -> None:
    model = Model(Limits(groups=2))
    fold(model, [submitted("p", site="p"), submitted("c", site="c", parent="p"), ev.TaskFinished(task="p")])
    fold(model, [submitted("x", site="x", dependencies=["p.0"])])
    groups = {row["id"]: row for row in describe(model)["groups"]}
    assert list(groups) == ["g2", "other", "g3"]
    assert (groups["g2"]["parent"], groups["g3"]["deps"]) == ("other", ["other"])
    assert {row["group"] for row in describe(model)["tasks"]} == {"g2", "other", "g3"}


def test_a_snapshot_keeps_to_its_budget_and_drops_the_oldest_ended() -> None:
    model = Model()
    for number in range(100):
        fold(model, [submitted(f"t{number}")])
        if number % 2:
            fold(model, [ev.TaskFinished(task=f"t{number}")])
    whole = len(json.dumps(describe(model)))
    snapshot = Writer(model, "e", snapshot_bytes=int(whole * 0.6)).snapshot()
    ids = [row["id"] for row in snapshot["state"]["tasks"]]
    assert len(json.dumps(snapshot)) < whole * 0.75
    assert {f"t{number}" for number in range(0, 100, 2)} < set(ids)
    assert "t99" in ids
    assert "t1" not in ids
    assert ids == sorted(ids, key=lambda key: int(key[1:]))


def test_a_delta_keeps_to_its_budget_and_the_rest_comes_later() -> None:
    model = Model()
    writer = Writer(model, "e", delta_bytes=20_000)
    writer.snapshot()
    fold(model, [submitted(f"t{number}") for number in range(500)])
    seen: list[str] = []
    deltas = 0
    while (delta := writer.delta()) is not None:
        deltas += 1
        assert len(json.dumps(delta)) < 40_000
        seen += [row["id"] for row in delta["upsert"]["tasks"]]
    assert seen == [f"t{number}" for number in range(500)]
    assert deltas > 5


def test_rows_that_the_panel_never_had_are_not_removed() -> None:
    model = Model(Limits(tasks=2))
    writer = Writer(model, "e")
    fold(model, [submitted("a")])
    writer.snapshot()
    for task in "bcdef":
        fold(model, [submitted(task), ev.TaskFinished(task=task)])
    fold(model, [ev.TaskFinished(task="a"), submitted("g")])
    delta = writer.delta()
    assert delta is not None
    assert delta["remove"] == {}
    fold(model, [submitted("h")])
    delta = writer.delta()
    assert delta is not None
    assert delta["remove"] == {"tasks": ["a"]}


def test_a_row_that_comes_back_is_not_removed() -> None:
    model = Model(Limits(tasks=1))
    writer = Writer(model, "e")
    fold(model, [submitted("a"), ev.TaskFinished(task="a")])
    writer.snapshot()
    fold(model, [submitted("b"), ev.TaskFinished(task="b"), ev.TaskStarted(task="a", worker="w", held={})])
    delta = writer.delta()
    assert delta is not None
    assert delta["remove"] == {}
    assert [row["id"] for row in delta["upsert"]["tasks"]] == ["a"]
    fold(model, [ev.TaskFinished(task="a"), submitted("c")])
    delta = writer.delta()
    assert delta is not None
    assert delta["remove"] == {"tasks": ["a"]}


@pytest.mark.parametrize("events", [[], [ev.LogLines(stream="stdout", text="x", name="f", pid=1)]])
def test_no_change_is_no_delta(events: list[ev.AnyEvent]) -> None:
    model = Model()
    writer = Writer(model, "e")
    writer.snapshot()
    fold(model, events)
    assert writer.delta() is None
    assert writer.seq == 1
    assert "message 1" in repr(writer)
