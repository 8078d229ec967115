"""Routes: workers that take calls at their own sockets, and how a call is written there.

Owner: `Route.busy` is held by the thread that uses the route, `Route.bringing` while its call is on the way there.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Hashable
from pathlib import Path

from jupyter_ray.local.protocol import codec, framing
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.vigil import Vigil

PATIENCE_SECONDS = 0.01
"""How long a call is waited for before the runtime hears of it: less than a screen needs, more than a wake-up takes."""


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
