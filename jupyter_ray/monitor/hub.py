"""The hub: owns one model, is fed by the engine, and keeps the panel up to date.

Who does what::

    client's reader thread ── feed() ──► inbox (a deque)
    any kernel thread ── handle(), set_runtime(), snapshot(), ... ──► model and policy, under the lock
    the hub's own thread ── folds the inbox, asks the policy, makes the message (under the lock), sends it (outside)

So the reader never waits for the panel, messages leave in order, and no sink or callback runs under the lock. The
thread starts with the first need and rests: without events and messages it uses no CPU. An interrupt of the main
thread comes when what it tells the hub has been taken in whole.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from jupyter_ray.events import AnyEvent
from jupyter_ray.interrupts import Change, shielded
from jupyter_ray.monitor import reducer
from jupyter_ray.monitor.model import Model
from jupyter_ray.monitor.policy import Pace, SendPolicy
from jupyter_ray.monitor.records import RuntimeState
from jupyter_ray.monitor.requests import Ack, Bye, CancelTask, Hello, parse
from jupyter_ray.monitor.snapshot import Message, Writer, describe

logger = logging.getLogger(__name__)

Sink = Callable[[Message], None]
Cancel = Callable[[str, bool], None]

INBOX_EVENTS: Final = 50_000
"""With more than that unfolded, `feed` folds by itself: events that come faster than the pump must not pile up."""


class HubStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a hub has done and holds."""

    epoch: str
    runtime: str
    events: int
    faults: int
    tasks: int
    shown: int
    folded: int
    groups: int
    actors: int
    workers: int
    messages: int
    rejected: int
    clients: int
    unacknowledged: int


class Hub:
    """Folds the events of one runtime after the other and tells every attached sink.

    All methods may be called from any thread and return at once.

    Parameters
    ----------
    pace
        How often messages go out.
    cancel
        Called on the hub's thread, with a task id and `force`, when a panel's user cancels a task.
    wall
        Unix seconds, for changes of the runtime's state that no event tells.
    """

    def __init__(
        self,
        *,
        pace: Pace | None = None,
        cancel: Cancel | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._pace = pace or Pace()
        self._cancel = cancel
        self._wall = wall
        self._lock = threading.Lock()
        """Guards the model, the writer, the policy and the sinks."""
        self._flags = threading.Lock()
        """Guards the flags below and the start of the thread; taken inside `_lock`, never the other way round."""
        self._wake = Change()
        self._woken = False
        self._resting = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._inbox: deque[tuple[str | None, Sequence[AnyEvent]]] = deque()
        self._inbox_events = 0
        self._next_fold = 0.0
        self._faults = 0
        self._rejected = 0
        self._messages = 0
        self._sinks: list[Sink] = []
        self._cancels: deque[CancelTask] = deque()
        self._policy = SendPolicy(time.monotonic, self._pace)
        self._begin(secrets.token_hex(4))

    def _begin(self, epoch: str) -> None:
        self._model = Model()
        self._writer = Writer(self._model, epoch)
        self._policy.announce(epoch)

    def __repr__(self) -> str:
        facts = self.statistics()
        state = "closed" if self._closed else facts.runtime
        return (
            f"<Hub {state}, epoch {facts.epoch}: {facts.tasks} tasks, {facts.folded} folded, {facts.actors} actors, "
            f"{facts.messages} messages to {len(self._sinks)} sinks, {facts.clients} clients>"
        )

    # From the engine

    @property
    def epoch(self) -> str:
        """The name of the current stream."""
        return self._writer.epoch

    def feed(self, events: Sequence[AnyEvent], *, epoch: str | None = None) -> None:
        """Take in events, in their order.

        Parameters
        ----------
        events
            What happened. The hub keeps the sequence; do not change it.
        epoch
            What `reset` returned when this runtime began: events of an earlier one are dropped. None: not checked.
        """
        if not events or self._closed:
            return
        with self._flags, shielded():
            self._inbox.append((epoch, events))
            self._inbox_events += len(events)
            crowded = self._inbox_events > INBOX_EVENTS
            self._start()
            if self._resting:
                self._woken = True
                self._wake.tell()
        if crowded:
            with self._lock, shielded():
                self._fold_inbox()

    def reset(
        self,
        epoch: str | None = None,
        *,
        state: RuntimeState = "starting",
        engine: str = "local",
        message: str = "",
        pid: int | None = None,
    ) -> str:
        """Forget the runtime that was: a new one begins, with a new epoch.

        Returns
        -------
        str
            The epoch; give it to `feed`.
        """
        with self._lock, shielded():
            self._fold_inbox()
            self._begin(epoch or secrets.token_hex(4))
            reducer.set_runtime(self._model, state, at=self._wall(), message=message, pid=pid, engine=engine)
            name = self._writer.epoch
            self._rouse()
        return name

    def set_runtime(
        self, state: RuntimeState, *, message: str = "", pid: int | None = None, engine: str | None = None
    ) -> None:
        """Set the runtime's state, where no event tells it: warm, or found dead.

        Parameters
        ----------
        state
            ``"absent"``, ``"stopped"`` and ``"dead"`` end every task and actor in the model.
        message
            What a person should know.
        pid, engine
            None keeps what is known.
        """
        with self._lock, shielded():
            self._fold_inbox()
            reducer.set_runtime(self._model, state, at=self._wall(), message=message, pid=pid, engine=engine)
            self._rouse()

    # To and from the panel

    def attach(self, sink: Sink) -> Callable[[], None]:
        """Send every message to `sink` from now on, beginning with a snapshot.

        Parameters
        ----------
        sink
            Called on the hub's thread, one message at a time. One that raises is detached.

        Returns
        -------
        callable
            Detaches the sink.
        """
        with self._lock, shielded():
            self._sinks.append(sink)
            self._policy.announce(self._writer.epoch)
            self._rouse()

        def detach() -> None:
            with self._lock:
                if sink in self._sinks:
                    self._sinks.remove(sink)

        return detach

    def handle(self, message: Mapping[str, Any]) -> None:
        """Take in one message of a panel. One that the protocol does not know is counted and dropped."""
        try:
            parsed = parse(message)
        except msgspec.ValidationError:
            self._rejected += 1
            with shielded():
                logger.debug("not a message of the panel protocol: %r", message)
            return
        with self._lock, shielded():
            if isinstance(parsed, Hello):
                self._policy.hello(parsed.client)
            elif isinstance(parsed, Ack):
                self._policy.ack(parsed.client, parsed.epoch, parsed.seq)
            elif isinstance(parsed, Bye):
                self._policy.bye(parsed.client)
            else:
                self._cancels.append(parsed)
            self._rouse()

    # For people

    def snapshot(self) -> dict[str, Any]:
        """Return the whole model as it is now: the `state` of docs/panel-protocol.md, the caller's to keep."""
        with self._lock, shielded():
            self._fold_inbox()
            return describe(self._model)

    def statistics(self) -> HubStatistics:
        """Return counts, without folding what has just arrived."""
        with self._lock:
            model, policy = self._model, self._policy
            return HubStatistics(
                epoch=self._writer.epoch,
                runtime=model.runtime.state,
                events=model.events,
                faults=self._faults,
                tasks=len(model.tasks),
                shown=len(model.shown),
                folded=model.runtime.dropped,
                groups=len(model.groups),
                actors=len(model.actors),
                workers=len(model.workers),
                messages=self._messages,
                rejected=self._rejected,
                clients=policy.clients,
                unacknowledged=self._writer.seq - policy.acked,
            )

    def close(self, timeout: float = 2.0) -> None:
        """End the thread and forget the sinks; safe to repeat.

        Parameters
        ----------
        timeout
            How many seconds to wait for a sink that is sending.
        """
        with self._flags, shielded():
            self._closed = self._woken = True
            self._wake.tell()
            thread = self._thread
        with self._lock:
            self._sinks.clear()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    # The thread

    def _start(self) -> None:
        """Start the thread if it does not run; the caller holds `_flags`."""
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._pump, name="jupyter_ray-monitor", daemon=True)
            self._thread.start()

    def _rouse(self) -> None:
        with self._flags, shielded():
            self._start()
            self._woken = True
            self._wake.tell()

    def _pump(self) -> None:
        while not self._closed:
            pause = self._turn()
            # Only without a timeout does `feed` wake us. It looks after it has filled the inbox, under the lock, and we
            # look after we said that we rest: so no event is left behind.
            self._resting = pause is None
            self._wake.wait_for(lambda: self._woken or (self._resting and bool(self._inbox)), pause)
            with self._flags:
                self._resting = self._woken = False

    def _turn(self) -> float | None:
        """Do what is due; return the seconds until something else is, None if nothing is."""
        message: Message | None = None
        with self._lock:
            sinks = list(self._sinks)
            if self._inbox and time.monotonic() >= self._next_fold:
                self._fold_inbox()
            if sinks and self._policy.due(changed=bool(self._model.dirty)) == 0:
                self._fold_inbox()
                message = self._writer.snapshot() if self._policy.take() == "snapshot" else self._writer.delta()
                if message is not None:
                    self._policy.sent(message["seq"])
                    self._messages += 1
            cancels = list(self._cancels)
            self._cancels.clear()
        for cancel in cancels:
            self._call_cancel(cancel)
        if message is not None:
            for sink in sinks:
                self._send(sink, message)
        with self._lock:
            pauses: list[float] = []
            if self._inbox:
                pauses.append(max(0.0, self._next_fold - time.monotonic()))
            if self._sinks:
                due = self._policy.due(changed=bool(self._model.dirty))
                if due is not None:
                    pauses.append(due)
            return min(pauses) if pauses else None

    def _fold_inbox(self) -> None:
        """Fold what was fed; the caller holds `_lock`, which keeps the order."""
        self._next_fold = time.monotonic() + self._pace.fast
        while self._inbox:
            epoch, events = self._inbox.popleft()
            with self._flags:
                self._inbox_events -= len(events)
            if epoch is not None and epoch != self._writer.epoch:
                continue
            rest = iter(events)
            while True:
                try:
                    reducer.fold(self._model, rest)
                    break
                except Exception:
                    # The view may be wrong in one row; the notebook must not suffer for it.
                    self._faults += 1
                    logger.exception("an event could not be folded into the monitor's model")

    def _send(self, sink: Sink, message: Message) -> None:
        try:
            sink(message)
        except Exception:
            logger.exception("the panel cannot be reached; it is detached")
            with self._lock:
                if sink in self._sinks:
                    self._sinks.remove(sink)

    def _call_cancel(self, request: CancelTask) -> None:
        cancel = self._cancel
        if cancel is None:
            return
        try:
            cancel(request.task, request.force)
        except Exception:
            logger.exception("cancelling task %s from the panel failed", request.task)
