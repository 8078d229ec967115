"""One client's socket: bytes to messages, and what is to be sent collected until it is written once."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Protocol, cast

from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.protocol.codec import ProtocolError, decode_client
from jupyter_ray.local.protocol.framing import FrameError, FrameReader
from jupyter_ray.local.transport import peer_uid

AT_ONCE = 16
"""After so many messages of a burst, what follows from them is sent: others work on it while the rest is read."""


class Host(Protocol):
    """What a connection tells the server."""

    def met(self, connection: Connection) -> None:
        """A process of this user connected."""

    def joined(self, connection: Connection, hello: m.Hello) -> None:
        """It said who it is."""

    def said(self, connection: Connection, messages: list[m.ClientMessage]) -> None:
        """It said something else: messages of one kind."""

    def left(self, connection: Connection) -> None:
        """It is gone."""

    def flush(self) -> None:
        """A batch of messages is done with."""


class Connection(asyncio.Protocol):
    """One client's socket. A wrong frame or message ends this connection and nothing else."""

    def __init__(self, server: Host) -> None:
        self._server = server
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self.client: bytes | None = None
        self.job = ""
        """Of a driver that joined, and of its workers (hex)."""
        self.news = bytearray()
        """Events: they go before `out`, since what a task printed must not arrive after its result."""
        self.out = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check who is there: only processes of this user are."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance.
        peer = transport.get_extra_info("socket")
        if peer is not None and peer_uid(peer) not in (None, os.getuid()):
            self._transport.abort()
        else:
            self._server.met(self)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        server = self._server
        try:
            for messages in self._messages(data):
                if self.client is None:
                    hello = messages[0]
                    if not isinstance(hello, m.Hello):
                        raise ProtocolError(f"The first message was {type(hello).__name__}, not Hello.")
                    server.joined(self, hello)
                    continue
                server.said(self, messages)
                if len(messages) == AT_ONCE:
                    server.flush()
        except (FrameError, ProtocolError) as error:
            print(f"jupyter_ray: a connection is closed: {error}", file=sys.stderr, flush=True)
            self.close()
        except Exception:  # Well-formed nonsense is the peer's fault too, and nobody else's.
            print("jupyter_ray: a connection is closed, since a message of it failed:", file=sys.stderr)
            traceback.print_exc()
            sys.stderr.flush()
            self.close()
        server.flush()

    def _messages(self, data: bytes) -> Iterator[list[m.ClientMessage]]:
        """Yield what came: messages in a row that are of one kind, a few at a time. Nonsense raises in its turn."""
        alike: list[m.ClientMessage] = []
        try:
            for frame in self._reader.feed(data):
                message = decode_client(frame)
                if alike and (type(message) is not type(alike[0]) or len(alike) == AT_ONCE):
                    yield alike
                    alike = []
                alike.append(message)
        except (FrameError, ProtocolError):
            if alike:
                yield alike
            raise
        if alike:
            yield alike

    def connection_lost(self, error: Exception | None) -> None:
        """The peer is gone."""
        self._server.left(self)
        self._server.flush()

    def backlog(self) -> int:
        """Return the bytes that wait to be sent."""
        waiting = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return len(self.news) + len(self.out) + waiting

    def write(self) -> None:
        """Send what was collected."""
        out = self.news + self.out if self.news else self.out
        self.news, self.out = bytearray(), bytearray()
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(out)

    def pause(self) -> None:
        """Read no more for now."""
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    def __repr__(self) -> str:
        return f"<Connection: {self.client.hex() if self.client else 'unknown'}>"
