"""What happens to the scheduler.

Whatever a client says (`jupyter_ray.local.protocol.messages.ClientMessage`) is a stimulus as it stands, together with
the client's id. The others, about processes and time, are here.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from jupyter_ray.local.protocol.messages import ClientMessage, Done, Submit

TOGETHER: frozenset[type] = frozenset({Submit, Done})
"""Kinds of messages that are taken in before what follows from them is done: none looks at what that would change."""


class Said(msgspec.Struct, frozen=True, gc=False):
    """A connected client sent messages: one, or several in a row of a kind that may be taken `TOGETHER`."""

    client: bytes
    messages: list[ClientMessage]


class ClientJoined(msgspec.Struct, frozen=True, gc=False):
    """A driver connected, the first one or a guest."""

    client: bytes
    pid: int = 0


class DriverLeft(msgspec.Struct, frozen=True, gc=False):
    """A driver that had joined is gone, in whatever way; with the first one the runtime ends."""

    client: bytes


class WorkerJoined(msgspec.Struct, frozen=True, gc=False):
    """A worker that we asked for connected."""

    worker: bytes
    pid: int


class WorkerLost(msgspec.Struct, frozen=True, gc=False):
    """A worker's process ended, or could not be started. `reason` is for people."""

    worker: bytes
    reason: str
    out_of_memory: bool = False
    spared: bool = False
    """Another worker had more of the memory that ran out: this does not count as one of the attempts of its task."""


class RequestExpired(msgspec.Struct, frozen=True, gc=False):
    """The time of a request is up."""

    client: bytes
    request: int


class Spilled(msgspec.Struct, frozen=True, gc=False):
    """What became of moving a shared-memory file to disk.

    It was moved; or it stays in memory since somebody reads it, or since the disk is full, or since that failed
    otherwise, for `reason`; or it is gone.
    """

    segment: str
    outcome: Literal["moved", "read", "full", "failed", "gone"] = "moved"
    reason: str = ""


class Outdated(msgspec.Struct, frozen=True, gc=False):
    """Modules that these workers have loaded are others now: no call that comes later is for them."""

    workers: list[bytes]


class MemoryShort(msgspec.Struct, frozen=True, gc=False):
    """The machine is about to run out of memory."""


class SegmentsLost(msgspec.Struct, frozen=True, gc=False):
    """Files of values are gone or damaged: their names, and what was found."""

    segments: dict[str, str]


class AwaitedLong(msgspec.Struct, frozen=True, gc=False):
    """What tasks await may never come; see `starved.awaited_in_vain`."""


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Some time went by; see `Scheduler.wants_tick`."""


Stimulus = (
    Said
    | ClientJoined
    | DriverLeft
    | WorkerJoined
    | WorkerLost
    | RequestExpired
    | Spilled
    | SegmentsLost
    | MemoryShort
    | Outdated
    | AwaitedLong
    | Tick
)
