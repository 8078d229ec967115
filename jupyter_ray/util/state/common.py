"""Ray's ``ray.util.state.common``: the rows that ``util.state`` returns."""

from __future__ import annotations

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

__all__ = [
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
