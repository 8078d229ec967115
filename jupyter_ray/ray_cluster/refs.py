"""References on a cluster: Ray's own objects, with this package's methods and errors.

An `ObjectRef` of this engine *is* a ``ray.ObjectRef`` (a subclass of it), so that it can be given to any library built
on Ray; and a ``ray.ObjectRef`` that such a library returned is taken wherever an `ObjectRef` is. Ray counts both.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import pickle
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import ray

from jupyter_ray.engine import refs
from jupyter_ray.engine.refs import ActorRef, ObjectRef
from jupyter_ray.engine.streams import DynamicObjectRefGenerator, ObjectRefGenerator
from jupyter_ray.engine.travel import StaleReferenceError
from jupyter_ray.exceptions import GetTimeoutError
from jupyter_ray.ids import JobID, TaskID
from jupyter_ray.ray_cluster import exceptions, flow

Settle = Callable[[Any, BaseException | None], None]

passing = threading.local()
"""`actors`: collects the ids of actors whose handles this thread pickles; see `Reports.passing`."""

handles: deque[tuple[bytes, int]] = deque(maxlen=100_000)
"""Actors whose handles this process got (+1) and dropped (-1), in order; finalizers write here, so nothing locks."""

session: Any = None
"""The running session: references remember theirs, so that those of an ended one are told apart."""


def begin(new: object, made: Any = None) -> None:
    """Let references made from now on belong to the session `new`, and be of the kind `made`; None: the plain ones."""
    global session, kind
    session, kind = new, made or RayObjectRef


class References:
    """What this package adds to a reference of Ray's: its own ids, and the errors of `jupyter_ray.exceptions`."""

    session: Any = None

    def task_id(self) -> TaskID:
        """Return the id of the task that makes the object."""
        return TaskID(self._native_task().binary())

    def job_id(self) -> JobID:
        """Return the id of the session that the object belongs to."""
        return JobID(self._native_task().job_id().binary())

    def check(self) -> None:
        """Raise a `StaleReferenceError` if this is a reference of another session than the running one."""
        if self.session is not None and self.session is not session:
            raise StaleReferenceError(self)

    def _native_task(self) -> Any:
        return super().task_id()  # type: ignore[misc]

    def future(self: Any) -> concurrent.futures.Future[Any]:
        """Return a future of the value; see `engine.refs.ObjectRef.future`."""
        return ObjectRef.future(self)

    def as_future(self: Any) -> asyncio.Future[Any]:
        """Return an asyncio future of the value, for the running loop."""
        return ObjectRef.as_future(self)

    def __await__(self) -> Generator[Any, None, Any]:
        return self.as_future().__await__()

    def _on_completed(self, callback: Callable[[Any], None]) -> None:
        """Call `callback` with the value, or with the error, when it is there (private in Ray too)."""
        self._when_ready(lambda value, error: callback(value if error is None else error))

    def _when_ready(self, callback: Settle, awaited: bool = False) -> None:
        self.check()
        keep = [self]  # The object stays until its value was handed over.

        def completed(result: Any) -> None:
            keep.clear()
            if isinstance(result, ray.exceptions.RayError):
                callback(None, exceptions.translated(result, [self]))
            else:
                callback(converted(result), None)

        super()._on_completed(completed)  # type: ignore[misc]

    @property
    def _hurry(self) -> Callable[[], None]:
        return lambda: None  # Ray asks at once.

    def __eq__(self: Any, other: Any) -> bool:
        return isinstance(other, ray.ObjectRef) and other.binary() == self.binary()

    def __hash__(self: Any) -> int:
        return hash(self.binary())

    def __repr__(self: Any) -> str:
        return f"ObjectRef({self.hex()})"


class RayObjectRef(References, ray.ObjectRef):  # type: ignore[misc]
    """A ``ray.ObjectRef`` whose errors are those of `jupyter_ray.exceptions`."""

    @classmethod
    def adopt(cls, ref: Any) -> RayObjectRef:
        """Return `ref` as one of ours; Ray counts it as one more reference."""
        if type(ref) is cls:
            return ref
        made = cls(ref.binary(), ref.owner_address(), ref.call_site(), tensor_transport=ref.tensor_transport())
        made.session = session
        return made

    @staticmethod
    def complete(handle: Any) -> None:
        """See to it that a handle of Ray's knows the methods of a host."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        self.check()
        # As Ray pickles its own: with the owner, and noted as part of the value that holds it.
        return _revive, tuple(ray.cloudpickle.CloudPickler.dispatch[ray.ObjectRef](self))


kind: Any = RayObjectRef
"""What references are in this process."""


def _revive(rebuild: Callable[..., Any], state: tuple[Any, ...]) -> RayObjectRef:
    return RayObjectRef.adopt(rebuild(*state))


def by_hand(dumped: bytes) -> Any:
    """Return the reference or handle that one of Ray Client's was when it was pickled by hand, in whatever process."""
    revive = getattr(session, "revive", pickle.loads)  # A client itself has none of Ray's own.
    return revive(dumped)


def converted(value: Any) -> Any:
    """Return a value as this package's users know it: Ray's dynamic generator as ours."""
    if type(value) is ray.DynamicObjectRefGenerator:
        return DynamicObjectRefGenerator([kind.adopt(ref) for ref in value])
    return value


class RayGenerator(ObjectRefGenerator):
    """The references that a streaming task makes, as they come from Ray's generator."""

    def __init__(self, native: Any) -> None:
        super().__init__(_Native(native))
        self._native = native

    def __next__(self) -> Any:
        return kind.adopt(self._translate(lambda: next(self._native)))

    def _next_sync(self, timeout_s: float | None = None) -> Any:
        """As `next`; the nil reference when the time is up (private in Ray too, but widely used)."""
        return kind.adopt(self._translate(lambda: self._native._next_sync(timeout_s)))

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return kind.adopt(await self._native.__anext__())
        except ray.exceptions.RayError as error:
            raise exceptions.translated(error) from None

    @staticmethod
    def _translate(take: Callable[[], Any]) -> Any:
        try:
            return take()
        except ray.exceptions.RayError as error:
            raise exceptions.translated(error) from None


class _Native:
    """Ray's generator, as the port's `Stream`."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def next(self, timeout: float | None) -> Any:
        """Return the reference of the next item."""
        try:
            ref = self._native._next_sync(timeout)
        except StopIteration:
            return None
        if ref.is_nil():
            raise GetTimeoutError("The next item was not there in time.")
        return kind.adopt(ref)

    async def next_async(self) -> Any:
        """As `next`, without blocking the event loop."""
        with contextlib.suppress(StopAsyncIteration):
            return kind.adopt(await self._native.__anext__())
        return None

    def ready(self) -> bool:
        """Tell whether `next` would return at once."""
        return bool(self._native.next_ready())

    def finished(self) -> bool:
        """Tell whether all items were taken and the task has ended."""
        return bool(self._native.is_finished())

    def completed(self) -> Any:
        """Return a reference that is ready when the task has ended."""
        return kind.adopt(self._native.completed())

    def task(self) -> bytes:
        """Return the id of the task."""
        return bytes(self._native._generator_ref.task_id().binary())


class RayActorRef(ActorRef):
    """The counted part of an actor's handle: Ray's handle, which Ray counts."""

    __slots__ = ("_bound", "native", "pace", "session")

    travels = True

    def __new__(cls, native: Any) -> RayActorRef:
        """Return a reference of its own to the actor of one of Ray's handles."""
        return refs.uncounted(cls, native._actor_id.binary())

    def __init__(self, native: Any) -> None:
        kind.complete(native)
        self.native = native
        self.session = session
        self._bound: dict[int, Any] = {}
        self.pace = flow.Pace(native)
        handles.append((self._binary, 1))

    def __del__(self) -> None:
        handles.append((self._binary, -1))

    def __reduce__(self) -> tuple[Any, ...]:
        noted = getattr(passing, "actors", None)
        if noted is not None:
            noted.append(self._binary)
        return RayActorRef, (self.native,)


def living(object_id: bytes) -> Any:
    """Return Ray's reference to an object that this process refers to."""
    return kind(object_id)


_named: dict[bytes, Any] = {}


def remember_weak(native: Any) -> bytes:
    """Keep one of Ray's weak handles (that of a named actor), for `weak_actor`; return the actor's id."""
    binary = bytes(native._actor_id.binary())
    _named[binary] = native
    return binary


def weak_actor(binary: bytes) -> ActorRef:
    """Return a reference that does not keep the actor alive."""
    native = _named.get(binary)
    if native is None and session is not None and session.process.actor == binary:
        native = ray.get_runtime_context().current_actor
    return ActorRef(binary, weak=True) if native is None else RayActorRef(native)


ObjectRef.register(ray.ObjectRef)
RayObjectRef.__name__ = "ObjectRef"  # What users see is one kind of reference on every engine.
RayGenerator.__name__ = "ObjectRefGenerator"
