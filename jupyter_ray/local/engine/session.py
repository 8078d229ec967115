"""Binding and joining: from a runtime process to a session that can be used, and its end."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import msgspec

from jupyter_ray import alias
from jupyter_ray.config import (
    DISK_SHARE,
    SHUTDOWN_SECONDS,
    further_folder,
    guest_folder,
    session_folder,
    spill_folder,
    working_directory,
)
from jupyter_ray.engine import log_format, refs, registry
from jupyter_ray.engine.base import InitOptions
from jupyter_ray.engine.context import DETACHED_ACTORS, THIS_NODE, ProcessContext
from jupyter_ray.environments import merge
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.interrupts import shielded, started
from jupyter_ray.local.client.client import Client
from jupyter_ray.local.engine import environment, machine
from jupyter_ray.local.engine.local import LocalEngine
from jupyter_ray.local.joining import Joined, announce
from jupyter_ray.local.launcher import Runtime
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.search_path import located
from jupyter_ray.local.store.segments import SegmentStore

_log = logging.getLogger("jupyter_ray")

_LOOK_SECONDS = 1.0
"""So often it is looked for whether the runtime is stopped, while somebody waits and hears nothing."""
_GUESTS_DEATH = (
    "The runtime that this driver had joined is gone: the driver that started it has shut it down or has ended, "
    "or the runtime itself has died"
)
_engines: weakref.WeakSet[LocalEngine] = weakref.WeakSet()
"""All that this process has made and not forgotten."""


class _Session:
    """The driver's session: a runtime and the client on it. Ends once, whoever comes first."""

    def __init__(self, runtime: Runtime | Joined, death: str = "The runtime process died") -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._ended = False
        self.id = os.urandom(16)
        store = SegmentStore(runtime.shared_memory, self.id, spill_folder(runtime.session))
        folder = session_folder(runtime.session)
        self._death = death
        self._looked = time.monotonic()
        self._told = False
        self.client = Client(
            runtime.connection, store, on_death=self._died, folder=folder, on_silence=self._look_at_runtime
        )
        self.client.is_stopped = lambda: runtime.stopped
        self.client.death_means = death[0].lower() + death[1:]

    def _look_at_runtime(self) -> None:
        """A thread waits, and nobody answers: where that is since the runtime is stopped, nobody else can say so."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        stopped = self._runtime.stopped
        if stopped and not self._told:
            pid = self._runtime.pid
            with shielded():
                _log.warning("The runtime, process %d, is stopped (SIGSTOP): `kill -CONT %d` lets it go on.", pid, pid)
        self._told = stopped

    def _died(self, reason: str) -> None:
        """The runtime is gone without our doing; called in the reader thread."""
        words = self._runtime.last_words()
        self._runtime.end()
        said = f" Its last words were:\n{words}" if words else ""
        self.client.events.stopped(f"{self._death}: {reason}.{said}")

    def end(self) -> None:
        """End the runtime and all its processes; an interrupt is raised when that is done."""
        with shielded():
            self._end()

    def _end(self) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
        refs.unset_counter(self.client.references)  # Also of a session that could not begin.
        # It may be stopped, and read nothing: then we, or a thread of ours that holds the connection, could not send.
        patience = threading.Timer(SHUTDOWN_SECONDS, self._runtime.give_up)
        patience.daemon = True
        if not started(patience) and self._runtime.stopped:
            self._runtime.give_up()
        self.client.events.asked()  # A program may be over before that: what its tasks have printed would be lost.
        self.client.say_goodbye()
        self.client.close()
        self.client.store.close()
        patience.cancel()
        self._runtime.end()


def _spill_to(directories: list[str], session: str) -> None:
    """Let the session's folders for spilled values be some of its own in `directories`."""
    first = spill_folder(session)
    for number, directory in enumerate(directories):
        folder = Path(directory).absolute() / session_folder(session).name
        folder.mkdir(mode=0o700, parents=True)
        (further_folder(first, number) if number else first).symlink_to(folder, target_is_directory=True)


def bind(runtime: Runtime, options: InitOptions) -> LocalEngine:
    """Bind a runtime to this machine's resources and this process's surroundings.

    Raises
    ------
    RaySystemError
        The runtime died; the message has its last words.
    """
    session = _Session(runtime)
    client = session.client
    try:
        client.start(m.Hello("driver", session.id, os.getpid()))
        _spill_to(options.spill_directories, runtime.session)
        client.store.disk_share = options.disk_share
        demand, devices, store_limit = machine.resources(options)
        options = msgspec.structs.replace(options, labels=machine.default_labels(demand) | options.labels)
        job_env = environment.encode(merge(None, options.runtime_env), session_folder(runtime.session))
        process = ProcessContext(
            job=os.urandom(4),
            node=os.urandom(28),
            worker=session.id.ljust(28, b"\0"),  # Ray's worker ids have 28 bytes.
            is_driver=True,
            namespace=options.namespace or "",
            session=runtime.session,
            runtime_env=environment.decode(job_env) or None,  # As the workers see it: with the copies of folders.
            labels=options.labels,
            node_name=options.node_name,
            detached_actors=options.detached_actors,
            metadata=options.metadata,
        )
        engine = LocalEngine(client, process, session.end)
        surroundings = _surroundings(options, process, runtime.process.pid)
        bound = client.request(
            lambda number: m.Bind(
                number,
                resources=demand,
                devices=devices,
                env=job_env,
                store_limit=store_limit,
                spills=options.spills,
                memory_share=options.memory_share,
                memory_retries=options.memory_retries,
                farewell_seconds=options.farewell_seconds,
                garbage_seconds=options.garbage_seconds,
                task_limit=options.task_limit,
                node=process.node,
                **surroundings,
            )
        )
        engine.total = bound["parts"]
        announce(runtime.session, runtime.process.pid)
        _engines.add(engine)
        registry.set_current(engine)  # From here on an interrupt leaves a session that others find, and end.
    except BaseException as error:
        words = runtime.last_words()
        session.end()
        if isinstance(error, RaySystemError | ConnectionError) and words:
            raise RaySystemError(f"The runtime could not be started. Its last words were:\n{words}") from error
        raise
    return engine


def join(runtime: Joined, options: InitOptions) -> LocalEngine:
    """Join a runtime that another driver has bound, with a job and surroundings of one's own.

    Raises
    ------
    ConnectionError
        It has ended meanwhile.
    """
    session = _Session(runtime, _GUESTS_DEATH)
    client = session.client
    job = os.urandom(4)
    guest = job.hex()
    try:
        client.start(m.Hello("guest", session.id, os.getpid()))
        job_env = environment.encode(merge(None, options.runtime_env), environment.folder_for(runtime.session, guest))
        process = ProcessContext(
            job=job,
            node=b"",
            worker=session.id.ljust(28, b"\0"),
            is_driver=True,
            namespace=options.namespace or "",
            session=runtime.session,
            runtime_env=environment.decode(job_env) or None,
            guest=True,
            detached_actors=options.detached_actors,
            metadata=options.metadata,
        )
        surroundings = _surroundings(options, process, runtime.pid)
        told = client.request(lambda number: m.Join(number, env=job_env, **surroundings))
        process.node = bytes(told["node"])
        process.node_name, process.labels = json.loads(told["environ"].get(THIS_NODE, '["", {}]'))
        client.store.disk_share = float(told["environ"].get(DISK_SHARE, 1))
        engine = LocalEngine(client, process, session.end, total=told["parts"], guest=guest)
        _engines.add(engine)
        registry.set_current(engine)
    except BaseException as error:
        ended = isinstance(error, RaySystemError) and not client.alive
        session.end()
        import shutil

        shutil.rmtree(guest_folder(runtime.session, guest), ignore_errors=True)
        if ended:
            raise ConnectionError("The runtime ended while this driver joined it.") from error
        raise
    return engine


def _surroundings(options: InitOptions, process: ProcessContext, runtime: int) -> dict[str, Any]:
    """Return what the runtime is told of this process, for its workers and its tables."""
    return {
        "job": process.job,
        "namespace": process.namespace,
        # First the script's own folder, as in Ray.
        "sys_path": located([*sys.path[:1], *options.code_folders, *sys.path[1:]]),
        "cwd": working_directory(),
        "environ": _environ(options) | _told(process.job, runtime),
        "entrypoint": " ".join(sys.orig_argv).encode(errors="replace").decode(),  # It may hold what is no text.
        "metadata": process.metadata,
    }


def _environ(options: InitOptions) -> dict[str, str]:
    """Return what the workers find in their environment."""
    environ = {name: value for name, value in os.environ.items() if _is_text(name + value)}
    environ.pop(alias.VARIABLE, None)  # It may come from a worker that started this process.
    if alias.stands_for_ray():
        environ[alias.VARIABLE] = "1"
    if options.logging is not None:
        environ[log_format.VARIABLE] = options.logging
    if options.disk_share < 1:
        environ[DISK_SHARE] = str(options.disk_share)
    if options.detached_actors:
        environ[DETACHED_ACTORS] = "1"
    if options.labels or options.node_name:
        environ[THIS_NODE] = json.dumps([options.node_name, options.labels])
    return environ


def _told(job: bytes, runtime: int) -> dict[str, str]:
    """Return the variables by which programs recognize a worker. Source: Ray."""
    return {"RAY_JOB_ID": job.hex(), "RAY_RAYLET_PID": str(runtime)}


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # Bytes of another encoding: they cannot travel as text.
        return False
    return True


def _forget_in_fork() -> None:
    """Close the connections in a child that the program forks: else no runtime would notice the driver's end."""
    for engine in list(_engines):
        if engine.process.is_driver:
            engine.client.abandon_in_fork()
            refs.set_counter(None)
            registry.forget_in_fork(engine)


os.register_at_fork(after_in_child=_forget_in_fork)
