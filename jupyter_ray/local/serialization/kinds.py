"""Classes, enumerations and names of `typing` that a notebook defines: what cloudpickle 3.1.3 makes wrong of them.

It makes a class anew each time, also where that is known, and sets its attributes to what they were where it comes
from. So a task that returned an instance would take back what the notebook has done to the class since, and what a
class knows of its subclasses (by `__init_subclass__` or its metaclass) would be such a copy without attributes. Here a
class is made once, and only a process that it has come to is told its attributes. Keywords of a class statement
(``class Child(Base, key="a")``) are not known any more; where it cannot be made without, it is made past those.

It makes an enumeration again of its members' values. Aliases and combined flags (``RW = R | W``) are left out then, or
set twice, which fails, and so is what a member got in the ``__init__`` or ``__new__`` of its class. Before Python 3.12,
a `TypedDict` that is derived from another one, or was made by a call, has bases of which none can be made. And of the
names that `typing` lets a program declare it knows `TypeVar` alone.
"""

from __future__ import annotations

import abc
import contextlib
import sys
import types
import typing
import weakref
from collections.abc import Iterator
from typing import Any

from cloudpickle import cloudpickle

from jupyter_ray.local.serialization import main_names

_OF_EVERY_MEMBER = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})
_arrived: weakref.WeakSet[type] = weakref.WeakSet()
"""The classes that have come to this process; it has defined the others itself."""
told_always = False
"""Whether classes also come in a way that this does not see: by Ray's own pickler, on a cluster."""


def complete(reduced: Any, kind: type) -> Any:
    """Return how a class is pickled, after `reduced`, what cloudpickle says of it."""
    make, arguments, *others = reduced
    if make is cloudpickle._make_skeleton_enum:
        return _complete_enum(arguments, others[0], kind)
    if make is not cloudpickle._make_skeleton_class:
        return reduced
    meta, name, bases, body, known, _ = arguments
    if type(kind).__name__ == "_TypedDictMeta" and bases == (dict,):
        bases = (sys.modules[type(kind).__module__].TypedDict,)
    top = main_names.is_top_level(kind)
    return _class, (meta, name, bases, body, known, top), others[0], None, None, _set_class_state


def _class(meta: Any, name: str, bases: tuple[Any, ...], body: dict[str, Any], known: str, top: bool) -> Any:
    found = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(known)
    if found is None:
        try:
            found = cloudpickle._make_skeleton_class(meta, name, bases, body, known, None)
        except Exception:
            with contextlib.suppress(Exception):
                found = cloudpickle._lookup_class_or_track(known, _bare_class(meta, name, bases, body))
            if found is None:
                raise
        _arrived.add(found)
        if top:
            main_names.note(found)
    return found


def _set_class_state(kind: Any, state: Any) -> None:
    if told_always or kind in _arrived:
        cloudpickle._class_setstate(kind, state)


def _bare_class(meta: Any, name: str, bases: tuple[Any, ...], body: dict[str, Any]) -> Any:
    """Make a class and ask neither its metaclass nor `__init_subclass__`: all that these have done comes with it."""
    resolved = types.resolve_bases(bases)
    make: Any = abc.ABCMeta if issubclass(meta, abc.ABCMeta) else type
    asked = [each for base in resolved for each in base.__mro__[:-1] if "__init_subclass__" in vars(each)]
    originals = [(each, vars(each)["__init_subclass__"]) for each in dict.fromkeys(asked)]
    try:
        for each, _ in originals:
            type.__setattr__(each, "__init_subclass__", classmethod(lambda cls, **_: None))
        original = {} if resolved is bases else {"__orig_bases__": bases}
        return make.__new__(meta, name, resolved, {**body, **original})
    finally:
        for each, way in originals:
            type.__setattr__(each, "__init_subclass__", way)


def _complete_enum(arguments: Any, state: Any, kind: Any) -> Any:
    bases, name, qualname, _members, *rest = arguments
    attributes, slots = state
    named = dict(kind.__members__)
    values = {each: member.value for each, member in named.items()}
    attributes = {each: value for each, value in attributes.items() if each not in named}
    own = {
        member.name: {each: value for each, value in vars(member).items() if each not in _OF_EVERY_MEMBER}
        for member in named.values()
    }
    state = (attributes, slots), {each: value for each, value in own.items() if value}
    return _enum, (bases, name, qualname, values, *rest), state, None, None, _set_enum_state


def _enum(bases: Any, name: str, qualname: str, members: Any, module: str, known: str, extra: Any) -> Any:
    found = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(known)
    if found is None:
        found = cloudpickle._make_skeleton_enum(bases, name, qualname, members, module, known, extra)
        _arrived.add(found)
        if main_names.is_top_level(found):
            main_names.note(found)
    return found


def _set_enum_state(kind: Any, state: Any) -> None:
    of_class, of_members = state
    _set_class_state(kind, of_class)
    if told_always or kind in _arrived:
        for name, attributes in of_members.items():
            vars(kind.__members__[name]).update(attributes)


def _reduce_declared(value: Any) -> Any:
    """A `NewType`, `ParamSpec` or `TypeVarTuple`, which goes by name where that can be imported."""
    name = getattr(value, "__qualname__", value.__name__)
    if is_importable(value, name):
        return str(name)
    if type(value) is typing.NewType:
        arguments: tuple[Any, ...] = (value.__name__, value.__supertype__)
        options = {}
    else:
        arguments = (value.__name__,)
        names = ("bound", "covariant", "contravariant") if type(value) is typing.ParamSpec else ()
        options = {each: getattr(value, f"__{each}__") for each in names}
    known = cloudpickle._get_or_create_tracker_id(value)
    return _declared, (type(value), arguments, options, value.__module__, known)


def _declared(kind: Any, arguments: tuple[Any, ...], options: dict[str, Any], module: str, known: str) -> Any:
    made = kind(*arguments, **options)
    made.__module__ = module
    return cloudpickle._lookup_class_or_track(known, made)


def _reduce_alias(value: Any) -> Any:
    """What ``type Name = ...`` has made, of Python 3.12 and later."""
    if is_importable(value, value.__name__):
        return str(value.__name__)
    return _alias, (type(value), value.__name__, value.__value__, value.__type_params__)


def _alias(kind: Any, name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    return kind(name, value, type_params=parameters)


def is_importable(value: Any, name: str) -> bool:
    """Tell whether what a module defines goes by name, as a worker can import it."""
    place = cloudpickle._lookup_module_and_qualname(value, name=name)
    return place is not None and not cloudpickle._is_registered_pickle_by_value(place[0])


def _reduce_weak_dict(value: Any) -> Any:
    """A dictionary with weak keys or values, such as `functools.singledispatch` has: with what is in it now."""
    return type(value), (), None, None, _items(value)


def _items(value: Any) -> Iterator[Any]:
    yield from list(value.items())


_BY_NAME = {
    "NewType": _reduce_declared,
    "ParamSpec": _reduce_declared,
    "TypeVarTuple": _reduce_declared,
    "TypeAliasType": _reduce_alias,
}

REDUCERS: dict[type, Any] = {
    weakref.WeakKeyDictionary: _reduce_weak_dict,
    weakref.WeakValueDictionary: _reduce_weak_dict,
    **{getattr(typing, name): reduce for name, reduce in _BY_NAME.items() if hasattr(typing, name)},
}
"""For what cloudpickle has no reducer, or one that finds it by its name alone."""
