"""The life of a task.

    WAITING -> READY -> (ASSIGNED ->) RUNNING <-> BLOCKED -> RESUMING -> RUNNING
    any of them -> FINISHED | FAILED | CANCELLED, and back to READY for another attempt

Rules. A transition is a function in `TABLE`, found by state and stimulus. A pair that is not there is an error that
carries the task's story, except for the last three states, whose tasks are gone and hear nothing. A task's return
values are sealed exactly once, when it ends; nothing but `_end` does that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_ray.events import TaskCancelled, TaskFailed, TaskFinished, TaskRetried
from jupyter_ray.local.protocol.messages import STREAMING, Done, Interrupt, Payload
from jupyter_ray.local.scheduler import (
    actors,
    blocking,
    errors,
    history,
    inheritance,
    lineage,
    memory,
    pauses,
    placement,
    streams,
    submission,
    unseen,
)
from jupyter_ray.local.scheduler.dependencies import seal, unpin
from jupyter_ray.local.scheduler.records import ActorRecord, TaskRecord
from jupyter_ray.local.scheduler.states import CRASHED, ENDED, TaskState, WorkerState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.local.scheduler.stimuli import WorkerLost
from jupyter_ray.local.scheduler.streams import returns

START_LIMIT = 10
"""After so many workers in a row that ended before they began, a task that waits for one fails."""

_USED_UP = "it has run as many tasks as it may (max_calls)"
_TORN = "a cancel came while it imported a module"

STORY = 40
"""So many of its last stimuli are told of a task that gets one which its state does not allow."""

WAITING, READY, ASSIGNED = TaskState.WAITING, TaskState.READY, TaskState.ASSIGNED
RUNNING, BLOCKED, RESUMING = TaskState.RUNNING, TaskState.BLOCKED, TaskState.RESUMING
FINISHED, FAILED, CANCELLED = ENDED


class InvalidTransition(Exception):
    """The runtime's own fault: a task got a stimulus that its state does not allow."""

    def __init__(self, task: TaskRecord, stimulus: str) -> None:
        super().__init__(f"{task!r} got {stimulus!r}. Its story: {' '.join(task.story)}")


def apply(step: Step, task: TaskRecord, stimulus: str, detail: Any) -> None:
    """Apply one stimulus to one task."""
    transition = TABLE.get((task.state, stimulus))
    if transition is not None:
        if len(task.story) >= STORY:
            task.story = task.story[-STORY // 2 :]
        task.story += (stimulus,)
        transition(step, task, detail)
    elif task.state not in ENDED:
        raise InvalidTransition(task, stimulus)
    elif stimulus in ("satisfied", "resumed"):  # A thread of the task outlived it.
        step.answers.append(detail)


def _ready(step: Step, task: TaskRecord, _: None) -> None:
    submission.ready(step, task)


def _argument_failed(step: Step, task: TaskRecord, payload: Payload) -> None:
    actor = task.actor
    if task.spec.kind == "method" and actor is not None and (actor.leaving or actor.death is not None):
        # Its own actor's death comes first, also where an argument failed for that.
        reason = actor.leaving or actor.death_reason
        _fail(step, task, actor.death or payload, f"The actor is dead because {reason}", "ACTOR_DIED")
        return
    _fail(step, task, payload, "an argument failed")


def _done(step: Step, task: TaskRecord, message: Done) -> None:
    spec = task.spec
    _learn(step, task, message.seconds)
    leaving = (_TORN if message.cancelled else _USED_UP) if message.exiting else ""
    failure = ""
    error, _, text = (message.error or "it raised an error").partition("\n")
    if message.crashed and task.worker is not None:
        leaving, failure = error, "WORKER_DIED"
        task.worker.exit_type = CRASHED
    if message.failed and message.retry and not task.cancel_asked and task.may_retry:
        streams.discard_values(step, message.returns)
        _retry(step, task, error, leaving=leaving, kind=failure, text=text)
        return
    if message.cancelled:
        payload = message.returns[0] if message.returns else _cancelled(step, task)
        kind = history.INTERRUPTED if message.seconds else ""
        _end(step, task, CANCELLED, payload, kind=kind, leaving=leaving, seconds=message.seconds)
    elif message.failed and message.exiting and spec.kind == "method":
        # It did what it was to do, and its actor with it: not a failure (as in Ray).
        _end(step, task, FINISHED, message.returns[-1], seconds=message.seconds)
    elif message.failed:
        seconds = message.seconds
        streams.seal_values(step, task, message.returns[:-1])
        _end(step, task, FAILED, message.returns[-1], error, kind=failure, leaving=leaving, seconds=seconds, text=text)
    else:
        streams.seal_values(step, task, message.returns)
        large = any([each.segment for each in message.returns])  # noqa: C419 - half of what a generator costs
        _end(step, task, FINISHED, None, leaving=leaving, seconds=message.seconds, large=large)


def _learn(step: Step, task: TaskRecord, seconds: float) -> None:
    if task.spec.kind == "task" and task.function is not None:
        task.function.learn(seconds)


def _retry(step: Step, task: TaskRecord, reason: str, *, leaving: str = "", kind: str = "", text: str = "") -> None:
    history.remember_attempt(step, task, text or reason, kind)
    blocking.detach(step.state, task)
    unseen.retried(step, task, reason)
    task.attempt += 1
    _again(step, task, reason)
    if task.spec.kind == "method" and task.actor is not None:
        actors.call_off(step, task.actor, task)
    else:
        inheritance.leave_worker(step, task, leaving=leaving)
    task.worker = None
    task.state = READY
    if task.spec.kind == "method":
        submission.queue(step, task, front=True)
    else:
        pauses.begin(step, task, task.attempt, long=kind == "OUT_OF_MEMORY")


def _again(step: Step, task: TaskRecord, reason: str) -> None:
    task.retry_reason = reason
    task.since = step.now
    step.events.append(TaskRetried(seq=step.number(), at=step.now, task=task.hex, attempt=task.attempt, reason=reason))


def _unread(step: Step, task: TaskRecord, reason: str) -> None:
    """The worker could not read an argument, and the task has not begun: it waits again.

    With a `reason` only that worker could not, and it counts as an attempt.
    """
    blocking.detach(step.state, task)
    if task.cancel_asked:
        _cancel_now(step, task, False)
    elif reason and not task.may_retry:
        _fail(step, task, errors.unreadable(task.spec.name, reason), reason, "OBJECT_LOST")
    elif reason:
        _retry(step, task, reason)
    else:
        _again(step, task, "an argument was lost")
        inheritance.leave_worker(step, task)
        task.worker = None
        task.state = WAITING
        failed = submission.await_arguments(step, task)
        if failed is not None:
            step.agenda.append((task, "argument_failed", failed))
        elif not task.missing:
            step.agenda.append((task, "arguments_ready", None))


def _fail(step: Step, task: TaskRecord, payload: Payload, error: str, kind: str = "") -> None:
    """Fail a task; `kind` is Ray's word for what did it, where it was not its own code."""
    _end(step, task, FAILED, payload, error, kind=kind)


def _end(
    step: Step,
    task: TaskRecord,
    final: TaskState,
    payload: Payload | None,
    error: str = "",
    *,
    kind: str = "",
    leaving: str = "",
    seconds: float | None = None,
    large: bool = False,
    text: str = "",
) -> None:
    """End a task; `payload` is the error that its return values become, None if they are sealed.

    `leaving`: why its process ends with it, if it does. `large`: a return value lives in a file. `text`: a traceback.
    """
    state, spec = step.state, task.spec
    if final is FAILED:
        unseen.failed(step, task, payload, kind)
    if spec.num_returns == STREAMING:
        streams.end_stream(step, task, payload)
    elif payload is not None:
        for object_id in returns(spec):
            seal(step, object_id, payload)
    if payload is not None and payload.segment and payload.segment not in state.segments:
        memory.discard(step, payload.segment)  # It makes nothing that could own it.
    if large or (payload is not None and payload.segment) or task.id in state.lineage:
        unpin(step, lineage.ended(step, task, returns(spec)))
    if state.recovering:
        state.recovering.discard(task.id)
    # Before what it frees is taken by the next one: the log must never show more held than there is.
    if final is FINISHED:
        step.events.append(TaskFinished(seq=step.number(), at=step.now, task=task.hex))
    elif final is FAILED:
        step.events.append(TaskFailed(seq=step.number(), at=step.now, task=task.hex, error=error))
    else:
        step.events.append(TaskCancelled(seq=step.number(), at=step.now, task=task.hex))
    if spec.kind == "method":
        if task.actor is not None:
            actors.call_ended(step, task.actor, task, seconds)
    elif spec.kind == "task":
        inheritance.leave_worker(step, task, leaving=leaving)
    if spec.segment and spec.kind != "actor" and spec.task not in state.lineage:
        memory.discard(step, spec.segment)
    submission.leave(step, task, final, text or error, kind)
    if spec.kind == "actor" and task.actor is not None:
        _constructed(step, task, task.actor, payload, error, exiting=bool(leaving))


def _constructed(
    step: Step, task: TaskRecord, actor: ActorRecord, payload: Payload | None, error: str, *, exiting: bool
) -> None:
    if task.worker is not None:
        task.worker.tasks.pop(task.id, None)
    if payload is None:
        actors.alive(step, actor)
        return
    worker = actor.worker
    failed = f"there was an exception in the initialization method, its constructor: {error}"
    reason = failed if error else "it was cancelled before it was made"
    if error and not actor.leaving:
        unseen.not_made(step, task, actor, payload)
    actors.died(step, actor, actor.leaving or reason, payload if error else None)
    if worker is not None and worker.state is not WorkerState.DEAD and not exiting:
        placement.stop_worker(step, worker, kill=True, reason=reason, exit_type="USER_ERROR" if error else "")


def _returned(step: Step, task: TaskRecord, _: None) -> None:
    """The worker gave the task back unbegun."""
    if task.worker is not None:
        task.worker.tasks.pop(task.id, None)
        task.worker.recalled = False
    task.worker = None
    task.state = READY
    submission.queue(step, task, front=True)


def _worker_lost_before(step: Step, task: TaskRecord, lost: WorkerLost) -> None:
    """The worker died before it began the task: nothing happened to it.

    Unless it was the one the worker was made for.
    """
    if task.allocation is not None:
        task.allocation.release()
        task.allocation = None
    if task.cancel_asked:
        _end(step, task, CANCELLED, _cancelled(step, task))
    elif step.state.unstarted >= START_LIMIT:
        _fail(step, task, errors.never_started(task.spec.name, lost.reason), lost.reason, "WORKER_DIED")
    else:
        _returned(step, task, None)


def _worker_lost(step: Step, task: TaskRecord, lost: WorkerLost) -> None:
    spec, reason, out_of_memory = task.spec, lost.reason, lost.out_of_memory
    task.spared += lost.spared and spec.max_retries != 0
    if task.cancel_asked:
        _end(step, task, CANCELLED, _cancelled(step, task))
    elif task.may_retry and not (out_of_memory and 0 <= step.state.memory_retries <= task.attempt):
        _retry(step, task, reason, kind="OUT_OF_MEMORY" if out_of_memory else "WORKER_DIED")
    elif out_of_memory:
        _fail(step, task, errors.out_of_memory(spec.name, reason), reason, "OUT_OF_MEMORY")
    else:
        _fail(step, task, errors.crashed(spec.name, reason, task.attempt + 1), reason, "WORKER_DIED")


def _actor_died(step: Step, task: TaskRecord, payload: Payload) -> None:
    reason = task.actor.death_reason if task.actor is not None else ""
    if task.cancel_asked:
        _end(step, task, CANCELLED, _cancelled(step, task))
    elif task.spec.kind == "actor":
        inheritance.leave_worker(step, task)
        submission.leave(step, task, FAILED, reason, "ACTOR_DIED")
        step.events.append(TaskFailed(seq=step.number(), at=step.now, task=task.hex, error=reason))
    else:
        kind = "ACTOR_DIED" if task.client.connected else "WORKER_DIED"
        _fail(step, task, payload, f"The actor is dead because {reason}", kind)


def _actor_lost(step: Step, task: TaskRecord, payload: Payload) -> None:
    """The actor is being restarted, and the call was with it, or about to be."""
    if task.cancel_asked:
        _cancel_now(step, task, False)
        return
    if task.state is READY:
        if not task.spec.max_retries:
            _fail(step, task, payload, "the actor was lost", "ACTOR_UNAVAILABLE")
        return
    begun = task.state is not ASSIGNED
    if not (task.may_retry if begun else task.spec.max_retries):
        _fail(step, task, payload, "the actor was lost", "ACTOR_UNAVAILABLE")
        return
    task.worker = None
    if begun:
        history.remember_attempt(step, task, "the actor was lost", "ACTOR_UNAVAILABLE")
        task.attempt += 1
        _again(step, task, "the actor was lost")
    task.state = READY
    submission.queue(step, task, front=True)


def _restarting(step: Step, task: TaskRecord, payload: Payload) -> None:
    """The call was made while the actor was being restarted, and may not be tried again."""
    _fail(step, task, payload, "the actor is being restarted", "ACTOR_UNAVAILABLE")


def lose_group(step: Step, task: TaskRecord, payload: Payload) -> None:
    """End a task whose placement group is being removed, at once, with its process if it has one."""
    if task.worker is not None:
        placement.stop_worker(step, task.worker, kill=True, reason="the placement group of its task was removed")
    _fail(step, task, payload, "its placement group was removed", "TASK_PLACEMENT_GROUP_REMOVED")


def cancel(step: Step, task: TaskRecord, *, force: bool, recursive: bool) -> None:
    """Cancel a task, and its children first: they might finish it otherwise."""
    task.cancel_asked = True
    task.force_asked = task.force_asked or force
    task.reaching = task.reaching or recursive
    if recursive:
        for child in list(task.children or ()):
            record = step.state.tasks.get(child)
            if record is not None and record.spec.kind != "actor":
                cancel(step, record, force=force and record.spec.kind == "task", recursive=True)
    step.agenda.append((task, "cancelled", force))


def _cancelled(step: Step, task: TaskRecord) -> Payload:
    """Return the result of a cancelled task, which says so where nobody has asked for that."""
    job = step.state.jobs.get(task.client.job)
    reason = errors.JOB_ENDED if job is not None and job.ended else ""
    return errors.cancelled(task.id, task.spec.name, reason)


def _cancel_now(step: Step, task: TaskRecord, force: bool) -> None:
    _end(step, task, CANCELLED, _cancelled(step, task))


def _cancel_assigned(step: Step, task: TaskRecord, force: bool) -> None:
    worker = task.worker
    if worker is not None and worker.state is WorkerState.STARTING:
        placement.worker_gone(step, worker)
        _end(step, task, CANCELLED, _cancelled(step, task))
    elif worker is not None and (client := step.state.clients.get(worker.id)) is not None:
        step.send(client, Interrupt(task.id))  # Else it is ended before it began, and its task with it.


def _cancel_running(step: Step, task: TaskRecord, force: bool) -> None:
    worker = task.worker
    if worker is None:
        return
    if force and task.spec.kind == "task":
        reason = "its task was cancelled by force (ray.cancel)"
        placement.stop_worker(step, worker, kill=True, reason=reason, exit_type="INTENDED_USER_EXIT")
    else:
        step.send(step.state.clients[worker.id], Interrupt(task.id))


Transition = Callable[[Step, TaskRecord, Any], None]
_STARTED = (RUNNING, BLOCKED, RESUMING)
TABLE: dict[tuple[TaskState, str], Transition] = {
    (WAITING, "arguments_ready"): _ready,
    (WAITING, "argument_failed"): _argument_failed,
    (READY, "argument_failed"): _argument_failed,
    (WAITING, "restarting"): _restarting,
    (WAITING, "cancelled"): _cancel_now,
    (READY, "cancelled"): _cancel_now,
    (ASSIGNED, "cancelled"): _cancel_assigned,
    (ASSIGNED, "returned"): _returned,
    (ASSIGNED, "worker_lost"): _worker_lost_before,
    (ASSIGNED, "done"): _done,
    (RUNNING, "blocked"): blocking.blocked,
    (BLOCKED, "blocked"): blocking.blocked_again,
    (RESUMING, "blocked"): blocking.blocked_again,
    **{(state, "paused"): blocking.paused for state in _STARTED},
    (RUNNING, "satisfied"): blocking.resumed,
    (BLOCKED, "satisfied"): blocking.satisfied,
    (RESUMING, "satisfied"): blocking.satisfied,
    **{(state, "resumed"): blocking.resumed for state in _STARTED},
    **{(state, "abandoned"): blocking.abandoned for state in _STARTED},
    **{(state, "done"): _done for state in _STARTED},
    **{(state, "cancelled"): _cancel_running for state in _STARTED},
    **{(state, "worker_lost"): _worker_lost for state in _STARTED},
    **{(state, "unread"): _unread for state in (ASSIGNED, *_STARTED)},
    **{(state, "actor_lost"): _actor_lost for state in (READY, ASSIGNED, *_STARTED)},
    **{(state, "actor_died"): _actor_died for state in (WAITING, READY, ASSIGNED, *_STARTED)},
}
