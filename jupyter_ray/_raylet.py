"""Ray's ``ray._raylet``: private there too, but programs import its classes by this name to check types."""

from __future__ import annotations

from typing import Any

from jupyter_ray.api.constants import Language
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.streams import DynamicObjectRefGenerator, ObjectRefGenerator
from jupyter_ray.exceptions import ObjectRefStreamEndOfStreamError
from jupyter_ray.ids import (
    ActorClassID,
    ActorID,
    ClusterID,
    FunctionID,
    JobID,
    NodeID,
    PlacementGroupID,
    TaskID,
    UniqueID,
    WorkerID,
)
from jupyter_ray.not_offered import unusable

_OF_SERVERS = (
    "Config", "CoreWorker", "GcsClient", "GcsClientOptions", "GcsErrorSubscriber", "GcsLogSubscriber",
    "GlobalStateAccessor", "InnerGcsClient", "RayletClient",
)  # fmt: skip

ObjectID = ObjectRef
StreamingObjectRefGenerator = ObjectRefGenerator

__all__ = [
    "ActorClassID",
    "ActorID",
    "ClusterID",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "JobID",
    "Language",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "ObjectRefStreamEndOfStreamError",
    "PlacementGroupID",
    "StreamingObjectRefGenerator",
    "TaskID",
    "UniqueID",
    "WorkerID",
]


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, _OF_SERVERS)
