"""Taking in a new task: its record, its return values, and what it waits for; and letting one go that is over."""

from __future__ import annotations

from jupyter_ray.events import TaskQueued, TaskSubmitted
from jupyter_ray.ids import return_text
from jupyter_ray.local.protocol.messages import Payload, TaskSpec
from jupyter_ray.local.scheduler import actors, errors, history, memory, placement, unseen
from jupyter_ray.local.scheduler.dependencies import need, need_no_more, promise
from jupyter_ray.local.scheduler.records import ActorRecord, ClientRecord, TaskRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ActorState, GroupState, TaskState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.local.scheduler.streams import returns
from jupyter_ray.resources import amounts

ALIVE, DEAD, READY = ActorState.ALIVE, ActorState.DEAD, TaskState.READY


def submit(step: Step, client: ClientRecord, spec: TaskSpec, actor: ActorRecord | None = None) -> TaskRecord:
    """Take in a new task. `actor`: the one that a constructor is to make, or that a method belongs to."""
    task = record(step, client, spec, actor)
    enter(step, task)
    return task


def record(step: Step, client: ClientRecord, spec: TaskSpec, actor: ActorRecord | None) -> TaskRecord:
    """Make the record of a task, and those of its return values."""
    state = step.state
    task = TaskRecord(spec.task, spec, client, spec.task.hex(), actor=actor, since=step.now, made=step.now)
    join_parent(step, task)
    state.tasks[spec.task] = task
    if spec.segment:
        memory.stored(step, spec.segment, spec.segment_size)
    results = returns(spec)
    for object_id in results:
        promise(step, client, object_id)
    step.events.append(submitted(step, task, results))
    return task


def join_parent(step: Step, task: TaskRecord) -> None:
    """Note who has made a call, if that has a record; a cancel may be reaching both."""
    spec = task.spec
    parent = step.state.tasks.get(spec.parent) if spec.parent is not None else None
    if parent is not None:
        task.depth = parent.depth + 1
        parent.add_child(spec.task)
        if parent.reaching and spec.kind != "actor":
            task.cancel_asked = task.reaching = True
            task.force_asked = parent.force_asked and spec.kind == "task"
            step.agenda.append((task, "cancelled", task.force_asked))


def submitted(step: Step, task: TaskRecord, results: list[bytes]) -> TaskSubmitted:
    """Return the event that tells of a task's submission."""
    spec = task.spec
    return TaskSubmitted(
        seq=step.number(),
        at=task.made,
        task=task.hex,
        name=spec.name,
        kind=spec.kind,
        parent=None if spec.parent is None else spec.parent.hex(),
        dependencies=[each.hex() for each in dict.fromkeys(spec.dependencies)] if spec.dependencies else [],
        returns=[return_text(task.hex)] if len(results) == 1 else [each.hex() for each in results],
        demand=amounts(spec.demand),
        actor=None if spec.actor is None else spec.actor.hex(),
        cell=spec.cell,
        site=spec.site,
    )


def enter(step: Step, task: TaskRecord) -> None:
    """Let a task wait for its arguments, and put it on the agenda if it has nothing to wait for."""
    state, spec, actor = step.state, task.spec, task.actor
    failed = None
    task.function = need(step, spec, task.function)
    if spec.dependencies:
        failed = await_arguments(step, task)
    if spec.kind == "method":
        failed = _join_actor(step, task) or failed
    elif spec.group is not None:
        failed = _outside_group(state, spec, actor) or failed
    elif not state.ledger.possible(actor.spec.placement if actor is not None else spec.demand) and state.started:
        needs = actor.spec.placement if actor is not None else spec.demand
        failed = errors.unschedulable(spec.name, needs, state.ledger.total, is_actor=actor is not None)
    if failed is not None:
        step.agenda.append((task, "argument_failed", failed))
    elif spec.dependencies or step.agenda:
        if task.missing == 0:
            step.agenda.append((task, "arguments_ready", None))
    else:  # It waits for nothing, and nothing comes before it.
        ready(step, task)


def leave(step: Step, task: TaskRecord, final: TaskState, error: str, kind: str) -> None:
    """Let a task go that is over: what it pinned when it came is not needed by it any more."""
    state, spec = step.state, task.spec
    task.state = final
    del state.tasks[task.id]
    history.remember(step, task, error, kind)
    parent = state.tasks.get(spec.parent) if spec.parent is not None else None
    if parent is not None and parent.children:
        parent.children.discard(task.id)
    need_no_more(step, spec, task.function)
    state.ended[final] += 1


def ready(step: Step, task: TaskRecord) -> None:
    """Let a task, whose arguments are there, wait for resources or in its actor's queue."""
    task.state = READY
    if task.spec.dependencies:  # Who waits for nothing is queued by being submitted.
        task.since = step.now
        step.events.append(TaskQueued(seq=step.number(), at=step.now, task=task.hex))
    queue(step, task)


def queue(step: Step, task: TaskRecord, *, front: bool = False) -> None:
    """Put a task that is ready where it waits for its turn; `front`: it was taken from there before."""
    if task.spec.kind != "method":
        placement.enqueue(step, task, front=front)
    elif task.actor is not None:
        if front or not task.actor.spec.ordered:
            actors.enqueue_call(step, task.actor, task, front=front)
        else:
            step.pump[task.actor] = None


def await_arguments(step: Step, task: TaskRecord) -> Payload | None:
    """Count the arguments that are not there, and have them tell when they are; return the error of one that failed."""
    failed: Payload | None = None
    task.missing = 0
    for dependency in task.spec.dependencies:
        record = step.state.objects[dependency]
        if record.payload is None and not record.pending:
            failed = failed or errors.lost(dependency)
        elif record.payload is None:
            task.missing += 1
            record.needed_by(task)
        elif record.payload.is_error:
            failed = failed or errors.of_argument(task, record.payload)
            unseen.seen(step, dependency)
    return failed


def _outside_group(state: State, spec: TaskSpec, actor: ActorRecord | None) -> Payload | None:
    """Return an error if the group of a task is gone, or can never hold the task."""
    group = state.groups.get(spec.group or "")
    if group is None or group.state is GroupState.REMOVED:
        return errors.group_removed(spec.name, spec.group or "", is_actor=actor is not None)
    needs = actor.spec.placement if actor is not None else spec.demand
    bundles = group.demands if spec.bundle < 0 else group.demands[spec.bundle : spec.bundle + 1]
    if any(all(parts <= bundle.get(name, 0) for name, parts in needs.items()) for bundle in bundles):
        return None
    most = max(bundles, key=lambda bundle: sum(bundle.values()), default={})
    return errors.unschedulable(spec.name, needs, most, is_actor=actor is not None)


def _join_actor(step: Step, task: TaskRecord) -> Payload | None:
    actor = task.actor
    if actor is None:
        missing = task.spec.actor or b""
        gone = step.state.gone_actors.get(missing)
        if gone is not None:
            return errors.actor_gone(missing, gone.class_name, gone.death_reason)
        return errors.actor_unknown(task.spec, "it does not belong to this session, or is long gone")
    actors.count_call(actor, task)
    if actor.state is DEAD:
        return actor.death
    if actor.leaving:
        return errors.actor_died(actor, actor.leaving)
    if actor.lived and actor.state is not ALIVE and not task.spec.max_retries:
        step.agenda.append((task, "restarting", errors.actor_restarting(actor.id, actor.label)))
        return None
    if actor.spec.ordered:
        actors.enqueue_call(step, actor, task)
    return None
