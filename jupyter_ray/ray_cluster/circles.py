"""A wait that can never end: a task holds what it waits for.

A task that waits lends its CPUs, and keeps the rest: GPUs, memory, resources of its own. If it waits for a task that no
node could run while it keeps that, both wait for ever, and Ray says nothing. So a long `get` of a task that keeps
something asks Ray's state now and then whether the task that it waits for could start at all.

Only what the waiting task itself keeps is counted. Circles over several tasks are not seen: Ray does not tell who waits
for whom.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.exceptions import ResourceDeadlockError
from jupyter_ray.ids import task_of

FIRST_LOOK_SECONDS = 2.0
"""A wait that is shorter costs nothing: Ray's state is a second old anyway."""

_LOOKED_AT = 20
_LENT = "CPU"


def kept(context: TaskContext | None) -> dict[str, float]:
    """Return what a task keeps while it waits; nothing, if it runs in a placement group, which reserves for others."""
    if context is None or context.group:
        return {}
    lends = context.actor is None
    return {kind: amount for kind, amount in context.held.items() if amount and not (lends and kind == _LENT)}


def check(engine: Any, awaited: Sequence[Any], keeps: dict[str, float], name: str) -> None:
    """Raise if one of the awaited values can never come while this task keeps what it does.

    Raises
    ------
    ResourceDeadlockError
        The message names the circle.
    """
    _, late = ray.wait(list(dict.fromkeys(awaited)), num_returns=len(set(awaited)), timeout=0, fetch_local=False)
    totals = engine.state.total()
    here = engine.process.node.hex()
    for ref in late[:_LOOKED_AT]:
        rows, _ = engine.state.tasks(task=task_of(ref.binary()))
        row = max(rows, key=lambda each: each["attempt_number"], default=None)
        if row is None or row["state"] != "PENDING_NODE_ASSIGNMENT":
            continue
        asked = {kind: amount for kind, amount in row["required_resources"].items() if amount}
        contested = [kind for kind in asked if kind in keeps]
        if contested and not any(_fits(asked, total, keeps if node == here else {}) for node, total in totals.items()):
            held = ", ".join(f"{kind}: {keeps[kind]:g}" for kind in contested)
            wanted = ", ".join(f"{kind}: {amount:g}" for kind, amount in sorted(asked.items()))
            raise ResourceDeadlockError(
                f"This get() could never return: {name} holds {held} and waits for {row['name']}, which asks for "
                f"{wanted}, and no node of the cluster has that beside what {name} holds. Ask for less, or get the "
                "result where nothing is held."
            )


def _fits(asked: dict[str, float], total: dict[str, float], kept: dict[str, float]) -> bool:
    return all(total.get(kind, 0.0) - kept.get(kind, 0.0) >= amount - 1e-9 for kind, amount in asked.items())
