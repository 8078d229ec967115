"""Errors that nobody has looked at: told on the driver's stderr when the last reference to them goes, as in Ray.

So are, at once, those of attempts that are followed by another one.

An error counts as seen when a `get` returns it, or had asked for it when it returned that of another task, and when a
task gets it for an argument: of a thousand calls that fail alike, one is told. What a constructor raised is told
at once if no call is there to bring it home.
"""

from __future__ import annotations

from jupyter_ray.events import UNHANDLED, LogLines
from jupyter_ray.ids import return_id, task_of
from jupyter_ray.local.protocol.messages import Payload
from jupyter_ray.local.scheduler import errors
from jupyter_ray.local.scheduler.records import ActorRecord, TaskRecord, UnseenError
from jupyter_ray.local.scheduler.states import TaskState
from jupyter_ray.local.scheduler.step import Step

_BEGUN = (TaskState.RUNNING, TaskState.BLOCKED, TaskState.RESUMING)


_TOLD = ("", "WORKER_DIED", "OUT_OF_MEMORY")
"""What ended a task: its code or an argument, its process, the guard of the memory."""


def failed(step: Step, task: TaskRecord, payload: Payload | None, kind: str) -> None:
    """Note that a task is about to leave `payload` behind, if that is to be told; `kind` is what ended it.

    Of the calls that an actor's process took with it, one is told.
    """
    spec, state, actor = task.spec, step.state, task.actor
    if payload is None or spec.num_returns == 0 or not state.tells_unseen or payload.is_cancel:
        return
    first = state.objects.get(return_id(task.id, 1))
    if first is not None and first.asked:
        return
    lost = actor if kind else None
    if not (kind in _TOLD if lost is None else lost.untold and task.state in _BEGUN):
        return
    label = spec.name if actor is None else actor.spec.class_name
    pid = 0 if task.worker is None else task.worker.pid
    noted = UnseenError(payload, label, pid, spec.cell, max(spec.num_returns, 1), task.client.job, lost)
    state.unseen[task.id] = noted


def seen(step: Step, object_id: bytes) -> None:
    """Somebody got the error."""
    noted = step.state.unseen.pop(task_of(object_id), None)
    if noted is not None and noted.lost is not None:
        noted.lost.untold = False


def dropped(step: Step, object_id: bytes) -> None:
    """An object was freed: tell its error, if that was the last way to it."""
    task = task_of(object_id)
    noted = step.state.unseen.get(task)
    if noted is None or any(return_id(task, index) in step.state.objects for index in range(1, noted.returns + 1)):
        return
    del step.state.unseen[task]
    if noted.lost is None:
        _tell(step, task, noted)
    elif noted.lost.untold:
        noted.lost.untold = False
        _tell(step, task, noted)


def not_made(step: Step, task: TaskRecord, actor: ActorRecord, payload: Payload) -> None:
    """A constructor raised `payload`: whoever waits for a call gets that; if nobody does, tell it."""
    if step.state.tells_unseen and not actor.calls:
        pid = 0 if actor.worker is None else actor.worker.pid
        _tell(step, task.id, UnseenError(payload, actor.spec.class_name, pid, task.spec.cell, 0, task.client.job))


def retried(step: Step, task: TaskRecord, reason: str) -> None:
    """Tell that an attempt of a task has failed, and that there will be another: nobody gets this error."""
    most = task.spec.max_retries
    left = "infinite" if most < 0 else max(most - task.attempt + task.spared, 0)
    text = f"Task {task.spec.name} failed. There are {left} retries remaining, so the task will be retried: {reason}"
    label = task.spec.name if task.actor is None else task.actor.spec.class_name
    pid = 0 if task.worker is None else task.worker.pid
    _say(step, task.id, text, name=label, pid=pid, cell=task.spec.cell, job=task.client.job)


def _tell(step: Step, task: bytes, noted: UnseenError) -> None:
    text = errors.text_of(noted.payload) or f"{noted.label} failed; its error is too long to be shown here"
    _say(step, task, f"{UNHANDLED}{text}", name=noted.label, pid=noted.pid, cell=noted.cell, job=noted.job)


def _say(step: Step, task: bytes, text: str, *, name: str, pid: int, cell: str | None, job: bytes) -> None:
    step.events.append(
        LogLines(
            seq=step.number(),
            at=step.now,
            stream="stderr",
            text=f"{text}\n",
            name=name,
            pid=pid,
            task=task.hex(),
            cell=cell,
            job=step.state.guest(job),
        )
    )
