"""Placement groups: bundles of resources that are reserved together, or not at all.

On one machine every strategy puts the bundles there, but for ``STRICT_SPREAD``, which wants a machine for each bundle
and so waits for ever with more than one (as in Ray). Tasks of a group take from its bundles, never from the machine.
"""

from __future__ import annotations

from typing import Any

from jupyter_ray.local.scheduler.ledger import Allocation, Ledger
from jupyter_ray.local.scheduler.records import GroupRecord, State
from jupyter_ray.local.scheduler.states import GroupState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.resources import amounts

REMOVED_KEPT = 1_000
"""Removed groups that the table still shows."""


def create(step: Step, group: GroupRecord) -> None:
    """Take in a new group."""
    state = step.state
    state.groups[group.id] = group
    state.pending_groups.append(group)
    step.place = True
    removed = [each for each in state.groups.values() if each.state is GroupState.REMOVED]
    for old in removed[: max(0, len(removed) - REMOVED_KEPT)]:
        del state.groups[old.id]


def reserve(step: Step) -> None:
    """Reserve what can be reserved now, in the order in which the groups were asked for."""
    state = step.state
    state.pending_groups = [group for group in state.pending_groups if not _reserve(state, group)]


def _reserve(state: State, group: GroupRecord) -> bool:
    if group.strategy == "STRICT_SPREAD" and len(group.demands) > 1:
        return False
    taken: list[Allocation] = []
    for demand in group.demands:
        allocation = state.ledger.acquire(demand)
        if allocation is None:
            for each in taken:
                each.release()
            return False
        taken.append(allocation)
    group.reserved = taken
    group.bundles = [Ledger.over(allocation) for allocation in taken]
    group.state = GroupState.CREATED
    return True


def release(step: Step, group: GroupRecord) -> None:
    """Give back what a group had reserved; its tasks must have given back what they held of it."""
    state = step.state
    if group in state.pending_groups:
        state.pending_groups.remove(group)
    group.state = GroupState.REMOVED
    for allocation in group.reserved:
        allocation.release()
    group.reserved = []
    step.place = True


def table(state: State, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each group, or for the one named by ``id`` or ``name``."""
    rows = []
    for group in state.groups.values():
        if arguments.get("id") not in (None, group.id) or arguments.get("name") not in (None, group.name):
            continue
        rows.append(
            {
                "placement_group_id": group.id,
                "name": group.name,
                "bundles": {index: amounts(demand) for index, demand in enumerate(group.demands)},
                "strategy": group.strategy,
                "state": group.state.value,
            }
        )
    return rows
