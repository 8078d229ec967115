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
    "Buffer", "Config", "CoreWorker", "FunctionDescriptor", "GcsClient", "GcsClientOptions", "GcsErrorSubscriber",
    "GcsLogSubscriber", "GlobalStateAccessor", "InnerGcsClient", "MessagePackSerializer", "Pickle5SerializedObject",
    "Pickle5Writer", "PythonFunctionDescriptor", "RawSerializedObject", "RayletClient", "SerializedObject",
    "compute_task_id", "del_key_prefix_from_storage", "get_session_key_from_storage",
    "node_labels_match_selector", "split_buffer", "unpack_pickle5_buffers",
)  # fmt: skip

ObjectID = ObjectRef
RESOURCE_UNIT_SCALING = 10_000
"""Amounts of resources are counted in parts of so many."""
StreamingObjectRefGenerator = ObjectRefGenerator

__all__ = [
    "RESOURCE_UNIT_SCALING",
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
