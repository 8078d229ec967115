"""What can never start is refused at the call: Ray itself would let it wait for ever, and say nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import ray

from jupyter_ray.exceptions import (
    ActorPlacementGroupRemoved,
    ActorUnschedulableError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
)
from jupyter_ray.options import ActorOptions, MethodOptions
from jupyter_ray.resources import amounts

GROUP_SECONDS = 1.0
"""So long it is believed that a placement group is still there."""

_groups: dict[str, float] = {}
"""When placement groups were last seen to be there."""


def forget_group(group: str) -> None:
    """A placement group was removed here: the next call in it looks."""
    _groups.pop(group, None)


def check(plan: Any, name: str) -> None:
    """Raise if no node of the cluster could ever hold what a call asks for, and none will be started for it.

    Raises
    ------
    TaskUnschedulableError, ActorUnschedulableError
        The message says what was asked and what there is.
    TaskPlacementGroupRemoved, ActorPlacementGroupRemoved
        It asks for a place in a group that was removed.
    """
    options = plan.options
    if isinstance(options, MethodOptions):
        return
    is_actor = isinstance(options, ActorOptions)
    strategy = options.scheduling_strategy
    group = getattr(strategy, "placement_group", None)
    if group is not None and not group.is_empty:
        _check_group(group.id.hex(), name, is_actor)
        return
    asked = amounts(options.placement_demand() if is_actor else options.demand())
    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = [node for node in alive if _suits(strategy, node)]
    plan.feasible = any(_has(node["Resources"], asked) for node in nodes)
    if plan.feasible or not alive or ray._private.state.state.get_max_resources_from_cluster_config() is not None:
        return  # With an autoscaler the node that fits may come.
    error = ActorUnschedulableError if is_actor else TaskUnschedulableError
    wanted = ", ".join(f"{kind}: {amount:g}" for kind, amount in sorted(asked.items())) or "a process"
    if not nodes:
        raise error(
            f"{name} asks for {wanted} on a node that its scheduling_strategy allows ({strategy!r}), and no node of "
            "the cluster is such: it could never start. See ray.nodes() for their ids and labels."
        )
    kinds = [*asked, *(kind for kind in ("CPU", "GPU") if kind not in asked)]
    there = "; ".join(", ".join(f"{kind}: {node['Resources'].get(kind, 0):g}" for kind in kinds) for node in nodes)
    raise error(
        f"{name} asks for {wanted}, and no node of the cluster has that (they have {there}): it could never start. Ask "
        "for less, or start a node that has it."
    )


def _has(total: Mapping[str, float], asked: Mapping[str, float]) -> bool:
    return all(total.get(kind, 0) >= amount for kind, amount in asked.items())


def _check_group(group: str, name: str, is_actor: bool) -> None:
    now = time.monotonic()
    if now - _groups.get(group, -GROUP_SECONDS) < GROUP_SECONDS:
        return
    row = ray.util.placement_group_table().get(group)
    if row is None or row["state"] == "REMOVED":
        error = ActorPlacementGroupRemoved if is_actor else TaskPlacementGroupRemoved
        raise error(f"The placement group {group} of {name} was removed.")
    _groups[group] = now


def _suits(strategy: Any, node: Mapping[str, Any]) -> bool:
    """Tell whether a scheduling strategy allows a node; the classes are the API's, so they are read by attribute."""
    if strategy is None or isinstance(strategy, str):
        return True
    if hasattr(strategy, "node_id"):
        return bool(strategy.soft) or str(strategy.node_id) == node["NodeID"]
    labels = node.get("Labels", {})
    hard = getattr(strategy, "hard", None) or {}
    return all(condition.accepts(labels.get(key)) for key, condition in hard.items())
