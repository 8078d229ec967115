"""Globals that a function's code reads in another way than functions do: cloudpickle 3.1.3 takes them not along.

They are named in class bodies inside it (``shape: np.ndarray`` in a dataclass that a task makes, ``rate = RATE``), in
shell commands (``!ls {folder}``, which IPython makes a call of the shell's with a text), and in what pandas is asked
(``table.query("size > @limit")``).
"""

from __future__ import annotations

import dis
import inspect
import re
import types
from collections.abc import Iterator

_LOADS = ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_OF_ITS_OWN = frozenset({"__name__"})
"""A class's module, which each one reads, is that of the function."""

_SHELL, _COMMANDS = "get_ipython", ("system", "getoutput")
_VARIABLE = re.compile(r"[{$]\s*([A-Za-z_]\w*)")
_QUERIES = frozenset({"query", "eval"})
_QUERIED = re.compile(r"@\s*([A-Za-z_]\w*)")


def unseen_names(code: types.CodeType) -> Iterator[str]:
    """Yield names that `code`, with all code inside it, may look up among the globals, besides those that it shows."""
    yield from _in_classes(code)
    yield from _in_texts(code)


def _in_texts(code: types.CodeType) -> Iterator[str]:
    used = frozenset(code.co_names)
    shell = _SHELL in used and any(each in used for each in _COMMANDS)
    asks = not used.isdisjoint(_QUERIES)
    own = {*code.co_varnames, *code.co_cellvars, *code.co_freevars} if asks else ()
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _in_texts(each)
        elif isinstance(each, str):
            if shell:
                yield from _VARIABLE.findall(each)
            if asks:
                yield from (name for name in _QUERIED.findall(each) if name not in own)


def _in_classes(code: types.CodeType, inside: bool = False) -> Iterator[str]:
    """Yield the names that class bodies inside `code` read, but for those that the body has given a value before.

    `inside`: the code itself is a part of a class, whose annotations may be code of their own.
    """
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            within = inside or not each.co_flags & inspect.CO_OPTIMIZED  # All but class bodies have their own locals.
            if within:
                yield from _read(each)
            yield from _in_classes(each, within)


def _read(body: types.CodeType) -> Iterator[str]:
    known = set(_OF_ITS_OWN)
    for instruction in dis.get_instructions(body):
        if instruction.opname == "STORE_NAME" or instruction.opname in _LOADS:
            if instruction.opname in _LOADS and instruction.argval not in known:
                yield instruction.argval
            known.add(instruction.argval)
