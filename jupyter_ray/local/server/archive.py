"""A bounded sequence of events of which the older ones are kept as bytes.

Tens of thousands of small objects that nobody looks at cost more than their making: each new one gets memory that is
in no cache. So events turn into bytes, while they are still in one, as soon as everybody has had them; who comes late
has them decoded.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Iterator

import msgspec

from jupyter_ray.events import AnyEvent, LogLines

CHUNK = 100
"""Events that become bytes together."""
HELD_BACK = 20_000
"""More than so many become bytes even if somebody has not had them."""

_encoder = msgspec.msgpack.Encoder()


@functools.cache
def _decoder() -> msgspec.msgpack.Decoder[list[AnyEvent]]:
    return msgspec.msgpack.Decoder(list[AnyEvent])  # It takes a millisecond to make, and few sessions need it.


class Archive:
    """Events by their number; the first one of the session has number 0.

    Attributes
    ----------
    oldest
        Number of the oldest event that is kept.
    end
        Number that the next event will have.
    bytes
        What the older ones take.
    """

    def __init__(self) -> None:
        self.oldest = 0
        self.end = 0
        self.bytes = 0
        self._chunks: deque[bytes] = deque()
        """The oldest events, `CHUNK` in each."""
        self._recent: list[AnyEvent] = []

    def add(self, events: list[AnyEvent], had: int, limit: int, most: int) -> None:
        """Add events; forget the oldest past `limit` of them, or past `most` bytes of those that are bytes.

        Those before number `had` nobody waits for.
        """
        recent = self._recent
        recent += events
        self.end += len(events)
        while len(recent) >= CHUNK and (self._first_recent + CHUNK <= had or len(recent) > HELD_BACK):
            chunk = _encoder.encode(recent[:CHUNK])
            self._chunks.append(chunk)
            self.bytes += len(chunk)
            del recent[:CHUNK]
        while self._chunks and (self.end - self.oldest - CHUNK >= limit or self.bytes > most):
            self.bytes -= len(self._chunks.popleft())
            self.oldest += CHUNK
        if not self._chunks and len(recent) > limit:
            del recent[:-limit]
            self.oldest = self._first_recent

    @property
    def _first_recent(self) -> int:
        return self.end - len(self._recent)

    def since(self, number: int) -> Iterator[AnyEvent]:
        """Yield the events from `number` on."""
        index, skip = divmod(number - self.oldest, CHUNK)
        if index < len(self._chunks):
            for chunk in itertools.islice(self._chunks, index, None):
                yield from _decoder().decode(chunk)[skip:]
                skip = 0
            number = self._first_recent
        yield from itertools.islice(self._recent, number - self._first_recent, None)

    def blank(self, number: int) -> int:
        """Remove the text of an event, and of those that are kept together with it; return the number after them."""
        place = number - self._first_recent
        if place >= 0:
            self._recent[place] = _blank(self._recent[place])
            return number + 1
        index = (number - self.oldest) // CHUNK
        if index < 0:
            return self.oldest
        chunk = self._chunks[index]
        self._chunks[index] = _encoder.encode([_blank(each) for each in _decoder().decode(chunk)])
        self.bytes += len(self._chunks[index]) - len(chunk)
        return self.oldest + (index + 1) * CHUNK

    def __len__(self) -> int:
        return self.end - self.oldest

    def __repr__(self) -> str:
        return f"<Archive: {len(self):,} events, {len(self._recent):,} of them recent>"


def _blank(event: AnyEvent) -> AnyEvent:
    return msgspec.structs.replace(event, text="") if isinstance(event, LogLines) else event
