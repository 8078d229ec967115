"""Handles: how a program holds an actor and calls its methods.

A handle is the engine's counted `ActorRef` and the class's table of methods. Every attribute of its own begins with
``_ray_``, so that none hides a method of the user's.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Sequence
from typing import Any, Generic, NoReturn, TypeVar

import msgspec

from jupyter_ray import options as tables
from jupyter_ray.api.methods import Method, Table, load_table
from jupyter_ray.engine import registry
from jupyter_ray.engine.base import Engine
from jupyter_ray.engine.context import leave_actor
from jupyter_ray.engine.refs import ActorRef, ObjectRef, weak_actor
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.exceptions import PendingCallsLimitExceeded
from jupyter_ray.ids import ActorID
from jupyter_ray.spelling import meant, meant_option

T = TypeVar("T")
NO_GRAPHS = "bind() builds a graph to be run later, and graphs are not offered here: call .remote() instead."
_OVERRIDES = {**tables.METHOD, "name": tables.COMMON["name"]}


class ActorHandle(Generic[T]):
    """A handle of an actor: ``handle.method.remote(...)`` calls a method.

    Notes
    -----
    Hashable, comparable, picklable: it may go into tasks, actors, containers and closures. What a program notes on it
    stays with this object. Source: Ray's ``ActorHandle``.
    """

    __slots__ = ("__dict__", "__weakref__", "_ray_dumped", "_ray_pending", "_ray_ref", "_ray_table", "_ray_weak")

    def __init__(self, ref: ActorRef, table: Table, dumped: bytes, *, weak: bool = False) -> None:
        self._ray_ref = ref
        self._ray_table = table
        self._ray_dumped = dumped
        self._ray_weak = weak
        self._ray_pending = _Pending(table.max_pending_calls) if table.max_pending_calls > 0 else None

    @property
    def _actor_id(self) -> ActorID:
        return self._ray_ref.id

    @property
    def _ray_actor_id(self) -> ActorID:
        return self._ray_ref.id

    @property
    def _ray_actor_creation_function_descriptor(self) -> types.SimpleNamespace:
        """What Ray keeps here, as far as programs read it: `class_name`, the name of the user's class."""
        return types.SimpleNamespace(class_name=self._ray_table.class_name)

    def __getattr__(self, name: str) -> ActorMethod:
        if name.startswith("_ray_"):  # A handle that is being unpickled or copied has nothing yet.
            raise AttributeError(name)
        method = self._ray_table.methods.get(name)
        if method is None:
            hint = meant(name, self._ray_table.methods)
            if not hint and not name.startswith("_"):
                hint = (
                    " What an actor holds is read in a method of it: ray.get(handle.__ray_call__.remote("
                    f"lambda self: self.{name})) does that for one attribute."
                )
            raise AttributeError(
                f"'ActorHandle' object has no attribute {name!r}: the actor's class, {self._ray_table.class_name}, "
                f"has no method of this name.{hint}"
            )
        return ActorMethod(self, method, method.options)

    def __dir__(self) -> list[str]:
        return ["__init__", *(name for name in self._ray_table.methods if name != "__init__")]

    def __repr__(self) -> str:
        return f"Actor({self._ray_table.class_name}, {self._ray_ref.binary().hex()})"

    def __hash__(self) -> int:
        return hash(self._ray_ref)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and other._ray_ref == self._ray_ref

    def __reduce__(self) -> tuple[Any, ...]:
        if self._ray_weak:  # A weak handle stays weak, and pins nothing.
            return _rebuild_weak, (self._ray_ref if self._ray_ref.travels else self._ray_ref.binary(), self._ray_dumped)
        return _rebuild, (self._ray_ref, self._ray_dumped)


class ActorMethod:
    """A method of one actor. Made by ``handle.method``; call it with ``.remote(...)``."""

    __slots__ = ("__weakref__", "_handle", "_method", "_options")

    def __init__(self, handle: ActorHandle[Any], method: Method, options: tables.MethodOptions) -> None:
        self._handle = handle
        self._method = method
        self._options = options

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the method; as `RemoteFunction.remote`.

        Returns
        -------
        ObjectRef, list of ObjectRef, ObjectRefGenerator or None
            As `num_returns` says.

        Raises
        ------
        TypeError
            The arguments do not fit the method, or cannot be pickled.
        PendingCallsLimitExceeded
            As many calls of this handle wait as the actor's `max_pending_calls` allows.
        """
        method = self._method
        if method.decorator is not None:
            return method.decorator(self._call)(args, kwargs)
        parameters = method.parameters
        if kwargs or not parameters.least <= len(args) <= parameters.most:
            parameters.check(f"{self._handle._ray_table.class_name}.{method.name}", args, kwargs)
        handle = self._handle
        if handle._ray_pending is not None:
            return self._call(args, kwargs)
        engine = registry.current() or registry.required()
        returned = engine.call(handle._ray_ref, method.name, args, kwargs, self._options)
        return returned[0] if type(returned) is list and len(returned) == 1 else returned or None

    def _call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        handle, method = self._handle, self._method
        method.parameters.check(f"{handle._ray_table.class_name}.{method.name}", args, kwargs)
        engine = registry.current() or registry.required()
        pending = handle._ray_pending
        call = None if pending is None else pending.enter(handle, engine)
        try:
            returned = engine.call(handle._ray_ref, self._method.name, args, kwargs, self._options)
        except BaseException:
            if pending is not None:
                pending.leave(call)
            raise
        if pending is not None:
            pending.follow(call, returned)
        return returned[0] if isinstance(returned, list) and len(returned) == 1 else returned or None

    def _remote(self, args: Sequence[Any] | None = None, kwargs: dict[str, Any] | None = None, **changes: Any) -> Any:
        """Call the method with other options (private in Ray too, but widely used)."""
        return self.options(**changes).remote(*(args or ()), **(kwargs or {}))

    def options(self, **changes: Any) -> ActorMethod:
        """Return the method with other options; the original stays as it is.

        Parameters
        ----------
        **changes
            The options of `method`, and `name`, which is the call's name.

        Raises
        ------
        TypeError
            An option is unknown, or has the wrong type.
        ValueError
            An option is out of range, or the actor has no such concurrency group.
        """
        method = self._method
        for name in changes:
            if name not in _OVERRIDES:
                where = f"{self._handle._ray_table.class_name}.{method.name}.options()"
                raise TypeError(f"{where} got an unexpected keyword argument {name!r}.{meant_option(name, _OVERRIDES)}")
        tables.check(_OVERRIDES, "actor methods", changes)
        if changes.get("_num_objects_per_yield") not in (None, method.options.per_yield):
            raise ValueError("_num_objects_per_yield cannot be overridden in '.options()': say it in @ray.method.")
        stated = {name: value for name, value in changes.items() if value is not None}  # None says nothing, as in Ray.
        options = tables.method_options({**method.written, **stated}, is_generator=method.is_generator)
        table = self._handle._ray_table
        if options.concurrency_group and options.concurrency_group not in table.groups:
            raise ValueError(
                f"The actor {table.class_name!r} has no concurrency group {options.concurrency_group!r}. "
                f"Its groups are {list(table.groups)}."
            )
        options = msgspec.structs.replace(
            options,
            name=options.name or self._options.name,
            enable_task_events=self._options.enable_task_events
            if options.enable_task_events is None
            else options.enable_task_events,
            max_task_retries=self._options.max_task_retries
            if options.max_task_retries is None
            else options.max_task_retries,
            counted=self._options.counted,
        )
        return ActorMethod(self._handle, method, options)

    def bind(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise a NotImplementedError: lazily built graphs are not offered."""
        raise NotImplementedError(NO_GRAPHS)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_") or name.startswith("__")]

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise a TypeError: methods are called with `.remote()`."""
        name = self._method.name
        raise TypeError(
            f"Actor methods cannot be called directly. Instead of running 'object.{name}()', "
            f"try 'object.{name}.remote()'."
        )

    def __repr__(self) -> str:
        return f"<ActorMethod {self._handle._ray_table.class_name}.{self._method.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_method, (self._handle, self._method.name, self._options)


class _Pending:
    """The calls of one handle that have not ended, for `max_pending_calls`. Engine threads call `leave`.

    That may be a moment after `get` has returned: so a call is not refused before the engine was asked.
    """

    __slots__ = ("_calls", "_limit", "_lock")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._calls: dict[object, ObjectRef[Any] | None] = {}
        """What each gives at its end, once that is known."""
        self._lock = threading.Lock()

    def enter(self, handle: ActorHandle[Any], engine: Engine) -> object:
        """Return what stands for a new call; raise an error if there are too many."""
        call = object()
        if not self._takes(call):
            self._look(engine)
            if not self._takes(call):
                raise PendingCallsLimitExceeded(
                    f"{handle!r} has {len(self._calls)} unfinished calls of this handle, and its max_pending_calls is "
                    f"{self._limit}. Wait for some of them with ray.wait(), or raise the limit."
                )
        return call

    def _takes(self, call: object) -> bool:
        with self._lock:
            if len(self._calls) >= self._limit:
                return False
            self._calls[call] = None
            return True

    def _look(self, engine: Engine) -> None:
        """Let those go that have ended."""
        known = {call: ref for call, ref in tuple(self._calls.items()) if ref is not None}
        if known:
            ended = set(engine.wait(list(known.values()), len(known), 0, True))
            for call, ref in known.items():
                if ref.binary() in ended:
                    self.leave(call)

    def leave(self, call: object) -> None:
        """A call has ended, or was not made."""
        self._calls.pop(call, None)

    def follow(self, call: object, returned: list[ObjectRef[Any]] | ObjectRefGenerator) -> None:
        """Note what a call gives at its end."""
        last = returned[0] if isinstance(returned, list) and returned else None
        if isinstance(returned, ObjectRefGenerator):
            last = returned.completed()
        if last is None:  # num_returns=0: nobody will know when it has ended.
            self.leave(call)
        else:
            self._calls[call] = last
            last._when_ready(lambda value, error: self.leave(call))


def weak_handle(actor: bytes, dumped: bytes) -> ActorHandle[Any]:
    """Return a handle that does not keep its actor alive: what `get_actor` and `current_actor` give."""
    return ActorHandle(weak_actor(actor), load_table(dumped), dumped, weak=True)


def current_handle() -> ActorHandle[Any]:
    """Return the handle of the actor that runs this code.

    Raises
    ------
    RuntimeError
        This is not an actor.
    """
    process = registry.required().process
    if process.actor is None:
        raise RuntimeError("This method is only available in an actor.")
    return weak_handle(process.actor, process.actor_handle)


def exit_actor() -> NoReturn:
    """End the actor that runs this code, after this call; it is not restarted.

    Calls that run besides it are finished, those that wait are not begun. The caller of the method sees a
    `RayActorError`. Exit handlers run.

    Raises
    ------
    SystemExit
        In the method, to end it; in an event loop an `AsyncioActorExit` instead. To catch it does not keep the actor.
    TypeError
        This is not an actor.

    Notes
    -----
    Source: Ray's ``ray.actor.exit_actor``.
    """
    engine = registry.current()
    if engine is None or engine.process.actor is None:
        raise TypeError("exit_actor API is called on a non-actor worker: only a method of an actor may call it.")
    leave_actor(engine.process)


def _rebuild(ref: ActorRef, dumped: bytes) -> ActorHandle[Any]:
    return ActorHandle(ref, load_table(dumped), dumped)


def _rebuild_weak(actor: bytes | ActorRef, dumped: bytes) -> ActorHandle[Any]:
    if isinstance(actor, ActorRef):
        return ActorHandle(actor, load_table(dumped), dumped, weak=True)
    return weak_handle(actor, dumped)


def _rebuild_method(handle: ActorHandle[Any], name: str, options: tables.MethodOptions) -> ActorMethod:
    return ActorMethod(handle, handle._ray_table.methods[name], options)
