"""Spans of time that a program names, from wherever it does to the timeline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray._private import profiling
from tests.contract.helpers import eventually


@pytest.fixture(autouse=True)
def profiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A session of a program that was started with the variable."""
    monkeypatch.setenv("RAY_PROFILING", "1")
    monkeypatch.setattr(profiling, "PROFILING_ENABLED", True)
    ray.shutdown()
    ray.init("local", num_cpus=2)
    yield
    ray.shutdown()


def named(*categories: str) -> dict[str, Any]:
    """Return the spans of these names, once all are told."""
    rows: dict[str, Any] = {}

    def told() -> bool:
        rows.update((row["cat"], row) for row in ray.timeline() or [])
        return rows.keys() >= set(categories)

    assert eventually(told)
    return {category: rows[category] for category in categories}


@ray.remote
def task() -> str:
    from jupyter_ray._private import profiling

    with profiling.profile("load", extra_data={"name": "loading", "rows": "3"}):
        time.sleep(0.01)
    return ray.get_runtime_context().get_task_id() or ""


@ray.remote
class Actor:
    async def method(self) -> str:
        from jupyter_ray._private import profiling

        with profiling.profile("in an actor"):
            await asyncio.sleep(0.01)
        return ray.get_runtime_context().get_actor_id() or ""


def test_spans_of_tasks_actors_and_the_driver() -> None:
    with profiling.profile("whole"):
        made = ray.get(task.remote())
        actor = Actor.remote()  # type: ignore[attr-defined]
        of = ray.get(actor.method.remote())
    rows = named("load", "in an actor", "whole", "task::task")
    load, whole = rows["load"], rows["whole"]
    assert (load["name"], load["args"]["rows"], load["args"]["task_id"]) == ("loading", "3", made)
    assert load["tid"] == rows["task::task"]["tid"]
    assert rows["in an actor"]["args"]["actor_id"] == of
    assert whole["ts"] <= load["ts"] <= load["ts"] + load["dur"] <= whole["ts"] + whole["dur"]
    assert load["dur"] >= 10_000


def test_a_span_that_outlives_its_session() -> None:
    with profiling.profile("too late"):
        ray.shutdown()
    assert not ray.is_initialized(), "nobody has started another one to tell it"
