"""The state as tables: a row for each task, actor, object and worker, with the columns of Ray's state API.

A table is a list of records and a function for each column, so that a filter costs the columns that it names, and
whoever asks for the first hundred of a million pays for a hundred. Identifiers are hex strings and times milliseconds,
as in Ray. Of tasks that have ended, a bounded number is known: see `history`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jupyter_ray.ids import JOB_ID_SIZE, JobID, TaskID, task_of
from jupyter_ray.local.protocol import names
from jupyter_ray.local.scheduler.digests import ActorDigest, TaskDigest, WorkerDigest
from jupyter_ray.local.scheduler.history import actor_digest, digest
from jupyter_ray.local.scheduler.records import ClientRecord, ObjectRecord, TaskRecord, WorkerRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ActorState, TaskState, WorkerState
from jupyter_ray.resources import amounts

Column = Callable[[State, Any], Any]
Records = Callable[[State, "bytes | None"], Iterable[Any]]

WORKER_ID_SIZE = 28
_CLIENT_ID_SIZE = 16


def table(state: State, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"rows", "more"}``: at most `limit` rows of a `table`, and whether there are more.

    A filter is ``(column, "=" or "!=", value)``; values compare as text, without regard to case. With `id` (hex) only
    that row is made.
    """
    one, limit = arguments.get("id"), arguments["limit"]
    records, columns = TABLES[arguments["table"]]
    tests = [(columns[name], predicate == "=", _comparable(value)) for name, predicate, value in arguments["filters"]]
    passing = (
        record
        for record in records(state, None if one is None else bytes.fromhex(one))
        if all((_comparable(column(state, record)) == value) is wanted for column, wanted, value in tests)
    )
    found = list(itertools.islice(passing, limit + 1))
    rows = [{name: column(state, record) for name, column in columns.items()} for record in found[:limit]]
    return {"rows": rows, "more": len(found) > limit}


def summary(state: State, arguments: dict[str, Any]) -> list[tuple[list[str], int, int]]:
    """Return, for all rows of a `table` that agree in the columns `by`: their values, number, and size in bytes."""
    records, columns = TABLES[arguments["table"]]
    by = [columns[name] for name in arguments["by"]]
    size_of = columns.get("object_size")
    counts: dict[tuple[str, ...], list[int]] = {}
    for record in records(state, None):
        found = counts.setdefault(tuple([str(column(state, record)) for column in by]), [0, 0])
        found[0] += 1
        found[1] += 0 if size_of is None else size_of(state, record)
    return [(list(key), count, size) for key, (count, size) in counts.items()]


def _comparable(value: Any) -> str:
    return str(value).casefold()


def _hex(binary: bytes | None) -> str | None:
    return None if binary is None else binary.hex()


def _worker_id(worker: bytes | None) -> str | None:
    """Return a worker's id as its own process shows it: with the length of Ray's."""
    return None if worker is None else worker.ljust(WORKER_ID_SIZE, b"\0").hex()


def _milliseconds(at: float) -> int | None:
    return int(at * 1000) if at else None


def _env(state: State, told: TaskDigest | ActorDigest) -> str:
    return names.split_environment(told.env)[1] or ("" if told.env else state.env) or "{}"


def _job(state: State, told: TaskDigest | ActorDigest) -> str:
    """Return the job that an identifier names: of a call, that of its actor, as in Ray."""
    return told.id[-JOB_ID_SIZE:].hex()


def _parent(state: State, task: TaskDigest) -> str:
    """Return the task that made a call: of what a driver does, the one that stands for it, as in Ray."""
    return TaskID.for_driver_task(JobID(task.id[-JOB_ID_SIZE:])).hex() if task.parent is None else task.parent.hex()


def _label_selector(state: State, told: TaskDigest | ActorDigest) -> Any:
    return json.loads(told.labels)[0] if told.labels else {}


def _fallback_strategy(state: State, told: TaskDigest | ActorDigest) -> Any:
    if not told.labels and isinstance(told, ActorDigest):
        return None
    return {"options": json.loads(told.labels)[1] if told.labels else []}


# --- tasks: those that have not ended, in the order of their submission, then the ended ones, newest first ---------


def _tasks(state: State, one: bytes | None) -> Iterable[TaskDigest]:
    """Return each task's last attempt, and before the next task those that failed, from the last to the first."""
    last: Iterable[TaskDigest]
    if one is None or state.task_limit >= 0:
        last = itertools.chain(map(digest, state.tasks.values()), state.history.newest_first())
        if state.task_limit >= 0:
            last = _that_stay([each for each in last if each.listed], state.task_limit)
            last = (each for each in last if one in (None, each.id))
    else:
        found = digest(state.tasks[one]) if one in state.tasks else state.history.get(one)
        last = () if found is None else (found,)
    return itertools.chain.from_iterable(
        (task, *reversed(state.attempts.get(task.id, ()))) for task in last if task.listed
    )


def _that_stay(tasks: list[TaskDigest], limit: int) -> list[TaskDigest]:
    """Return those that are told of where few may be: finished ones go first, then calls of actors, as in Ray."""

    def worth(task: TaskDigest) -> tuple[int, float]:
        return 0 if task.state is TaskState.FINISHED else 1 if task.kind == "method" else 2, task.made

    stay = {task.id for task in sorted(tasks, key=worth)[max(0, len(tasks) - limit) :]}
    return [task for task in tasks if task.id in stay]


def _function(state: State, task: TaskDigest) -> str:
    """Return the function's name, or class and method, also of a call that was given another name."""
    if task.kind == "task" and task.function:
        return task.function
    if task.kind == "method" and task.function and (actor := _actor(state, task.actor)) is not None:
        return f"{actor.class_name.rpartition('.')[2]}.{task.function}"
    return task.name


def _task_name(state: State, task: TaskDigest) -> str:
    """Return a task's name: calls of an actor that has a name bear that one, or what it calls itself, as in Ray."""
    actor = _actor(state, task.actor)
    if actor is None:
        return task.name
    if task.kind == "actor":
        return f"{actor.name}:{task.name}" if actor.name else task.name
    kind, _, method = task.name.rpartition(".")
    return f"{actor.repr_name}.{method}" if actor.repr_name and kind else task.name


def _actor(state: State, actor: bytes | None) -> ActorDigest | None:
    if actor is None or actor not in state.actors:
        return state.gone_actors.get(actor or b"")
    return actor_digest(state, state.actors[actor])


def _task_state(state: State, task: TaskDigest) -> str:
    """Return Ray's word for where a task stands."""
    where = task.state
    if where in (TaskState.READY, TaskState.ASSIGNED) and task.kind == "method":
        return "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY"
    return _TASK_STATES[where]


def _events(state: State, task: TaskDigest) -> list[dict[str, Any]]:
    known = [("PENDING_ARGS_AVAIL", task.made), ("RUNNING", task.begun), (_task_state(state, task), task.ended)]
    return [{"state": name, "created_ms": at * 1000} for name, at in known if at]


_TASK_STATES = {
    TaskState.WAITING: "PENDING_ARGS_AVAIL",
    TaskState.READY: "PENDING_NODE_ASSIGNMENT",
    TaskState.ASSIGNED: "SUBMITTED_TO_WORKER",
    TaskState.RUNNING: "RUNNING",
    TaskState.BLOCKED: "RUNNING",
    TaskState.RESUMING: "RUNNING",
    TaskState.FINISHED: "FINISHED",
    TaskState.FAILED: "FAILED",
    TaskState.CANCELLED: "FAILED",
}
_FAILED = (TaskState.FAILED, TaskState.CANCELLED)
_TASK_TYPES = {"task": "NORMAL_TASK", "method": "ACTOR_TASK", "actor": "ACTOR_CREATION_TASK"}

_TASK: dict[str, Callable[[State, TaskDigest], Any]] = {
    "task_id": lambda state, task: task.id.hex(),
    "job_id": _job,
    "attempt_number": lambda state, task: task.attempt,
    "name": _task_name,
    "state": _task_state,
    "actor_id": lambda state, task: _hex(task.actor),
    "type": lambda state, task: _TASK_TYPES[task.kind],
    "func_or_class_name": _function,
    "parent_task_id": _parent,
    "node_id": lambda state, task: None if task.worker is None else state.node,
    "worker_id": lambda state, task: _worker_id(task.worker),
    "worker_pid": lambda state, task: task.pid or None,
    "error_type": lambda state, task: task.error_type or None,
    "language": lambda state, task: "PYTHON",
    "required_resources": lambda state, task: amounts(task.demand),
    "placement_group_id": lambda state, task: task.group,
    "creation_time_ms": lambda state, task: _milliseconds(task.made),
    "start_time_ms": lambda state, task: _milliseconds(task.begun),
    "end_time_ms": lambda state, task: _milliseconds(task.ended),
    "error_message": lambda state, task: task.error if task.state in _FAILED else None,
    "call_site": lambda state, task: task.site,
    "events": _events,
    "runtime_env_info": lambda state, task: {
        "serialized_runtime_env": _env(state, task),
        "runtime_env_config": {"setup_timeout_seconds": 600, "eager_install": True, "log_files": []},
    },
    "label_selector": _label_selector,
    "fallback_strategy": _fallback_strategy,
}


# --- actors ------------------------------------------------------------------------------------------------------


def _actors(state: State, one: bytes | None) -> Iterable[ActorDigest]:
    """Return the living and those that somebody may still ask, then the other dead ones, newest first."""
    if one is None:
        here = (actor_digest(state, actor) for actor in state.actors.values())
        return itertools.chain(here, reversed(state.gone_actors.values()))
    if one in state.actors:
        return [actor_digest(state, state.actors[one])]
    return [state.gone_actors[one]] if one in state.gone_actors else []


_ACTOR_STATES = {
    ActorState.PENDING: "PENDING_CREATION",
    ActorState.STARTING: "PENDING_CREATION",
    ActorState.ALIVE: "ALIVE",
    ActorState.RESTARTING: "RESTARTING",
    ActorState.DEAD: "DEAD",
}


def _death_cause(state: State, actor: ActorDigest) -> dict[str, Any] | None:
    if not actor.death_reason:
        return None
    reason = actor.death_reason
    told = {
        "error_message": f"The actor is dead because {reason}",
        "reason": next((word for begin, word in _DEATHS.items() if reason.startswith(begin)), "WORKER_DIED"),
        "owner_ip_address": "127.0.0.1",
        "node_ip_address": "127.0.0.1",
        "pid": actor.pid,
        "ray_namespace": actor.namespace,
        "class_name": actor.class_name,
        "actor_id": actor.id.hex(),
        "name": actor.name,
        "never_started": not actor.placed,
    }
    causes: dict[str, Any] = {"actor_died_error_context": told}
    constructor = state.history.get(actor.constructor)
    if constructor is not None and constructor.state is TaskState.FAILED:
        traceback = {"formatted_exception_string": constructor.error, "language": "PYTHON"}
        causes["creation_task_failure_context"] = traceback
    return causes


_DEATHS = {
    "it was killed by `ray.kill`": "RAY_KILL",
    "all references": "OUT_OF_SCOPE",
    "its job has ended": "OWNER_DIED",
}
"""Ray's words for how an actor died, by how our reason begins."""

_ACTOR: dict[str, Callable[[State, ActorDigest], Any]] = {
    "actor_id": lambda state, actor: actor.id.hex(),
    "job_id": _job,
    "class_name": lambda state, actor: actor.class_name,
    "state": lambda state, actor: "DEPENDENCIES_UNREADY" if actor.unready else _ACTOR_STATES[actor.state],
    "name": lambda state, actor: actor.name,
    "node_id": lambda state, actor: state.node if actor.placed or actor.pid else None,
    "pid": lambda state, actor: actor.pid,
    "ray_namespace": lambda state, actor: actor.namespace,
    "required_resources": lambda state, actor: amounts(actor.demand),
    "death_cause": _death_cause,
    "is_detached": lambda state, actor: actor.detached,
    "placement_group_id": lambda state, actor: actor.group,
    "num_restarts": lambda state, actor: actor.restarts,
    "call_site": lambda state, actor: actor.site,
    "repr_name": lambda state, actor: actor.repr_name,
    "serialized_runtime_env": _env,
    "label_selector": _label_selector,
    "fallback_strategy": _fallback_strategy,
    "pending_calls": lambda state, actor: actor.queued,
}


# --- objects -----------------------------------------------------------------------------------------------------


def _objects(state: State, one: bytes | None) -> Iterable[ObjectRecord]:
    if one is None:
        return state.objects.values()
    return [state.objects[one]] if one in state.objects else []


def _maker(state: State, record: ObjectRecord) -> TaskDigest | None:
    """Return the task that makes an object; None for `put`, and for what ended long ago."""
    task: TaskRecord | None = state.tasks.get(task_of(record.id))
    return state.history.get(task_of(record.id)) if task is None else digest(task)


def _maker_state(state: State, record: ObjectRecord) -> str:
    maker = _maker(state, record)
    return "NIL" if maker is None else _task_state(state, maker)


def _call_site(state: State, record: ObjectRecord) -> str | None:
    maker = _maker(state, record)
    return (record.site or None) if maker is None else maker.site


def _attempt(state: State, record: ObjectRecord) -> int:
    maker = _maker(state, record)
    return 0 if maker is None else maker.attempt


def _shared(state: State, record: ObjectRecord) -> bool:
    return record.payload is not None and bool(record.payload.segment)


def _reference(state: State, record: ObjectRecord) -> str:
    if record.dependents:
        return "USED_BY_PENDING_TASK"
    if record.pins and not record.holders:
        return "CAPTURED_IN_OBJECT"
    return "PINNED_IN_MEMORY" if _shared(state, record) else "LOCAL_REFERENCE"


def _holder(state: State, record: ObjectRecord) -> ClientRecord | None:
    """Return a process that refers to an object: the driver if it does."""
    return next((client for client in state.clients.values() if record.id in client.holds), None)


def _holder_type(state: State, record: ObjectRecord) -> str | None:
    holder = _holder(state, record)
    return None if holder is None else "DRIVER" if holder.is_driver else "WORKER"


def _holder_pid(state: State, record: ObjectRecord) -> int | None:
    holder = _holder(state, record)
    if holder is None or holder.is_driver:
        return None if holder is None else holder.pid
    worker = state.workers.get(holder.id)
    return None if worker is None else worker.pid


_OBJECT: dict[str, Callable[[State, ObjectRecord], Any]] = {
    "object_id": lambda state, record: record.id.hex(),
    "object_size": lambda state, record: 0 if record.payload is None else record.payload.size,
    "task_status": _maker_state,
    "attempt_number": _attempt,
    "reference_type": _reference,
    "call_site": _call_site,
    "type": _holder_type,
    "pid": _holder_pid,
    "in_shared_memory": _shared,
    "holders": lambda state, record: record.holders,
}


# --- processes: the drivers, the workers that run, and those that ended, newest first -----------

_Process = ClientRecord | WorkerRecord | WorkerDigest


def _processes(state: State, one: bytes | None) -> Iterable[_Process]:
    found: list[_Process] = [client for client in state.clients.values() if client.is_driver]
    found += (worker for worker in state.workers.values() if worker.pid)  # Others are not processes yet.
    found += reversed(state.gone_workers.values())
    return found if one is None else [each for each in found if each.id == one[:_CLIENT_ID_SIZE]]


def _status(state: State, process: _Process) -> str:
    if isinstance(process, WorkerRecord):
        return process.state.value.upper()
    return "ALIVE" if _is_alive(state, process) else "DEAD"


def _is_alive(state: State, process: _Process) -> bool:
    if isinstance(process, WorkerRecord):
        return process.state is not WorkerState.DEAD
    return isinstance(process, ClientRecord) and process.connected


def _actor_of(state: State, process: _Process) -> str | None:
    if isinstance(process, WorkerDigest):
        return _hex(process.actor)
    actor = process.actor if isinstance(process, WorkerRecord) else None
    return None if actor is None else actor.id.hex()


def _exit_detail(state: State, process: _Process) -> str | None:
    if isinstance(process, WorkerDigest):
        return process.reason
    return (process.doomed or None) if isinstance(process, WorkerRecord) else None


_PROCESS: dict[str, Callable[[State, _Process], Any]] = {
    "worker_id": lambda state, process: _worker_id(process.id),
    "is_alive": _is_alive,
    "worker_type": lambda state, process: "DRIVER" if isinstance(process, ClientRecord) else "WORKER",
    "exit_type": lambda state, process: process.exit_type if isinstance(process, WorkerDigest) else None,
    "pid": lambda state, process: process.pid,
    "exit_detail": _exit_detail,
    "runtime_env": lambda state, process: (
        names.split_environment(process.env)[1] if isinstance(process, WorkerRecord) else ""
    ),
    "worker_launch_time_ms": lambda state, process: _milliseconds(getattr(process, "started", state.started)) or 0,
    "worker_launched_time_ms": lambda state, process: _milliseconds(getattr(process, "joined", state.started)) or 0,
    "start_time_ms": lambda state, process: _milliseconds(getattr(process, "started", state.started)) or 0,
    "end_time_ms": lambda state, process: _milliseconds(getattr(process, "ended", 0.0)) or 0,
    "status": _status,
    "actor_id": _actor_of,
}

TABLES: dict[str, tuple[Records, Mapping[str, Column]]] = {
    "tasks": (_tasks, _TASK),
    "actors": (_actors, _ACTOR),
    "objects": (_objects, _OBJECT),
    "workers": (_processes, _PROCESS),
}
"""Each table's records, and its columns."""
