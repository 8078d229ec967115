"""Fewer events for who draws pictures: of a burst of quick calls, their number.

Pure. A call whose whole life lies in one batch was over before it could be drawn. Where many of one place are, they
become one `TasksRan`, which the panel folds into their group. A call that others in the batch refer to (a parent, or
one whose value they take) stays as it is, and so does everything that happened to calls one by one.
"""

from __future__ import annotations

from collections.abc import Hashable

from jupyter_ray.events import (
    AnyEvent,
    ObjectFreed,
    ObjectSealed,
    TaskFinished,
    TasksRan,
    TaskStarted,
    TaskSubmitted,
)

MANY = 50
"""Calls of one place in a batch, from which on they are told by their number."""

_OF_TASK = frozenset({TaskSubmitted, TaskStarted, TaskFinished})
_OF_OBJECT = frozenset({ObjectSealed, ObjectFreed})


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
    if not folded:
        return events
    gone = {call.task for each in folded for call in each}
    made = {name for each in folded for call in each for name in call.returns}
    result: list[AnyEvent] = []
    for event in events:
        kind = type(event)
        if kind in _OF_TASK:
            if event.task in gone:  # type: ignore[union-attr, operator]
                continue
        elif kind in _OF_OBJECT and event.object in made:  # type: ignore[union-attr]
            continue
        result.append(event)
    # At the end, where the batch's last number stands.
    result += [
        _ran(each, [name for call in each for name in call.returns if name not in freed], events[-1]) for each in folded
    ]
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
