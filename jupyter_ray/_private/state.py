"""``ray._private.state``, also known as ``ray.state``: actors and machines. Public: `ray.util.state`, `ray.nodes`."""

from __future__ import annotations

from typing import Any

from jupyter_ray._common.constants import NODE_ID_PREFIX
from jupyter_ray.api.cluster import available_resources as available_resources
from jupyter_ray.api.cluster import cluster_resources as cluster_resources
from jupyter_ray.api.cluster import nodes as nodes
from jupyter_ray.api.session import session_engine
from jupyter_ray.api.timeline import timeline as timeline
from jupyter_ray.not_offered import unusable
from jupyter_ray.util import state as _tables
from jupyter_ray.util.placement_group import placement_group_table as _groups

_MANY = 1_000_000


def actors(actor_id: str | None = None, job_id: Any = None, actor_state_name: str | None = None) -> dict[str, Any]:
    """Return one actor's row, or the rows of all by their identifiers; an empty one for an actor that is not known."""
    wanted = [("job_id", "=", job_id if isinstance(job_id, str) else job_id.hex())] if job_id is not None else []
    wanted += [("state", "=", actor_state_name)] if actor_state_name is not None else []
    if actor_id is not None:
        found = _tables.list_actors(filters=[("actor_id", "=", actor_id), *wanted], detail=True, limit=1)
        return _row(found[0]) if found else {}
    return {each.actor_id: _row(each) for each in _tables.list_actors(filters=wanted, detail=True, limit=_MANY)}


def available_resources_per_node() -> dict[str, dict[str, float]]:
    """Return the resources that are free now, by machine and name."""
    free = available_resources()
    return {node["NodeID"]: free for node in nodes() if node["Alive"]}


def total_resources_per_node() -> dict[str, dict[str, float]]:
    """Return all resources, used or not, by machine and name."""
    return {node["NodeID"]: node["Resources"] for node in nodes() if node["Alive"]}


def current_node_id() -> str:
    """Return the name of the resource that stands for this machine."""
    return f"{NODE_ID_PREFIX}{nodes()[0]['NodeManagerAddress']}"


def node_ids() -> list[str]:
    """Return the names of the resources that stand for machines."""
    return [NODE_ID_PREFIX + node["NodeManagerAddress"] for node in nodes() if node["Alive"]]


def jobs() -> list[dict[str, Any]]:
    """Return a row for each driver that is known."""
    return [
        {
            "JobID": job["job_id"],
            "DriverIPAddress": nodes()[0]["NodeManagerAddress"],
            "DriverPid": job["pid"],
            "Timestamp": int(1000 * (job["ended"] or job["started"])),
            "StartTime": int(1000 * job["started"]),
            "EndTime": int(1000 * job["ended"]),
            "IsDead": bool(job["ended"]),
            "Entrypoint": job["entrypoint"],
        }
        for job in session_engine().jobs()
    ]


def workers() -> dict[str, dict[str, str]]:
    """Return what is known of the processes that run, by their identifiers."""
    return {
        each.worker_id: {"node_ip_address": nodes()[0]["NodeManagerAddress"]}
        for each in _tables.list_workers(filters=[("is_alive", "=", True)], limit=_MANY)
    }


class GlobalState:
    """The functions of this module as methods, by the names that Ray has for them."""

    actor_table = staticmethod(actors)
    available_resources = staticmethod(available_resources)
    available_resources_per_node = staticmethod(available_resources_per_node)
    cluster_resources = staticmethod(cluster_resources)
    chrome_tracing_dump = staticmethod(timeline)
    job_table = staticmethod(jobs)
    node_table = staticmethod(nodes)
    total_resources_per_node = staticmethod(total_resources_per_node)
    workers = staticmethod(workers)

    def placement_group_table(self, placement_group_id: Any = None) -> dict[str, Any]:
        """Return one group's row, or the rows of all by their identifiers; an empty one if it is not known."""
        rows = _groups()
        return rows if placement_group_id is None else rows.get(placement_group_id.hex(), {})

    def get_placement_group_by_name(self, placement_group_name: str, ray_namespace: str) -> dict[str, Any] | None:
        """Return the row of a group of this session that has not been removed."""
        rows = _groups().values()
        living = (each for each in rows if each["state"] != "REMOVED")
        return next((each for each in living if each["name"] == placement_group_name), None)

    def get_draining_nodes(self) -> dict[str, int]:
        """Return the machines that are about to go, and when: none."""
        return {}

    def disconnect(self) -> None:
        """Do nothing: what is told here comes from the session itself."""


state = GlobalState()

_OF_SERVERS = (
    "TaskEventsHeadClient", "get_worker_debugger_port", "next_job_id", "object_transfer_timeline",
    "update_worker_debugger_port", "update_worker_num_paused_threads",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, _OF_SERVERS)


def _row(actor: Any) -> dict[str, Any]:
    address = next((each["NodeManagerAddress"] for each in nodes() if each["NodeID"] == actor.node_id), "")
    machine = {"IPAddress": address, "Port": 0, "NodeID": actor.node_id}
    return {
        "ActorID": actor.actor_id,
        "ActorClassName": actor.class_name,
        "IsDetached": actor.is_detached,
        "Name": actor.name,
        "JobID": actor.job_id,
        "Address": machine,
        "OwnerAddress": machine,
        "State": actor.state,
        "NumRestarts": actor.num_restarts,
        "DeathCause": actor.death_cause,
        "Pid": actor.pid,
    }
