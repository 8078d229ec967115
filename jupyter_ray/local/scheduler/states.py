"""Where a task, a worker, an actor and a placement group may stand.

Up to Python 3.11, to look up `TaskState.READY` takes as long as three calls of a function: modules that do so for every
call have names of their own for the members that they need.
"""

from __future__ import annotations

import enum


class _State(enum.Enum):
    """Members are found in tables at each transition: `Enum` hashes their names, in Python."""

    __hash__ = object.__hash__


class TaskState(_State):
    """Where a task stands. The three last are final: the record is gone right after."""

    WAITING = "waiting"
    """for its arguments"""
    READY = "ready"
    """for resources, or in its actor's queue"""
    ASSIGNED = "assigned"
    """handed to a worker in advance, not begun"""
    RUNNING = "running"
    BLOCKED = "blocked"
    """in `get` or `wait`; its CPUs are lent"""
    RESUMING = "resuming"
    """what it waited for is there; it waits for its CPUs"""
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (TaskState.FINISHED, TaskState.FAILED, TaskState.CANCELLED)
"""The states of tasks that are over."""


class WorkerState(_State):
    """Where a worker process stands."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    LEASED = "leased"
    """to a client, which brings it tasks itself"""
    ACTOR = "actor"
    LEAVING = "leaving"
    DEAD = "dead"


CRASHED = "SYSTEM_ERROR"
"""Ray's word for the end of a process that nobody wanted."""


class ActorState(_State):
    """Where an actor stands."""

    PENDING = "pending"
    """its constructor waits for arguments or resources"""
    STARTING = "starting"
    ALIVE = "alive"
    RESTARTING = "restarting"
    DEAD = "dead"


class GroupState(_State):
    """Where a placement group stands."""

    PENDING = "PENDING"
    CREATED = "CREATED"
    REMOVED = "REMOVED"
