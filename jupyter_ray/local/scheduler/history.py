"""What is remembered of tasks, actors and workers that have ended, for those who ask afterwards."""

from __future__ import annotations

import sys
from collections import deque

import msgspec

from jupyter_ray.local.scheduler.digests import ActorDigest, TaskDigest, WorkerDigest
from jupyter_ray.local.scheduler.records import ActorRecord, TaskRecord, WorkerRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import CRASHED, ActorState, TaskState
from jupyter_ray.local.scheduler.step import Step

FINISHED = TaskState.FINISHED
KEPT = 10_000
"""So many ended tasks, failed attempts and dead actors are remembered; the oldest go first."""

ATTEMPTS_KEPT = 100
"""Of a task that is tried again without end, its last attempts."""

WORKERS_KEPT = 1_000

INTERRUPTED = "INTERRUPTED"
"""A task that was cancelled while it ran, and ended by that: it counts as finished (as in Ray's tables)."""


def remember(step: Step, task: TaskRecord, error: str, kind: str) -> None:
    """Note a task that has come into its last state.

    Parameters
    ----------
    error
        One line, if it failed, or its traceback.
    kind
        Ray's word for what ended it; empty: its code ran to an end, or an argument was an error.
    """
    told = digest(task, step.now, error, _error_type(task, kind))
    if kind == INTERRUPTED:
        told = msgspec.structs.replace(told, state=FINISHED, error="")
    step.state.history.add(told, KEPT)


def remember_attempt(step: Step, task: TaskRecord, error: str, kind: str) -> None:
    """Note an attempt that failed, of a task that is tried again; as `remember`."""
    state, kept = step.state, step.state.attempts
    failed = digest(task, step.now, error, kind or "TASK_EXECUTION_EXCEPTION")
    if task.id not in kept:
        kept[task.id] = deque(maxlen=ATTEMPTS_KEPT)
    state.attempts_kept += len(kept[task.id]) < ATTEMPTS_KEPT
    kept[task.id].append(msgspec.structs.replace(failed, state=TaskState.FAILED))
    while state.attempts_kept > KEPT:
        state.attempts_kept -= len(kept.popitem(last=False)[1])


def digest(task: TaskRecord, ended: float = 0.0, error: str = "", error_type: str = "") -> TaskDigest:
    """Return what is told of a task."""
    spec, worker = task.spec, task.worker
    return TaskDigest(
        spec.task,
        spec.kind,
        spec.name,
        spec.definition if spec.kind == "method" else "" if task.function is None else task.function.name,
        spec.actor,
        spec.parent,
        spec.demand,
        spec.site,
        spec.group,
        task.attempt,
        task.made,
        task.begun,
        ended,
        task.state,
        None if worker is None else worker.id,
        0 if worker is None else worker.pid,
        error,
        error_type,
        spec.listed,
        sys.intern(spec.env),
        spec.labels,
    )


def remember_actor(step: Step, actor: ActorRecord) -> None:
    """Note an actor that is dead and that nobody can ask any more."""
    kept = step.state.gone_actors
    kept[actor.id] = actor_digest(step.state, actor)
    if len(kept) > KEPT:
        kept.popitem(last=False)


def actor_digest(state: State, actor: ActorRecord) -> ActorDigest:
    """Return what is told of an actor."""
    spec, worker = actor.spec, actor.worker
    creation = state.tasks.get(spec.creation.task)
    return ActorDigest(
        spec.actor,
        spec.qualname or spec.class_name,
        spec.name,
        spec.namespace,
        ActorState.RESTARTING if actor.restarts and actor.state is ActorState.STARTING else actor.state,
        creation is not None and creation.state is TaskState.WAITING,
        spec.creation.demand,
        spec.detached,
        spec.creation.group,
        spec.creation.site,
        actor.restarts,
        worker is not None or actor.lived,
        actor.last_pid if worker is None else worker.pid,
        actor.queued,
        actor.death_reason,
        actor.repr_name,
        sys.intern(spec.creation.env),
        spec.creation.labels,
        spec.creation.task,
    )


def remember_worker(step: Step, worker: WorkerRecord, reason: str, *, out_of_memory: bool) -> None:
    """Note a process that has ended."""
    kept = step.state.gone_workers
    actor = worker.actor
    if worker.exit_type:
        kind = worker.exit_type
    elif worker.doomed:
        kind = "INTENDED_SYSTEM_EXIT"
    elif actor is not None and actor.leaving:
        kind, reason = "INTENDED_USER_EXIT", actor.leaving
    else:
        kind = "NODE_OUT_OF_MEMORY" if out_of_memory else CRASHED
    kept[worker.id] = WorkerDigest(
        worker.id,
        worker.pid,
        None if actor is None else actor.id,
        kind,
        reason,
        worker.started,
        worker.joined,
        step.now,
    )
    if len(kept) > WORKERS_KEPT:
        kept.popitem(last=False)


def _error_type(task: TaskRecord, kind: str) -> str:
    """Return Ray's word for why a task failed; empty if it did not."""
    if task.state is FINISHED or kind == INTERRUPTED:
        return ""
    if task.state is TaskState.CANCELLED:
        return "TASK_CANCELLED"
    return kind or "TASK_EXECUTION_EXCEPTION"  # An argument that is an error counts as the task's own, as in Ray.
