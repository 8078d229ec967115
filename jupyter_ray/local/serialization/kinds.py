"""Enumerations, typed dictionaries and names of `typing` that a notebook defines: what cloudpickle 3.1.3 loses of them.

It makes an enumeration again of its members' values. Aliases and combined flags (``RW = R | W``) are left out then, or
set twice, which fails, and so is what a member got in the ``__init__`` or ``__new__`` of its class. Before Python 3.12,
a `TypedDict` that is derived from another one, or was made by a call, has bases of which none can be made. And of the
names that `typing` lets a program declare it knows `TypeVar` alone.
"""

from __future__ import annotations

import sys
import typing
import weakref
from collections.abc import Iterator
from typing import Any

from cloudpickle import cloudpickle

_OF_EVERY_MEMBER = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})


def complete(reduced: Any, kind: type) -> Any:
    """Return how a class is pickled, after `reduced`, what cloudpickle says of it."""
    if type(kind).__name__ == "_TypedDictMeta" and reduced[1][2] == (dict,):
        make, (meta, name, _bases, *rest), *others = reduced
        return make, (meta, name, (sys.modules[type(kind).__module__].TypedDict,), *rest), *others
    if reduced[0] is cloudpickle._make_skeleton_enum:
        return _complete_enum(reduced, kind)
    return reduced


def _complete_enum(reduced: Any, kind: Any) -> Any:
    make, (bases, name, qualname, _members, *rest), (attributes, slots), *_ = reduced
    named = dict(kind.__members__)
    values = {each: member.value for each, member in named.items()}
    attributes = {each: value for each, value in attributes.items() if each not in named}
    own = {
        member.name: {each: value for each, value in vars(member).items() if each not in _OF_EVERY_MEMBER}
        for member in named.values()
    }
    state = (attributes, slots), {each: value for each, value in own.items() if value}
    return make, (bases, name, qualname, values, *rest), state, None, None, _set_enum_state


def _set_enum_state(kind: Any, state: Any) -> None:
    of_class, of_members = state
    cloudpickle._class_setstate(kind, of_class)
    for name, attributes in of_members.items():
        member = vars(kind.__members__[name])
        for each, value in attributes.items():
            member.setdefault(each, value)  # Where the class comes back to its program, this is it.


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
