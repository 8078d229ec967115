"""``timeline``: what ran when and where, for Chrome's trace viewer."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from jupyter_ray.api.session import session_engine
from jupyter_ray.bell import Bell
from jupyter_ray.events import (
    AnyEvent,
    Span,
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskRetried,
    TaskStarted,
    TaskSubmitted,
)
from jupyter_ray.ids import JobID

QUIET = 0.2
"""Seconds without a new event after which the log was read to its end."""
_NODE = 0


def timeline(filename: str | None = None) -> list[dict[str, Any]] | None:
    """Return the tasks of this session as Chrome trace events, or write them to a file.

    Parameters
    ----------
    filename
        Where to write them as JSON; None: return them.

    Returns
    -------
    list of dict or None
        Complete events (``"ph": "X"``) with ``ts`` and ``dur`` in microseconds, two for each attempt of a task:
        one with its name, of the category ``task::NAME``, and ``task:execute``. There is one row (``tid``) per worker;
        events of ``"ph": "M"`` say what rows are called. What the program itself has named
        (``ray._private.profiling.profile``) is there with that name as its category.

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
    arrived = Bell()
    asked = time.time()

    def listen(events: list[AnyEvent]) -> None:
        seen.extend(events)
        arrived.ring()

    stop = session_engine().subscribe(listen)
    try:
        while not seen or seen[-1].at < asked:
            if not arrived.wait(QUIET):
                break
    finally:
        stop()
    return seen


def _trace(events: list[AnyEvent]) -> list[dict[str, Any]]:
    submitted: dict[str, TaskSubmitted] = {}
    running: dict[str, TaskStarted] = {}
    workers: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    for event in events:
        if isinstance(event, TaskSubmitted):
            submitted[event.task] = event
        elif isinstance(event, TaskStarted):
            running[event.task] = event
        elif isinstance(event, Span):
            made = None if event.task is None else submitted.get(event.task)
            rows.append(_named(event, made, workers.setdefault(event.worker, len(workers))))
        elif isinstance(event, TaskFinished | TaskFailed | TaskCancelled | TaskRetried):
            start = running.pop(event.task, None)
            if start is not None:
                made = submitted.get(event.task)
                rows += _attempt(start, event, made, workers.setdefault(start.worker, len(workers)))
    return rows + _legend(workers) if rows else []


def _named(span: Span, made: TaskSubmitted | None, row: int) -> dict[str, Any]:
    """Return the box of a span that the program has named."""
    return {
        "cat": span.name,
        "name": span.extra.get("name", span.name),
        "cname": span.extra.get("cname", "generic_work"),
        "ph": "X",
        "pid": _NODE,
        "tid": row,
        "ts": span.since * 1e6,
        "dur": (span.until - span.since) * 1e6,
        "args": {**span.extra, **_whose(span.task, made)},
    }


def _whose(task: str | None, made: TaskSubmitted | None) -> dict[str, Any]:
    """Return what a box says of the task that it belongs to, with Ray's names."""
    return {
        "task_id": task,
        "job_id": None if task is None else task[-2 * JobID.SIZE :],
        "func_or_class_name": made.name if made is not None else None,
        "actor_id": made.actor if made is not None else None,
    }


def _attempt(start: TaskStarted, end: AnyEvent, made: TaskSubmitted | None, row: int) -> list[dict[str, Any]]:
    """Return the two boxes of one attempt, one upon the other, as Ray draws them: its name, and that it ran."""
    name = made.name if made is not None else start.task
    box = {
        "ph": "X",
        "pid": _NODE,
        "tid": row,
        "ts": start.at * 1e6,
        "dur": (end.at - start.at) * 1e6,
        "args": {
            "name": name,
            **_whose(start.task, made),
            "attempt_number": start.attempt,
            "outcome": type(end).__name__.removeprefix("Task").lower(),
        },
    }
    return [
        {"cat": f"task::{name}", "name": name, "cname": "generic_work", **box},
        {"cat": "task:execute", "name": "task:execute", "cname": "thread_state_running", **box},
    ]


def _legend(workers: dict[str, int]) -> list[dict[str, Any]]:
    """Return what the rows are called: viewers take only numbers for rows themselves."""
    node = {
        "cat": "__metadata",
        "name": "process_name",
        "ph": "M",
        "pid": _NODE,
        "tid": None,
        "args": {"name": f"Node {socket.gethostname()}"},
    }
    return [node] + [
        {**node, "name": "thread_name", "tid": row, "args": {"name": f"worker:{worker}" if worker else "driver"}}
        for worker, row in workers.items()
    ]
