"""Which shipped definitions nobody can ask for any more.

A definition stays while a process has it, and while a call, a value or another definition needs it: these pin it. Two
functions that call each other pin each other, so what counts is whether anything else needs one of them.
"""

from __future__ import annotations

from jupyter_ray.local.scheduler.brought import FunctionRecord
from jupyter_ray.local.scheduler.records import State


def named(state: State, definition: str) -> FunctionRecord:
    """Return the record of a definition; one that has not come yet gets one."""
    record = state.functions.get(definition)
    if record is None:
        record = state.functions[definition] = FunctionRecord(definition)
    return record


def unused_with(state: State, record: FunctionRecord) -> list[FunctionRecord]:
    """Return `record`, and those that only it and they themselves need, if nobody else needs it; else nothing."""
    if record.holders:
        return []
    if not record.pins:
        return [record]
    within = _reachable(state, [record])
    inner = dict.fromkeys(within, 0)
    for each in within.values():
        for other in each.refers:
            inner[other] += 1
    needed = [each for each in within.values() if each.holders or each.pins > inner[each.id]]
    alive = _reachable(state, needed)
    return [] if record.id in alive else [each for each in within.values() if each.id not in alive]


def _reachable(state: State, records: list[FunctionRecord]) -> dict[str, FunctionRecord]:
    """Return `records`, and all that they refer to, and so on."""
    found = {each.id: each for each in records}
    left = list(records)
    while left:
        for other in left.pop().refers:
            if other not in found:
                found[other] = state.functions[other]
                left.append(found[other])
    return found
