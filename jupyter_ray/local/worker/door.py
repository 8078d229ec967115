"""The worker's own socket, at which callers bring calls without the runtime.

Whoever reads the runtime's connection reads these too (`Channel.watch`), or an async actor's event loop does; what
comes is queued with what the runtime sends. A quick call is answered here, and its caller tells the runtime. The
runtime hears of a call from us, and before anything else that it might be named in, when the task speaks to it while
it runs, or when its end is more than a small value: then it also hears the end from us, and the caller is told to ask
there.

Owner: peers belong to the thread that reads; `_lock` guards the calls and the telling. Under it nothing else is sent
(`send_bare`): who sends a call that is deferred may be just waiting for this lock.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from jupyter_ray.local.client.client import Client
from jupyter_ray.local.protocol import codec, framing
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.transport import peer_uid

_READ = 64 * 1024
_SMALL = 64 * 1024
"""Bytes of a value that is answered here."""


class _Peer:
    """One caller's connection."""

    __slots__ = ("caller", "connection", "frames", "unwatch")

    def __init__(self, connection: socket.socket, unwatch: Callable[[int], object]) -> None:
        self.connection = connection
        self.unwatch = unwatch
        """Undoes what has it watched: it was there when somebody else took over the watch, perhaps."""
        self.frames = framing.FrameReader()
        self.caller: bytes | None = None


class _Call:
    """A call that was brought here and has not ended."""

    __slots__ = ("peer", "spec", "told", "version")

    def __init__(self, peer: _Peer, spec: m.TaskSpec, version: int) -> None:
        self.peer = peer
        self.spec = spec
        self.version = version
        self.told = False


class Door:
    """Takes calls from callers, and answers them.

    Parameters
    ----------
    path
        Where the socket is to be, in a folder that only this user can enter.
    worker
        Our id.
    client
        The connection to the runtime.
    put
        Queues a call.
    """

    def __init__(self, path: Path, worker: bytes, client: Client, put: Callable[[m.Execute], None]) -> None:
        self._path = path
        self._worker = worker
        self._client = client
        self._put = put
        self._calls: dict[bytes, _Call] = {}
        self._peers: set[_Peer] = set()
        self._lock = threading.RLock()
        self._telling = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._watch: Callable[[int, Callable[[], None]], object] = client.watch
        self._unwatch: Callable[[int], object] = client.unwatch
        self._expect: Callable[[], object] = client.expect

    def open(self) -> None:
        """Listen."""
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        self._listener.setblocking(False)
        self._watch(self._listener.fileno(), self._accept)

    def move(
        self,
        watch: Callable[[int, Callable[[], None]], object],
        unwatch: Callable[[int], object],
        expect: Callable[[], object],
    ) -> None:
        """Have somebody else watch the socket from now on, before anybody has come."""
        self._unwatch(self._listener.fileno())
        self._watch, self._unwatch, self._expect = watch, unwatch, expect
        self._watch(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Remove the socket: the process is about to end, and with it all connections."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    # --- the thread that reads ---

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # It has gone away again.
            return
        if peer_uid(connection) not in (None, os.getuid()):
            connection.close()
            return
        peer = _Peer(connection, self._unwatch)
        self._peers.add(peer)
        self._watch(connection.fileno(), lambda: self._read(peer))

    def shut(self) -> None:
        """Take no more calls: tell the runtime of those that have come, and that nobody else is on the way to us.

        Who calls all the same finds that out as it sends, before we could have begun. No connection is closed: answers
        may be on their way.
        """
        self._unwatch(self._listener.fileno())
        self._listener.close()
        self.close()
        for peer in self._peers:
            with contextlib.suppress(OSError, framing.FrameError, codec.ProtocolError):
                peer.connection.shutdown(socket.SHUT_RD)
                while data := peer.connection.recv(_READ):
                    for frame in peer.frames.feed(data):
                        self._take(peer, codec.decode_direct(frame))
            peer.unwatch(peer.connection.fileno())
        self._tell()
        self._client.send(m.Unlease(self._worker), soon=False)

    def _read(self, peer: _Peer) -> None:
        try:
            data = peer.connection.recv(_READ)
            for frame in peer.frames.feed(data):
                self._take(peer, codec.decode_direct(frame))
        except (OSError, framing.FrameError, codec.ProtocolError) as error:
            print(f"jupyter_ray: a direct connection is closed: {error}", file=sys.__stderr__, flush=True)
            data = b""
        if not data:
            peer.unwatch(peer.connection.fileno())
            self._peers.discard(peer)
            peer.connection.close()

    def _take(self, peer: _Peer, message: m.DirectMessage) -> None:
        if isinstance(message, m.Hello):
            peer.caller = message.client
            return
        if peer.caller is None:
            raise codec.ProtocolError("The first message was a Call, not Hello.")
        spec = message.spec
        if len(message.values) != len(spec.dependencies):
            raise codec.ProtocolError(f"{len(message.values)} values for {len(spec.dependencies)} arguments.")
        with self._lock:  # Else who is just telling of another call may find that there is nothing more to tell.
            self._calls[spec.task] = _Call(peer, spec, message.version)
            self._client.before_message = self._tell
        self._put(
            m.Execute(
                task=spec.task,
                kind=spec.kind,
                name=spec.name,
                body=spec.body,
                definition=spec.definition,
                values=message.values,
                num_returns=spec.num_returns,
                held=spec.demand,
                parent=spec.parent,
                cell=spec.cell,
                actor=spec.actor,
                concurrency_group=spec.concurrency_group,
                retries_left=spec.max_retries != 0,
                dependencies=spec.dependencies,
            )
        )

    # --- any thread ---

    def __contains__(self, task: bytes) -> bool:
        """Tell whether a task was brought here, and has not been answered."""
        return task in self._calls

    def version(self, task: bytes) -> int:
        """Return the version of its definition that a task wants; 0 if any will do."""
        call = self._calls.get(task)
        return 0 if call is None else call.version

    def _tell(self) -> None:
        """Tell the runtime of all calls that it does not know: something is about to be sent to it."""
        with self._lock:
            if self._telling:  # By our own message.
                return
            self._telling = True
            try:
                for call in list(self._calls.values()):
                    self._tell_of(call)
            finally:
                self._telling = False
                self._client.before_message = None

    def _tell_of(self, call: _Call) -> None:
        if not call.told:
            call.told = True
            assert call.peer.caller is not None
            self._client.send_bare(m.Submit(call.spec, self._worker, call.peer.caller))

    def give_back(self, task: bytes) -> None:
        """The runtime has heard that a call cannot begin here: its caller is to ask there."""
        with self._lock:
            call = self._calls.pop(task, None)
        if call is not None:
            _reply(call, m.Elsewhere(task))

    def answer(self, done: m.Done) -> None:
        """Answer a call that is over."""
        call = self._calls[done.task]
        reply: m.Done | m.Elsewhere = done
        is_small = _is_small(done)
        if call.told or not is_small:
            self._client.direct.precede(done)
        with self._lock:
            if call.told or not is_small:
                self._tell()
                self._client.send_bare(done, soon=False)
                reply = m.Elsewhere(done.task)
            del self._calls[done.task]
            if not self._calls:
                self._client.before_message = None
        _reply(call, reply)
        self._expect()

    def __repr__(self) -> str:
        return f"<Door {self._path.name}: {len(self._calls)} calls>"


def _reply(call: _Call, reply: m.DirectReply) -> None:
    with contextlib.suppress(OSError):  # Nobody waits any more.
        call.peer.connection.sendall(codec.encode(reply))


def _is_small(done: m.Done) -> bool:
    """Whether the end of a call is a value and nothing else."""
    if done.failed or done.exiting or done.cancelled or len(done.returns) != 1:
        return False
    payload = done.returns[0]
    return not payload.segment and not payload.contained and payload.size <= _SMALL and not payload.is_error
