"""What tests listen to: what tasks print, and which processes died. The engine's events come in a thread of its own."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from jupyter_ray.api.session import session_engine
from jupyter_ray.engine.base import Engine
from jupyter_ray.events import AnyEvent, LogLines, WorkerDied

WORKER_DIED = "worker_died"
"""The type of error, as Ray names it, of a process that ended though nobody had asked for it."""

_NO_KEY = b""


class Subscriber:
    """Rows of what happens from now on, in their order; `close` ends it. Source: Ray's subscribers."""

    def __init__(self, *, logs_only: bool) -> None:
        self._engine = session_engine()
        self._rows: queue.Queue[dict[str, Any]] = queue.Queue()
        self._begun = False
        self._undo = self._engine.subscribe(self._listen, logs_only=logs_only)
        self._engine.flush_events()  # What was before came now, and is not wanted.
        self._begun = True

    def subscribe(self) -> None:
        """Do nothing: it has begun."""

    def poll(self, timeout: float | None = None) -> Any:
        """Return the next row, or None after `timeout` seconds."""
        try:
            return self._rows.get(timeout=timeout)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Listen no more; idempotent."""
        undo, self._undo = self._undo, _nothing
        undo()

    def _listen(self, events: list[AnyEvent]) -> None:
        if self._begun:
            for event in events:
                for row in self.rows(event, self._engine):
                    self._rows.put(row)

    def rows(self, event: AnyEvent, engine: Engine) -> Iterator[dict[str, Any]]:
        """Return what an event is here: a row, or none."""
        raise NotImplementedError


class LogSubscriber(Subscriber):
    """What tasks print: a row for what came together."""

    def __init__(self) -> None:
        super().__init__(logs_only=True)

    def rows(self, event: AnyEvent, engine: Engine) -> Iterator[dict[str, Any]]:
        """Return the row of what a task printed."""
        if isinstance(event, LogLines):
            yield {
                "ip": "127.0.0.1",
                "pid": str(event.pid),
                "job": event.job or engine.process.job.hex(),
                "is_err": event.stream == "stderr",
                "actor_name": event.name if event.actor is not None else "",
                "task_name": event.name if event.actor is None else "",
                "lines": event.text.splitlines(),
            }


class ErrorSubscriber(Subscriber):
    """Processes that died, and what was published; `poll` returns a key and a row."""

    listening: ClassVar[set[ErrorSubscriber]] = set()

    def __init__(self) -> None:
        super().__init__(logs_only=False)
        self.listening.add(self)

    def close(self) -> None:
        """Listen no more; idempotent."""
        self.listening.discard(self)
        super().close()

    def poll(self, timeout: float | None = None) -> Any:
        """Return a key and the next row, or two None after `timeout` seconds."""
        row = super().poll(timeout)
        return (None, None) if row is None else (_NO_KEY, row)

    def rows(self, event: AnyEvent, engine: Engine) -> Iterator[dict[str, Any]]:
        """Return the row of a process that died."""
        if isinstance(event, WorkerDied) and not event.expected:
            yield {"job_id": engine.process.job, "type": WORKER_DIED, "error_message": event.reason}


def publish(error_type: str, message: str, job_id: Any = None) -> None:
    """Tell stderr of an error, and who listens in this process."""
    row = {"job_id": job_id or session_engine().process.job, "type": error_type, "error_message": message}
    for each in tuple(ErrorSubscriber.listening):
        each._rows.put(row)
    print(message, file=sys.stderr)


def taken(poll: Callable[[float], Any], num: float, timeout: float, wanted: Callable[[Any], bool]) -> list[Any]:
    """Return up to `num` rows that are wanted, and come within `timeout` seconds."""
    end = time.monotonic() + timeout
    found: list[Any] = []
    while len(found) < num and (left := end - time.monotonic()) > 0:
        row = poll(left)
        if row is not None and wanted(row):
            found.append(row)
    return found


def _nothing() -> None:
    pass
