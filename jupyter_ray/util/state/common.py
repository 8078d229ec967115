"""Ray's ``ray.util.state.common``: the rows of the tables, options and limits, under the names that programs import."""

from __future__ import annotations

import dataclasses
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
    Row,
    RuntimeEnvState,
    TaskState,
    WorkerState,
)
from jupyter_ray.util.state.signatures import DEFAULT_LIMIT, DEFAULT_RPC_TIMEOUT
from jupyter_ray.util.state.summaries import (
    ActorSummaries,
    ActorSummaryPerClass,
    Link,
    ListApiResponse,
    NestedTaskSummary,
    ObjectSummaries,
    ObjectSummaryPerKey,
    StateSummary,
    SummaryApiResponse,
    TaskSummaries,
    TaskSummaryPerFuncOrClassName,
)

__all__ = [
    "DEFAULT_LIMIT",
    "DEFAULT_LOG_LIMIT",
    "DEFAULT_RPC_TIMEOUT",
    "ActorState",
    "ActorSummaries",
    "ActorSummaryPerClass",
    "ClusterEventState",
    "GetApiOptions",
    "JobState",
    "Link",
    "ListApiOptions",
    "ListApiResponse",
    "NestedTaskSummary",
    "NodeState",
    "ObjectState",
    "ObjectSummaries",
    "ObjectSummaryPerKey",
    "PlacementGroupState",
    "RuntimeEnvState",
    "StateResource",
    "StateSchema",
    "StateSummary",
    "SummaryApiOptions",
    "SummaryApiResponse",
    "SummaryResource",
    "TaskState",
    "TaskSummaries",
    "TaskSummaryPerFuncOrClassName",
    "WorkerState",
    "dict_to_state",
    "filter_fields",
    "resource_to_schema",
    "state_column",
]

DEFAULT_LOG_LIMIT = 1000
RAY_MAX_LIMIT_FROM_API_SERVER = RAY_MAX_LIMIT_FROM_DATA_SOURCE = 10_000
"""Ray's limits of one answer; here there is none."""
DRIVER_TASK_ID_PREFIX = "f" * 40

_OF_SERVERS = (
    "GetLogOptions", "Humanify", "JobDetails", "TaskStatus", "TaskType", "protobuf_message_to_dict",
    "protobuf_to_task_state_dict", "remove_ansi_escape_codes",
)  # fmt: skip


StateSchema = Row


def state_column(*, filterable: bool, detail: bool = False, format_fn: Any = None, **kwargs: Any) -> Any:
    """Return a column of a class of rows: whether filters may use it, and whether it comes on request only."""
    if detail:
        kwargs.setdefault("default", None)
    told = {"detail": detail, "filterable": filterable, "format_fn": format_fn}
    return dataclasses.field(metadata={**kwargs.pop("metadata", {}), **told}, **kwargs)


_SCHEMAS: dict[StateResource, type[Row]] = {
    StateResource.ACTORS: ActorState,
    StateResource.JOBS: JobState,
    StateResource.PLACEMENT_GROUPS: PlacementGroupState,
    StateResource.NODES: NodeState,
    StateResource.WORKERS: WorkerState,
    StateResource.TASKS: TaskState,
    StateResource.OBJECTS: ObjectState,
    StateResource.RUNTIME_ENVS: RuntimeEnvState,
    StateResource.CLUSTER_EVENTS: ClusterEventState,
}


def resource_to_schema(resource: StateResource) -> type[Row]:
    """Return the class of the rows of a table."""
    return _SCHEMAS[resource]


def filter_fields(data: dict[str, Any], state_dataclass: type[Row], detail: bool) -> dict[str, Any]:
    """Return of `data` the columns of a class of rows; None for those that it does not have."""
    return {column: data.get(column) for column in state_dataclass.list_columns(detail=detail)}


def dict_to_state(d: dict[str, Any], state_resource: StateResource) -> Row:
    """Return the row with these columns."""
    return _SCHEMAS[state_resource](**d)


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, _OF_SERVERS)
