"""The tables of options: what each keyword accepts, and what the records say of it."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_ray import options as tables
from jupyter_ray.deprecation import RayDeprecationWarning
from jupyter_ray.options import ActorOptions, PlacementGroupOption, TaskOptions
from jupyter_ray.resources import PARTS


@pytest.mark.parametrize(
    ("written", "error", "text"),
    [
        ({"num_cpu": 1}, ValueError, r"num_cpu.*num_cpus"),
        ({"num_cpus": "2"}, TypeError, "num_cpus"),
        ({"name": True}, TypeError, "name"),
        ({"num_cpus": -1}, ValueError, "cannot be negative"),
        ({"num_cpus": 0.00001}, ValueError, "0.0001"),
        ({"num_cpus": float("inf")}, ValueError, "num_cpus must be finite"),
        ({"resources": {"x": float("nan")}}, ValueError, "x must be finite"),
        ({"resources": {"NPU": 2.5}}, ValueError, "whole number"),
        ({"resources": {"CPU": 1}}, ValueError, "num_cpus"),
        ({"resources": {"GPU": 1}}, ValueError, "num_gpus"),
        ({"resources": {"x": -1}}, ValueError, "negative"),
        ({"resources": {"x": "much"}}, TypeError, "names to numbers"),
        ({"resources": {"\ud800": 1}}, ValueError, "'resources' is not valid Unicode"),
        ({"resources": [1]}, TypeError, "dict"),
        ({"num_returns": -1}, ValueError, "non-negative"),
        ({"object_store_memory": 1}, ValueError, "not implemented for tasks"),
        ({"num_returns": "lots"}, TypeError, "streaming"),
        ({"num_returns": 2**63}, ValueError, "at most 1,000,000.*streaming"),
        ({"num_returns": 1.5}, TypeError, "num_returns"),
        ({"max_retries": -2}, ValueError, "infinity"),
        ({"max_retries": "3"}, TypeError, "max_retries"),
        ({"max_calls": -1}, ValueError, "max_calls"),
        ({"retry_exceptions": [int]}, ValueError, "list of exceptions"),
        ({"retry_exceptions": None}, TypeError, "retry_exceptions"),
        ({"runtime_env": "x"}, TypeError, "runtime_env"),
        ({"runtime_env": {"env_vars": {"A": 1}}}, TypeError, "env_vars"),
        ({"runtime_env": {"env_vars": ["A"]}}, TypeError, "env_vars"),
        ({"runtime_env": {"env_vars": {"A": "a\0b"}}}, ValueError, r"env_vars"),
        ({"runtime_env": {"env_vars": {"A": "\ud800"}}}, ValueError, r"the value '\\ud800', which is in .*env_vars"),
        ({"runtime_env": {"env_vars": {"": "1"}}}, ValueError, "the key '', which is in .*env_vars"),
        ({"runtime_env": {"env_vars": {"A=B": "1"}}}, ValueError, "the key 'A=B'"),
        ({"runtime_env": {"working_dir": 1}}, TypeError, "working_dir"),
        ({"runtime_env": {"py_modules": "x"}}, TypeError, "py_modules"),
        ({"runtime_env": {"excludes": "x"}}, TypeError, "excludes"),
        (
            {"runtime_env": {"env_var": {}}},
            ValueError,
            "no field 'env_var'. Did you mean 'env_vars'. Valid ones are .*'pip'",
        ),
        ({"scheduling_strategy": "FASTEST"}, ValueError, "FASTEST"),
        (
            {"_generator_backpressure_num_objects": 0},
            ValueError,
            "_num_objects=0 is not allowed: .*_num_objects must be > 0",
        ),
        ({"name": 3}, TypeError, "name"),
        ({"name": "\ud800"}, ValueError, "'name' is not valid Unicode"),
        ({"placement_group": 3}, TypeError, "PlacementGroup"),
        ({"writable": [1.5]}, ValueError, "names or positions"),
        ({"inout": True}, TypeError, "inout"),
        ({"max_restarts": 1}, ValueError, "max_restarts"),
    ],
)
def test_a_wrong_task_option_is_named(written: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        tables.check(tables.TASK, "remote functions", written)


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ({"lifetime": "eternal"}, ValueError),
        ({"max_concurrency": -1}, ValueError),
        ({"max_restarts": -2}, ValueError),
        ({"name": 1}, TypeError),
        ({"get_if_exists": 1}, TypeError),
        ({"max_retries": 1}, ValueError),
        ({"concurrency_groups": ["io"]}, TypeError),
    ],
)
def test_a_wrong_actor_option_is_an_error(written: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        tables.check(tables.ACTOR, "actors", written)


@pytest.mark.parametrize(
    "written",
    [
        {"num_cpus": 0},
        {"num_cpus": 0.0001},
        {"num_cpus": None, "num_gpus": None},
        {"num_gpus": 0.5},
        {"num_gpus": 3},
        {"num_returns": 0},
        {"num_returns": "streaming"},
        {"max_retries": -1},
        {"retry_exceptions": (KeyError, OSError)},
        {"scheduling_strategy": "SPREAD"},
        {"label_selector": {"zone": "a"}, "fallback_strategy": [], "_labels": {}, "object_store_memory": None},
        {"writable": True},
        {"writable": ["a", 0]},
        {"inout": ["result"]},
        {"runtime_env": {"env_vars": {"A": "1"}, "working_dir": "/tmp", "py_modules": [], "pip": ["on a cluster"]}},
        {"enable_task_events": False},
    ],
)
def test_what_ray_accepts_is_accepted(written: dict[str, Any]) -> None:
    tables.check(tables.TASK, "remote functions", written)
    assert isinstance(tables.task_options(written, is_generator=None), TaskOptions)


@pytest.mark.parametrize(("table", "name"), [(tables.TASK, "max_calls"), (tables.ACTOR, "concurrency_groups")])
def test_some_options_belong_to_the_decorator(table: dict[str, tables.Keyword], name: str) -> None:
    with pytest.raises(ValueError, match=r"not supported in '.options"):
        tables.check_override(table, "x", {name: None}, {})


def test_the_number_of_returns_follows_the_function() -> None:
    assert tables.task_options({}, is_generator=False).num_returns == 1
    assert tables.task_options({}, is_generator=None).num_returns == 1
    assert tables.task_options({}, is_generator=True).num_returns == "streaming"
    assert tables.task_options({"num_returns": 3}, is_generator=True).num_returns == 3
    assert tables.task_options({"num_returns": "streaming"}, is_generator=None).num_returns == "streaming"
    with pytest.raises(ValueError, match="only be used with generator functions"):
        tables.task_options({"num_returns": "streaming"}, is_generator=False)


def test_a_worker_that_used_a_gpu_runs_one_task_unless_told_otherwise() -> None:
    assert tables.task_options({"num_gpus": 1}, is_generator=False).max_calls == 1
    assert tables.task_options({"num_gpus": 1, "max_calls": 0}, is_generator=False).max_calls == 0
    assert tables.task_options({}, is_generator=False).max_calls is None


def test_none_means_the_default() -> None:
    options = tables.actor_options({"max_restarts": None, "max_pending_calls": None, "enable_task_events": True})
    assert (options.max_restarts, options.max_pending_calls) == (0, -1)
    assert tables.task_options({"_generator_backpressure_num_objects": None}, is_generator=True) == TaskOptions(
        num_returns="streaming"
    )


def test_an_accelerator_type_is_a_trace_of_a_resource() -> None:
    options = tables.task_options({"accelerator_type": "A100", "resources": {"x": 1}}, is_generator=False)
    assert options.resources == {"x": 1, "accelerator_type:A100": 0.001}


def test_dynamic_returns_warn() -> None:
    with pytest.warns(RayDeprecationWarning, match="streaming"):
        assert tables.resolve_num_returns("dynamic", is_generator=True) == "dynamic"


def test_the_deprecated_spelling_of_placement_groups_warns() -> None:
    group = SimpleNamespace(is_empty=False)
    with pytest.warns(DeprecationWarning, match="scheduling_strategy"):
        tables.check(tables.TASK, "remote functions", {"placement_group": group})
    options = tables.task_options({"placement_group": group, "placement_group_bundle_index": 2}, is_generator=False)
    assert options.scheduling_strategy == PlacementGroupOption(group, 2)
    with pytest.raises(ValueError, match="deprecated"):
        tables.check(tables.TASK, "x", {"placement_group": group, "scheduling_strategy": "SPREAD"})


def test_what_the_decorator_says_of_a_group_holds_beside_what_options_says() -> None:
    group = SimpleNamespace(is_empty=False)
    strategy = PlacementGroupOption(group)
    for before, written in (
        ({"placement_group": group}, {"scheduling_strategy": "SPREAD"}),
        ({"scheduling_strategy": strategy}, {"placement_group": group}),
    ):
        for table in (tables.TASK, tables.ACTOR):
            with pytest.raises(ValueError, match="via the scheduling_strategy option"):
                tables.check_override(table, "x", written, before)
    bundle = {"placement_group_bundle_index": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Where it was written it has been told already.
        tables.check_override(tables.TASK, "x", bundle, {"placement_group": group})
        tables.check_override(tables.TASK, "x", bundle, {"scheduling_strategy": strategy})
    with pytest.raises(ValueError, match="must be -1"):
        tables.check_override(tables.TASK, "x", bundle, {"scheduling_strategy": "SPREAD"})


def test_get_if_exists_wants_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        tables.actor_options({"get_if_exists": True})
    assert tables.actor_options({"get_if_exists": True, "name": "a"}).get_if_exists


@pytest.mark.parametrize(
    ("options", "held", "placed"),
    [
        (ActorOptions(), 0, 1),
        (ActorOptions(num_cpus=0), 0, 0),
        (ActorOptions(num_cpus=2), 2, 2),
        (ActorOptions(num_gpus=1), 1, 1),
        (ActorOptions(resources={"x": 1}), 1, 1),
        (ActorOptions(memory=100), 0, 1),
        (ActorOptions(num_cpus=0.5, num_gpus=1), 0.5, 0.5),
    ],
)
def test_the_cpus_of_actors(options: ActorOptions, held: float, placed: float) -> None:
    assert options.demand().get("CPU", 0) == held * PARTS
    assert options.placement_demand().get("CPU", 0) == placed * PARTS


def test_a_broken_number_of_gpus_is_refused_where_it_is_asked_for() -> None:
    for options in (TaskOptions(num_gpus=1.5), ActorOptions(num_gpus=1.5)):
        with pytest.raises(ValueError, match="whole number"):
            options.demand()


@pytest.mark.parametrize(
    ("asked", "parts"),
    [(0.57, 5700), (0.1 + 0.2, 3000), (1.15, 11500), (0.41249, 4124), (0.00019, 1), (2.0**53, 2**53 * PARTS)],
)
def test_what_is_less_than_a_part_is_left_out(asked: float, parts: int) -> None:
    assert TaskOptions(num_cpus=asked).demand() == {"CPU": parts}


def test_the_cpus_of_tasks() -> None:
    assert TaskOptions().demand() == {"CPU": PARTS}
    assert TaskOptions(num_cpus=0, num_gpus=0.5, memory=8).demand() == {"GPU": PARTS // 2, "memory": 8 * PARTS}


def test_a_runtime_environment_may_have_the_field_of_a_plugin() -> None:
    """Ray takes any name for a plugin's; dagster-ray passes one that nobody reads."""
    for table in (tables.TASK, tables.ACTOR):
        with pytest.warns(UserWarning, match="runtime_env has no field 'FLAG': it has no effect"):
            tables.check(table, "actors", {"runtime_env": {"FLAG": "1"}}, {})


def test_a_truth_value_is_a_number() -> None:
    """As in Ray: ``num_gpus=torch.cuda.is_available()``."""
    assert tables.task_options({"num_cpus": True, "num_returns": True}, is_generator=None) == TaskOptions(
        num_cpus=1, num_returns=1
    )
    found = tables.task_options({"num_gpus": False, "retry_exceptions": True}, is_generator=None)
    assert (type(found.num_gpus), found.num_gpus, found.retry_exceptions) == (int, 0, True)
