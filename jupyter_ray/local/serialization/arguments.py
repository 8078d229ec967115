"""A call's arguments: what the caller lays out, and how the worker puts it together again.

References at top level become places (`Argument`) that the worker fills with the values of the dependencies. Buffers
at top level (`bytearray`, `array.array`) become parcels: they arrive read-only unless the call said `writable` or
`inout`.
"""

from __future__ import annotations

import array
import inspect
import io
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jupyter_ray.config import INLINE_LIMIT
from jupyter_ray.engine.refs import ObjectRef, check_current
from jupyter_ray.local.serialization import values
from jupyter_ray.local.serialization.depth import instead
from jupyter_ray.local.serialization.inspection import unpicklable
from jupyter_ray.local.serialization.values import Serialized

_LARGE_OR_MUTABLE = frozenset({bytes, bytearray, array.array})


class Argument:
    """The place of a dependency's value."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __reduce__(self) -> Any:
        return Argument, (self.index,)


class Parcel:
    """A mutable buffer on its way. `kind` is ``"bytearray"`` or the type code of an array."""

    __slots__ = ("buffer", "kind")

    def __init__(self, kind: str, buffer: Any) -> None:
        self.kind = kind
        self.buffer = buffer

    def __reduce__(self) -> Any:
        return Parcel, (self.kind, pickle.PickleBuffer(self.buffer))

    def read_only(self) -> bytes | memoryview:
        """Return the content in a form that nobody can write to: bytes for a bytearray, a typed view for an array."""
        if self.kind == "bytearray":
            return bytes(self.buffer)
        return values.rebuild_view(self.buffer, self.kind, (-1,))

    def writable(self) -> bytearray | array.array[Any]:
        """Return a private copy of the type that was passed."""
        if self.kind == "bytearray":
            return bytearray(self.buffer)
        copy = array.array(self.kind)
        copy.frombytes(memoryview(self.buffer).cast("B"))
        return copy


class Apart:
    """A value that is pickled in a stream of its own, so that it shares nothing with the other arguments."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        try:
            data, buffers = _stream(self.value)
        except (RecursionError, pickle.PicklingError) as error:
            flat = instead(self.value, error)
            if flat is None:
                raise
            data, buffers = _stream(flat)
        return values.loads, (data if len(data) <= INLINE_LIMIT else pickle.PickleBuffer(data), buffers)


def _stream(value: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Return a stream and its buffers. References are collected for the call, whose own stream is being written."""
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    values.Pickler(file, values.PROTOCOL, buffer_callback=buffers.append).dump(value)
    return file.getvalue(), buffers


Call = tuple[Sequence[Any], Mapping[str, Any]]


def pack_call(
    args: Sequence[Any], kwargs: Mapping[str, Any], who: Callable[[], Any], name: str
) -> tuple[Serialized | None, list[bytes]]:
    """Lay out the arguments of a call.

    Parameters
    ----------
    args, kwargs
        As the user gave them.
    who
        Returns the function that will be called, or None if it is not known here; asked only for an error's text.
    name
        The task's name, for an error's text.

    Returns
    -------
    (Serialized or None, list of bytes)
        The pickled pair ``(args, kwargs)``, None if there are no arguments, and the ids of the dependencies.

    Raises
    ------
    TypeError
        An argument cannot be pickled; the message names it.
    """
    if not args and not kwargs:
        return None, []
    dependencies: list[bytes] = []
    laid_out: list[Any] = []
    plain = True
    others = 0
    for value in args:
        kind = type(value)
        if kind in values.ATOMS:
            laid_out.append(value)
        elif kind is ObjectRef:
            laid_out.append(Argument(_place(value, dependencies)))
        elif kind in _LARGE_OR_MUTABLE:
            laid_out.append(_buffer(value, kind))
            plain = plain and kind is bytes and len(value) <= INLINE_LIMIT
        else:
            if kind is not str:
                plain = False
                others += 1
            laid_out.append(_lean(value) if kind is list else value)
    named: dict[str, Any] = {}
    for key, value in kwargs.items():
        kind = type(value)
        if kind is ObjectRef:
            value = Argument(_place(value, dependencies))
        elif kind in _LARGE_OR_MUTABLE:
            value = _buffer(value, kind)
            plain = plain and kind is bytes and len(value) <= INLINE_LIMIT
        elif kind is not str and kind not in values.ATOMS:
            plain = False
            others += 1
            value = _lean(value) if kind is list else value
        named[key] = value
    if plain:
        return Serialized(pickle.dumps((tuple(laid_out), named), values.PROTOCOL), [], [], []), dependencies
    if others > 1:
        for place, key, value in entwined(laid_out, named):
            place[key] = Apart(value)
    pair = (tuple(laid_out), named)
    try:
        return _dump_pair(pair), dependencies
    except Exception as error:
        raise explain(error, args, kwargs, who(), name) from error


def entwined(args: list[Any], kwargs: dict[str, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Yield container, place and value of each argument that is another one, too, or may share something with one.

    In Ray each is a copy of its own. Arrays may stay one: nobody can write to them.
    """
    seen: set[int] = set()
    given: list[tuple[Any, Any, Any]] = [(args, index, value) for index, value in enumerate(args)]
    for place, key, value in [*given, *((kwargs, key, value) for key, value in kwargs.items())]:
        kind = type(value)
        if kind is str or kind in values.ATOMS or values.is_array(kind):
            continue
        if id(value) in seen or not (values.is_flat(value, kind) or str(kind.__module__).startswith("jupyter_ray.")):
            yield place, key, value
        seen.add(id(value))


def _lean(value: list[Any]) -> Any:
    return values.Texts(value) if len(value) >= values.MANY_TEXTS and values.are_texts(value) else value


def _dump_pair(pair: tuple[tuple[Any, ...], dict[str, Any]]) -> Serialized:
    result = 1
    for value in (*pair[0], *pair[1].values()):
        kind = type(value)
        if kind in values.ATOMS or kind is str or kind is Argument or kind is values.Texts:
            continue
        result = values._plain(value, kind)
        if not result:
            break
    return values._dump(pickle.Pickler if result else values.Pickler, pair)


def _place(ref: ObjectRef[Any], dependencies: list[bytes]) -> int:
    check_current(ref)
    dependencies.append(ref._binary)  # Twice, if it is two arguments: each gets a value of its own.
    return len(dependencies) - 1


def _buffer(value: Any, kind: type) -> Any:
    if kind is bytes:
        return values._LargeBytes(value) if len(value) > INLINE_LIMIT else value
    if kind is bytearray:
        return Parcel("bytearray", value)
    code = values.array_format(value)
    return value if code is None else Parcel(code, memoryview(value).cast("B"))


def explain(error: Exception, args: Sequence[Any], kwargs: Mapping[str, Any], function: Any, name: str) -> Exception:
    """Return the error to raise for arguments that do not pickle: it names the one, and the path in it."""
    names = _parameter_names(function, len(args))
    for label, value in [*zip(names, args, strict=False), *kwargs.items()]:
        if isinstance(value, ObjectRef):
            continue
        try:
            values.dumps(value)
        except Exception as found:
            what = f"argument {label!r}" if isinstance(label, str) else f"argument number {label + 1}"
            start = label if isinstance(label, str) else f"argument {label + 1}"
            return unpicklable(value, found, f"the {what} of {name}", start)
    return unpicklable(args, error, f"the arguments of {name}", "arguments")


def _parameter_names(function: Any, count: int) -> list[str | int]:
    names: list[str | int] = []
    if function is not None:
        try:
            for parameter in inspect.signature(function).parameters.values():
                if parameter.kind in (parameter.VAR_POSITIONAL, parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
                    break
                names.append(parameter.name)
        except (TypeError, ValueError):  # A builtin without a readable signature.
            pass
    return [*names[:count], *range(len(names), count)]


def fill(laid_out: Call, dependencies: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments with the dependencies' values in their places; buffers stay in their parcels."""
    args = [dependencies[each.index] if type(each) is Argument else each for each in laid_out[0]]
    kwargs = {
        key: dependencies[value.index] if type(value) is Argument else value for key, value in laid_out[1].items()
    }
    return args, kwargs
