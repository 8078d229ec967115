"""Which engine this process uses, how engines are found, and who is told of a change.

Engines are named by strings and imported at first use, so that nothing above knows one, and a script that never uses
the Ray engine never imports it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_ray.engine.base import Engine, InitOptions

_PROVIDERS = {"local": "jupyter_ray.local.engine", "ray": "jupyter_ray.ray_cluster.provider"}

_engine: Engine | None = None
_starter: Callable[[], Engine] | None = None
_watchers: list[Callable[[Engine | None], None]] = []


def current() -> Engine | None:
    """Return the engine of this process, or None."""
    return _engine


def set_current(engine: Engine | None) -> None:
    """Make `engine` the one of this process, and tell the watchers."""
    global _engine
    _engine = engine
    for watcher in list(_watchers):
        watcher(engine)


def forget_in_fork(engine: Engine) -> None:
    """Have no engine in a forked child, if `engine` was that of its parent; the watchers are the parent's."""
    global _engine
    if _engine is engine:
        _engine = None


def watch(watcher: Callable[[Engine | None], None]) -> Callable[[], None]:
    """Call `watcher` at each change of the engine; return the undo."""
    _watchers.append(watcher)
    return lambda: _watchers.remove(watcher)


def set_starter(starter: Callable[[], Engine]) -> None:
    """Say how to start an engine when one is needed and none runs (Ray's auto-init)."""
    global _starter
    _starter = starter


def required() -> Engine:
    """Return the engine, starting one if none runs.

    Raises
    ------
    RuntimeError
        No engine runs and nobody said how to start one.
    """
    if _engine is not None:
        return _engine
    if _starter is None:
        raise RuntimeError("No session runs. Call init() first.")
    return _starter()


def _provider(kind: str) -> Any:
    return importlib.import_module(_PROVIDERS[kind])


def load(kind: str) -> None:
    """Import what starts the engine named `kind`."""
    _provider(kind)


def start(kind: str, options: InitOptions, address: str | None = None) -> Engine:
    """Start the engine named `kind` (``"local"`` or ``"ray"``) and return it, ready for use.

    The local one is current then, so that an interrupt right after leaves none that nobody can end.
    """
    engine: Engine = _provider(kind).start(options, address)
    return engine


def find(root: str | None, kind: str = "local") -> str | None:
    """Return the address of the newest living session of this user that an engine of this kind may join, if any.

    Parameters
    ----------
    root
        Where sessions have their folders; None: where this process would make its own.
    kind
        The engine.
    """
    found: str | None = _provider(kind).find(root)
    return found


def warm(kind: str = "local", *, wait: bool = False) -> bool:
    """Start the engine's processes, bound to nothing yet; idempotent.

    Parameters
    ----------
    kind
        The engine.
    wait
        Return when they have been started, in some milliseconds, and import nothing. Else a thread starts them, then
        imports what `start` will need.

    Returns
    -------
    bool
        Whether there were none before.
    """
    begun: bool = _provider(kind).warm(wait=wait)
    return begun


def cool(kind: str = "local") -> None:
    """End processes that `warm` started and nobody bound; idempotent."""
    _provider(kind).cool()
