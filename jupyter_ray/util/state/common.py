"""Ray's ``ray.util.state.common``: the rows of the tables, options and limits, under the names that programs import."""

from __future__ import annotations

from typing import Any

from jupyter_ray.not_offered import unusable
from jupyter_ray.util.state.client import (
    GetApiOptions,
    ListApiOptions,
    StateResource,
    SummaryApiOptions,
    SummaryResource,
)
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
from jupyter_ray.util.state.signatures import DEFAULT_LIMIT, DEFAULT_RPC_TIMEOUT

__all__ = [
    "DEFAULT_LIMIT",
    "DEFAULT_LOG_LIMIT",
    "DEFAULT_RPC_TIMEOUT",
    "ActorState",
    "ClusterEventState",
    "GetApiOptions",
    "JobState",
    "ListApiOptions",
    "NodeState",
    "ObjectState",
    "PlacementGroupState",
    "RuntimeEnvState",
    "StateResource",
    "SummaryApiOptions",
    "SummaryResource",
    "TaskState",
    "WorkerState",
]

DEFAULT_LOG_LIMIT = 1000
RAY_MAX_LIMIT_FROM_API_SERVER = RAY_MAX_LIMIT_FROM_DATA_SOURCE = 10_000
"""Ray's limits of one answer; here there is none."""
DRIVER_TASK_ID_PREFIX = "f" * 40

_OF_SERVERS = (
    "ActorSummaries", "ActorSummaryPerClass", "GetLogOptions", "Humanify", "JobDetails", "Link", "ListApiResponse",
    "NestedTaskSummary", "ObjectSummaries", "ObjectSummaryPerKey", "StateSchema", "StateSummary", "SummaryApiResponse",
    "TaskStatus", "TaskSummaries", "TaskSummaryPerFuncOrClassName", "TaskType", "dict_to_state", "filter_fields",
    "protobuf_message_to_dict", "protobuf_to_task_state_dict", "remove_ansi_escape_codes", "resource_to_schema",
    "state_column",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, _OF_SERVERS)
