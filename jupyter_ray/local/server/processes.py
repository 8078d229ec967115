"""Worker processes: made from a warm template, watched, ended.

    runtime (event loop) --orders--> spawner thread --multiprocess forkserver--> template --fork--> worker

The spawner thread alone talks to the template, since that blocks; it reports to the event loop. Everything else
happens in the event loop. A worker's end shows in its sentinel, a pipe that the template closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import multiprocess
import multiprocess.forkserver
import multiprocess.process

from jupyter_ray.config import crash_report, remove_folders, session_folder
from jupyter_ray.local.protocol.messages import EXITED
from jupyter_ray.local.server import descendants, template
from jupyter_ray.local.server.guard import SIGKILLED
from jupyter_ray.local.worker.entry import run_worker
from jupyter_ray.local.worker.setup import WorkerSetup

Lost = Callable[[bytes, str], None]

_LAST_WORDS = 20_000
"""Characters of a crash report that are shown."""


class Processes:
    """The worker processes of one session.

    Parameters
    ----------
    session
        Names the folders.
    """

    def __init__(self, session: str) -> None:
        self._session = session
        self._orders: queue.SimpleQueue[tuple[bytes, bytes] | None] = queue.SimpleQueue()
        self._children: dict[bytes, Any] = {}
        self._condemned: set[bytes] = set()
        self._pids: dict[bytes, int] = {}
        """Of workers that have said so themselves, before the thread that starts them has."""
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lost: Lost | None = None
        # Of a template that multiprocess starts; the first one is forked here.
        multiprocess.process.current_process()._config["tempdir"] = str(session_folder(session))
        descendants.adopt()
        self._context = multiprocess.get_context("forkserver")
        self._thread = threading.Thread(target=self._spawn, name="jupyter_ray-spawner", daemon=True)

    def warm(self) -> None:
        """Begin to take orders: from now on there are threads."""
        self._thread.start()

    def attach(self, loop: asyncio.AbstractEventLoop, lost: Lost) -> None:
        """Say who is told, in the event loop, of a worker's end: `lost(worker, reason)`."""
        self._loop = loop
        self._lost = lost
        signal.signal(signal.SIGCHLD, lambda *_: loop.call_soon_threadsafe(self._collect))  # uvloop offers no handler.

    def _collect(self) -> None:
        descendants.collect(template.pid())

    @property
    def template(self) -> int | None:
        """The process id of the template; None: there is none yet."""
        return template.pid()

    def start(self, setup: WorkerSetup) -> None:
        """Start a worker; it connects by itself."""
        self._orders.put((setup.worker, msgspec.msgpack.encode(setup)))

    def joined(self, worker: bytes, pid: int) -> None:
        """A worker has told its process id."""
        if worker not in self._children:
            self._pids[worker] = pid

    def kill(self, worker: bytes) -> None:
        """End a worker at once, also one that is only being started."""
        child = self._children.get(worker)
        if child is None:
            self._condemned.add(worker)
        pid = self._pids.get(worker) if child is None else child.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _end_group(pid)

    def close(self) -> None:
        """End all workers, what they have started, and the template, and remove the session's folders."""
        self._closed = True
        self._orders.put(None)
        for worker in list(self._children):
            self.kill(worker)
        descendants.end()
        remove_folders(self._session)

    def _spawn(self) -> None:
        multiprocess.forkserver.ensure_running()
        while (order := self._orders.get()) is not None:
            if self._closed:
                return  # The template is gone, and multiprocess would start another one.
            worker, setup = order
            loop = self._loop
            assert loop is not None
            child = self._context.Process(target=run_worker, args=(setup,), daemon=True)
            try:
                template.start(child)
            except Exception as error:
                loop.call_soon_threadsafe(self._report, worker, f"it could not be started: {error}")
            else:
                # At each start multiprocess asks all children that it knows whether they live; the sentinels tell us.
                multiprocess.process._children.discard(child)
                loop.call_soon_threadsafe(self._started, worker, child)

    def _started(self, worker: bytes, child: Any) -> None:
        assert self._loop is not None
        self._children[worker] = child
        self._pids.pop(worker, None)
        self._loop.add_reader(child.sentinel, self._ended, worker)
        if worker in self._condemned:
            self._condemned.discard(worker)
            self.kill(worker)

    def _ended(self, worker: bytes) -> None:
        assert self._loop is not None
        child = self._children.pop(worker)
        self._loop.remove_reader(child.sentinel)
        if child.pid is not None:
            _end_group(child.pid)
        code = child.exitcode
        child.close()
        self._report(worker, describe_exit(code))

    def _report(self, worker: bytes, reason: str) -> None:
        if self._lost is not None:
            self._lost(worker, reason)

    def __repr__(self) -> str:
        return f"<Processes: {len(self._children)} workers>"


def last_words(session: str, worker: bytes) -> str:
    """Return what a worker that has ended wrote of its crash, and forget it; empty if it did not crash."""
    path = crash_report(session, worker)
    try:
        text = path.read_bytes()[:_LAST_WORDS].decode("utf-8", "replace")
        path.unlink()
    except OSError:  # It ended before it began, or the session is being removed.
        return ""
    return text


def _end_group(worker: int) -> None:
    """End what a worker has started: each leads a process group of its own, once it runs."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)


def describe_exit(code: int | None) -> str:
    """Return what an exit code means, as part of a sentence."""
    if code is None:
        return "its process ended"
    if code < 0:
        if -code == signal.SIGKILL:
            return SIGKILLED
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process was ended by signal {-code}"
    return f"its process ended by itself ({EXITED} {code})"
