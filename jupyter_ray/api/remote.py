"""``@remote``, and remote functions.

A `RemoteFunction` is prepared when it is decorated: options checked and made into one record, the signature read. What
is left for ``.remote()`` is a comparison of the number of arguments and the engine's `submit`.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from jupyter_ray import options as tables
from jupyter_ray.api.actors import ActorClass, make_actor_class
from jupyter_ray.api.handles import NO_GRAPHS
from jupyter_ray.api.parameters import Parameters, read
from jupyter_ray.api.travelling import Travelled, packed, unpacked
from jupyter_ray.engine import registry
from jupyter_ray.engine.base import Definition
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.environments import copied
from jupyter_ray.spelling import no_option

R = TypeVar("R")
T = TypeVar("T")
Returned = list[ObjectRef[Any]] | ObjectRefGenerator

_WHAT = "remote functions"
_known: weakref.WeakValueDictionary[str, RemoteFunction[Any]] = weakref.WeakValueDictionary()


class RemoteFunction(Generic[R]):
    """A function whose calls are tasks. Made by ``@remote``; call it with ``.remote(...)``.

    Notes
    -----
    Source: Ray's ``RemoteFunction``.
    """

    def __init__(
        self,
        definition: Definition,
        parameters: Parameters,
        is_generator: bool | None,
        written: Mapping[str, Any],
        decorator: Callable[..., Any] | None = None,
    ) -> None:
        self._definition = definition
        self._parameters = parameters
        self._is_generator = is_generator
        self._written = copied(dict(written))
        self._decorator = decorator
        self._called = ""
        self._options = tables.task_options(self._written, is_generator=is_generator)
        parameters.check_buffers(definition.name, (self._options.writable, self._options.inout))
        self._least = parameters.least
        self._most = parameters.most
        self._single = self._options.num_returns in (1, "dynamic")
        if definition.value is not None:
            _describe(self, definition.value)

    @property
    def _function(self) -> Any:
        """The function itself; where only its id is known (in a task), the engine has it."""
        value = self._definition.value
        engine = registry.current() if value is None else None
        return value if engine is None else engine.definition(self._definition.id)

    @property
    def _function_name(self) -> str:
        """What the function is called in messages (private in Ray too, but smallpond sets it)."""
        return self._called or f"{self._definition.module}.{self._definition.name}"

    @_function_name.setter
    def _function_name(self, name: str) -> None:
        self._called = name

    @property
    def _default_options(self) -> dict[str, Any]:
        """The options that were written (private in Ray too, but widely read)."""
        return dict(self._written)

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Start a task.

        Parameters
        ----------
        *args, **kwargs
            The function's arguments. An `ObjectRef` is replaced by its value before the task starts; one inside a
            container is not.

        Returns
        -------
        ObjectRef, list of ObjectRef, ObjectRefGenerator or None
            As `num_returns` says.

        Raises
        ------
        TypeError
            The arguments do not fit the function, or cannot be pickled.
        TaskUnschedulableError
            This machine can never give what the task asks for.
        """
        if kwargs or not self._least <= len(args) <= self._most:
            self._parameters.check(self._definition.name, args, kwargs)
        if self._decorator is not None:
            return self._decorator(self._submit)(args, kwargs)
        engine = registry.current() or registry.required()
        returned = engine.submit(self._definition, args, kwargs, self._options)
        return returned[0] if self._single else shape(returned)  # type: ignore[index]

    def _submit(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return shape(registry.required().submit(self._definition, args, kwargs, self._options), single=self._single)

    def _remote(self, args: Sequence[Any] | None = None, kwargs: dict[str, Any] | None = None, **changes: Any) -> Any:
        """Start a task with other options (private in Ray too, but widely used)."""
        return self.options(**changes).remote(*(args or ()), **(kwargs or {}))

    def options(self, **changes: Any) -> RemoteFunction[R]:
        """Return a copy with other options; this one stays as it is.

        Raises
        ------
        ValueError
            An option is unknown or out of range, or is `max_calls`, which only the decorator takes.
        TypeError
            An option has the wrong type.
        """
        tables.check_override(tables.TASK, _WHAT, changes, self._written)
        if not changes.get("runtime_env"):  # As in Ray: who passes on that there is none has the decorator's.
            changes.pop("runtime_env", None)
        if changes.get("_num_objects_per_yield") not in (None, self._options.per_yield):
            raise ValueError("_num_objects_per_yield cannot be overridden in '.options()': say it in @ray.remote.")
        return RemoteFunction(
            self._definition, self._parameters, self._is_generator, {**self._written, **changes}, self._decorator
        )

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise a TypeError: tasks are started with `.remote()`."""
        name = self._function_name
        raise TypeError(
            f"Remote functions cannot be called directly. Instead of running '{name}()', try '{name}.remote()'."
        )

    def bind(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise a NotImplementedError: lazily built graphs are not offered."""
        raise NotImplementedError(NO_GRAPHS)

    def __repr__(self) -> str:
        return f"<RemoteFunction {self._function_name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        travelled = packed(self._definition)
        return _rebuild, (travelled, self._parameters, self._is_generator, self._written, self._decorator)


def shape(returned: Returned, *, single: bool = False) -> Any:
    """Return what `.remote()` returns for these references: None for none, one as it is. Source: Ray."""
    if not isinstance(returned, list):
        return returned
    if single or len(returned) == 1:
        return returned[0]
    return returned or None


def _rebuild(
    travelled: Travelled,
    parameters: Parameters,
    is_generator: bool | None,
    written: dict[str, Any],
    decorator: Callable[..., Any] | None,
) -> RemoteFunction[Any]:
    def make(definition: Definition) -> RemoteFunction[Any]:
        return RemoteFunction(definition, parameters, is_generator, written, decorator)

    return unpacked(travelled, written, _known, make)


def _describe(wrapper: Any, function: Any) -> None:
    """Give the wrapper the name, the docstring and the module of what it wraps, so that help() and reprs show them."""
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        value = getattr(function, name, None)
        if isinstance(value, str):
            setattr(wrapper, name, value)


def _unwrapped(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name_of(function: Any) -> str:
    inner = _unwrapped(function)
    name = getattr(inner, "__qualname__", None) or getattr(inner, "__name__", None) or type(inner).__name__
    return str(name).rpartition("<locals>.")[2]


def _yields(function: Any) -> bool | None:
    """Tell whether calling `function` makes a generator; None: its code cannot be read (Cython, builtins)."""
    inner = _unwrapped(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        return True
    call = getattr(type(inner), "__call__", None)  # noqa: B004
    readable = inspect.isfunction(inner) or inspect.ismethod(inner) or inspect.isfunction(call)
    if inspect.isfunction(call) and not inspect.isfunction(inner):
        return inspect.isgeneratorfunction(call)
    return False if readable else None


def _make(target: Any, written: Mapping[str, Any]) -> Any:
    if isinstance(target, RemoteFunction | ActorClass):
        raise TypeError(
            "The @ray.remote decorator must be applied to either a function or a class, once: "
            f"{target!r} is remote already. Use .options(...) for other options."
        )
    if inspect.isclass(target):
        return make_actor_class(target, written)
    if not callable(target):
        raise TypeError("The @ray.remote decorator must be applied to either a function or a class.")
    inner = _unwrapped(target)
    if inspect.iscoroutinefunction(inner):
        raise ValueError(
            "'async def' should not be used for remote tasks. Wrap it in a plain function that calls asyncio.run(f()), "
            "or make it a method of an actor."
        )
    tables.check(tables.TASK, _WHAT, written)
    module = getattr(inner, "__module__", None) or ""
    definition = Definition(value=target, name=_name_of(target), module=module)
    decorator = getattr(target, "__ray_invocation_decorator__", None)
    function: RemoteFunction[Any] = RemoteFunction(definition, read(target), _yields(target), written, decorator)
    _known[definition.id] = function
    return function


if TYPE_CHECKING:

    class ReturningFunction(RemoteFunction[R]):
        """What the bare decorator gives, as type checkers see it: a call gives one reference (as in Ray)."""

        def remote(self, /, *args: Any, **kwargs: Any) -> ObjectRef[R]:
            """Start a task."""


@overload
def remote(target: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap]
@overload
def remote(target: Callable[..., Iterator[Any] | AsyncIterator[Any]], /) -> RemoteFunction[Any]: ...  # type: ignore[overload-overlap]
@overload
def remote(target: Callable[..., R], /) -> ReturningFunction[R]: ...
@overload
def remote(**options: Any) -> Callable[[Any], Any]: ...


def remote(*args: Any, **options: Any) -> Any:
    """Make a function's calls tasks, or a class's instances actors.

    Use it bare (``@remote``), with options (``@remote(num_cpus=2)``), or as a call (``remote(function)``), which also
    takes builtins, partials and Cython functions and classes.

    Parameters
    ----------
    *args
        The function or class.
    **options
        See `jupyter_ray.options`; the keywords are Ray's, and `writable` and `inout` for buffers.

    Returns
    -------
    RemoteFunction or ActorClass
        With options only: a decorator that returns one.

    Raises
    ------
    ValueError
        An option is unknown or out of range; the function is ``async def``.
    TypeError
        An option has the wrong type, the class is abstract, or this is neither function nor class.
    AssertionError
        There are empty parentheses, or what is given alone is neither function nor class (both as in Ray).

    Notes
    -----
    Source: Ray's ``ray.remote``.
    """
    if len(args) == 1 and not options and callable(args[0]):
        return _make(args[0], {})
    if args or not options:
        valid = sorted({*tables.TASK, *tables.ACTOR})
        raise AssertionError(
            "The @ray.remote decorator must be applied either with no arguments and no parentheses, for example "
            f"'@ray.remote', or it must be applied using some of the arguments in the list {valid}, for example "
            "'@ray.remote(num_returns=2, resources={\"CustomResource\": 1})'."
        )
    unknown = [name for name in options if name not in tables.TASK and name not in tables.ACTOR]
    if unknown:
        valid = sorted({*tables.TASK, *tables.ACTOR})
        raise ValueError(no_option(unknown[0], valid, " for remote functions and for actors"))
    return functools.partial(_decorate, options)


def _decorate(options: dict[str, Any], target: Any) -> Any:
    return _make(target, options)
