"""What went wrong in the session, and the runtime environments that its workers have."""

from __future__ import annotations

import json
import time
from typing import Any

from jupyter_ray.api.session import session_engine
from jupyter_ray.api.timeline import read_log
from jupyter_ray.events import ActorDied, ActorRestarted, AnyEvent, ObjectSpilled, TaskRetried, WorkerDied
from jupyter_ray.util.state.picking import pick
from jupyter_ray.util.state.rows import ClusterEventState, RuntimeEnvState
from jupyter_ray.util.state.signatures import Filters, lists

_MANY = 10_000


@lists
def list_cluster_events(filters: Filters | None, limit: int, detail: bool) -> list[ClusterEventState]:
    """Return what went wrong, the oldest first, as far as it is remembered; as `list_tasks`."""
    rows = [row for event in read_log() if (row := _row(event)) is not None]
    return pick(ClusterEventState, rows, filters, limit, detail)


def _row(event: AnyEvent) -> dict[str, Any] | None:
    if isinstance(event, WorkerDied) and not event.expected:
        told = "ERROR", "WORKER", f"The worker {event.worker} died: {event.reason}."
    elif isinstance(event, ActorDied):
        told = "WARNING", "ACTOR", f"The actor {event.actor} died: {event.reason}."
    elif isinstance(event, ActorRestarted):
        told = "WARNING", "ACTOR", f"The actor {event.actor} is restarted: {event.reason}."
    elif isinstance(event, TaskRetried):
        told = "WARNING", "TASK", f"The task {event.task} is tried again, attempt {event.attempt}: {event.reason}."
    elif isinstance(event, ObjectSpilled):
        told = "INFO", "OBJECT_STORE", f"The object {event.object} of {event.size} bytes went to disk."
    else:
        return None
    severity, source, message = told
    return {
        "severity": severity,
        "time": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at)),
        "source_type": source,
        "message": message,
        "event_id": f"{event.seq:032x}",
        "custom_fields": {},
    }


@lists
def list_runtime_envs(filters: Filters | None, limit: int, detail: bool) -> list[RuntimeEnvState]:
    """Return the runtime environments that workers have; as `list_tasks`."""
    engine = session_engine()
    workers, _ = engine.table("workers", limit=_MANY, filters=[("is_alive", "=", "True")])
    counts: dict[str, int] = {}
    for worker in workers:
        text = worker.get("runtime_env") or ""
        if text:
            counts[text] = counts.get(text, 0) + 1
    rows = [
        {
            "runtime_env": json.loads(text),
            "success": True,
            "creation_time_ms": None,
            "node_id": engine.process.node.hex(),
            "ref_cnt": count,
            "error": None,
        }
        for text, count in counts.items()
    ]
    return pick(RuntimeEnvState, rows, filters, limit, detail)
