"""The driver's event log: what it did itself, what workers report, what Ray prints, and what Ray's state says.

 this process's calls ───────────┐
 Ray's log channel ── log thread ┼─► EventLog (numbers, keeps, hands on) ── listener thread ──► listeners
 Ray's state ── state thread ────┘

Nothing is asked of the cluster until somebody listens. Owner: `_lock` guards the numbers, the history and the
listeners; listeners are called in the listener thread alone.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from jupyter_ray import events as ev
from jupyter_ray.config import EVENT_INTERVAL
from jupyter_ray.engine.base import EventListener
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.interrupts import Flag
from jupyter_ray.ray_cluster import refs
from jupyter_ray.ray_cluster.calls import EVERYTHING, LOGS, NOTHING
from jupyter_ray.ray_cluster.observer import CHANNEL
from jupyter_ray.ray_cluster.past import Past
from jupyter_ray.ray_cluster.told import Told

_log = logging.getLogger("jupyter_ray")
_decode = msgspec.json.Decoder(ev.AnyEvent).decode
_MARK = '{"mark":'
_PATIENCE_SECONDS = 2.0
_HANDLES_SECONDS = 0.2
_LAST_REPORTS_SECONDS = 0.5
_OTHERS = frozenset({"autoscaler", "raylet", "gcs_server"})
"""Names under which Ray's own processes print."""


class EventLog:
    """The numbered events of one session, as this driver knows them.

    Parameters
    ----------
    channel
        Where workers report: a `Channel`.
    begin
        The first event.
    """

    def __init__(self, channel: Any, begin: ev.AnyEvent) -> None:
        self._channel = channel
        self._lock = threading.RLock()
        self._seq = 0
        self._history = Past()
        self._fresh: list[ev.AnyEvent] = []
        self._listeners: dict[int, tuple[EventListener, bool]] = {}
        self._number = 0
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._handing = threading.Thread(target=self._serve, name="jupyter_ray events", daemon=True)
        self._marks: dict[str, Flag] = {}
        self._closed = Flag()
        self._lost = False
        self._due = Flag()
        self.on_watch: Callable[[], None] = lambda: None
        """Called when somebody wants more than lines, and nobody did."""
        self.observe = NOTHING
        self.told = Told()
        """What the events of this log have told."""
        self._held: dict[str, int] = {}
        self.add(begin)
        self._handing.start()
        threading.Thread(target=self._read, name="jupyter_ray log lines", daemon=True).start()

    # --- taking ---

    def add(self, *happened: ev.AnyEvent) -> None:
        """Take events that have just happened; they get their numbers here."""
        with self._lock:
            for event in happened:
                for each in self.told.take(event):
                    self._seq += 1
                    each = msgspec.structs.replace(each, seq=self._seq, at=each.at or time.time())
                    self._history.add(each)
                    self._fresh.append(each)
        if self._listeners:
            self._due.set()

    @property
    def watched(self) -> bool:
        """Whether somebody wants more than lines."""
        return self.observe == EVERYTHING

    def _hand_on(self) -> None:
        with self._lock:
            fresh, self._fresh = self._fresh, []
            listeners = list(self._listeners.values())
        if not fresh:
            return
        lines = [event for event in fresh if isinstance(event, ev.LogLines)]
        for listener, logs_only in listeners:
            part: list[Any] = [*lines] if logs_only else fresh
            if part:
                _call(listener, part)

    def _count_handles(self) -> None:
        """Take what finalizers noted: which actors this process holds."""
        while refs.handles:
            actor, change = refs.handles.popleft()
            name = actor.hex()
            count = self._held.get(name, 0) + change
            if count > 0:
                self._held[name] = count
                if count == 1 and change > 0 and self.watched:
                    self.add(ev.HandlePassed(actor=name, holder="driver", holder_kind="driver", label="notebook"))
            elif self._held.pop(name, None) is not None:
                self.add(ev.HandleDropped(actor=name, holder="driver"))

    def _serve(self) -> None:
        while True:
            self._due.wait(_HANDLES_SECONDS)
            self._count_handles()
            self._due.clear()
            self._hand_on()
            with contextlib.suppress(queue.Empty):
                while True:
                    job = self._queue.get_nowait()
                    if job is None:
                        return
                    job()
            time.sleep(EVENT_INTERVAL / 4)  # So that a burst becomes a batch.

    # --- listening ---

    def subscribe(self, listener: EventListener, logs_only: bool) -> Callable[[], None]:
        """Send every event from the beginning of the log to `listener`; return the undo."""
        with self._lock:
            self._number += 1
            number = self._number
            had_watchers = self.observe == EVERYTHING
            self._run(lambda: self._welcome(number, listener, logs_only))
            self.observe = max(self.observe, LOGS if logs_only else EVERYTHING)
        if not logs_only and not had_watchers:
            self.on_watch()
        return lambda: self._remove(number)

    def _welcome(self, number: int, listener: EventListener, logs_only: bool) -> None:
        self._hand_on()
        with self._lock:
            next_seq = self._fresh[0].seq if self._fresh else self._seq + 1  # Those come with the next batch.
            past = [
                event
                for event in self._history
                if event.seq < next_seq and (not logs_only or isinstance(event, ev.LogLines))
            ]
            self._listeners[number] = (listener, logs_only)
        if past:
            _call(listener, past)

    def _remove(self, number: int) -> None:
        self._drain()
        with self._lock:
            self._listeners.pop(number, None)
            kinds = [logs_only for _, logs_only in self._listeners.values()]
            self.observe = NOTHING if not kinds else LOGS if all(kinds) else EVERYTHING

    def _run(self, job: Callable[[], None]) -> None:
        self._queue.put(job)
        self._due.set()

    def flush(self) -> None:
        """Return when the listeners have had what was reported before this call."""
        if self._closed.is_set():
            return
        mark = uuid.uuid4().hex
        come = self._marks[mark] = Flag()
        with contextlib.suppress(Exception):
            self._channel.publish([f'{_MARK}"{mark}"}}'])
            come.wait(_PATIENCE_SECONDS)
        self._marks.pop(mark, None)
        self._drain()

    def _drain(self) -> None:
        """Wait until the listeners have had what is in the log."""
        if self._handing is threading.current_thread() or not self._handing.is_alive():
            return
        done = Flag()

        def drained() -> None:
            self._hand_on()
            done.set()

        self._run(drained)
        done.wait(_PATIENCE_SECONDS)

    def lose(self, message: str) -> None:
        """Tell, once, that the connection to the cluster is gone."""
        if not self._lost:
            self._lost = True
            self.add(ev.RuntimeStopped(expected=False, message=message))

    # --- Ray's log channel ---

    def _read(self) -> None:
        while not self._closed.is_set():
            try:
                batches = self._channel.poll()
            except RaySystemError as error:
                self.lose(str(error))
                return
            except Exception as error:
                if not self._closed.is_set():
                    _log.warning("What tasks print is no longer shown: the cluster's log channel is gone (%s).", error)
                return
            if batches is None:
                time.sleep(EVENT_INTERVAL)
            for batch in batches or ():
                try:
                    self._take(batch)
                except Exception:  # One batch: the next may be of another kind.
                    _log.exception("Some of what tasks printed or reported could not be shown.")

    def _take(self, batch: dict[str, Any]) -> None:
        if batch["pid"] == CHANNEL:
            happened = []
            for line in batch["lines"]:
                if line.startswith(_MARK):
                    found = self._marks.get(line[len(_MARK) + 1 : -2])
                    if found is not None:
                        found.set()
                else:
                    happened.append(_decode(line))
            self.add(*happened)
        elif batch["pid"] not in _OTHERS:
            lines = [line for line in batch["lines"] if isinstance(line, str)]
            name = batch.get("actor_name") or batch.get("task_name") or "worker"
            text = "".join(f"{line}\n" for line in lines)
            stream: Any = "stderr" if batch["is_err"] else "stdout"
            pid = int(batch["pid"]) if str(batch["pid"]).isdigit() else 0
            self.add(ev.LogLines(stream=stream, text=text, name=name, pid=pid))

    def close(self) -> None:
        """End the threads; what has come is handed on."""
        if self._closed.is_set():
            return
        if self.watched:  # Workers report what has ended a moment later.
            end = time.monotonic() + _LAST_REPORTS_SECONDS
            while self.told.some_go_on() and time.monotonic() < end:
                time.sleep(0.01)
        self.flush()
        self._closed.set()
        with contextlib.suppress(Exception):
            self._channel.close()
        self._drain()
        self._queue.put(None)
        self._due.set()
        if self._handing is not threading.current_thread():
            self._handing.join(_PATIENCE_SECONDS)

    def __repr__(self) -> str:
        return f"<EventLog: {self._seq} events, {len(self._listeners)} listeners>"


def _call(listener: EventListener, happened: list[Any]) -> None:
    try:
        listener(happened)
    except Exception:
        _log.exception("A listener of the event log failed.")
