"""What tasks and actors printed, as the runtime remembers it: there are no log files of workers.

A worker's output has a name all the same, as in Ray: ``worker-<worker id>-<job id>-<pid>.out``, or ``.err``.
"""

from __future__ import annotations

import contextlib
import fnmatch
import queue
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from jupyter_ray.api.session import session_engine
from jupyter_ray.api.timeline import QUIET
from jupyter_ray.bell import Mailbox
from jupyter_ray.engine import registry
from jupyter_ray.events import AnyEvent, LogLines
from jupyter_ray.util.state.exception import RayStateApiException
from jupyter_ray.util.state.picking import in_hex

_NAME = re.compile(r"worker-[0-9a-f]+-[0-9a-f]+-(\d+)\.(out|err)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STREAMS = {"out": "stdout", "err": "stderr"}
_MANY = 10_000
_KINDS = (
    "worker_out", "worker_err", "core_worker", "driver", "raylet", "gcs_server", "internal", "autoscaler", "agent",
    "dashboard",
)  # fmt: skip
"""What Ray lists the names of logs by."""


class LogNames(dict[str, list[str]]):
    """Names of logs by what wrote them. Of what else writes logs in Ray, such as ``"raylet"``, there are none."""

    def __missing__(self, kind: str) -> list[str]:
        if kind in _KINDS:
            return []
        raise KeyError(kind)


def list_logs(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    glob_filter: str | None = None,
    timeout: int = 30,
) -> dict[str, list[str]]:
    """Return the names of the workers' output, for `get_log`, by ``"worker_out"`` and ``"worker_err"``.

    What else Ray lists (``"raylet"``, ``"gcs_server"`` and the like) is an empty list: nothing else writes logs here.

    Parameters
    ----------
    address, node_id, node_ip, timeout
        Ray's; of no effect here.
    glob_filter
        Names that are wanted, as in a shell: ``"*err"``.

    Notes
    -----
    Source: Ray's ``ray.util.state.list_logs``.
    """
    engine = session_engine()
    workers, _ = engine.table("workers", limit=_MANY, filters=[("worker_type", "=", "WORKER")])
    job = engine.process.job.hex()
    names = {
        f"worker_{suffix}": [f"worker-{row['worker_id']}-{job}-{row['pid']}.{suffix}" for row in workers]
        for suffix in _STREAMS
    }
    wanted = {kind: fnmatch.filter(each, glob_filter or "*") for kind, each in names.items()}
    return LogNames({kind: each for kind, each in wanted.items() if each})


def get_log(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    filename: str | None = None,
    actor_id: str | None = None,
    task_id: str | None = None,
    pid: int | None = None,
    follow: bool = False,
    tail: int = -1,
    timeout: int = 30,
    suffix: str = "out",
    encoding: str | None = "utf-8",
    errors: str | None = "strict",
    submission_id: str | None = None,
    attempt_number: int = 0,
    _interval: float | None = None,
    filter_ansi_code: bool = False,
) -> Iterator[Any]:
    """Return what a task, an actor or a worker printed, in pieces.

    Parameters
    ----------
    filename, actor_id, task_id, pid
        Whose: one of them. `filename` is a name of `list_logs`, the identifiers are hex. A reference: its task.
    follow
        Go on with what is printed from now on, until the session ends or the iterator is closed.
    tail
        So many lines of the end; -1: all that is remembered.
    suffix
        ``"out"`` or ``"err"``.
    encoding
        None: bytes.
    attempt_number
        Of a task: which of its attempts, from 0.
    filter_ansi_code
        Leave colours out.
    address, node_id, node_ip, timeout, errors, submission_id
        Ray's; of no effect here.

    Raises
    ------
    ValueError
        None or several of the four are given, or `suffix` is another word.
    RayStateApiException
        There is no such task, attempt, actor, worker or name.

    Notes
    -----
    Source: Ray's ``ray.util.state.get_log``.
    """
    if sum(each is not None for each in (filename, actor_id, task_id, pid)) != 1:
        raise ValueError(
            "None of actor_id, task_id, pid or filename is provided, or several of them: get_log takes one."
            + (" There are no submitted jobs here (`submission_id`)." if submission_id else "")
        )
    if suffix not in _STREAMS:
        raise ValueError(f"Invalid suffix: {suffix}. Must be one of 'out' or 'err'.")
    if filename is not None:
        named = _NAME.fullmatch(filename)
        if named is None:
            raise RayStateApiException(
                f"There is no log {filename!r}, as there is no raylet and no other process that writes log files: "
                "list_logs() tells the names of what workers printed; get_log(task_id=...), get_log(actor_id=...) and "
                "get_log(pid=...) return what one of them did."
            )
        pid, suffix = int(named[1]), named[2]
    actor_id, task_id, pid = in_hex(actor_id), in_hex(task_id, task=True), None if pid is None else int(pid)
    _check_known(actor_id, task_id, pid, attempt_number)

    def wanted(event: LogLines) -> bool:
        if event.stream != _STREAMS[suffix]:
            return False
        if task_id:
            return event.task == task_id and event.attempt in (attempt_number, None)
        return event.actor == actor_id if actor_id else event.pid == pid

    return _pieces(wanted, follow, tail, encoding, filter_ansi_code)


def _check_known(actor_id: str | None, task_id: str | None, pid: int | None, attempt: int) -> None:
    filters: list[tuple[str, str, Any]]
    table, filters = "workers", [("pid", "=", pid)]
    if actor_id is not None:
        table, filters = "actors", [("actor_id", "=", actor_id)]
    elif task_id is not None:
        table, filters = "tasks", [("task_id", "=", task_id), ("attempt_number", "=", attempt)]
    found, _ = session_engine().table(table, limit=1, filters=filters)
    if not found:
        asked = " and ".join(f"{column} {value}" for column, _, value in filters)
        raise RayStateApiException(f"No row of {table} has the {asked}.")


def _pieces(
    wanted: Callable[[LogLines], bool], follow: bool, tail: int, encoding: str | None, plain: bool
) -> Iterator[Any]:
    pieces: Mailbox[tuple[float, str]] = Mailbox()
    is_told = False
    """What had been printed is: of what comes, only the text is of use."""

    def listen(events: list[AnyEvent]) -> None:
        for event in events:
            text = event.text if isinstance(event, LogLines) and wanted(event) else ""
            if text or not is_told:
                pieces.put((event.at, text))

    engine = session_engine()
    stop = engine.subscribe(listen)
    try:
        engine.flush_events()
        text, asked, at = "", time.time(), 0.0
        with contextlib.suppress(queue.Empty):
            while at < asked:
                at, piece = pieces.get(timeout=QUIET)
                text += piece
        is_told = True
        if tail >= 0:
            lines = text.splitlines(keepends=True)
            text = "".join(lines[len(lines) - tail if tail < len(lines) else 0 :])
        yield from _shown(text, encoding, plain)
        while follow and registry.current() is engine:
            with contextlib.suppress(queue.Empty):
                yield from _shown(pieces.get(timeout=0.5)[1], encoding, plain)
    finally:
        stop()


def _shown(text: str, encoding: str | None, plain: bool) -> Iterator[Any]:
    if text:
        text = _COLOURS.sub("", text) if plain else text
        yield text if encoding else text.encode()
