"""Names of shared-memory files: who wrote one, and which hold no value."""

from __future__ import annotations

_SPARE = "spare-"

ON_DISK = "disk"
"""The answer to a process that wants to write: there is no room in memory, since all values there are being read."""


def prefix(client: bytes) -> str:
    """Return what the names of all segments of a client begin with."""
    return client.hex() + "-"


def writer(segment: str) -> bytes:
    """Return the client that wrote a segment."""
    try:
        return bytes.fromhex(segment.partition("-")[0])
    except ValueError:
        return b""


def turn(segment: str, disks: int) -> int:
    """Return on which of so many disks a segment is, if it is on one: what a process writes is spread over all."""
    number = segment.rpartition("-")[2]
    return int(number) % disks if number.isdecimal() else 0


def spare_name(segment: str) -> str:
    """Return the name that the file of a freed segment has while nobody uses it."""
    return _SPARE + segment


def is_spare(name: str) -> bool:
    """Tell whether that is the name of a file that holds no value."""
    return name.startswith(_SPARE)
