"""The events that a driver remembers of a cluster: so many, and so much, at the most."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from jupyter_ray import events as ev
from jupyter_ray.config import EVENT_LOG, EVENT_LOG_BYTES

_EVENT = 500
_NAME = 100
"""About so many bytes an event takes, and each object that it names."""


class Past:
    """The last events, the oldest first."""

    def __init__(self) -> None:
        self._events: deque[ev.AnyEvent] = deque()
        self.bytes = 0
        """What they take, about."""

    def add(self, event: ev.AnyEvent) -> None:
        """Remember an event; forget the oldest if there are too many, or if they take too much."""
        self._events.append(event)
        self.bytes += _size(event)
        while len(self._events) > EVENT_LOG or self.bytes > EVENT_LOG_BYTES:
            self.bytes -= _size(self._events.popleft())

    def __iter__(self) -> Iterator[ev.AnyEvent]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __repr__(self) -> str:
        return f"<Past: {len(self._events):,} events, {self.bytes:,} bytes>"


def _size(event: ev.AnyEvent) -> int:
    if isinstance(event, ev.LogLines):
        return _EVENT + len(event.text)
    if isinstance(event, ev.TaskSubmitted):  # It may have thousands of arguments.
        return _EVENT + _NAME * (len(event.dependencies) + len(event.returns))
    return _EVENT
