"""The rows that ``util.state`` returns. Names of classes and columns are Ray's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

Made = TypeVar("Made", bound="Row")


class NoSuchColumn(KeyError, AttributeError):
    """A row has no such column: an AttributeError in Ray, a KeyError where rows are taken for mappings."""


@dataclasses.dataclass
class Row:
    """One row. Its columns are attributes, and keys as of a mapping; those that default to None come on request."""

    IDS: ClassVar[dict[str, int]] = {}
    """Columns that are identifiers, and how many bytes these have."""
    STATES: ClassVar[tuple[str, ...]] = ()
    """What `state` may be, where a filter by another word is an error."""

    @classmethod
    def columns(cls) -> set[str]:
        """Return the names of the columns."""
        return set(cls.list_columns())

    @classmethod
    def list_columns(cls, detail: bool = True) -> list[str]:
        """Return the names of the columns; without `detail` of those only that are always filled in."""
        fields = dataclasses.fields(cls)
        return [each.name for each in fields if detail or not each.metadata.get("detail", each.default is None)]

    @classmethod
    def base_columns(cls) -> set[str]:
        """Return the names of the columns that are always filled in."""
        return set(cls.list_columns(detail=False))

    @classmethod
    def detail_columns(cls) -> set[str]:
        """Return the names of all columns."""
        return cls.columns()

    @classmethod
    def filterable_columns(cls) -> set[str]:
        """Return the names that filters may use: those of all columns, unless columns say so themselves."""
        told = {each.name: each.metadata.get("filterable", True) for each in dataclasses.fields(cls)}
        return {name for name, may in told.items() if may}

    @classmethod
    def humanify(cls, state: dict[str, Any]) -> dict[str, Any]:
        """Write the columns of a row for people, in place, where they say how (``format_fn``); return it."""
        for each in dataclasses.fields(cls):
            write = each.metadata.get("format_fn")
            if write is not None and state.get(each.name) is not None:
                state[each.name] = write(state[each.name])
        return state

    @classmethod
    def kind(cls, column: str) -> str:
        """Return what a column has: the name of a type, without ``| None``."""
        return next(str(field.type) for field in dataclasses.fields(cls) if field.name == column).partition(" |")[0]

    @classmethod
    def make(cls: type[Made], row: Mapping[str, Any], detail: bool) -> Made:
        """Return the row with its columns in `row`; without `detail` some of them stay None."""
        fields = (field for field in dataclasses.fields(cls) if detail or field.default is not None)
        return cls(**{field.name: row.get(field.name) for field in fields})

    def asdict(self) -> dict[str, Any]:
        """Return the row as a dict."""
        return dataclasses.asdict(self)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a column, or `default` if there is none of this name."""
        return getattr(self, key) if key in self.list_columns() else default

    def keys(self) -> list[str]:
        """Return the names of the columns."""
        return self.list_columns()

    def __getitem__(self, key: str) -> Any:
        if key not in self.list_columns():
            raise NoSuchColumn(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def __iter__(self) -> Iterator[str]:
        return iter(self.list_columns())


@dataclasses.dataclass
class TaskState(Row):
    """A task. Times are in milliseconds since 1970; `events` are those at which its state is known to have changed."""

    IDS: ClassVar[dict[str, int]] = {"task_id": 24, "actor_id": 16, "job_id": 4}

    task_id: str
    attempt_number: int
    name: str
    state: str
    job_id: str
    actor_id: str | None
    type: str
    func_or_class_name: str
    parent_task_id: str | None
    node_id: str | None
    worker_id: str | None
    worker_pid: int | None
    error_type: str | None
    language: str | None = None
    required_resources: dict[str, float] | None = None
    runtime_env_info: dict[str, Any] | None = None
    placement_group_id: str | None = None
    events: list[dict[str, Any]] | None = None
    profiling_data: dict[str, Any] | None = None
    creation_time_ms: int | None = None
    start_time_ms: int | None = None
    end_time_ms: int | None = None
    task_log_info: dict[str, Any] | None = None
    error_message: str | None = None
    is_debugger_paused: bool | None = None
    call_site: str | None = None
    label_selector: dict[str, str] | None = None
    fallback_strategy: Any = None


@dataclasses.dataclass
class ActorState(Row):
    """An actor. `class_name` has the functions that the class was made in. `pending_calls` is not in Ray."""

    IDS: ClassVar[dict[str, int]] = {"actor_id": 16, "job_id": 4}
    STATES: ClassVar[tuple[str, ...]] = ("DEPENDENCIES_UNREADY", "PENDING_CREATION", "ALIVE", "RESTARTING", "DEAD")

    actor_id: str
    class_name: str
    state: str
    job_id: str
    name: str
    node_id: str | None
    pid: int
    ray_namespace: str
    serialized_runtime_env: str | None = None
    required_resources: dict[str, float] | None = None
    death_cause: dict[str, Any] | None = None
    is_detached: bool | None = None
    placement_group_id: str | None = None
    repr_name: str | None = None
    num_restarts: int | None = None
    num_restarts_due_to_lineage_reconstruction: int | None = None
    num_restarts_due_to_node_preemption: int | None = None
    call_site: str | None = None
    label_selector: dict[str, str] | None = None
    fallback_strategy: Any = None
    pending_calls: int | None = None


@dataclasses.dataclass
class ObjectState(Row):
    """An object. `object_size` is in bytes; `type` and `pid` are those of a process that refers to it.

    `in_shared_memory` and `holders` are not in Ray.
    """

    object_id: str
    object_size: int
    task_status: str
    attempt_number: int
    reference_type: str
    call_site: str | None
    type: str | None
    pid: int | None
    ip: str
    in_shared_memory: bool | None = None
    holders: int | None = None


@dataclasses.dataclass
class WorkerState(Row):
    """A process: the driver, or a worker; `end_time_ms` is 0 while it runs. `status` and `actor_id` are not in Ray."""

    worker_id: str
    is_alive: bool
    worker_type: str
    exit_type: str | None
    node_id: str
    ip: str
    pid: int
    exit_detail: str | None = None
    worker_launch_time_ms: int | None = None
    worker_launched_time_ms: int | None = None
    start_time_ms: int | None = None
    end_time_ms: int | None = None
    debugger_port: int | None = None
    num_paused_threads: int | None = None
    status: str | None = None
    actor_id: str | None = None


@dataclasses.dataclass
class NodeState(Row):
    """A machine."""

    IDS: ClassVar[dict[str, int]] = {"node_id": 28}
    STATES: ClassVar[tuple[str, ...]] = ("ALIVE", "DEAD")

    node_id: str
    node_ip: str
    is_head_node: bool
    state: str
    state_message: str | None
    node_name: str
    resources_total: dict[str, float]
    labels: dict[str, str]
    start_time_ms: int | None = None
    end_time_ms: int | None = None


@dataclasses.dataclass
class JobState(Row):
    """A session."""

    type: str
    job_id: str
    submission_id: str | None
    driver_info: dict[str, str]
    status: str
    entrypoint: str
    message: str | None
    error_type: str | None
    start_time: int | None = None
    end_time: int | None = None
    metadata: dict[str, str] | None = None
    runtime_env: dict[str, Any] | None = None
    driver_agent_http_address: str | None = None
    driver_node_id: str | None = None
    driver_exit_code: int | None = None


@dataclasses.dataclass
class PlacementGroupState(Row):
    """A placement group."""

    placement_group_id: str
    name: str
    creator_job_id: str
    state: str
    bundles: Any = None
    is_detached: bool | None = None
    stats: Any = None
    topology_strategy: dict[str, str] | None = None
    topology_assignments: dict[str, str] | None = None


@dataclasses.dataclass
class RuntimeEnvState(Row):
    """A runtime environment that workers have. `ref_cnt` counts them."""

    runtime_env: dict[str, Any]
    success: bool
    creation_time_ms: float | None
    node_id: str
    ref_cnt: int | None = None
    error: str | None = None


@dataclasses.dataclass
class ClusterEventState(Row):
    """Something that went wrong: a worker or an actor died, a task is tried again, a value went to disk."""

    severity: str
    time: str
    source_type: str
    message: str
    event_id: str
    custom_fields: dict[str, Any] | None = None
