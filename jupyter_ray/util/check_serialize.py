"""``inspect_serializability``: find what keeps a value from being pickled."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

import cloudpickle

_OF_ANY_CLASS = frozenset({"__module__", "__dict__", "__weakref__", "__doc__", "__qualname__"})


class FailureTuple(NamedTuple):
    """Something that does not pickle.

    Attributes
    ----------
    obj
        The value.
    path
        The variables that lead to it; empty for the value that was asked about, unless it was given a name.
    parent
        What refers to it.
    """

    obj: Any
    path: tuple[str, ...]
    parent: Any

    @property
    def name(self) -> str:
        """The variable itself."""
        return self.path[-1] if self.path else type(self.obj).__name__

    def __repr__(self) -> str:
        return f"FailTuple({self.name} [path={' -> '.join(self.path)}, obj={self.obj}, parent={self.parent}])"


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: TextIO | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Tell whether a value can be pickled, and if not, because of what.

    Parameters
    ----------
    base_obj
        The value.
    name
        What to call it in the report.
    depth
        How deep to look into closures, globals and attributes.
    print_file
        Where the report goes; None: standard output.

    Returns
    -------
    (bool, set of FailureTuple)
        Whether it pickles, and the innermost values found that do not.

    Notes
    -----
    Source: Ray's ``ray.util.inspect_serializability``.
    """
    file = print_file or sys.stdout
    failures: list[FailureTuple] = []
    what = name or getattr(base_obj, "__qualname__", None) or repr(base_obj)[:80]
    print(f"Checking whether {what} can be serialized", file=file)
    error = _error(base_obj)
    if error is None:
        print("It can.", file=file)
        return True, set()
    print(f"It cannot: {error}", file=file)
    _search(base_obj, (name,) if name else (), None, depth, failures, set())
    for failure in failures:
        print(f"  {' -> '.join(failure.path) or what}: {failure.obj!r} does not pickle", file=file)
    return False, set(failures)


def _error(value: Any) -> Exception | None:
    try:
        cloudpickle.dumps(value)
    except Exception as error:
        return error
    return None


def _search(
    value: Any, path: tuple[str, ...], parent: Any, depth: int, failures: list[FailureTuple], seen: set[int]
) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    inner = [(key, part) for key, part in _parts(value) if _error(part) is not None] if depth else []
    for key, part in inner:
        _search(part, (*path, key), value, depth - 1, failures, seen)
    if not inner:
        failures.append(_hashable(value, path, parent))


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, staticmethod | classmethod | property):
        value = value.fget if isinstance(value, property) else value.__func__
    if inspect.isfunction(value):
        found = inspect.getclosurevars(value)  # Of a decorated one, those of the wrapper; what it wraps is among them.
        yield from found.nonlocals.items()
        yield from found.globals.items()
    elif isinstance(value, dict):
        yield from ((str(key), part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"item {n}", part) for n, part in enumerate(value))
    elif inspect.isclass(value):  # Its special methods, too: a constructor is where most variables are used.
        yield from ((key, part) for key, part in vars(value).items() if key not in _OF_ANY_CLASS)
    else:
        yield from ((key, part) for key, part in getattr(value, "__dict__", {}).items() if not key.startswith("__"))


def _hashable(value: Any, path: tuple[str, ...], parent: Any) -> FailureTuple:
    def safe(each: Any) -> Any:
        try:
            hash(each)
        except TypeError:
            return repr(each)
        return each

    return FailureTuple(safe(value), path, safe(parent))
