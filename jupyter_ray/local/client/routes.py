"""Routes: workers that take calls at their own sockets, which of them may be used, and how a call is written there.

Owner: `Route.busy` is held by the thread that uses the route, `Route.bringing` while its call is on the way there.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Hashable
from pathlib import Path

from jupyter_ray.local.protocol import codec, framing
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.vigil import Vigil

PATIENCE_SECONDS = 0.01
"""How long a call is waited for before the runtime hears of it: less than a screen needs, more than a wake-up takes."""


IDLE_TICKS = 3
"""A lease that has not been used for so many looks is given back."""

_ROUTES = 64
"""Sockets that are kept open."""


class Route:
    """A worker that takes calls at its socket."""

    __slots__ = (
        "bringing",
        "busy",
        "connection",
        "frames",
        "key",
        "newest",
        "poll",
        "used",
        "versions",
        "vigil",
        "withdrawn",
        "worker",
    )

    def __init__(self, worker: bytes, key: Hashable) -> None:
        self.worker = worker
        self.key = key
        self.busy = threading.Lock()
        self.bringing = threading.RLock()  # A finalizer may name the call in the midst of that.
        self.connection: socket.socket | None = None
        self.frames = framing.FrameReader()
        self.poll = select.poll()
        self.vigil = Vigil()
        self.used = 0
        """Looks since the last use."""
        self.withdrawn = False
        self.versions: dict[str, int] = {}
        """Of the definitions that were used there."""
        self.newest: dict[str, int] = {}
        """Versions of definitions that others have shipped; the lease is withdrawn when one changes."""

    @property
    def leased(self) -> bool:
        """Whether it leads to a pooled worker, which nobody else uses meanwhile."""
        return not isinstance(self.key, bytes)

    def connect(self, folder: Path, hello: m.Hello) -> socket.socket:
        """Connect and say who we are; OSError if the worker is not there."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(door_of(folder, self.worker)))
            connection.sendall(codec.encode(hello))
        except OSError:
            connection.close()
            raise
        self.poll.register(connection, select.POLLIN)
        self.connection = connection
        return connection

    def close(self) -> None:
        """Close the socket."""
        if self.connection is not None:
            self.connection.close()

    def __repr__(self) -> str:
        return f"<Route to {self.worker.hex()[-8:]}: {'busy' if self.busy.locked() else 'free'}>"


class Routes:
    """The routes of one process.

    Parameters
    ----------
    unlease
        Gives a leased worker back to the runtime.
    """

    def __init__(self, unlease: Callable[[bytes], None]) -> None:
        self.usable: dict[Hashable, Route] = {}
        """Those that may be used now."""
        self._kept: dict[bytes, Route] = {}
        """All whose sockets are kept, by worker."""
        self._unlease = unlease
        self._closed = False

    def take(self, message: m.Route, key: Hashable) -> bool:
        """Take a route for use; return whether there is one, and it is this one."""
        route = self._kept.get(message.worker)
        if route is not None and self.usable.get(key) is route and not self._closed:
            route.newest[message.definition] = message.version
            return True
        if route is None and self._has_room():
            route = self._kept[message.worker] = Route(message.worker, key)
        if self._closed or route is None or key in self.usable:
            return False
        route.key = key
        route.newest = {message.definition: message.version}
        self.usable[key] = route
        return True

    def _has_room(self) -> bool:
        """Close a socket that is of no use now, if there are too many."""
        if len(self._kept) < _ROUTES:
            return True
        for route in list(self._kept.values()):
            if self.usable.get(route.key) is not route and route.busy.acquire(blocking=False):
                self.drop(route)
                return True
        return False

    def give_back(self, which: Callable[[Route], bool]) -> None:
        """Give leases back, each at once or after the call that uses it."""
        for route in list(self.usable.values()):
            if which(route):
                route.withdrawn = True
                if route.busy.acquire(blocking=False):
                    self.free(route)

    def tidy(self) -> bool:
        """Give leases back that nobody uses; return whether there were any leases."""
        leased = [route for route in list(self.usable.values()) if route.leased]
        for route in leased:
            route.used += 1
            if route.used > IDLE_TICKS and route.busy.acquire(blocking=False):
                route.withdrawn = True
                self.free(route)
        return bool(leased)

    def free(self, route: Route) -> None:
        """Let go of a route; give it back if the runtime wants it, and that was not done before we had it."""
        if route.withdrawn and self.usable.get(route.key) is route:
            self.drop(route)
            self._unlease(route.worker)
        route.busy.release()
        if route.withdrawn and self.usable.get(route.key) is route and route.busy.acquire(blocking=False):
            self.free(route)  # It was withdrawn just now.

    def set_aside(self, route: Route) -> None:
        """Nobody is to use a route any more; its socket is still read."""
        self._kept.pop(route.worker, None)
        self.usable.pop(route.key, None)

    def drop(self, route: Route) -> None:
        """Close a route."""
        self._kept.pop(route.worker, None)
        if self.usable.get(route.key) is route:
            del self.usable[route.key]
        route.close()

    def lose(self, key: Hashable) -> None:
        """Nobody here can call there any more; who does so now may end."""
        self.usable.pop(key, None)
        for route in list(self._kept.values()):
            if route.key == key and route.busy.acquire(blocking=False):
                self.drop(route)

    def close(self) -> None:
        """Close all sockets."""
        self._closed = True
        for route in list(self._kept.values()):
            route.close()
        self._kept.clear()
        self.usable.clear()

    def __repr__(self) -> str:
        return f"<Routes: {len(self.usable)} usable, {len(self._kept)} kept>"


def door_of(folder: Path, worker: bytes) -> Path:
    """Return the socket at which a worker takes calls."""
    return folder / f"w-{worker[-8:].hex()}"  # Workers' ids differ there, and a socket's path must be short.


def send_whole(connection: socket.socket, frame: bytes) -> None:
    """Send a call, or raise OSError: who is stopped, or in C code that keeps the interpreter, reads no large one.

    What went of it is no call: the connection must be closed then.
    """
    sent = 0
    with contextlib.suppress(BlockingIOError):
        sent = connection.send(frame, socket.MSG_DONTWAIT)
    if sent == len(frame):
        return
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    while sent < len(frame):
        if not poll.poll(PATIENCE_SECONDS * 1000):
            raise TimeoutError("The worker does not read.")
        with contextlib.suppress(BlockingIOError):
            sent += connection.send(memoryview(frame)[sent:], socket.MSG_DONTWAIT)


def route_key(env: str, demand: dict[str, int]) -> Hashable:
    """Return what tasks have in common that may use the same lease."""
    return (env, *sorted(demand.items()))
