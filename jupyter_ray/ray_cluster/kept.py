"""What a cluster keeps: where its nodes have objects, and values by key. Ray tells both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray.experimental
from ray.experimental import internal_kv

from jupyter_ray.engine.refs import ObjectRef


def locations(refs: Sequence[ObjectRef[Any]]) -> list[tuple[list[str], int | None, bool]]:
    """Return of each object the nodes that have it, its size, and whether it is on disk."""
    found = ray.experimental.get_object_locations(list(refs))
    missing: dict[str, Any] = {"node_ids": [], "object_size": None, "did_spill": False}
    rows = [found.get(ref, missing) for ref in refs]
    return [(row["node_ids"], row["object_size"], row["did_spill"]) for row in rows]


def pairs(operation: str, key: bytes, space: bytes, value: bytes, flag: bool) -> Any:
    """Get, list, put or delete what is kept by key."""
    if operation == "get":
        return internal_kv._internal_kv_get(key, namespace=space)
    if operation == "list":
        return internal_kv._internal_kv_list(key, namespace=space)
    if operation == "put":
        return internal_kv._internal_kv_put(key, value, overwrite=flag, namespace=space)
    return internal_kv._internal_kv_del(key, del_by_prefix=flag, namespace=space)
