"""What is handed on while a value is pickled: references, and the definitions of remote functions and classes.

An engine that pickles itself opens a `collecting` block. One that leaves it to another library sets `Hooks` instead.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any


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
