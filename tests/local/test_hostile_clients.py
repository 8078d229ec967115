"""What a wrong or hostile peer can do to the runtime: nothing but lose its own connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import msgspec
import pytest

import jupyter_ray as ray
from jupyter_ray import config, exceptions
from jupyter_ray.engine import registry
from jupyter_ray.local.protocol import codec
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.server.connection import Connection
from jupyter_ray.local.worker.door import Door

FRAMES = 10_000


@pytest.fixture
def address() -> Iterator[str]:
    ray.init(num_cpus=1)
    engine = registry.current()
    assert engine is not None
    try:
        yield str(config.session_folder(engine.process.session) / "runtime.sock")
        assert ray.get(ray.remote(len).remote("seven"), timeout=60) == 5, "the session goes on"
    finally:
        ray.shutdown()


def connect(address: str) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(address)  # Waits where too many wait already.
    peer.settimeout(20)
    return peer


def is_closed(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"\xff" * 64, id="a length beyond the limit"),
        pytest.param(struct.pack("<I", 5) + b"hello", id="no message"),
        pytest.param(struct.pack("<I", 0), id="an empty frame"),
        pytest.param(bytes(codec.encode(m.Drop([]))), id="no greeting"),
        pytest.param(struct.pack("<I", 2) + msgspec.msgpack.encode([99]), id="an unknown message"),
    ],
)
def test_nonsense_ends_its_own_connection(address: str, said: bytes) -> None:
    with connect(address) as peer:
        peer.sendall(said)
        assert is_closed(peer)


@pytest.mark.parametrize("kind", ["driver", "worker"])
def test_a_stranger_is_sent_away(address: str, kind: Literal["driver", "worker"]) -> None:
    with connect(address) as peer:
        peer.sendall(bytes(codec.encode(m.Hello(kind, b"x" * 16, 1))))
        assert is_closed(peer)


def test_a_truncated_frame_leaves_nothing_behind(address: str) -> None:
    with connect(address) as peer:
        peer.sendall(bytes(codec.encode(m.Hello("worker", b"x" * 16, 1)))[:-3])


def test_ten_thousand_random_frames(address: str) -> None:
    dice = random.Random(20261122)
    hello = bytes(codec.encode(m.Hello("worker", b"\0" * 16, 1)))
    sent = 0
    while sent < FRAMES:
        with connect(address) as peer, contextlib.suppress(ConnectionError):
            if dice.random() < 0.5:
                peer.sendall(hello)
            while sent < FRAMES and dice.random() > 0.02:
                peer.sendall(random_frame(dice))  # Fails where an earlier one has ended the connection.
                sent += 1


@ray.remote(max_retries=0)
def babble(seed: int, count: int) -> int:
    """Say nonsense on the connection of a worker, which the runtime listens to."""
    dice = random.Random(seed)
    engine = registry.current()
    assert engine is not None
    connection = engine.client._channel._socket  # type: ignore[attr-defined]
    mine = ray.get_runtime_context().get_task_id()
    for _ in range(count):
        connection.sendall(random_frame(dice, bytes.fromhex(mine or "")))
    return count


def test_a_worker_that_talks_nonsense_ends_alone(address: str) -> None:
    sent = ended = 0
    for seed in range(15):
        try:
            sent += ray.get(babble.remote(seed, 50), timeout=60)
        except (exceptions.WorkerCrashedError, exceptions.TaskCancelledError):
            ended += 1
    assert ended, "each seed has frames that are no messages"
    assert ray.get([ray.remote(abs).remote(-each) for each in range(20)], timeout=60) == list(range(20))


def test_nonsense_at_the_door_of_a_worker(address: str) -> None:
    """Workers take calls of their callers at sockets of their own."""

    class Counter:
        def __init__(self) -> None:
            self.value = 0

        def inc(self) -> int:
            self.value += 1
            return self.value

    counter: Any = ray.remote(Counter).remote()
    assert ray.get(counter.inc.remote()) == 1
    doors = list(Path(address).parent.glob("w-*"))
    assert doors
    dice = random.Random(20261125)
    hello = bytes(codec.encode(m.Hello("worker", b"\0" * 16, 1)))
    for _ in range(200):
        for door in doors:
            with connect(str(door)) as peer, contextlib.suppress(ConnectionError):
                if dice.random() < 0.7:
                    peer.sendall(hello)
                for _ in range(5):
                    peer.sendall(random_frame(dice))
    for said in (b"\xff" * 64, struct.pack("<I", 5) + b"hello"):
        with connect(str(doors[0])) as peer:
            peer.sendall(said)
            assert is_closed(peer)
    assert ray.get([counter.inc.remote() for _ in range(5)], timeout=60) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("said", [b"", b"\x04", bytes(64)], ids=["nothing", "a number", "nonsense"])
def test_nonsense_at_the_template_ends_no_worker(address: str, said: bytes) -> None:
    """What starts workers has a socket too, and they end with it."""

    class Actor:
        def pid(self) -> int:
            return os.getpid()

    actor: Any = ray.remote(Actor).remote()
    pid = ray.get(actor.pid.remote())
    door = Path(address).with_name("template.sock")
    if sys.version_info >= (3, 14):  # multiprocess starts it, and its peers prove who they are.
        assert not door.exists()
        return
    with contextlib.ExitStack() as mutes:
        if sys.platform == "linux":  # It tells who is there: one that says nothing holds up nobody.
            mutes.enter_context(connect(str(door)))
        with connect(str(door)) as peer, contextlib.suppress(ConnectionError):
            peer.sendall(said)
            if said:
                assert is_closed(peer)
        others: list[Any] = [ray.remote(Actor).remote() for _ in range(4)]  # More than the processes that are there.
        assert len({pid, *ray.get([other.pid.remote() for other in others], timeout=60)}) == 5
    others += [ray.remote(Actor).remote() for _ in range(4)]
    assert len({pid, *ray.get([other.pid.remote() for other in others], timeout=60)}) == 9
    assert ray.get(actor.pid.remote(), timeout=60) == pid


def test_a_peer_that_belongs_to_somebody_else_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[Connection] = []

    class Silent:
        """A server that only notes whom it met."""

        def met(self, connection: Connection) -> None:
            met.append(connection)

        def left(self, connection: Connection) -> None: ...

        def flush(self) -> None: ...

    async def connect_to_ours() -> bytes:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: Connection(Silent()), sock=ours)  # type: ignore[arg-type]
        try:
            if met:
                return b"met"
            return await loop.sock_recv(theirs, 1)
        finally:
            transport.abort()
            theirs.close()

    assert asyncio.run(connect_to_ours()) == b"met"
    met.clear()
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    assert asyncio.run(connect_to_ours()) == b"", "closed"
    assert not met


def test_a_caller_that_belongs_to_somebody_else_is_not_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched: dict[int, Callable[[], None]] = {}
    client: Any = SimpleNamespace(watch=watched.__setitem__, unwatch=watched.pop, expect=lambda: None)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        door = Door(Path(folder, "door.sock"), b"w" * 16, client, lambda execute: None)
        door.open()
        [accept] = watched.values()
        with connect(f"{folder}/door.sock") as ours:
            accept()
            assert len(watched) == 2, "its messages are waited for"
            user = os.getuid()
            monkeypatch.setattr(os, "getuid", lambda: user + 1)
            with connect(f"{folder}/door.sock") as theirs:
                accept()
                assert is_closed(theirs)
            assert len(watched) == 2
            ours.close()
        for read in list(watched.values())[1:]:
            read()
        door._listener.close()
        door.close()


def random_frame(dice: random.Random, task: bytes = b"") -> bytes:
    """Return a frame of noise, or a valid message with bytes changed, cut off or added."""
    if dice.random() < 0.3:
        body = dice.randbytes(dice.randrange(200))
    else:
        messages: list[m.Message] = [
            m.Get(dice.randrange(100), [dice.randbytes(28)], None, dice.randbytes(24), [dice.randbytes(24)]),
            m.Wait(1, [dice.randbytes(28)], dice.randrange(-5, 5), -1.0),
            m.Put(dice.randbytes(28), m.Payload(data=b"N.", contained=(dice.randbytes(16),))),
            m.Drop([(dice.randbytes(28), dice.randrange(-3, 3))]),
            m.Done(task or dice.randbytes(24), (), failed=dice.random() < 0.5),
            m.Item(task or dice.randbytes(24), dice.randrange(-2, 5), m.Payload(data=b"N.", size=2)),
            m.AwaitSpace(dice.randrange(100), dice.randrange(-(2**40), 2**40), dice.randbytes(5).hex()),
            m.Claimed("a/../b", dice.randbytes(5).hex(), dice.randrange(-5, 2**30)),
            m.Unwritten("../" + dice.randbytes(5).hex()),
            m.Lost([dice.randbytes(5).hex(), "/"], "?", task or None),
            m.Returned([task, dice.randbytes(24)]),
            m.Bind(1, {"CPU": -1}, {}, "", [], "/", {}),
            m.Log("stdout", "nonsense\n", "babble", task or None),
            m.Shutdown(),
            m.Cancel(dice.randbytes(28), True, True),
            m.Kill(dice.randbytes(16), True),
            m.Query(1, dice.choice(["task", "why", "resources", "nothing"]), {}),
            m.Consumed(dice.randbytes(24), -1),
        ]
        body = bytes(codec.encode(dice.choice(messages)))[4:]
        if dice.random() < 0.6:
            changed = bytearray(body)
            changed[dice.randrange(len(changed))] = dice.randrange(256)
            body = bytes(changed[: dice.randrange(1, len(changed) + 1)])
    return struct.pack("<I", len(body)) + body
