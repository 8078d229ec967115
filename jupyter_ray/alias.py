"""``sys.modules["ray"] = jupyter_ray``: libraries that import ``ray`` get this package.

Python would load ``ray.exceptions`` from this package's files once more, as a module of its own, whose errors nobody
raises. Here it is the module that is there, so that ``except ray.exceptions.RayActorError`` catches what is raised.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import types
from typing import Any, cast

_PACKAGE = __name__.partition(".")[0]

VARIABLE = "JUPYTER_RAY_AS_RAY"
"""The environment variable that tells workers that this package stands for Ray in the driver, and so in them."""


_HOMES = {
    "ray.cloudpickle.cloudpickle": "ray.cloudpickle",
    "ray.cloudpickle.cloudpickle_fast": "ray.cloudpickle",
    "ray.cloudpickle.compat": "ray.cloudpickle",
    "ray.experimental.dynamic_resources": "ray.experimental",
    "ray.experimental.multiprocessing": "ray.util.multiprocessing",
    "ray.experimental.queue": "ray.util.queue",
    "ray.runtime_env.runtime_env": "ray.runtime_env",
    "ray.util.accelerators.accelerators": "ray.util.accelerators",
}
"""Modules that are others here: of packages in Ray that are modules, and old names that Ray still has."""


def stands_for_ray() -> bool:
    """Tell whether ``import ray`` gives this package, in this process."""
    return sys.modules.get("ray") is sys.modules[_PACKAGE]


def stand_for_ray() -> None:
    """Make ``import ray`` give this package, in this process."""
    sys.modules["ray"] = sys.modules[_PACKAGE]


def spec(name: str) -> importlib.machinery.ModuleSpec:
    """Return how ``ray.util`` or the like is found: as this package's module of that name, which is imported here."""
    from jupyter_ray import stand_ins

    home = _HOMES.get(name, name)
    module = stand_ins.module(name) or importlib.import_module(_PACKAGE + home.removeprefix("ray"))
    if name in _HOMES.values():
        module.__dict__.setdefault("__path__", [])
    _keep_functions(name, module)
    return importlib.machinery.ModuleSpec(name, cast(Any, _Same(module)), is_package=hasattr(module, "__path__"))


def stand_in(name: str) -> importlib.machinery.ModuleSpec | None:
    """Return how ``jupyter_ray._private.node`` is found: Python asks for that in ``from ray._private import node``."""
    from jupyter_ray import stand_ins

    rays = "ray" + name.removeprefix(_PACKAGE)
    module = stand_ins.module(rays) if stand_ins.is_inside(rays) else None
    return None if module is None else importlib.machinery.ModuleSpec(name, cast(Any, _Same(module)), is_package=True)


def _keep_functions(name: str, module: types.ModuleType) -> None:
    """Have ``ray.util.placement_group`` stay the function when the module of that name is imported.

    Python binds a module that it loads in its package, over the function that has its name there. It loads none
    that it finds among those that it has.
    """
    for each, loaded in tuple(sys.modules.items()):
        package, _, last = each.rpartition(".")
        if package == module.__name__ and getattr(module, last, loaded) is not loaded:
            sys.modules.setdefault(f"{name}.{last}", loaded)


class _Same:
    """Loads nothing: the module is there, and keeps what it says of itself."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        module.__spec__ = self._spec or module.__spec__
