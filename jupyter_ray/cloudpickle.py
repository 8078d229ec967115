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

__all__ = [
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


def dumps_debug(value: Any, protocol: int | None = None) -> bytes:
    """Return `value` pickled; a TypeError that names the value if that cannot be."""
    try:
        dumped: bytes = dumps(value, protocol)
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"Could not serialize {value!r}: {error}") from error
    return dumped
