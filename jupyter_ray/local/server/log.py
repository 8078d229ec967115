"""The runtime's log of events, and who is sent it.

Each subscriber gets every event once, from the oldest that is remembered. What tasks print is bounded three times over,
so that one that prints a gigabyte costs a few megabytes: the log remembers so much of it, a subscriber is sent so much
that it has not shown yet, and when too much waits to be sent, the printing workers are not read from any more: their
pipes fill, and `print` waits.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable

from jupyter_ray import config
from jupyter_ray.events import AnyEvent, LogLines
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.server.archive import Archive
from jupyter_ray.local.server.condense import condense, lull
from jupyter_ray.local.server.connection import Connection

EVENT_BATCH = 2_000
CONDENSED_BATCH = 20_000
"""Events that are condensed at once: the more, the more calls begin and end among them."""
RUSH = 1_000
"""With so many events unsent, there is a burst."""
TEXT_BATCH = 256 * 1024
"""Characters of printed text in one message, give or take an event."""
SEND_BUFFER = 4 << 20
"""Bytes that may wait for a subscriber before its events are held back."""
UNSHOWN = 1 << 20
"""Characters that a subscriber may have been sent and not shown."""
BEHIND = 4 << 20
"""Characters that may wait to be sent before nothing more is read from the workers that print."""


class _Subscriber:
    __slots__ = ("condensed", "logs_only", "sent", "unsent", "unshown")

    def __init__(self, sent: int, unsent: int, logs_only: bool, condensed: bool) -> None:
        self.sent = sent
        """How many events it has had."""
        self.unsent = unsent
        """Characters that it has not been sent."""
        self.unshown = 0
        self.logs_only = logs_only
        self.condensed = condensed


class EventLog:
    """The events of one session.

    Parameters
    ----------
    send
        Collects events for a subscriber.
    """

    def __init__(self, send: Callable[[Connection, m.Events], None]) -> None:
        self._send = send
        self._log = Archive()
        self._texts: deque[tuple[int, int]] = deque()
        """Number and characters of each event with text."""
        self._text = 0
        self._subscribers: dict[Connection, _Subscriber] = {}
        self._braked: set[Connection] = set()
        self.has_lines = False
        """Lines were printed that have not been published."""

    def record(self, events: list[AnyEvent]) -> bool:
        """Add events; tell whether anybody is to be sent them."""
        before = self._log.end
        text = 0
        if LogLines in set(map(type, events)):
            for number, event in enumerate(events, before):
                if isinstance(event, LogLines):
                    text += len(event.text)
                    self._texts.append((number, len(event.text)))
        subscribers = self._subscribers.values()
        for each in subscribers:
            if each.logs_only and not each.unsent:
                each.sent = before  # There was nothing for it.
            each.unsent += text
        self._log.add(events, min([each.sent for each in subscribers], default=before), config.EVENT_LOG)
        self._text += text
        while self._text > config.EVENT_LOG_TEXT:
            self._forget_text()
        if not subscribers:
            return False
        self.has_lines = self.has_lines or text > 0
        return self.has_lines or any(not each.logs_only for each in subscribers)

    def _forget_text(self) -> None:
        end = self._log.blank(self._texts[0][0])
        while self._texts and self._texts[0][0] < end:
            self._text -= self._texts.popleft()[1]

    def subscribe(self, connection: Connection, message: m.Subscribe) -> None:
        """Begin from the oldest event that is remembered, or end."""
        if message.on:
            oldest = self._log.oldest
            self._subscribers[connection] = _Subscriber(oldest, self._text, message.logs_only, message.condensed)
            self.publish()
        else:
            self.leave(connection)

    def leave(self, connection: Connection) -> None:
        """A connection wants no more, or is closed."""
        self._subscribers.pop(connection, None)
        self._braked.discard(connection)
        self._release()

    def seen(self, connection: Connection, text: int) -> None:
        """A subscriber has shown so many characters."""
        each = self._subscribers.get(connection)
        if each is not None:
            each.unshown = max(0, each.unshown - text)
            self.publish()

    def publish(self, *, everything: bool = False) -> bool:
        """Send what subscribers have not had; tell whether something was held back.

        That is where one is behind with reading, or where a burst goes on that is better told later. With `everything`,
        nothing is: something follows that must not come before it.
        """
        held_back = False
        for connection, each in self._subscribers.items():
            while each.sent < self._log.end:
                behind = connection.backlog() > SEND_BUFFER or each.unshown > UNSHOWN
                if behind and not everything:
                    held_back = True
                    break
                batch = self._batch(each, whole=everything)
                if batch:
                    self._send(connection, m.Events(batch))
                if each.condensed and not everything and each.sent < self._log.end:
                    held_back = True  # With what comes next, it can be told in fewer words.
                    break
            else:
                each.unsent = 0
        self.has_lines = any(each.unsent for each in self._subscribers.values())
        self._release()
        return held_back

    def _batch(self, each: _Subscriber, *, whole: bool) -> list[AnyEvent]:
        """Return the next events for a subscriber, and count them as sent; unless `whole`, a few may wait."""
        start = max(each.sent, self._log.oldest)
        most = CONDENSED_BATCH if each.condensed else EVENT_BATCH
        coming = itertools.islice(self._log.since(start), most)
        text = 0
        batch: list[AnyEvent]
        if not each.unsent and not each.logs_only:
            batch = list(coming)
            if each.condensed and not whole:
                del batch[lull(batch) :]
            start += len(batch)
        else:
            batch = []
            for event in coming:
                start += 1
                if isinstance(event, LogLines):
                    text += len(event.text)
                    batch.append(event)
                    if text > TEXT_BATCH:
                        break
                elif not each.logs_only:
                    batch.append(event)
        each.sent = start
        each.unshown += text
        each.unsent = max(0, each.unsent - text)
        return condense(batch) if each.condensed else batch

    @property
    def may_wait(self) -> bool:
        """Whether there is a burst, and whoever is to be sent events gets them condensed: later ones cost less."""
        waiting = [self._log.end - each.sent for each in self._subscribers.values() if not each.logs_only]
        condensed = all(each.condensed or each.logs_only for each in self._subscribers.values())
        return bool(waiting) and condensed and not self.has_lines and RUSH < max(waiting) < CONDENSED_BATCH

    def subscribers(self) -> Iterable[Connection]:
        """Return who is sent events."""
        return self._subscribers

    # --- the brake ---

    def printed(self, connection: Connection) -> None:
        """A worker printed something: stop reading from it if too much waits to be sent."""
        if any(each.unsent > BEHIND for each in self._subscribers.values()):
            self._braked.add(connection)
            connection.pause()

    def _release(self) -> None:
        if self._braked and not any(each.unsent > BEHIND // 2 for each in self._subscribers.values()):
            for connection in self._braked:
                connection.resume()
            self._braked.clear()

    def __repr__(self) -> str:
        return f"<EventLog: {len(self._log)} events, {self._text:,} characters, {len(self._subscribers)} subscribers>"
