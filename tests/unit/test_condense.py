"""Bursts of quick calls are told by their number; nothing else changes, and the counts of the panel are the same."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_ray import events as ev
from jupyter_ray.local.server.condense import BURST, MANY, Condenser
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
            ev.ObjectSealed(at=2.0 + number, object=object_of(task), size=4, task=task),
            ev.TaskFinished(at=2.0 + number, task=task),
        ]
    return events


def numbered(events: list[ev.AnyEvent]) -> list[ev.AnyEvent]:
    return [msgspec.structs.replace(event, seq=number) for number, event in enumerate(events, 1)]


def burst(count: int = MANY, **options: object) -> list[ev.AnyEvent]:
    return numbered([event for number in range(count) for event in call(number, **options)])  # type: ignore[arg-type]


def condense(events: list[ev.AnyEvent], chunk: int = 7) -> list[ev.AnyEvent]:
    """Return what a condenser tells at the end of events that come a few at a time."""
    condenser = Condenser()
    for start in range(0, len(events), chunk):
        condenser.feed(events[start : start + chunk])
    assert condenser.pending == len(events)
    return condenser.look(whole=True)


def counts(events: list[ev.AnyEvent]) -> dict[str, dict[str, int]]:
    model = Model()
    reducer.fold(model, events)
    return {
        group.name: {state: count for state, count in group.counts.items() if count} for group in model.groups.values()
    }


def test_spans_that_a_program_names_are_told_beside_the_number_of_its_calls() -> None:
    events: list[ev.AnyEvent] = []
    for number in range(MANY):
        made, started, *rest = call(number)
        span = ev.Span(name="load", since=1.0, until=2.0, worker="w", extra={}, task=name_of(number))
        events += [made, started, span, *rest]
    told = condense(numbered(events))
    assert [type(event) for event in told].count(ev.Span) == MANY
    [ran] = [event for event in told if not isinstance(event, ev.Span)]
    assert isinstance(ran, ev.TasksRan)
    assert ran.count == MANY
    assert counts(told) == {"f": {"finished": MANY}}


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


def test_calls_that_have_just_begun_are_told_at_the_next_look() -> None:
    begun = [call(number, ends=False) for number in range(1000, 1002 + MANY)]
    ends = [call(number)[2:] for number in range(1000, 1002 + MANY)]
    first = numbered([*burst(), *(event for life in begun for event in life)])
    condenser = Condenser()
    condenser.feed(first)
    [ran] = condenser.look()
    assert isinstance(ran, ev.TasksRan)
    assert ran.count == MANY
    rest = [event for life in ends[:-2] for event in life]
    condenser.feed([msgspec.structs.replace(event, seq=len(first) + 1 + n) for n, event in enumerate(rest)])
    *late, more = condenser.look()
    assert isinstance(more, ev.TasksRan)
    assert more.count == MANY
    assert late == first[-4:]
    assert not condenser.carries
    assert condenser.look() == []


def test_without_a_burst_nothing_waits() -> None:
    condenser = Condenser()
    events = numbered(call(1, ends=False))
    condenser.feed(events)
    assert condenser.look() == events
    assert not condenser.carries


def test_all_of_a_burst_is_told_where_something_follows() -> None:
    condenser = Condenser()
    events = burst(BURST, ends=False)
    condenser.feed(events)
    assert condenser.look() == []
    assert condenser.look() == events, "they were there at the last look"
    condenser.feed([msgspec.structs.replace(event, seq=event.seq + len(events)) for event in events])
    assert len(condenser.look(whole=True)) == len(events)


def test_an_event_that_speaks_of_a_call_comes_after_it() -> None:
    condenser = Condenser()
    lives = [call(number, ends=False) for number in range(2 * MANY)]
    line = ev.LogLines(stream="stdout", text="hello", name="f", pid=1, task=name_of(3))
    waits = ev.TaskBlocked(task=name_of(5), waits_for=[object_of(name_of(7))], lent={})
    failed = ev.TaskFailed(task=name_of(9), error="")
    events = numbered([*(event for life in lives for event in life), line, waits, failed])
    condenser.feed(events)
    told = condenser.look()
    shown = {getattr(event, "task", None) for event in told}
    assert shown == {name_of(number) for number in (3, 5, 7, 9)}
    assert told == [event for event in events if getattr(event, "task", None) in shown]


def test_a_value_that_a_later_call_takes_comes_before_it() -> None:
    """A thousand parts and their sum, all in one burst."""
    parts = [object_of(name_of(number)) for number in range(MANY)]
    ran, sum_ = condense(numbered([*burst(), call(1000, name="sum", takes=parts)[0]]))
    assert isinstance(ran, ev.TasksRan)
    assert set(ran.returns) == set(parts)
    assert isinstance(sum_, ev.TaskSubmitted)
    model = Model()
    reducer.fold(model, [ran, sum_])
    [group] = [group for group in model.groups.values() if group.name == "sum"]
    assert [model.groups[key].name for key in group.deps] == ["f"]


def test_a_value_that_nobody_waits_for_is_not_held() -> None:
    """Its reference went while the call ran: before it had a value, or just after."""
    lives = []
    for number in range(2 * MANY):
        life = call(number)
        life.insert(2 + number % 2, ev.ObjectFreed(object=object_of(name_of(number))))
        lives.append(life)
    [told] = condense(numbered([event for life in lives for event in life]))
    assert isinstance(told, ev.TasksRan)
    assert (told.count, told.returns) == (2 * MANY, [])


def test_calls_that_yield_are_told_one_by_one() -> None:
    events: list[ev.AnyEvent] = []
    for number in range(2 * MANY):
        life = call(number)
        item = ev.ObjectSealed(object=f"{name_of(number)}02000000", size=1, task=name_of(number))
        events += [*life[:2], item, *life[2:]]
    events = numbered(events)
    assert condense(events) == events


def test_calls_that_have_not_ended_stay() -> None:
    events = burst(2 * MANY, ends=False)
    assert condense(events) == events


def test_parents_and_those_whose_values_are_taken_stay() -> None:
    events = burst(MANY - 1)
    others = call(1000, parent=name_of(3), ends=False) + call(1001, takes=[object_of(name_of(5))], ends=False)
    more = [event for number in range(2000, 2000 + MANY) for event in call(number)]
    result = condense(numbered([*events, *others, *more]))
    kept = {event.task for event in result if isinstance(event, ev.TaskSubmitted)}
    assert kept == {name_of(3), name_of(5), name_of(1000), name_of(1001)}
    [told] = [event for event in result if isinstance(event, ev.TasksRan)]
    assert told.count == 2 * MANY - 3


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
    looks = Condenser()
    often: list[ev.AnyEvent] = []
    step = dice.randrange(1, 400)
    for start in range(0, len(events), step):
        looks.feed(events[start : start + step])
        often += looks.look()
    often += looks.look(whole=True)
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
    assert by_name(often) == by_name(events)
