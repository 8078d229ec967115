"""Actor classes: what ``@remote`` makes of a class, and how an actor is started."""

from __future__ import annotations

import types
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NoReturn, TypeVar, Union

import msgspec

from jupyter_ray import options as tables
from jupyter_ray.api.handles import NO_GRAPHS, ActorHandle, weak_handle
from jupyter_ray.api.methods import Table, dump_table, load_table, read_table
from jupyter_ray.api.parameters import Parameters, read
from jupyter_ray.api.travelling import Travelled, packed, unpacked
from jupyter_ray.engine import registry
from jupyter_ray.engine.base import Definition
from jupyter_ray.environments import copied
from jupyter_ray.options import ASYNC_CONCURRENCY, ActorOptions

T = TypeVar("T")
_WHAT = "actors"


class ActorClassInheritanceException(TypeError):
    """A class inherits from an actor class. Source: Ray's exception of this name."""


_known: weakref.WeakValueDictionary[str, ActorClass[Any]] = weakref.WeakValueDictionary()


class ActorClass(Generic[T]):
    """A class whose instances are actors. Made by ``@remote``; start one with ``.remote(...)``.

    Attributes of the class, static and class methods included, can be read through it. Source: Ray's ``ActorClass``.
    """

    def __init__(
        self, definition: Definition, parameters: Parameters, dumped: bytes, written: Mapping[str, Any]
    ) -> None:
        if not isinstance(definition, Definition):  # `class B(A)` calls the type of A with a name, bases and a body.
            raise ActorClassInheritanceException(_NO_SUBCLASS)
        self._definition = definition
        self._parameters = parameters
        self._dumped = dumped
        self._written = copied(dict(written))
        self._options = tables.actor_options(self._written)
        value = definition.value
        self.__doc__ = value.__doc__ if value is not None else None
        self.__module__ = definition.module
        self.__name__ = definition.name.rpartition(".")[2]
        self.__qualname__ = value.__qualname__ if value is not None else definition.name

    @property
    def __ray_metadata__(self) -> types.SimpleNamespace:
        """What Ray keeps here: `modified_class` is the user's class, `class_name` its name."""
        return types.SimpleNamespace(modified_class=self._class(), class_name=self._definition.name)

    @property
    def __ray_actor_class__(self) -> Any:
        """The user's class (private in Ray too, but widely used: by tests of actors, without a session)."""
        return self._class()

    @property
    def _default_options(self) -> dict[str, Any]:
        """The options that were written (private in Ray too, but widely read)."""
        return dict(self._written)

    def _class(self) -> Any:
        """Return the user's class; where only its id is known (its own name in its methods), the engine has it."""
        value = self._definition.value
        if value is None:
            value = self.__dict__.get("_fetched")
        if value is None:
            engine = registry.current()
            value = self._fetched = engine.definition(self._definition.id) if engine is not None else None
        return value

    def remote(self, /, *args: Any, **kwargs: Any) -> ActorHandle[T]:
        """Start an actor.

        Parameters
        ----------
        *args, **kwargs
            The constructor's arguments; references at top level are replaced by their values.

        Returns
        -------
        ActorHandle
            At once; calls wait until the constructor has returned. With `get_if_exists`, perhaps that of a living
            actor.

        Raises
        ------
        TypeError
            The arguments do not fit the constructor, or cannot be pickled; the name is not a string.
        ValueError
            The name is taken or empty.
        ActorUnschedulableError
            This machine can never give what the actor asks for.
        """
        self._parameters.check(self._definition.name, args, kwargs)
        table = load_table(self._dumped)
        options = _resolved(self._options, table)
        engine = registry.current() or registry.required()
        ref, created = engine.create_actor(
            self._definition, args, kwargs, options, is_async=table.is_async, handle=self._dumped
        )
        if not created:
            found = engine.get_actor(options.name or "", options.namespace)
            dumped = self._dumped if found is None else found.handle
            return weak_handle(ref.binary(), dumped)
        return ActorHandle(ref, table, self._dumped)

    def _remote(
        self, args: Sequence[Any] | None = None, kwargs: dict[str, Any] | None = None, **changes: Any
    ) -> ActorHandle[T]:
        """Start an actor with other options (private in Ray too, but widely used)."""
        return self.options(**changes).remote(*(args or ()), **(kwargs or {}))

    def options(self, **changes: Any) -> ActorClass[T]:
        """Return a copy with other options; this one stays as it is.

        Raises
        ------
        ValueError
            An option is unknown or out of range, or is `concurrency_groups`, which only the decorator takes.
        TypeError
            An option has the wrong type.
        """
        tables.check_override(tables.ACTOR, _WHAT, changes, self._written)
        written = {**self._written, **changes}
        dumped = self._dumped
        if _OF_CALLS & changes.keys():
            dumped = dump_table(_with_options(load_table(dumped), tables.actor_options(written)))
        return ActorClass(self._definition, self._parameters, dumped, written)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise a TypeError: instances are made with `.remote()`."""
        name = self._definition.name
        raise TypeError(f"Actors cannot be instantiated directly. Instead of '{name}()', use '{name}.remote()'.")

    def bind(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise a NotImplementedError: lazily built graphs are not offered."""
        raise NotImplementedError(NO_GRAPHS)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        raise ActorClassInheritanceException(_NO_SUBCLASS)

    def __instancecheck__(self, instance: Any) -> bool:
        """Answer for the user's class, as in ``isinstance(other, Counter)`` of its own methods."""
        return isinstance(instance, self._class())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self._class())

    def __or__(self, other: Any) -> Any:
        """Make an annotation of ``Counter | None``, as a class does."""
        return Union[self, other]  # noqa: UP007

    __ror__ = __or__

    def __dir__(self) -> list[str]:
        value = self._class()
        return sorted({*(() if value is None else dir(value)), *vars(self), "bind", "options", "remote"})

    def __getattr__(self, name: str) -> Any:
        if "_definition" not in self.__dict__ or name.startswith("__") or (value := self._class()) is None:
            raise AttributeError(f"The actor class has no attribute {name!r}.")
        return getattr(value, name)

    def __repr__(self) -> str:
        return f"ActorClass({self._definition.name})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (packed(self._definition), self._parameters, self._dumped, self._written)


def make_actor_class(value: type, written: Mapping[str, Any]) -> ActorClass[Any]:
    """Return the actor class of a user's class; what `remote` calls."""
    if any(isinstance(base, ActorClass) for base in getattr(value, "__orig_bases__", ())):
        raise ActorClassInheritanceException(_NO_SUBCLASS)
    if missing := sorted(getattr(value, "__abstractmethods__", ())):
        raise TypeError(
            f"Can't instantiate abstract class {value.__name__} with abstract methods {', '.join(missing)}."
        )
    tables.check(tables.ACTOR, _WHAT, written)
    table = read_table(value, tables.actor_options(written))
    definition = Definition(
        value=value,
        name=value.__qualname__.rpartition("<locals>.")[2],
        module=value.__module__,
        is_class=True,
    )
    made: ActorClass[Any] = ActorClass(definition, read(value), dump_table(table), written)
    _known[definition.id] = made
    return made


_NO_SUBCLASS = (
    "Inheriting from actor classes is not currently supported. The base is an ActorClass: give the plain base class a "
    "name of its own, inherit from that, and apply @ray.remote to the result."
)


def _rebuild(travelled: Travelled, parameters: Parameters, dumped: bytes, written: dict[str, Any]) -> ActorClass[Any]:
    def make(definition: Definition) -> ActorClass[Any]:
        return ActorClass(definition, parameters, dumped, written)

    return unpacked(travelled, written, _known, make, is_class=True)


_OF_CALLS = {
    "max_task_retries",
    "max_pending_calls",
    "_actor_generator_backpressure_num_objects",
    "enable_task_events",
}
"""The only options of an actor that its calls depend on."""


def _with_options(table: Table, options: ActorOptions) -> Table:
    def change(method: Any) -> Any:
        own, told = "max_task_retries" in method.written, method.written.get("enable_task_events")
        changed = msgspec.structs.replace(
            method.options,
            max_task_retries=method.options.max_task_retries if own else options.max_task_retries,
            counted=options.generator_cap > 0,
            enable_task_events=options.enable_task_events if told is None else told,
        )
        return msgspec.structs.replace(method, options=changed)

    methods = {name: change(method) for name, method in table.methods.items()}
    return msgspec.structs.replace(table, methods=methods, max_pending_calls=options.max_pending_calls)


def _resolved(options: ActorOptions, table: Table) -> ActorOptions:
    """Check what can be known only now, and fill in the defaults that depend on the class."""
    if options.name == "":
        raise ValueError("Actor name cannot be an empty string. Leave `name` out for an actor without a name.")
    if options.namespace == "":
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
    concurrency = options.max_concurrency or (ASYNC_CONCURRENCY if table.is_async else 1)
    if options.allow_out_of_order_execution is False and (table.is_async or concurrency > 1):
        raise ValueError(
            "Async and threaded actors cannot run their calls in order: leave `allow_out_of_order_execution` out, "
            "or set it to True."
        )
    if options.max_concurrency == concurrency:
        return options
    return msgspec.structs.replace(options, max_concurrency=concurrency)
