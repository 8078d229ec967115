"""What is told of tasks, actors and workers, and remembered when they have ended: no arguments, no values."""

from __future__ import annotations

import msgspec

from jupyter_ray.local.scheduler.states import ActorState, TaskState
from jupyter_ray.resources import Demand


class TaskDigest(msgspec.Struct, eq=False):
    """What is told of a task, and remembered when it has ended: no arguments, no values."""

    id: bytes
    kind: str
    name: str
    definition: str
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


class ActorDigest(msgspec.Struct, frozen=True):
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


class WorkerDigest(msgspec.Struct, frozen=True):
    """What is remembered of a process that has ended."""

    id: bytes
    pid: int
    actor: bytes | None
    exit_type: str
    """Ray's word for why."""
    reason: str
    started: float
    ended: float
