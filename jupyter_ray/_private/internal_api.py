"""Ray's ``ray._private.internal_api``: what is in the object store, as text, and a collection of garbage everywhere."""

from __future__ import annotations

from typing import Any

from jupyter_ray.api.cluster import available_resources, cluster_resources
from jupyter_ray.api.session import session_engine
from jupyter_ray.not_offered import unusable
from jupyter_ray.util.state import list_objects

_MIB = 1024**2
_UNITS = {"B": 1, "KB": 1024, "MB": _MIB, "GB": 1024**3}
_SORTING = {"OBJECT_SIZE": "object_size", "PID": "pid", "REFERENCE_TYPE": "reference_type"}
_COLUMNS = ("IP Address", "PID", "Type", "Call Site", "Status", "Attempt", "Size", "Reference Type", "Object Ref")


def memory_summary(
    address: str | None = None,
    group_by: str = "NODE_ADDRESS",
    sort_by: str = "OBJECT_SIZE",
    units: str = "B",
    line_wrap: bool = True,
    stats_only: bool = False,
    num_entries: int | None = None,
) -> str:
    """Return as text what objects there are, who refers to them, and how full the object store is.

    Parameters
    ----------
    address, group_by, line_wrap
        Ray's; of no effect: there is one machine, and a line for an object.
    sort_by
        ``"OBJECT_SIZE"``, ``"PID"`` or ``"REFERENCE_TYPE"``.
    units
        Of sizes: ``"B"``, ``"KB"``, ``"MB"`` or ``"GB"``.
    stats_only
        Leave the objects out.
    num_entries
        At most so many objects; None: all.

    Notes
    -----
    Source: Ray's ``ray.internal.memory_summary`` and the command ``ray memory``.
    """
    if sort_by not in _SORTING or units not in _UNITS:
        raise ValueError(f"sort_by is one of {list(_SORTING)}, and units one of {list(_UNITS)}.")
    rows = list_objects(detail=True, limit=1_000_000)
    parts = [] if stats_only else [_table(rows, _SORTING[sort_by], units, num_entries)]
    return "\n\n".join([*parts, _totals(rows)]) + "\n"


def _table(rows: list[Any], sort_by: str, units: str, limit: int | None) -> str:
    rows = sorted(rows, key=lambda row: getattr(row, sort_by), reverse=sort_by == "object_size")[:limit]
    lines = [" | ".join(_COLUMNS)]
    for row in rows:
        known = row.object_size > 0
        size = f"{row.object_size / _UNITS[units]:.{0 if units == 'B' else 3}f} {units}" if known else "?"
        told = row.ip, row.pid, row.type.capitalize(), row.call_site or "-", row.task_status, row.attempt_number + 1
        lines.append(" | ".join(map(str, (*told, size, row.reference_type, row.object_id))))
    return "--- Object references ---\n" + "\n".join(lines)


def _totals(rows: list[Any]) -> str:
    whole = cluster_resources()["object_store_memory"]
    used = whole - available_resources().get("object_store_memory", 0.0)
    store = session_engine().statistics().get("store", {})
    count = store.get("objects", sum(row.in_shared_memory for row in rows))
    share = round(100 * used / whole, 2) if whole else 0.0
    lines = [
        "--- Aggregate object store stats across all nodes ---",
        f"Plasma memory usage {int(used / _MIB)} MiB, {count} objects, {share}% full, {share}% needed",
    ]
    if on_disk := store.get("on_disk"):  # What was written there at once, since there was no room.
        lines.append(f"Plasma filesystem mmap usage: {int(on_disk / _MIB)} MiB")
    if moved := store.get("objects_moved"):
        lines.append(f"Spilled {int(store['moved_to_disk'] / _MIB)} MiB, {moved} objects")
    return "\n".join(lines)


def global_gc() -> None:
    """Have all processes of the session collect garbage soon: what only cycles of references keep is freed."""
    session_engine().collect_garbage()


_OF_A_CLUSTER = (
    "get_local_ongoing_lineage_reconstruction_tasks", "get_memory_info_reply", "get_state_from_address", "node_stats",
    "store_stats_summary",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, _OF_A_CLUSTER)
