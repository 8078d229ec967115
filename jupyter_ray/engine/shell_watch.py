"""A notebook's modules in a worker: its names are there, a shell when somebody imports IPython, and bars of text."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

_SHELL = "IPython.core.interactiveshell"
_BARS = "tqdm.notebook"


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
    when_imported(_SHELL, begin)
    when_imported(_BARS, _have_text_bars)


def when_imported(name: str, then: Callable[[], None]) -> None:
    """Call `then` as soon as the module `name` has been imported: now, if it has."""
    if name in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, _Watch(name, then))


def _have_text_bars() -> None:
    """Have a task's bars of `tqdm.notebook` print themselves: widgets live in the notebook, where they stood still."""
    text = importlib.import_module("tqdm.std")
    bars: Any = sys.modules[_BARS]

    class Bar(text.tqdm):  # type: ignore[misc, name-defined]
        def __init__(self, *args: Any, display: bool = True, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

    def ranged(*args: Any, **kwargs: Any) -> Any:
        return Bar(range(*args), **kwargs)

    bars.tqdm = bars.tqdm_notebook = Bar
    bars.trange = bars.tnrange = ranged


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


class _Watch:
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
            spec.loader = cast(Any, _Loader(spec.loader, self._call))
        return spec


class _Loader:
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
