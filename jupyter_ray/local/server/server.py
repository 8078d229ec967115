"""The event loop of the runtime: bytes to stimuli, commands to bytes.

Everything here runs in one thread. A batch of bytes from one client becomes messages, a few of a kind a stimulus, each
stimulus commands; what the commands send is collected per connection and written once, after the batch.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from jupyter_ray import config
from jupyter_ray.ids import JOB_ID_SIZE
from jupyter_ray.local.client.routes import door_of
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.protocol import names
from jupyter_ray.local.protocol.codec import ProtocolError, append
from jupyter_ray.local.scheduler import commands as c
from jupyter_ray.local.scheduler.core import Scheduler
from jupyter_ray.local.scheduler.stimuli import (
    TOGETHER,
    ClientJoined,
    DriverLeft,
    RequestExpired,
    Said,
    Stimulus,
    Tick,
    WorkerJoined,
    WorkerLost,
)
from jupyter_ray.local.server.connection import Connection
from jupyter_ray.local.server.drivers import Drivers
from jupyter_ray.local.server.files import Files
from jupyter_ray.local.server.log import EventLog
from jupyter_ray.local.server.lookout import Lookout
from jupyter_ray.local.server.modules import Modules
from jupyter_ray.local.server.processes import Processes, last_words
from jupyter_ray.local.server.stopped import stopped
from jupyter_ray.local.worker.setup import WorkerSetup

RUSH_INTERVALS = 5
"""So many intervals more may a burst wait, so that more of its calls can be told by their number."""
GRACE_SECONDS = 5.0
"""How long a worker without an actor may take to leave when it was asked to."""
DRAIN_SECONDS = 0.3
REMAINS_SECONDS = 5.0
"""So long after its start a runtime looks for what dead sessions have left."""
TICK_SECONDS = 0.1
"""So long after something has happened, the scheduler is asked whether it wants a tick."""


class Server:
    """The runtime of one session."""

    def __init__(self, loop: asyncio.AbstractEventLoop, session: str, processes: Processes) -> None:
        self.loop = loop
        self.session = session
        self.processes = processes
        self.scheduler = Scheduler(os.getpid())
        self.connections: dict[bytes, Connection] = {}
        self.driver: bytes | None = None
        self._first: Connection | None = None
        self._dirty: dict[Connection, None] = {}
        self._ended: asyncio.Future[None] = loop.create_future()
        self._ticking = False
        self._log = EventLog(self._tell)
        self._printed: set[Connection] = set()
        """Workers that printed something in this batch."""
        self._flush_planned = False
        self._postponed = 0
        """How often events were held back since the last were sent."""
        self._lookout = Lookout(loop, self)
        self._exits: dict[bytes, str] = {}
        """Workers whose process has ended, and how, while their socket is still being read."""
        self._modules = Modules(self.scheduler.state, self.happen)
        self._drivers = Drivers(session, self.scheduler.state, self.connections, self._collect)
        self._files = Files(loop, session, self.scheduler.state, self.happen_alone, self.say)
        self._own: dict[type, Callable[[Connection, Any], m.ClientMessage | None]] = {
            m.Subscribe: self._on_subscribe,
            m.Seen: self._log.seen,
            m.Shutdown: self._on_shutdown,
            m.Query: self._on_query,
            m.Bind: self._on_bind,
            m.Join: self._on_join,
            m.Lost: self._on_lost,
            m.Log: self._on_log,
            m.Loaded: self._modules.loaded,
            m.CellBegan: self._modules.cell_began,
            m.SearchPath: self._drivers.follow,
        }
        """Messages that are the server's business too; what a function returns the scheduler gets."""
        processes.attach(loop, self._process_ended)

    async def serve(self, listener: socket.socket) -> None:
        """Serve clients until the driver is gone."""
        server = await self.loop.create_unix_server(lambda: Connection(self), sock=listener)
        self.loop.call_later(REMAINS_SECONDS, self._remove_remains)
        try:
            await self._ended
        finally:
            server.close()

    def _remove_remains(self) -> None:
        from jupyter_ray.local.server import remains  # Not at the start, which waits for each import.

        folder = config.session_folder(self.session).parent
        # To give back gigabytes takes the kernel a while.
        threading.Thread(target=remains.remove, args=(folder,), name="jupyter_ray remains", daemon=True).start()

    def close(self) -> None:
        """End all processes and remove all files of the session."""
        self.processes.close()

    def end(self) -> None:
        """End the session. The loop has its turn to the end: who is left must not be told what comes of half of it."""
        if not self._ended.done():
            self._ended.set_result(None)
            for connection in self.connections.values():
                connection.pause()

    def met(self, connection: Connection) -> None:
        """A process of this user connected. The driver, which started us, is the first."""
        self._first = self._first or connection

    # --- stimuli ---------------------------------------------------------------------------------------------

    def joined(self, connection: Connection, hello: m.Hello) -> None:
        """A connection said who it is.

        The driver is who has started us; others may join once it has bound us; workers are those that we started.

        Raises
        ------
        ProtocolError
            It is none of them.
        """
        if hello.kind == "driver":
            expected = self.driver is None
        elif hello.kind == "guest":
            strange = hello.client in self.connections or hello.client in self.scheduler.state.workers
            expected = self._drivers.bound is not None and not strange
        else:
            expected = hello.client in self.scheduler.state.workers and hello.client not in self.connections
        if not expected:
            raise ProtocolError(f"A {hello.kind} that nobody expects said Hello.")
        connection.client = hello.client
        self.connections[hello.client] = connection
        if hello.kind == "worker":
            connection.job, _ = names.split_environment(self.scheduler.state.workers[hello.client].env)
            self.processes.joined(hello.client, hello.pid)
            self._drivers.started(hello.client)
            self.happen(WorkerJoined(hello.client, hello.pid))
            return
        if hello.kind == "driver":
            self.driver = hello.client
        self.happen(ClientJoined(hello.client, hello.pid))

    def said(self, connection: Connection, messages: list[m.ClientMessage]) -> None:
        """A client said something: messages of one kind."""
        client = connection.client
        assert client is not None
        kind = type(messages[0])
        if kind in TOGETHER:
            self.happen(Said(client, messages))
            return
        own = self._own.get(kind)
        for message in messages:
            told = message if own is None else own(connection, message)
            if told is not None:
                self.happen(Said(client, [told]))

    def _on_subscribe(self, connection: Connection, message: m.Subscribe) -> None:
        self._record()
        self._log.subscribe(connection, message)

    def _on_shutdown(self, connection: Connection, message: m.Shutdown) -> None:
        self._publish((connection,))  # It reads to the end; that of the first driver is ours too.
        self.flush()
        connection.close()

    def _on_query(self, connection: Connection, message: m.Query) -> m.Query:
        if message.what == "events":
            self._publish((connection,))  # They come before the answer.
        elif message.what == "why":
            pids = [worker.pid for worker in self.scheduler.state.workers.values() if worker.pid]
            maker = self.processes.template or 0
            told = {"stopped": stopped(pids), "maker": maker if maker and stopped([maker]) else 0}
            return msgspec.structs.replace(message, arguments={**message.arguments, **told})
        return message

    def _on_bind(self, connection: Connection, message: m.Bind) -> m.Bind:
        if connection.client != self.driver:
            raise ProtocolError("A worker wanted to bind the session.")
        self._drivers.bound = message
        self._files.bound(message.environ)
        self._lookout.bound(message.environ, message.memory_share)
        if message.garbage_seconds:
            self.loop.call_later(message.garbage_seconds, self._gather_garbage, message.garbage_seconds)
        return message

    def _gather_garbage(self, seconds: float) -> None:
        """Have all processes collect garbage, now and every so many seconds."""
        for connection in self.connections.values():
            self._collect(connection, m.Collect())
        self.flush()
        self.loop.call_later(seconds, self._gather_garbage, seconds)

    def _on_join(self, connection: Connection, message: m.Join) -> m.Join:
        state = self.scheduler.state
        known = connection.job or connection.client == self.driver or connection.client in state.workers
        if known or self._drivers.bound is None or len(message.job) != JOB_ID_SIZE or message.job in state.jobs:
            raise ProtocolError("A process wanted to join as a driver that it is not.")
        return self._drivers.join(connection, message)

    def _on_lost(self, connection: Connection, message: m.Lost) -> m.Lost:
        self._files.look(message.segments)
        return message

    def _on_log(self, connection: Connection, message: m.Log) -> m.Log:
        self._printed.add(connection)
        return message

    def left(self, connection: Connection) -> None:
        """A connection is closed."""
        client = connection.client
        self._log.leave(connection)
        if client is None and connection is self._first:
            self.end()  # The driver, gone before it said a word: it had only warmed us up.
        if client is None or self.connections.get(client) is not connection:
            return
        del self.connections[client]
        if client == self.driver:
            self.end()
        elif client in self._exits:
            self._lost(client)
        elif client not in self.scheduler.state.workers:
            self.happen(DriverLeft(client))
            self._files.remove_unsealed(client)
            if connection.job:
                self._drivers.tidy(self.loop, connection.job)
        else:
            self.processes.kill(client)  # It may live on without its socket; its end tells more than the socket's.

    def _process_ended(self, worker: bytes, reason: str) -> None:
        self._exits[worker] = self._lookout.explain(reason)
        if worker not in self.connections:
            self._lost(worker)
        else:
            # What it said last may not be read yet. A child of it may keep the socket open, so wait a little only.
            self.loop.call_later(DRAIN_SECONDS, self._drained, worker)

    def _drained(self, worker: bytes) -> None:
        connection = self.connections.pop(worker, None)
        if connection is not None and worker in self._exits:
            connection.close()
            self._lost(worker)

    def _lost(self, worker: bytes) -> None:
        end = self._lookout.end_of(worker, self._exits.pop(worker))
        if signal.SIGBUS.name in end.reason:  # What it had mapped may have been cut short.
            self._files.look()
        self._tell_of_crash(worker)
        record = self.scheduler.state.workers.get(worker)
        guest, _ = names.split_environment("" if record is None else record.env)
        self.happen(WorkerLost(worker, end.reason, out_of_memory=end.out_of_memory, spared=end.spared))
        door_of(config.session_folder(self.session), worker).unlink(missing_ok=True)
        self._files.remove_unsealed(worker)
        self._modules.gone(worker)
        self._drivers.started(worker)
        if guest:
            self._drivers.tidy(self.loop, guest)
        self.flush()

    def happen(self, stimulus: Stimulus) -> None:
        """Give a stimulus to the scheduler and do what it wants."""
        scheduler = self.scheduler
        for command in scheduler.handle(stimulus, time.time()):
            kind = type(command)
            if kind is c.Send:
                connection = self.connections.get(command.client)  # type: ignore[union-attr]
                if connection is not None:
                    append(command.message, connection.out)  # type: ignore[union-attr]
                    self._dirty[connection] = None
            else:
                self._do(command)

    def _do(self, command: c.Command) -> None:
        if "/" in getattr(command, "segment", ""):
            return  # No process of ours writes such a name.
        if self._files.do(command):
            return
        if isinstance(command, c.SetTimer):
            self.loop.call_later(
                command.seconds, self.happen_alone, RequestExpired(client=command.client, request=command.request)
            )
        elif isinstance(command, c.StartWorker):
            self.processes.start(self._setup(command))
        elif isinstance(command, c.StopWorker):
            connection = self.connections.get(command.worker)
            if command.kill or connection is None:
                self.processes.kill(command.worker)
            else:
                self._collect(connection, m.Exit(command.reason))
                grace = self._grace(command.worker)
                if grace:
                    self.loop.call_later(grace, self._kill_lingering, connection, command.worker)

    def say(self, text: str, worker: bytes | None = None) -> None:
        """Tell the driver, or that of a worker."""
        state = self.scheduler.state
        job = state.jobs.get(state.clients[worker].job) if worker in state.clients else None
        driver = self.driver if job is None else job.driver
        if driver is not None:
            self.happen_alone(Said(driver, [m.Log("stderr", text, "jupyter_ray")]))

    def _grace(self, worker: bytes) -> float:
        """Return how long a worker may take to leave: with an actor, what `init` says; 0 means as long as it likes."""
        record = self.scheduler.state.workers.get(worker)
        bound = self._drivers.bound
        return GRACE_SECONDS if record is None or record.actor is None or bound is None else bound.farewell_seconds

    def _kill_lingering(self, connection: Connection, worker: bytes) -> None:
        if self.connections.get(worker) is connection:
            self.processes.kill(worker)

    def happen_alone(self, stimulus: Stimulus) -> None:
        """As `happen`, where no batch is worked off at whose end what was collected is written."""
        self.happen(stimulus)
        self.flush()

    def _tell_of_crash(self, worker: bytes) -> None:
        """Show the stacks of a worker that crashed, as what its task wrote last."""
        record = self.scheduler.state.workers.get(worker)
        text = last_words(self.session, worker)
        if text and record is not None:
            task = next((each.spec for each in record.tasks.values()), None)
            known = () if task is None else (task.name, task.task, task.actor, task.cell)
            self.happen(Said(worker, [m.Log("stderr", text, *known or ("worker",))]))

    def _tick(self) -> None:
        self._ticking = False
        if self.scheduler.wants_tick:
            self.happen_alone(Tick())

    def _setup(self, command: c.StartWorker) -> WorkerSetup:
        socket = str(config.session_folder(self.session) / config.RUNTIME_SOCKET)
        return self._drivers.setup(command.env, socket, command.worker)

    # --- what is sent ----------------------------------------------------------------------------------------

    def _collect(self, connection: Connection, message: m.ServerMessage) -> None:
        append(message, connection.out)
        self._dirty[connection] = None

    def _tell(self, connection: Connection, events: m.Events) -> None:
        append(events, connection.news)
        self._dirty[connection] = None

    def _record(self) -> None:
        """Take what the scheduler has told into the log."""
        events = self.scheduler.take_events()
        if events and self._log.record(events):
            self._publish_soon()

    def _publish_soon(self) -> None:
        if not self._flush_planned:
            self._flush_planned = True
            self.loop.call_later(config.EVENT_INTERVAL, self._publish_later)

    def _publish_later(self) -> None:
        self._flush_planned = False
        self._record()
        if self._log.may_wait and self._postponed < RUSH_INTERVALS:
            self._postponed += 1
            self._publish_soon()
            return
        self._postponed = 0
        self._publish()
        self.flush()

    def _publish(self, to: Collection[Connection] = ()) -> None:
        """Send events, and to those in `to` all of them."""
        self._record()
        if self._log.publish(everything=bool(to), to=to):
            self._publish_soon()

    def flush(self) -> None:
        """Write what was collected."""
        if self._ended.done():
            return
        self._record()
        while self._printed:
            self._log.printed(self._printed.pop())
        if self._log.has_lines and (told := [each for each in self._log.subscribers() if each.out]):
            self._publish(told)  # A result is about to go, or what is as good as one.
        dirty, self._dirty = self._dirty, {}
        for connection in dirty:
            connection.write()
        self._lookout.begin()
        if not self._ticking:
            self._ticking = True
            self.loop.call_later(TICK_SECONDS, self._tick)

    def __repr__(self) -> str:
        return f"<Server: {len(self.connections)} connections, {self.scheduler!r}>"
