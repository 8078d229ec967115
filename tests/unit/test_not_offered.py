"""What of Ray is not offered says so in one sentence, however a program asks for it, and names what to use instead."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import not_offered

TABLE = Path(__file__).parents[2] / "docs" / "ray-api.md"


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("data", "import it from ray itself"),
        ("dag", r"\.remote\(\)"),
        ("_private.node", r"ray\.util\.get_node_ip_address\(\)"),
        ("client", r"ray\.init\(address='ray://"),
        ("get_resource_ids", "get_assigned_resources"),
        ("util.iter", "ray.util.ActorPool"),
        ("util.connect", "ray://"),
        ("experimental.sandbox", "from ray itself"),
        ("experimental.ui", r"ray\.timeline\(filename"),
        ("experimental.ActorPool", r"ray\.util\.ActorPool"),
        ("util.get_actor", r"ray\.get_actor\(\)"),
        ("global_state", r"ray\.cluster_resources\(\)"),
        ("utils", r"ray\.util\.state are public"),
    ],
)
def test_a_name_that_is_not_offered_says_what_to_use(name: str, instead: str) -> None:
    package, _, last = f"jupyter_ray.{name}".rpartition(".")
    said = rf"ray\.{re.escape(name)} is not offered\. .*{instead}"
    module = importlib.import_module(package)
    assert not hasattr(module, last)
    with pytest.raises(AttributeError, match=rf"module '{package}' has no attribute '{last}': {said}"):
        getattr(module, last)
    with pytest.raises(ModuleNotFoundError, match=said):
        importlib.import_module(f"{package}.{last}")
    with pytest.raises(ImportError, match=said):
        exec(f"from {package} import {last}", {})


def test_a_module_inside_of_one_that_is_not_offered() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"ray\._private\.gcs_utils is not offered\."):
        importlib.import_module("jupyter_ray._private.gcs_utils")
    with pytest.raises(ImportError, match=r"ray\.dag is not offered\."):
        exec("from jupyter_ray.dag.input_node import InputNode", {})


def test_a_name_that_ray_does_not_have_either_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'jupyter_ray' has no attribute 'nothing'$"):
        ray.nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'jupyter_ray\.nothing'$"):
        importlib.import_module("jupyter_ray.nothing")
    assert importlib.util.find_spec("jupyter_ray.nothing") is None


def test_programs_can_ask_whether_it_is_there() -> None:
    found = []
    for name in ("data", "util"):
        try:
            importlib.import_module(f"jupyter_ray.{name}")
        except ImportError:
            continue
        found.append(name)
    assert found == ["util"]


def test_a_remote_function_binds_nothing() -> None:
    with pytest.raises(NotImplementedError, match=r"graphs are not offered here: call \.remote\(\) instead"):
        ray.remote(len).bind([1])


def test_nothing_that_is_offered_is_in_the_table() -> None:
    offered = {f"{kind}{name}" for kind, module in _offering() for name in module.__all__}
    assert offered.isdisjoint(not_offered._WHY)


def test_every_row_is_in_the_documents_table() -> None:
    code = re.findall(r"`([^`]+)`", TABLE.read_text(encoding="utf-8"))
    named = {name for each in code for name in re.findall(r"\w+", each)}
    wanted = {name for name, why in not_offered._WHY.items() if not why.startswith(not_offered._OLDER)}
    assert [name for name in wanted if name.split(".")[-1] not in named] == []


def _offering() -> list[tuple[str, Any]]:
    return [("", ray), ("util.", ray.util), ("experimental.", ray.experimental)]


@pytest.mark.parametrize(
    ("name", "instead"),
    [("exceptions.RayTimeoutError", "GetTimeoutError"), ("actor.Checkpointable", "max_restarts=N")],
)
def test_a_name_of_older_versions_in_a_module_says_what_took_its_place(name: str, instead: str) -> None:
    home, _, last = name.partition(".")
    with pytest.raises(AttributeError, match=rf"ray\.{name} is not offered\. It is a name of older .*{instead}"):
        getattr(getattr(ray, home), last)


def test_modules_that_ray_had_once_say_what_took_their_place() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"older versions of Ray: errors are in ray\.exceptions"):
        exec("from jupyter_ray.worker import RayTaskError", {})
    with pytest.raises(ModuleNotFoundError, match=r"ray\.experimental\.async_api is not offered.*`await`"):
        exec("import jupyter_ray.experimental.async_api", {})


def test_options_of_older_versions_are_called_what_they_are_now() -> None:
    with pytest.raises(AssertionError, match=r"'num_return_vals'\. Did you mean 'num_returns'\?"):
        ray.method(num_return_vals=2)
    with pytest.raises(ValueError, match=r"max_reconstructions.* Did you mean 'max_restarts'\?"):
        ray.remote(max_reconstructions=2)
    with pytest.raises(RuntimeError, match=r"Did you mean 'num_cpus'\? start_ray_local was .*: leave it out\."):
        ray.init(num_workers=10, start_ray_local=True)


def test_no_hint_names_what_only_python_asks_for() -> None:
    with pytest.raises(AttributeError) as caught:
        ray.experimental.getattr  # noqa: B018
    assert "__" not in str(caught.value)
