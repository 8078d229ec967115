"""What contract tests share: waiting on conditions, and the event log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

from jupyter_ray.engine import registry
from jupyter_ray.events import AnyEvent

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that a condition gets on a busy machine."""


def eventually(condition: Callable[[], T], limit: float = PATIENCE) -> T:
    """Return what `condition` returns as soon as that is true; fail after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"{condition} did not come true within {limit} s"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Tell whether a process runs, zombies excluded."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Log:
    """The events of the current session, as they come; the earlier ones come first."""

    def __init__(self) -> None:
        engine = registry.current()
        assert engine is not None
        self.events: list[AnyEvent] = []
        self.stop = engine.subscribe(self.events.extend)

    def find(self, kind: type[T], **fields: object) -> list[T]:
        """Return the events of a kind whose fields have these values."""
        return [
            event
            for event in list(self.events)
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
        ]

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
