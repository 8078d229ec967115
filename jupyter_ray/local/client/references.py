"""What this process holds: its references, how many grants it has of them, and the values it has seen.

The rule of the protocol: the runtime counts the grants that it gave, and `Drop` says how many of them are not needed
any more. So a grant is recorded before a reference to it can die, and a drop is sent only when the reference has died.

The rule inside of a process: there is one Python object for an object or an actor, its *reference*, and Python counts
who holds it. An interrupt (KeyboardInterrupt) of the main thread may come between any two steps of its code, so nothing
else is counted that would have to be undone. The reference's finalizer is C code (`Departures.report` with its
argument), in which no interrupt is raised, and is put into it without a call in between, which is where CPython raises
them. Whoever lets a reference go, on whichever way out of a function, has undone the count.

Owner: any thread. `_lock` guards the table. Finalizers may run in the midst of anything, also of code that holds the
lock, so they only report; `flush` works it off. A report says "look": the entry of a reference that has come back
meanwhile stays.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar
from weakref import ref as weakref_to

from msgspec.structs import force_setattr

from jupyter_ray.engine.futures import Settle, Withdraw
from jupyter_ray.engine.refs import ActorRef, DefinitionRef, ObjectRef, uncounted
from jupyter_ray.ids import ACTOR_ID_SIZE, OBJECT_ID_SIZE
from jupyter_ray.interrupts import shielded
from jupyter_ray.local.client.threads import Departures
from jupyter_ray.local.protocol.messages import Execute, Payload

Reference = ObjectRef[Any] | ActorRef | DefinitionRef
R = TypeVar("R", bound=Reference)

_KINDS: dict[int, type[Any]] = {OBJECT_ID_SIZE: ObjectRef, ACTOR_ID_SIZE: ActorRef}

_CACHE_LIMIT = 64 * 1024**2
"""Bytes of values inside messages that are kept for another `get`; those in segments cost nothing."""

_REFERENCE, _GRANTS = 0, 1
"""An entry of the table: returns the reference, or None when it has died; and how many grants the runtime gave."""


def _nothing(told: object) -> None:
    """The session is over."""


class WhenReady(Protocol):
    """See `Counter.when_ready`."""

    def __call__(self, object_id: bytes, callback: Settle, awaited: bool = False) -> Withdraw | None:
        """Call back once the object has its value."""


class Held(list[bytes]):
    """Ids that this process holds as long as the list lives."""

    __slots__ = ("references",)

    references: list[Reference]


class References:
    """The counts of one process; the `Counter` of its references.

    Parameters
    ----------
    drop
        Tells the runtime: pairs of a counted id and a number of grants.
    departures
        Where finalizers report; it calls `flush` soon.
    when_ready
        Calls back when an object has its value.
    leave
        Told of a segment whose value is not kept any more, before the runtime hears that it is not held.
    """

    def __init__(
        self,
        drop: Callable[[list[tuple[bytes, int]]], None],
        departures: Departures,
        when_ready: WhenReady,
        leave: Callable[[str], None] = lambda segment: None,
    ) -> None:
        self._drop = drop
        self._departures = departures
        self._report = departures.report
        self.when_ready = when_ready
        self.call_site: Callable[[bytes], str] = lambda object_id: ""
        """Returns the line that made an object."""
        self.hurry: Callable[[], None] = lambda: None
        """Sends what waits to be sent."""
        self._leave = leave
        self._lock = threading.RLock()
        self._table: dict[bytes, list[Any]] = {}
        self._pinned: dict[bytes, Reference] = {}
        self.payloads: dict[bytes, Payload] = {}
        """Values seen, of objects that are held."""
        self.ready: set[bytes] = set()
        """Objects that are held and known to be ready."""
        self._cached = 0

    # --- the port of references ---

    def reference(self, counted: bytes, kind: type[R], grants: int = 0) -> R:
        """Return the reference to an object, an actor or a definition; a message has granted us so many."""
        entry = self._table.get(counted)
        living: R | None
        if entry is not None and not grants:
            living = entry[_REFERENCE]()
            if living is not None:
                return living
        with self._lock:
            entry = self._table.get(counted)
            if entry is not None:
                entry[_GRANTS] += grants
                living = entry[_REFERENCE]()
                if living is not None:
                    return living
            ref = uncounted(kind, counted, self)
            gone, alive = partial(self._report, counted), weakref_to(ref)
            ref.__del__ = gone  # No call between this and the entry.
            if entry is None:
                self._table[counted] = [alive, grants]
            else:
                entry[_REFERENCE] = alive
            return ref

    def living(self, counted: bytes, kind: type[R]) -> R | None:
        """Return the reference to what we have, or have just had; None if the runtime may have heard of its end."""
        with self._lock:
            return self.reference(counted, kind) if counted in self._table else None

    def pinned(self, counted: bytes) -> None:
        """`counted` was pickled by hand: never release it."""
        self._pinned[counted] = self.many([counted])[0]

    # --- for the client ---

    def many(self, counted_ids: Iterable[bytes], grants: int = 0) -> list[Reference]:
        """Return the references to what is counted; a message has granted us so many of each."""
        refer, kinds = self.reference, _KINDS
        return [refer(each, kinds.get(len(each), DefinitionRef), grants) for each in counted_ids]

    def objects(self) -> list[bytes]:
        """Return the ids of the objects that this process refers to."""
        with self._lock:
            return [each for each, entry in self._table.items() if len(each) == OBJECT_ID_SIZE and entry[_REFERENCE]()]

    def is_granted(self, counted: bytes) -> bool:
        """Whether the runtime counts a reference for us; not so for one that was made by hand."""
        entry = self._table.get(counted)
        return entry is not None and entry[_GRANTS] > 0

    def promised(self, counted: bytes, kind: type[R]) -> R:
        """Return the reference to what the next message will make the runtime count for us.

        Where that is never sent, since an interrupt comes first, the drop of the reference means nothing there.
        """
        ref = uncounted(kind, counted, self)
        gone, alive = partial(self._report, counted), weakref_to(ref)
        ref.__del__ = gone  # No call between this and the entry.
        self._table[counted] = [alive, 1]  # No lock: nobody else knows it yet.
        return ref

    def hold_contained(self, message: Payload | Execute, grants: int = 0) -> None:
        """Hold what a message contains as long as it lives, or until `let_go`; it has granted each so often."""
        ids: Sequence[bytes] = message.contained
        if ids and type(ids) is not Held:
            held = Held(ids)
            held.references = self.many(ids, grants)
            force_setattr(message, "contained", held)

    def let_go(self, message: Payload | Execute) -> None:
        """Undo `hold_contained`."""
        if message.contained:
            force_setattr(message, "contained", tuple(message.contained))

    # --- values ---

    def remember(self, object_id: bytes, payload: Payload) -> None:
        """Keep a value for another `get`, while a reference to its object lives here."""
        self.remember_all((object_id,), (payload,))

    def remember_all(self, object_ids: Iterable[bytes], payloads: Iterable[Payload]) -> None:
        """As `remember`, for many."""
        table, kept = self._table, self.payloads
        with self._lock:
            for object_id, payload in zip(object_ids, payloads, strict=True):
                entry = table.get(object_id)
                if entry is None or object_id in kept or entry[_REFERENCE]() is None:
                    continue
                if payload.contained:
                    self.hold_contained(payload)
                if not payload.segment:
                    self._cached += payload.size
                kept[object_id] = payload
            while self._cached > _CACHE_LIMIT:
                self.forget(next(iter(kept)))

    def forget(self, object_id: bytes) -> None:
        """Drop a remembered value; the next `get` asks for it."""
        with self._lock:
            payload = self.payloads.pop(object_id, None)
            if payload is not None:
                self._forgotten(payload)

    def _forgotten(self, payload: Payload) -> None:
        if payload.segment:
            self._leave(payload.segment)
        else:
            self._cached -= payload.size

    def doubt(self, object_id: bytes) -> None:
        """Drop what is known of a value that turned out to be lost."""
        with self._lock:
            self.forget(object_id)
            self.ready.discard(object_id)

    def are_ready(self, object_ids: Iterable[bytes]) -> None:
        """Note that objects are ready, so that `wait` need not ask again."""
        with self._lock:
            self.ready.update(each for each in object_ids if each in self._table)

    def known_ready(self, refs: Iterable[ObjectRef[Any]], count: int) -> list[bytes]:
        """Return the first `count` of `refs` of which this process knows that they are ready; there may be fewer."""
        known, payloads = self.ready, self.payloads
        found = (ref._binary for ref in refs if ref._binary in known or ref._binary in payloads)
        return list(itertools.islice(found, count))

    def flush(self) -> None:
        """Count what finalizers reported, and tell the runtime what is not held any more.

        In the main thread an interrupt comes when that is done: else nobody would tell it.
        """
        with shielded():
            self._flush()

    def _flush(self) -> None:
        drops: list[tuple[bytes, int]] = []
        ends: list[Callable[[], object]] = []
        table, payloads = self._table, self.payloads
        with self._lock:
            for gone in self._departures.reported():
                if type(gone) is not bytes:  # What is to be done at the end of something else.
                    ends.append(gone)
                    continue
                entry = table.get(gone)
                if entry is None or entry[_REFERENCE]() is not None:
                    continue
                del table[gone]
                if entry[_GRANTS]:
                    drops.append((gone, entry[_GRANTS]))
                self.ready.discard(gone)
                payload = payloads.pop(gone, None)
                if payload is not None:
                    self._forgotten(payload)
                    del payload  # What it holds is reported now, and comes next.
        for end in ends:
            end()
        if drops:
            self._drop(drops)

    def close(self) -> None:
        """Let go of the values, which hold references, and of the session: what is left of those may live for long."""
        with self._lock:
            self.payloads.clear()
        self._drop, self._leave = _nothing, _nothing
        self.when_ready = lambda object_id, callback, awaited=False: None
        self.call_site, self.hurry = lambda object_id: "", lambda: None

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"<References: {len(self._table)} held, {len(self.payloads)} values kept>"
