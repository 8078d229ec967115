"""Turns the model into the messages of docs/panel-protocol.md: JSON-able dicts, bounded in size.

`Writer` makes the numbered stream; `describe` gives the whole model once, for people and programs.

A message never exceeds its budget by much. Of a snapshot that would, rows are left out: ended tasks first, the oldest
before the others. What a delta has no room for stays dirty and goes with the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from jupyter_ray.monitor.model import Model
from jupyter_ray.monitor.records import ENDED, Actor, Amounts, Dirty, Group, Limits, Record, Runtime, Task, Worker

Row = dict[str, Any]
Message = dict[str, Any]
AnyRecord = TypeVar("AnyRecord", bound=Record)

VERSION: Final = 1
SNAPSHOT_BYTES: Final = 1_500_000
DELTA_BYTES: Final = 150_000
HOLDERS: Final = 100
"""Holders in one row; the rest are one entry that says how many."""


def describe(model: Model) -> dict[str, Any]:
    """Return the protocol's `state` for the whole model, without a bound on its size."""
    limits = model.limits
    return {
        "runtime": runtime_row(model.runtime),
        "tasks": [task_row(task, limits) for task in model.shown.values()],
        "groups": [group_row(group, limits) for group in model.groups.values()],
        "actors": [actor_row(actor, limits) for actor in model.actors.values()],
        "resources": resource_rows(model),
        "workers": [worker_row(worker) for worker in model.workers.values()],
        "nodes": node_rows(model),
    }


class Writer:
    """Writes one epoch's numbered messages for one model.

    Only one thread at a time may call it, and nobody may fold meanwhile.

    Parameters
    ----------
    model
        What to tell of. The writer takes over its `dirty` sets.
    epoch
        The name of this stream.
    """

    def __init__(
        self, model: Model, epoch: str, *, snapshot_bytes: int = SNAPSHOT_BYTES, delta_bytes: int = DELTA_BYTES
    ) -> None:
        self.model = model
        self.epoch = epoch
        self.seq = 0
        self._snapshot_bytes = snapshot_bytes
        self._delta_bytes = delta_bytes
        self._resources: dict[str, Row] = {}
        self._nodes: dict[str, Row] = {}

    def __repr__(self) -> str:
        return f"<Writer of epoch {self.epoch} at message {self.seq}>"

    def snapshot(self) -> Message:
        """Return the whole model; what was dirty is told with it."""
        model = self.model
        limits = model.limits
        model.dirty = Dirty()
        resources, nodes = resource_rows(model), node_rows(model)
        self._resources = {row["id"]: row for row in resources}
        self._nodes = {row["id"]: row for row in nodes}
        tasks = list(model.shown.values())
        records: list[Record] = [*model.groups.values(), *model.actors.values(), *model.workers.values(), *tasks]
        for record in records:
            record.sent = False
        budget = _Budget(self._snapshot_bytes)
        groups = budget.rows(model.groups.values(), lambda group: group_row(group, limits))
        actors = budget.rows(model.actors.values(), lambda actor: actor_row(actor, limits))
        workers = budget.rows(model.workers.values(), worker_row)
        # The living first, then the newest of the ended; the rows go out in the order of submission all the same.
        living = [task for task in tasks if task.state not in ENDED]
        ended = [task for task in reversed(tasks) if task.state in ENDED]
        rows = {row["id"]: row for row in budget.rows(living + ended, lambda task: task_row(task, limits))}
        state: dict[str, Any] = {
            "runtime": runtime_row(model.runtime),
            "tasks": [rows[task.id] for task in tasks if task.id in rows],
            "groups": groups,
            "actors": actors,
            "resources": resources,
            "workers": workers,
            "nodes": nodes,
        }
        return self._message("snapshot", state=state)

    def delta(self) -> Message | None:
        """Return what changed since the last message, or None if nothing did."""
        model = self.model
        limits = model.limits
        dirty = model.dirty
        if not dirty:
            return None
        model.dirty = left = Dirty()
        budget = _Budget(self._delta_bytes)
        upsert: dict[str, Any] = {}
        remove: dict[str, list[str]] = {}
        if dirty.runtime:
            upsert["runtime"] = runtime_row(model.runtime)
        if dirty.resources:
            self._resources = _changes("resources", self._resources, resource_rows(model), upsert, remove)
            self._nodes = _changes("nodes", self._nodes, node_rows(model), upsert, remove)
        for key, gone in (
            ("tasks", dirty.gone_tasks),
            ("groups", dirty.gone_groups),
            ("actors", dirty.gone_actors),
            ("workers", dirty.gone_workers),
        ):
            if gone:
                remove[key] = list(gone)
        for key, rows in (
            ("groups", budget.rows(dirty.groups.values(), lambda group: group_row(group, limits), left.groups)),
            ("actors", budget.rows(dirty.actors.values(), lambda actor: actor_row(actor, limits), left.actors)),
            ("workers", budget.rows(dirty.workers.values(), worker_row, left.workers)),
            ("tasks", budget.rows(dirty.tasks.values(), lambda task: task_row(task, limits), left.tasks)),
        ):
            if rows:
                upsert[key] = rows
        if not upsert and not remove:
            return None
        return self._message("delta", base=self.seq, upsert=upsert, remove=remove)

    def _message(self, kind: str, **fields: Any) -> Message:
        self.seq += 1
        return {"type": kind, "version": VERSION, "epoch": self.epoch, "seq": self.seq, **fields}


def _changes(
    key: str, before: Mapping[str, Row], now: list[Row], upsert: dict[str, Any], remove: dict[str, list[str]]
) -> dict[str, Row]:
    """Put what has changed in a table into a delta; return the table."""
    rows = {row["id"]: row for row in now}
    changed = [row for name, row in rows.items() if before.get(name) != row]
    gone = [name for name in before if name not in rows]
    if changed:
        upsert[key] = changed
    if gone:
        remove[key] = gone
    return rows


class _Budget:
    """Counts the bytes of a message's rows."""

    def __init__(self, total: int) -> None:
        self._left = total

    def rows(
        self,
        records: Iterable[AnyRecord],
        row_of: Callable[[AnyRecord], Row],
        left_over: dict[str, AnyRecord] | None = None,
    ) -> list[Row]:
        """Return the rows that there is room for, and note that the panel has them; put the others in `left_over`."""
        rows = []
        for record in records:
            if self._left > 0:
                row = row_of(record)
                self._left -= len(_encoder.encode(row))
                record.sent = True
                rows.append(row)
            elif left_over is not None:
                left_over[record.id] = record
            else:
                break
        return rows


_encoder = msgspec.json.Encoder()


# Rows


def runtime_row(runtime: Runtime) -> Row:
    """Return the protocol's runtime."""
    return {
        "state": runtime.state,
        "engine": runtime.engine,
        "message": runtime.message,
        "pid": runtime.pid,
        "since": runtime.since,
        "dropped": runtime.dropped,
    }


def task_row(task: Task, limits: Limits) -> Row:
    """Return the protocol's row of a task."""
    return {
        "id": task.id,
        "name": task.name[: limits.text],
        "kind": task.kind,
        "state": task.state,
        "parent": task.parent,
        "group": task.group.id,
        "deps": list(task.deps or ()),
        "actor": task.actor,
        "worker": task.worker,
        "node": task.node,
        "cell": task.cell,
        "demand": _rounded(task.demand),
        "held": _rounded(task.held),
        "lent": _rounded(task.lent or {}),
        "gpus": list(task.gpus or ()),
        "waits_for": list(task.waits_for or ()),
        "attempt": task.attempt,
        "error": task.error,
        "submitted": task.submitted,
        "started": task.started,
        "ended": task.ended,
    }


def group_row(group: Group, limits: Limits) -> Row:
    """Return the protocol's row of a group."""
    return {
        "id": group.id,
        "name": group.name[: limits.text],
        "kind": group.kind,
        "parent": group.parent.id if group.parent is not None else None,
        "deps": list(group.deps)[: limits.links],
        "actor": group.actor,
        "counts": {state: count for state, count in group.counts.items() if count},
        "cell": group.cell,
        "folded": group.folded,
        "first": group.first,
        "last": group.last,
    }


def actor_row(actor: Actor, limits: Limits) -> Row:
    """Return the protocol's row of an actor."""
    holders = actor.holders
    rows = [
        {"id": key, "kind": holder.kind, "label": holder.label[: limits.text], "count": holder.count}
        for key, holder in _first(holders.items(), HOLDERS)
    ]
    if len(holders) > HOLDERS:
        more = len(holders) - HOLDERS
        rows.append({"id": "others", "kind": "object", "label": f"{more} others", "count": more})
    return {
        "id": actor.id,
        "name": actor.name,
        "class_name": actor.class_name[: limits.text],
        "state": actor.state,
        "queue": actor.queue,
        "running": actor.running,
        "finished": actor.finished,
        "worker": actor.worker,
        "pid": actor.pid,
        "node": actor.node,
        "held": _rounded(actor.held),
        "gpus": list(actor.gpus),
        "restarts": actor.restarts,
        "holders": rows,
        "error": actor.error,
        "reason": actor.reason,
        "parent": actor.parent,
        "created": actor.created,
    }


def worker_row(worker: Worker) -> Row:
    """Return the protocol's row of a worker."""
    return {
        "id": worker.id,
        "pid": worker.pid,
        "node": worker.node,
        "state": worker.state,
        "task": worker.task,
        "actor": worker.actor,
        "started": worker.started,
    }


def node_rows(model: Model) -> list[Row]:
    """Return the protocol's rows of machines: none if there is only one."""
    return [{"id": key, "name": node.name} for key, node in model.nodes.items()]


def resource_rows(model: Model) -> list[Row]:
    """Return the protocol's rows of resources, from what tasks and actors hold now.

    CPU comes first, then each GPU, then the others by name; on several machines, one machine after the other. There
    are none before the runtime is ready.
    """
    rows: dict[str, Row] = {}
    if model.nodes:
        for key, node in model.nodes.items():
            _add_resources(rows, key, node.resources, [])
    else:
        _add_resources(rows, None, model.totals, model.gpus)
    for task in model.holding.values():
        where = _prefix(model, task.node)
        _hold(rows, where, task.id, "task", task.name, task.held, task.gpus or [])
        for kind, amount in (task.lent or {}).items():
            if where + kind in rows and amount:
                rows[where + kind]["lent"].append({"id": task.id, "label": task.name, "amount": round(amount, 4)})
    for actor in model.actors.values():
        if actor.held:
            _hold(rows, _prefix(model, actor.node), actor.id, "actor", actor.label, actor.held, actor.gpus)
    for row in rows.values():
        row["used"] = round(sum((holder["amount"] for holder in row["holders"]), 0.0), 4)
    return list(rows.values())


def _prefix(model: Model, node: str | None) -> str:
    """Return what the ids of a machine's resource rows begin with."""
    return f"{model.places.get(node or '')}/" if model.nodes else ""


def _add_resources(rows: dict[str, Row], node: str | None, totals: Amounts, gpus: list[str]) -> None:
    found = [("CPU", "CPU", totals["CPU"])] if "CPU" in totals else []
    found += [(f"GPU:{gpu}", "GPU", 1.0) for gpu in gpus]
    if "GPU" in totals and not gpus:
        found.append(("GPU", "GPU", totals["GPU"]))
    found += [(kind, "other", totals[kind]) for kind in sorted(totals) if kind not in ("CPU", "GPU")]
    for name, kind, total in found:
        key = name if node is None else f"{node}/{name}"
        rows[key] = {
            "id": key,
            "name": name,
            "kind": kind,
            "node": node,
            "total": round(total, 4),
            "used": 0.0,
            "holders": [],
            "lent": [],
        }


def _hold(
    rows: Mapping[str, Row], where: str, holder: str, kind: str, label: str, held: Amounts, gpus: list[str]
) -> None:
    for resource, amount in held.items():
        keys = [where + resource]
        if resource == "GPU" and gpus and where + "GPU" not in rows:
            keys = [f"{where}GPU:{gpu}" for gpu in gpus]
        share = round(amount / len(keys), 4)
        for key in keys:
            row = rows.get(key)
            if row is not None and share:
                row["holders"].append({"id": holder, "kind": kind, "label": label, "amount": share})


def _rounded(amounts: Amounts) -> Amounts:
    return {kind: round(amount, 4) for kind, amount in amounts.items()}


def _first(items: Iterable[Any], count: int) -> Iterable[Any]:
    return (item for item, _ in zip(items, range(count), strict=False))
