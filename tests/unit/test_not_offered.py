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
