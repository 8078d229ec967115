"""A worker's own socket: what other threads tell the runtime while calls come and end there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jupyter_ray.local.client.client import Client
from jupyter_ray.local.client.direct import Deferred
from jupyter_ray.local.client.routes import Route
from jupyter_ray.local.protocol import codec, framing
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.store.segments import SegmentStore
from jupyter_ray.local.worker.door import Door, _Peer
from tests.contract.helpers import eventually
from tests.fake_runtime import FakeRuntime

WORKER, CALLER = b"w" * 16, b"c" * 16
LARGE = m.Payload(b"x" * 70_000, size=70_000)


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


class House:
    """A door, and the caller at it."""

    def __init__(self, folder: Path) -> None:
        self.runtime = FakeRuntime()
        self.client = Client(self.runtime.connection, SegmentStore(folder, WORKER))
        self.client.start(m.Hello("worker", WORKER, 1))
        assert self.runtime.expect(m.Hello).client == WORKER
        self.queued: list[m.Execute] = []
        self.door = Door(folder / "door", WORKER, self.client, self.queued.append)
        self.caller, self.end = socket.socketpair()
        self.peer = _Peer(self.end, lambda descriptor: None)
        self.peer.caller = CALLER

    def bring(self, task: bytes) -> None:
        self.door._take(self.peer, m.Call(m.TaskSpec(task, "method", "f", b"", actor=b"a" * 16), 0, ()))

    def reply(self) -> m.DirectReply:
        frames = framing.FrameReader()
        while True:
            for frame in frames.feed(self.caller.recv(1 << 16)):
                return codec.decode_reply(frame)

    def close(self) -> None:
        self.caller.close()
        self.end.close()
        self.door._listener.close()
        self.client.close()
        self.runtime.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def test_who_sends_a_deferred_call_and_who_answers_one_do_not_wait_for_each_other(house: House) -> None:
    """One thread of an actor makes a call, as another one ends its own with a large value."""
    house.bring(b"1" * 24)
    direct = house.client.direct
    submit = direct._submit
    reached, gate = threading.Event(), threading.Event()

    def held_open(spec: m.TaskSpec) -> None:
        reached.set()
        assert gate.wait(30)
        submit(spec)

    direct._submit = held_open  # type: ignore[method-assign]
    direct.deferred.append(Deferred(m.TaskSpec(b"2" * 24, "task", "g", b""), 0, Route(b"r" * 16, "key"), 0, None))
    sending = in_thread(direct.release)
    assert reached.wait(30)
    answering = in_thread(lambda: house.door.answer(m.Done(b"1" * 24, (LARGE,))))
    answering.join(0.1)  # Time enough to take the door's lock.
    gate.set()
    sending.join(30)
    answering.join(30)
    assert not sending.is_alive()
    assert not answering.is_alive()
    told = [house.runtime.expect(m.Submit).spec.task for _ in range(2)]
    assert told == [b"1" * 24, b"2" * 24]  # Who is about to be named comes first.
    assert house.runtime.expect(m.Done).task == b"1" * 24
    assert house.reply() == m.Elsewhere(b"1" * 24)


def test_a_call_that_comes_while_another_one_is_told_of_is_told_of_too(house: House) -> None:
    house.bring(b"1" * 24)
    send, reached, gate = house.client.send_bare, threading.Event(), threading.Event()

    def held_open(message: m.ClientMessage, *, soon: bool = True) -> None:
        if isinstance(message, m.Submit):
            reached.set()
            assert gate.wait(30)
        send(message, soon=soon)

    house.client.send_bare = held_open  # type: ignore[method-assign]
    telling = in_thread(lambda: house.client.send(m.Named("1 speaks")))
    assert reached.wait(30)
    reading = in_thread(lambda: house.bring(b"2" * 24))
    reading.join(0.1)
    gate.set()
    telling.join(30)
    reading.join(30)
    house.client.send(m.Named("2 speaks"))
    assert house.runtime.expect(m.Submit).spec.task == b"1" * 24
    assert house.runtime.expect(m.Named).text == "1 speaks"
    assert house.runtime.expect(m.Submit).spec.task == b"2" * 24
    assert house.runtime.expect(m.Named).text == "2 speaks"


def test_a_thread_may_have_told_of_all_calls_while_another_is_about_to(house: House) -> None:
    looks = iter([lambda: None, None])

    class Changing(Client):
        before_message = property(lambda self: next(looks), lambda self, value: None)

    house.client.__class__ = Changing
    house.client.send(m.Named("text"))
    house.client.__class__ = Client
    assert house.runtime.expect(m.Named).text == "text"


def test_a_connection_is_unwatched_where_it_is_watched(house: House) -> None:
    """An event loop took the door over, and its first callers had come before."""
    watched: list[int] = []
    house.door._watch = lambda descriptor, ready: watched.append(descriptor)
    house.door._unwatch = watched.remove
    house.door.open()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(house.door._path))
        house.door._accept()
        (peer,) = house.door._peers
        assert peer.connection.fileno() in watched
        house.door.move(lambda descriptor, ready: None, lambda descriptor: None, lambda: None)
    eventually(lambda: _is_gone(house.door, peer))
    assert watched == []


def _is_gone(door: Door, peer: _Peer) -> bool:
    door._read(peer)
    return peer not in door._peers
