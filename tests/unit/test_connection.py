"""Bytes of one client to messages: those of a kind together, a few at a time, and what follows from them in between."""

from __future__ import annotations

from jupyter_ray.local.protocol import codec
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.server.connection import AT_ONCE, Connection


class Listener:
    """Notes what a connection tells."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def met(self, connection: Connection) -> None:
        self.heard.append("met")

    def joined(self, connection: Connection, hello: m.Hello) -> None:
        connection.client = hello.client
        self.heard.append("joined")

    def said(self, connection: Connection, messages: list[m.ClientMessage]) -> None:
        (kind,) = set(map(type, messages))
        self.heard.append(f"{len(messages)} {kind.__name__}")

    def left(self, connection: Connection) -> None:
        self.heard.append("left")

    def flush(self) -> None:
        self.heard.append("flush")


HELLO = m.Hello("driver", b"d" * 16, 1)


def submit(number: int) -> m.Submit:
    return m.Submit(m.TaskSpec(task=number.to_bytes(24, "big"), kind="task", name="f", body=b""))


def heard(*messages: m.Message, garbage: bytes = b"") -> list[str]:
    listener = Listener()
    Connection(listener).data_received(b"".join(map(bytes, map(codec.encode, messages))) + garbage)
    return listener.heard


def test_messages_of_a_kind_come_together_and_in_their_order() -> None:
    calls = [submit(number) for number in range(3)]
    assert heard(HELLO, *calls, m.Get(1, []), *calls[:2], m.Drop([])) == [
        "joined", "3 Submit", "1 Get", "2 Submit", "1 Drop", "flush",
    ]  # fmt: skip


def test_of_a_burst_a_few_at_a_time_so_that_others_can_begin() -> None:
    part = [f"{AT_ONCE} Submit", "flush"]
    calls = [submit(number) for number in range(2 * AT_ONCE + 1)]
    assert heard(HELLO, *calls) == ["joined", *part, *part, "1 Submit", "flush"]


def test_what_came_before_nonsense_counts() -> None:
    frame = (3).to_bytes(4, "little") + b"\xc1\xc1\xc1"
    assert heard(HELLO, m.Get(1, []), garbage=frame) == ["joined", "1 Get", "flush"]


def test_the_first_message_says_who_it_is() -> None:
    assert heard(submit(1), HELLO) == ["flush"]
