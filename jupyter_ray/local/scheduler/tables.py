"""The state as tables: one row for each task, actor, object and worker, with the columns of Ray's state API.

Rows are made one at a time, so that whoever asks for the first hundred of a million pays for a hundred. Identifiers
are hex strings and times milliseconds, as in Ray. What this engine knows of ended tasks is bounded: see `history`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jupyter_ray.ids import task_of
from jupyter_ray.local.scheduler.records import (
    ActorRecord,
    ActorState,
    ClientRecord,
    EndedTask,
    ObjectRecord,
    State,
    TaskRecord,
    TaskState,
    WorkerRecord,
    WorkerState,
)
from jupyter_ray.resources import amounts

Row = dict[str, Any]

WORKER_ID_SIZE = 28
_CLIENT_ID = 16

_TYPES = {"task": "NORMAL_TASK", "method": "ACTOR_TASK", "actor": "ACTOR_CREATION_TASK"}
_ACTOR_STATES = {
    ActorState.PENDING: "PENDING_CREATION",
    ActorState.STARTING: "PENDING_CREATION",
    ActorState.ALIVE: "ALIVE",
    ActorState.RESTARTING: "RESTARTING",
    ActorState.DEAD: "DEAD",
}


def table(state: State, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"rows", "more"}``: at most `limit` rows of the table `what`, and whether there are more.

    A filter is ``(column, "=" or "!=", value)``; values compare as text, without regard to case. With `id` (hex) only
    that row is made.
    """
    one, limit = arguments.get("id"), arguments["limit"]
    tests = [(column, predicate == "=", _comparable(value)) for column, predicate, value in arguments["filters"]]
    rows = _TABLES[arguments["what"]](state, None if one is None else bytes.fromhex(one))
    passing = (
        row for row in rows if all((_comparable(row.get(column)) == value) is wanted for column, wanted, value in tests)
    )
    found = list(itertools.islice(passing, limit + 1))
    return {"rows": found[:limit], "more": len(found) > limit}


def summary(state: State, arguments: dict[str, Any]) -> list[tuple[list[str], int, int]]:
    """Return how many rows of the table `what` agree in the columns `by`, and the sum of their sizes: pairs by key."""
    counts: dict[tuple[str, ...], list[int]] = {}
    by = arguments["by"]
    for row in _TABLES[arguments["what"]](state, None):
        found = counts.setdefault(tuple(str(row[column]) for column in by), [0, 0])
        found[0] += 1
        found[1] += row.get("object_size", 0)
    return [(list(key), count, size) for key, (count, size) in counts.items()]


def _comparable(value: Any) -> str:
    return str(value).casefold()


# --- tasks -------------------------------------------------------------------------------------------------------


def _tasks(state: State, one: bytes | None) -> Iterator[Row]:
    """Yield the tasks that have not ended, in the order of their submission, then the ended ones, newest first."""
    living: Iterable[TaskRecord] = state.tasks.values()
    ended: Iterable[EndedTask] = reversed(state.history.values())
    if one is not None:
        living = [state.tasks[one]] if one in state.tasks else []
        ended = [state.history[one]] if one in state.history else []
    for task in living:
        spec, worker = task.spec, task.worker
        yield _task_row(
            state,
            task.id,
            kind=spec.kind,
            name=spec.name,
            class_name=task.actor.spec.class_name if task.actor is not None else "",
            definition=spec.definition,
            actor=spec.actor,
            parent=spec.parent,
            attempt=task.attempt,
            status=_status(state, task),
            worker=None if worker is None else worker.id,
            pid=0 if worker is None else worker.pid,
            demand=spec.demand,
            site=spec.site,
            group=spec.group,
            made=task.made,
            begun=task.begun,
            ended=0.0,
        )
    for old in ended:
        yield _task_row(
            state,
            old.id,
            kind=old.kind,
            name=old.name,
            class_name=old.class_name,
            definition=old.definition,
            actor=old.actor,
            parent=old.parent,
            attempt=old.attempt,
            status="FINISHED" if old.state is TaskState.FINISHED else "FAILED",
            worker=old.worker,
            pid=old.pid,
            demand=old.demand,
            site=old.site,
            group=old.group,
            made=old.made,
            begun=old.begun,
            ended=old.ended,
            error=old.error,
            error_type=old.error_type,
        )


def _task_row(
    state: State,
    task: bytes,
    *,
    kind: str,
    name: str,
    class_name: str,
    definition: str,
    actor: bytes | None,
    parent: bytes | None,
    attempt: int,
    status: str,
    worker: bytes | None,
    pid: int,
    demand: dict[str, int],
    site: str | None,
    group: str | None,
    made: float,
    begun: float,
    ended: float,
    error: str = "",
    error_type: str = "",
) -> Row:
    shipped = state.functions.get(definition)
    function = shipped.name if shipped is not None and kind == "task" else name
    if kind == "method" and class_name:
        name = function = f"{class_name}.{name}"
    return {
        "task_id": task.hex(),
        "attempt_number": attempt,
        "name": name,
        "state": status,
        "actor_id": _hex(actor),
        "type": _TYPES[kind],
        "func_or_class_name": function,
        "parent_task_id": _hex(parent),
        "worker_id": None if worker is None else worker_id(worker),
        "worker_pid": pid or None,
        "error_type": error_type or None,
        "language": "PYTHON",
        "required_resources": amounts(demand),
        "placement_group_id": group,
        "creation_time_ms": _milliseconds(made),
        "start_time_ms": _milliseconds(begun),
        "end_time_ms": _milliseconds(ended),
        "error_message": error or None,
        "call_site": site,
    }


def _status(state: State, task: TaskRecord) -> str:
    """Return Ray's word for where a task stands that has not ended."""
    if task.state is TaskState.WAITING:
        return "PENDING_ARGS_AVAIL"
    if task.state is TaskState.READY:
        return "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY" if task.spec.kind == "method" else "PENDING_NODE_ASSIGNMENT"
    if task.state is TaskState.ASSIGNED:
        return "SUBMITTED_TO_WORKER"
    if task.state is TaskState.RUNNING:
        return "RUNNING"
    client = state.clients.get(task.worker.id) if task.worker is not None else None
    requests = client.requests.values() if client is not None else ()
    waits = any(request.kind == "wait" for request in requests if request.task is task)
    return "RUNNING_IN_RAY_WAIT" if waits else "RUNNING_IN_RAY_GET"


# --- actors ------------------------------------------------------------------------------------------------------


def _actors(state: State, one: bytes | None) -> Iterator[Row]:
    actors: Iterable[ActorRecord] = state.actors.values()
    if one is not None:
        actors = [state.actors[one]] if one in state.actors else []
    for actor in actors:
        spec, worker = actor.spec, actor.worker
        status = _ACTOR_STATES[actor.state]
        creation = state.tasks.get(spec.creation.task)
        if creation is not None and creation.state is TaskState.WAITING:
            status = "DEPENDENCIES_UNREADY"
        yield {
            "actor_id": actor.id.hex(),
            "class_name": spec.class_name,
            "state": status,
            "name": spec.name,
            "pid": worker.pid if worker is not None else 0,
            "ray_namespace": spec.namespace,
            "required_resources": amounts(spec.creation.demand),
            "death_cause": {"error_message": actor.death_reason} if actor.death_reason else None,
            "is_detached": spec.detached,
            "placement_group_id": spec.creation.group,
            "num_restarts": actor.restarts,
            "call_site": spec.creation.site,
            "pending_calls": actor.queued,
        }


# --- objects -----------------------------------------------------------------------------------------------------


def _objects(state: State, one: bytes | None) -> Iterator[Row]:
    objects: Iterable[ObjectRecord] = state.objects.values()
    if one is not None:
        objects = [state.objects[one]] if one in state.objects else []
    for record in objects:
        payload = record.payload
        task = state.tasks.get(task_of(record.id))
        ended = state.history.get(task_of(record.id))
        status = "NIL"  # Made by put(), or by a task that ended long ago.
        if payload is None and task is not None:
            status = _status(state, task)
        elif payload is not None and ended is not None:
            status = "FINISHED" if ended.state is TaskState.FINISHED else "FAILED"
        made = task.spec if task is not None else ended
        yield {
            "object_id": record.id.hex(),
            "object_size": 0 if payload is None else payload.size,
            "task_status": status,
            "attempt_number": 0 if task is None else task.attempt,
            "reference_type": _reference(record),
            "call_site": made.site if made is not None else None,
            "in_shared_memory": payload is not None and bool(payload.segment),
            "holders": record.holders,
        }


def _reference(record: ObjectRecord) -> str:
    if record.dependents or (record.pins and not record.holders):
        return "USED_BY_PENDING_TASK" if record.dependents else "CAPTURED_IN_OBJECT"
    return "PINNED_IN_MEMORY" if record.payload is not None else "LOCAL_REFERENCE"


# --- processes ---------------------------------------------------------------------------------------------------


def _workers(state: State, one: bytes | None) -> Iterator[Row]:
    """Yield the driver, and the workers that run or are being started."""
    one = one and one[:_CLIENT_ID]
    drivers: list[ClientRecord] = [each for each in state.clients.values() if each.is_driver]
    workers: Iterable[WorkerRecord] = state.workers.values()
    for driver in drivers:
        if one in (None, driver.id):
            yield _worker_row(driver.id, "DRIVER", 0, "ALIVE" if driver.connected else "DEAD", driver.connected)
    for worker in workers:
        if one in (None, worker.id):
            alive = worker.state is not WorkerState.DEAD
            row = _worker_row(worker.id, "WORKER", worker.pid, worker.state.value.upper(), alive)
            yield {
                **row,
                "exit_detail": worker.doomed or None,
                "actor_id": None if worker.actor is None else worker.actor.id.hex(),
            }


def _worker_row(worker: bytes, kind: str, pid: int, status: str, alive: bool) -> Row:
    return {
        "worker_id": worker_id(worker),
        "is_alive": alive,
        "worker_type": kind,
        "pid": pid,
        "status": status,
        "exit_type": None,
        "exit_detail": None,
        "actor_id": None,
    }


def worker_id(worker: bytes) -> str:
    """Return a worker's id as its own process shows it: with the length of Ray's."""
    return worker.ljust(WORKER_ID_SIZE, b"\0").hex()


def _hex(binary: bytes | None) -> str | None:
    return None if binary is None else binary.hex()


def _milliseconds(at: float) -> int | None:
    return int(at * 1000) if at else None


_TABLES: dict[str, Callable[[State, bytes | None], Iterator[Row]]] = {
    "tasks": _tasks,
    "actors": _actors,
    "objects": _objects,
    "workers": _workers,
}
