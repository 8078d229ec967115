"""What ``%ray status`` and ``logs`` say: from the monitor's snapshot (docs/panel-protocol.md) to text."""

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

State = Mapping[str, Any]

_MEMORY = ("memory", "object_store_memory")


def engine_facts(engine: Engine | None) -> dict[str, Any]:
    """Return the engine's statistics, nothing where they are not to be had."""
    if engine is None:
        return {}
    try:
        return engine.statistics()
    except (RayError, OSError):
        return {}


def status(state: State, facts: Mapping[str, Any]) -> Bundle:
    """Return what runs and what is used, as text and as a table."""
    rows = list(_status_rows(state, facts, time.time()))
    return Bundle({"text/plain": table_text(rows), "text/html": table_html(rows)})


def _status_rows(state: State, facts: Mapping[str, Any], now: float) -> Iterable[tuple[str, str]]:
    yield "runtime", _runtime(state["runtime"], now)
    for name, row in by_kind(state["resources"]).items():
        if name in _MEMORY and not row["used"]:
            continue  # It is what tasks ask for: a zero would be read as what the machine's programs use.
        amounts = (size(row[key]) if "memory" in name else count(row[key]) for key in ("used", "total"))
        lent = f", {count(row['lent'])} lent by blocked tasks" if row["lent"] else ""
        yield name, f"{' of '.join(amounts)} used{lent}"
    tasks: Counter[str] = Counter()
    for group in state["groups"]:
        tasks.update(group["counts"])
    for machine in facts.get("machines", ()):  # Of a cluster.
        used = (
            f"{count(total - machine['free'][kind])} of {count(total)} {kind}"
            for kind, total in sorted(machine["total"].items())
            if ":" not in kind and "memory" not in kind
        )
        yield f"node {machine['node'][:8]}", f"{machine['address']}: {', '.join(used) or 'nothing'} used"
    yield "tasks", _counts(tasks)
    yield "actors", _counts(Counter(actor["state"] for actor in state["actors"]))
    yield "workers", _counts(Counter(worker["state"] for worker in state["workers"] if worker["state"] != "dead"))
    if "store" in facts:
        store = facts["store"]
        on_disk = f", {size(store['on_disk'])} on disk" if store["on_disk"] else ""
        yield "object store", f"{size(store['used'])} of {size(store['limit'])} used{on_disk}"


def _runtime(runtime: Mapping[str, Any], now: float) -> str:
    said = str(runtime["state"])
    if runtime["state"] in ("ready", "warm", "starting"):
        said += f", {runtime['engine']} engine"
        if runtime["pid"]:
            said += f", pid {runtime['pid']}"
        if runtime["since"]:
            said += f", for {seconds(max(0.0, now - runtime['since']))}"
    return f"{said}: {runtime['message']}" if runtime["message"] else said


def by_kind(resources: Iterable[State]) -> dict[str, dict[str, float]]:
    """Return what is used, there in all, and lent, of each kind of resource."""
    kinds: dict[str, dict[str, float]] = {}
    for row in resources:
        name = row["kind"] if row["kind"] in ("CPU", "GPU") else row["name"]
        if str(name).startswith(("node:", "accelerator_type:")):
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
