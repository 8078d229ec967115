"""What drivers bring along: their jobs, and the definitions that they ship."""

from __future__ import annotations

import msgspec


class JobRecord(msgspec.Struct, eq=False):
    """A driver's job: the first one's, whose runtime it is, or that of one that joined."""

    id: bytes
    driver: bytes
    pid: int
    namespace: str
    env: str
    entrypoint: str
    metadata: dict[str, str]
    started: float
    ended: float = 0.0
    """0: not yet."""


class FunctionRecord(msgspec.Struct, eq=False):
    """A shipped definition."""

    id: str
    version: int
    name: str
    blob: bytes
    contained: list[bytes]
    job: bytes = b""
    seconds: float | None = None
    """Smoothed duration of a task."""

    def learn(self, seconds: float) -> None:
        """Note how long a task took."""
        self.seconds = seconds if self.seconds is None else 0.8 * self.seconds + 0.2 * seconds
