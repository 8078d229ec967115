"""What is counted of tasks, actors and objects, as classes. Source: Ray's ``ray.util.state.common``.

`summarize_tasks` and its like return dicts of the same names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

_MIB = 1024**2
_Rows = Sequence[Mapping[str, Any]]
_Counts = dict[str, int]


@dataclasses.dataclass
class TaskSummaryPerFuncOrClassName:
    """The tasks of one function, by state."""

    func_or_class_name: str
    type: str
    state_counts: _Counts = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Link:
    """What a row leads to: a ``"task"`` or an ``"actor"``, and its identifier."""

    type: str
    id: str


@dataclasses.dataclass
class NestedTaskSummary:
    """Tasks that belong together, by state, and those that they started."""

    name: str
    key: str
    type: str
    timestamp: int | None = None
    state_counts: _Counts = dataclasses.field(default_factory=dict)
    children: list[NestedTaskSummary] = dataclasses.field(default_factory=list)
    link: Link | None = None


@dataclasses.dataclass
class TaskSummaries:
    """All tasks, by function."""

    summary: dict[str, TaskSummaryPerFuncOrClassName] | list[NestedTaskSummary]
    total_tasks: int
    total_actor_tasks: int
    total_actor_scheduled: int
    summary_by: str = "func_name"

    @classmethod
    def to_summary_by_func_name(cls, *, tasks: _Rows) -> TaskSummaries:
        """Count rows of tasks by name."""
        found: dict[str, TaskSummaryPerFuncOrClassName] = {}
        kinds = {"NORMAL_TASK": 0, "ACTOR_TASK": 0, "ACTOR_CREATION_TASK": 0}
        for task in tasks:
            name = task.get("name") or task["func_or_class_name"]
            row = found.setdefault(name, TaskSummaryPerFuncOrClassName(name, task["type"]))
            _count(row.state_counts, task["state"])
            kinds[task["type"]] += 1
        return cls(found, kinds["NORMAL_TASK"], kinds["ACTOR_TASK"], kinds["ACTOR_CREATION_TASK"])


@dataclasses.dataclass
class ActorSummaryPerClass:
    """The actors of one class, by state."""

    class_name: str
    state_counts: _Counts = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class ActorSummaries:
    """All actors, by class."""

    summary: dict[str, ActorSummaryPerClass]
    total_actors: int
    summary_by: str = "class"

    @classmethod
    def to_summary(cls, *, actors: _Rows) -> ActorSummaries:
        """Count rows of actors."""
        found: dict[str, ActorSummaryPerClass] = {}
        for actor in actors:
            row = found.setdefault(actor["class_name"], ActorSummaryPerClass(actor["class_name"]))
            _count(row.state_counts, actor["state"])
        return cls(found, len(actors))


@dataclasses.dataclass
class ObjectSummaryPerKey:
    """The objects that one line of a program made."""

    total_objects: int
    total_size_mb: float
    total_num_workers: int
    total_num_nodes: int
    task_state_counts: _Counts = dataclasses.field(default_factory=dict)
    task_attempt_number_counts: _Counts = dataclasses.field(default_factory=dict)
    ref_type_counts: _Counts = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class ObjectSummaries:
    """All objects, by the line that made them."""

    summary: dict[str, ObjectSummaryPerKey]
    total_objects: int
    total_size_mb: float
    callsite_enabled: bool
    summary_by: str = "callsite"

    @classmethod
    def to_summary(cls, *, objects: _Rows) -> ObjectSummaries:
        """Count rows of objects; a size of -1 is one that is not known."""
        found: dict[str, ObjectSummaryPerKey] = {}
        for site in dict.fromkeys(each["call_site"] for each in objects):
            rows = [each for each in objects if each["call_site"] == site]
            size = sum(max(each["object_size"], 0) for each in rows) / _MIB
            workers, nodes = {each["pid"] for each in rows}, {each["ip"] for each in rows}
            row = found[site] = ObjectSummaryPerKey(len(rows), size, len(workers), len(nodes))
            for each in rows:
                _count(row.task_state_counts, each["task_status"])
                _count(row.task_attempt_number_counts, str(each["attempt_number"]))
                _count(row.ref_type_counts, each["reference_type"])
        return cls(found, len(objects), sum(row.total_size_mb for row in found.values()), "disabled" not in found)


@dataclasses.dataclass
class StateSummary:
    """What is counted, by machine; all of them together are ``"cluster"``."""

    node_id_to_summary: dict[str, TaskSummaries | ActorSummaries | ObjectSummaries]


@dataclasses.dataclass
class SummaryApiResponse:
    """What is counted, of how many rows."""

    total: int
    num_after_truncation: int
    num_filtered: int
    result: StateSummary | None = None
    partial_failure_warning: str | None = ""
    warnings: list[str] | None = None


@dataclasses.dataclass
class ListApiResponse:
    """Rows, and how many there are."""

    total: int
    num_after_truncation: int
    num_filtered: int
    result: list[dict[str, Any]]
    partial_failure_warning: str | None = ""
    warnings: list[str] | None = None


def _count(counts: _Counts, what: str) -> None:
    counts[what] = counts.get(what, 0) + 1
