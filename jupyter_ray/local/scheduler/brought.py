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
    """A shipped definition, or one that somebody has named before it came: of that the version is 0.

    Calls that were made before it was changed run what it was: that has a record of its own then, with another id.

    Attributes
    ----------
    key
        What workers know it by that are sent it with a call: another one for each version that is kept.
    """

    id: str
    version: int = 0
    name: str = ""
    blob: bytes = b""
    contained: list[bytes] = []
    """The objects and actors in its code."""
    refers: list[str] = []
    """Other definitions that its code refers to."""
    holders: int = 0
    pins: int = 0
    """By values that contain it, by definitions that refer to it, and by results that it may have to make again."""
    key: str = ""
    calls: int = 0
    """That have not ended, and actors that may restart."""
    seconds: float | None = None
    """Smoothed duration of a task."""

    def __post_init__(self) -> None:
        """The first version is known by the definition's own id."""
        self.key = self.key or self.id

    def learn(self, seconds: float) -> None:
        """Note how long a task took; nothing is told of a definition that has not come."""
        if self.version:
            self.seconds = seconds if self.seconds is None else 0.8 * self.seconds + 0.2 * seconds
