"""What `LoggingConfig` asks for: how the root logger writes, in the driver and in each worker. Source: Ray.

Each record says who wrote it: job, node, worker, and the task and the actor where there is one.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jupyter_ray.engine import registry
from jupyter_ray.engine.context import current_task

VARIABLE = "JUPYTER_RAY_LOGGING"
"""The environment variable that carries the settings from the driver to its workers."""

_TOLD_ANYWAY = ("message", "asctime")
"""What only a formatter gives a record: each line begins with it."""

STANDARD_ATTRIBUTES = tuple(dict.fromkeys((*vars(logging.makeLogRecord({})), *_TOLD_ANYWAY, "taskName")))
"""What a record of `logging` has, once it is formatted and wherever it comes from."""


def dump(encoding: str, log_level: str, attributes: Sequence[str]) -> str:
    """Return settings as text, for `apply`."""
    return json.dumps([encoding, log_level, list(attributes)])


def apply(settings: str) -> None:
    """Have the root logger write as `settings` say; replaces what an earlier call set."""
    encoding, log_level, attributes = json.loads(settings)
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(handler)
    handler = _Handler()
    handler.setFormatter(_Formatter(encoding == "JSON", attributes))
    root.addHandler(handler)
    root.setLevel(log_level)


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[Any]
else:  # It takes no type before Python 3.11.
    _StreamHandler = logging.StreamHandler


class _Handler(_StreamHandler):
    """Ours: so that it can be told from the program's own handlers."""


class StderrHandler(_StreamHandler):
    """Writes to what ``sys.stderr`` is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, if there is a stream."""
        self.stream = sys.stderr
        if self.stream is not None and not getattr(self.stream, "closed", False):  # Other kernels' streams lack it.
            super().emit(record)


def as_level(level: int | str) -> int | str:
    """Return a level as `logging` takes it."""
    return level.upper() if isinstance(level, str) else level


def give_handler(logger: logging.Logger, form: str, level: int | str | None = None) -> None:
    """Have a logger write to stderr, unless the program has said already what becomes of its records."""
    if level is not None and logger.level == logging.NOTSET:
        logger.setLevel(as_level(level))
    if not logger.handlers:
        handler = StderrHandler()
        handler.setFormatter(logging.Formatter(form))
        logger.addHandler(handler)
        logger.propagate = False


def begin(settings: str) -> None:
    """Set logging up in a worker: as a `LoggingConfig` says, or, as in Ray, with a logger ``ray`` that programs use."""
    if settings:
        apply(settings)
        return
    give_handler(logging.getLogger("ray"), "%(message)s", logging.INFO)


class _Formatter(logging.Formatter):
    """Writes one record in one line of JSON, or as text with the facts at its end."""

    def __init__(self, as_json: bool, attributes: Sequence[str]) -> None:
        super().__init__()
        self._as_json = as_json
        self._attributes = attributes

    def format(self, record: logging.LogRecord) -> str:
        facts = _context()
        facts.update({name: getattr(record, name, None) for name in self._attributes if name not in _TOLD_ANYWAY})
        extra = vars(record).keys() - STANDARD_ATTRIBUTES
        facts.update({name: getattr(record, name) for name in sorted(extra)})
        facts["timestamp_ns"] = int(record.created * 1e9)
        if not self._as_json:
            told = " ".join(f"{name}={value}" for name, value in facts.items())
            where = f"{record.filename}:{record.lineno}"
            line = f"{self.formatTime(record)}\t{record.levelname} {where} -- {record.getMessage()} {told}".rstrip()
            return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line
        row = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
            "filename": record.filename,
            "lineno": record.lineno,
            "process": record.process,
            **facts,
        }
        if record.exc_info:
            row["exc_text"] = self.formatException(record.exc_info)
        return json.dumps(row, default=str)


def _context() -> dict[str, Any]:
    engine = registry.current()
    if engine is None:
        return {}
    process, task = engine.process, current_task()
    facts = {"job_id": process.job.hex(), "worker_id": process.worker.hex(), "node_id": process.node.hex()}
    if process.actor is not None:
        facts["actor_id"] = process.actor.hex()
        if process.actor_name:
            facts["actor_name"] = process.actor_name
    if task is not None:
        facts.update(task_id=task.task.hex(), task_name=task.name, task_func_name=task.full_name())
    return facts
