"""Identifiers: fixed-length byte strings, laid out as Ray's.

An actor id is 12 bytes of its own and the job. A task id is 8 bytes of its own and the id of its actor, or, for a plain
task, of an actor that is none, and so the job too. An object id is the id of its task followed by the index of the
return value, so that the task of an object needs no look-up. On the wire identifiers are plain ``bytes``: an object id
has 28, an actor id 16, the text that names a definition 32, and the length tells them apart where all are counted. The
first bytes differ from the next identifier's: to people, the first eight digits are shown.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from typing import Any, TypeVar

TASK_ID_SIZE = 24
OBJECT_ID_SIZE = 28
NIL_OBJECT = b"\xff" * OBJECT_ID_SIZE
"""Of a reference that refers to nothing."""
ACTOR_ID_SIZE = 16
JOB_ID_SIZE = 4
_OWN = 8
"""The bytes that tell two tasks of one actor apart."""

Self = TypeVar("Self", bound="BaseID")


class BaseID:
    """An immutable identifier of a fixed number of bytes.

    Parameters
    ----------
    id
        Exactly `size()` bytes.

    Raises
    ------
    ValueError
        The number of bytes is wrong (as in Ray: "needs to have length").
    """

    SIZE = 16
    __slots__ = ("_binary",)
    _binary: bytes

    def __init__(self, id: bytes) -> None:
        if not isinstance(id, bytes | bytearray | memoryview):
            raise TypeError(f"{type(self).__name__} wants {self.SIZE} bytes, got {type(id).__name__}.")
        if len(id) != self.SIZE:
            raise ValueError(f"ID string needs to have length {self.SIZE}, got {len(id)}")
        self._binary = bytes(id)

    @classmethod
    def size(cls) -> int:
        """Return the number of bytes of this kind of identifier."""
        return cls.SIZE

    @classmethod
    def nil(cls: type[Self]) -> Self:
        """Return the identifier that names nothing."""
        return cls(b"\xff" * cls.SIZE)

    @classmethod
    def from_random(cls: type[Self]) -> Self:
        """Return a new random identifier."""
        return cls(os.urandom(cls.SIZE))

    @classmethod
    def from_hex(cls: type[Self], hex_id: str | bytes) -> Self:
        """Return the identifier that `hex` printed."""
        return cls(bytes.fromhex(hex_id if isinstance(hex_id, str) else hex_id.decode()))

    @classmethod
    def from_binary(cls: type[Self], id_bytes: bytes) -> Self:
        """Return the identifier with these bytes."""
        return cls(id_bytes)

    def binary(self) -> bytes:
        """Return the identifier as bytes."""
        return self._binary

    def hex(self) -> str:
        """Return the identifier as hexadecimal digits."""
        return self._binary.hex()

    def is_nil(self) -> bool:
        """Tell whether this identifier names nothing."""
        return self._binary == b"\xff" * self.SIZE

    def __bytes__(self) -> bytes:
        return self._binary

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._binary == self._binary

    def __hash__(self) -> int:
        return hash(self._binary)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._binary,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"


class UniqueID(BaseID):
    """A generic identifier."""

    SIZE = 28
    __slots__ = ()


class TaskID(BaseID):
    """Names a task: a call of a remote function or of an actor's method."""

    SIZE = TASK_ID_SIZE
    __slots__ = ()

    def actor_id(self) -> ActorID:
        """Return the actor that the task is a call of; for a plain task, a name that no actor has."""
        return ActorID(self._binary[_OWN:])

    def job_id(self) -> JobID:
        """Return the session that the task belongs to.

        Raises
        ------
        ValueError
            The identifier names nothing.
        """
        return _job_of(self)

    @classmethod
    def for_driver_task(cls, job_id: JobID) -> TaskID:
        """Return what the program of a driver has for a task."""
        return cls(_NONE[:_OWN] + _no_actor(job_id.binary()))

    @classmethod
    def for_fake_task(cls, job_id: JobID) -> TaskID:
        """Return a new task id that nothing has."""
        return cls(os.urandom(cls.SIZE - JobID.SIZE) + job_id.binary())

    @classmethod
    def for_actor_creation_task(cls, actor_id: ActorID) -> TaskID:
        """Return what Ray has for an actor's constructor."""
        return cls(_NONE[:_OWN] + actor_id.binary())

    @classmethod
    def for_actor_task(
        cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int, actor_id: ActorID
    ) -> TaskID:
        """Return the same id for the same call."""
        return cls(_digest(job_id, parent_task_id, parent_task_counter, _OWN) + actor_id.binary())

    @classmethod
    def for_normal_task(cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int) -> TaskID:
        """Return the same id for the same call."""
        own = _digest(job_id, parent_task_id, parent_task_counter, _OWN)
        return cls(own + _no_actor(job_id.binary()))


class ActorID(BaseID):
    """Names an actor."""

    SIZE = ACTOR_ID_SIZE
    __slots__ = ()

    @property
    def job_id(self) -> JobID:
        """The session that the actor belongs to; ValueError if this names nothing."""
        return _job_of(self)

    @classmethod
    def of(cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int) -> ActorID:
        """Return a new id: that of the actor that a task has made as its n-th."""
        own = _digest(job_id, parent_task_id, parent_task_counter, cls.SIZE - JobID.SIZE)
        return cls(own + job_id.binary())


class JobID(BaseID):
    """Names a driver's session."""

    SIZE = JOB_ID_SIZE
    __slots__ = ()

    @classmethod
    def from_int(cls, value: int) -> JobID:
        """Return the identifier with this number."""
        assert value < 256**cls.SIZE, f"Maximum JobID integer is {256**cls.SIZE - 1}, got {value}."
        return cls(value.to_bytes(cls.SIZE, "little"))

    def int(self) -> int:
        """Return the identifier as a number."""
        return int.from_bytes(self._binary, "little")


_NONE = b"\xff" * TASK_ID_SIZE


def _no_actor(job: bytes) -> bytes:
    return _NONE[: ACTOR_ID_SIZE - JOB_ID_SIZE] + job


def _job_of(value: TaskID | ActorID) -> JobID:
    if value.is_nil():
        raise ValueError(f"{type(value).__name__} is nil")
    return JobID(value.binary()[-JobID.SIZE :])


def _digest(job: JobID, parent: TaskID, number: int, size: int) -> bytes:
    return hashlib.blake2b(job.binary() + parent.binary() + number.to_bytes(8, "little"), digest_size=size).digest()


class NodeID(UniqueID):
    """Names a machine."""

    __slots__ = ()


class WorkerID(UniqueID):
    """Names a worker process."""

    __slots__ = ()


class FunctionID(UniqueID):
    """Names a shipped function."""

    __slots__ = ()


class ActorClassID(UniqueID):
    """Names a shipped class."""

    __slots__ = ()


class ClusterID(UniqueID):
    """Names a cluster."""

    __slots__ = ()


class PlacementGroupID(BaseID):
    """Names a placement group."""

    SIZE = 18
    __slots__ = ()

    @classmethod
    def of(cls, job_id: JobID) -> PlacementGroupID:
        """Return a new id of a group of that session."""
        return cls(os.urandom(cls.SIZE - JobID.SIZE) + job_id.binary())


class IdSource:
    """Makes identifiers that no other process makes, without a system call for each.

    Parameters
    ----------
    job
        The session's, which they end with.

    Notes
    -----
    Each process counts on from a random number of 63 bits, the lowest byte first. Safe to use from several threads:
    `itertools.count` is atomic under the interpreter lock.
    """

    __slots__ = ("_actors_end", "_numbers", "_tasks_end")

    def __init__(self, job: bytes) -> None:
        self._numbers = itertools.count(int.from_bytes(os.urandom(8), "little") >> 1)
        self._tasks_end = _no_actor(job)
        self._actors_end = os.urandom(ACTOR_ID_SIZE - JOB_ID_SIZE - _OWN) + job

    def task(self, actor: bytes | None = None) -> bytes:
        """Return the id of a new task, 24 bytes; `actor`: it is a call of that."""
        return next(self._numbers).to_bytes(_OWN, "little") + (actor or self._tasks_end)

    def object(self) -> bytes:
        """Return a new object id for `put`, 28 bytes; its index is 0, which no return value has."""
        return self.task() + b"\0\0\0\0"

    def actor(self) -> bytes:
        """Return a new actor id, 16 bytes."""
        return next(self._numbers).to_bytes(_OWN, "little") + self._actors_end


def return_id(task: bytes, index: int = 1) -> bytes:
    """Return the id of the `index`-th return value of `task`, counted from 1 as in Ray."""
    return task + (_FIRST if index == 1 else index.to_bytes(4, "little"))


def return_text(task: str) -> str:
    """As `return_id` of the first one, for identifiers in hexadecimal digits."""
    return task + _FIRST_TEXT


_FIRST = (1).to_bytes(4, "little")
_FIRST_TEXT = _FIRST.hex()


def task_of_text(object_id: str) -> str:
    """As `task_of`, for identifiers in hexadecimal digits."""
    return object_id[: 2 * TASK_ID_SIZE]


def task_of(object_id: bytes) -> bytes:
    """Return the id of the task that makes `object_id`."""
    return object_id[:TASK_ID_SIZE]


def worker_id(number: int) -> bytes:
    """Return the id of the worker of that number, which it ends with. Its first digits, which people see, differ."""
    far_apart = number * 0x9E3779B97F4A7C15 % 2**64  # 2**64 by the golden ratio
    return far_apart.to_bytes(8, "big") + number.to_bytes(8, "big")
