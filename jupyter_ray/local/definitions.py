"""Remote functions and classes: shipped when first called, and again when they or what they refer to has changed.

Two checks, since a call must cost no more than a microsecond or two. At each call, the identities of everything that
the code can reach by name: its code and defaults, closure cells, the globals it names, recursively through functions
and classes that travel by value. And once in each notebook cell, where something reachable can be changed
in place (a list, an instance), the definition is pickled again and compared.

Definitions refer to each other by id, so mutual recursion ends: a `RemoteFunction` inside a pickle is noted, and
shipped next. What is shipped is held (`Definition.held`): the runtime forgets it when nobody can ask for it any more.
What a process was sent is in its `library`.

Owner: `Exporter` may be called by any thread; `_lock` guards shipping, the check of an unchanged definition takes no
lock.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
import os
import pickle
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from cloudpickle import cloudpickle

from jupyter_ray.config import CLOSURE_LIMIT, CLOSURE_WARNING
from jupyter_ray.engine import context
from jupyter_ray.engine.base import Definition
from jupyter_ray.engine.refs import Counter, DefinitionRef, forbid_out_of_band
from jupyter_ray.ids import OBJECT_ID_SIZE
from jupyter_ray.local.protocol.messages import Export
from jupyter_ray.local.serialization import values
from jupyter_ray.local.serialization.inspection import unpicklable

_MISSING = object()
_IMMUTABLE = (int, float, complex, str, bytes, bool, type(None), types.ModuleType, types.BuiltinFunctionType, range)
_SOURCE_LIMIT = 256 * 1024
_MIB = 1024**2


class Watch:
    """What a definition can reach by name, and what was there when it was shipped.

    It holds all of that, so that identities stay unique.
    """

    __slots__ = ("_seen", "cells", "functions", "is_mutable", "names", "sources")

    def __init__(self, value: Any) -> None:
        self.names: list[tuple[Any, str, Any]] = []
        """(namespace, name, value)"""
        self.cells: list[tuple[types.CellType, str, Any]] = []
        self.functions: list[tuple[Any, types.CodeType, Any, Any]] = []
        self.is_mutable = False
        self.sources: dict[str, list[str]] = {}
        self._seen: dict[int, Any] = {}
        self._visit(value)
        self._seen.clear()

    def is_stale(self) -> bool:
        """Tell whether a name means something else now."""
        for namespace, name, value in self.names:
            if namespace.get(name, _MISSING) is not value:
                return True
        for cell, _, value in self.cells:
            if _content(cell) is not value:
                return True
        return any(
            function.__code__ is not code
            or function.__defaults__ is not defaults
            or function.__kwdefaults__ is not named
            for function, code, defaults, named in self.functions
        )

    def largest(self) -> tuple[str, int]:
        """Return name and pickled size of the largest variable, rather than of a function that it makes large."""
        best = {False: ("", 0), True: ("", 0)}
        for _, name, value in (*self.names, *self.cells):
            try:
                size = values.code_dumps(value).size
            except Exception:  # It is measured for a message only.
                continue
            is_code = isinstance(value, type | types.FunctionType | staticmethod | classmethod | property)
            if size > best[is_code][1]:
                best[is_code] = (name, size)
        return best[best[True][1] > 2 * best[False][1]]

    def _visit(self, value: Any) -> None:
        if id(value) in self._seen or isinstance(value, _IMMUTABLE):
            return
        self._seen[id(value)] = value
        if isinstance(value, types.FunctionType):
            self._visit_function(value)
        elif isinstance(value, type):
            self._visit_class(value)
        elif isinstance(value, staticmethod | classmethod | types.MethodType):
            self._visit(value.__func__)
            if isinstance(value, types.MethodType):
                self._visit(value.__self__)
        elif isinstance(value, property):
            for function in (value.fget, value.fset, value.fdel):
                self._visit(function)
        elif isinstance(value, values.LruCache):
            if not values.is_importable(value):
                self._visit(value.__wrapped__)
        elif isinstance(value, functools.partial):
            self._visit(value.func)
            for part in (*value.args, *value.keywords.values()):
                self._visit(part)
        elif isinstance(value, tuple | frozenset):
            for part in value:
                self._visit(part)
        elif not type(value).__module__.startswith(
            "jupyter_ray."
        ):  # Definitions, references and handles do not change.
            self.is_mutable = True

    def _visit_function(self, function: types.FunctionType) -> None:
        if not _by_value(function):
            return
        code = function.__code__
        self.functions.append((function, code, function.__defaults__, function.__kwdefaults__))
        self._note_source(code.co_filename)
        namespace = function.__globals__
        for name in dict.fromkeys(_names(code)):
            value = namespace.get(name, _MISSING)
            self.names.append((namespace, name, value))
            if value is not _MISSING:
                self._visit(value)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            value = _content(cell)
            self.cells.append((cell, name, value))
            if value is not _MISSING:
                self._visit(value)
        for part in (
            *(function.__defaults__ or ()),
            *(function.__kwdefaults__ or {}).values(),
            *vars(function).values(),
        ):
            self._visit(part)

    def _visit_class(self, kind: type) -> None:
        if not _by_value(kind):
            return
        namespace = vars(kind)
        for name, value in list(namespace.items()):
            if name in ("__dict__", "__weakref__", "__doc__", "__module__"):
                continue
            self.names.append((namespace, name, value))
            self._visit(value)
        for base in kind.__bases__:
            self._visit(base)

    def _note_source(self, filename: str) -> None:
        """Keep the text of a notebook cell, so that the worker can show lines of it in tracebacks."""
        entry = linecache.cache.get(filename)
        if filename in self.sources or entry is None or len(entry) != 4 or os.path.exists(filename):
            return
        if sum(map(len, entry[2])) <= _SOURCE_LIMIT:
            self.sources[filename] = entry[2]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield all names that code looks up, also in functions inside. Attributes are among them: that does no harm."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _by_value(value: Any) -> bool:
    try:
        return not cloudpickle._should_pickle_by_reference(value)
    except TypeError:
        return True


class _Shipped:
    """What is known of a definition that was shipped. The definition has it, so that both go together."""

    __slots__ = ("cell", "digest", "key", "nested", "reach", "session", "table", "version", "watch")

    def __init__(
        self, session: object, key: str, version: int, digest: bytes, watch: Watch, nested: list[Definition]
    ) -> None:
        self.session = session
        self.key = key
        self.version = version
        self.digest = digest
        self.watch = watch
        self.nested = nested
        self.cell: Any = _MISSING  # Any cell is a later one.
        self.reach: list[_Shipped] = []
        self.table: dict[str, int] = {}


class Promising(Counter, Protocol):
    """What an `Exporter` needs of the references of its process."""

    def promised(self, counted: bytes, kind: type[DefinitionRef]) -> DefinitionRef:
        """Return the reference to what the next message will make the runtime count for us."""


class Exporter:
    """Ships the definitions of this process.

    Parameters
    ----------
    send
        Sends an `Export`; the definitions that a call needs are sent before `ensure` returns.
    references
        Those of this process, to which its definitions belong; None: nobody counts them.
    """

    def __init__(self, send: Callable[[Export], None], references: Promising | None = None) -> None:
        self._send = send
        self._references = references
        self._lock = threading.RLock()
        self._session = object()
        """By this it knows what it has shipped itself: a definition may outlive a session."""
        self._exports = 0

    def ensure(self, definition: Definition) -> None:
        """See to it that the runtime has `definition`, and all that it refers to, as they are now.

        Raises
        ------
        TypeError
            It cannot be pickled; the message names the variable.
        ValueError
            It is larger than `config.CLOSURE_LIMIT`; the message names the variable.
        """
        if definition.value is None:
            return
        shipped = definition.shipped  # Not by `_of`: at each call it would be felt.
        if (
            shipped is not None
            and shipped.session is self._session
            and shipped.cell == context.current_cell()
            and not shipped.watch.is_stale()
        ):
            for each in shipped.reach:
                if each.watch.is_stale():
                    break
            else:
                return
        with self._lock:
            self._refresh(definition, context.current_cell(), {})

    def _of(self, definition: Definition) -> _Shipped | None:
        shipped: _Shipped | None = definition.shipped
        return shipped if shipped is not None and shipped.session is self._session else None

    def version(self, definition: Definition) -> int:
        """Return the version in which this process has shipped a definition; 0 if it has not."""
        shipped = definition.shipped
        return shipped.version if shipped is not None and shipped.session is self._session else 0

    def ensure_all(self, definitions: Iterable[Definition]) -> None:
        """As `ensure`, for definitions that a value contains."""
        for definition in definitions:
            self.ensure(definition)

    def versions(self, definition: Definition) -> dict[str, int]:
        """Return the versions that were shipped last of a definition and of what it refers to; empty if none were."""
        shipped = self._of(definition)
        return {} if shipped is None else shipped.table

    def _refresh(self, definition: Definition, cell: str | None, done: dict[str, _Shipped]) -> None:
        if definition.value is None or definition.id in done:
            return
        shipped = self._of(definition)
        if shipped is None or shipped.watch.is_stale() or (shipped.watch.is_mutable and shipped.cell != cell):
            shipped = self._ship(definition, shipped)
        done[definition.id] = shipped
        for nested in shipped.nested:
            self._refresh(nested, cell, done)
        reach: dict[int, _Shipped] = {}
        self._reach(shipped, reach)
        del reach[id(shipped)]  # Else what its code has read would stay until garbage is collected.
        shipped.reach = list(reach.values())
        shipped.table = {each.key: each.version for each in (shipped, *shipped.reach)}
        shipped.cell = cell

    def _reach(self, shipped: _Shipped, reach: dict[int, _Shipped]) -> None:
        if id(shipped) in reach:
            return
        reach[id(shipped)] = shipped
        for nested in shipped.nested:
            found = self._of(nested)
            if found is not None:
                self._reach(found, reach)

    def _ship(self, definition: Definition, old: _Shipped | None) -> _Shipped:
        what = f"the {'actor class' if definition.is_class else 'function'} {definition.name}"
        watch = Watch(definition.value)
        try:
            serialized = values.code_dumps(definition.value)
        except Exception as error:
            raise unpicklable(definition.value, error, what, definition.name) from error
        for counted in serialized.contained:
            if len(counted) == OBJECT_ID_SIZE:
                forbid_out_of_band(counted)
        if serialized.size > CLOSURE_WARNING:
            whom = f"The {'actor' if definition.is_class else 'remote function'} {definition.name}"
            _judge_size(whom, serialized.size, watch, warned=old is not None)
        nested = [each for each in serialized.definitions if each is not definition]
        blob = pickle.dumps((serialized.contained, watch.sources, serialized.data), values.PROTOCOL)
        digest = hashlib.blake2b(blob, digest_size=16).digest()
        version = 1 if old is None else old.version
        if old is None or digest != old.digest:
            version = 1 if old is None else old.version + 1
            self._export(definition, version, blob, serialized.contained, nested)
        shipped = _Shipped(self._session, definition.id, version, digest, watch, nested)
        definition.shipped = shipped
        return shipped

    def _export(
        self, definition: Definition, version: int, blob: bytes, contained: list[bytes], nested: list[Definition]
    ) -> None:
        held, granted = definition.held, False
        if self._references is not None and (held is None or held._counter is not self._references):
            held, granted = self._references.promised(definition.id.encode(), DefinitionRef), True
        refers = list(dict.fromkeys(each.id for each in nested))
        self._send(Export(definition.id, version, definition.name, blob, contained, refers, granted))
        definition.held = held
        self._exports += 1

    def __repr__(self) -> str:
        return f"<Exporter: {self._exports} exports>"


def _judge_size(whom: str, size: int, watch: Watch, *, warned: bool) -> None:
    name, part = watch.largest()
    because = f": the variable {name!r} in it takes {part / _MIB:.1f} MiB" if part > size // 4 else ""
    remedy = "Store it once with put() and pass the reference as an argument."
    if size > CLOSURE_LIMIT:
        limit = CLOSURE_LIMIT // _MIB
        raise ValueError(f"{whom} is too large ({size / _MIB:.1f} MiB > {limit} MiB){because}. {remedy}")
    if not warned:
        text = f"{whom} is {size / _MIB:.1f} MiB large{because}. {remedy}"
        warnings.warn(text, UserWarning, stacklevel=_program_level())


def _program_level() -> int:
    """Return the `stacklevel` with which our caller's warning names the line of the program, not one of ours."""
    package = __name__.partition(".")[0]
    frame, level = sys._getframe(1), 1
    while frame.f_globals.get("__name__", "").partition(".")[0] == package and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    return level
