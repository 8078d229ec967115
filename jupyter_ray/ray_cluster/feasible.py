"""What can never start is refused at the call: Ray itself would let it wait for ever, and say nothing."""

from __future__ import annotations

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
from jupyter_ray.ray_cluster import groups
from jupyter_ray.resources import amounts


def check(plan: Any, name: str, state: Any) -> None:
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
    if group not in (None, "default") and not group.is_empty:
        if groups.is_removed(group.id.hex()):
            error = ActorPlacementGroupRemoved if is_actor else TaskPlacementGroupRemoved
            raise error(f"The placement group {group.id.hex()} of {name} was removed.")
        return
    asked = amounts(options.placement_demand() if is_actor else options.demand())
    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = [node for node in alive if _suits(strategy, node)]
    plan.feasible = any(_has(node["Resources"], asked) for node in nodes)
    if plan.feasible or not alive or state.may_grow():
        return  # With an autoscaler the node that fits may come.
    refused = ActorUnschedulableError if is_actor else TaskUnschedulableError
    wanted = ", ".join(f"{kind}: {amount:g}" for kind, amount in sorted(asked.items())) or "a process"
    if not nodes:
        absent = "The node specified via NodeAffinitySchedulingStrategy doesn't exist, and soft=False was specified: "
        raise refused(
            f"{absent if hasattr(strategy, 'node_id') else ''}{name} asks for {wanted} on a node that its "
            f"scheduling_strategy allows ({strategy!r}), and no node of the cluster is such: it could never start. "
            "See ray.nodes() for their ids and labels."
        )
    kinds = [*asked, *(kind for kind in ("CPU", "GPU") if kind not in asked)]
    there = "; ".join(", ".join(f"{kind}: {node['Resources'].get(kind, 0):g}" for kind in kinds) for node in nodes)
    raise refused(
        f"{name} asks for {wanted}, and no node of the cluster has that (they have {there}): it could never start. Ask "
        "for less, or start a node that has it."
    )


def _has(total: Mapping[str, float], asked: Mapping[str, float]) -> bool:
    return all(total.get(kind, 0) >= amount for kind, amount in asked.items())


def _suits(strategy: Any, node: Mapping[str, Any]) -> bool:
    """Tell whether a scheduling strategy allows a node; the classes are the API's, so they are read by attribute."""
    if strategy is None or isinstance(strategy, str):
        return True
    if hasattr(strategy, "node_id"):
        return bool(strategy.soft) or str(strategy.node_id) == node["NodeID"]
    labels = node.get("Labels", {})
    hard = getattr(strategy, "hard", None) or {}
    return all(condition.accepts(labels.get(key)) for key, condition in hard.items())
