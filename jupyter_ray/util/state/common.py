"""Ray's ``ray.util.state.common``: the rows of the tables, and the limits, under the names that programs import."""

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
from jupyter_ray.util.state.signatures import DEFAULT_LIMIT

__all__ = [
    "DEFAULT_LIMIT",
    "DEFAULT_LOG_LIMIT",
    "DEFAULT_RPC_TIMEOUT",
    "ActorState",
    "ClusterEventState",
    "JobState",
    "NodeState",
    "ObjectState",
    "PlacementGroupState",
    "RuntimeEnvState",
    "TaskState",
    "WorkerState",
]

DEFAULT_LOG_LIMIT = 1000
DEFAULT_RPC_TIMEOUT = 30
