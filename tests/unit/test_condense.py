"""Bursts of quick calls are told by their number; nothing else changes, and the counts of the panel are the same."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_ray import events as ev
from jupyter_ray.local.server.condense import MANY, condense, lull
from jupyter_ray.monitor import reducer
from jupyter_ray.monitor.model import Model


def object_of(task: str) -> str:
    return f"{task}01000000"


def name_of(number: int) -> str:
    return f"{number:048x}"


def call(
    number: int, *, name: str = "f", parent: str | None = None, takes: list[str] | None = None, ends: bool = True
) -> list[ev.AnyEvent]:
    """Return the events of one call, unnumbered."""
    task = name_of(number)
    events: list[ev.AnyEvent] = [
        ev.TaskSubmitted(
            at=1.0 + number,
            task=task,
            name=name,
            kind="task",
            parent=parent,
            dependencies=takes or [],
            returns=[object_of(task)],
            demand={"CPU": 1.0},
            site="x.py:1",
        ),
        ev.TaskStarted(at=1.0 + number, task=task, worker="w", held={"CPU": 1.0}),
    ]
    if ends:
        events += [
            ev.ObjectSealed(at=2.0 + number, object=object_of(task), size=4, shared=False, task=task),
            ev.TaskFinished(at=2.0 + number, task=task),
        ]
    return events


def numbered(events: list[ev.AnyEvent]) -> list[ev.AnyEvent]:
    return [msgspec.structs.replace(event, seq=number) for number, event in enumerate(events, 1)]


def burst(count: int = MANY, **options: object) -> list[ev.AnyEvent]:
    return numbered([event for number in range(count) for event in call(number, **options)])  # type: ignore[arg-type]


def counts(events: list[ev.AnyEvent]) -> dict[str, dict[str, int]]:
    model = Model()
    reducer.fold(model, events)
    return {
        group.name: {state: count for state, count in group.counts.items() if count} for group in model.groups.values()
    }


def test_a_burst_becomes_one_event() -> None:
    events = burst()
    [told] = condense(events)
    assert isinstance(told, ev.TasksRan)
    assert (told.count, told.name, told.seq, told.since, told.at) == (MANY, "f", events[-1].seq, 1.0, events[-1].at)
    assert len(told.returns) == MANY
    assert counts([told]) == counts(events) == {"f": {"finished": MANY}}


def test_what_was_freed_is_not_told_of() -> None:
    events = burst()
    events += numbered([ev.ObjectFreed(object=object_of(name_of(number))) for number in range(MANY - 1)])
    [told] = condense(events)
    assert isinstance(told, ev.TasksRan)
    assert told.returns == [object_of(name_of(MANY - 1))]


@pytest.mark.parametrize("count", [0, 1, MANY - 1])
def test_a_few_calls_stay(count: int) -> None:
    events = burst(count)
    assert condense(events) == events


def test_objects_that_are_freed_together_are_told_of_together() -> None:
    before = [object_of(name_of(number)) for number in range(1000, 1000 + MANY)]
    events = numbered([*burst(), *(ev.ObjectFreed(at=9.0, object=name) for name in before), *call(999)])
    told = condense(events)
    [freed] = [event for event in told if isinstance(event, ev.ObjectsFreed)]
    assert set(freed.objects) == set(before)
    assert not any(isinstance(event, ev.ObjectFreed) for event in told)
    assert max(event.seq for event in told) == events[-1].seq
    model = Model()
    model.producers.update({name: (name, None) for name in before})  # type: ignore[misc]
    reducer.fold(model, told)
    assert not set(before) & set(model.producers)
    few = numbered([*call(1), *(ev.ObjectFreed(object=name) for name in before[: MANY - 1])] * 2)
    assert condense(few[: MANY + 3]) == few[: MANY + 3]


def test_a_batch_ends_where_few_calls_are_under_way() -> None:
    whole = burst(2 * MANY)
    begun = [event for number in range(5000, 5000 + MANY) for event in call(number, ends=False)]
    assert lull([*whole, *begun]) == len(whole)
    assert lull(whole) == len(whole)
    assert lull([*begun, *whole]) == len(begun) + len(whole)
    few = [*whole, *begun[: 2 * (MANY - 1)]]
    assert lull(few) == len(few)
    late = [*burst(3), *begun * 3]
    assert lull(late) == len(late), "half of them at least"


def test_calls_that_have_not_ended_stay() -> None:
    events = burst(2 * MANY, ends=False)
    assert condense(events) == events


def test_parents_and_those_whose_values_are_taken_stay() -> None:
    events = burst()
    others = call(1000, parent=name_of(3), ends=False) + call(1001, takes=[object_of(name_of(5))], ends=False)
    more = [event for number in range(2000, 2000 + MANY) for event in call(number)]
    result = condense(numbered([*events, *others, *more]))
    kept = {event.task for event in result if isinstance(event, ev.TaskSubmitted)}
    assert kept == {name_of(3), name_of(5), name_of(1000), name_of(1001)}
    [told] = [event for event in result if isinstance(event, ev.TasksRan)]
    assert told.count == 2 * MANY - 2


def test_a_value_of_a_folded_call_still_leads_to_its_group() -> None:
    later = call(1000, name="sum", takes=[object_of(name_of(7))], ends=False)
    model = Model()
    reducer.fold(model, condense(burst()))
    reducer.fold(model, later)
    [group] = [group for group in model.groups.values() if group.name == "sum"]
    assert [model.groups[key].name for key in group.deps] == ["f"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(0, 300))
def test_counts_are_the_same(seed: int, size: int) -> None:
    dice = random.Random(seed)
    lives = []
    for number in range(size):
        parent = name_of(dice.randrange(number)) if number and dice.random() < 0.02 else None
        lives.append(call(number, name=dice.choice("fg"), parent=parent, ends=dice.random() < 0.95))
    events: list[ev.AnyEvent] = []
    window: list[list[ev.AnyEvent]] = []
    while lives or window:
        while lives and len(window) < 20:
            window.append(lives.pop(0))
        life = dice.choice(window)
        events.append(life.pop(0))
        if not life:
            window.remove(life)
    events = numbered(events)
    condensed = condense(events)
    assert len(condensed) <= len(events)
    assert [event.seq for event in condensed] == sorted(event.seq for event in condensed)
    assert not events or condensed[-1].seq == events[-1].seq

    def by_name(each: list[ev.AnyEvent]) -> dict[tuple[str, str], int]:
        model = Model()
        reducer.fold(model, each)
        totals: dict[tuple[str, str], int] = {}
        for group in model.groups.values():
            for state, count in group.counts.items():
                totals[group.name, state] = totals.get((group.name, state), 0) + count
        return {key: count for key, count in totals.items() if count}

    assert by_name(condensed) == by_name(events)
