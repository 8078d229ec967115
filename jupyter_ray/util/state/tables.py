"""The tables of the state API: what asks the engine for them, and makes their rows."""

from __future__ import annotations

from typing import Any

from jupyter_ray.api.session import session_engine
from jupyter_ray.ids import JobID
from jupyter_ray.util.state.picking import check, check_id, in_hex, pick, warn, whole
from jupyter_ray.util.state.rows import (
    ActorState,
    JobState,
    Made,
    NodeState,
    ObjectState,
    PlacementGroupState,
    Row,
    TaskState,
    WorkerState,
)
from jupyter_ray.util.state.signatures import Filters, gets, lists, summarizes

_MIB = 1 << 20
_MOST = 10**12
"""A higher `limit` says no more than this one."""
_ATTEMPTS = 1000
"""So many attempts of one task are told."""

_NOT_TOLD: dict[type[Row], dict[str, Any]] = {
    TaskState: dict.fromkeys(("profiling_data", "task_log_info", "is_debugger_paused")),
    ActorState: {
        "num_restarts_due_to_lineage_reconstruction": 0,
        "num_restarts_due_to_node_preemption": 0,
    },
    ObjectState: {},
    WorkerState: dict.fromkeys(("debugger_port", "num_paused_threads")),
}
"""Columns of Ray that are the same in every row here, since what they tell of is not there."""

# --- lists -------------------------------------------------------------------------------------------------------


@lists
def list_tasks(filters: Filters | None, limit: int, detail: bool) -> list[TaskState]:
    """Return the tasks of the session: those that have not ended, then those that have, the newest first.

    Parameters
    ----------
    address, timeout, raise_on_missing_output, _explain
        Ray's; of no effect here.
    filters
        ``(column, "=" or "!=", value)``, which must all hold. Text compares without regard to case.
    limit
        Return at most so many; a warning is logged if there are more.
    detail
        Fill in the columns that Ray fills in on request; without it they are None.

    Returns
    -------
    list of TaskState
        Columns are attributes and keys of each.

    Raises
    ------
    ValueError
        A filter names an unknown column or predicate, or `limit` is negative.
    RaySystemError
        No session runs.

    Notes
    -----
    Source: Ray's ``ray.util.state.list_tasks``.
    """
    return _list(TaskState, "tasks", filters, limit, detail)


@lists
def list_actors(filters: Filters | None, limit: int, detail: bool) -> list[ActorState]:
    """Return the actors of the session, dead ones that are still referred to included; as `list_tasks`."""
    return _list(ActorState, "actors", filters, limit, detail)


@lists
def list_objects(filters: Filters | None, limit: int, detail: bool) -> list[ObjectState]:
    """Return the objects that somebody may still ask for; as `list_tasks`."""
    return _list(ObjectState, "objects", filters, limit, detail)


@lists
def list_workers(filters: Filters | None, limit: int, detail: bool) -> list[WorkerState]:
    """Return the processes of the session: the drivers, the workers, and the last 1,000 that ended; as `list_tasks`."""
    return _list(WorkerState, "workers", filters, limit, detail)


@lists
def list_nodes(filters: Filters | None, limit: int, detail: bool) -> list[NodeState]:
    """Return the machines of the session; as `list_tasks`."""
    rows = [
        {
            "node_id": node["NodeID"],
            "node_ip": node.get("NodeManagerAddress", ""),
            "is_head_node": node.get("IsHead", number == 0),
            "state": "ALIVE" if node["Alive"] else "DEAD",
            "state_message": node.get("DeathReasonMessage") or None,
            "node_name": node.get("NodeName", ""),
            "resources_total": node.get("Resources", {}),
            "labels": node.get("Labels", {}),
            "start_time_ms": node.get("StartTimeMs", 0),
            "end_time_ms": 0,
        }
        for number, node in enumerate(session_engine().nodes())
    ]
    return pick(NodeState, rows, filters, limit, detail)


@lists
def list_jobs(filters: Filters | None, limit: int, detail: bool) -> list[JobState]:
    """Return the jobs: one for each driver that is or was there (on a cluster, our own alone); as `list_tasks`."""
    rows = [
        {
            "job_id": job["job_id"],
            "type": "DRIVER",
            "entrypoint": job["entrypoint"],
            "status": "SUCCEEDED" if job["ended"] else "RUNNING",
            "runtime_env": job["runtime_env"],
            "metadata": job["metadata"],
            "driver_info": {"id": job["job_id"], "node_ip_address": "127.0.0.1", "pid": str(job["pid"] or "")},
            "start_time": int(job["started"] * 1000),
            "end_time": int(job["ended"] * 1000),
        }
        for job in session_engine().jobs()
    ]
    return pick(JobState, rows, filters, limit, detail)


@lists
def list_placement_groups(filters: Filters | None, limit: int, detail: bool) -> list[PlacementGroupState]:
    """Return the placement groups, removed ones included; as `list_tasks`."""
    rows = [
        {
            "placement_group_id": group["placement_group_id"],
            "name": group["name"],
            "creator_job_id": group["placement_group_id"][-2 * JobID.SIZE :],
            "state": group["state"],
            "bundles": _bundles(group),
            "is_detached": bool(group.get("is_detached")),
            "stats": _statistics(group.get("stats") or {}),
            "topology_strategy": {},
            "topology_assignments": {},
        }
        for group in session_engine().placement_groups()
    ]
    return pick(PlacementGroupState, rows, filters, limit, detail)


def _bundles(group: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the bundles as Ray's state API shapes them."""
    key, nodes = group["placement_group_id"], group.get("bundles_to_node_id") or {}
    return [
        {
            "bundle_id": {"placement_group_id": key, "bundle_index": index},
            "unit_resources": resources,
            "node_id": nodes.get(index, ""),
            "label_selector": {},
        }
        for index, resources in group["bundles"].items()
    ]


def _statistics(told: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of how a group was placed, as Ray's state API has it: long numbers are text there."""
    found = {name: value for name, value in told.items() if not name.endswith("latency_ms")}
    for name in ("scheduling_latency", "end_to_end_creation_latency"):
        found[f"{name}_us"] = str(round(told.get(f"{name}_ms", 0.0) * 1000))
    return found


# --- one row -----------------------------------------------------------------------------------------------------


@gets
def get_task(id: Any) -> Any:
    """Return the task with this id (hex), or that makes this reference; None if it is not known (any more).

    A task that was tried again is a list of its attempts, the last one first.

    Notes
    -----
    Source: Ray's ``ray.util.state.get_task``.
    """
    key = in_hex(id, task=True)
    last = _one(TaskState, "tasks", key)
    if last is None or not last.attempt_number:
        return last
    rows, _ = session_engine().table("tasks", limit=_ATTEMPTS, id=key)
    attempts = [TaskState.make({**_constants(TaskState), **row}, True) for row in rows]
    return attempts if len(attempts) > 1 else last


@gets
def get_actor(id: str) -> ActorState | None:
    """Return the actor with this id (hex), or None."""
    return _one(ActorState, "actors", id)


@gets
def get_objects(id: str) -> list[ObjectState]:
    """Return the object with this id (hex), in a list, as in Ray."""
    found = _one(ObjectState, "objects", id)
    return [] if found is None else [found]


@gets
def get_worker(id: str) -> WorkerState | None:
    """Return the process with this id (hex), or None."""
    return _one(WorkerState, "workers", id)


@gets
def get_node(id: str) -> NodeState | None:
    """Return the machine with this id (hex), or None."""
    return next(iter(list_nodes(filters=[("node_id", "=", id)], detail=True)), None)


@gets
def get_job(id: str) -> JobState | None:
    """Return the job with this id (hex), or None."""
    return next(iter(list_jobs(filters=[("job_id", "=", id)], detail=True)), None)


@gets
def get_placement_group(id: str) -> PlacementGroupState | None:
    """Return the placement group with this id (hex), or None."""
    return next(iter(list_placement_groups(filters=[("placement_group_id", "=", id)], detail=True)), None)


# --- summaries ---------------------------------------------------------------------------------------------------


@summarizes
def summarize_tasks() -> dict[str, Any]:
    """Return how many tasks of each name are in which state: that of their function, unless they were given another.

    Returns
    -------
    dict
        ``["cluster"]["summary"][name]["state_counts"]``, and totals in ``["cluster"]``.

    Notes
    -----
    Source: Ray's ``ray.util.state.summarize_tasks``.
    """
    functions: dict[str, Any] = {}
    totals = {"NORMAL_TASK": 0, "ACTOR_TASK": 0, "ACTOR_CREATION_TASK": 0}
    for (name, kind, state), count, _ in session_engine().summary("tasks", ["name", "type", "state"]):
        row = functions.setdefault(name, {"func_or_class_name": name, "type": kind, "state_counts": {}})
        row["state_counts"][state] = row["state_counts"].get(state, 0) + count
        totals[kind] += count
    return _cluster(
        functions,
        "func_name",
        total_tasks=totals["NORMAL_TASK"],
        total_actor_tasks=totals["ACTOR_TASK"],
        total_actor_scheduled=totals["ACTOR_CREATION_TASK"],
    )


@summarizes
def summarize_actors() -> dict[str, Any]:
    """Return how many actors of each class are in which state; as `summarize_tasks`."""
    classes: dict[str, Any] = {}
    total = 0
    for (name, state), count, _ in session_engine().summary("actors", ["class_name", "state"]):
        classes.setdefault(name, {"class_name": name, "state_counts": {}})["state_counts"][state] = count
        total += count
    return _cluster(classes, "class", total_actors=total)


@summarizes
def summarize_objects() -> dict[str, Any]:
    """Return number and size of the objects that each line of the program made; as `summarize_tasks`."""
    sites: dict[str, Any] = {}
    total = size_of_all = 0
    for (site, status, kind, attempt), count, size in session_engine().summary(
        "objects", ["call_site", "task_status", "reference_type", "attempt_number"]
    ):
        site = "put, of small values, or a task that ended long ago" if site == "None" else site
        row = sites.setdefault(
            site,
            {
                "total_objects": 0,
                "total_size_mb": 0.0,
                "total_num_workers": 1,
                "total_num_nodes": 1,
                "task_state_counts": {},
                "task_attempt_number_counts": {},
                "ref_type_counts": {},
            },
        )
        row["total_objects"] += count
        row["total_size_mb"] += size / _MIB
        for counts, value in (("task_state", status), ("task_attempt_number", attempt), ("ref_type", kind)):
            row[f"{counts}_counts"][value] = row[f"{counts}_counts"].get(value, 0) + count
        total += count
        size_of_all += size
    return _cluster(sites, "callsite", total_objects=total, total_size_mb=size_of_all / _MIB, callsite_enabled=True)


def _cluster(summary: dict[str, Any], by: str, **totals: Any) -> dict[str, Any]:
    return {"cluster": {"summary": summary, "summary_by": by, **totals}}


# --- inside ------------------------------------------------------------------------------------------------------


def _list(kind: type[Made], table: str, filters: Filters | None, limit: int, detail: bool) -> list[Made]:
    checked, limit = check(kind, filters), whole(limit)
    constants = _constants(kind)
    asked = []
    for column, predicate, value in checked:
        if column not in constants:
            asked.append((column, predicate, value))
    if any((str(constants[c]).casefold() == str(v).casefold()) != (p == "=") for c, p, v in checked if c in constants):
        return []
    rows, more = session_engine().table(table, limit=min(limit, _MOST), filters=asked)
    warn(kind, more, limit)
    return [kind.make({**constants, **row}, detail) for row in rows]


def _one(kind: type[Made], table: str, key: str) -> Made | None:
    key = in_hex(key)
    column = next(iter(kind.list_columns()))
    if column in kind.IDS:
        check_id(column, str(key), kind.IDS[column])
    try:
        bytes.fromhex(key)
    except (TypeError, ValueError):
        return None
    rows, _ = session_engine().table(table, limit=1, id=key)
    return kind.make({**_constants(kind), **rows[0]}, True) if rows else None


def _constants(kind: type[Row]) -> dict[str, Any]:
    """Return the columns that are the same in every row: there is one machine."""
    found = {"node_id": session_engine().process.node.hex(), "ip": "127.0.0.1", **_NOT_TOLD[kind]}
    if kind in (TaskState, ActorState):  # What has not been placed has none.
        del found["node_id"]
    return found
