"""Values to a pickle stream with its buffers beside it, and back.

Two ways. Plain values (numbers, text, references, small flat containers of them, arrays) take the C pickler as it is,
which needs no class or function by value and costs a microsecond. Everything else takes cloudpickle, so that what a
notebook defines travels by value.

Buffers always travel beside the stream (pickle protocol 5), whatever their size, so that an array is read-only on
arrival in every case and a program does not change its behaviour when its data grow. Only what Matplotlib draws keeps
its arrays in the stream: it writes into them when it is drawn.
"""

from __future__ import annotations

import array
import functools
import io
import pickle
import struct
import sys
import types
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import cloudpickle

from jupyter_ray import by_value
from jupyter_ray.config import INLINE_LIMIT
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.travel import collecting
from jupyter_ray.local.serialization import compiled, frames, kinds, libraries, main_names
from jupyter_ray.local.serialization.depth import instead
from jupyter_ray.local.serialization.texts import MANY_TEXTS as MANY_TEXTS
from jupyter_ray.local.serialization.texts import PROTOCOL as PROTOCOL
from jupyter_ray.local.serialization.texts import Texts as Texts
from jupyter_ray.local.serialization.texts import are_texts as are_texts
from jupyter_ray.local.serialization.unseen_names import unseen_names
from jupyter_ray.portable_errors import portable
from jupyter_ray.task_errors import RayError

_FLAT_LIMIT = 64
"""Elements of a container that are looked at to find it plain; longer ones gain nothing from it."""

ATOMS = frozenset({int, float, bool, complex, type(None)})
TEXTS = frozenset({str, bytes})
_FLAT = frozenset({tuple, list, set, frozenset})

Buffer = bytes | memoryview


class Serialized:
    """A value as bytes. `buffers` are views of the original: use or copy them before the value changes.

    Attributes
    ----------
    data
        The pickle stream.
    buffers
        Out-of-band buffers, contiguous, as flat bytes.
    contained
        Counted ids of what was handed on; of a definition's code, those of objects and actors alone.
    definitions
        Remote functions and classes that were handed on.
    is_error
        Whether `get` raises it.
    """

    __slots__ = ("buffers", "contained", "data", "definitions")

    is_error = False

    def __init__(self, data: bytes, buffers: list[memoryview], contained: list[bytes], definitions: list[Any]) -> None:
        self.data = data
        self.buffers = buffers
        self.contained = contained
        self.definitions = definitions

    @property
    def size(self) -> int:
        """Bytes of stream and buffers together."""
        return len(self.data) + sum(buffer.nbytes for buffer in self.buffers)

    def __repr__(self) -> str:
        return f"<Serialized: {self.size} bytes, {len(self.buffers)} buffers, {len(self.contained)} references>"


class SerializedError(Serialized):
    """What `get` raises, as bytes."""

    __slots__ = ()

    is_error = True


def dumps(value: Any) -> Serialized:
    """Return `value` as bytes. One of our own errors is one that `get` raises, wherever it comes from (as in Ray).

    Raises
    ------
    Exception
        Whatever the pickler raises; `inspection.unpicklable` turns it into an error that names the culprit.
    """
    kind = type(value)
    if kind in ATOMS:
        return Serialized(pickle.dumps(value, PROTOCOL), [], [], [])
    if kind in TEXTS:
        if kind is bytes and len(value) > INLINE_LIMIT:
            value = _LargeBytes(value)
            return _dump(pickle.Pickler, value)
        return Serialized(pickle.dumps(value, PROTOCOL), [], [], [])
    if kind is list and len(value) >= MANY_TEXTS and are_texts(value):
        return _dump(pickle.Pickler, Texts(value))
    plain = _plain(value, kind)
    if plain == _PLAIN:
        return Serialized(pickle.dumps(value, PROTOCOL), [], [], [])
    if plain:
        return _dump(pickle.Pickler, value)
    return _dump(Pickler, value, SerializedError if issubclass(kind, RayError) else Serialized)


def loads(data: Buffer, buffers: Sequence[Buffer] = ()) -> Any:
    """Return the value of a stream and its buffers. Buffers that are read-only make read-only arrays."""
    if buffers:
        return pickle.loads(data, buffers=buffers)
    return pickle.loads(data)


def dumps_own(value: Any) -> Serialized:
    """Return a value as bytes that consists of this package's and builtin classes: the C pickler does alone."""
    return Serialized(pickle.dumps(value, PROTOCOL), [], [], [])


def code_dumps(value: Any) -> Serialized:
    """Return a function or class as bytes, everything in the one stream."""
    file = io.BytesIO()
    collected = collecting(functools.partial(Pickler(file, PROTOCOL).dump, value))
    return Serialized(file.getvalue(), [], collected.ids, collected.definitions)


_PLAIN = 1
_REFERENCES = 2
"""Plain, but with references or buffers in it, which have to be collected."""


def _plain(value: Any, kind: type) -> int:
    """Return `_PLAIN` or `_REFERENCES` where the C pickler does alone, else 0."""
    if kind is ObjectRef:
        return _REFERENCES
    if kind in _FLAT:
        if len(value) > _FLAT_LIMIT:
            return 0
        return _plain_elements(value)
    if kind is dict:
        if len(value) > _FLAT_LIMIT // 2:
            return 0
        keys, items = _plain_elements(value), _plain_elements(value.values())
        return max(keys, items) if keys and items else 0
    if is_array(kind) and not value.dtype.hasobject and value.flags.forc and value.nbytes:
        return _REFERENCES
    return 0


def is_flat(value: Any, kind: type) -> bool:
    """Tell whether there is nothing inside `value`, of this type, that could be changed in place."""
    return _plain(value, kind) != 0 or kind is types.FunctionType or kind is type


def _plain_elements(values: Any) -> int:
    result = _PLAIN
    for value in values:
        kind = type(value)
        if kind in ATOMS:
            continue
        if kind in TEXTS:
            if len(value) > INLINE_LIMIT:
                return 0
        elif kind is ObjectRef:
            result = _REFERENCES
        elif kind in _FLAT or kind is dict:
            if value:
                return 0
        else:
            return 0
    return result


def is_array(kind: type) -> bool:
    """Tell whether `kind` is NumPy's array, without importing NumPy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind is getattr(numpy, "ndarray", None)


def _dump(pickler: Callable[..., Any], value: Any, made: type[Serialized] = Serialized) -> Serialized:
    try:
        return _dump_once(pickler, value, made)
    except (RecursionError, pickle.PicklingError) as error:
        flat = instead(value, error)
        if flat is None:
            raise
    return _dump_once(pickler, flat, made)


def _dump_once(pickler: Callable[..., Any], value: Any, made: type[Serialized]) -> Serialized:
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    collected = collecting(functools.partial(pickler(file, PROTOCOL, buffer_callback=buffers.append).dump, value))
    contained = [*collected.ids, *(each.id.encode() for each in collected.definitions)]
    return made(file.getvalue(), [buffer.raw() for buffer in buffers], contained, collected.definitions)


class _LargeBytes:
    """Lets a large ``bytes`` object travel beside the stream, so that it is not copied twice."""

    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return bytes, (pickle.PickleBuffer(self.value),)


def _reduce_memoryview(view: memoryview) -> Any:
    code = native_format(view.format, view.itemsize)
    source = view if view.c_contiguous else view.tobytes()
    return rebuild_view, (pickle.PickleBuffer(source), code, view.shape)


def rebuild_view(buffer: Any, code: str, shape: tuple[int, ...]) -> memoryview:
    """Return a read-only view of `buffer` with that format and shape; a flat one needs no length."""
    view = memoryview(buffer).toreadonly()
    if view.format != "B" or view.ndim != 1:
        view = view.cast("B")
    if code == "B" and len(shape) == 1:
        return view
    cast: Any = view.cast  # Its stubs know the formats only as literals.
    shaped: memoryview = cast(code) if len(shape) == 1 or not view.nbytes else cast(code, list(shape))
    return shaped


def native_format(code: str, itemsize: int) -> str:
    """Return the one-character native format of a buffer.

    Raises
    ------
    TypeError
        The buffer's items are structures, or of another byte order.
    """
    bare = code.lstrip("@=<" if sys.byteorder == "little" else "@=>!")
    if len(bare) == 1 and bare in "bBhHiIlLqQfdc?nN" and struct.calcsize(bare) == itemsize:
        return bare
    same_size = {1: "b", 2: "h", 4: "i", 8: "q"}.get(itemsize)
    if len(bare) == 1 and bare in "iIlL" and same_size is not None:
        return same_size if bare.islower() else same_size.upper()
    raise TypeError(f"a memoryview of format {code!r} cannot be pickled; pass the object that it views")


def array_format(values: array.array[Any]) -> str | None:
    """Return the format under which a view can read `values`, or None: characters have none."""
    return None if values.typecode in "uw" else values.typecode


_reduce_code_bare = cloudpickle.CloudPickler.dispatch_table[types.CodeType]
_NO_FILE = "<dynamic-code>"


def _reduce_code(code: types.CodeType) -> Any:
    """As cloudpickle does, with the name of the file, which 3.1.3 leaves out: tracebacks show the line that raised."""
    make, arguments = _reduce_code_bare(code)
    return make, tuple(code.co_filename if each == _NO_FILE else each for each in arguments)


def _reduce_cached_property(value: functools.cached_property[Any]) -> Any:
    """Leave the lock out that it has before Python 3.12."""
    return _cached_property, (value.func, value.attrname)


def _cached_property(function: Callable[[Any], Any], name: str | None) -> functools.cached_property[Any]:
    made = functools.cached_property(function)
    if name is not None:
        made.__set_name__(None, name)  # type: ignore[arg-type]  # The class it is in is being made.
    return made


LruCache: Any = type(functools.cache(id))
"""What `functools.cache` and `functools.lru_cache` make."""


def is_importable(function: Any) -> bool:
    """Tell whether a `LruCache` goes by name, as functions do that a worker can import."""
    return kinds.is_importable(function, function.__qualname__)


def _reduce_lru_cache(function: Any) -> Any:
    if is_importable(function):
        return str(function.__qualname__)
    return _lru_cache, (function.__wrapped__, function.cache_parameters())


def _lru_cache(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _keep_slots(reduced: Any, kind: Any) -> None:
    """Have a class made with its slots: cloudpickle adds them later, when they are names only.

    Its instances would have a ``__dict__`` then, and could not come back to where the class is the real one.
    """
    make, arguments, *_ = reduced
    if make.__name__ == "_make_skeleton_class":
        arguments[3]["__slots__"] = kind.__slots__


def _nested_names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that the functions, lambdas and comprehensions inside a function use."""
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from each.co_names
            yield from _nested_names(each)


def _add_globals(reduced: Any, function: types.FunctionType) -> None:
    """Have those globals travel along that only class bodies and shell commands in a function's code read."""
    if len(reduced) < 3 or not isinstance(reduced[2], tuple):
        return
    travelling, there = reduced[2][1]["__globals__"], function.__globals__
    for name in unseen_names(function.__code__):
        if name in there:
            travelling[name] = there[name]


def _add_submodules(reduced: Any, function: types.FunctionType) -> None:
    """Have the modules imported that only code inside a function's code names, as `urllib.request` in a lambda.

    cloudpickle 3.1.3 looks at the function's own names.
    """
    names = set(_nested_names(function.__code__))
    if not names or len(reduced) < 3 or not isinstance(reduced[2], tuple):
        return
    slots = reduced[2][1]
    names.update(function.__code__.co_names)
    known = slots["_cloudpickle_submodules"]
    packages = [each for each in slots["__globals__"].values() if isinstance(each, types.ModuleType)]
    for prefix in {f"{each.__name__}." for each in packages if getattr(each, "__path__", None) is not None}:
        for name, module in list(sys.modules.items()):
            if name.startswith(prefix) and names.issuperset(name[len(prefix) :].split(".")) and module not in known:
                known.append(module)


class Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """cloudpickle, with buffers beside the stream, and with what Cython compiled."""

    dispatch_table: ClassVar[ChainMap[type, Any]] = ChainMap(
        {
            memoryview: _reduce_memoryview,
            types.CodeType: _reduce_code,
            functools.cached_property: _reduce_cached_property,
            LruCache: _reduce_lru_cache,
            **kinds.REDUCERS,
        },
        cloudpickle.CloudPickler.dispatch_table,
    )

    def __init__(
        self,
        file: io.BytesIO,
        protocol: int,
        buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
    ) -> None:
        for module, name, reduce in libraries.REDUCERS:
            kind = getattr(sys.modules.get(module), name, None)
            if kind is not None:
                self.dispatch_table.maps[0].setdefault(kind, reduce)
        self._artist = getattr(sys.modules.get("matplotlib.artist"), "Artist", None)
        self._draws = False
        self._arrow = frames.array_class()
        self._proxies = by_value.proxies()
        super().__init__(file, protocol=protocol, buffer_callback=buffer_callback)

    def reducer_override(self, obj: Any) -> Any:
        """Return how `obj` is pickled: Cython's functions and classes in their own way, the rest as in cloudpickle."""
        if self._artist is not None:
            self._draws = self._draws or isinstance(obj, self._artist)
            if self._draws and is_array(type(obj)):
                return obj.__reduce_ex__(PROTOCOL - 1)  # With a copy of its memory, which can be written to.
        if self._arrow is not None and isinstance(obj, self._arrow):
            return frames.reduce_slice(obj) or NotImplemented
        if self._proxies and isinstance(obj, self._proxies):
            return by_value.with_key(obj)
        if isinstance(obj, BaseException):
            sent = portable(obj)
            return NotImplemented if sent is obj else sent.__reduce__()
        reduced = compiled.reduce(obj)
        if reduced is not None:
            return reduced
        reduced = super().reducer_override(obj)
        if type(obj) is types.FunctionType and type(reduced) is tuple:
            _add_globals(reduced, obj)
            _add_submodules(reduced, obj)
            if main_names.is_top_level(obj):
                reduced = main_names.function_reduced(reduced, obj)
        elif isinstance(obj, type) and type(reduced) is tuple:
            if vars(obj).get("__slots__"):
                _keep_slots(reduced, obj)
            reduced = kinds.complete(reduced, obj)
        return reduced
