"""The drivers, the first and those that have joined: what their workers are to look like, and what ends with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from jupyter_ray.config import DISK_SHARE, guest_folder
from jupyter_ray.engine.context import THIS_NODE
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.protocol import names
from jupyter_ray.local.protocol.codec import ProtocolError
from jupyter_ray.local.scheduler import jobs
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.search_path import followed
from jupyter_ray.local.server.connection import Connection
from jupyter_ray.local.worker.setup import WorkerSetup

_OF_THE_NODE = (THIS_NODE, DISK_SHARE)
"""Variables that say what the first driver's `init` has said of the machine."""


class Drivers:
    """The drivers of one runtime.

    Parameters
    ----------
    session
        Names the folders.
    state
        What the scheduler knows.
    connections
        Those of all processes, by who they are.
    collect
        Sends a message by one of them.

    Attributes
    ----------
    bound
        What the first one has said of itself and of the machine; None: nothing yet.
    """

    def __init__(
        self,
        session: str,
        state: State,
        connections: Mapping[bytes, Connection],
        collect: Callable[[Connection, m.ServerMessage], None],
    ) -> None:
        self._session = session
        self._state = state
        self._connections = connections
        self._collect = collect
        self.bound: m.Bind | None = None
        self._starting: dict[bytes, list[str]] = {}
        """The search paths that workers were told which are not there yet."""
        self._joined: dict[str, m.Join] = {}
        """By job; those whose detached actors live on included."""

    def join(self, connection: Connection, message: m.Join) -> m.Join:
        """A further driver tells of itself: return that with what the machine is to it."""
        bound = self.bound
        assert bound is not None
        connection.job = message.job.hex()
        node = {name: bound.environ[name] for name in _OF_THE_NODE if name in bound.environ}
        self._joined[connection.job] = msgspec.structs.replace(message, environ=message.environ | node)
        return msgspec.structs.replace(message, told={"node": bound.node, "environ": node})

    def follow(self, connection: Connection, message: m.SearchPath) -> m.SearchPath:
        """A driver's program finds modules elsewhere than before: so do its workers, those that are yet to come too."""
        job, workers = connection.job, self._state.workers
        if self.bound is None or connection.client in workers:
            raise ProtocolError("A process changed the search path that is no driver.")
        whose = self._joined.get(job, self.bound)
        changed = msgspec.structs.replace(whose, sys_path=followed(whose.sys_path, message.before, message.after))
        if isinstance(changed, m.Join):
            self._joined[job] = changed
        else:
            self.bound = changed
        for worker in workers.values():
            if names.split_environment(worker.env)[0] == job and worker.id not in self._starting:
                self._send(worker.id, message)
        return message

    def _send(self, worker: bytes, message: m.SearchPath) -> None:
        if (connection := self._connections.get(worker)) is not None:
            self._collect(connection, message)

    def started(self, worker: bytes) -> None:
        """A worker has connected, or will never do so: it may have been started before the search path was changed."""
        before, record = self._starting.pop(worker, None), self._state.workers.get(worker)
        if before is not None and record is not None and self.bound is not None:
            after = self._joined.get(names.split_environment(record.env)[0], self.bound).sys_path
            if before != after:
                self._send(worker, m.SearchPath(before, after))

    def setup(self, key: str, socket: str, worker: bytes) -> WorkerSetup:
        """Return what a new worker for the environment `key` is told."""
        bound = self.bound
        assert bound is not None
        guest, env = names.split_environment(key)
        whose = self._joined.get(guest, bound)
        self._starting[worker] = whose.sys_path
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
        return f"<Drivers: {len(self._joined)} have joined>"
