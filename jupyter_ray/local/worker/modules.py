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
        # Not all of them: a reference to each name would be a write to a hundred pages that workers share.
        self._newest = next(reversed(sys.modules.items()))

    def tell(self, seconds: float) -> None:
        """Tell of files loaded since the last time.

        Parameters
        ----------
        seconds
            How long the call took that has loaded them. What has been changed meanwhile counts as changed at time 0:
            nobody knows which of both was loaded.
        """
        loaded = []
        try:
            for item in reversed(sys.modules.items()):
                if item[1] is self._newest[1] and item[0] == self._newest[0]:
                    break
                loaded.append(item)
        except RuntimeError:  # Another thread imports: the next call tells.
            return
        if not loaded:
            return
        self._newest = loaded[0]
        began = time.time() - seconds
        found: list[tuple[str, int]] = []
        for _, module in loaded:
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and not _is_library(path):
                with contextlib.suppress(OSError):
                    status = os.stat(path)
                    found.append((path, 0 if status.st_mtime > began else status.st_mtime_ns))
        if found:
            self._send(Loaded(found))

    def __repr__(self) -> str:
        return f"<Modules: up to {self._newest[0]}>"


def _is_library(path: str) -> bool:
    return path.startswith(_LIBRARIES) or any(part in path for part in _INSTALLED)
