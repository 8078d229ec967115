"""What the machine itself allows: no contender can be faster than these."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.contenders import LimitSession
from benchmarks.model import Row, Step

MESSAGE = b"." * 64
COPY = 100_000_000


@contextlib.contextmanager
def forked(work: Callable[[], None]) -> Iterator[None]:
    """Run `work` in a forked process, until it ends by itself after the block."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.waitpid(pid, 0)


def exactly(connection: socket.socket, count: int) -> bytes:
    """Read so many bytes; none at the end."""
    parts = []
    while count:
        part = connection.recv(count)
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def echo(connection: socket.socket) -> None:
    """Send back what comes, until the end."""
    while data := connection.recv(1 << 20):
        connection.sendall(data)


def close(*connections: socket.socket) -> None:
    for connection in connections:
        connection.close()


def round_trips(connection: socket.socket, count: int) -> None:
    for _ in range(count):
        connection.sendall(MESSAGE)
        exactly(connection, len(MESSAGE))


def direct(s: LimitSession) -> Iterator[Step]:
    """There and back: two hops."""
    here, there = socket.socketpair()

    def serve() -> None:
        here.close()
        echo(there)

    with forked(serve):
        there.close()
        yield lambda: round_trips(here, 100)
        here.close()


def relay(s: LimitSession) -> Iterator[Step]:
    """There and back through a process in between: four hops."""
    here, middle = socket.socketpair()
    other, there = socket.socketpair()

    def serve() -> None:
        close(here, middle, other)
        echo(there)

    def pass_on() -> None:
        close(here, there)
        while data := exactly(middle, len(MESSAGE)):
            other.sendall(data)
            middle.sendall(exactly(other, len(MESSAGE)))

    with forked(serve), forked(pass_on):
        close(middle, other, there)
        yield lambda: round_trips(here, 100)
        here.close()


def burst(s: LimitSession) -> Iterator[Step]:
    """1,000 calls at once through a relay that keeps no books, to two workers that decode, call and answer each."""
    count = 1_000
    here, middle = socket.socketpair()
    pairs = [socket.socketpair() for _ in range(2)]
    functions = {"small": lambda: b"ok"}
    ids = [b"%016d" % i for i in range(count)]
    encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode
    size, answer_size = len(encode((ids[0], "small", b"."))), len(encode((ids[0], b"ok")))

    def call(message: bytes) -> bytes:
        key, name, _ = decode(message)
        return encode((key, functions[name]()))

    def split(data: bytes, size: int) -> list[bytes]:
        return [data[i : i + size] for i in range(0, len(data), size)]

    def work(mine: socket.socket) -> Callable[[], None]:
        def serve() -> None:
            close(here, middle, *(end for pair in pairs for end in pair if end is not mine))
            while data := exactly(mine, count // 2 * size):
                mine.sendall(b"".join([call(message) for message in split(data, size)]))

        return serve

    def pass_on() -> None:
        close(here, *(there for _, there in pairs))
        while data := exactly(middle, count * size):
            messages = split(data, size)
            for k, (to, _) in enumerate(pairs):
                to.sendall(b"".join(messages[k::2]))
            for to, _ in pairs:
                middle.sendall(exactly(to, count // 2 * answer_size))

    def step() -> None:
        here.sendall(b"".join([encode((key, "small", b".")) for key in ids]))
        assert len(dict(decode(answer) for answer in split(exactly(here, count * answer_size), answer_size))) == count

    with forked(work(pairs[0][1])), forked(work(pairs[1][1])), forked(pass_on):
        close(middle, *(end for pair in pairs for end in pair))
        yield step
        here.close()


def shared(folder: Path, name: str) -> mmap.mmap:
    """Return new shared memory, none of whose pages exists yet."""
    path = folder / name
    with open(path, "w+b") as file:
        file.truncate(COPY)
        mapped = mmap.mmap(file.fileno(), COPY)
    path.unlink()
    return mapped


def shared_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="jrb-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def copy_into(target: mmap.mmap, source: np.ndarray) -> None:
    np.copyto(np.frombuffer(target, dtype=np.uint8), source)


def copy_cold(s: LimitSession) -> Iterator[Step]:
    source = np.ones(COPY, dtype=np.uint8)
    with shared_folder() as folder:
        yield lambda: copy_into(shared(Path(folder), "cold"), source)


def copy_warm(s: LimitSession) -> Iterator[Step]:
    source = np.ones(COPY, dtype=np.uint8)
    with shared_folder() as folder:
        target = shared(Path(folder), "warm")
        yield lambda: copy_into(target, source)


def copy_warm_two(s: LimitSession) -> Iterator[Step]:
    """Two processes at once."""
    pairs = [socket.socketpair() for _ in range(2)]
    heres = [here for here, _ in pairs]

    def work(mine: socket.socket) -> Callable[[], None]:
        def serve() -> None:
            close(*(end for pair in pairs for end in pair if end is not mine))
            source = np.ones(COPY, dtype=np.uint8)
            with shared_folder() as folder:
                target = shared(Path(folder), "warm")
                while data := mine.recv(1):
                    copy_into(target, source)
                    mine.sendall(data)

        return serve

    def step() -> None:
        for here in heres:
            here.sendall(b".")
        for here in heres:
            assert here.recv(1)

    with forked(work(pairs[0][1])), forked(work(pairs[1][1])):
        close(*(there for _, there in pairs))
        yield step
        close(*heres)


def fork(s: LimitSession) -> Iterator[Step]:
    """Of a process with NumPy, until it has ended."""

    def step() -> float:
        start = time.perf_counter()
        with forked(lambda: None):
            pass
        return time.perf_counter() - start

    yield step


def python_start(s: LimitSession) -> Iterator[Step]:
    def step() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        return time.perf_counter() - start

    yield step


ROWS = (
    Row("hops_direct", "socket round trip between two processes", {"limit": direct}, units=100),
    Row("hops_relay", "socket round trip through a relay", {"limit": relay}, units=100),
    Row("burst_relay", "1,000 calls at once through a relay", {"limit": burst}, units=1_000),
    Row("memcpy_cold", "copy of 100 MB into new shared memory", {"limit": copy_cold}, units=COPY / 1e9, unit="GB/s"),
    Row("memcpy_warm", "copy of 100 MB into used shared memory", {"limit": copy_warm}, units=COPY / 1e9, unit="GB/s"),
    Row("memcpy_warm_two", "the same, by two processes at once", {"limit": copy_warm_two}, units=2 * COPY / 1e9,
        unit="GB/s"),
    Row("fork", "fork and end of a process", {"limit": fork}, unit="s", better="lower"),
    Row("python_start", "start and end of Python", {"limit": python_start}, unit="s", better="lower"),
)  # fmt: skip
