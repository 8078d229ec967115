"""What is told of tasks, actors and workers, and remembered when they have ended: no arguments, no values."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator

import msgspec

from jupyter_ray.local.scheduler.states import ActorState, TaskState
from jupyter_ray.resources import Demand


class TaskDigest(msgspec.Struct, array_like=True, eq=False, gc=False):
    """What is told of a task, and remembered when it has ended: no arguments, no values."""

    id: bytes
    kind: str
    name: str
    function: str
    """Its name, or that of the method; empty: not known, or the task's own name tells it."""
    actor: bytes | None
    parent: bytes | None
    demand: Demand
    site: str | None
    group: str | None
    attempt: int
    made: float
    begun: float
    ended: float
    """0: not yet."""
    state: TaskState
    worker: bytes | None
    pid: int
    error: str
    error_type: str
    listed: bool
    env: str
    labels: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(TaskDigest)


class History:
    """The tasks that ended last, kept as bytes: thousands of objects that nobody looks at would slow down new ones.

    But for their environments, which many have alike and which may be long (a hook is a pickled function).
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, bytes | tuple[bytes, str]] = {}
        self._order: deque[bytes] = deque()

    def add(self, task: TaskDigest, limit: int) -> None:
        """Add a task; forget the oldest one if there are more than `limit`."""
        kept, order = self._kept, self._order
        if task.id not in kept:
            order.append(task.id)
        if task.env:
            shared = msgspec.structs.replace(task, env="")
            kept[task.id] = _encoder.encode(shared), sys.intern(task.env)
        else:
            kept[task.id] = _encoder.encode(task)
        if len(order) > limit:
            del kept[order.popleft()]

    def get(self, task: bytes) -> TaskDigest | None:
        """Return a task, or None if it is not known any more."""
        found = self._kept.get(task)
        return None if found is None else _decoded(found)

    def newest_first(self) -> Iterator[TaskDigest]:
        """Yield all of them."""
        return (_decoded(self._kept[task]) for task in reversed(self._order))

    def __repr__(self) -> str:
        return f"<History: {len(self._kept)} tasks>"


def _decoded(kept: bytes | tuple[bytes, str]) -> TaskDigest:
    if isinstance(kept, bytes):
        return _decoder.decode(kept)
    data, env = kept
    return msgspec.structs.replace(_decoder.decode(data), env=env)


class ActorDigest(msgspec.Struct, frozen=True, gc=False):
    """What is told of an actor, and remembered when it is dead and nobody holds it."""

    id: bytes
    class_name: str
    name: str
    namespace: str
    state: ActorState
    unready: bool
    """An argument of its constructor is not there yet."""
    demand: Demand
    detached: bool
    group: str | None
    site: str | None
    restarts: int
    placed: bool
    pid: int
    queued: int
    death_reason: str
    repr_name: str
    env: str
    labels: str
    constructor: bytes
    """The task that made it."""


class WorkerDigest(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of a process that has ended."""

    id: bytes
    pid: int
    actor: bytes | None
    exit_type: str
    """Ray's word for why."""
    reason: str
    started: float
    joined: float
    ended: float
