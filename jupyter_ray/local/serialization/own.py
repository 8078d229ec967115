"""A copy of a value whose arrays are its own, to write into: those in a DataFrame, a dict, an object of any class."""

from __future__ import annotations

import functools
import io
import pickle
from typing import Any

from jupyter_ray.engine.travel import collecting
from jupyter_ray.local.serialization import values


class _Taking(values.Pickler):
    """Leaves the arrays out, and keeps copies of them."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, values.PROTOCOL)
        self.copies: list[Any] = []
        self._places: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> int | None:
        if not values.is_array(type(obj)) or obj.dtype.hasobject:
            return None
        place = self._places.setdefault(id(obj), len(self.copies))
        if place == len(self.copies):
            self.copies.append(obj.copy(order="K"))  # In the order that it has: BLAS, for one, cares.
        return place


class _Giving(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, copies: list[Any]) -> None:
        super().__init__(file)
        self._copies = copies

    def persistent_load(self, pid: Any) -> Any:
        return self._copies[pid]


def with_own_arrays(value: Any) -> Any:
    """Return a copy of `value` whose arrays can be written to; `value` itself if there are none in it."""
    file = io.BytesIO()
    pickler = _Taking(file)
    collecting(functools.partial(pickler.dump, value))
    if not pickler.copies:
        return value
    file.seek(0)
    return _Giving(file, pickler.copies).load()
