"""What the scheduler wants done. Only the server does it."""

from __future__ import annotations

import msgspec

from jupyter_ray.local.protocol.messages import ServerMessage


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send a message to a connected client."""

    client: bytes
    message: ServerMessage


class StartWorker(msgspec.Struct, frozen=True, gc=False):
    """Start a worker process for the runtime environment `env`; `WorkerJoined` or `WorkerLost` follows."""

    worker: bytes
    env: str


class StopWorker(msgspec.Struct, frozen=True, gc=False):
    """End a worker process: at once with `kill`, else after what it runs. `WorkerLost` follows."""

    worker: bytes
    kill: bool
    reason: str


class SetTimer(msgspec.Struct, frozen=True, gc=False):
    """Say `RequestExpired` after `seconds`, if the request is still open then."""

    client: bytes
    request: int
    seconds: float


class DiscardSegment(msgspec.Struct, frozen=True, gc=False):
    """The file of a segment is not needed any more, in memory or on disk."""

    segment: str


class KeepSpare(msgspec.Struct, frozen=True, gc=False):
    """Give the file of a freed segment the name of a spare one."""

    segment: str


class DropSpare(msgspec.Struct, frozen=True, gc=False):
    """Remove a spare file."""

    segment: str


class SpillSegment(msgspec.Struct, frozen=True, gc=False):
    """Move a shared-memory file to disk; `Spilled` follows."""

    segment: str


Command = Send | StartWorker | StopWorker | SetTimer | DiscardSegment | KeepSpare | DropSpare | SpillSegment
