"""What this process holds: how many references, how many grants of them, and the values it has seen.

The rule of the protocol: the runtime counts the grants that it gave, and `Drop` says how many of them are not needed
any more. So a grant is recorded before a reference to it can die, and a drop is sent only when the last reference has
died.

The rule inside of a process: a count is the life of a Python object, its *holder*. An interrupt (KeyboardInterrupt) of
the main thread may come between any two of its steps. So nothing is counted that has no holder yet, and no holder dies
untold: what counts also puts the finalizer into the holder, without a call in between, which is where CPython raises
interrupts; and the finalizer is C code (`Departures.report` with its argument), in which it raises none. Whoever drops
the holder, on whichever way out of a function, has undone the count.

Owner: any thread. `_lock` guards the table. Finalizers may run in the midst of anything, also of code that holds the
lock, so they only report; `flush` works it off.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from msgspec.structs import force_setattr

from jupyter_ray.engine.futures import Settle, Withdraw
from jupyter_ray.engine.refs import ActorRef, Holder, ObjectRef
from jupyter_ray.interrupts import shielded
from jupyter_ray.local.client.threads import Departures
from jupyter_ray.local.protocol.messages import Payload

R = TypeVar("R", ObjectRef[Any], ActorRef)

_CACHE_LIMIT = 64 * 1024**2
"""Bytes of values inside messages that are kept for another `get`; those in segments cost nothing."""

_REFS, _GRANTS = 0, 1


class WhenReady(Protocol):
    """See `Counter.when_ready`."""

    def __call__(self, object_id: bytes, callback: Settle, awaited: bool = False) -> Withdraw | None:
        """Call back once the object has its value."""


class Held(list[bytes]):
    """Ids that this process holds as long as the list lives."""

    __slots__ = ("__del__",)

    __del__: Callable[[], object]


class References:
    """The counts of one process; the `Counter` of its `ObjectRef` and `ActorRef` objects.

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
        self._table: dict[bytes, list[int]] = {}
        self.payloads: dict[bytes, Payload] = {}
        """Values seen, of objects that are held."""
        self.ready: set[bytes] = set()
        """Objects that are held and known to be ready."""
        self._cached = 0

    # --- the port of `ObjectRef` and `ActorRef` ---

    def acquired(self, holder: Holder, counted: bytes, grants: int = 0) -> None:
        """`holder`, a Python object for `counted`, was made."""
        gone = partial(self._report, counted)
        with self._lock:
            entry = self._table.get(counted)
            if entry is None:
                entry = self._table[counted] = [0, 0]
            holder.__del__ = gone  # No call between this and the end of the block.
            entry[_REFS] += 1
            entry[_GRANTS] += grants

    def pinned(self, counted: bytes) -> None:
        """`counted` was pickled by hand: never release it."""
        self.hold(counted)

    # --- for the client ---

    def granted_all(self, counted: Iterable[bytes]) -> None:
        """As `granted`, for all that a definition contains."""
        for each in counted:
            self.granted(each)

    def granted(self, counted: bytes) -> None:
        """The runtime counts one more reference for us."""
        with self._lock:
            entry = self._table.get(counted)
            if entry is None:
                self._table[counted] = [0, 1]
            else:
                entry[_GRANTS] += 1

    def is_granted(self, counted: bytes) -> bool:
        """Whether the runtime counts a reference for us; not so for one that was made by hand."""
        entry = self._table.get(counted)
        return entry is not None and entry[_GRANTS] > 0

    def promised(self, counted: bytes, kind: type[R]) -> R:
        """Return the first reference to what the next message will make the runtime count for us.

        Where that is never sent, since an interrupt comes first, the drop of the reference means nothing there.
        """
        ref = kind.__new__(kind)
        ref._binary = counted
        ref._counter = self
        ref.__del__ = partial(self._report, counted)
        self._table[counted] = [1, 1]  # No lock: nobody else knows it yet. And no call since the finalizer.
        return ref

    def holder(self, object_id: bytes, grants: int = 0) -> ObjectRef[Any]:
        """Return one more reference to an object; a message has granted us so many."""
        ref: ObjectRef[Any] = ObjectRef.__new__(ObjectRef)
        ref._binary = object_id
        ref._counter = self
        self.acquired(ref, object_id, grants)
        return ref

    def hold_contained(self, payload: Payload, grants: int = 0) -> None:
        """Hold what a value contains as long as `payload` lives; a message that brought it has granted each."""
        ids: Sequence[bytes] = payload.contained
        if not ids or type(ids) is Held:
            return
        counted_ids: list[bytes] = []
        held = Held(ids)
        held.__del__ = partial(self._report, counted_ids)
        force_setattr(payload, "contained", held)
        with self._lock:
            for counted in ids:
                entry = self._table.get(counted)
                if entry is None:
                    entry = self._table[counted] = [0, 0]
                entry[_REFS] += 1
                entry[_GRANTS] += grants
                counted_ids.append(counted)  # As one step with the counts: see above.

    # --- for what no interrupt comes to: a worker, between calls ---

    def arrived(self, counted_ids: Iterable[bytes]) -> None:
        """A message granted each of `counted_ids`; hold them until `let_go`, so that they outlive the unpickling."""
        with self._lock:
            for counted in counted_ids:
                self.hold(counted)
                self._table[counted][_GRANTS] += 1

    def hold(self, counted: bytes) -> None:
        """Keep `counted` until `let_go`."""
        with self._lock:
            entry = self._table.get(counted)
            if entry is None:
                self._table[counted] = [1, 0]
            else:
                entry[_REFS] += 1

    def let_go(self, counted_ids: Sequence[bytes]) -> None:
        """Undo the hold of `arrived` and `hold`."""
        if counted_ids:
            self._report(counted_ids)

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
                if entry is None or entry[_REFS] <= 0 or object_id in kept:
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
        """Count what finalizers reported, and tell the runtime what is not held any more."""
        drops: list[tuple[bytes, int]] = []
        ends: list[Callable[[], object]] = []
        table, payloads = self._table, self.payloads
        with shielded(), self._lock:
            for gone in self._departures.reported():
                if type(gone) is bytes:
                    gone = (gone,)
                elif callable(gone):  # What is to be done at the end of something else.
                    ends.append(gone)
                    continue
                for counted in gone:
                    entry = table.get(counted)
                    if entry is None:
                        continue
                    entry[_REFS] -= 1
                    if entry[_REFS] <= 0:
                        del table[counted]
                        if entry[_GRANTS]:
                            drops.append((counted, entry[_GRANTS]))
                        self.ready.discard(counted)
                        payload = payloads.pop(counted, None)
                        if payload is not None:
                            self._forgotten(payload)
                            del payload  # What it holds is reported now, and comes next.
        for end in ends:
            end()
        if drops:
            self._drop(drops)

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"<References: {len(self._table)} held, {len(self.payloads)} values kept>"
