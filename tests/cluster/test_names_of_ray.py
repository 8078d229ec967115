"""Every public name of the installed Ray is offered here, or says why it is not."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

from jupyter_ray.not_offered import why_absent

pytestmark = pytest.mark.usefixtures("ray_cluster")  # Before Ray is imported: it reads then how it authenticates.

INSIDE = (
    "_common.test_utils", "_common.utils", "_private.client_mode_hook", "_private.internal_api", "_private.services",
    "_private.state", "_private.test_utils", "_private.utils", "_private.worker", "_raylet", "util.state.common",
)  # fmt: skip
"""What tests of programs import beside what they use of it."""
_TYPES_OR_TESTS = ("HasOptions", "RemoteDecorator", "RemoteFunction", "state", "test_")

MODULES = ("", "util", "util.state", "util.queue", "experimental", "actor", "runtime_env", "types")


def _is_told(module: str, name: str) -> bool:
    ours = f"jupyter_ray.{module}".rstrip(".")
    return hasattr(importlib.import_module(ours), name) or why_absent(ours, name) is not None


@pytest.mark.parametrize("module", MODULES)
def test_the_names_of_a_module(module: str) -> None:
    theirs = importlib.import_module(f"ray.{module}".rstrip("."))
    assert [name for name in getattr(theirs, "__all__", ()) if not _is_told(module, name)] == []


@pytest.mark.parametrize("package", ["", "util", "experimental"])
def test_the_modules_of_a_package(package: str) -> None:
    import ray as native

    folder = Path(str(native.__file__)).parent / package
    names = [each.name for each in pkgutil.iter_modules([str(folder)])]
    names = [name for name in names if name.isidentifier() and not name.startswith("_")]
    assert names
    missing = []
    for name in names:
        try:
            importlib.import_module(".".join(filter(None, ("jupyter_ray", package, name))))
        except ModuleNotFoundError as error:
            if "is not offered" not in str(error):
                missing.append(name)
    assert missing == []


@pytest.mark.parametrize("module", INSIDE)
def test_what_a_module_inside_defines_can_be_imported(module: str) -> None:
    theirs, ours = (importlib.import_module(f"{package}.{module}") for package in ("ray", "jupyter_ray"))
    defined = [name for name, value in vars(theirs).items() if getattr(value, "__module__", "") == theirs.__name__]
    public = [
        name for name in defined if not name.startswith(("_", *_TYPES_OR_TESTS)) and callable(getattr(theirs, name))
    ]
    assert public
    assert [name for name in public if not hasattr(ours, name)] == []
