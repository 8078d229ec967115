"""What programs take of ``ray.util.state.common``: classes of rows, of options and of what is counted."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from jupyter_ray.util.state import common
from jupyter_ray.util.state.common import state_column


@dataclasses.dataclass
class Mine(common.StateSchema):
    a: str
    b: int = state_column(filterable=True, format_fn=lambda value: f"{value} B")
    c: int | None = state_column(filterable=False, detail=True)


def test_a_class_of_rows_of_the_users() -> None:
    assert Mine.base_columns() == {"a", "b"}
    assert Mine.columns() == Mine.detail_columns() == {"a", "b", "c"}
    assert Mine.filterable_columns() == {"a", "b"}
    assert Mine("x", 1)["c"] is None
    assert Mine.humanify({"a": "x", "b": 1}) == {"a": "x", "b": "1 B"}
    assert common.filter_fields({"a": "x", "c": 2}, Mine, detail=False) == {"a": "x", "b": None}


def test_rows_by_their_table() -> None:
    kinds = [common.resource_to_schema(each) for each in common.StateResource]
    assert all(issubclass(kind, common.StateSchema) for kind in kinds)
    row = common.dict_to_state(dict.fromkeys(common.ActorState.base_columns(), "x"), common.StateResource.ACTORS)
    assert isinstance(row, common.ActorState)
    assert (row.name, row.call_site) == ("x", None)


def test_options_are_checked_when_they_are_made() -> None:
    assert (common.ListApiOptions().timeout, common.ListApiOptions(timeout=0).timeout) == (24, 1)
    assert common.ListApiOptions(filters=None).filters == []
    for wrong in ([("a", "<", 1)], [("a", "=")]):
        with pytest.raises(ValueError, match=r"predicate|unpack"):
            common.ListApiOptions(filters=wrong)  # type: ignore[arg-type]


def test_what_is_counted() -> None:
    def task(name: str, state: str, kind: str = "NORMAL_TASK") -> dict[str, Any]:
        return {"name": name, "func_or_class_name": "f", "state": state, "type": kind}

    tasks = [task("a", "RUNNING"), task("a", "FINISHED"), task("", "FINISHED"), task("A.m", "RUNNING", "ACTOR_TASK")]
    told = common.TaskSummaries.to_summary_by_func_name(tasks=tasks)
    assert (told.total_tasks, told.total_actor_tasks, told.total_actor_scheduled, told.summary_by) == (
        3, 1, 0, "func_name",
    )  # fmt: skip
    assert isinstance(told.summary, dict)
    assert told.summary["a"].state_counts == {"RUNNING": 1, "FINISHED": 1}
    assert set(told.summary) == {"a", "f", "A.m"}

    actors = [{"class_name": "A", "state": "ALIVE"}, {"class_name": "A", "state": "DEAD"}]
    assert common.ActorSummaries.to_summary(actors=actors) == common.ActorSummaries(
        {"A": common.ActorSummaryPerClass("A", {"ALIVE": 1, "DEAD": 1})}, 2
    )

    one = {"task_status": "FINISHED", "attempt_number": 1, "reference_type": "LOCAL_REFERENCE", "ip": "127.0.0.1"}
    objects = [
        {**one, "call_site": "x", "object_size": 2**20, "pid": 1},
        {**one, "call_site": "x", "object_size": -1, "pid": 2},
    ]
    counted = common.ObjectSummaries.to_summary(objects=objects)
    assert (counted.total_objects, counted.total_size_mb, counted.callsite_enabled) == (2, 1.0, True)
    assert counted.summary["x"] == common.ObjectSummaryPerKey(
        2, 1.0, 2, 1, {"FINISHED": 2}, {"1": 2}, {"LOCAL_REFERENCE": 2}
    )
