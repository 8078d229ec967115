"""Placement groups: Ray's own, and what Ray does not tell of them.

A task or an actor that waits in a group which is removed before it was made would wait for ever in Ray. So a process
remembers what it has started in a group, and ends that when it removes the group before its time.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from typing import Any

import ray
from ray._private.client_mode_hook import client_mode_wrap

from jupyter_ray.ray_cluster import cancelling, exceptions
from jupyter_ray.ray_cluster.calls import group_of

BELIEVED_SECONDS = 1.0
"""So long it is believed that a placement group is still there."""

_KEPT = 10_000

_seen: dict[str, float] = {}
"""When placement groups were last seen to be there."""

_started: dict[str, list[Callable[[], Any]]] = {}
"""What this process has started in groups: weak references."""


def create(
    bundles: list[dict[str, float]], strategy: Any, name: str, *, detached: bool, labels: Any, alike: str
) -> str:
    """Ask for a group; return its id (hex)."""
    strategies = {"ray.io/node-id": strategy, alike: "STRICT_PACK"} if alike else None
    group = ray.util.placement_group(
        bundles,
        strategy=None if alike else strategy,
        name=name,
        lifetime="detached" if detached else None,
        bundle_label_selector=labels,
        topology_strategy=strategies,
    )
    return str(group.id.hex())


def rows() -> list[dict[str, Any]]:
    """Return a row for each group."""
    return [{**row, "bundles": dict(row["bundles"])} for row in ray.util.placement_group_table().values()]


def ready(group: str, value: Any) -> Any:
    """Return Ray's reference to `value` that is ready when the group is made, and raises when it is removed."""
    return client_mode_wrap(_ready)(group, value)


def _ready(group: str, value: Any) -> Any:
    worker = ray._private.worker.global_worker
    serialized = worker.get_serialization_context().serialize(value)
    return worker.core_worker.async_wait_placement_group_ready(group_of(group).id, serialized)


def is_removed(group: str) -> bool:
    """Tell whether a group is there no more."""
    now = time.monotonic()
    if now - _seen.get(group, -BELIEVED_SECONDS) < BELIEVED_SECONDS:
        return False
    row = ray.util.placement_group_table().get(group)
    if row is None or row["state"] == "REMOVED":
        return True
    _seen[group] = now
    return False


def started(group: str, made: Any) -> None:
    """A task (its reference) or an actor was started in a group."""
    known = _started.setdefault(group, [])
    known.append(weakref.ref(made))
    if len(known) > _KEPT:
        known[:] = [each for each in known if each() is not None]


def remove(group: str) -> None:
    """Give a group back, with all that runs or waits in it."""
    row = ray.util.placement_group_table().get(group)
    ray.util.remove_placement_group(group_of(group))
    _seen.pop(group, None)
    waiting = _started.pop(group, ())
    if row is None or row["state"] != "PENDING":
        return  # Ray ends what is in a group that was made.
    for each in waiting:
        made = each()
        if made is not None:
            _end(group, made)


def _end(group: str, made: Any) -> None:
    with contextlib.suppress(ray.exceptions.RayError, ValueError):
        if isinstance(made, ray.ObjectRef):
            exceptions.ended[made.task_id().hex()] = group
            cancelling.cancel(made)
        else:
            exceptions.ended[made.binary().hex()] = group
            ray.kill(made.native)
