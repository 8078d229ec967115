"""Ray's ``ray._common.signature``: parameters of functions, and the arguments of a call as one flat list."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

DUMMY_TYPE = b"__RAY_DUMMY__"
"""Stands in a flat list before an argument that has no name."""


def get_signature(func: Any) -> inspect.Signature:
    """Return the signature of a function, also of one that Cython compiled.

    Raises
    ------
    TypeError, ValueError
        It has none that can be read.
    """
    return inspect.signature(func)


def extract_signature(func: Any, ignore_first: bool = False) -> list[inspect.Parameter]:
    """Return a function's parameters; with `ignore_first`, which is for methods, without the first one.

    Raises
    ------
    ValueError
        There is no first one to leave out.
    """
    parameters = list(get_signature(func).parameters.values())
    if not ignore_first:
        return parameters
    if not parameters:
        name = getattr(func, "__name__", func)
        raise ValueError(f"The method {name!r} takes no argument at all, and must take its instance.")
    return parameters[1:]


def validate_args(
    signature_parameters: Sequence[inspect.Parameter], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Raise a TypeError if a call with these arguments does not fit the parameters."""
    inspect.Signature(signature_parameters).bind(*args, **kwargs)


def flatten_args(
    signature_parameters: Sequence[inspect.Parameter], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Any]:
    """Return a call's arguments as one list: each after its name, or after `DUMMY_TYPE`; see `recover_args`.

    Raises
    ------
    TypeError
        They do not fit the parameters.
    """
    validate_args(signature_parameters, args, kwargs)
    unnamed = [(DUMMY_TYPE, value) for value in args]
    return [part for pair in (*unnamed, *kwargs.items()) for part in pair]


def recover_args(flattened_args: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the keyword arguments that `flatten_args` made a list of."""
    assert len(flattened_args) % 2 == 0, "There is a name for each argument: their number is even. See flatten_args."
    pairs = list(zip(flattened_args[::2], flattened_args[1::2], strict=True))
    args = [value for name, value in pairs if name == DUMMY_TYPE]
    return args, {name: value for name, value in pairs if name != DUMMY_TYPE}
