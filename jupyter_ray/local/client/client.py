"""The client: requests, values, references and events of one process, on one channel.

 program's threads ── send, wait for an answer ──► Channel ◄── reader thread: fills answers, counts grants
                                                       ▲
 finalizers ── queue ──► departures thread: counts what is gone, sends drops
 housekeeper thread: flushes what waits, and does other chores
 callback thread: futures, `await`, event listeners (a user's code; never in the reader)

A worker gives a `Blocking`: what it must hand back to the runtime before its main thread waits.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jupyter_ray import interrupts
from jupyter_ray.config import ACTOR_BACKLOG
from jupyter_ray.engine.context import current_task
from jupyter_ray.engine.futures import Settle, Withdraw
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.interrupts import shielded
from jupyter_ray.local.client import room
from jupyter_ray.local.client.direct import Direct, make_room
from jupyter_ray.local.client.events import EventStream
from jupyter_ray.local.client.reading import Reader
from jupyter_ray.local.client.references import References
from jupyter_ray.local.client.requests import LOOK_SECONDS, Blocking, Patience, Requests, Response, Slot, told
from jupyter_ray.local.client.streams import Streams
from jupyter_ray.local.client.threads import CallbackThread, Departures, Housekeeper
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.store.segments import SegmentStore
from jupyter_ray.local.transport import Channel

_LAST_WORDS_SECONDS = 2.0
_ROOM = ACTOR_BACKLOG // 2
_REMEDY = "Call ray.init() (in a notebook: %ray start) to start a new session; what was in the old one is gone."


class Client:
    """One process's session with the runtime.

    Parameters
    ----------
    connection
        A connected socket.
    store
        This process's view of the shared memory.
    handlers
        What to do with messages that only a worker gets, by type; called in the reader thread.
    on_death
        Called once, in the reader thread, when the connection has ended without `close`; with the reason.
    chores
        More for the housekeeper: name, seconds to wait, and what to do; `want` asks for one.
    folder
        The session's folder, where workers may be called directly.
    on_silence
        Called again and again while the main thread waits and hears nothing.
    """

    def __init__(
        self,
        connection: socket.socket,
        store: SegmentStore,
        handlers: dict[type, Callable[[Any], None]] | None = None,
        on_death: Callable[[str], None] = lambda reason: None,
        chores: dict[str, tuple[float, Callable[[], object]]] | None = None,
        folder: Path | None = None,
        on_silence: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.blocking: Blocking | None = None
        self.before_call: Callable[[], None] = lambda: None
        """In a worker: sends what the task printed, which must come before what the call prints."""
        self.before_message: Callable[[], None] | None = None
        """In a worker: tells of the calls that it has got directly, which must come before what they say."""
        self.is_stopped: Callable[[], bool] = lambda: False
        """Tells whether somebody has stopped the runtime."""
        self._on_death = on_death
        self.death_means = "the runtime process died"
        self._requests = Requests()
        self._calls: dict[bytes, int] = {}
        """Calls of each actor since we last waited for it, as long as we have a handle."""
        self._death: str | None = None
        self._closing = False
        self._callbacks = CallbackThread("jupyter_ray callbacks")
        self.run_callback = self._callbacks.run
        self.events = EventStream(
            lambda *how: self.send(m.Subscribe(*how)),
            lambda text: self.send(m.Seen(text)),
        )
        self._handlers: dict[type, Callable[[Any], None]] = {
            m.Reply: self._on_reply,
            m.Answer: self._on_answer,
            m.Events: self.events.take,
            m.StreamState: lambda message: self.streams.heard(message),
            m.Route: lambda message: self.direct.offered(message),
            m.Unroute: lambda message: self.direct.withdrawn(message),
            **room.connect(self, store),
            **(handlers or {}),
        }
        self._house = Housekeeper(
            {
                "flush": (0.001, lambda: self._channel.flush()),
                "reports": (0.005, lambda: self._channel.flush()),
                "reads": (0.001, lambda: self.streams.tell_what_was_read()),
                "deferred": (0.001, lambda: self.direct.look()),
                "routes": (0.005, lambda: self.direct.tidy()),
                "spares": (0.001, store.spares.prepare),
                "mappings": (0.25, self._leave_old_mappings),
                "garbage": (0.001, gc.collect),
                **(chores or {}),
            }
        )
        self.want, self.add_chore = self._house.want, self._house.add
        departures = Departures(lambda: self.references.flush(), 0.008)
        self.references: References = References(self._drop, departures, self.when_ready, store.leave)
        self.departures = departures
        store.report = departures.report
        self._channel: Channel = Channel(
            connection, self._on_message, self._on_close, lambda: self._house.want("flush"), self._busy
        )
        self._channel.on_silence = on_silence
        self.expect, self.listening = self._channel.vigil.expect, self._channel.listening
        self.watch, self.unwatch = self._channel.watch, self._channel.unwatch
        self.read_until = partial(self._channel.attend, shielded=False)
        """Reads in this thread until its argument is true, if nobody else reads; for one that no interrupt tears."""
        self.attention = self._channel.attention
        self.reader: Reader = Reader(self)
        self.streams: Streams = Streams(self)
        self.direct: Direct = Direct(self, folder or Path())
        self._deferred, self._under_way = self.direct.deferred, self.direct.under_way

    def start(self, hello: m.Hello) -> None:
        """Say who we are, and begin to read."""
        with shielded():  # A thread's start waits for it in Python code, which an interrupt would tear.
            self.direct.introduce(hello)
            self._house.start()
            self.departures.start()
            self._channel.send(hello)
            self._channel.start()

    # --- sending ---

    def send(self, message: m.ClientMessage, *, soon: bool = True) -> None:
        """Send a message that has no answer; with `soon`, it may wait up to a millisecond for others.

        Raises
        ------
        RaySystemError
            The session has ended.
        """
        if self._deferred or self._under_way:
            self.direct.precede(message)
        before = self.before_message  # Another thread may take it away.
        if before is not None and type(message) is not m.Done:
            before()
        self.send_bare(message, soon=soon)

    def send_bare(self, message: m.ClientMessage, *, soon: bool = True) -> None:
        """Send a message before which nothing has to be sent, or was."""
        try:
            self._channel.send(message, soon=soon)
        except ConnectionError as error:
            raise self.dead() from error

    def send_if(self, claim: Callable[[], object], message: m.ClientMessage) -> None:
        """Send a message unless `claim()` is None, in one step with that; not after a call that is deferred."""
        before = self.before_message
        if before is not None:
            before()
        try:
            self._channel.send_if(claim, message)
        except ConnectionError as error:
            raise self.dead() from error

    def send_later(self, message: m.ClientMessage, claim: Callable[[], object] | None = None) -> bool:
        """Send a message with whatever goes next, or after some milliseconds; return False if `claim()` is None."""
        try:
            first = self._channel.send_later(message, claim)
        except ConnectionError as error:
            raise self.dead() from error
        if first:
            self._house.want("reports")
        return first is not None

    def _drop(self, drops: list[tuple[bytes, int]]) -> None:
        self.direct.dropped(drops)
        for counted, _ in drops:
            self._calls.pop(counted, None)
        with contextlib.suppress(ConnectionError, RaySystemError):
            if threading.get_ident() == interrupts.main_thread:
                self.send_later(m.Drop(drops))  # With what is asked for next. A shielded thread should not write.
            else:  # It has waited for more to come.
                self._channel.send_later(m.Drop(drops))
                self._channel.flush()

    def dead(self) -> RaySystemError:
        """Return the error that says how the session ended."""
        reason = self._death or ("it was shut down" if self._closing else self.death_means)
        return RaySystemError(f"The session has ended: {reason}. {_REMEDY}")

    def check_alive(self) -> None:
        """Raise a RaySystemError if the session has ended."""
        if self._channel.closed:
            raise self.dead()

    @property
    def alive(self) -> bool:
        """Whether the session can be used."""
        return not self._channel.closed

    def flush(self) -> None:
        """Send what waits now, also a call that is deferred."""
        with contextlib.suppress(RaySystemError):
            self.direct.release()
            self.push()

    def push(self) -> None:
        """Send what was sent and waits, now."""
        with contextlib.suppress(ConnectionError):
            self._channel.flush()

    # --- requests ---

    def ask(
        self, make: Callable[[int, bytes | None], m.ClientMessage], blocks: bool, until: float | None = None
    ) -> Response:
        """Send a request and wait for the answer, due at `until`; if it `blocks`, a task lends its CPUs meanwhile."""
        task = current_task() if blocks else None
        blocked = task.task if task is not None else b"" if blocks else None
        blocking = self.blocking if task is not None else None
        slot = Slot()
        done = slot.is_filled if until is None else slot.filled_or(Patience(until, self.is_stopped))
        number = self._requests.number()
        try:
            try:
                self._requests.open(number, slot)
                if blocking is not None:
                    blocking.begin()
                self.send(make(number, blocked), soon=False)
                if self._channel.closed:
                    self._requests.fail_all()  # The reader may have been here before our request.
                if not self._channel.attend(done, looks=until is not None):
                    while not slot.lock.acquire(timeout=LOOK_SECONDS) and not done():
                        self._channel.on_silence()  # A signal from right before the wait has been heard by now.
            except BaseException:  # An interrupt, in most cases.
                self.take_back(number)
                raise
            if not slot.filled:
                self.take_back(number)
                return m.Reply(number, complete=False)
        finally:
            if blocking is not None:
                blocking.end()
        if slot.response is None:
            raise self.dead()
        self.events.settle()
        return slot.response

    def query(self, what: str, **arguments: Any) -> Any:
        """Ask for something that the runtime knows; raise what it answers if that is an error."""
        return self.request(lambda number: m.Query(number, what, arguments))

    def request(self, make: Callable[[int], m.ClientMessage]) -> Any:
        """Send a request that is answered by an `Answer`, and return its value."""
        return told(self.ask(lambda number, task: make(number), blocks=False))

    # --- values ---

    def get(self, ids: Sequence[bytes], timeout: float | None) -> list[Any]:
        """Return the values of objects, in order.

        Raises
        ------
        GetTimeoutError
            Not all are there after `timeout` seconds.
        BaseException
            The first error among the values.
        """
        if self._deferred and len(ids) == 1 and (timeout is None or timeout > 1):
            self.direct.call(ids[0])
        return self.reader.get(ids, timeout)

    def wait(self, ids: Sequence[bytes], count: int, timeout: float | None) -> list[bytes]:
        """Wait until `count` objects are ready, or for `timeout` seconds; return ready ones, at most `count`."""
        if self._deferred and len(ids) == 1 and (timeout is None or timeout > 1):
            self.direct.call(ids[0])
            if ids[0] in self.references.payloads:
                return [ids[0]]
        return self.reader.wait(ids, count, timeout)

    def when_ready(self, object_id: bytes, callback: Settle, awaited: bool = False) -> Withdraw | None:
        """Call `callback(value, error)` once the object is ready, from the callback thread; see `Counter`."""
        return self.reader.when_ready(object_id, callback, awaited)

    def ask_later(self, make: Callable[[int], m.ClientMessage], answered: Callable[[Response | None], None]) -> int:
        """Send a request and return its number, or raise a RaySystemError; see `Asker.ask_later`."""
        number = self._requests.number()
        try:
            self._requests.open(number, Slot(lambda response: self.run_callback(lambda: answered(response))))
            self.send(make(number))
            self._channel.attention()
        except RaySystemError:
            if self._requests.take(number) is not None:
                raise
        except BaseException:  # An interrupt.
            self.take_back(number)
            raise
        if self._channel.closed:
            self._requests.fail_all()
        return number

    def take_back(self, number: int) -> bool:
        """Tell that nobody waits for an answer; return False if it is there."""
        if self._requests.take(number) is None:
            return False
        with contextlib.suppress(RaySystemError):
            self.send(m.Abandon(number))
        return True

    # --- actors ---

    def brake(self, actor: bytes) -> None:
        """Count a call of `actor`; now and then wait until it is not too far behind."""
        make_room(self._calls, actor)
        calls = self._calls.get(actor, 0) + 1
        if calls >= _ROOM:
            self.ask(lambda number, task: m.AwaitRoom(number, actor, task), blocks=True)
            calls = 0
        self._calls[actor] = calls

    def _leave_old_mappings(self) -> None:
        if self.store.leave_old():
            self.want("mappings")

    # --- the reader thread ---

    def _busy(self) -> bool:
        return len(self._requests) > 0 or len(self.streams) > 0

    def _on_message(self, message: m.ServerMessage) -> None:
        if (handler := self._handlers.get(type(message))) is not None:
            handler(message)

    def _on_reply(self, reply: m.Reply) -> None:
        for payload in reply.values:
            self.references.hold_contained(payload, 1)
        slot = self._requests.take(reply.request)
        if slot is not None:
            slot.fill(reply)

    def _on_answer(self, answer: m.Answer) -> None:
        slot = self._requests.take(answer.request)
        if slot is not None:
            slot.fill(answer)

    def _on_close(self, reason: str) -> None:
        if not self._closing:
            self._death = f"{self.death_means} ({reason})"
        self.streams.fail()
        self._requests.fail_all()
        self.store.spares.close()
        if not self._closing:
            self._on_death(reason)

    # --- the end ---

    def say_goodbye(self) -> None:
        """Ask the runtime to end the session, and hear what it has still to tell: the last events."""
        self._closing = True
        with contextlib.suppress(RaySystemError):
            self.send(m.Shutdown(), soon=False)
        self._channel.hear_out(_LAST_WORDS_SECONDS)

    def abandon_in_fork(self) -> None:
        """Forget the connection in a forked child, whose threads are gone, without a word to the runtime."""
        self._closing = True
        self.direct.close()
        self._channel.abandon()

    def close(self) -> None:
        """End the connection and the helper threads."""
        self._closing = True
        self._house.stop()
        self.departures.stop()
        self.direct.close()
        self._channel.close()
        self._channel.join(2.0)
        self._requests.fail_all()
        self._callbacks.stop()
        self.events.stop()
        self.references.close()

    def __repr__(self) -> str:
        state = "alive" if self.alive else self._death or "closed"
        return f"<Client: {state}, {len(self._requests)} requests, {len(self.references)} references>"
