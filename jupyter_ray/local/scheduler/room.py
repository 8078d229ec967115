"""The records of shared memory: what is there, what is promised, and what waits. `memory` changes them."""

from __future__ import annotations

from collections import deque

import msgspec

from jupyter_ray.local.protocol.messages import AwaitSpace


class Room(msgspec.Struct, eq=False):
    """Bytes of shared memory that a process may write into, since when (Unix seconds)."""

    client: bytes
    size: int
    since: float


class Memory(msgspec.Struct, eq=False):
    """What is in shared memory. Bytes; `limit` 0 means none."""

    limit: int = 0
    spills: bool = True
    """Values may be moved to disk."""
    full: bool = False
    """The last one that asked had no room."""
    used: int = 0
    here: dict[str, int] = msgspec.field(default_factory=dict)
    """Files of values and of arguments in memory; the least recently used comes first."""
    read: dict[str, float] = msgspec.field(default_factory=dict)
    """When somebody was found to read one of them, in Unix seconds."""
    moving: dict[str, int] = msgspec.field(default_factory=dict)
    """Files on their way to disk."""
    moving_bytes: int = 0
    unwanted: set[str] = msgspec.field(default_factory=set)
    """Of those, the ones that were freed meanwhile."""
    on_disk: set[str] = msgspec.field(default_factory=set)
    """Segments that are, or will be, written to disk at once."""
    moved_bytes: int = 0
    moved: int = 0
    """How much was moved to disk since the session began, and how many files."""
    promised: dict[str, Room] = msgspec.field(default_factory=dict)
    """Segments that are being written."""
    promised_bytes: int = 0
    spares: dict[str, Room] = msgspec.field(default_factory=dict)
    """Files of freed values, which their writers may write into again; the oldest comes first."""
    spare_bytes: int = 0
    mapped: set[str] = msgspec.field(default_factory=set)
    """Segments in files that were used before: their writers keep them mapped."""
    tight: bool = False
    """A value had to make room since all processes were last asked to collect their garbage."""
    collected: float = 0.0
    """When all processes were last asked to collect their garbage, in Unix seconds."""
    failure: str = ""
    """Why the last move to disk failed, if it did."""
    disk_full: bool = False
    """That was since the disk is full."""
    waiting: deque[tuple[bytes, AwaitSpace, float]] = msgspec.field(default_factory=deque)
    """Processes that want to write, and when they asked."""

    def __repr__(self) -> str:
        return f"<Memory: {self.used:,} of {self.limit:,} bytes, {len(self.waiting)} wait>"
