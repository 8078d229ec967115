"""Functions and classes that travel by name though pickle would not find them.

What Cython compiled has no other way, as it is machine code.
Pickling by name fails for two of them. A decorator inside the ``.pyx`` puts the remote function in the place of the
function that it wraps: the name then leads to the wrapper, and one step further. And the module that ``%%cython``
makes in a notebook is in no folder that is imported from: its file goes along.

And a class of an importable module under ``@remote``: by value it would be a second class beside the module's own,
whose methods, found by name, belong to the first, so that ``super()`` in them fails.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import os
import pickle
import sys
from typing import Any

from cloudpickle import cloudpickle

from jupyter_ray.engine.base import Definition

_FUNCTIONS = frozenset({"cython_function_or_method", "fused_cython_function"})


def reduce(value: Any) -> tuple[Any, ...] | None:
    """Return how a compiled function, or a class, is found again; None: as cloudpickle does it.

    Raises
    ------
    pickle.PicklingError
        A function that no name of its module leads to: one that is defined inside another.
    """
    is_function = type(value).__name__ in _FUNCTIONS
    if not is_function and not isinstance(value, type):
        return None
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", value.__name__)
    file = _extension(module)
    if file is None or module is None:
        return None if is_function else _decorated(value, module, name)
    found, through = _look_up(module, name)
    if found is not value and is_function:  # A lambda has no name of its own; a variable of the module may have it.
        for other in list(vars(sys.modules[module])):
            found, through = _look_up(module, other)
            if found is value:
                name, through = other, True
                break
    if found is value:
        by_file = None if _can_import(module) else file
        return (find, (module, name, by_file)) if through or by_file else None
    if not is_function:
        return None
    raise pickle.PicklingError(
        f"the Cython function {name} cannot be found by its name in {module}, and compiled code has no other way to "
        "travel: define it at the top level of the .pyx, or give it a name there"
    )


def _decorated(kind: type, module: str | None, name: str) -> tuple[Any, ...] | None:
    if module is None or module == "__main__" or module not in sys.modules or "<locals>" in name:
        return None
    if cloudpickle._is_registered_pickle_by_value(sys.modules[module]):
        return None
    found, through = _look_up(module, name)
    return (find, (module, name, None)) if through and found is kind else None


def find(module: str, name: str, file: str | None = None) -> Any:
    """Return the function or class of that name, unwrapped where it was decorated; `file` is its module's.

    Raises
    ------
    ImportError
        The module cannot be imported here.
    AttributeError
        It has no such name here.
    """
    if module not in sys.modules:
        _load(module, file)
    found, _ = _look_up(module, name)
    if found is None:
        raise AttributeError(f"the module {module!r} has no {name!r} here: was it compiled again?")
    return found


def _extension(module: str | None) -> str | None:
    """Return the file of a compiled module, None for any other one."""
    spec = getattr(sys.modules.get(module or ""), "__spec__", None)
    if spec is None or not isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
        return None
    return str(spec.origin)


def _look_up(module: str, name: str) -> tuple[Any, bool]:
    """Return what the name means, decorators taken off, and whether there were any."""
    found: Any = sys.modules[module]
    through = False
    for part in name.split("."):
        found = getattr(found, part, None)
        definition = getattr(found, "__dict__", {}).get("_definition")
        if isinstance(definition, Definition):
            found, through = definition.value, True
    return found, through


@functools.lru_cache(maxsize=256)
def _can_import(module: str) -> bool:
    # A module inside a package was imported through it; only a lone one can have come from a file.
    return "." in module or importlib.machinery.PathFinder.find_spec(module) is not None


def _load(module: str, file: str | None) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module or file is None or not os.path.exists(file):
            raise
        loader = importlib.machinery.ExtensionFileLoader(module, file)
        spec = importlib.util.spec_from_file_location(module, file, loader=loader)
        assert spec is not None
        made = importlib.util.module_from_spec(spec)
        loader.exec_module(made)
        sys.modules.setdefault(module, made)
