"""What a wrong or hostile peer can do to the runtime: nothing but lose its own connection."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from typing import Literal

import msgspec
import pytest

import jupyter_ray as ray
from jupyter_ray import config
from jupyter_ray.engine import registry
from jupyter_ray.local.protocol import codec
from jupyter_ray.local.protocol import messages as m

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
    peer.settimeout(20)
    peer.connect(address)
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
                sent += 1
                peer.sendall(random_frame(dice))
        sent += 1


def random_frame(dice: random.Random) -> bytes:
    """Return a frame of noise, or a valid message with bytes changed, cut off or added."""
    if dice.random() < 0.3:
        body = dice.randbytes(dice.randrange(200))
    else:
        messages: list[m.Message] = [
            m.Get(dice.randrange(100), [dice.randbytes(28)], None, dice.randbytes(24), [dice.randbytes(24)]),
            m.Wait(1, [dice.randbytes(28)], dice.randrange(-5, 5), -1.0),
            m.Put(dice.randbytes(28), m.Payload(data=b"N.", contained=[dice.randbytes(16)])),
            m.Drop([(dice.randbytes(28), dice.randrange(-3, 3))]),
            m.Done(dice.randbytes(24), []),
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
