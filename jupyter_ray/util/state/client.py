"""``StateApiClient``: the tables of the state API by the name of what they list."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

from jupyter_ray.util.state import events, tables
from jupyter_ray.util.state.picking import check_predicate
from jupyter_ray.util.state.rows import Row
from jupyter_ray.util.state.signatures import DEFAULT_LIMIT, DEFAULT_RPC_TIMEOUT, Filters


class StateResource(enum.Enum):
    """What there are tables of."""

    ACTORS = "actors"
    JOBS = "jobs"
    PLACEMENT_GROUPS = "placement_groups"
    NODES = "nodes"
    WORKERS = "workers"
    TASKS = "tasks"
    OBJECTS = "objects"
    RUNTIME_ENVS = "runtime_envs"
    CLUSTER_EVENTS = "cluster_events"


class SummaryResource(enum.Enum):
    """What is counted."""

    ACTORS = "actors"
    TASKS = "tasks"
    OBJECTS = "objects"


@dataclasses.dataclass
class ListApiOptions:
    """How to list: `limit`, `detail` and `filters` as of `list_tasks`; the others have no effect here."""

    limit: int = DEFAULT_LIMIT
    timeout: int = DEFAULT_RPC_TIMEOUT
    detail: bool = False
    filters: Filters | None = dataclasses.field(default_factory=list)
    exclude_driver: bool = True
    server_timeout_multiplier: float = 0.8

    def __post_init__(self) -> None:
        self.timeout = max(1, int(self.timeout * self.server_timeout_multiplier))  # As Ray tells its servers.
        self.filters = self.filters or []
        for _, predicate, _ in self.filters:
            check_predicate(predicate)


@dataclasses.dataclass
class GetApiOptions:
    """How to get one row (of no effect here)."""

    timeout: int = DEFAULT_RPC_TIMEOUT
    server_timeout_multiplier: float = 0.8

    def __post_init__(self) -> None:
        self.timeout = max(1, int(self.timeout * self.server_timeout_multiplier))


@dataclasses.dataclass
class SummaryApiOptions:
    """How to count (of no effect here)."""

    timeout: int = DEFAULT_RPC_TIMEOUT
    filters: Filters | None = dataclasses.field(default_factory=list)
    summary_by: str | None = None


_LISTS: dict[StateResource, Callable[..., list[Any]]] = {
    StateResource.ACTORS: tables.list_actors,
    StateResource.JOBS: tables.list_jobs,
    StateResource.PLACEMENT_GROUPS: tables.list_placement_groups,
    StateResource.NODES: tables.list_nodes,
    StateResource.WORKERS: tables.list_workers,
    StateResource.TASKS: tables.list_tasks,
    StateResource.OBJECTS: tables.list_objects,
    StateResource.RUNTIME_ENVS: events.list_runtime_envs,
    StateResource.CLUSTER_EVENTS: events.list_cluster_events,
}
_GETS: dict[StateResource, Callable[[str], Any]] = {
    StateResource.ACTORS: tables.get_actor,
    StateResource.JOBS: tables.get_job,
    StateResource.PLACEMENT_GROUPS: tables.get_placement_group,
    StateResource.NODES: tables.get_node,
    StateResource.WORKERS: tables.get_worker,
    StateResource.TASKS: tables.get_task,
    StateResource.OBJECTS: tables.get_objects,
}
_SUMMARIES: dict[SummaryResource, Callable[[], dict[str, Any]]] = {
    SummaryResource.ACTORS: tables.summarize_actors,
    SummaryResource.TASKS: tables.summarize_tasks,
    SummaryResource.OBJECTS: tables.summarize_objects,
}


class StateApiClient:
    """The tables of this process's session.

    Parameters
    ----------
    address, cookies, headers
        Ray's; of no effect here, since no server is asked.

    Notes
    -----
    Source: Ray's ``ray.util.state.StateApiClient``.
    """

    def __init__(self, address: str | None = None, cookies: Any = None, headers: Any = None) -> None:
        pass

    def list(
        self,
        resource: StateResource,
        options: ListApiOptions | None = None,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> list[Row]:
        """Return rows of a table."""
        asked = options or ListApiOptions()
        return _LISTS[StateResource(resource)](filters=asked.filters, limit=asked.limit, detail=asked.detail)

    def get(
        self, resource: StateResource, id: str, options: GetApiOptions | None = None, _explain: bool = False
    ) -> Any:
        """Return the row with an id, or None; of an object, a list.

        Raises
        ------
        ValueError
            Its rows have no id.
        """
        found = _GETS.get(StateResource(resource))
        if found is None:
            raise ValueError(f"Can't get {StateResource(resource).name} by id: list() has its rows.")
        return found(id)

    def summary(
        self,
        resource: SummaryResource,
        *,
        options: SummaryApiOptions | None = None,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> dict[str, Any]:
        """Return what is counted of a table; as `summarize_tasks`."""
        return _SUMMARIES[SummaryResource(resource)]()
