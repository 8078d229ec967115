"""What Ray itself knows of a session's tasks, actors, workers and objects, as the rows of the port's tables.

Asked of the head node directly, where Ray's state API asks too: no dashboard need run. Task events reach the head node
about a second after they happened; what a filter can leave out is left out there.
"""

from __future__ import annotations

import binascii
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray._private.gcs_utils import create_gcs_channel
from ray.core.generated import common_pb2, gcs_pb2, gcs_service_pb2, gcs_service_pb2_grpc

from jupyter_ray import events as ev
from jupyter_ray.ray_cluster import calls

Row = dict[str, Any]

_LIMIT = 10_000
"""Rows that are asked for at most: Ray's own limit."""
_TIMEOUT_SECONDS = 10.0
_MS = 1_000_000
_HEAD = "node:__internal_head__"
_OURS = ("run_task", "stream_task")
_OUR_METHODS = (".run", ".stream")

_TASK_STATES = list(common_pb2.TaskStatus.items())
_EQUAL = {"=": gcs_service_pb2.FilterPredicate.EQUAL, "!=": gcs_service_pb2.FilterPredicate.NOT_EQUAL}


class State:
    """The state of one session.

    Parameters
    ----------
    job
        The id of the session.
    node
        The id of the node that is told first (hex).
    """

    def __init__(self, job: bytes, node: str) -> None:
        self._job = job
        self._node = node
        self._tasks: Any = None
        self._actors: Any = None
        self._workers: Any = None

    def _connect(self) -> None:
        if self._tasks is None:
            channel = create_gcs_channel(ray._private.worker.global_worker.gcs_client.address)
            self._actors = gcs_service_pb2_grpc.ActorInfoGcsServiceStub(channel)
            self._workers = gcs_service_pb2_grpc.WorkerInfoGcsServiceStub(channel)
            self._tasks = gcs_service_pb2_grpc.TaskInfoGcsServiceStub(channel)

    # --- tasks ---

    def tasks(
        self, *, limit: int = _LIMIT, task: bytes | None = None, states: Sequence[tuple[str, str]] = ()
    ) -> tuple[list[Row], int]:
        """Return the tasks of this job, and how many more there are that Ray left out.

        Parameters
        ----------
        limit
            At most so many.
        task
            Only this one.
        states
            ``("=" or "!=", state)``, which must all hold.
        """
        self._connect()
        filters = gcs_service_pb2.GetTaskEventsRequest.Filters(exclude_driver=True)
        filters.job_filters.add(job_id=self._job, predicate=_EQUAL["="])
        if task is not None:
            filters.task_filters.add(task_id=task, predicate=_EQUAL["="])
        for predicate, state in states:
            filters.state_filters.add(state=state, predicate=_EQUAL[predicate])
        request = gcs_service_pb2.GetTaskEventsRequest(limit=limit, filters=filters)
        reply = self._tasks.GetTaskEvents(request, timeout=_TIMEOUT_SECONDS)
        rows = [row for event in reply.events_by_task if (row := _task_row(event)) is not None]
        return rows, int(reply.num_truncated) + int(reply.num_status_task_events_dropped)

    def actors(self) -> list[Row]:
        """Return the actors of this job, dead ones included."""
        self._connect()
        filters = gcs_service_pb2.GetAllActorInfoRequest.Filters(job_id=self._job)
        request = gcs_service_pb2.GetAllActorInfoRequest(show_dead_jobs=False, limit=_LIMIT, filters=filters)
        reply = self._actors.GetAllActorInfo(request, timeout=_TIMEOUT_SECONDS)
        return [_actor_row(actor) for actor in reply.actor_table_data]

    def workers(self) -> list[Row]:
        """Return the worker processes of the cluster."""
        self._connect()
        reply = self._workers.GetAllWorkerInfo(
            gcs_service_pb2.GetAllWorkerInfoRequest(limit=_LIMIT), timeout=_TIMEOUT_SECONDS
        )
        return [_worker_row(row) for row in reply.worker_table_data if self._is_ours(row)]

    def _is_ours(self, row: gcs_pb2.WorkerTableData) -> bool:
        """Tell whether a process is of this job, or free for it."""
        if row.worker_type == common_pb2.DRIVER:  # Whose row need not name the job, but its id begins with the job's.
            return bool(row.worker_address.worker_id.startswith(self._job))
        return row.job_id in (self._job, b"")

    def objects(self) -> list[Row]:
        """Return the objects that this process refers to."""
        core = ray._private.worker.global_worker.core_worker
        ids = [binascii.unhexlify(each) for each in core.get_all_reference_counts() if len(each) == 56]
        sizes = ray.experimental.get_local_object_locations([ray.ObjectRef(each) for each in ids]) if ids else {}
        rows = []
        for ref, found in sizes.items():
            size = found.get("object_size") or 0
            shared = bool(found.get("node_ids"))
            rows.append(
                {
                    "object_id": ref.hex(),
                    "object_size": size,
                    "task_status": "FINISHED" if size else "NIL",
                    "attempt_number": 0,
                    "reference_type": "PINNED_IN_MEMORY" if shared else "LOCAL_REFERENCE",
                    "call_site": None,
                    "type": "DRIVER" if ray._private.worker.global_worker.mode == ray.SCRIPT_MODE else "WORKER",
                    "pid": os.getpid(),
                    "ip": ray._private.worker.global_worker.node_ip_address,
                    "in_shared_memory": shared,
                    "holders": None,
                }
            )
        return rows

    def nodes(self) -> list[Row]:
        """Return Ray's rows of the nodes, and what it leaves out there: when each began, and which is the head."""
        known = ray._private.worker.global_worker.gcs_client.get_all_node_info()
        began = {node.hex(): int(info.start_time_ms) for node, info in known.items()}
        rows = [
            {**row, "StartTimeMs": began.get(row["NodeID"], 0), "IsHead": _HEAD in row["Resources"]}
            for row in ray.nodes()
        ]
        return sorted(rows, key=lambda row: row["NodeID"] != self._node)

    def total(self) -> dict[str, dict[str, float]]:
        """Return what each living node has in all."""
        return dict(ray._private.state.total_resources_per_node())

    def free(self) -> dict[str, dict[str, float]]:
        """Return what each living node has free."""
        return dict(ray._private.state.available_resources_per_node())

    def may_grow(self) -> bool:
        """Tell whether nodes are started when they are wanted: the cluster has an autoscaler."""
        return ray._private.state.state.get_max_resources_from_cluster_config() is not None

    def machines(self) -> list[Row]:
        """Return, for each living node, its name and what it has free and in all."""
        free = self.free()
        return [
            {
                "node": row["NodeID"],
                "address": row["NodeManagerAddress"],
                "total": dict(row["Resources"]),
                "free": {kind: free.get(row["NodeID"], {}).get(kind, 0.0) for kind in row["Resources"]},
            }
            for row in ray.nodes()
            if row["Alive"]
        ]

    # --- the port ---

    def table(
        self, what: str, *, limit: int, filters: Sequence[tuple[str, str, Any]] = (), id: str | None = None
    ) -> tuple[list[Row], bool]:
        """Return rows; see `Engine.table`."""
        makers: dict[str, Callable[[], list[Row]]] = {
            "actors": self.actors,
            "workers": self.workers,
            "objects": self.objects,
        }
        more = 0
        if what == "tasks":
            states = [(predicate, str(value).upper()) for key, predicate, value in filters if key == "state"]
            rows, more = self.tasks(task=None if id is None else bytes.fromhex(id), states=states)
            rows.sort(key=lambda row: (row["end_time_ms"] is not None, -(row["creation_time_ms"] or 0)))
        else:
            rows = makers[what]()
        if id is not None:
            key = {"tasks": "task_id", "actors": "actor_id", "workers": "worker_id", "objects": "object_id"}[what]
            rows = [row for row in rows if row[key] == id]
        for column, predicate, value in filters:
            text = _comparable(value)
            rows = [row for row in rows if (_comparable(row.get(column)) == text) == (predicate == "=")]
        return rows[:limit], len(rows) > limit or more > 0

    def summary(self, what: str, by: Sequence[str]) -> list[tuple[list[str], int, int]]:
        """Return how many rows agree; see `Engine.summary`."""
        rows, _ = self.table(what, limit=_LIMIT)
        counts: Counter[tuple[str, ...]] = Counter()
        sizes: Counter[tuple[str, ...]] = Counter()
        for row in rows:
            key = tuple("" if row.get(column) is None else str(row.get(column)) for column in by)
            counts[key] += 1
            sizes[key] += int(row.get("object_size") or 0)
        return [(list(key), count, sizes[key]) for key, count in counts.items()]

    def statistics(self) -> dict[str, Any]:
        """Return counts of the session."""
        rows, more = self.tasks()
        states = Counter(row["state"] for row in rows)
        ended = states.get("FINISHED", 0) + states.get("FAILED", 0)
        return {
            "tasks": {"alive": len(rows) - ended, "ended": ended, **states},
            "actors": dict(Counter(row["state"] for row in self.actors())),
            "workers": sum(row["is_alive"] for row in self.workers()),
            "machines": self.machines(),
            "left_out": more,
        }


def ready(nodes: list[dict[str, Any]]) -> ev.RuntimeReady:
    """Return the first event of a session on these nodes."""
    resources = dict(ray.cluster_resources())
    return ev.RuntimeReady(at=time.time(), pid=0, engine="ray", resources=resources, gpus=[], nodes=machines(nodes))


def machines(rows: Sequence[Mapping[str, Any]]) -> list[ev.Node]:
    """Return the living nodes as the panel is told of them, from Ray's rows; the head first.

    A node is called by its host; where several nodes share one, by a part of its id too.
    """
    alive = [row for row in rows if row["Alive"]]
    alive.sort(key=lambda row: (_HEAD not in row["Resources"], row["NodeManagerHostname"], row["NodeID"]))
    hosts = Counter(row["NodeManagerHostname"] for row in alive)
    found = []
    for row in alive:
        name = row["NodeManagerHostname"]
        if hosts[name] > 1:
            name = f"{name} {row['NodeID'][:8]}"
        if _HEAD in row["Resources"]:
            name += " (head)"
        amounts = {kind: amount for kind, amount in row["Resources"].items() if not kind.startswith("node:")}
        found.append(ev.Node(id=row["NodeID"], name=name, resources=amounts))
    return found


def _comparable(value: Any) -> str:
    return str(value).lower()


def _hex(value: bytes) -> str | None:
    return value.hex() if value and value.strip(b"\xff") else None


def _name(info: Any) -> str:
    return str(info.name or info.func_or_class_name)


def _function(info: Any) -> str:
    """Return the user's function: Ray knows only ours, which calls it."""
    function: str = info.func_or_class_name
    if function in _OURS or function.endswith(_OUR_METHODS):
        name = _name(info)  # Ray puts an actor's own name before that of its constructor.
        bare = name.rpartition(":")[2] if info.type == common_pb2.TaskType.ACTOR_CREATION_TASK else name
        return calls.renamed.get(info.name, bare)
    return function


def _task_row(event: gcs_pb2.TaskEvents) -> Row | None:
    info, updates = event.task_info, event.state_updates
    times = {state: updates.state_ts_ns[number] for state, number in _TASK_STATES if number in updates.state_ts_ns}
    if not times:
        return None
    state = list(times)[-1]
    failed = state == "FAILED"
    return {
        "task_id": event.task_id.hex(),
        "attempt_number": event.attempt_number,
        "name": _name(info),
        "state": state,
        "job_id": event.job_id.hex(),
        "actor_id": _hex(info.actor_id),
        "type": common_pb2.TaskType.Name(info.type),
        "func_or_class_name": _function(info),
        "parent_task_id": _hex(info.parent_task_id),
        "node_id": _hex(updates.node_id),
        "worker_id": _hex(updates.worker_id),
        "worker_pid": updates.worker_pid or None,
        "error_type": common_pb2.ErrorType.Name(updates.error_info.error_type) if failed else None,
        "language": "PYTHON",
        "required_resources": dict(info.required_resources),
        "placement_group_id": _hex(info.placement_group_id),
        "creation_time_ms": _ms(times.get("PENDING_ARGS_AVAIL")),
        "start_time_ms": _ms(times.get("RUNNING")),
        "end_time_ms": _ms(times.get(state)) if state in ("FINISHED", "FAILED") else None,
        "error_message": updates.error_info.error_message if failed else None,
        "call_site": info.call_site or None,
        "label_selector": dict(info.label_selector),
        "events": [{"state": state, "created_ms": at / _MS} for state, at in times.items()],
        "times": times,
    }


def _ms(nanoseconds: int | None) -> int | None:
    return None if nanoseconds is None else nanoseconds // _MS


_EXPECTED = tuple(
    common_pb2.ActorDiedErrorContext.Reason.Value(name) for name in ("RAY_KILL", "OUT_OF_SCOPE", "REF_DELETED")
)
"""An actor's ends with which nothing went wrong."""


def _actor_row(actor: gcs_pb2.ActorTableData) -> Row:
    state = gcs_pb2.ActorTableData.ActorState.Name(actor.state)
    cause = actor.death_cause
    which = cause.WhichOneof("context")
    reason = getattr(getattr(cause, which), "error_message", "") if which else ""
    if which == "creation_task_failure_context":
        reason = "its constructor raised an error"
    return {
        "actor_id": actor.actor_id.hex(),
        "class_name": actor.class_name,
        "state": state,
        "job_id": actor.job_id.hex(),
        "name": actor.name,
        "node_id": _hex(actor.node_id),
        "pid": actor.pid,
        "ray_namespace": actor.ray_namespace,
        "required_resources": dict(actor.required_resources),
        "death_cause": {which: {"error_message": reason}} if which else None,
        "reason": reason,
        "expected": which == "actor_died_error_context" and cause.actor_died_error_context.reason in _EXPECTED,
        "is_detached": actor.is_detached,
        "placement_group_id": _hex(actor.placement_group_id),
        "num_restarts": actor.num_restarts,
        "call_site": actor.call_site or None,
        "label_selector": dict(actor.label_selector),
        "pending_calls": None,
        "worker_id": _hex(actor.address.worker_id),
    }


def _worker_row(worker: gcs_pb2.WorkerTableData) -> Row:
    exited = not worker.is_alive
    return {
        "worker_id": worker.worker_address.worker_id.hex(),
        "is_alive": worker.is_alive,
        "worker_type": common_pb2.WorkerType.Name(worker.worker_type),
        "exit_type": common_pb2.WorkerExitType.Name(worker.exit_type) if exited else None,
        "node_id": worker.worker_address.node_id.hex(),
        "ip": worker.worker_address.ip_address,
        "pid": worker.pid,
        "exit_detail": worker.exit_detail or None,
        "start_time_ms": worker.start_time_ms or None,
        "end_time_ms": worker.end_time_ms,
        "status": None,
        "actor_id": None,
    }
