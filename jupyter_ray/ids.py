"""Identifiers: fixed-length byte strings, with the lengths of Ray's.

A task id is a random prefix of the process that made it and a counter; an object id is the id of its task followed by
the index of the return value, so that the task of an object needs no look-up. On the wire identifiers are plain
``bytes``: an object id has 28, an actor id 16, and the length tells them apart where both are counted.
"""

from __future__ import annotations

import itertools
import os
from typing import Any, TypeVar

TASK_ID_SIZE = 24
OBJECT_ID_SIZE = 28
ACTOR_ID_SIZE = 16

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

    def job_id(self) -> JobID:
        """Return the id of the session that this process is in; nil outside of one."""
        return _job


class ActorID(BaseID):
    """Names an actor."""

    SIZE = ACTOR_ID_SIZE
    __slots__ = ()

    @property
    def job_id(self) -> JobID:
        """The id of the session that this process is in; nil outside of one."""
        return _job


class JobID(BaseID):
    """Names a driver's session."""

    SIZE = 4
    __slots__ = ()

    @classmethod
    def from_int(cls, value: int) -> JobID:
        """Return the identifier with this number."""
        return cls(value.to_bytes(cls.SIZE, "little"))

    def int(self) -> int:
        """Return the identifier as a number."""
        return int.from_bytes(self._binary, "little")


_job = JobID.nil()


def set_job(binary: bytes | None) -> None:
    """Say which session this process is in."""
    global _job
    _job = JobID.nil() if binary is None else JobID(binary)


def current_job() -> JobID:
    """Return the id of the session that this process is in; nil outside of one."""
    return _job


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


class IdSource:
    """Makes identifiers that no other process makes, without a system call for each.

    Notes
    -----
    Safe to use from several threads: `itertools.count` is atomic under the interpreter lock.
    """

    __slots__ = ("_counter", "_prefix")

    def __init__(self) -> None:
        self._prefix = os.urandom(16)
        self._counter = itertools.count(1)

    def task(self) -> bytes:
        """Return a new task id, 24 bytes."""
        return self._prefix + next(self._counter).to_bytes(8, "big")

    def object(self) -> bytes:
        """Return a new object id for `put`, 28 bytes; its index is 0, which no return value has."""
        return self._prefix + next(self._counter).to_bytes(8, "big") + b"\0\0\0\0"

    def actor(self) -> bytes:
        """Return a new actor id, 16 bytes."""
        return self._prefix[:8] + next(self._counter).to_bytes(8, "big")


def return_id(task: bytes, index: int) -> bytes:
    """Return the id of the `index`-th return value of `task`, counted from 1 as in Ray."""
    return task + index.to_bytes(4, "little")


def task_of_text(object_id: str) -> str:
    """As `task_of`, for identifiers in hexadecimal digits."""
    return object_id[: 2 * TASK_ID_SIZE]


def task_of(object_id: bytes) -> bytes:
    """Return the id of the task that makes `object_id`."""
    return object_id[:TASK_ID_SIZE]
