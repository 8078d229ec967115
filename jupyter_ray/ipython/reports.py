"""What ``%ray status``, ``why`` and ``logs`` say: from the monitor's snapshot (docs/panel-protocol.md) to text."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jupyter_ray.engine.base import Engine
from jupyter_ray.exceptions import RayError
from jupyter_ray.ipython.markup import Bundle, count, seconds, size, table_html, table_text
from jupyter_ray.ipython.spool import Spool

_WHY_LIMIT = 20
_ENDED = ("finished", "failed", "cancelled")

State = Mapping[str, Any]


def engine_facts(engine: Engine | None) -> dict[str, Any]:
    """Return the engine's statistics, nothing where they are not to be had."""
    if engine is None:
        return {}
    try:
        return engine.statistics()
    except (RayError, OSError):
        return {}


def status(state: State, facts: Mapping[str, Any], now: float | None = None) -> Bundle:
    """Return what runs and what is used, as text and as a table."""
    rows = list(_status_rows(state, facts, time.time() if now is None else now))
    return Bundle({"text/plain": table_text(rows), "text/html": table_html(rows)})


def _status_rows(state: State, facts: Mapping[str, Any], now: float) -> Iterable[tuple[str, str]]:
    runtime = state["runtime"]
    said = runtime["state"]
    if runtime["state"] in ("ready", "warm", "starting"):
        said += f", {runtime['engine']} engine"
        if runtime["pid"]:
            said += f", pid {runtime['pid']}"
        if runtime["since"]:
            said += f", for {seconds(max(0.0, now - runtime['since']))}"
    if runtime["message"]:
        said += f": {runtime['message']}"
    yield "runtime", said
    for name, row in _by_kind(state["resources"]).items():
        amounts = (size(row[key]) if "memory" in name else count(row[key]) for key in ("used", "total"))
        lent = f", {count(row['lent'])} lent by blocked tasks" if row["lent"] else ""
        yield name, f"{' of '.join(amounts)} used{lent}"
    tasks: Counter[str] = Counter()
    for group in state["groups"]:
        tasks.update(group["counts"])
    yield "tasks", _counts(tasks)
    yield "actors", _counts(Counter(actor["state"] for actor in state["actors"]))
    yield "workers", _counts(Counter(worker["state"] for worker in state["workers"] if worker["state"] != "dead"))
    for key, value in facts.items():
        if "bytes" in key and isinstance(value, int | float):
            yield key.replace("_", " "), size(value)


def _by_kind(resources: Iterable[State]) -> dict[str, dict[str, float]]:
    kinds: dict[str, dict[str, float]] = {}
    for row in resources:
        name = row["kind"] if row["kind"] in ("CPU", "GPU") else row["id"]
        if str(name).startswith("node:"):
            continue
        total = kinds.setdefault(name, {"used": 0.0, "total": 0.0, "lent": 0.0})
        total["used"] += row["used"]
        total["total"] += row["total"]
        total["lent"] += sum(entry["amount"] for entry in row["lent"])
    return kinds


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number) or "none"


def greeting(engine: Engine) -> str:
    """Return what ``%ray start`` says."""
    total = engine.total_resources()
    parts = [
        f"{count(total[kind])} {kind}" + ("s" if total[kind] != 1 else "") for kind in ("CPU", "GPU") if total.get(kind)
    ]
    return f"The runtime is ready: {', '.join(parts) or 'no CPUs'}, {engine.name} engine."


# Why


def why(state: State, what: str | None = None) -> list[str]:
    """Return why tasks wait, one line or a few for each.

    Parameters
    ----------
    state
        The monitor's snapshot.
    what
        A task's name, or the beginning or end of its id; None: all that wait.
    """
    tasks = {task["id"]: task for task in state["tasks"]}
    if what is None:
        chosen = [task for task in tasks.values() if task["state"] in ("waiting", "pending", "blocked")]
        nothing = "Nothing waits."
    else:
        chosen = [task for task in tasks.values() if task["name"] == what or _has_id(task, what)]
        nothing = f"There is no task {what!r}, or it ended long ago."
    lines = [_reason(task, tasks, state) for task in chosen[:_WHY_LIMIT]]
    if len(chosen) > _WHY_LIMIT:
        lines.append(f"... and {len(chosen) - _WHY_LIMIT:,} more")
    return lines or [nothing]


def _has_id(task: State, what: str) -> bool:
    return len(what) >= 4 and (task["id"].startswith(what) or task["id"].endswith(what))


def _label(task: State) -> str:
    return f"{task['name']} ({task['id'][-4:]})"


def _reason(task: State, tasks: Mapping[str, State], state: State) -> str:
    head = f"{_label(task)} is {task['state']}"
    if task["state"] == "waiting":
        return (
            f"{head}: an argument is not there yet: {_names(task['deps'], tasks) or 'its maker is not shown any more'}."
        )
    if task["state"] == "blocked":
        lent = ", ".join(f"{count(amount)} {kind}" for kind, amount in task["lent"].items())
        lends = f", and lends {lent}" if lent else ""
        return f"{head}: it waits for {_names(task['waits_for'], tasks) or 'objects'}{lends}."
    if task["state"] == "pending":
        return f"{head}: {_pending(task, state)}"
    if task["state"] == "running":
        held = ", ".join(f"{count(amount)} {kind}" for kind, amount in task["held"].items())
        return f"{head}{f' on {held}' if held else ''}: it waits for nothing."
    return f"{head}{': ' + task['error'] if task['error'] else ''}."


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
    kinds = _by_kind(state["resources"])
    short = []
    for kind, wanted in task["demand"].items():
        row = kinds.get(kind, {"used": 0.0, "total": 0.0})
        free = row["total"] - row["used"]
        if wanted > free + 1e-9:
            holders = Counter(
                holder["label"]
                for each in state["resources"]
                if kind in (each["kind"], each["id"])
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


# Logs


def page(lines: Iterable[str], number: int, length: int, what: str | None, spool: Spool) -> str:
    """Return one page of lines; page 1 is the newest."""
    newest: deque[str] = deque(maxlen=number * length)
    total = 0
    for line in lines:
        newest.append(line)
        total += 1
    if not total:
        return f"{what} has printed nothing." if what else "No task has printed anything."
    last = total - (number - 1) * length
    if last <= 0:
        return f"There are {-(-total // length):,} pages of {length} lines."
    shown = list(newest)[: min(length, last)]
    first = last - len(shown) + 1
    tail = f"[lines {first:,} to {last:,} of {total:,}"
    tail += f"; older ones: --page {number + 1}; everything: --save FILE]" if first > 1 else "]"
    if spool.dropped_bytes:
        tail += (
            f"\n[the oldest {size(spool.dropped_bytes)} were dropped: {spool.error or 'the disk limit was reached'}]"
        )
    return "\n".join([*shown, tail])


def save(lines: Iterable[str], path: str) -> str:
    """Write all lines to a file and say so."""
    target = Path(path).expanduser()
    number = 0
    with target.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line + "\n")
            number += 1
    return f"{number:,} lines written to {target}"
