"""What is handed on while a value is pickled: references, and the definitions of remote functions and classes.

An engine that pickles itself does so by `collecting`. One that leaves it to another library sets `Hooks` instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

from jupyter_ray.exceptions import OufOfBandObjectRefSerializationException, RaySystemError


class Collected:
    """What one pickling handed on: `ids` of objects and actors, and the definitions of remote functions and classes."""

    __slots__ = ("definitions", "ids")

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self.definitions: list[Any] = []


_collected: ContextVar[Collected | None] = ContextVar("collected", default=None)
_within: ContextVar[bool] = ContextVar("within", default=False)


def collecting(pickle: Callable[[], object]) -> Collected:
    """Call `pickle`, and return what it handed on.

    A context is left by C code. An interrupt at the end of a ``with`` would have what is pickled later, by hand, not
    counted, as long as somebody keeps the interrupt's traceback.
    """
    collected = Collected()
    copy_context().run(_collect_in, collected, pickle)
    return collected


def _collect_in(collected: Collected, pickle: Callable[[], object]) -> None:
    _collected.set(collected)
    pickle()


def collect(counted: bytes) -> bool:
    """Record that a reference is being pickled; False where nobody is `collecting`."""
    collected = _collected.get()
    if collected is None:
        return False
    collected.ids.append(counted)
    return True


def loading_code(load: Callable[[], object]) -> None:
    """Call `load`, which unpickles the code of a definition; see `is_loading_code`."""
    copy_context().run(_load_in, load)


def _load_in(load: Callable[[], object]) -> None:
    _within.set(True)
    load()


def is_loading_code() -> bool:
    """Tell whether a definition's code is being unpickled: what it refers to stays as long as it does."""
    return _within.get()


def note_definition(definition: Any) -> int:
    """Record that a remote function or class is being pickled; 0 where its code must travel with it.

    Anything else is handed to `learn_definition` by who unpickles it: a version, where the engine counts them.
    """
    collected = _collected.get()
    if collected is None:
        return _hooks.note(definition)
    collected.definitions.append(definition)
    return 1


def learn_definition(key: str, noted: int) -> None:
    """Take what `note_definition` returned in the process that pickled the definition `key`."""
    if noted:
        _hooks.learn(key, noted)


class Hooks:
    """What an engine does when it is not the one who pickles, and so cannot do it by `collecting`."""

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
    """A reference of a session that has ended was used, or one that is nil. A ValueError, as in Ray.

    Parameters
    ----------
    ref
        The reference, or the error that tells of it already.
    where
        What holds it, with a colon behind.
    """

    def __init__(self, ref: Any, where: str = "") -> None:
        is_nil = getattr(ref, "is_nil", None)
        self._meaning: str = (
            ref._meaning
            if isinstance(ref, StaleReferenceError)
            else f"{ref!r} is nil: it refers to nothing, and has no value. "
            if is_nil is not None and is_nil()
            else f"{ref!r} belongs to a session that has ended, and its value is gone with it: make it again. "
        )
        super().__init__(
            f"{where}{self._meaning}"
            "(In Ray's words: Ray objects whose owner is unknown; this is a Ray object whose owner is unknown.)"
        )
