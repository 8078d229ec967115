"""Which files of the user's this process has loaded modules from.

The runtime hears of them after the task that has loaded them, and replaces the process when a notebook goes on after
one of them has changed: so a cell runs what is on the disk, wherever its tasks run.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable

from jupyter_ray import config
from jupyter_ray.local.protocol.messages import Loaded

_LIBRARIES = tuple(os.path.join(os.path.dirname(path), "") for path in (os.__file__, config.__file__))
"""Python's own, and this package. `sysconfig` knows more, and takes a millisecond to begin with."""
_INSTALLED = ("site-packages", "dist-packages")


class Modules:
    """The modules of one process.

    Parameters
    ----------
    send
        Sends to the runtime.
    """

    def __init__(self, send: Callable[[Loaded], object]) -> None:
        self._send = send
        self._names = set(sys.modules)

    def tell(self, seconds: float) -> None:
        """Tell of files loaded since the last time.

        Parameters
        ----------
        seconds
            How long the call took that has loaded them. What has been changed meanwhile counts as changed at time 0:
            nobody knows which of both was loaded.
        """
        if len(sys.modules) == len(self._names):
            return
        began = time.time() - seconds
        found: list[tuple[str, int]] = []
        for name in sys.modules.keys() - self._names:
            path = getattr(sys.modules.get(name), "__file__", None)
            if isinstance(path, str) and not _is_library(path):
                with contextlib.suppress(OSError):
                    status = os.stat(path)
                    found.append((path, 0 if status.st_mtime > began else status.st_mtime_ns))
        self._names = set(sys.modules)
        if found:
            self._send(Loaded(found))

    def __repr__(self) -> str:
        return f"<Modules: {len(self._names)}>"


def _is_library(path: str) -> bool:
    return path.startswith(_LIBRARIES) or any(part in path for part in _INSTALLED)
