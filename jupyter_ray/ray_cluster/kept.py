"""What a cluster keeps: where its nodes have objects, who refers to them, and values by key. Ray tells all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray.experimental
from ray.experimental import internal_kv

from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.ray_cluster.living import while_alive


class Kept:
    """The part of `RayEngine` that asks for it."""

    @while_alive
    def locations(self, refs: Sequence[ObjectRef[Any]]) -> list[tuple[list[str], int | None, bool]]:
        """Return of each object where it is, its size, and whether it is on disk; see `Engine.locations`."""
        found = ray.experimental.get_object_locations(list(refs))
        missing: dict[str, Any] = {"node_ids": [], "object_size": None, "did_spill": False}
        rows = [found.get(ref, missing) for ref in refs]
        return [(row["node_ids"], row["object_size"], row["did_spill"]) for row in rows]

    @while_alive
    def reference_counts(self) -> dict[bytes, tuple[int, int]]:
        """Return of each object how often this process refers to it; see `Engine.reference_counts`."""
        found = ray._private.worker.global_worker.core_worker.get_all_reference_counts()
        return {bytes.fromhex(each.decode()): (counts["local"], counts["submitted"]) for each, counts in found.items()}

    @while_alive
    def pairs(self, operation: str, key: bytes, *, space: bytes, value: bytes = b"", flag: bool = False) -> Any:
        """Get, list, put or delete what is kept under a key; see `Engine.pairs`."""
        if operation == "get":
            return internal_kv._internal_kv_get(key, namespace=space)
        if operation == "list":
            return internal_kv._internal_kv_list(key, namespace=space)
        if operation == "put":
            return internal_kv._internal_kv_put(key, value, overwrite=flag, namespace=space)
        return internal_kv._internal_kv_del(key, del_by_prefix=flag, namespace=space)

    def note_span(self, name: str, since: float, until: float, extra: dict[str, str]) -> None:
        """Nothing: a cluster keeps its own spans, which only Ray's processes can add to."""

    @while_alive
    def collect_garbage(self) -> None:
        """Have all processes of the cluster collect garbage soon."""
        from ray._private.internal_api import global_gc

        global_gc()
