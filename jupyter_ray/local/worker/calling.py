"""One call: from what came over the wire to what goes back. No queues and no threads in here.

`prepare` finds the function's arguments, `results` turns what it returned into payloads, `failure` what it raised.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import itertools
import re
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from types import AsyncGeneratorType
from typing import Any

import msgspec

from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.streams import DynamicObjectRefGenerator, ObjectRefGenerator
from jupyter_ray.exceptions import ObjectLostError, RayTaskError, is_cancel
from jupyter_ray.local.protocol.messages import DYNAMIC, Body, Execute, Payload
from jupyter_ray.local.serialization import tensors, values
from jupyter_ray.local.serialization.arguments import Parcel, fill
from jupyter_ray.local.serialization.errors import dump_error, without_traceback
from jupyter_ray.local.serialization.inspection import unpicklable
from jupyter_ray.local.serialization.own import with_own_arrays
from jupyter_ray.local.serialization.values import Serialized
from jupyter_ray.local.store.payloads import unpack
from jupyter_ray.local.store.segments import SegmentStore, Unreadable

Store = Callable[[Serialized], Payload]
"""Makes the payload of a value, and keeps what the value refers to until it was sent."""

PutError = Callable[[BaseException], ObjectRef[Any]]
"""Stores what a dynamic generator raised."""

_END: Any = object()

_READ_ONLY_HINT = (
    "\n(Arguments arrive read-only. To write into one, say so by name: @ray.remote(writable=['x']) gives the task a "
    "private copy, inout=['x'] also returns what was written. A method says it with @ray.method. A Cython function "
    "that only reads takes a const memoryview.)"
)
_READ_ONLY = re.compile(
    r"read-?only|not writable|'bytes' object (does not support item (assignment|deletion)|has no attribute)"
)
"""What NumPy, memoryviews, Cython, and bytes (in the place of a bytearray) say to a writer."""
_UNKNOWN_HERE = re.compile(r"Can't get attribute '(\w+)' on <module '__main__'")
_UNKNOWN_HINT = (
    "\n(Of what the notebook or script defines, a task knows what its function uses: name {} in it, or pass the object "
    "itself as an argument.)"
)


def prepare(
    execute: Execute, body: Body, function: Any, store: SegmentStore, there: Mapping[int, Any]
) -> tuple[list[Any], dict[str, Any], list[Any]]:
    """Return positional arguments, keyword arguments, and the buffers that `inout` returns.

    `there` has the values of dependencies that were fetched already, by number.
    """
    if body.args is None:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
    else:
        try:
            laid_out = unpack(body.args, store)
        except Unreadable as error:
            raise ObjectLostError(
                message=f"The arguments of {execute.name} ({body.args.size:,} bytes) were lost: {error.reason}. There "
                "is no other copy: call it again. Store large values that several calls share with put()."
            ) from error
        dependencies = [
            there[index] if index in there else unpack(payload, store) for index, payload in enumerate(execute.values)
        ]
        args, kwargs = fill(laid_out, dependencies)
    return args, kwargs, unwrap(args, kwargs, body, function)


def unwrap(args: list[Any], kwargs: dict[str, Any], body: Body, function: Any) -> list[Any]:
    """Put buffers in the places of parcels: private copies where `body` names them; return those of `inout`."""
    returned = _make_writable(args, kwargs, body, function) if body.writable or body.inout else []
    for index, value in enumerate(args):
        if type(value) is Parcel:
            args[index] = value.read_only()
    for key, value in kwargs.items():
        if type(value) is Parcel:
            kwargs[key] = value.read_only()
    return returned


def _make_writable(args: list[Any], kwargs: dict[str, Any], body: Body, function: Any) -> list[Any]:
    """Put private copies in the place of the buffers that `body` names; return those that `inout` returns."""
    names = _names(function)

    def copy_at(which: Any) -> Any:
        if which in kwargs:
            copy = kwargs[which] = _writable(kwargs[which], which)
            return copy
        where = names.index(which) if which in names else which
        if not isinstance(where, int) or not 0 <= where < len(args):
            known = ", ".join(map(repr, names)) or f"positions 0 to {len(args) - 1}"
            name = body.function or body.method
            raise ValueError(f"writable and inout name {which!r}, which {name}() was not given; there are {known}.")
        copy = args[where] = _writable(args[where], which)
        return copy

    inout = [copy_at(which) for which in body.inout or ()]
    if body.writable is True:
        for index, value in enumerate(args):
            args[index] = _writable(value, index, strict=False) if all(value is not each for each in inout) else value
        for key, value in kwargs.items():
            kwargs[key] = _writable(value, key, strict=False) if all(value is not each for each in inout) else value
    else:
        for which in body.writable or ():
            if which not in (body.inout or ()):
                copy_at(which)
    return inout


def _names(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # Compiled without a signature: positions only.
        return []


def _writable(value: Any, which: str | int, *, strict: bool = True) -> Any:
    if type(value) is Parcel:
        return value.writable()
    if isinstance(value, memoryview):
        copy = memoryview(bytearray(value.tobytes()))
        flat = value.format == "B" and value.ndim == 1
        cast: Any = copy.cast
        return copy if flat else cast(value.format, list(value.shape or ()))
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return value.copy(order="K")  # In the order that it has: BLAS, for one, cares.
    if tensors.is_tensor(value):
        return tensors.writable(value)
    if isinstance(value, bytearray):
        return value  # The value of a reference: a private copy already.
    if type(value) not in values.ATOMS and type(value) not in values.TEXTS:
        return with_own_arrays(value)
    if strict:
        raise TypeError(f"writable and inout name {which!r}, which is of type {type(value).__name__}, not a buffer.")
    return value


def with_inout(value: Any, buffers: list[Any]) -> Any:
    """Return what a function with `inout` returns to its caller."""
    if not buffers:
        return value
    return buffers[0] if value is None and len(buffers) == 1 else (value, *buffers)


class Partial(Exception):
    """Of several return values `values` were made, and `error` stands for the rest (as in Ray)."""

    def __init__(self, values: list[Payload], error: BaseException) -> None:
        super().__init__(values, error)
        self.values = values
        self.error = error


def results(
    value: Any,
    number: int,
    name: str,
    store: Store,
    put: Callable[[Any], ObjectRef[Any]],
    put_error: PutError,
    tell_late: Callable[[Exception], None],
) -> list[Payload]:
    """Return one payload for each of several return values, or of what a generator yields.

    Parameters
    ----------
    value
        What the function returned.
    number
        Its `num_returns`.
    name
        The function's.
    store, put, put_error
        Make the payload of a value, store an item of a dynamic generator, and what such a generator raised.
    tell_late
        Takes what a generator raised after its last value; raises it where the call is to be tried again.

    Raises
    ------
    Partial
        After some, a generator raised or had no more, or a value cannot be pickled. If it has more it is closed.
    ValueError
        There are more or fewer values than `num_returns` says.
    TypeError
        The first value cannot be pickled; the message names it.
    """
    if number == 0:
        return []
    if type(value) is AsyncGeneratorType:
        value = stepped(value)
    if number == DYNAMIC:
        if not isinstance(value, Iterable):
            raise ValueError(f'num_returns="dynamic" wants a generator, and {name} returned a {type(value).__name__}.')
        refs: list[ObjectRef[Any]] = []
        try:
            refs.extend(put(item) for item in value)
        except Exception as error:
            refs.append(put_error(error))  # One more reference, which raises. Source: Ray.
        return [payload_of(DynamicObjectRefGenerator(refs), f"the items of {name}", store)]
    if isinstance(value, Generator) and not isinstance(value, ObjectRefGenerator):  # Another task's is none to close.
        return _made(_generated(value, number, name, tell_late), name, store)
    if isinstance(value, Iterator):
        items = list(itertools.islice(value, number + 1))
    elif hasattr(value, "__len__") and isinstance(value, Iterable):
        items = list(value)
    else:
        raise TypeError(f"{name} returned a {type(value).__name__}, and num_returns={number} wants {number} values.")
    if len(items) != number:
        count = f"more than {number}" if len(items) > number and isinstance(value, Iterator) else str(len(items))
        raise ValueError(f"Task returned {count} objects, but num_returns={number}: {name}.")
    return _made(items, name, store)


def _made(items: Iterable[Any], name: str, store: Store) -> list[Payload]:
    made: list[Payload] = []
    try:
        for index, item in enumerate(items, 1):
            made.append(payload_of(item, f"return value {index} of {name}", store))
            del item
    except Exception as error:
        if not made:
            raise
        raise Partial(made, error) from error
    return made


def stepped(items: AsyncIterator[Any]) -> Generator[Any, None, None]:
    """Yield what an async generator of a task yields: a task runs on no event loop, so this one has its own."""
    loop = asyncio.new_event_loop()
    try:
        while True:
            try:
                item = loop.run_until_complete(_step(items))
            except StopAsyncIteration:
                return
            yield item
            del item
    finally:
        try:
            # What it has started, and the step that a cancel interrupted, end before the generator is closed.
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


async def _step(items: AsyncIterator[Any]) -> Any:
    return await anext(items)


def _generated(
    generator: Generator[Any, Any, Any], number: int, name: str, tell_late: Callable[[Exception], None]
) -> Iterator[Any]:
    for index in range(1, number + 1):
        item = next(generator, _END)
        if item is _END:
            raise ValueError(f"Task returned {index - 1} objects, but num_returns={number}: {name} yielded no more.")
        if index == number:  # Before the last value is stored: what still runs may raise.
            _finish(generator, number, name, tell_late)
        yield item
        del item


def _finish(
    generator: Generator[Any, Any, Any], number: int, name: str, tell_late: Callable[[Exception], None]
) -> None:
    """Run a generator to its end, if it ends where it should; else leave it there and say so (as in Ray)."""
    try:
        more = next(generator, _END)
    except Exception as error:
        tell_late(error)
        return
    if more is not _END:
        generator.close()
        print(f"{name} yields more values than its num_returns={number}: the rest was not made.", file=sys.stderr)


def payload_of(value: Any, what: str, store: Store) -> Payload:
    """Return the payload of one value."""
    try:
        serialized = values.dumps(value)
    except Exception as error:
        raise unpicklable(value, error, what, "value") from error
    return store(serialized)


def hint_for(error: BaseException) -> str:
    """Return the remedy for an error that has one: writing where it is not allowed, unpickling what is not known."""
    text = str(error)
    unknown = _UNKNOWN_HERE.match(text) if isinstance(error, AttributeError) else None
    if unknown is not None:
        return _UNKNOWN_HINT.format(unknown[1])
    return _READ_ONLY_HINT if _READ_ONLY.search(text) else ""


def failure(error: BaseException, name: str, store: Store, actor: str | None = None, text: str = "") -> Payload:
    """Return the payload of what a task raised; `text` is its traceback, if that is known."""
    payload = store(dump_error(error, name, actor, hint_for(error), text=text))
    if is_cancel(error):
        payload = msgspec.structs.replace(payload, is_cancel=True)
    without_traceback(error)
    return payload


def may_retry(error: BaseException, body: Body) -> bool:
    """Tell whether the error is one that `retry_exceptions` names."""
    if not body.retry_on:
        return False
    try:
        classes = values.loads(body.retry_on)
    except Exception:
        return False
    cause = error.cause if isinstance(error, RayTaskError) and error.cause is not None else error
    return isinstance(error, classes) or isinstance(cause, classes)


def plain_failure(error: Exception) -> Payload:
    """Return the payload of an error of our own, which says it all and has no remote traceback."""
    data = values.code_dumps(error).data
    return Payload(data=data, size=len(data), is_error=True, is_cancel=is_cancel(error))


def method_of(instance: Any, name: str, terminate: Callable[[], None]) -> Callable[..., Any]:
    """Return what a handle's method name calls, the extra methods of every actor included.

    It is the class's method, also where the instance has an attribute of that name. Source: Ray.
    """
    if name == "__ray_call__":
        return lambda fn, *args, **kwargs: fn(instance, *args, **kwargs)
    if name == "__ray_ready__":
        return lambda: True
    if name == "__ray_terminate__":
        return terminate
    if name in getattr(instance, "__dict__", ()):
        kind = type(instance)
        found = inspect.getattr_static(kind, name, None)
        if hasattr(found, "__get__"):
            bound: Callable[..., Any] = found.__get__(instance, kind)
            return bound
    method: Callable[..., Any] = getattr(instance, name)
    return method


def settle(future: concurrent.futures.Future[Any], value: Any, error: BaseException | None) -> None:
    """Give a future its value or error, unless it was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
