"""Errors that nobody has looked at: told on the driver's stderr when the last reference to them goes, as in Ray.

An error counts as seen when a `get` returns it or a task gets it for an argument. What a constructor raised is told
at once if no call is there to bring it home.
"""

from __future__ import annotations

from jupyter_ray.events import LogLines
from jupyter_ray.ids import return_id, task_of
from jupyter_ray.local.protocol.messages import Payload
from jupyter_ray.local.scheduler import errors
from jupyter_ray.local.scheduler.records import ActorRecord, TaskRecord, UnseenError
from jupyter_ray.local.scheduler.step import Step


def failed(step: Step, task: TaskRecord, payload: Payload | None) -> None:
    """Note that a task is about to leave `payload` behind; what a program raised is told, and that its process died."""
    spec, state = task.spec, step.state
    if payload is None or spec.num_returns == 0 or not state.tells_unseen:
        return
    if not errors.is_raised(payload) and (task.cancel_asked or not errors.is_crash(payload)):
        return
    label = spec.name if task.actor is None else task.actor.spec.class_name
    pid = 0 if task.worker is None else task.worker.pid
    state.unseen[task.id] = UnseenError(payload, label, pid, spec.cell, max(spec.num_returns, 1))


def seen(step: Step, object_id: bytes) -> None:
    """Somebody got the error."""
    step.state.unseen.pop(task_of(object_id), None)


def dropped(step: Step, object_id: bytes) -> None:
    """An object was freed: tell its error, if that was the last way to it."""
    task = task_of(object_id)
    noted = step.state.unseen.get(task)
    if noted is None or any(return_id(task, index) in step.state.objects for index in range(1, noted.returns + 1)):
        return
    del step.state.unseen[task]
    _tell(step, task, noted)


def not_made(step: Step, task: TaskRecord, actor: ActorRecord, payload: Payload) -> None:
    """A constructor raised `payload`: whoever waits for a call gets that; if nobody does, tell it."""
    if step.state.tells_unseen and not actor.calls:
        pid = 0 if actor.worker is None else actor.worker.pid
        _tell(step, task.id, UnseenError(payload, actor.spec.class_name, pid, task.spec.cell, 0))


def _tell(step: Step, task: bytes, noted: UnseenError) -> None:
    text = errors.text_of(noted.payload) or f"{noted.label} failed; its error is too long to be told here"
    step.events.append(
        LogLines(
            seq=step.number(),
            at=step.now,
            stream="stderr",
            text=f"Unhandled error (suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1'): {text}\n",
            name=noted.label,
            pid=noted.pid,
            task=task.hex(),
            cell=noted.cell,
        )
    )
