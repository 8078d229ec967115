"""Events of the runtime, handed to listeners in a thread of their own.

Each listener gets every event once, from the first one on. Whenever one is added, the runtime sends the rest of what
the others are to get, and then its log from the beginning: that is for the new one alone.

Owner: the event thread alone touches `_listeners`, `_asked` and `_seq`. The reader thread hands batches over; whoever
waits for a value calls `settle`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from jupyter_ray.events import AnyEvent, LogLines, RuntimeStopped
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.local.client.threads import CallbackThread
from jupyter_ray.local.protocol.messages import Events

Listener = Callable[[list[AnyEvent]], None]
_PATIENCE_SECONDS = 5.0
"""A listener that takes longer for what has come is stuck, and others shall not be."""
_ASKING_SECONDS = 1.0


class EventStream:
    """The listeners of one client.

    Parameters
    ----------
    subscribe
        Asks the runtime for its log, or for no more: on, only what tasks print, condensed, and how often it was asked
        for it from the beginning. If that number is not another one than before, only for what comes.
    seen
        Tells it how many characters of what tasks print were handed on: it sends no more than a listener can take.
    """

    def __init__(self, subscribe: Callable[[bool, bool, bool, int], None], seen: Callable[[int], None]) -> None:
        self._subscribe = subscribe
        self._seen = seen
        self._thread = CallbackThread("jupyter_ray events")
        self._listeners: dict[Listener, int] = {}
        """With the number of the subscription that was made for it."""
        self._logs_only: set[Listener] = set()
        self._condensed: set[Listener] = set()
        self._asked = 0
        """How often the log was asked for from its beginning."""
        self._seq = -1
        self._log_job = 0
        """The last job that prints lines."""
        self._asking = 0
        """The last job that asks the runtime for its log."""
        self._late = 0
        """A job that somebody waited for in vain: nobody waits again before it is done."""

    def add(self, listener: Listener, logs_only: bool = False, condensed: bool = False) -> Callable[[], None]:
        """Send all events to `listener`, or at least those that tasks print, or a condensed stream; return the undo."""
        self._thread.run(lambda: self._add(listener, logs_only, condensed))
        self._asking = self._thread.queued
        return lambda: self._thread.run(lambda: self._remove(listener))

    def _add(self, listener: Listener, logs_only: bool, condensed: bool) -> None:
        self._asked += 1
        self._listeners[listener] = self._asked
        if logs_only:
            self._logs_only.add(listener)
        elif condensed:
            self._condensed.add(listener)
        self._ask()

    def _ask(self) -> None:
        with contextlib.suppress(RaySystemError):
            everybody, lines = len(self._listeners), len(self._logs_only)
            condensed = lines + len(self._condensed) == everybody
            self._subscribe(everybody > 0, lines == everybody, condensed, self._asked)

    def _remove(self, listener: Listener) -> None:
        self._logs_only.discard(listener)
        self._condensed.discard(listener)
        if self._listeners.pop(listener, None) is not None:
            self._ask()

    def take(self, message: Events) -> None:
        """Hand a batch over; called in the reader thread."""
        text = sum(len(event.text) for event in message.events if isinstance(event, LogLines))
        self._thread.run(lambda: self._hand_on_all(message, text))
        if text:
            self._log_job = self._thread.queued

    def _hand_on_all(self, message: Events, text: int) -> None:
        self._seq = max(self._seq, message.events[-1].seq)
        try:
            for listener, asked in list(self._listeners.items()):
                if asked == message.asked or (asked < message.asked and not message.again):
                    listener(message.events)
        finally:
            if text:
                with contextlib.suppress(RaySystemError):
                    self._seen(text)

    def stopped(self, message: str) -> None:
        """Tell the listeners that the runtime died."""
        self._thread.run(lambda: self._tell_end(message))

    def _tell_end(self, message: str) -> None:
        for listener in list(self._listeners):
            listener([RuntimeStopped(seq=self._seq + 1, at=time.time(), expected=False, message=message)])

    def settle(self) -> None:
        """Wait until lines that came have been shown: a result must not overtake them."""
        if self._log_job:
            job, self._log_job = self._log_job, 0
            if self._thread.done >= self._late and not self._thread.settle(job, _PATIENCE_SECONDS):
                self._late = job

    def asked(self) -> None:
        """Wait until the runtime has been asked for its log: it tells the last lines to those who have."""
        self._thread.settle(self._asking, _ASKING_SECONDS)

    def drain(self) -> None:
        """Wait until the listeners have had what came."""
        self._thread.settle(self._thread.queued, _PATIENCE_SECONDS)

    def stop(self) -> None:
        """End the thread after what is queued."""
        self._thread.stop()

    def __repr__(self) -> str:
        return f"<EventStream: {len(self._listeners)} listeners>"
