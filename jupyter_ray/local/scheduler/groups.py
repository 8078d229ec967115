"""Placement groups: bundles of resources that are reserved together, or not at all.

On one machine every strategy puts the bundles there, but for ``STRICT_SPREAD``, which wants a machine for each bundle
and so waits for ever with more than one (as in Ray), as does a group that wants labels which the machine does not have.
Tasks of a group take from its bundles, never from the machine.
"""

from __future__ import annotations

from jupyter_ray.local.protocol.messages import GroupReady
from jupyter_ray.local.scheduler import endings, errors
from jupyter_ray.local.scheduler.dependencies import expect, grant, seal
from jupyter_ray.local.scheduler.ledger import Allocation, Ledger
from jupyter_ray.local.scheduler.outlook import is_excluded
from jupyter_ray.local.scheduler.records import ClientRecord, GroupRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import GroupState
from jupyter_ray.local.scheduler.step import Step

REMOVED_KEPT = 1_000
"""Removed groups that the table still shows."""


def create(step: Step, group: GroupRecord) -> None:
    """Take in a new group."""
    state = step.state
    state.groups[group.id] = group
    state.pending_groups.append(group)
    step.place = True


def reserve(step: Step) -> None:
    """Reserve what can be reserved now, in the order in which the groups were asked for."""
    state = step.state
    pending, state.pending_groups = state.pending_groups, []
    for group in pending:
        if not _reserve(state, group):
            state.pending_groups.append(group)
            continue
        group.seconds = step.now - group.made
        ready, group.ready = group.ready, {}
        for object_id, payload in ready.items():
            seal(step, object_id, payload)


def announce(step: Step, client: ClientRecord, message: GroupReady) -> None:
    """Make an object when the group is reserved."""
    expect(step, message.object)
    grant(step, client, message.object)
    group = step.state.groups.get(message.group)
    if group is None or group.state is GroupState.REMOVED:
        seal(step, message.object, errors.group_removed("ready()", message.group, is_actor=False))
    elif group.state is GroupState.CREATED:
        seal(step, message.object, message.payload)
    else:
        group.ready[message.object] = message.payload


def _reserve(state: State, group: GroupRecord) -> bool:
    if is_excluded(group):
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
    for allocation, bundle in zip(group.reserved, group.bundles, strict=True):
        endings.give_back_bundle(state, allocation, bundle)
    group.reserved = []
    step.place = True
    for object_id in group.ready:
        seal(step, object_id, errors.group_removed("ready()", group.id, is_actor=False))
    group.ready = {}
    state.removed_groups.append(group.id)
    if len(state.removed_groups) > REMOVED_KEPT:
        del state.groups[state.removed_groups.popleft()]
