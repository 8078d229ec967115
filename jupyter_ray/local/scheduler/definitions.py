"""Which shipped definitions nobody can ask for any more, and which older versions calls still run.

A definition stays while a process has it, and while a call, a value or another definition needs it. Two functions that
refer to each other pin each other, so what counts is whether anything else needs one of them. A version that a call
runs stays beside the newer ones: in the table under an id of its own, and at the workers under a key of its own.
"""

from __future__ import annotations

from jupyter_ray.local.scheduler.records import FunctionRecord
from jupyter_ray.local.scheduler.session_state import State


def named(state: State, definition: str) -> FunctionRecord:
    """Return the record of a definition; one that has not come yet gets one."""
    record = state.functions.get(definition)
    if record is None:
        record = state.functions[definition] = FunctionRecord(definition)
    return record


def counted_as(state: State, counted: bytes) -> FunctionRecord:
    """As `named`, by the bytes that stand for a definition among counted ids: any, since a client may say anything."""
    return named(state, counted.decode("latin-1"))


def find(state: State, key: str) -> FunctionRecord | None:
    """Return what a process asks for: a definition as it is now, or what a call runs that it was sent."""
    return state.functions.get(key) or state.functions.get(key.partition("@")[0])


def for_newer(state: State, record: FunctionRecord) -> FunctionRecord:
    """Return the record for a newer version of a definition; what calls need of the old one is kept beside it."""
    if not record.calls:
        return record
    definition = record.id
    newer = FunctionRecord(definition, holders=record.holders, pins=record.pins, key=_new_key(state, definition))
    record.id = record.key if record.key != definition else _new_key(state, definition)
    record.holders = record.pins = 0
    state.functions[record.id], state.functions[definition] = record, newer
    return newer


def _new_key(state: State, definition: str) -> str:
    state.serial += 1
    return f"{definition}@{state.serial}"


def known_as(state: State, record: FunctionRecord) -> list[str]:
    """Return under which keys a process may have a definition that is forgotten: who asked for it has it by its id."""
    if record.key == record.id or any(each.key == record.id for each in state.functions.values()):
        return [record.key]
    return [record.key, record.id]


def unused_with(state: State, record: FunctionRecord) -> list[FunctionRecord]:
    """Return `record`, and those that only it and they themselves need, if nobody else needs it; else nothing."""
    if record.holders or record.calls:
        return []
    if not record.pins:
        return [record]
    within = _reachable(state, [record])
    inner = dict.fromkeys(within, 0)
    for each in within.values():
        for other in each.refers:
            inner[other] += 1
    needed = [each for each in within.values() if each.holders or each.calls or each.pins > inner[each.id]]
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
