"""The drivers that have joined: what their workers are to look like, and what is removed when they are gone."""

from __future__ import annotations

import asyncio

import msgspec

from jupyter_ray.config import DISK_SHARE, guest_folder
from jupyter_ray.engine.context import THIS_NODE
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.protocol import names
from jupyter_ray.local.scheduler import jobs
from jupyter_ray.local.scheduler.records import State
from jupyter_ray.local.server.connection import Connection
from jupyter_ray.local.worker.setup import WorkerSetup

_OF_THE_NODE = (THIS_NODE, DISK_SHARE)
"""Variables that say what the first driver's `init` has said of the machine."""


class Guests:
    """The drivers that have joined one runtime.

    Parameters
    ----------
    session
        Names the folders.
    state
        What the scheduler knows.
    """

    def __init__(self, session: str, state: State) -> None:
        self._session = session
        self._state = state
        self._joined: dict[str, m.Join] = {}
        """By job; those whose detached actors live on included."""

    def join(self, connection: Connection, message: m.Join, bound: m.Bind) -> m.Join:
        """A driver tells of itself: return that with what the machine is to it."""
        connection.job = message.job.hex()
        node = {name: bound.environ[name] for name in _OF_THE_NODE if name in bound.environ}
        self._joined[connection.job] = msgspec.structs.replace(message, environ=message.environ | node)
        return msgspec.structs.replace(message, told={"node": bound.node, "environ": node})

    def setup(self, key: str, bound: m.Bind, socket: str, worker: bytes) -> WorkerSetup:
        """Return what a new worker for the environment `key` is told."""
        guest, env = names.split_environment(key)
        whose = self._joined.get(guest, bound)
        return WorkerSetup(
            socket=socket,
            session=self._session,
            worker=worker,
            sys_path=whose.sys_path,
            cwd=whose.cwd,
            environ=whose.environ,
            env=env,
            guest=guest,
            namespace=whose.namespace,
            job=whose.job,
            node=bound.node,
            total=bound.resources,
        )

    def tidy(self, loop: asyncio.AbstractEventLoop, job: str) -> None:
        """A driver is gone, or a worker of it: forget it when nothing of it is left."""
        found = self._state.jobs.get(bytes.fromhex(job))
        ended = found is None or bool(found.ended)
        if job in self._joined and ended and not jobs.lives_on(self._state, bytes.fromhex(job)):
            del self._joined[job]
            folder = guest_folder(self._session, job)
            if folder.exists():
                import shutil

                loop.run_in_executor(None, lambda: shutil.rmtree(folder, ignore_errors=True))

    def __repr__(self) -> str:
        return f"<Guests: {len(self._joined)} jobs>"
