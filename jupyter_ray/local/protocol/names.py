"""Names of shared-memory files, of the environments of workers, and of where a runtime is."""

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


def environment_of(job: str, env: str) -> str:
    """Return the key of an environment: workers with another key are never shared.

    Parameters
    ----------
    job
        The driver's job (8 hexadecimal digits), "" for the driver that started the runtime.
    env
        The runtime environment as JSON, "" for none.
    """
    return job + env


def split_environment(key: str) -> tuple[str, str]:
    """Return job and environment of such a key."""
    return ("", key) if key[:1] in ("", "{") else (key[:8], key[8:])
