"""The errors that the scheduler itself stores as a task's result."""

from __future__ import annotations

import pickle

from jupyter_ray.exceptions import (
    ActorDiedError,
    ActorPlacementGroupRemoved,
    ActorUnavailableError,
    ActorUnschedulableError,
    ObjectLostError,
    ObjectReconstructionFailedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    ResourceDeadlockError,
    TaskCancelledError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
    UnknownObjectError,
    WorkerCrashedError,
    is_cancel,
)
from jupyter_ray.ids import NIL_OBJECT, TaskID
from jupyter_ray.local.protocol.messages import FAILED_ARGUMENT, RAISED, Payload, TaskSpec
from jupyter_ray.local.scheduler.records import ActorRecord, TaskRecord
from jupyter_ray.resources import Demand, describe


def stored(error: RayError) -> Payload:
    """Return `error` as a value that raises."""
    data = pickle.dumps(error, protocol=5)
    return Payload(data=data, size=len(data), is_error=True, is_cancel=is_cancel(error))


def is_raised(payload: Payload) -> bool:
    """Tell whether `payload` is what a program raised, not a failure of the system or a cancel."""
    if payload.segment:  # An error of the system is short.
        return True
    return RAISED.encode() in payload.data[:32] and not payload.is_cancel


def text_of(payload: Payload) -> str:
    """Return the text of what a task raised, or of an error of the system; empty if it is not in the payload itself."""
    if payload.segment:
        return ""
    try:
        loaded = pickle.loads(payload.data)
    except Exception:  # Of a class that this process does not know, or nonsense of a worker.
        return ""
    if isinstance(loaded, BaseException):
        found = f"{type(loaded).__name__}: {loaded}"
    else:
        _, function, text, _, pid, actor = loaded
        where = f"pid={pid}, actor_id={actor}" if actor else f"pid={pid}"
        found = f"ray::{function}() ({where})\n{text.rstrip()}"
    return found.encode(errors="replace").decode()  # It may hold what is no text, such as a file's name.


_LONG = 10_000
"""Characters of a chain of failed arguments past which its text grows no more."""


JOB_ENDED = "its job has ended: the driver that had joined the runtime is gone"


def of_argument(task: TaskRecord, payload: Payload) -> Payload:
    """Return the result of a task that was to get what `payload` raises.

    It is a `RayTaskError` of the task's own with the same cause, whether a program raised that or the system (as in
    Ray). An actor without its argument is a dead one.
    """
    if task.spec.kind == "actor" and task.actor is not None:
        return _bad_argument(task.actor, payload)
    if payload.segment:
        return payload
    try:
        loaded = pickle.loads(payload.data)
    except Exception:  # Of a class that this process does not know.
        return payload
    if isinstance(loaded, RayTaskError) or not isinstance(loaded, tuple | RayError):
        return payload
    if isinstance(loaded, RayError):
        return stored(RayTaskError(task.spec.name, _argument_text(loaded), loaded, pid=0))
    marker, _, text, cause, pid, _ = loaded
    if len(text) > _LONG:
        return payload
    actor = None if task.actor is None else task.actor.id.hex()
    data = pickle.dumps((marker, task.spec.name, _argument_text(loaded), cause, pid, actor), protocol=5)
    return Payload(data=data, size=len(data), is_error=True, contained=payload.contained, is_cancel=payload.is_cancel)


def _argument_text(loaded: object) -> str:
    """Return the traceback of a task that was to get the unpickled payload `loaded`: its last word is what failed."""
    if isinstance(loaded, tuple):
        _, function, text, _, pid, actor = loaded
        loaded = RayTaskError(function, text, None, pid=pid, actor=actor)
        kind = f"{RayTaskError.__module__}.{RayTaskError.__name__}"
    else:
        kind = type(loaded).__name__
    return f"Traceback (most recent call last):\n  {FAILED_ARGUMENT}\n{kind}: {loaded}"


def cancelled(task: bytes, name: str, reason: str = "") -> Payload:
    """Return the result of a task that was cancelled; a reason, where nobody has asked for that."""
    text = f"The task {name} ({task.hex()}) was cancelled{reason and ': '}{reason}."
    return stored(TaskCancelledError(TaskID(task), text).saying(text))


def crashed(name: str, reason: str, attempts: int) -> Payload:
    """Return the result of a task whose worker died."""
    return stored(WorkerCrashedError.because(name, reason, attempts))


def never_started(name: str, reason: str) -> Payload:
    """Return the result of a task for which no worker process begins."""
    anew = "Call shutdown() and init() to begin anew."
    text = f"No worker process could be started for {name}; the last attempt: {reason}. {anew}"
    return stored(WorkerCrashedError(text))


def out_of_memory(name: str, reason: str) -> Payload:
    """Return the result of a task, or of an actor's calls, that was ended because memory ran out."""
    return stored(OutOfMemoryError(f"{name} was ended: {reason}."))


def lost(object_id: bytes) -> Payload:
    """Return the value of an object that nobody knows."""
    message = (
        f"The object {object_id.hex()} does not exist in this session: it was freed, or its reference was made by "
    )
    message += "hand or belongs to an earlier session. Make it again."
    if object_id == NIL_OBJECT:
        message = "A reference that is nil refers to nothing: it has no value."
    return stored(UnknownObjectError(object_id.hex(), message=message))


_MADE_BY = {
    "": "It was made by put(), and only results of tasks are computed again. Put it again",
    "error": "It was the error that {name} had raised. Call {name} again",
    "stream": "It was an item of the streaming task {name}, and streams are not run again. Call {name} again",
    "once": "{name}, which made it, has max_retries=0: it is not run again. Call it again, or give it max_retries",
    "method": "{name}, which made it, is a method, and methods are run again only with max_task_retries. Call it again",
    "evicted": "{name} made it, and how to run that again was forgotten, since only so much is kept. Call it again",
}
_CAREFUL = "Nothing but the runtime may remove files of a session from shared memory or the temporary folder."


def lost_for_good(object_id: bytes, reason: str, name: str, fate: str) -> Payload:
    """Return the value of an object whose bytes were lost and that nobody computes again."""
    kind = ObjectReconstructionFailedError if fate in ("stream", "evicted") else ObjectLostError
    made_by = _MADE_BY[fate].format(name=name or "a task")
    message = f"The value of the object {object_id.hex()} was lost: {reason}. {made_by}. {_CAREFUL}"
    return stored(kind(object_id.hex(), message=message))


def not_recomputed(object_id: bytes, reason: str, name: str, obstacle: str) -> Payload:
    """Return the value of an object whose bytes were lost and whose task cannot run again."""
    return stored(
        ObjectReconstructionFailedError(
            object_id.hex(),
            message=f"The value of the object {object_id.hex()}, a result of {name}, was lost: {reason}. It cannot be "
            f"computed again: {obstacle}. Call {name} again. {_CAREFUL}",
        )
    )


def unreadable(name: str, reason: str) -> Payload:
    """Return the result of a task whose workers cannot read an argument that the runtime finds intact."""
    return stored(
        ObjectLostError(
            message=f"{name} could not begin: its worker could not read an argument, although the value is there: "
            f"{reason}."
        )
    )


def actor_died(actor: ActorRecord, reason: str, *, init_failed: bool = False) -> Payload:
    """Return the result of a call of a dead actor."""
    spec = actor.spec
    pid = actor.last_pid if actor.worker is None else actor.worker.pid
    label = spec.qualname or spec.class_name
    told = {"class_name": label, "pid": pid, "name": spec.name, "namespace": spec.namespace}
    if not pid:
        reason = f"{reason}. The actor never ran"
    return stored(ActorDiedError.because(reason, actor.id.hex(), init_failed=init_failed, **told))


def actor_gone(actor: bytes, label: str, reason: str) -> Payload:
    """Return the result of a call of an actor of which little is known any more."""
    return stored(ActorDiedError.because(reason, actor.hex(), class_name=label))


def actor_unknown(call: TaskSpec, reason: str) -> Payload:
    """Return the result of a call of an actor that is not known; its class, if anything, is in the call's name."""
    return actor_gone(call.actor or b"", call.name.rpartition(".")[0], reason)


def _bad_argument(actor: ActorRecord, payload: Payload) -> Payload:
    """Return the result of the calls of an actor whose constructor was to get what `payload` raises."""
    try:
        loaded = None if payload.segment else pickle.loads(payload.data)
    except Exception:  # Of a class that this process does not know.
        loaded = None
    if loaded is None:
        return actor_died(actor, "an argument of its constructor failed", init_failed=True)
    pid = loaded[4] if isinstance(loaded, tuple) else 0
    raised = RayTaskError(f"{actor.spec.class_name}.__init__", _argument_text(loaded), None, pid=pid)
    return stored(ActorDiedError(raised, actor.id.hex()))


def actor_unavailable(actor: bytes, label: str, reason: str) -> Payload:
    """Return the result of a call that was lost when the actor had to be restarted."""
    reason = f"it was lost while it worked on this call (RpcError), {reason}"
    return stored(
        ActorUnavailableError(reason, actor).saying(
            f"The actor {label} ({actor.hex()}) is unavailable: {reason}. The task may or may not have been executed "
            "on the actor. It is being restarted; call again, or set max_task_retries."
        )
    )


def actor_restarting(actor: bytes, label: str) -> Payload:
    """Return the result of a call that was made while the actor was being restarted."""
    return stored(
        ActorUnavailableError("The actor is restarting", actor).saying(
            f"The actor {label} ({actor.hex()}) is unavailable. The actor is restarting: call again in a moment, "
            "or set max_task_retries, and the call waits."
        )
    )


class RunningTaskPlacementGroupRemoved(TaskPlacementGroupRemoved, WorkerCrashedError):
    """The group was removed, and the process that ran the task was ended with it: a crash, as in Ray."""


def group_removed(name: str, group: str, *, is_actor: bool, runs: bool = False) -> Payload:
    """Return the result of a task or actor whose placement group is gone."""
    task = RunningTaskPlacementGroupRemoved if runs else TaskPlacementGroupRemoved
    kind = ActorPlacementGroupRemoved if is_actor else task
    return stored(kind(f"The placement group {group} of {name} was removed."))


def unschedulable(name: str, demand: Demand, total: Demand, *, is_actor: bool) -> Payload:
    """Return the result of a task or actor whose demand can never be met."""
    kind = ActorUnschedulableError if is_actor else TaskUnschedulableError
    return stored(
        kind(
            f"{name} asks for {describe(demand)}, and this machine has {describe(total)} in all: it could never start. "
            "Ask for less, or declare more in init()."
        )
    )


def deadlock(story: str) -> Payload:
    """Return the result of a `get` that would never end."""
    return stored(ResourceDeadlockError(story))
