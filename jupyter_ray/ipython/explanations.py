"""What ``%ray why`` says: the engine's own explanation; after its end, what the monitor's model still knows."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jupyter_ray.api import calls
from jupyter_ray.api.handles import ActorHandle
from jupyter_ray.api.waiting import wait
from jupyter_ray.engine.base import Engine
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.sites import readable
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.exceptions import RayError
from jupyter_ray.ids import TASK_ID_SIZE, return_id
from jupyter_ray.ipython.markup import count
from jupyter_ray.ipython.reports import State, by_kind

_LIMIT = 20
_ALIKE = 3
"""Of tasks of one name in one state so many are explained; the others are counted."""

_ROWS = 1_000
_HELD = (ObjectRef, ObjectRefGenerator, ActorHandle)
_READ = (
    ast.Expression, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Constant, ast.UnaryOp, ast.USub, ast.Load,
)  # fmt: skip
_ENDED = ("finished", "failed", "cancelled")
_STATE = [("state", "!=", each) for each in ("FINISHED", "FAILED", "RUNNING")]


def why(state: State, engine: Engine | None, what: str | None, names: Mapping[str, Any]) -> list[str]:
    """Return why tasks wait, or what actors do, a line for each.

    Parameters
    ----------
    state
        The monitor's snapshot.
    engine
        What runs now, if anything does.
    what
        What holds a reference or a handle, or several (``refs``, ``refs[3]``, ``self.model``); the name of a task or an
        actor; the beginning or end of an id. None: all tasks that wait.
    names
        The notebook's variables.
    """
    value = value_of(what or "", names)
    if engine is not None and engine.alive:
        try:
            if isinstance(value, _HELD):
                return [calls.why(value)]
            if isinstance(value, list | tuple) and value and all(isinstance(each, _HELD) for each in value):
                return _of_several(value)
            return _by_engine(state, engine, what)
        except (RayError, OSError):  # It ended meanwhile, or it is of an earlier session.
            pass
    if what is not None and (tasks := tasks_of(value)):
        shown = [each["id"] for each in state["tasks"] if each["id"] in tasks][:_LIMIT]
        lines = [line for each in shown for line in _by_model(state, each)]
        return lines or [f"{what!r} belongs to a session that has ended: make it again."]
    return _by_model(state, what)


def value_of(what: str, names: Mapping[str, Any]) -> Any:
    """Return what an expression of names, attributes and subscripts means to the notebook; None if it means nothing."""
    try:
        tree = ast.parse(what, mode="eval")
        if all(isinstance(node, _READ) for node in ast.walk(tree)):
            return eval(compile(tree, "<why>", "eval"), {"__builtins__": {}}, dict(names))
    except Exception:  # No expression, or one that holds nothing: it may be a name of the runtime's.
        pass
    return None


def tasks_of(value: Any) -> set[str]:
    """Return the ids of the tasks of a reference or a stream, or of several."""
    if isinstance(value, ObjectRef):
        return {value.binary()[:TASK_ID_SIZE].hex()}
    if isinstance(value, ObjectRefGenerator):
        return {value.task_id().hex()}
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return set().union(*map(tasks_of, value))
    return set()


def _of_several(values: Sequence[Any]) -> list[str]:
    refs = list(dict.fromkeys(each for each in values if isinstance(each, ObjectRef)))
    others = [each for each in values if not isinstance(each, ObjectRef)]
    _, waiting = wait(refs, num_returns=len(refs), timeout=0, fetch_local=False) if refs else ([], [])
    lines = [calls.why(each) for each in [*waiting[:_ALIKE], *others[:_LIMIT]]]
    if len(waiting) > _ALIKE:
        lines.append(f"... and {len(waiting) - _ALIKE:,} more that are not ready")
    return lines or ["All are ready."]


def _by_engine(state: State, engine: Engine, what: str | None) -> list[str]:
    if what is None:
        rows, more = engine.table("tasks", limit=_ROWS, filters=_STATE)
        return _explained(engine, *_some(rows), more) or ["Nothing waits."]
    found, more = engine.table("tasks", limit=_ROWS, filters=[("name", "=", what), *_STATE[:2]])
    ids, alike = _some(found)
    actors = [
        row
        for key in ("name", "class_name")
        for row in engine.table("actors", limit=_LIMIT, filters=[(key, "=", what)])[0]
    ]
    ids += dict.fromkeys(bytes.fromhex(row["actor_id"]) for row in actors)
    known = {row["task_id"] for row in found}
    shown = [each for each in state["tasks"] if _means(each, what) and each["state"] not in _ENDED]
    ids += [_object_of(each["id"]) for each in shown if each["id"] not in known]
    ids += [key for each in state["actors"] if _has_id(each, what) and (key := bytes.fromhex(each["id"])) not in ids]
    return _explained(engine, ids, alike, more) or _by_model(state, what)


def _some(rows: Iterable[Mapping[str, Any]]) -> tuple[list[bytes], Counter[str]]:
    """Return which tasks to explain, and how many more there are of each name."""
    seen: Counter[tuple[str, str]] = Counter()
    ids: list[bytes] = []
    more: Counter[str] = Counter()
    for row in rows:
        kind = (str(row["name"]), str(row["state"]))
        seen[kind] += 1
        if seen[kind] <= _ALIKE and len(ids) < _LIMIT:
            ids.append(_object_of(row["task_id"]))
        else:
            more[kind[0]] += 1
    return ids, more


def _object_of(task: str) -> bytes:
    return return_id(bytes.fromhex(task), 1)


def _explained(engine: Engine, ids: list[bytes], alike: Counter[str], more: bool) -> list[str]:
    # One that has ended meanwhile does not wait, and does not say its name.
    lines = [line for each in ids[:_LIMIT] if (line := readable(engine.why(each))) != "It is ready."]
    lines += [f"... and {number:,} more of {name}" for name, number in alike.most_common(_ALIKE)]
    if more or len(ids) > _LIMIT or len(alike) > _ALIKE:
        lines.append("... and more")
    return lines


# What the model knows


def _by_model(state: State, what: str | None) -> list[str]:
    tasks = {task["id"]: task for task in state["tasks"]}
    if what is None:
        chosen = [task for task in tasks.values() if task["state"] in ("waiting", "pending", "blocked")]
        unknown = "Nothing waits."
    else:
        chosen = [task for task in tasks.values() if _means(task, what)]
        unknown = f"There is no task, actor or reference {what!r}, or it ended long ago."
    lines = [_reason(task, tasks, state) for task in chosen[:_LIMIT]]
    if len(chosen) > _LIMIT:
        lines.append(f"... and {len(chosen) - _LIMIT:,} more")
    return lines or [unknown]


def _means(task: State, what: str) -> bool:
    """Tell whether a person who says `what` means the task; a method may be named without its class."""
    return what in (task["name"], task["name"].rpartition(".")[2]) or _has_id(task, what)


def _has_id(task: State, what: str) -> bool:
    return len(what) >= 4 and (task["id"].startswith(what) or task["id"].endswith(what))


def _label(task: State) -> str:
    return f"{task['name']} ({task['id'][:4]})"


def _reason(task: State, tasks: Mapping[str, State], state: State) -> str:
    head = f"{_label(task)} is {task['state']}"
    if task["state"] == "waiting":
        return (
            f"{head}: an argument is not there yet: {_names(task['deps'], tasks) or 'its maker is not shown any more'}."
        )
    if task["state"] == "blocked":
        lent = _amounts(task["lent"])
        lends = f", and lends {lent}" if lent else ""
        return f"{head}: it waits for {_names(task['waits_for'], tasks) or 'objects'}{lends}."
    if task["state"] == "pending":
        return f"{head}: {_pending(task, state)}"
    if task["state"] == "running":
        held = _amounts(task["held"])
        return f"{head}{f' on {held}' if held else ''}: it waits for nothing."
    return f"{head}{': ' + task['error'] if task['error'] else ''}."


def _amounts(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{count(amount)} {kind}" for kind, amount in amounts.items())


def _names(ids: Iterable[str], tasks: Mapping[str, State]) -> str:
    open_tasks = [tasks[key] for key in ids if key in tasks and tasks[key]["state"] not in _ENDED]
    shown = [f"{_label(task)}, {task['state']}" for task in open_tasks[:4]]
    if len(open_tasks) > 4:
        shown.append(f"{len(open_tasks) - 4} more")
    return "; ".join(shown)


def _pending(task: State, state: State) -> str:
    if task["kind"] == "method":
        actor = next((row for row in state["actors"] if row["id"] == task["actor"]), None)
        if actor is None:
            return "it is in the queue of its actor."
        name = actor["name"] or actor["class_name"]
        facts = f"which is {actor['state']} and has {actor['queue']:,} calls waiting"
        return f"it is in the queue of the actor {name}, {facts}."
    kinds = by_kind(state["resources"])
    short = []
    for kind, wanted in task["demand"].items():
        row = kinds.get(kind, {"used": 0.0, "total": 0.0})
        free = row["total"] - row["used"]
        if wanted > free + 1e-9:
            holders = Counter(
                holder["label"]
                for each in state["resources"]
                if kind in (each["kind"], each["name"])
                for holder in each["holders"]
            )
            held_by = ", ".join(
                f"{number} × {label}" if number > 1 else label for label, number in holders.most_common(4)
            )
            short.append(
                f"it needs {count(wanted)} {kind}, and {count(free)} of {count(row['total'])} is free"
                + (f" (held by {held_by})" if held_by else "")
            )
    return "; ".join(short) + "." if short else "what it needs is free: it is about to start."
