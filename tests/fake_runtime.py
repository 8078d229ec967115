"""A runtime that does what a test says: one end of a socket pair that speaks the protocol.

`FakeRuntime` reads what its client sends in a thread of its own; a test waits for a message with `expect`, and answers
with `say`.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from jupyter_ray.local.protocol import codec, framing
from jupyter_ray.local.protocol import messages as m

M = TypeVar("M")
PATIENCE = 20.0


class FakeRuntime:
    """The runtime's end of one connection.

    Without a socket that a client has connected to, it makes a pair: `connection` is the client's end.
    """

    def __init__(self, accepted: socket.socket | None = None) -> None:
        if accepted is None:
            self.connection, self._own = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            self._own = accepted
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.reactions: dict[type, Callable[[Any], None]] = {}
        """What is done at once with a message of a type, in the reading thread; those are not queued."""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        reader = framing.FrameReader()
        try:
            while data := self._own.recv(65536):
                for frame in reader.feed(data):
                    message = codec.decode_client(frame)
                    reaction = self.reactions.get(type(message))
                    if reaction is not None:
                        reaction(message)
                    else:
                        self.messages.put(message)
        except OSError:
            pass
        self.messages.put(None)

    def expect(self, kind: type[M]) -> M:
        """Return the next message of that type; drops are skipped unless asked for."""
        while True:
            message = self.messages.get(timeout=PATIENCE)
            assert message is not None, f"the client left while {kind.__name__} was expected"
            if isinstance(message, kind):
                return message
            assert isinstance(message, m.Drop | m.Hello | m.Interrupted | m.Loaded | m.Log | m.Seen), (
                f"{message!r} came, {kind.__name__} was expected"
            )

    def expect_drop(self) -> list[tuple[bytes, int]]:
        """Return what the next drop says."""
        return self.expect(m.Drop).counts

    def say(self, *messages: m.ServerMessage) -> None:
        """Send messages in one piece."""
        out = bytearray()
        for message in messages:
            codec.append(message, out)
        self._own.sendall(out)

    def send_raw(self, data: bytes) -> None:
        """Send bytes that may be no message."""
        self._own.sendall(data)

    def close(self) -> None:
        """Die."""
        with contextlib.suppress(OSError):
            self._own.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._own.close()


def value_of(data: Any) -> m.Payload:
    """Return a payload that unpickles as `data`."""
    import pickle

    stream = pickle.dumps(data, 5)
    return m.Payload(data=stream, size=len(stream))
