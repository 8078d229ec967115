"""Ray's ``ray._raylet``: private there too, but programs import its classes by this name to check types."""

from __future__ import annotations

from typing import Any

from setproctitle import getproctitle as getproctitle
from setproctitle import setproctitle as setproctitle

from jupyter_ray._common.network_utils import build_address as build_address
from jupyter_ray._common.network_utils import get_all_interfaces_ip as get_all_interfaces_ip
from jupyter_ray._common.network_utils import get_localhost_ip as get_localhost_ip
from jupyter_ray._common.network_utils import is_ipv6 as is_ipv6
from jupyter_ray._common.network_utils import is_localhost as is_localhost
from jupyter_ray._common.network_utils import node_ip_address_from_perspective as node_ip_address_from_perspective
from jupyter_ray._common.network_utils import parse_address as parse_address
from jupyter_ray.api.constants import Language
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.streams import DynamicObjectRefGenerator, ObjectRefGenerator
from jupyter_ray.exceptions import ObjectRefStreamEndOfStreamError
from jupyter_ray.ids import (
    ActorClassID,
    ActorID,
    BaseID,
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
    "AuthenticationMode", "AuthenticationTokenLoader", "Buffer", "Config", "CoreWorker", "Count",
    "CppFunctionDescriptor", "EmptyFunctionDescriptor", "EmptyProfileEvent", "EventRecorder", "FunctionDescriptor",
    "Gauge", "GcsClient", "GcsClientOptions", "GcsErrorSubscriber", "GcsLogSubscriber", "GlobalStateAccessor",
    "Histogram", "InnerGcsClient", "JavaFunctionDescriptor", "MessagePackSerializedObject", "MessagePackSerializer",
    "Metric", "NumReturnsWarning", "Pickle5SerializedObject", "Pickle5Writer", "ProfileEvent",
    "PythonFunctionDescriptor", "RawSerializedObject", "RayEvent", "RayletClient", "SerializedObject",
    "SerializedRayObject", "StreamRedirector", "StreamingGeneratorExecutionContext", "StreamingGeneratorStats",
    "SubBuffer", "Sum", "check_id", "check_nil", "compute_task_id", "del_key_prefix_from_storage",
    "execute_streaming_generator_async", "get_authentication_mode", "get_port_filename",
    "get_session_key_from_storage", "is_k8s_token_auth_enabled", "maybe_initialize_job_config",
    "merge_instantaneous_total_cython", "node_labels_match_selector", "persist_port",
    "raise_sys_exit_with_custom_error_message", "serialize_retry_exception_allowlist", "split_buffer",
    "time_weighted_average_cython", "unpack_pickle5_buffers", "validate_authentication_token",
    "wait_for_persisted_port",
)  # fmt: skip

ObjectID = ObjectRef
RESOURCE_UNIT_SCALING = 10_000
"""Amounts of resources are counted in parts of so many."""
StreamingObjectRefGenerator = ObjectRefGenerator
STREAMING_GENERATOR_RETURN = -2

NODE_TYPE_NAME_ENV, NODE_MARKET_TYPE_ENV = "RAY_NODE_TYPE_NAME", "RAY_NODE_MARKET_TYPE"
NODE_REGION_ENV, NODE_ZONE_ENV = "RAY_NODE_REGION", "RAY_NODE_ZONE"
RAY_NODE_ID_KEY, RAY_NODE_ACCELERATOR_TYPE_KEY = "ray.io/node-id", "ray.io/accelerator-type"
RAY_NODE_GROUP_KEY, RAY_NODE_MARKET_TYPE_KEY = "ray.io/node-group", "ray.io/market-type"
RAY_NODE_REGION_KEY, RAY_NODE_ZONE_KEY = "ray.io/availability-region", "ray.io/availability-zone"
IMPLICIT_RESOURCE_PREFIX = "node:__internal_implicit_resource_"

__all__ = [
    "RESOURCE_UNIT_SCALING",
    "ActorClassID",
    "ActorID",
    "BaseID",
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
