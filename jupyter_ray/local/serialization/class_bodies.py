"""What class bodies inside a function name: ``shape: np.ndarray`` in a dataclass that a task makes, ``rate = RATE``.

They look names up in another way than functions do, and cloudpickle 3.1.3 takes what they find no global along.
"""

from __future__ import annotations

import dis
import inspect
import types
from collections.abc import Iterator

_LOADS = ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_OF_ITS_OWN = frozenset({"__name__"})
"""A class's module, which each one reads, is that of the function."""


def names_in_classes(code: types.CodeType, inside: bool = False) -> Iterator[str]:
    """Yield the names that class bodies inside `code` read, but for those that the body has given a value before.

    `inside`: the code itself is a part of a class, whose annotations may be code of their own.
    """
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            within = inside or not each.co_flags & inspect.CO_OPTIMIZED  # All but class bodies have their own locals.
            if within:
                yield from _read(each)
            yield from names_in_classes(each, within)


def _read(body: types.CodeType) -> Iterator[str]:
    known = set(_OF_ITS_OWN)
    for instruction in dis.get_instructions(body):
        if instruction.opname == "STORE_NAME" or instruction.opname in _LOADS:
            if instruction.opname in _LOADS and instruction.argval not in known:
                yield instruction.argval
            known.add(instruction.argval)
