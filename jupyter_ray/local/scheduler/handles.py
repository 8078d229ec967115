"""Who the events say holds a handle of an actor: drivers, tasks, other actors, and objects that contain one.

What keeps an actor alive is a number (`ActorRecord.holders`); this is for people, who want to know whose it is.
"""

from __future__ import annotations

from jupyter_ray.events import HandleDropped, HandlePassed, HolderKind
from jupyter_ray.local.scheduler.records import ActorRecord, ClientRecord, TaskRecord
from jupyter_ray.local.scheduler.step import Step


def show(step: Step, actor: ActorRecord, client: ClientRecord, task: TaskRecord | None) -> None:
    """A process has got a handle; `task` is the one that it got it for."""
    kind: HolderKind
    worker = step.state.workers.get(client.id)
    if client.is_driver or worker is None:
        guest = step.state.guest(client.job)
        holder, kind, label = "driver", "driver", "notebook"
        if guest:
            holder, label = f"driver-{guest}", f"driver {guest}"
    elif worker.actor is not None:
        holder, kind, label = worker.actor.id.hex(), "actor", worker.actor.label
    elif task is not None:
        holder, kind, label = task.hex, "task", task.spec.name
    else:
        running = next(iter(worker.tasks.values()), None)
        if running is None:
            return
        holder, kind, label = running.hex, "task", running.spec.name
    if holder not in actor.shown:
        actor.shown[holder] = (client.id, kind)
        _passed(step, actor, holder, kind, label)


def hide(step: Step, actor: ActorRecord, client: bytes) -> None:
    """A process holds no handle any more."""
    for holder in [holder for holder, (owner, _) in actor.shown.items() if owner == client]:
        del actor.shown[holder]
        _dropped(step, actor, holder)


def show_object(step: Step, actor: ActorRecord, object_id: str) -> None:
    """An object contains a handle."""
    if object_id not in actor.shown:
        actor.shown[object_id] = (None, "object")
        _passed(step, actor, object_id, "object", f"object {object_id[:8]}")


def hide_object(step: Step, actor: ActorRecord, object_id: str) -> None:
    """An object that contained a handle is gone."""
    if actor.shown.pop(object_id, None) is not None:
        _dropped(step, actor, object_id)


def _passed(step: Step, actor: ActorRecord, holder: str, kind: HolderKind, label: str) -> None:
    step.events.append(
        HandlePassed(seq=step.number(), at=step.now, actor=actor.id.hex(), holder=holder, holder_kind=kind, label=label)
    )


def _dropped(step: Step, actor: ActorRecord, holder: str) -> None:
    step.events.append(HandleDropped(seq=step.number(), at=step.now, actor=actor.id.hex(), holder=holder))
