"""Fewer events for who draws pictures: of a burst of quick calls, their number.

Pure. A call whose whole life lies in one batch was over before it could be drawn. Where many of one place are, they
become one `TasksRan`, which the panel folds into their group. A call that others in the batch refer to (a parent, or
one whose value they take) stays as it is, and so does everything that happened to calls one by one; but where many
objects are freed, one event says so. A batch ends best where few calls are in the midst of their lives: see `lull`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from jupyter_ray.events import (
    AnyEvent,
    ObjectFreed,
    ObjectSealed,
    ObjectsFreed,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TasksRan,
    TaskStarted,
    TaskSubmitted,
)

MANY = 50
"""Calls of one place in a batch, from which on they are told by their number."""

_ENDS = frozenset({TaskFinished, TaskFailed, TaskCancelled})
_OF_TASK = frozenset({TaskSubmitted, TaskStarted, TaskFinished})
_OF_OBJECT = frozenset({ObjectSealed, ObjectFreed})


def lull(events: list[AnyEvent]) -> int:
    """Return how many of `events` to tell now: half of them or more, up to where fewest calls are under way."""
    if len(events) < 3 * MANY:
        return len(events)
    under_way = least = 0
    half, place = len(events) // 2, len(events)
    for number, event in enumerate(events, 1):
        kind = type(event)
        if kind is TaskSubmitted:
            under_way += 1
        elif kind in _ENDS:
            under_way -= 1
            if number >= half and (under_way <= least or place == len(events)):
                least, place = under_way, number
    return place if under_way - least >= MANY else len(events)


def condense(events: list[AnyEvent]) -> list[AnyEvent]:
    """Return `events` with bursts of calls told by their number; the list itself if there are none."""
    if len(events) < 3 * MANY:
        return events
    ended: set[str] = set()
    freed: set[str] = set()
    calls: list[TaskSubmitted] = []
    referred: set[str] = set()
    for event in events:
        kind = type(event)
        if kind is TaskFinished:
            ended.add(event.task)  # type: ignore[union-attr, arg-type]
        elif kind is ObjectFreed:
            freed.add(event.object)  # type: ignore[union-attr]
        elif kind is TaskSubmitted:
            calls.append(event)  # type: ignore[arg-type]
            if event.parent is not None:  # type: ignore[union-attr]
                referred.add(event.parent)  # type: ignore[union-attr]
            if event.dependencies:  # type: ignore[union-attr]
                referred.update(event.dependencies)  # type: ignore[union-attr]
    places: dict[Hashable, list[TaskSubmitted]] = {}
    for call in calls:
        if call.task in ended and not call.dependencies and call.kind != "actor" and call.task not in referred:
            if referred and not referred.isdisjoint(call.returns):
                continue
            places.setdefault((call.site, call.name, call.kind, call.parent, call.actor, call.cell), []).append(call)
    folded = [each for each in places.values() if len(each) >= MANY]
    if not folded and len(freed) < MANY:
        return events
    returns = [{name for call in each for name in call.returns} for each in folded]
    made: set[str] = set().union(*returns)
    others = freed - made
    last = events[-1]
    result = _rest(events, folded, made, others if len(freed) >= MANY else set())
    # At the end, where the batch's last number stands.
    if len(freed) >= MANY and others:
        result.append(ObjectsFreed(seq=last.seq, at=last.at, objects=list(others)))
    result += [_ran(each, list(names - freed), last) for each, names in zip(folded, returns, strict=True)]
    return result


def _rest(events: list[AnyEvent], folded: list[list[TaskSubmitted]], made: set[str], freed: set[str]) -> list[AnyEvent]:
    """Return what is told one by one: not the calls in `folded` with what they `made`, nor that these are `freed`."""
    count = sum(map(len, folded))
    kinds = Counter(map(type, events))
    told = {TaskSubmitted: count, TaskStarted: count, TaskFinished: count, ObjectSealed: len(made)}
    if all(kinds[kind] == number for kind, number in told.items()):  # There are no other calls in the batch.
        alone = kinds.keys() - told.keys() - {ObjectFreed}
        if kinds[ObjectFreed] >= MANY or not kinds[ObjectFreed]:
            return [event for event in events if type(event) in alone] if alone else []
    gone = {call.task for each in folded for call in each}
    result: list[AnyEvent] = []
    for event in events:
        kind = type(event)
        if kind in _OF_TASK:
            if event.task in gone:  # type: ignore[union-attr, operator]
                continue
        elif kind in _OF_OBJECT and (event.object in made or event.object in freed):  # type: ignore[union-attr]
            continue
        result.append(event)
    return result


def _ran(calls: list[TaskSubmitted], returns: list[str], last: AnyEvent) -> TasksRan:
    first = calls[0]
    return TasksRan(
        seq=last.seq,
        at=last.at,
        name=first.name,
        kind=first.kind,
        parent=first.parent,
        returns=returns,
        demand=first.demand,
        actor=first.actor,
        cell=first.cell,
        site=first.site,
        count=len(calls),
        since=first.at,
    )
