"""One connection to the runtime: a blocking Unix socket that carries frames both ways.

Who owns what. Any thread may send: `_lock` guards the outgoing buffer and the socket's writing side. One thread at a
time reads, decodes and calls `on_message` for each message in order: one that waits for something, or else the reader
thread, a daemon (`turns` says who). The reader thread calls `on_close`, once.

Sending. A message that must go now is written at once, in one system call, together with whatever waits. A message
that may wait a moment (a call without its `get`) is kept if another went in the last `_QUIET` seconds, so that a burst
shares system calls and wakes the runtime once for many. Otherwise it goes at once, unless the last such one was
followed by one that had to go anyway: a program that calls and gets by turns needs one system call for both. What is
kept goes with the next message, at `_FULL` bytes, after `_QUIET` seconds at the next message, or from the tick that
`on_kept` asks for.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from jupyter_ray.interrupts import Sleep
from jupyter_ray.local.protocol import codec, framing
from jupyter_ray.local.protocol.messages import ClientMessage, ServerMessage
from jupyter_ray.local.turns import Turns
from jupyter_ray.local.vigil import Vigil

_log = logging.getLogger("jupyter_ray")

_QUIET = 0.0005
_FULL = 32 * 1024
_LOOK_MILLISECONDS = 100
_READ = 64 * 1024  # Below what malloc maps anew each time.


class Channel:
    """A connection to the runtime.

    Parameters
    ----------
    connection
        A connected blocking socket; the channel closes it.
    on_message
        Called in the thread that reads.
    on_close
        Called once, in the reader thread, when no more messages will come; with the reason.
    on_kept
        Called when a message begins to wait: `flush` must be called soon. Must not block.
    busy
        Tells whether somebody waits for a message without `attend`.
    """

    def __init__(
        self,
        connection: socket.socket,
        on_message: Callable[[ServerMessage], None],
        on_close: Callable[[str], None],
        on_kept: Callable[[], None] = lambda: None,
        busy: Callable[[], bool] = lambda: True,
    ) -> None:
        self._socket = connection
        self._on_message = on_message
        self._on_close = on_close
        self._on_kept = on_kept
        self._lock = threading.RLock()  # A finalizer may send in the midst of a sending.
        self._buffer = bytearray()
        self._writing = False
        self._sent_at = 0.0
        self._alone = False
        """The last message that might have waited went at once, and nothing has gone since."""
        self._followed = False
        """One that had to go at once came right after one that might have waited."""
        self._closed = False
        self._came = framing.FrameReader()
        self._frames: deque[memoryview] = deque()
        self._reason = "the connection was closed"
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self.vigil = Vigil()
        self.on_silence: Callable[[], None] = lambda: None
        """Called again and again while a thread hears nothing: the main one, or one whose wait has an end."""
        self._beside: dict[int, Callable[[], None]] = {}
        """What else is read in turn, by descriptor."""
        self._turns = Turns(self._take_in, busy)
        self.attend = self._turns.attend
        self.attention = self._turns.attention
        self.listening = self._turns.listening
        self._reader = threading.Thread(target=self._read, name="jupyter_ray reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def watch(self, descriptor: int, on_ready: Callable[[], None]) -> None:
        """Have whoever reads call `on_ready` when `descriptor` can be read."""
        self._beside[descriptor] = on_ready
        self._poll.register(descriptor, select.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Undo `watch`; the descriptor must still be open."""
        del self._beside[descriptor]
        self._poll.unregister(descriptor)

    def send_if(self, claim: Callable[[], object], message: ClientMessage) -> None:
        """Send a message unless `claim()` is None: who sends after that, sends after the message."""
        with self._lock:
            if claim() is not None:
                self.send(message, soon=True)

    def send_later(self, message: ClientMessage, claim: Callable[[], object] | None = None) -> bool | None:
        """Keep a message until the next one goes, or a flush; return whether it is the first one that waits.

        With `claim`, as `send_if`, and None if it was not sent.

        Raises
        ------
        ConnectionError
            The connection is closed.
        """
        with self._lock:
            if self._closed:
                raise ConnectionError("The connection to the runtime is closed.")
            if claim is not None and claim() is None:
                return None
            first = not self._buffer
            codec.append(message, self._buffer)
            if len(self._buffer) >= _FULL:
                self._write()
            return first

    def send(self, message: ClientMessage, *, soon: bool = False) -> None:
        """Send a message.

        Parameters
        ----------
        message
            What to send.
        soon
            It may wait up to a millisecond, to go together with others.

        Raises
        ------
        ConnectionError
            The connection is closed.
        """
        frame = codec.encode(message)
        with self._lock:
            if self._closed:
                raise ConnectionError("The connection to the runtime is closed.")
            buffer = self._buffer
            if soon:
                now = monotonic()
                recent = now - self._sent_at < _QUIET
                if (recent or (self._followed and not buffer)) and len(buffer) + len(frame) < _FULL:
                    if not buffer:
                        self._on_kept()  # First: an interrupt in between would leave it here till the next message.
                    buffer += frame
                else:
                    buffer += frame
                    self._alone = not recent
                    self._sent_at = now
                    self._write()
            else:
                now = monotonic()
                self._followed = bool(buffer) or (self._alone and now - self._sent_at < _QUIET)
                self._alone = False
                buffer += frame
                self._sent_at = now
                self._write()

    def flush(self) -> None:
        """Send what waits."""
        with self._lock:
            if self._buffer and not self._closed:
                self._followed = False
                self._sent_at = monotonic()
                self._write()

    def _write(self) -> None:
        """Send the buffer whole; called with the lock held.

        An interrupt of the main thread may come at any moment. The counts of what went are collected by C code alone
        (`extend` of a `map`), so that none is lost between the system call and its use; the rest stays in the buffer,
        whole frames and the end of a begun one.
        """
        if self._writing:  # From a finalizer that ran in the midst of the writing below, which goes on.
            return
        self._writing = True
        sent: list[int] = []
        buffer = self._buffer
        try:
            while buffer:
                self._buffer = bytearray()
                sent.extend(map(self._socket.send, (buffer,)))
                rest = len(buffer) - sent[0]
                while rest:
                    with memoryview(buffer) as view:
                        sent.extend(map(self._socket.send, (view[len(buffer) - rest :],)))
                    rest = len(buffer) - sum(sent)
                buffer = self._buffer
                sent.clear()
        except OSError as error:
            self._closed = True  # The reader sees the end, and reports it.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            raise ConnectionError(f"The connection to the runtime broke: {error}") from error
        except BaseException:
            if buffer is not self._buffer:
                self._buffer = buffer[sum(sent) :] + self._buffer
            self._on_kept()
            raise
        finally:
            self._writing = False

    def _take_in(self, sleep: Sleep | None) -> bool:
        """Read once and handle what came; False at the end. A message may make its handler read in turn (`Turns`)."""
        frames = self._frames
        if not frames:
            if (sleep is not None or self._beside) and not self._await_message(sleep):
                return True
            if not self._receive():
                return False
        while frames:
            try:
                message = codec.decode_server(frames.popleft())
                self._on_message(message)
            except codec.ProtocolError as error:
                self._reason = str(error)
                return False
            except Exception as error:  # Whoever waits for what this message brings must not wait for ever.
                _log.exception("A message of the runtime could not be handled.")
                self._reason = f"a {type(message).__name__} could not be handled: {error!r}"
                return False
        return True

    def _await_message(self, sleep: Sleep | None) -> bool:
        """Sleep until there is something to read, or a while; handle what came beside.

        Return whether the runtime said something, or has ended the connection.
        """
        ready: list[tuple[int, int]] = []
        if sleep is not None:
            # A signal that comes right before the system call does not end it: Python sees it when that returns.
            sleep(lambda: ready.extend(self.vigil.poll(self._poll, _LOOK_MILLISECONDS)))
            if not ready:
                self.on_silence()
        else:
            ready = self.vigil.poll(self._poll)
        came = False
        for descriptor, _ in ready:
            on_ready = self._beside.get(descriptor)
            if on_ready is None:
                came = True
                continue
            try:
                on_ready()
            except Exception as error:  # It may have found the connection broken; nobody must wait for ever.
                self._reason = f"what came beside could not be handled: {error!r}"
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                came = True
        return came

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(_READ)
            self._frames.extend(self._came.feed(data))
        except OSError as error:
            self._reason = f"the connection broke: {error}"
            return False
        except framing.FrameError as error:
            self._reason = str(error)
            return False
        return bool(data)

    def _read(self) -> None:
        self._turns.serve()
        with self._lock:
            self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._on_close(self._reason)

    def close(self) -> None:
        """Close the connection; `on_close` follows in the reader thread."""
        with self._lock:
            if not self._closed:
                with contextlib.suppress(OSError, ConnectionError):
                    if self._buffer:
                        self._write()
            self._closed = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Free the socket without shutting the connection down: for a forked child, whose parent uses it on."""
        self._closed = True
        self._socket.close()

    def hear_out(self, timeout: float) -> None:
        """Wait until the peer has closed the connection, for `timeout` seconds at most."""
        if self._reader.is_alive() and self._reader is not threading.current_thread():
            self._reader.join(timeout)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the reader thread to end, and free the socket."""
        if self._reader.is_alive() and self._reader is not threading.current_thread():
            self._reader.join(timeout)
        self._socket.close()

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closed

    def __repr__(self) -> str:
        return f"<Channel: {'closed' if self._closed else 'open'}, {len(self._buffer)} bytes wait>"


def peer_uid(peer: socket.socket) -> int | None:
    """Return the user at the other end of a Unix socket, or None if the system does not tell."""
    if sys.platform == "darwin":
        credentials = peer.getsockopt(0, 1, struct.calcsize("2I"))  # SOL_LOCAL, LOCAL_PEERCRED: version and uid.
        return int(struct.unpack("2I", credentials)[1])
    return _credentials(peer)[1]


def peer_pid(peer: socket.socket) -> int | None:
    """Return the process that has made the connection, or None if the system does not tell."""
    if sys.platform == "darwin":
        return int(struct.unpack("i", peer.getsockopt(0, 2, struct.calcsize("i")))[0])  # SOL_LOCAL, LOCAL_PEERPID
    return _credentials(peer)[0]


def _credentials(peer: socket.socket) -> tuple[int | None, int | None]:
    """Return process and user at the other end, where the system tells both together."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None, None
    pid, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return pid, uid
