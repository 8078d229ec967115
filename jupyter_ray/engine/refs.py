"""References: what a user holds of an object or of an actor.

A reference is counted. While a Python object for it lives in this process, the process is one of its holders; when it
goes, the engine is told through the `Counter` that made it. Its finalizer is C code that the counter puts into the
object itself: Python raises an interrupt wherever its own code begins, also in a finalizer, which then never
runs and takes the interrupt with it. Pickling a reference hands it on: it must happen by `collecting`, which is how an
engine learns what a value contains. Otherwise (a user who pickles by hand) a reference to an object is pinned for ever,
and one to an actor keeps nothing alive, as in Ray.
"""

from __future__ import annotations

import abc
import concurrent.futures
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from jupyter_ray.engine import travel
from jupyter_ray.engine.futures import Settle, Withdraw, asyncio_future_of, future_of
from jupyter_ray.engine.travel import StaleReferenceError, forbid_out_of_band
from jupyter_ray.ids import NIL_OBJECT, OBJECT_ID_SIZE, ActorID, JobID, TaskID, task_of

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
R = TypeVar("R", bound="ObjectRef[Any] | ActorRef | DefinitionRef")


class Counter(Protocol):
    """What an engine offers to the references of this process."""

    def reference(self, counted: bytes, kind: type[R]) -> R:
        """Return the Python object for `counted` (an object's id, say): it lives once in a process."""

    def pinned(self, counted: bytes) -> None:
        """`counted` was pickled by hand: never release it."""

    def when_ready(self, object_id: bytes, callback: Settle, awaited: bool = False) -> Withdraw | None:
        """Call `callback(value, error)` from any thread once the object has its value.

        With `awaited` the running task, if one runs, waits for that. Return how to tell that nobody waits any more, or
        None: there is nothing to take back.
        """

    def call_site(self, object_id: bytes) -> str:
        """Return the line and the function that made the object, "" where that is not known."""

    def hurry(self) -> None:
        """Tell that somebody waits now: what was to go together with what comes next goes at once."""


_default_counter: Counter | None = None


def set_counter(counter: Counter | None) -> None:
    """Make `counter` the one that references made in this process report to."""
    global _default_counter
    _default_counter = counter


def unset_counter(counter: Counter) -> None:
    """Have references made in this process report to nobody, if they report to `counter`: its session has ended."""
    if _default_counter is counter:
        set_counter(None)


def uncounted(kind: type[R], binary: bytes, counter: Counter | None = None) -> R:
    """Return a new reference, which is still to be counted if it has a counter."""
    ref = object.__new__(kind)
    ref._binary = binary
    ref._counter = counter
    return ref


def weak_actor(binary: bytes) -> ActorRef:
    """Return a reference that does not keep its actor alive (`get_actor`, `current_actor`)."""
    return travel.hooks().weak_actor(binary) or ActorRef(binary, weak=True)


def check_current(ref: ObjectRef[Any]) -> None:
    """Raise a `StaleReferenceError` if `ref` belongs to another session than this process, or is nil."""
    if ref._binary == NIL_OBJECT or (ref._counter is not _default_counter and ref._counter is not None):
        raise StaleReferenceError(ref)


def _note(counted: bytes, counter: Counter | None) -> bool:
    """Record that a reference is being pickled; return whether it is so by an engine, and not by hand."""
    if travel.collect(counted):
        return True
    if len(counted) == OBJECT_ID_SIZE:
        forbid_out_of_band(counted)
    if counter is not None:
        counter.pinned(counted)
    return False


class ObjectRef(Generic[T], metaclass=abc.ABCMeta):
    """A reference to the value that a task returns or that `put` stored.

    An engine whose references are another library's registers their class as a virtual subclass.

    Parameters
    ----------
    binary
        The object id, exactly 28 bytes.

    Raises
    ------
    ValueError
        `binary` has another length.
    TypeError
        `binary` is not of type bytes.

    Notes
    -----
    Source: Ray's ``ObjectRef``. Hashable, comparable, awaitable; picklable inside stored values and arguments.
    """

    __slots__ = ("__del__", "__weakref__", "_binary", "_counter")

    __del__: Callable[[], object]

    _binary: bytes
    _counter: Counter | None

    def __new__(cls, binary: bytes) -> ObjectRef[T]:
        """Return the reference of this process; without a session, one that is not counted."""
        if type(binary) is not bytes:
            raise TypeError(f"An object id is {OBJECT_ID_SIZE} bytes, got {type(binary).__name__}.")
        if len(binary) != OBJECT_ID_SIZE:
            raise ValueError(f"ID string needs to have length {OBJECT_ID_SIZE}, got {len(binary)}")
        if _default_counter is not None:
            return _default_counter.reference(binary, cls)
        return uncounted(cls, binary)

    if not TYPE_CHECKING:  # A type checker shall find such names.

        def __getattr__(self, name: str) -> Any:
            """Say what to do instead: a user may have taken the reference for the value."""
            what = f"'ObjectRef' object has no attribute {name!r}"
            told = "" if name.startswith("_") else ": it stands for a value, which ray.get(ref) returns."
            if name == "add_done_callback":  # What asyncio.wait asks for.
                told = ": await it, or take asyncio.ensure_future(ref), or ref.future() for concurrent.futures."
            raise AttributeError(f"{what}{told}", name=name, obj=self)

    @classmethod
    def nil(cls) -> ObjectRef[Any]:
        """Return the reference to nothing."""
        return cls(NIL_OBJECT)

    @classmethod
    def from_random(cls) -> ObjectRef[Any]:
        """Return a reference with a random id, to an object that does not exist."""
        import os

        return cls(os.urandom(OBJECT_ID_SIZE))

    @classmethod
    def from_hex(cls, hex_id: str | bytes) -> ObjectRef[Any]:
        """Return the reference whose id `hex` printed."""
        return cls(bytes.fromhex(hex_id if isinstance(hex_id, str) else hex_id.decode()))

    @classmethod
    def from_binary(cls, id_bytes: bytes) -> ObjectRef[Any]:
        """Return the reference with these 28 bytes."""
        return cls(id_bytes)

    @classmethod
    def size(cls) -> int:
        """Return the number of bytes of an object id."""
        return OBJECT_ID_SIZE

    def binary(self) -> bytes:
        """Return the object id as bytes."""
        return self._binary

    def hex(self) -> str:
        """Return the object id as hexadecimal digits."""
        return self._binary.hex()

    def is_nil(self) -> bool:
        """Tell whether this refers to nothing."""
        return self._binary == NIL_OBJECT

    def task_id(self) -> TaskID:
        """Return the id of the task that makes the object."""
        return TaskID(task_of(self._binary))

    def job_id(self) -> JobID:
        """Return the id of the session that the object belongs to."""
        return self.task_id().job_id()

    def call_site(self) -> str:
        """Return the line and the function that made the object, "" where that is not known."""
        return "" if self._counter is None else self._counter.call_site(self._binary)

    def future(self) -> concurrent.futures.Future[T]:
        """Return a future of the value. Cancelling it does not cancel the task (as in Ray).

        Returns
        -------
        concurrent.futures.Future
            Its result is the value, its exception the task's error.
        """
        return future_of(self)

    def as_future(self, _internal: bool = False) -> asyncio.Future[T]:
        """Return an asyncio future of the value, for the running loop, or for the thread's own where none runs."""
        return asyncio_future_of(self)

    def __await__(self) -> Generator[Any, None, T]:
        return (yield from self.as_future().__await__())  # With a frame that tells an interrupt what was awaited.

    def _on_completed(self, callback: Callable[[Any], None]) -> None:
        """Call `callback` with the value, or with the error, when it is there (private in Ray too)."""
        self._when_ready(lambda value, error: callback(value if error is None else error))

    def _when_ready(self, callback: Settle, awaited: bool = False) -> Withdraw | None:
        if self._counter is None:
            raise RuntimeError(f"{self!r} belongs to no running session. Call init() and make it again.")
        check_current(self)  # Nobody answers for a session that has ended.
        return self._counter.when_ready(self._binary, callback, awaited)

    @property
    def _hurry(self) -> Callable[[], None]:
        """What is called when a program begins to wait; it does not keep the object."""
        assert self._counter is not None, "its future was made"
        return self._counter.hurry

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRef) and other.binary() == self._binary

    def __bytes__(self) -> bytes:
        return self._binary

    def __hash__(self) -> int:
        return hash(self._binary)

    def __repr__(self) -> str:
        return f"ObjectRef({self._binary.hex()})"

    def __reduce__(self) -> tuple[Any, ...]:
        if _note(self._binary, self._counter):
            check_current(self)
        return ObjectRef, (self._binary,)


def ids_of(refs: Sequence[Any]) -> list[bytes]:
    """Return the ids of many references, also of those of another library's class."""
    try:
        return [ref._binary for ref in refs]  # Half of what a method call or an `attrgetter` takes.
    except AttributeError:
        return [ref.binary() for ref in refs]


class ActorRef:
    """The counted part of an actor's handle.

    Parameters
    ----------
    binary
        The actor id, 16 bytes.
    weak
        Do not count: the handle does not keep the actor alive (`get_actor`, `current_actor`).
    """

    __slots__ = ("__del__", "__weakref__", "_binary", "_counter")

    __del__: Callable[[], object]

    travels = False
    """A weak reference is pickled as it is: its id alone would not do in another process."""

    _binary: bytes
    _counter: Counter | None

    def __new__(cls, binary: bytes, weak: bool = False) -> ActorRef:
        """Return the reference of this process; if `weak` or without a session, one that is not counted."""
        if not weak and _default_counter is not None:
            return _default_counter.reference(binary, ActorRef)
        return uncounted(cls, binary)

    @property
    def id(self) -> ActorID:
        """The actor's id."""
        return ActorID(self._binary)

    def binary(self) -> bytes:
        """Return the actor id as bytes."""
        return self._binary

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and other._binary == self._binary

    def __hash__(self) -> int:
        return hash(self._binary)

    def __repr__(self) -> str:
        return f"ActorRef({self._binary.hex()})"

    def __reduce__(self) -> tuple[Any, ...]:
        travel.collect(self._binary)  # Pickled by hand, it keeps nothing alive (as in Ray).
        return ActorRef, (self._binary,)


class DefinitionRef:
    """The counted part of a remote function or class: while it lives, the engine keeps the code."""

    __slots__ = ("__del__", "__weakref__", "_binary", "_counter")

    __del__: Callable[[], object]

    _binary: bytes
    _counter: Counter | None

    def is_of(self, counter: object) -> bool:
        """Tell whether it is `counter` that counts it, and not that of an earlier session."""
        return self._counter is counter

    def __repr__(self) -> str:
        return f"DefinitionRef({self._binary.decode()})"


def hold_definition(definition: Any) -> None:
    """Keep the code of a definition that has come by its id, as long as `definition` lives.

    What another definition's code refers to needs no reference of its own: else a function that calls itself would keep
    itself for ever.
    """
    if _default_counter is not None and definition.value is None and not travel.is_loading_code():
        definition.held = _default_counter.reference(definition.id.encode(), DefinitionRef)
