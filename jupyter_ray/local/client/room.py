"""How this process's store asks the runtime for room, and hears which files it may write into again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.local.client.references import References
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.store.segments import SegmentStore


class Asker(Protocol):
    """What this needs of the client."""

    references: References

    def request(self, make: Callable[[int], m.ClientMessage]) -> Any:
        """Send a request and return what is answered."""

    def send(self, message: m.ClientMessage) -> None:
        """Send a message."""

    def want(self, chore: str) -> None:
        """Ask for a chore."""


def connect(client: Asker, store: SegmentStore) -> dict[type, Callable[[Any], None]]:
    """Connect a store to the runtime; return what to do with the runtime's messages."""

    def reserve(size: int, segment: str) -> object:
        client.references.flush()  # What is not needed any more may be just the room.
        return client.request(lambda number: m.AwaitSpace(number, size, segment))

    def say(message: m.ClientMessage) -> None:
        with contextlib.suppress(RaySystemError):  # What follows says it.
            client.send(message)

    def forget(message: m.Forget) -> None:
        for segment in message.segments:
            store.spares.forget(segment)

    store.reserve = reserve
    store.unwritten = lambda segment: say(m.Unwritten(segment))
    store.spares.claimed = lambda spare, segment, size: say(m.Claimed(spare, segment, size))
    store.spares.want = lambda: client.want("spares")
    return {
        m.Spare: lambda message: store.spares.offer(message.segment, message.size),
        m.Forget: forget,
        m.Collect: lambda message: client.want("garbage"),
    }
