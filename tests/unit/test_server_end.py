"""The end of a session in the server's loop, which has its turn to the end: nobody hears what comes after."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest

from jupyter_ray.local.protocol import codec
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.server.connection import Connection
from jupyter_ray.local.server.processes import Processes
from jupyter_ray.local.server.server import Server


class Transport(asyncio.Transport):
    """Notes what is written, and whether there is somebody who reads."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.reading = b"", True

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.reading = False

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


class NoProcesses:
    template = None

    def attach(self, *told: object) -> None:
        pass


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        loop.close()


def test_who_is_left_hears_of_the_end_by_the_closed_socket_alone(loop: asyncio.AbstractEventLoop) -> None:
    server = Server(loop, "0123456789ab", cast(Processes, NoProcesses()))
    transport = Transport()
    connection = Connection(server)
    connection.connection_made(transport)

    def say(message: m.Message) -> bytes:
        transport.written = b""
        connection.data_received(bytes(codec.encode(message)))
        return transport.written

    say(m.Hello("driver", b"d" * 16, 1))
    assert say(m.Get(1, [b"o" * 28], 0.0)), "it answers as long as it lives"
    server.end()
    assert not transport.reading
    assert not say(m.Get(2, [b"o" * 28], 0.0)), "what was read before is answered no more"
