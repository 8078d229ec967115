"""docs/ray-api.md has a row for every public name."""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

import jupyter_ray
import jupyter_ray.util
from jupyter_ray import exceptions, options

TABLE = Path(__file__).parents[2] / "docs" / "ray-api.md"
VERDICTS = ("same", "better", "accepted", "not offered", "not in Ray", "there to be caught")
UTIL = [each.name for each in pkgutil.walk_packages(jupyter_ray.util.__path__, "jupyter_ray.util.")]


@cache
def named() -> frozenset[str]:
    """Return the names that stand in code in the table."""
    code = re.findall(r"`([^`]+)`", TABLE.read_text(encoding="utf-8"))
    return frozenset(name for each in code for name in re.findall(r"\w+", each))


def test_every_name_of_the_package() -> None:
    assert len(jupyter_ray.__all__) > 40
    assert [name for name in jupyter_ray.__all__ if name not in named()] == []


@pytest.mark.parametrize("name", ["jupyter_ray.util", *UTIL])
def test_every_name_of_util(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    public = getattr(module, "__all__", ())
    if name.endswith(".accelerators"):  # Its constants have a row together.
        public = [each for each in public if not isinstance(vars(module).get(each, ""), str)]
    assert [each for each in public if each not in named()] == []


def test_every_exception() -> None:
    kinds = [name for name, kind in vars(exceptions).items() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 30
    assert [name for name in kinds if name not in named() and not name.startswith("_")] == []


@pytest.mark.parametrize("kind", [options.TaskOptions, options.ActorOptions, options.MethodOptions])
def test_every_option(kind: type[msgspec.Struct]) -> None:
    spelled = {
        "generator_backpressure": "_generator_backpressure_num_objects",
        "per_yield": "_num_objects_per_yield",
        "generator_cap": "_actor_generator_backpressure_num_objects",
        "counted": "_actor_generator_backpressure_num_objects",
    }
    names = [spelled.get(field, field) for field in kind.__struct_fields__]
    assert [name for name in names if name not in named()] == []


def test_every_row_has_a_verdict() -> None:
    text = TABLE.read_text(encoding="utf-8").partition("## Faults")
    rows = [line for part in (text[0], text[2].partition("\n## ")[2]) for line in part.splitlines() if line[:1] == "|"]
    rows = [row for row in rows if not re.match(r"\|\s*(name)?\s*\|\s*\||\|---", row)]
    assert len(rows) > 60
    for row in rows:
        verdict = re.split(r"(?<!\\)\|", row)[2].strip()
        assert verdict.startswith(VERDICTS), row
