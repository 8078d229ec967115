"""Which worker has loaded modules from which files, and whose files have changed since.

The files are looked at when a notebook goes on, right before the first call of a cell: so what a person has edited in
between is run by all that follows, and nothing changes in the midst of a cell.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.protocol.names import split_environment
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.stimuli import Outdated
from jupyter_ray.local.server.connection import Connection


class Modules:
    """What workers have told of the modules that they have loaded.

    Parameters
    ----------
    state
        Tells whose workers they are.
    happen
        Takes it that some are outdated.
    """

    def __init__(self, state: State, happen: Callable[[Outdated], None]) -> None:
        self._state = state
        self._happen = happen
        self._loaded: dict[bytes, dict[str, int]] = {}

    def loaded(self, connection: Connection, message: m.Loaded) -> None:
        """A worker has loaded modules."""
        assert connection.client is not None
        self._loaded.setdefault(connection.client, {}).update(message.files)

    def gone(self, worker: bytes) -> None:
        """Forget a worker."""
        self._loaded.pop(worker, None)

    def cell_began(self, connection: Connection, message: m.CellBegan) -> None:
        """A driver goes on: those of its workers that have loaded what has changed since are outdated.

        A file that is gone has not changed: a new process would find none.
        """
        workers = self._state.workers
        mine = {
            worker: files
            for worker, files in self._loaded.items()
            if worker in workers
            and workers[worker].actor is None
            and split_environment(workers[worker].env)[0] == connection.job
        }
        now: dict[str, int] = {}
        for path in {path for files in mine.values() for path in files}:
            with contextlib.suppress(OSError):
                now[path] = os.stat(path).st_mtime_ns
        outdated = [
            worker for worker, files in mine.items() if any(now.get(path, then) != then for path, then in files.items())
        ]
        if outdated:
            self._happen(Outdated(outdated))

    def __repr__(self) -> str:
        return f"<Modules of {len(self._loaded)} workers>"
