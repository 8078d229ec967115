"""What ``%ray cancel`` does: end the tasks that an interrupted cell has left behind, named or not."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from jupyter_ray.engine.base import Engine, NoOwnerError
from jupyter_ray.ids import return_id
from jupyter_ray.ipython.explanations import tasks_of, value_of

_ROWS = 10_000
_SHOWN = 3
_OPEN = [("state", "!=", "FINISHED"), ("state", "!=", "FAILED")]


def cancel(engine: Engine | None, what: str | None, names: Mapping[str, Any], *, force: bool) -> str:
    """Cancel tasks of this notebook that have not ended, with those that they have called; return what to say.

    Parameters
    ----------
    engine
        What runs now, if anything does.
    what
        What holds a reference or several (``refs``, ``refs[3]``); the name of tasks, or the beginning of an id. None:
        all tasks and calls of actors.
    names
        The notebook's variables.
    force
        End the processes of tasks that do not listen.
    """
    if engine is None or not engine.alive:
        return "No runtime is in use."
    job = engine.process.job.hex()
    rows = [row for row in engine.table("tasks", limit=_ROWS, filters=_OPEN)[0] if row["job_id"] == job]
    tasks = set() if what is None else tasks_of(value_of(what, names))
    chosen = [row for row in rows if row["type"] != "ACTOR_CREATION_TASK" and _is_meant(row, what, tasks)]
    cancelled = []
    for row in chosen:
        plain = row["type"] == "NORMAL_TASK"  # A method's process is the actor's.
        # A task may have ended meanwhile, and its result, that nobody holds, with it.
        with contextlib.suppress(NoOwnerError):
            engine.cancel(return_id(bytes.fromhex(row["task_id"]), 1), force=force and plain, recursive=True)
            cancelled.append(row["name"])
    if not cancelled:
        return "Nothing runs or waits." if what is None else f"No running or waiting task matches {what!r}."
    return f"Cancelled: {_counted(cancelled)}."


def _is_meant(row: Mapping[str, Any], what: str | None, tasks: set[str]) -> bool:
    if what is None:
        return True
    if tasks:
        return row["task_id"] in tasks
    method = str(row["name"]).rpartition(".")[2]
    return what in (row["name"], method) or (len(what) >= 4 and str(row["task_id"]).startswith(what))


def _counted(names: Iterable[str]) -> str:
    counts = Counter(names).most_common()
    shown = [f"{number:,} × {name}" if number > 1 else name for name, number in counts[:_SHOWN]]
    rest = sum(number for _, number in counts[_SHOWN:])
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")
