"""IPython in a worker: a notebook's names are there, and a shell is made when somebody imports IPython."""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

_SHELL = "IPython.core.interactiveshell"


def watch(cell_here: Callable[[], str | None]) -> None:
    """Have IPython's ``display`` reach the notebook, in this worker; as there, its name is known without an import.

    Parameters
    ----------
    cell_here
        Returns the cell that has asked for the task which runs here.
    """
    out = sys.stdout

    def begin() -> None:
        from jupyter_ray.engine import task_shell

        task_shell.begin(cell_here, out)

    for name, call in (("display", _display), ("get_ipython", _get_ipython)):
        if not hasattr(builtins, name):
            setattr(builtins, name, call)
    if _SHELL in sys.modules:
        begin()
    else:
        sys.meta_path.insert(0, _Watch(_SHELL, begin))


def _display(*objs: Any, **kwargs: Any) -> Any:
    """Display objects in the notebook cell that asked for the task. IPython's `display`."""
    try:
        from IPython.display import display
    except ImportError:  # Not installed on this machine of a cluster.
        print(*objs)
        return None
    return display(*objs, **kwargs)  # type: ignore[no-untyped-call]


def _get_ipython() -> Any:
    """Return the shell of this process. IPython's `get_ipython`."""
    from IPython.core.getipython import get_ipython

    return get_ipython()


class _Watch(importlib.abc.MetaPathFinder):
    """One of Python's finders, until the module is imported."""

    def __init__(self, name: str, call: Callable[[], None]) -> None:
        self._name = name
        self._call = call

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Find the one module, as the other finders do."""
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._call)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads as another one does, and tells."""

    def __init__(self, loader: Any, call: Callable[[], None]) -> None:
        self._loader = loader
        self._call = call

    def create_module(self, spec: Any) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._call()
