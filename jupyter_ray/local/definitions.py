"""Remote functions and classes: shipped when first called, and again when they or what they refer to has changed.

Whether something has changed is checked twice, since a call must cost no more than a microsecond or two. At each call a
`Watch` compares the identities of everything that the code can reach by name. And in each notebook cell once, where
something reachable can be changed in place, the definition is pickled again and compared with what was shipped.

Definitions refer to each other by id, so mutual recursion ends: a `RemoteFunction` inside a pickle is noted, and
shipped next. Who ships a definition holds it (`Definition.held`): the runtime forgets it when nobody can ask for it any
more. What a process was sent is in its `Library`.

Owner: `Exporter` may be called by any thread; `_lock` guards shipping, the check of an unchanged definition takes no
lock.
"""

from __future__ import annotations

import hashlib
import pickle
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from jupyter_ray.config import CLOSURE_LIMIT, CLOSURE_WARNING
from jupyter_ray.deprecation import program_level
from jupyter_ray.engine import context
from jupyter_ray.engine.base import Definition
from jupyter_ray.engine.refs import DefinitionRef
from jupyter_ray.engine.travel import forbid_out_of_band
from jupyter_ray.ids import OBJECT_ID_SIZE
from jupyter_ray.local.protocol.messages import Export
from jupyter_ray.local.serialization import values
from jupyter_ray.local.serialization.inspection import unpicklable
from jupyter_ray.local.watch import Watch

_NO_CELL = object()
"""Where a definition was not checked yet: no cell is equal to it, also not None, that of a script."""
_MIB = 1024**2


class _Shipped:
    """What is known of a definition that was shipped. The definition has it, so that both go together.

    Attributes
    ----------
    session
        Which exporter has shipped it: a definition may outlive a session.
    nested
        The definitions that its code refers to.
    cell
        The notebook cell in which it was last checked; None in a script.
    reach
        What was shipped of `nested`, of what those refer to, and so on.
    table
        Its version, and those of its `reach`, by id.
    """

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
        self.cell: Any = _NO_CELL
        self.reach: list[_Shipped] = []
        self.table: dict[str, int] = {}


class Holder(Protocol):
    """Makes the references by which a process holds what it ships: the `References` of the local engine."""

    def promised(self, counted: bytes, kind: type[DefinitionRef]) -> DefinitionRef:
        """Return the reference to what the next message will make the runtime count for us."""


class Exporter:
    """Ships the definitions of this process.

    Parameters
    ----------
    send
        Sends an `Export`; the definitions that a call needs are sent before `ensure` returns.
    holder
        Makes the references that hold its definitions; None: nobody counts them.
    """

    def __init__(self, send: Callable[[Export], None], holder: Holder | None = None) -> None:
        self._send = send
        self._holder = holder
        self._lock = threading.RLock()
        self._session = object()
        """By this it knows what it has shipped itself."""
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
        shipped = definition.shipped  # Not by `_of`, nor `any` below: each would cost a call a tenth of a microsecond.
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
        """Return what this exporter has shipped of a definition; None: nothing."""
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
        """Ship what has changed of a definition and of what it refers to, but for what is `done`."""
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
        """Collect in `reach` what a definition refers to, and so on, itself included."""
        if id(shipped) in reach:
            return
        reach[id(shipped)] = shipped
        for nested in shipped.nested:
            found = self._of(nested)
            if found is not None:
                self._reach(found, reach)

    def _ship(self, definition: Definition, old: _Shipped | None) -> _Shipped:
        watch = Watch(definition.value)
        try:
            serialized = values.code_dumps(definition.value)
        except Exception as error:
            what = f"the {'actor class' if definition.is_class else 'function'} {definition.name}"
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
        version = 0 if old is None else old.version
        if old is None or digest != old.digest:
            version += 1
            self._export(definition, version, blob, serialized.contained, nested)
        shipped = _Shipped(self._session, definition.id, version, digest, watch, nested)
        definition.shipped = shipped
        return shipped

    def _export(
        self, definition: Definition, version: int, blob: bytes, contained: list[bytes], nested: list[Definition]
    ) -> None:
        held, granted = definition.held, False
        if self._holder is not None and (held is None or not held.is_of(self._holder)):
            held, granted = self._holder.promised(definition.id.encode(), DefinitionRef), True
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
        warnings.warn(text, UserWarning, stacklevel=program_level())
