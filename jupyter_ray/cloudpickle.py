"""Ray's ``ray.cloudpickle``: the pickler that ships functions and classes by value."""

from __future__ import annotations

from typing import Any

from cloudpickle import (
    CloudPickler,
    Pickler,
    dump,
    dumps,
    load,
    loads,
    register_pickle_by_value,
    unregister_pickle_by_value,
)
from cloudpickle import __version__ as __version__
from cloudpickle.cloudpickle import DEFAULT_PROTOCOL

__all__ = [
    "DEFAULT_PROTOCOL",
    "CloudPickler",
    "Pickler",
    "dump",
    "dumps",
    "dumps_debug",
    "load",
    "loads",
    "register_pickle_by_value",
    "unregister_pickle_by_value",
]


def dumps_debug(obj: Any, *args: Any, **kwargs: Any) -> bytes:
    """Return `obj` pickled; a TypeError that names it if that cannot be. The rest is for `dumps`."""
    try:
        dumped: bytes = dumps(obj, *args, **kwargs)
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"Could not serialize {obj!r}: {error}") from error
    return dumped
