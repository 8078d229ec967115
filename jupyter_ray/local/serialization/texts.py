"""Long lists of strings, which the pickler looks up in a table one by one."""

from __future__ import annotations

import io
import pickle
from typing import Any

PROTOCOL = 5

MANY_TEXTS = 1_000
"""Elements of a list from which on it is looked whether all are strings."""

_LONGEST_TEXT = 1_024


class Texts:
    """Lets a long list of strings be written without the table in which the pickler looks for each: many times as fast.

    One that is in the list twice is written twice.
    """

    __slots__ = ("value",)

    def __init__(self, value: list[str]) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        file = io.BytesIO()
        pickler = pickle.Pickler(file, PROTOCOL)
        pickler.fast = True
        pickler.dump(self.value)
        return pickle.loads, (pickle.PickleBuffer(file.getvalue()),)


def are_texts(value: list[Any]) -> bool:
    """Tell whether a list holds strings alone; going by some of them, short ones that are not there twice."""
    some = value[:: len(value) // 100]
    return (
        set(map(type, some)) == {str}
        and len(set(map(id, some))) == len(some)
        and max(map(len, some)) <= _LONGEST_TEXT
        and set(map(type, value)) == {str}
    )
