"""What the methods of an actor's class are: read once from the class, and carried by every handle.

The table travels: it is pickled once per class and set of options, goes with each handle as bytes, and is unpickled
once per process. It holds names and options only, never the user's code, so that a handle can be used where the class
cannot be imported.
"""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from jupyter_ray import options as tables
from jupyter_ray.api.parameters import Parameters, read
from jupyter_ray.options import ActorOptions, MethodOptions
from jupyter_ray.spelling import meant

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__ray_method_options__"
_EXTRA = {
    "__ray_ready__": Parameters(()),
    "__ray_call__": Parameters((("fn", 1, True), ("args", 2, False), ("kwargs", 4, False))),
    "__ray_terminate__": Parameters(()),
}
"""Methods that every actor has; workers know them. Source: Ray."""


class Method(msgspec.Struct, frozen=True):
    """One method, as its callers see it. `options` are complete; `written` are what its decorator said."""

    name: str
    parameters: Parameters
    options: MethodOptions
    is_generator: bool | None
    written: dict[str, Any]
    decorator: Callable[..., Any] | None = None


class Table(msgspec.Struct, frozen=True):
    """All that a handle knows of its actor's class."""

    class_name: str
    methods: dict[str, Method]
    is_async: bool
    groups: tuple[str, ...]
    max_pending_calls: int


def method(*args: Any, **options: Any) -> Any:
    """Say how a method of an actor is called.

    Parameters
    ----------
    *args
        The method, where the decorator is used bare.
    **options
        `num_returns`, `concurrency_group`, `max_task_retries`, `retry_exceptions`,
        `_generator_backpressure_num_objects`, `enable_task_events`, and `writable` and `inout` for buffers.
        `tensor_transport` is accepted and has no effect.

    Returns
    -------
    function
        The method itself, marked; with options only, a decorator.

    Raises
    ------
    AssertionError
        A keyword is unknown (as in Ray).
    ValueError, TypeError
        A value is out of range, or of the wrong type.

    Notes
    -----
    Source: Ray's ``ray.method``.
    """
    if len(args) == 1 and callable(args[0]) and not options:
        return _mark(args[0], {})
    valid = list(tables.METHOD)
    if args:
        raise AssertionError(
            "The @ray.method decorator must be applied using no arguments or at least one of the arguments in the list "
            f"{valid}, for example '@ray.method(num_returns=2)'."
        )
    for name in options:
        if name not in tables.METHOD:
            raise AssertionError(
                f"Unexpected keyword argument to @ray.method: '{name}'.{meant(name, valid)} "
                f"The supported keyword arguments are {valid}"
            )
    tables.check(tables.METHOD, "actor methods", options)
    return functools.partial(_mark, options=options)


def _mark(function: F, options: dict[str, Any]) -> F:
    target: Any = getattr(function, "__func__", function)  # A classmethod's or staticmethod's function.
    tables.check_yields(options.get("num_returns", 1), _yields(target))
    setattr(target, _MARK, options)
    return function


def read_table(cls: type, options: ActorOptions) -> Table:
    """Return the table of an actor's class.

    Raises
    ------
    ValueError
        A method joins a concurrency group that the class does not have, or streams without yielding.
    """
    label = cls.__qualname__.rpartition("<locals>.")[2]
    methods = {name: _read_method(label, name, found, cls, options) for name, found in _methods_of(cls)}
    for name, parameters in _EXTRA.items():
        complete = _complete(MethodOptions(num_returns=1, name=f"{label}.{name}"), options)
        methods.setdefault(name, Method(name, parameters, complete, False, {}))
    groups = tuple(options.concurrency_groups or ())
    for each in methods.values():
        group = each.options.concurrency_group
        if group and group not in groups:
            raise ValueError(
                f"Method {each.name!r} of {cls.__qualname__} is in the concurrency group {group!r}, which the actor "
                f"does not have. Its groups are {list(groups)}: add it with @ray.remote(concurrency_groups={{...}})."
            )
    is_async = any(_is_async(inspect.unwrap(getattr(cls, name))) for name in methods if hasattr(cls, name))
    return Table(cls.__name__, methods, is_async, groups, options.max_pending_calls)


def dump_table(table: Table) -> bytes:
    """Return the table as bytes."""
    try:
        return pickle.dumps(table, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError):
        import cloudpickle  # There is an exception class of the notebook in `retry_exceptions`.

        dumped: bytes = cloudpickle.dumps(table, protocol=5)
        return dumped


@functools.lru_cache(maxsize=1024)
def load_table(dumped: bytes) -> Table:
    """Return the table that `dump_table` dumped; remembered, since handles of one class arrive again and again."""
    table: Table = pickle.loads(dumped)
    return table


def _methods_of(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield name and function of what a handle can call, class and static methods included. Source: Ray."""
    for name in dir(cls):
        try:
            static = inspect.getattr_static(cls, name)
        except AttributeError:
            continue
        found = static.__func__ if isinstance(static, classmethod | staticmethod) else static
        if inspect.isfunction(found) or (not name.startswith("__") and inspect.isroutine(found)):
            # `isroutine` covers Cython's functions and the methods of its cdef classes.
            yield name, found


def _read_method(label: str, name: str, function: Any, cls: type, actor: ActorOptions) -> Method:
    written: dict[str, Any] = dict(getattr(function, _MARK, {}))
    parameters = read(function, drop_first=not isinstance(inspect.getattr_static(cls, name), staticmethod))
    is_generator = _yields(function)
    options = _complete(tables.method_options(written, is_generator=is_generator), actor)
    options = msgspec.structs.replace(options, name=f"{label}.{name}")  # What its tasks are called (as in Ray).
    parameters.check_buffers(name, (options.writable, options.inout))
    return Method(
        name, parameters, options, is_generator, written, getattr(function, "__ray_invocation_decorator__", None)
    )


def _complete(options: MethodOptions, actor: ActorOptions) -> MethodOptions:
    """Fill in what the method leaves to its actor."""
    told = options.enable_task_events
    options = msgspec.structs.replace(
        options, counted=actor.generator_cap > 0, enable_task_events=actor.enable_task_events if told is None else told
    )
    if options.max_task_retries is not None:
        return options
    return msgspec.structs.replace(options, max_task_retries=actor.max_task_retries)


def _yields(function: Any) -> bool | None:
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        return True
    return False if inspect.isfunction(inner) else None


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
