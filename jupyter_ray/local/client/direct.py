"""The short way of a call: from the thread that waits for it straight to the worker, and back.

A program that calls and waits by turns is shown routes by the runtime. A call that may take one is not sent at once:
it is *deferred* until the program says what it does next. If that is to wait for it, the waiting thread brings the call
to the worker, reads the answer from the same socket, and the runtime is told later (`Ran`). If it is anything else, or
nothing for a moment, the call goes the usual way, before whatever comes after it.

Where the short way fails, the usual one takes over: after `PATIENCE_SECONDS` without an answer, at an interrupt, or
when the worker's socket closes, the runtime is told that the worker has the call, and is asked for the value. A call
that the worker does not take for so long goes the usual way.

A call that is under way is nothing that the runtime knows. So who sends what names its result, from another thread,
tells of it first (`precede`).

Owner: any thread. Under `_handing` a deferred call is taken for the short way, or sent the usual one and only then
taken out of `deferred`. `Route.busy` is held by the thread that uses the route; a thread of its own reads the answer
of a call that lasts. `Route.bringing` is held while a call is on its way to the worker, and no other lock is waited for
meanwhile: it may be waited for anywhere. A call leaves `under_way` in one step with the message that tells of it (the
channel's lock): who does not find it there sends after that message. `_order` guards an actor's `_last` and its route.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from jupyter_ray.engine.refs import ActorRef, DefinitionRef, ObjectRef
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.ids import ACTOR_ID_SIZE, return_id, task_of
from jupyter_ray.interrupts import shielded, started
from jupyter_ray.local.client.references import References
from jupyter_ray.local.client.routes import PATIENCE_SECONDS, Route, Routes, route_key, send_whole
from jupyter_ray.local.protocol import codec, framing
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.protocol.mentions import mentioned
from jupyter_ray.local.search_path import located

_READ = 64 * 1024
_ACTORS = 10_000
"""So many actors are remembered that were called: of those that others keep we do not hear when they end."""
_CELLS = 1_000
"""So many cells are remembered; one that was forgotten and calls again counts as a new one."""


class Asker(Protocol):
    """What the short way needs of its client."""

    references: References

    def send(self, message: m.ClientMessage, *, soon: bool = True) -> None:
        """Send a message, after a call that is deferred."""

    def send_if(self, claim: Callable[[], object], message: m.ClientMessage) -> None:
        """Send a message unless `claim()` is None, in one step with that; not after a call that is deferred."""

    def send_later(self, message: m.ClientMessage, claim: Callable[[], object] | None = None) -> bool:
        """Send a message with whatever goes next, or after some milliseconds; return False if `claim()` is None."""

    def push(self) -> None:
        """Send what was sent and waits, now."""

    def want(self, chore: str) -> None:
        """Ask the housekeeper for a chore."""


def make_room(noted: dict[bytes, Any], actor: bytes) -> None:
    """Forget the oldest of too many actors, if `actor` is a new one; other threads may add some meanwhile."""
    if len(noted) >= _ACTORS and actor not in noted:
        oldest, *_ = tuple(noted)
        noted.pop(oldest, None)


class Deferred(NamedTuple):
    """A call that may go to its worker straight away, if the thread that made it waits for it next."""

    spec: m.TaskSpec
    version: int
    """That of its definition, 0 if this process has not shipped it."""
    route: Route
    thread: int
    """The thread that made it."""
    held: DefinitionRef | None
    """Holds its definition meanwhile."""


class Direct:
    """The routes of one process, and the call that is deferred.

    Parameters
    ----------
    client
        The connection to the runtime.
    folder
        The session's folder, with the workers' sockets.
    """

    def __init__(self, client: Asker, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._hello = m.Hello("worker", b"", os.getpid())
        self.routes = Routes(lambda worker: client.send(m.Unlease(worker), soon=False))
        self.deferred: deque[Deferred] = deque()
        """Mostly one at the most; two, where one that could not be brought comes back."""
        self._handing = threading.RLock()
        """Held by whoever sends the deferred call, until it is sent: who finds none may rely on that."""
        self._is_handed = False
        self._seen: object = None
        """The deferred call that was there at the last look."""
        self._last: dict[bytes, bytes] = {}
        """The last call of each actor that went the usual way, while we have a handle. Without it no route is taken."""
        self._order = threading.RLock()
        self.under_way: dict[bytes, tuple[m.TaskSpec, Route]] = {}
        """Calls that are brought to a worker, or are there, and that the runtime has not been told of, by task."""
        self.cells: set[str | None] = {None}
        """Those of this notebook that have made a call."""
        self.search_path = sys.path.copy()
        """At the last call."""
        self._located = located(self.search_path)
        """It, as the workers know it."""

    def introduce(self, hello: m.Hello) -> None:
        """Set who we are."""
        self._hello = hello

    # --- calls ---

    def submit(self, spec: m.TaskSpec, key: Hashable, version: int) -> None:
        """Start a task: defer it if there is a route for its `key`, else send it.

        `version` is that of its definition, 0 if we have not shipped it.
        """
        route = self.routes.usable.get(key)
        if route is not None and not version:
            version = route.newest.get(spec.definition, 0)
        if (
            route is None
            or (not version and route.leased)
            or self.deferred
            or route.busy.locked()
            or spec.contained
            or spec.segment
            or (spec.dependencies and self._values(spec) is None)
        ):
            self._submit(spec)
        else:
            # What other code refers to is not counted here, and there as long as that: see `hold_definition`.
            held = self._client.references.living(spec.definition.encode(), DefinitionRef) if route.leased else None
            self.deferred.append(Deferred(spec, version, route, threading.get_ident(), held))
            self._client.want("deferred")

    def _values(self, spec: m.TaskSpec) -> list[m.Payload] | None:
        """Return the values of a call's dependencies, if they are known here and can be brought along."""
        known = self._client.references.payloads
        values: list[m.Payload] = []
        for dependency in spec.dependencies:
            payload = known.get(dependency)
            if payload is None or payload.is_error or payload.contained:
                return None
            values.append(payload)
        return values

    def _submit(self, spec: m.TaskSpec) -> None:
        if spec.kind == "method":
            assert spec.actor is not None
            if self.deferred:
                self.release()  # It was made before this one, which is the last then.
            with self._order:
                make_room(self._last, spec.actor)
                self._last[spec.actor] = spec.task
                # Till nothing of ours is under way there, and the runtime says so.
                self.routes.usable.pop(spec.actor, None)
        self._client.send(m.Submit(spec))

    def __contains__(self, key: Hashable) -> bool:
        """Tell whether there is a route for `key`."""
        return key in self.routes.usable

    def release(self) -> None:
        """Send the call that is deferred, if one is, the usual way."""
        with shielded(), self._handing:
            while self.deferred and not self._is_handed:  # What is sent before it releases it too.
                self._is_handed = True
                try:
                    self._submit(self.deferred[0].spec)
                finally:
                    self.deferred.popleft()
                    self._is_handed = False

    def dropped(self, drops: list[tuple[bytes, int]]) -> None:
        """References are about to go: send the deferred call first, if its value or its actor is among them."""
        for call in tuple(self.deferred):
            spec = call.spec
            mine = (spec.actor, return_id(spec.task, 1), *spec.dependencies)
            if any(counted in mine for counted, _ in drops):
                self.release()
        for counted, _ in drops:
            if len(counted) == ACTOR_ID_SIZE:
                with self._order:
                    self._last.pop(counted, None)
                    self.routes.lose(counted)

    def forget(self, actor: bytes) -> None:
        """Something happens to an actor that later calls must not overtake."""
        with self._order:
            make_room(self._last, actor)
            self._last[actor] = b""
            self.routes.usable.pop(actor, None)

    def forget_actors(self) -> None:
        """Something happens to actors that are not known here."""
        for key in list(self.routes.usable):
            if isinstance(key, bytes):
                self.forget(key)

    def look(self) -> None:
        """Send a call that has been deferred since the last look: a chore."""
        deferred = next(iter(tuple(self.deferred)), None)
        if deferred is not None and deferred is self._seen:
            self.release()
            deferred = None
        self._seen = deferred
        if deferred is not None:
            self._client.want("deferred")

    def call(self, object_id: bytes) -> None:
        """Bring the deferred call to its worker and wait for the answer, if it makes `object_id`.

        Afterwards the value is remembered, or the runtime can be asked for it.
        """
        with shielded() as shield:
            taken = self._take(object_id)
            if taken is None:
                self.release()
                return
            call, route, held = taken
            self._exchange(call, route, shield.sleep)
            held.clear()

    def _take(self, object_id: bytes) -> tuple[m.Call, Route, list[object]] | None:
        """Return the deferred call and its route, if this thread made it, for `object_id`, and it can go that way.

        And what is to be held till the runtime does so, or the call is over. The call is under way, and being brought.
        """
        with self._handing:
            if not self.deferred:
                return None
            spec, version, route, thread, definition = self.deferred[0]
            if thread != threading.get_ident() or task_of(object_id) != spec.task:
                return None
            if not route.busy.acquire(blocking=False):
                return None
            values = self._values(spec)
            held = self._held(spec, definition)
            # Forgotten, or given back, meanwhile.
            if values is None or held is None or self.routes.usable.get(route.key) is not route:
                route.busy.release()
                return None
            if version and route.versions.get(spec.definition) != version:
                self._client.push()  # The worker may have to ask for the definition.
            route.bringing.acquire()
            self.under_way[spec.task] = spec, route  # First: one of the two has it at any time.
            self.deferred.popleft()
            return m.Call(spec, version, tuple(values)), route, held

    def _held(self, spec: m.TaskSpec, definition: DefinitionRef | None) -> list[object] | None:
        """Return references to what a call needs; None if the runtime may have heard that we let one of them go."""
        living = self._client.references.living
        held: list[object] = [living(dependency, ObjectRef) for dependency in spec.dependencies]
        if spec.actor is not None:
            held.append(living(spec.actor, ActorRef))
        return None if None in held else [*held, definition]

    def _exchange(self, call: m.Call, route: Route, sleep: Callable[[Callable[[], object]], object]) -> None:
        spec, version = call.spec, call.version
        connection = self._bring(call, route)
        if connection is None:
            self.routes.drop(route)
            self.release()
            if route.leased:
                self._client.send(m.Unlease(route.worker))
            return
        claim = partial(self.under_way.pop, spec.task, None)
        try:
            ready: list[object] = []
            route.vigil.expect()
            sleep(lambda: ready.extend(route.vigil.poll(route.poll, PATIENCE_SECONDS * 1000)))
            reply = self._read(route, connection) if ready else None
        except (OSError, codec.ProtocolError, framing.FrameError):
            self._tell(spec, route)
            self.routes.drop(route)
        except BaseException:  # What a signal handler raised.
            self._wait_elsewhere(spec, route)
            raise
        else:
            if reply is None:
                self._wait_elsewhere(spec, route)
            elif type(reply) is not m.Done or reply.task != spec.task:  # Elsewhere; or the answer to another call.
                self._tell(spec, route)
                self.routes.drop(route)
            elif not self._client.send_later(m.Ran(spec, route.worker, reply), claim):
                self._client.send(m.Report(reply), soon=False)  # Another thread has told of it.
                self.routes.drop(route)
            else:
                self._client.references.remember(return_id(spec.task, 1), reply.returns[0])
                route.used = 0
                if version:
                    route.versions[spec.definition] = version
                self.routes.free(route)

    def _bring(self, call: m.Call, route: Route) -> socket.socket | None:
        """Send a call to its worker; None: the worker has not got it, and it is deferred again."""
        spec, connection = call.spec, None
        try:
            connected = route.connection or route.connect(self._folder, self._hello)
            send_whole(connected, codec.encode(call))
            connection = connected
        except OSError:
            pass
        finally:
            if connection is None:
                # Last: another thread may be just sending the first. What holds the definition is our caller's.
                self.deferred.append(Deferred(spec, call.version, route, threading.get_ident(), None))
                self.under_way.pop(spec.task, None)
            route.bringing.release()
        return connection

    @staticmethod
    def _read(route: Route, connection: socket.socket) -> m.DirectReply:
        while True:
            data = connection.recv(_READ)
            if not data:
                raise ConnectionError("The worker has closed its socket.")
            for frame in route.frames.feed(data):
                return codec.decode_reply(frame)

    def precede(self, message: m.ClientMessage) -> None:
        """Send what `message` must not overtake: the call that is deferred, and those under way that it names."""
        if self.deferred:
            self.release()
        if self.under_way and (named := mentioned(message)):
            with shielded():
                for spec, route in self._all_under_way():
                    if return_id(spec.task, 1) in named:
                        with route.bringing:
                            pass  # It is there now, or deferred again.
                        self._tell(spec, route)
            if self.deferred:
                self.release()

    def tell(self) -> None:
        """Tell the runtime of all calls that are under way: what is said next must not overtake them.

        Not of those that are just being brought: they may as well come later.
        """
        with shielded():
            for spec, route in self._all_under_way():
                if route.bringing.acquire(blocking=False):
                    route.bringing.release()
                    self._tell(spec, route)

    def _all_under_way(self) -> list[tuple[m.TaskSpec, Route]]:
        under_way = self.under_way
        return [found for task in tuple(under_way) if (found := under_way.get(task)) is not None]

    def _tell(self, spec: m.TaskSpec, route: Route) -> None:
        """Tell the runtime that the worker has had a call, unless that was told."""

        def claim() -> object:
            found = self.under_way.pop(spec.task, None)
            if found is not None and spec.actor is not None:
                self._last[spec.actor] = spec.task
            return found

        self._client.send_if(claim, m.Submit(spec, route.worker))

    def _wait_elsewhere(self, spec: m.TaskSpec, route: Route) -> None:
        """The answer takes its time: the runtime hears of the call, and a thread waits for the answer."""
        self.routes.set_aside(route)
        try:
            self._tell(spec, route)
        finally:
            thread = threading.Thread(target=self._forward, args=(route,), name="jupyter_ray answer", daemon=True)
            if not started(thread):
                self._forward(route)

    def _forward(self, route: Route) -> None:
        assert route.connection is not None
        with contextlib.suppress(OSError, codec.ProtocolError, framing.FrameError, RaySystemError):
            reply = self._read(route, route.connection)
            if isinstance(reply, m.Done):
                self._client.send(m.Report(reply), soon=False)
        route.close()

    # --- routes ---

    def offered(self, message: m.Route) -> None:
        """The runtime shows a route."""
        if message.actor is not None:
            with self._order:
                if self._last.get(message.actor) == message.after:  # Else we have called it again meanwhile.
                    self.routes.take(message, message.actor)
        elif self.routes.take(message, route_key(message.env, message.demand)):
            self._client.want("routes")
        else:
            self._client.send(m.Unlease(message.worker))

    def withdrawn(self, message: m.Unroute) -> None:
        """The runtime wants a lease back."""
        self.routes.give_back(lambda route: route.worker == message.worker)

    def tidy(self) -> None:
        """Give leases back that nobody uses: a chore."""
        if self.routes.tidy():
            self._client.want("routes")

    def go_on(self, cell: str | None) -> None:
        """The program makes its next call: from a cell that has made none yet, or with another `sys.path`.

        No lease lasts when a cell begins, since modules may have been changed meanwhile. A change of the path goes by
        way of the runtime to all workers, and so does the next call of each, behind it.
        """
        if cell not in self.cells:
            if len(self.cells) >= _CELLS:
                self.cells = {None}
            self.cells.add(cell)
            self.routes.give_back(lambda route: route.leased)
            self._client.send(m.CellBegan())
        self.search_path = sys.path.copy()
        before, self._located = self._located, located(self.search_path)
        if before != self._located and self._hello.kind != "worker":
            self.routes.give_back(lambda route: True)
            self._client.send(m.SearchPath(before, self._located))

    def close(self) -> None:
        """Close all sockets."""
        self.routes.close()

    def __repr__(self) -> str:
        return f"<Direct: {len(self.routes.usable)} routes>"
