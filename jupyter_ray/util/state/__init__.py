"""The state of a session as tables: what ``ray list tasks`` and its like show. Source: Ray's ``ray.util.state``.

Answers come from the runtime itself: no dashboard process is needed, and what has just happened is in them. Of tasks
that have ended, the last 10,000 are remembered, and of what they print the last 16 million characters.
"""

from jupyter_ray.util.state.client import StateApiClient
from jupyter_ray.util.state.events import list_cluster_events, list_runtime_envs
from jupyter_ray.util.state.logs import get_log, list_logs
from jupyter_ray.util.state.rows import (
    ActorState,
    ClusterEventState,
    JobState,
    NodeState,
    ObjectState,
    PlacementGroupState,
    RuntimeEnvState,
    TaskState,
    WorkerState,
)
from jupyter_ray.util.state.tables import (
    get_actor,
    get_job,
    get_node,
    get_objects,
    get_placement_group,
    get_task,
    get_worker,
    list_actors,
    list_jobs,
    list_nodes,
    list_objects,
    list_placement_groups,
    list_tasks,
    list_workers,
    summarize_actors,
    summarize_objects,
    summarize_tasks,
)

__all__ = [
    "ActorState",
    "ClusterEventState",
    "JobState",
    "NodeState",
    "ObjectState",
    "PlacementGroupState",
    "RuntimeEnvState",
    "StateApiClient",
    "TaskState",
    "WorkerState",
    "get_actor",
    "get_job",
    "get_log",
    "get_node",
    "get_objects",
    "get_placement_group",
    "get_task",
    "get_worker",
    "list_actors",
    "list_cluster_events",
    "list_jobs",
    "list_logs",
    "list_nodes",
    "list_objects",
    "list_placement_groups",
    "list_runtime_envs",
    "list_tasks",
    "list_workers",
    "summarize_actors",
    "summarize_objects",
    "summarize_tasks",
]
