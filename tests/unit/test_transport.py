"""The channel: frames both ways, bursts together, interrupts without loss."""

from __future__ import annotations

import queue
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.transport import Channel
from tests.fake_runtime import FakeRuntime


class Listener:
    def __init__(self, runtime: FakeRuntime) -> None:
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.closed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.kept = threading.Event()
        self.channel = Channel(runtime.connection, self.messages.put, self.closed.put, self.kept.set)
        self.channel.start()


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    runtime = FakeRuntime()
    yield runtime
    runtime.close()


@pytest.fixture
def listener(runtime: FakeRuntime) -> Iterator[Listener]:
    listener = Listener(runtime)
    yield listener
    listener.channel.close()
    listener.channel.join(5)


def test_messages_go_both_ways_in_order(runtime: FakeRuntime, listener: Listener) -> None:
    for number in range(100):
        listener.channel.send(m.Abandon(number))
    assert [runtime.expect(m.Abandon).request for _ in range(100)] == list(range(100))
    runtime.say(*(m.Reply(number) for number in range(100)))
    assert [listener.messages.get(timeout=5).request for _ in range(100)] == list(range(100))


def test_what_may_wait_goes_with_the_next_message(runtime: FakeRuntime, listener: Listener) -> None:
    listener.channel.send(m.Abandon(0))
    listener.channel._sent_at = time.monotonic() + 1000  # As if something had gone just now.
    listener.channel.send(m.Abandon(1), soon=True)
    assert listener.kept.is_set()
    assert listener.channel._buffer
    listener.channel.send(m.Abandon(2))
    assert [runtime.expect(m.Abandon).request for _ in range(3)] == [0, 1, 2]
    assert not listener.channel._buffer


def test_flush_sends_what_waits(runtime: FakeRuntime, listener: Listener) -> None:
    listener.channel._sent_at = time.monotonic() + 1000
    listener.channel.send(m.Abandon(1), soon=True)
    listener.channel.flush()
    assert runtime.expect(m.Abandon).request == 1


def test_many_threads_may_send(runtime: FakeRuntime, listener: Listener) -> None:
    def send(start: int) -> None:
        for number in range(500):
            listener.channel.send(m.Abandon(start + number), soon=bool(number % 3))

    threads = [threading.Thread(target=send, args=(1000 * index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listener.channel.flush()
    numbers = [runtime.expect(m.Abandon).request for _ in range(2000)]
    assert sorted(numbers) == [1000 * index + number for index in range(4) for number in range(500)]
    for index in range(4):
        own = [number for number in numbers if number // 1000 == index]
        assert own == sorted(own)


def test_the_end_is_told_once(runtime: FakeRuntime, listener: Listener) -> None:
    runtime.close()
    assert "closed" in listener.closed.get(timeout=5)
    with pytest.raises(ConnectionError):
        listener.channel.send(m.Abandon(1))
    listener.channel.close()
    listener.channel.join(5)
    assert listener.closed.empty()


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x03\0\0\0abc"])
def test_nonsense_ends_the_connection(runtime: FakeRuntime, listener: Listener, data: bytes) -> None:
    runtime.send_raw(data)
    assert listener.closed.get(timeout=5)
    assert listener.channel.closed


def test_an_interrupt_while_the_socket_is_full_loses_nothing() -> None:
    """The main thread is interrupted in the midst of a frame; what follows must still be whole."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    channel = Channel(near, lambda message: None, lambda reason: None)
    channel.start()
    big = m.Log("stdout", "x" * 4_000_000, "f")

    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(0.2, interrupt)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            channel.send(big)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    runtime = FakeRuntime(far)
    channel.send(m.Abandon(1))
    assert runtime.messages.get(timeout=10) == big
    assert runtime.messages.get(timeout=10) == m.Abandon(1)
    channel.close()
    channel.join(5)
    runtime.close()


def test_a_message_that_cannot_be_handled_ends_the_connection(runtime: FakeRuntime) -> None:
    closed: queue.SimpleQueue[str] = queue.SimpleQueue()

    def handle(message: Any) -> None:
        raise KeyError("a bug")

    channel = Channel(runtime.connection, handle, closed.put)
    channel.start()
    runtime.say(m.Reply(1))
    assert closed.get(timeout=30) == "a Reply could not be handled: KeyError('a bug')"
    with pytest.raises(ConnectionError):
        channel.send(m.Abandon(0))
    channel.join(5)


def test_what_fails_beside_ends_the_connection_and_no_thread_in_silence(runtime: FakeRuntime) -> None:
    """A worker whose runtime died just as a caller's socket broke lived on: nobody read any more."""
    closed: queue.SimpleQueue[str] = queue.SimpleQueue()
    channel = Channel(runtime.connection, lambda message: None, closed.put, lambda: None)
    ours, theirs = socket.socketpair()

    def fail() -> None:
        raise RuntimeError("no way to tell")

    channel.watch(ours.fileno(), fail)
    channel.start()
    theirs.send(b"x")
    assert "no way to tell" in closed.get(timeout=20)
    channel.join(20)
    ours.close()
    theirs.close()
