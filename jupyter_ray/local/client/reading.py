"""Values: asking for them, and reading them where they are.

A value in a segment may be gone, or be unreadable here. Whoever finds that tells the runtime (`Lost`), which looks for
itself, and asks again: the answer comes when the value has been computed again, or is the error that says why not.
What is told twice of the same segment is this process's own trouble, and is raised.

Owner: any thread; callbacks run in the callback thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from jupyter_ray.engine.context import current_task
from jupyter_ray.engine.futures import Settle, Withdraw
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.sites import waiting_site
from jupyter_ray.exceptions import GetTimeoutError, ObjectLostError, RaySystemError
from jupyter_ray.local.client.references import References
from jupyter_ray.local.client.requests import Response
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.serialization.values import is_array
from jupyter_ray.local.store.payloads import unpack, unpack_error
from jupyter_ray.local.store.segments import SegmentStore, Unreadable

_NONE: frozenset[str] = frozenset()

WORTH_TELLING = 1.0
"""Who has waited for so many seconds in vain is told what it waited for; polls are not slowed by that question."""


class Asker(Protocol):
    """What reading needs of its client."""

    references: References
    store: SegmentStore

    def send(self, message: m.ClientMessage, *, soon: bool = True) -> None:
        """Send a message that has no answer."""

    def ask(
        self, make: Callable[[int, bytes | None], m.ClientMessage], blocks: bool, until: float | None = None
    ) -> Response:
        """Send a request and wait for its answer."""

    def ask_later(self, make: Callable[[int], m.ClientMessage], answered: Callable[[Response | None], None]) -> int:
        """Send a request and return its number; `answered` is called in the callback thread.

        Raises
        ------
        RaySystemError
            It could not be sent, and `answered` is not called.
        """

    def take_back(self, number: int) -> bool:
        """Tell that nobody waits for an answer any more; return False if it is there."""

    def want(self, chore: str) -> None:
        """Ask the housekeeper for a chore."""

    def run_callback(self, callback: Callable[[], None]) -> None:
        """Call something in the callback thread."""

    def dead(self) -> RaySystemError:
        """Return the error that says how the session ended."""


class Reader:
    """`get` and its like, for one process."""

    def __init__(self, client: Asker) -> None:
        self._client = client

    def get(self, ids: Sequence[bytes], timeout: float | None) -> list[Any]:
        """Return the values of objects, in order; see `Client.get`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        store, payloads = self._client.store, self._client.references.payloads
        values: dict[bytes, Any] = {}
        blamed: frozenset[str] = _NONE
        while True:
            found: dict[bytes, m.Payload] = {}
            missing: list[bytes] = []
            object_id = b""  # The one that is looked at.
            try:
                for object_id in ids:
                    payload = payloads.get(object_id)
                    if object_id in values:
                        continue
                    if payload is None:
                        missing.append(object_id)
                    elif payload.is_error:
                        raise unpack_error(payload, store)
                    else:
                        found[object_id] = payload
                if missing:
                    asked = list(dict.fromkeys(missing))
                    answer = self._ask(asked, timeout, deadline)
                    for object_id, payload in answer.items():
                        if payload.is_error:
                            raise unpack_error(answer[object_id], store)
                    if len(answer) < len(asked):  # They were there, and were lost before the last one came.
                        continue
                    found |= answer
                for object_id, payload in found.items():
                    values[object_id] = self._mapped(object_id, payload) if payload.segment else unpack(payload, store)
            except Unreadable as error:
                blamed = self.report(object_id, error, blamed)
                continue
            if len(values) == len(ids):
                return [values[object_id] for object_id in ids]
            # A value of its own for each place: who changes one of them leaves the others as they are.
            return [values.pop(object_id) if object_id in values else self._again(object_id) for object_id in ids]

    def _ask(self, ids: list[bytes], timeout: float | None, deadline: float | None) -> dict[bytes, m.Payload]:
        """Ask the runtime for values: all of them, or those that are there when one is an error, or was lost again.

        Raises
        ------
        GetTimeoutError
            The time was up, and no error is among those that are there.
        """
        rest = deadline if deadline is None else max(0.0, deadline - time.monotonic())
        reply = self._client.ask(
            lambda number, task: m.Get(number, ids, rest, task, site=waiting_site() if task else ""),
            blocks=rest is None or rest > 0,
            until=deadline,
        )
        assert isinstance(reply, m.Reply)
        if not reply.refused:
            self._client.references.remember_all(reply.ready, reply.values)
        answer = dict(zip(reply.ready, reply.values, strict=True))
        if not reply.complete and not any(payload.is_error for payload in reply.values):
            late = [object_id for object_id in ids if object_id not in answer]
            told = f"Get timed out: some object(s) not ready ({len(late)} of {len(ids)} within {timeout} s)."
            if timeout is not None and timeout >= WORTH_TELLING:
                told += self._why(late[0])
            raise GetTimeoutError(told)
        return answer

    def _why(self, object_id: bytes) -> str:
        """Return what an object waits for; nothing where the runtime is stopped: the time is up."""
        answer = self._client.ask(
            lambda number, _: m.Query(number, "why", {"id": object_id}), blocks=False, until=time.monotonic()
        )
        return f" {answer.value}" if isinstance(answer, m.Answer) and not answer.error else ""

    def _mapped(self, object_id: bytes, payload: m.Payload) -> Any:
        """Return a value that is in a file: as it was read a moment ago, if it still is."""
        segment, store = payload.segment, self._client.store
        before = store.read_before(segment)
        value = unpack(payload, store) if before is None else before.view()
        if object_id in self._client.references.payloads:
            shared = is_array(type(value)) and not value.flags.writeable
            store.linger(segment, value.view() if shared else None)
            self._client.want("mappings")
        return value

    def _again(self, object_id: bytes) -> Any:
        """Return one more copy of a value that is there."""
        return self.get([object_id], None)[0]

    def report(self, object_id: bytes, error: Unreadable, blamed: frozenset[str] = _NONE) -> frozenset[str]:
        """Tell the runtime what cannot be read; return `blamed`, the segments that were told, with this one.

        Raises
        ------
        ObjectLostError
            It was told before.
        """
        if error.segment in blamed:
            raise ObjectLostError(
                object_id.hex(),
                message=f"The value of the object {object_id.hex()} is there, but this process cannot read it: "
                f"{error.reason}.",
            ) from error
        self._client.references.doubt(object_id)
        self._client.send(m.Lost([error.segment], error.reason), soon=False)
        return blamed | {error.segment}

    def wait(self, ids: Sequence[bytes], count: int, timeout: float | None) -> list[bytes]:
        """Wait until `count` objects are ready; see `Client.wait`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        ready: list[bytes] = []
        while len(ready) < count:
            rest = deadline if deadline is None else max(0.0, deadline - time.monotonic())
            reply = self._client.ask(
                lambda number, task, rest=rest: m.Wait(  # type: ignore[misc]
                    number, list(ids), count, rest, task, site=waiting_site() if task else ""
                ),
                blocks=rest is None or rest > 0,
                until=deadline,
            )
            assert isinstance(reply, m.Reply)
            ready = reply.ready
            if not reply.refused:
                self._client.references.are_ready(ready)
                if reply.at_hand:
                    self._client.references.remember_all(*zip(*reply.at_hand, strict=True))
            if not reply.complete:
                break
        return ready[:count]

    def when_ready(
        self, object_id: bytes, callback: Settle, awaited: bool = False, blamed: frozenset[str] = _NONE
    ) -> Withdraw | None:
        """Call `callback(value, error)` once the object is ready, from the callback thread; see `Counter`."""
        references = self._client.references
        payload = references.payloads.get(object_id)
        if payload is not None:
            here = payload
            self._client.run_callback(lambda: self._call_back(object_id, callback, here, blamed))
            return None
        task = current_task() if awaited else None
        awaiter = task.task if task is not None else b"" if awaited else None
        held = references.reference(object_id, ObjectRef)  # Till it is delivered, or taken back.
        try:
            number = self._client.ask_later(
                lambda number: m.Get(number, [object_id], awaiter=awaiter),
                lambda response: self._deliver(held, callback, response, blamed),
            )
        except RaySystemError as error:
            callback(None, error)
            return None
        return partial(self._client.take_back, number)

    def _deliver(
        self, ref: ObjectRef[Any], callback: Settle, response: Response | None, blamed: frozenset[str]
    ) -> None:
        if not isinstance(response, m.Reply) or not response.values:
            callback(None, self._client.dead())
            return
        object_id = ref.binary()
        if not response.refused:
            self._client.references.remember(object_id, response.values[0])
        self._call_back(object_id, callback, response.values[0], blamed)

    def _call_back(self, object_id: bytes, callback: Settle, payload: m.Payload, blamed: frozenset[str]) -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            if payload.is_error:
                error = unpack_error(payload, self._client.store)
            else:
                value = unpack(payload, self._client.store)
        except Unreadable as unreadable:
            with contextlib.suppress(RaySystemError):  # The next request says it.
                try:
                    blamed = self.report(object_id, unreadable, blamed)
                except ObjectLostError as lost:
                    callback(None, lost)
                    return
            self.when_ready(object_id, callback, blamed=blamed)
            return
        except RaySystemError as found:
            error = found
        callback(value, error)
