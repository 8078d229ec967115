"""Questions about the state that are answered at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from jupyter_ray.ids import OBJECT_ID_SIZE
from jupyter_ray.local.scheduler import definitions
from jupyter_ray.local.scheduler.outlook import obstacle
from jupyter_ray.local.scheduler.records import GroupRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ActorState, GroupState
from jupyter_ray.local.scheduler.tables import summary, table
from jupyter_ray.local.scheduler.why import why
from jupyter_ray.resources import GPU, OBJECT_STORE, amounts


def resources(state: State, _: dict[str, Any]) -> dict[str, Any]:
    """Return totals and what is free, in amounts, and the names of the GPUs."""
    ledger = state.ledger
    free = dict(ledger.free)
    for lease in state.leases.values():  # Whoever has it gives it back as soon as somebody wants it.
        for name, parts in lease.allocation.held.items():
            free[name] += parts
    available = amounts(free)
    if OBJECT_STORE in available:  # What the values take is free for nobody, as in Ray.
        available[OBJECT_STORE] -= state.memory.used
    return {
        "total": amounts(ledger.total),
        "available": {name: amount for name, amount in available.items() if amount > 0},
        "parts": dict(ledger.total),
        "gpus": list(ledger.ids.get(GPU, [])),
        "started": state.started,
        "env": state.env,
    }


def jobs(state: State, _: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each driver's job, the first one's first, those that have ended included."""
    return [msgspec.structs.asdict(job) for job in state.jobs.values()]


def actor_by_name(state: State, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Return ``{"actor", "handle"}`` of a living actor, or None."""
    actor_id = state.names.get((arguments["namespace"], arguments["name"]))
    actor = state.actors.get(actor_id) if actor_id is not None else None
    if actor is None or actor.state is ActorState.DEAD or actor.leaving:
        return None
    return {"actor": actor.id, "handle": actor.spec.handle}


def named_actors(state: State, _: dict[str, Any]) -> list[tuple[str, str]]:
    """Return namespace and name of the living named actors."""
    return [
        (namespace, name)
        for (namespace, name), actor_id in state.names.items()
        if actor_id in state.actors and state.actors[actor_id].state is not ActorState.DEAD
    ]


def task(state: State, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Return kind and state of a task, and whether a cancel was asked; None if it is not remembered."""
    record = state.tasks.get(arguments["task"])
    if record is not None:
        return {"kind": record.spec.kind, "state": record.state.value, "cancelled": record.cancel_asked}
    ended = state.history.get(arguments["task"])
    return None if ended is None else {"kind": ended.kind, "state": ended.state.value, "cancelled": False}


def definition(state: State, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Return a shipped definition; whoever asks holds what it contains: see `said`."""
    record = definitions.find(state, arguments["definition"])
    return {"version": record.version, "blob": record.blob} if record is not None and record.version else None


def statistics(state: State, _: dict[str, Any]) -> dict[str, Any]:
    """Return counts: tasks by state, actors, objects, definitions, workers, bytes of values and where they are."""
    counts = {each.value: count for each, count in state.ended.items()}
    for record in state.tasks.values():
        counts[record.state.value] = counts.get(record.state.value, 0) + 1
    payloads = [each.payload for each in state.objects.values() if each.payload is not None]
    memory = state.memory
    return {
        "tasks": counts,
        "actors": sum(1 for each in state.actors.values() if each.state is not ActorState.DEAD),
        "queued_calls": sum(each.queued for each in state.actors.values()),
        "objects": len(state.objects),
        "store": {
            "used": memory.used,
            "limit": memory.limit,
            "objects": sum(1 for each in payloads if each.segment in memory.here or each.segment in memory.moving),
            "on_disk": sum(each.size for each in payloads if each.segment in memory.on_disk),
            "moved_to_disk": memory.moved_bytes,
            "objects_moved": memory.moved,
        },
        "shared_bytes": sum(each.size for each in payloads if each.segment),
        "inline_bytes": sum(each.size for each in payloads if not each.segment),
        "definitions": sum(1 for each in state.functions.values() if each.version),
        "workers": len(state.workers),
        "worker_pids": sorted(each.pid for each in state.workers.values() if each.pid),
    }


def events(state: State, _: dict[str, Any]) -> bool:
    """Return True: whoever asks wants the events that the server sends before the answer."""
    return True


def _group_statistics(state: State, group: GroupRecord) -> dict[str, Any]:
    """Return what Ray tells of how a group was placed. Tries that change nothing are not counted."""
    waited = 0.0 if group.seconds is None else max(group.seconds * 1000, 0.001)
    words = {GroupState.CREATED: "FINISHED", GroupState.REMOVED: "REMOVED"}
    return {
        "end_to_end_creation_latency_ms": waited,
        "scheduling_latency_ms": waited,
        "scheduling_attempt": 1,
        "highest_retry_delay_ms": 0.0,
        "scheduling_state": words.get(group.state) or ("INFEASIBLE" if obstacle(state, group) else "NO_RESOURCES"),
    }


def placement_groups(state: State, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each group, or for the one named by ``id`` or ``name``."""
    rows = []
    for group in state.groups.values():
        if arguments.get("id") not in (None, group.id) or arguments.get("name") not in (None, group.name):
            continue
        rows.append(
            {
                "placement_group_id": group.id,
                "name": group.name,
                "bundles": {index: amounts(demand) for index, demand in enumerate(group.demands)},
                "strategy": group.strategy,
                "state": group.state.value,
                "is_detached": group.detached,
                "stats": _group_statistics(state, group),
            }
        )
    return rows


def locations(state: State, arguments: dict[str, Any]) -> list[tuple[int | None, bool]]:
    """Return of each object its size in bytes, None if it is not there, and whether it is on disk."""
    return [_location(state, each) for each in arguments["ids"]]


def _location(state: State, object_id: bytes) -> tuple[int | None, bool]:
    record = state.objects.get(object_id)
    if record is None or record.payload is None:
        return None, False
    segment, memory = record.payload.segment, state.memory
    return record.payload.size, bool(segment) and segment not in memory.here and segment not in memory.moving


def pairs(state: State, arguments: dict[str, Any]) -> Any:
    """Get, list, put or delete what is kept by key; see `Engine.pairs`. The only question that may change something."""
    operation, key, flag = arguments["operation"], bytes(arguments["key"]), arguments["flag"]
    space = state.pairs.setdefault(bytes(arguments["space"]), {})
    if operation == "get":
        return space.get(key)
    if operation == "put":
        there = key in space
        if flag or not there:
            space[key] = bytes(arguments["value"])
        return there
    keys = [each for each in space if each.startswith(key)] if flag or operation == "list" else [key] * (key in space)
    if operation == "list":
        return keys
    for each in keys:
        del space[each]
    return len(keys)


def garbage(state: State, _: dict[str, Any]) -> None:
    """Answer that all processes have been told to collect garbage: see `said`."""


def used_by_calls(state: State, arguments: dict[str, Any]) -> dict[bytes, int]:
    """Return of each object how often the asker's calls that have not ended name it, also inside of arguments."""
    counts: dict[bytes, int] = {}
    for record in state.tasks.values():
        if record.client is arguments["asker"]:
            for counted in (*record.spec.dependencies, *record.spec.contained):
                if len(counted) == OBJECT_ID_SIZE:
                    counts[counted] = counts.get(counted, 0) + 1
    return counts


QUERIES: dict[str, Callable[[State, dict[str, Any]], Any]] = {
    "resources": resources,
    "jobs": jobs,
    "actor_by_name": actor_by_name,
    "named_actors": named_actors,
    "task": task,
    "definition": definition,
    "statistics": statistics,
    "summary": summary,
    "table": table,
    "why": why,
    "events": events,
    "garbage": garbage,
    "used_by_calls": used_by_calls,
    "placement_groups": placement_groups,
    "locations": locations,
    "pairs": pairs,
}
