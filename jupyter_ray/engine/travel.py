"""What is handed on while a value is pickled: references, and the definitions of remote functions and classes.

An engine that pickles itself opens a `collecting` block. One that leaves it to another library sets `Hooks` instead.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

from jupyter_ray.exceptions import OufOfBandObjectRefSerializationException, RaySystemError


class _Local(threading.local):
    collected: list[bytes] | None = None
    definitions: list[Any] | None = None


_local = _Local()


class Collected:
    """What one pickling handed on: `ids` of objects and actors, and the definitions of remote functions and classes."""

    __slots__ = ("definitions", "ids")

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.definitions: list[Any] = []


@contextlib.contextmanager
def collecting() -> Iterator[Collected]:
    """Collect the references that are pickled inside the block, in this thread."""
    outer = _local.collected, _local.definitions
    collected = Collected()
    _local.collected, _local.definitions = collected.ids, collected.definitions
    try:
        yield collected
    finally:
        _local.collected, _local.definitions = outer


def collect(counted: bytes) -> bool:
    """Record that a reference is being pickled; False outside of a `collecting` block."""
    if _local.collected is None:
        return False
    _local.collected.append(counted)
    return True


def note_definition(definition: Any) -> int:
    """Record that a remote function or class is being pickled; 0 where its code must travel with it.

    Anything else is handed to `learn_definition` by who unpickles it: a version, where the engine counts them.
    """
    if _local.definitions is None:
        return _hooks.note(definition)
    _local.definitions.append(definition)
    return 1


def learn_definition(key: str, noted: int) -> None:
    """Take what `note_definition` returned in the process that pickled the definition `key`."""
    if noted:
        _hooks.learn(key, noted)


class Hooks:
    """What an engine does when it is not the one who pickles, and so cannot open a `collecting` block."""

    def note(self, definition: Any) -> int:
        """Answer for `note_definition`."""
        return 0

    def learn(self, key: str, noted: int) -> None:
        """Answer for `learn_definition`."""

    def weak_actor(self, binary: bytes) -> Any:
        """Return a reference that does not keep its actor alive, or None for a plain one."""
        return None


_hooks = Hooks()


def hooks() -> Hooks:
    """Return the hooks of this process."""
    return _hooks


def set_hooks(hooks: Hooks | None) -> None:
    """Make `hooks` those of this process; None: the plain ones."""
    global _hooks
    _hooks = hooks or Hooks()


_OUT_OF_BAND = "RAY_allow_out_of_band_object_ref_serialization"  # The spelling is Ray's.


def forbid_out_of_band(object_id: bytes) -> None:
    """Raise if references must not be pickled by hand or with a function's code; by default they may.

    Raises
    ------
    OufOfBandObjectRefSerializationException
        The environment variable RAY_allow_out_of_band_object_ref_serialization is 0.
    """
    if os.environ.get(_OUT_OF_BAND) == "0":
        raise OufOfBandObjectRefSerializationException(
            f"The reference {object_id.hex()} was to be pickled by hand or with a function's code, which would keep "
            "its value for ever. Pass it as an argument, or set RAY_allow_out_of_band_object_ref_serialization=1."
        )


class StaleReferenceError(RaySystemError, ValueError):
    """A reference of a session that has ended was used. A ValueError, as in Ray."""

    def __init__(self, ref: Any) -> None:
        super().__init__(
            f"{ref!r} belongs to a session that has ended. It is one of the Ray objects whose owner is unknown (each a "
            "Ray object whose owner is unknown): its value is gone. Make it again."
        )
