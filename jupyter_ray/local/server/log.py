"""The runtime's log of events, and who is sent it.

Each subscriber gets every event once, from the oldest that is remembered; or a condensed stream, whose events are
looked at as they come. What tasks print goes to the driver of their job alone; all else goes to every driver, since a
panel can say who holds the CPUs only where it shows what all of them do. Printed text is bounded three times over,
so that one that prints a gigabyte costs a few megabytes: the log remembers so much of it, a subscriber is sent so much
that it has not shown yet, and when too much waits to be sent, the printing workers are not read from any more: their
pipes fill, and `print` waits.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable

from jupyter_ray import config
from jupyter_ray.events import AnyEvent, LogLines, RuntimeReady
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.server.archive import Archive
from jupyter_ray.local.server.condense import Condenser
from jupyter_ray.local.server.connection import Connection

EVENT_BATCH = 2_000
RUSH = 1_000
"""With so many events since the last look, there is a burst."""
RUSH_LIMIT = 20_000
"""With so many, whoever looks is told of them, though it goes on."""
TEXT_BATCH = 256 * 1024
"""Characters of printed text in one message, give or take an event."""
SEND_BUFFER = 4 << 20
"""Bytes that may wait for a subscriber before its events are held back."""
UNSHOWN = 1 << 20
"""Characters that a subscriber may have been sent and not shown."""
BEHIND = 4 << 20
"""Characters that may wait to be sent before nothing more is read from the workers that print."""


class _Subscriber:
    __slots__ = ("again", "asked", "condenser", "job", "logs_only", "ready", "sent", "unsent", "unshown")

    def __init__(
        self, job: str, asked: int, sent: int, again: int, unsent: int, logs_only: bool, condensed: bool
    ) -> None:
        self.job = job
        self.asked = asked
        """How often the client has asked for the log from its beginning."""
        self.sent = sent
        """How many events it has had."""
        self.again = again
        """How many there were when it subscribed, or are ready of those: some of its listeners may have had them."""
        self.unsent = unsent
        """Characters that it has not been sent."""
        self.unshown = 0
        self.logs_only = logs_only
        self.condenser = Condenser() if condensed and not logs_only else None
        self.ready: deque[AnyEvent] = deque(maxlen=2 * config.EVENT_LOG)
        """What the condenser made and nobody was sent yet; `sent` counts all that it was given. The whole log fits."""

    def own(self, event: AnyEvent) -> bool:
        """Tell whether an event is for this one: what tasks print goes to their own driver alone."""
        return not isinstance(event, LogLines) or event.job == self.job

    def look(self, *, whole: bool) -> None:
        """Make ready what the condenser has to tell; the oldest that was not sent gives way if it is too much."""
        assert self.condenser is not None
        before = len(self.ready)
        told = self.condenser.look(whole=whole)
        self.ready += told
        self.again = max(0, self.again - (before + len(told) - len(self.ready)))


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
        self._beginning: list[AnyEvent] = []
        """What a driver that joins late must know, though it is forgotten otherwise."""
        self._shared = False
        """A driver that joined has lines or subscribes, so it has to be looked whose lines are whose."""

    def record(self, events: list[AnyEvent]) -> bool:
        """Add events; tell whether anybody is to be sent them."""
        before = self._log.end
        texts: dict[str, int] = {}
        kinds = set(map(type, events))
        if RuntimeReady in kinds:
            self._beginning = [event for event in events if isinstance(event, RuntimeReady)]
        if LogLines in kinds:
            for number, event in enumerate(events, before):
                if isinstance(event, LogLines):
                    texts[event.job] = texts.get(event.job, 0) + len(event.text)
                    self._texts.append((number, len(event.text)))
            self._shared = self._shared or any(texts)
        subscribers = self._subscribers.values()
        for each in subscribers:
            if each.logs_only and not each.unsent:
                each.sent = before  # There was nothing for it.
            each.unsent += texts.get(each.job, 0)
            if each.condenser is not None:
                each.condenser.feed(self._for(each, events))
                each.sent = before + len(events)
        had = min([each.sent for each in subscribers], default=before)
        self._log.add(events, had, config.EVENT_LOG, config.EVENT_LOG_BYTES)
        self._text += sum(texts.values())
        while self._texts and self._texts[0][0] < self._log.oldest:
            self._text -= self._texts.popleft()[1]
        while self._text > config.EVENT_LOG_TEXT:
            self._forget_text()
        if not subscribers:
            return False
        self.has_lines = self.has_lines or any(each.job in texts for each in subscribers)
        return self.has_lines or any(not each.logs_only for each in subscribers)

    def _for(self, each: _Subscriber, events: list[AnyEvent]) -> list[AnyEvent]:
        return [event for event in events if each.own(event)] if self._shared else events

    def _forget_text(self) -> None:
        end = self._log.blank(self._texts[0][0])
        while self._texts and self._texts[0][0] < end:
            self._text -= self._texts.popleft()[1]

    def subscribe(self, connection: Connection, message: m.Subscribe) -> None:
        """Begin from the oldest event that is remembered, or end."""
        if not message.on:
            self.leave(connection)
            return
        self._shared = self._shared or bool(connection.job)
        before = self._subscribers.get(connection)
        if before is not None:
            self._publish_to(connection, before, everything=True)
        end = self._log.end
        renewed = before is not None and before.asked == message.asked  # Nobody new listens.
        start, text = (end, 0) if renewed else (self._log.oldest, self._text)
        each = _Subscriber(connection.job, message.asked, start, end, text, message.logs_only, message.condensed)
        if before is not None:
            each.unshown = before.unshown
        self._subscribers[connection] = each
        beginning = self._beginning if 0 < start < end else []
        if each.condenser is None and beginning:
            self._send(connection, m.Events(beginning, message.asked, True))
        if each.condenser is not None:
            each.condenser.feed(self._for(each, [*beginning, *self._log.since(start)]))
            each.look(whole=True)
            each.sent, each.again = end, len(each.ready)
        self.publish()

    def leave(self, connection: Connection) -> None:
        """A connection wants no more, or is closed."""
        self._subscribers.pop(connection, None)
        self._braked.discard(connection)
        self._release()

    def seen(self, connection: Connection, message: m.Seen) -> None:
        """A subscriber has shown so many characters."""
        each = self._subscribers.get(connection)
        if each is not None:
            each.unshown = max(0, each.unshown - message.text)
            self.publish()

    def publish(self, *, everything: bool = False, to: Collection[Connection] | None = None) -> bool:
        """Send what subscribers have not had; tell whether something was held back.

        That is where one is behind with reading, or where a burst goes on that is better told later. With `everything`,
        nothing is of what goes `to` those (None: to anybody): something follows that must not come before it.
        """
        held_back = False
        for connection, each in self._subscribers.items():
            now = everything and (to is None or connection in to)
            held_back = self._publish_to(connection, each, everything=now) or held_back
        self.has_lines = any(each.unsent for each in self._subscribers.values())
        self._release()
        return held_back

    def _publish_to(self, connection: Connection, each: _Subscriber, *, everything: bool) -> bool:
        if each.condenser is not None:
            each.look(whole=everything)
        while each.ready if each.condenser is not None else each.sent < self._log.end:
            behind = connection.backlog() > SEND_BUFFER or each.unshown > UNSHOWN
            if behind and not everything:
                return True
            batch, again = self._batch(each) if each.condenser is None else self._ready(each)
            if batch:
                self._send(connection, m.Events(batch, each.asked, again))
        each.unsent = 0
        return each.condenser is not None and each.condenser.carries

    def _batch(self, each: _Subscriber) -> tuple[list[AnyEvent], bool]:
        """Return the next events for a subscriber, and count them as sent; and whether it may have had them before."""
        start = max(each.sent, self._log.oldest)
        again = start < each.again
        coming = itertools.islice(
            self._log.since(start), min(EVENT_BATCH, each.again - start if again else EVENT_BATCH)
        )
        if not each.unsent and not each.logs_only:
            batch = list(coming)
            each.sent = start + len(batch)
            return self._for(each, batch), again
        text = 0
        batch = []
        for event in coming:
            start += 1
            if isinstance(event, LogLines):
                if event.job != each.job:
                    continue
                text += len(event.text)
                batch.append(event)
                if text > TEXT_BATCH:
                    break
            elif not each.logs_only:
                batch.append(event)
        each.sent = start
        each.unshown += text
        each.unsent = max(0, each.unsent - text)
        return batch, again

    def _ready(self, each: _Subscriber) -> tuple[list[AnyEvent], bool]:
        """As `_batch`, of what is condensed."""
        again = each.again > 0
        most = min(len(each.ready), each.again if again else EVENT_BATCH)
        text = 0
        batch: list[AnyEvent] = []
        while len(batch) < most and text <= TEXT_BATCH:
            event = each.ready.popleft()
            batch.append(event)
            if isinstance(event, LogLines):
                text += len(event.text)
        each.again = max(0, each.again - len(batch))
        each.unshown += text
        each.unsent = max(0, each.unsent - text)
        return batch, again

    @property
    def may_wait(self) -> bool:
        """Whether there is a burst, and whoever is to be sent events gets them condensed: later ones cost less."""
        watching = [each for each in self._subscribers.values() if not each.logs_only]
        pending = [each.condenser.pending for each in watching if each.condenser is not None]
        condensed = len(pending) == len(watching) > 0
        return condensed and not self.has_lines and RUSH < max(pending) < RUSH_LIMIT

    def subscribers(self) -> Iterable[Connection]:
        """Return who is sent events."""
        return self._subscribers

    # --- the brake ---

    def printed(self, connection: Connection) -> None:
        """A worker printed something: stop reading from it if too much waits to be sent."""
        if self._is_behind(connection, BEHIND):
            self._braked.add(connection)
            connection.pause()

    def _is_behind(self, connection: Connection, limit: int) -> bool:
        """Tell whether the driver of a worker lags: it need not be read from; others are no reason."""
        return any(each.unsent > limit and each.job == connection.job for each in self._subscribers.values())

    def _release(self) -> None:
        for connection in list(self._braked):
            if not self._is_behind(connection, BEHIND // 2):
                self._braked.discard(connection)
                connection.resume()

    def __repr__(self) -> str:
        return f"<EventLog: {len(self._log)} events, {self._text:,} characters, {len(self._subscribers)} subscribers>"
