"""``inspect_serializability``: find what keeps a value from being pickled."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

import cloudpickle


class FailureTuple(NamedTuple):
    """Something that does not pickle. `name` is its variable, `parent` what refers to it."""

    obj: Any
    name: str
    parent: Any


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
    name = name or getattr(base_obj, "__qualname__", None) or repr(base_obj)[:80]
    print(f"Checking whether {name} can be serialized", file=file)
    error = _error(base_obj)
    if error is None:
        print("It can.", file=file)
        return True, set()
    print(f"It cannot: {error}", file=file)
    _search(base_obj, name, None, depth, failures, set())
    for failure in failures:
        print(f"  {failure.name} ({type(failure.obj).__name__}), in {failure.parent!r}, does not pickle", file=file)
    return False, set(failures)


def _error(value: Any) -> Exception | None:
    try:
        cloudpickle.dumps(value)
    except Exception as error:
        return error
    return None


def _search(value: Any, name: str, parent: Any, depth: int, failures: list[FailureTuple], seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    inner = [(key, part) for key, part in _parts(value) if _error(part) is not None] if depth else []
    for key, part in inner:
        _search(part, key, value, depth - 1, failures, seen)
    if not inner:
        failures.append(_hashable(value, name, parent))


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    function = inspect.unwrap(value) if callable(value) and not inspect.isclass(value) else value
    if inspect.isfunction(function):
        found = inspect.getclosurevars(function)
        yield from found.nonlocals.items()
        yield from found.globals.items()
    elif isinstance(value, dict):
        yield from ((str(key), part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"item {n}", part) for n, part in enumerate(value))
    else:
        yield from ((key, part) for key, part in getattr(value, "__dict__", {}).items() if not key.startswith("__"))


def _hashable(value: Any, name: str, parent: Any) -> FailureTuple:
    def safe(each: Any) -> Any:
        try:
            hash(each)
        except TypeError:
            return repr(each)
        return each

    return FailureTuple(safe(value), name, safe(parent))
