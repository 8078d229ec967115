"""How the events of tasks change the model. `reducer` says what the rules are."""

from __future__ import annotations

from typing import Any

from jupyter_ray import events as ev
from jupyter_ray.ids import task_of_text
from jupyter_ray.monitor.model import Model
from jupyter_ray.monitor.records import ENDED, OTHER, STARTED, Group, Task, TaskState


def task_submitted(model: Model, event: ev.TaskSubmitted) -> None:
    """Make the task's record, put it into its group, and remember which objects it will make."""
    task_id, name, kind, parent_id, at = event.task, event.name, event.kind, event.parent, event.at
    if task_id in model.tasks:
        return
    parent_group: Group | None = None
    if parent_id is not None:
        parent = model.tasks.get(parent_id)
        if parent is not None:
            parent.children += 1
            parent_group = parent.group
            parent_id = parent.id
    group = _group_of(model, event, parent_group, at)
    actor_id, owner = event.actor, None
    if actor_id is not None:
        if kind == "method":
            owner = model.actors.get(actor_id)
            if owner is not None:
                owner.queue += 1
                model.dirty.actors[actor_id] = owner
        _note_actor(group, actor_id)
    deps = None
    if event.dependencies:
        # What the parent itself made is there already: that is no edge of the DAG.
        deps = model.producers_of(event.dependencies, but=parent_id)
        _link_groups(model, group, event.dependencies)
    # Equal strings of a million events become one string each: the group's, the parent's, the actor's.
    task = Task(
        id=task_id,
        name=group.name if group.name == name else name,
        kind=group.kind if group.kind == kind else kind,
        state="waiting" if event.dependencies else "pending",
        group=group,
        parent=parent_id,
        actor=owner.id if owner is not None else actor_id,
        cell=group.cell if group.cell == event.cell else event.cell,
        demand=group.demand,
        submitted=at,
        owner=owner,
        deps=deps,
    )
    group.counts[task.state] += 1
    group.last = at
    model.dirty.groups[group.id] = group
    made = (task_id, group)
    for key_of_object in event.returns:
        model.producers[key_of_object] = made
    if len(model.producers) > model.limits.objects:
        model.trim_objects()
    model.admit(task)


def _group_of(model: Model, event: ev.TaskSubmitted | ev.TasksRan, parent: Group | None, at: float) -> Group:
    """Return the group of calls that were made at the same place."""
    key = (event.site, event.name, event.kind, parent.id if parent is not None else None)
    group = model.group_index.get(key)
    if group is None:
        group = model.new_group(
            site=event.site, name=event.name, kind=event.kind, cell=event.cell, parent=parent, at=at
        )
    if event.demand != group.demand:
        group.demand = event.demand
    return group


def tasks_ran(model: Model, event: ev.TasksRan) -> None:
    """Calls have come and gone: their group counts them, as it does those whose rows were folded."""
    parent = model.tasks.get(event.parent) if event.parent is not None else None
    group = _group_of(model, event, parent.group if parent is not None else None, event.since)
    group.counts["finished"] += event.count
    group.folded += event.count
    group.last = event.at
    model.runtime.dropped += event.count
    model.dirty.runtime = True
    model.dirty.groups[group.id] = group
    if event.actor is not None:
        owner = model.actors.get(event.actor)
        if owner is not None:
            owner.finished += event.count
            model.touch(owner)
        _note_actor(group, event.actor)
    for key in event.returns:
        model.producers[key] = (task_of_text(key), group)
    if len(model.producers) > model.limits.objects:
        model.trim_objects()


def _note_actor(group: Group, actor_id: str) -> None:
    """A group names its actor as long as it has only one."""
    if group.actor != actor_id:
        group.actor = actor_id if not any(group.counts.values()) else None


def _link_groups(model: Model, group: Group, objects: list[str]) -> None:
    for key in objects[: model.limits.links]:
        made = model.producers.get(key)
        if made is not None and made[1] is not group:
            source = made[1].id if made[1].id in model.groups else OTHER
            if source != group.id and source not in group.deps:
                group.deps[source] = None


def task_queued(model: Model, event: ev.TaskQueued) -> None:
    """The task has its arguments."""
    task = model.tasks.get(event.task)
    if task is not None and task.state == "waiting":
        _move(model, task, "pending", event.at)


def task_started(model: Model, event: ev.TaskStarted) -> None:
    """The task is on a worker and holds resources; it has a row from now on."""
    task = model.tasks.get(event.task)
    if task is None:
        task = _unknown_task(model, event)
    elif task.state in STARTED or task.state in ENDED:
        _reopen(model, task)
    owner = task.owner
    if owner is not None:
        owner.queue -= 1
        owner.running += 1
        model.touch(owner)
    _move(model, task, "running", event.at)
    task.worker = event.worker
    task.started = event.at
    task.ended = None
    task.attempt = event.attempt
    if event.held:
        task.granted = event.held
        model.dirty.resources = True
    if event.gpus:
        task.gpus = event.gpus
    model.holding[task.id] = task
    if not task.shown:
        model.show(task)
    if task.kind == "actor":
        actor = model.actors.get(task.actor or "")
        if actor is not None and actor.state == "pending":
            actor.state = "starting"
            model.dirty.actors[actor.id] = actor
    worker = model.worker(event.worker, event.at)
    task.node = worker.node
    worker.task = task.id
    worker.state = "actor" if worker.actor is not None else "busy"


def _unknown_task(model: Model, event: ev.TaskStarted) -> Task:
    group = model.group_index.get((None, "earlier calls", "task", None)) or model.new_group(
        site=None, name="earlier calls", kind="task", cell=None, parent=None, at=event.at
    )
    task = Task(
        id=event.task,
        name=f"task {event.task[:8]}",
        kind="task",
        state="pending",
        group=group,
        parent=None,
        actor=None,
        cell=None,
        demand=event.held,
        submitted=event.at,
    )
    group.counts["pending"] += 1
    model.admit(task)
    return task


def task_blocked(model: Model, event: ev.TaskBlocked) -> None:
    """The task waits for others, and lends what it released."""
    task = model.tasks.get(event.task)
    if task is None or task.state not in STARTED:
        return
    if event.lent or task.state != "blocked":  # A second thread that waits lends nothing more.
        task.lent = event.lent or None
    _move(model, task, "blocked", event.at)
    task.waits_for = model.producers_of(event.waits_for, but=task.id)
    if event.lent:
        model.dirty.resources = True
    _mark_worker(model, task, "busy", "blocked")


def task_unblocked(model: Model, event: ev.TaskUnblocked) -> None:
    """The task has back what it lent."""
    task = model.tasks.get(event.task)
    if task is None or task.state != "blocked":
        return
    _move(model, task, "running", event.at)
    if task.lent:
        model.dirty.resources = True
    task.lent = task.waits_for = None
    _mark_worker(model, task, "blocked", "busy")


def _mark_worker(model: Model, task: Task, before: str, after: Any) -> None:
    worker = model.workers.get(task.worker or "")
    if worker is not None and worker.task == task.id and worker.state == before:
        worker.state = after
        model.dirty.workers[worker.id] = worker


def task_finished(model: Model, event: ev.TaskFinished) -> None:
    """The task returned."""
    end(model, event.task, event.at, "finished", None)


def task_failed(model: Model, event: ev.TaskFailed) -> None:
    """The task raised, or was lost for good."""
    end(model, event.task, event.at, "failed", event.error[: model.limits.text])


def task_cancelled(model: Model, event: ev.TaskCancelled) -> None:
    """The task was cancelled."""
    end(model, event.task, event.at, "cancelled", None)


def task_retried(model: Model, event: ev.TaskRetried) -> None:
    """The task goes back to the queue; the reason is its error until it finishes."""
    task = model.tasks.get(event.task)
    if task is None:
        return
    _reopen(model, task)
    _move(model, task, "pending", event.at)
    task.attempt = event.attempt
    task.error = event.reason[: model.limits.text]
    task.worker = task.node = task.gpus = task.started = task.ended = None


# Changes that several events share


def _move(model: Model, task: Task, state: TaskState, at: float) -> None:
    group = task.group
    counts = group.counts
    counts[task.state] -= 1
    counts[state] += 1
    group.last = at
    task.state = state
    dirty = model.dirty
    dirty.groups[group.id] = group
    if task.shown:
        dirty.tasks[task.id] = task


def _leave_worker(model: Model, task: Task) -> None:
    """The task runs no more: what it held and where it ran are free."""
    del model.holding[task.id]
    if task.granted or task.lent:
        model.dirty.resources = True
    task.granted = task.lent = task.waits_for = None
    worker = model.workers.get(task.worker or "")
    if worker is not None and worker.task == task.id:
        worker.task = None
        worker.state = "actor" if worker.actor is not None else "idle"
        model.dirty.workers[worker.id] = worker


def end(model: Model, task_id: str, at: float, state: TaskState, error: str | None) -> None:
    """End the task, unless it has ended."""
    task = model.tasks.get(task_id)
    if task is None or task.state in ENDED:
        return
    started = task.state in STARTED
    if started:
        _leave_worker(model, task)
    owner = task.owner
    if owner is not None:
        if started:
            owner.running -= 1
        else:
            owner.queue -= 1
        owner.finished += 1
        model.touch(owner)
    _move(model, task, state, at)
    task.ended = at
    task.error = error
    model.retire(task)


def _reopen(model: Model, task: Task) -> None:
    """An attempt is over, or the result was lost: take back what its start, or its end, changed elsewhere."""
    if task.state in STARTED:
        _leave_worker(model, task)
        if task.owner is not None:
            task.owner.running -= 1
            task.owner.queue += 1
    elif task.state in ENDED:
        if task.parent in model.tasks:
            model.tasks[task.parent].children += 1
        if task.owner is not None:
            task.owner.finished -= 1
            task.owner.queue += 1
    if task.owner is not None:
        model.touch(task.owner)
