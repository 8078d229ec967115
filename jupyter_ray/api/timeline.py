"""``timeline``: what ran when and where, for Chrome's trace viewer."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from jupyter_ray.api.session import session_engine
from jupyter_ray.events import (
    AnyEvent,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskRetried,
    TaskStarted,
    TaskSubmitted,
)

QUIET = 0.2
"""Seconds without a new event after which the log was read to its end."""


def timeline(filename: str | None = None) -> list[dict[str, Any]] | None:
    """Return the tasks of this session as Chrome trace events, or write them to a file.

    Parameters
    ----------
    filename
        Where to write them as JSON; None: return them.

    Returns
    -------
    list of dict or None
        Complete events (``"ph": "X"``) with ``ts`` and ``dur`` in microseconds, one row (``tid``) per worker.

    Raises
    ------
    RaySystemError
        No session runs.

    Notes
    -----
    Source: Ray's ``ray.timeline``. The log is bounded: of a long session it holds the end.
    """
    rows = _trace(read_log())
    if filename is None:
        return rows
    with open(filename, "w", encoding="utf-8") as file:
        json.dump(rows, file)
    return None


def read_log() -> list[AnyEvent]:
    """Return the events of the session, as far as they are remembered."""
    seen: list[AnyEvent] = []
    arrived = threading.Event()
    asked = time.time()

    def listen(events: list[AnyEvent]) -> None:
        seen.extend(events)
        arrived.set()

    stop = session_engine().subscribe(listen)
    try:
        while arrived.wait(QUIET) and seen[-1].at < asked:
            arrived.clear()
    finally:
        stop()
    return seen


def _trace(events: list[AnyEvent]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}
    running: dict[str, TaskStarted] = {}
    rows: list[dict[str, Any]] = []
    for event in events:
        if isinstance(event, TaskSubmitted):
            names[event.task] = event.name
        elif isinstance(event, TaskStarted):
            running[event.task] = event
        elif isinstance(event, TaskFinished | TaskFailed | TaskCancelled | TaskRetried):
            start = running.pop(event.task, None)
            if start is not None:
                rows.append(
                    {
                        "cat": "task:execute",
                        "name": names.get(event.task, event.task),
                        "ph": "X",
                        "pid": "node",
                        "tid": f"worker:{start.worker}",
                        "ts": start.at * 1e6,
                        "dur": (event.at - start.at) * 1e6,
                        "args": {"task_id": event.task, "outcome": type(event).__name__.removeprefix("Task").lower()},
                    }
                )
    return rows
