"""The local engine: the port of `engine.base` on top of one client, for the driver and for the workers.

This module imports next to nothing, since ``%load_ext`` calls `warm`; what `start` needs is imported in the
background meanwhile.

Owner: `_lock` guards `_warming`.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_ray.interrupts import Flag, shielded

if TYPE_CHECKING:
    from jupyter_ray.engine.base import Engine, InitOptions
    from jupyter_ray.local.launcher import Runtime

_lock = threading.Lock()
_warming: _Warming | None = None


class _Warming:
    """A runtime that nobody has bound yet, and that may still be in the making."""

    def __init__(self) -> None:
        self._made = Flag()
        self._runtime: Runtime | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def make_in_background(self) -> None:
        """Start the runtime in a thread, which then imports what `start` will need."""
        self._thread = threading.Thread(target=self._warm_up, name="jupyter_ray warm-up", daemon=True)
        self._thread.start()

    def _warm_up(self) -> None:
        self.make()
        import jupyter_ray.local.engine.session  # noqa: F401

    def make(self) -> None:
        """Start the runtime; `take` tells if that fails."""
        try:
            from jupyter_ray.local.launcher import Runtime

            self._runtime = Runtime()
        except BaseException as error:
            self._error = error
        finally:
            self._made.set()

    def take(self) -> Runtime:
        """Return the runtime once it is made."""
        self._made.wait()
        if self._runtime is None:
            raise self._error or _system_error("The runtime could not be started.")
        return self._runtime

    def abandon(self) -> None:
        """Let go of the runtime, without a word to it: in a forked child, whose parent is to have it."""
        if self._runtime is not None:
            self._runtime.connection.close()

    def join(self) -> None:
        """Wait for the thread, for a second at most."""
        if self._thread is not None:
            self._thread.join(1.0)


def _system_error(text: str) -> Exception:
    from jupyter_ray.exceptions import RaySystemError

    return RaySystemError(text)


def _check_platform() -> None:
    if sys.platform == "win32":
        raise _system_error("jupyter_ray's local engine needs Linux or macOS: on Windows, run Jupyter inside WSL.")


def warm(*, wait: bool = False) -> bool:
    """Start a runtime, bound to nothing yet, and tell whether there was none; see `registry.warm`."""
    global _warming
    _check_platform()
    with shielded():  # One that is torn would never be made, and waited for.
        with _lock:
            if _warming is not None:
                return False
            _warming = warming = _Warming()
        if wait:
            warming.make()
        else:
            warming.make_in_background()
    return True


def cool() -> None:
    """End a runtime that `warm` started and nobody bound; idempotent."""
    global _warming
    with _lock:
        warming, _warming = _warming, None
    if warming is None:
        return
    try:
        runtime = warming.take()
    except Exception:
        return
    runtime.connection.close()
    runtime.end()
    warming.join()


atexit.register(cool)


def _forget_in_fork() -> None:
    global _lock, _warming
    _lock = threading.Lock()
    warming, _warming = _warming, None
    if warming is not None:
        warming.abandon()


os.register_at_fork(after_in_child=_forget_in_fork)


def find(root: str | None) -> str | None:
    """Return the address of the newest runtime of this user; see `registry.find`."""
    from jupyter_ray.local.joining import newest

    return None if sys.platform == "win32" else newest(root)


def start(options: InitOptions, address: str | None = None) -> Engine:
    """Bind a runtime (the warm one, if there is one), or join that at `address`; return the driver's engine, current.

    Raises
    ------
    ConnectionError
        Nobody answers at `address`.
    RaySystemError
        The runtime did not start; the message has its last words.
    ValueError
        More GPUs were declared than ``CUDA_VISIBLE_DEVICES`` names.
    """
    global _warming
    _check_platform()
    if address is not None:
        from jupyter_ray.local.engine.session import join
        from jupyter_ray.local.joining import Joined

        engine = join(Joined(address), options)
        cool()  # Nobody needs it now.
        return engine
    with _lock:
        warming, _warming = _warming, None
    from jupyter_ray.local.launcher import Runtime

    runtime = warming.take() if warming is not None else Runtime(options.temp_dir)
    elsewhere = options.temp_dir is not None and runtime.folder.parent != Path(options.temp_dir)
    if elsewhere or not runtime.alive:  # It died while it waited to be bound.
        runtime.connection.close()
        runtime.end()
        runtime = Runtime(options.temp_dir)
    from jupyter_ray.local.engine.session import bind  # While the runtime imports what it needs.

    return bind(runtime, options)
