"""Lost values: whose task can run again does so, and whoever waits goes on waiting; the others become errors.

All objects that were lost at once are lost before the first is recovered, so that a task which made several runs once,
and one whose arguments are lost too waits for them. Arguments that were freed meanwhile are computed again on the way.
"""

from __future__ import annotations

from jupyter_ray.events import TaskRetried
from jupyter_ray.ids import OBJECT_ID_SIZE, task_of
from jupyter_ray.local.protocol.messages import Payload
from jupyter_ray.local.scheduler import dependencies, errors, lineage, submission
from jupyter_ray.local.scheduler.records import LineageRecord, ObjectRecord, TaskRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ActorState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.local.scheduler.streams import returns


def lose(step: Step, segments: dict[str, str]) -> None:
    """Files are gone; `segments` says for each what was found."""
    state = step.state
    lost: list[tuple[ObjectRecord, Payload, str]] = []
    for segment, reason in segments.items():
        for object_id in list(state.segments.get(segment, ())):
            record = state.objects.get(object_id)
            if record is not None and record.payload is not None:  # Else what contained it was lost before it.
                lost.append((record, record.payload, reason))
                dependencies.lose(step, record)
    for record, payload, reason in lost:
        if record.payload is None and state.objects.get(record.id) is record:
            _recover(step, record, payload, reason)


def _recover(step: Step, record: ObjectRecord, payload: Payload, reason: str) -> None:
    state = step.state
    task_id = task_of(record.id)
    running = state.tasks.get(task_id)
    if running is not None and record.id in returns(running.spec):
        return  # It is being run again already, for another of its results.
    kept = state.lineage.get(task_id)
    if kept is None or record.id not in kept.live:
        maker = state.history.get(task_id)
        error = errors.lost_for_good(record.id, reason, "" if maker is None else maker.name, record.fate)
    else:
        plan: dict[LineageRecord, list[bytes]] = {}
        obstacle = _plan(state, kept, plan)
        if not obstacle:
            _run_again(step, plan, record.id, reason)
            return
        error = errors.not_recomputed(record.id, reason, kept.spec.name, obstacle)
    dependencies.seal(step, record.id, error)
    dependencies.unpin(step, lineage.freed(step, record.id))


def _plan(state: State, kept: LineageRecord, plan: dict[LineageRecord, list[bytes]]) -> str:
    """Find what has to run so that a task can run again: lineages, with the freed objects that each is to make.

    Return why that cannot be, or "".
    """
    plan[kept] = []
    left = [kept]
    while left:
        each = left.pop()
        obstacle = _obstacle(state, each)
        if obstacle:
            return obstacle
        spec = each.spec
        for object_id in dict.fromkeys([*spec.dependencies, *spec.contained]):
            if len(object_id) != OBJECT_ID_SIZE or object_id in state.objects:
                continue
            parent = state.lineage.get(task_of(object_id))
            if parent is not None:
                if parent not in plan:
                    plan[parent] = []
                    left.append(parent)
                plan[parent].append(object_id)
            elif object_id in spec.dependencies:
                return (
                    f"an argument of {spec.name}, the object {object_id.hex()}, was freed meanwhile, and how to make "
                    "it again is not known (keep a reference to it as long as the result is needed)"
                )
    return ""


def _obstacle(state: State, kept: LineageRecord) -> str:
    spec = kept.spec
    if spec.task in state.tasks:
        return ""
    if 0 <= spec.max_retries <= kept.attempt:
        option = "max_task_retries" if spec.kind == "method" else "max_retries"
        return f"{spec.name} was run {kept.attempt + 1} times, and {option}={spec.max_retries} allows no more"
    if spec.kind == "method":
        actor = state.actors.get(spec.actor or b"")
        if actor is None or actor.state is ActorState.DEAD or actor.leaving:
            return f"the actor of {spec.name} is gone"
    return ""


def _run_again(step: Step, plan: dict[LineageRecord, list[bytes]], object_id: bytes, reason: str) -> None:
    state = step.state
    for freed in plan.values():
        for each in freed:
            dependencies.expect(step, each)
    for kept in plan:
        spec = kept.spec
        if spec.task in state.tasks:
            continue
        kept.attempt += 1
        why = f"the value of its result {object_id.hex()} was lost: {reason}"
        if task_of(object_id) != spec.task:
            why = f"its result is needed again for the object {object_id.hex()}, whose value was lost: {reason}"
        actor = state.actors.get(spec.actor) if spec.kind == "method" and spec.actor is not None else None
        task = TaskRecord(
            spec.task,
            spec,
            kept.client,
            spec.task.hex(),
            kept.depth,
            attempt=kept.attempt,
            retry_reason=why,
            since=step.now,
            made=step.now,
            actor=actor,
        )
        parent = state.tasks.get(spec.parent) if spec.parent is not None else None
        if parent is not None:
            parent.add_child(spec.task)
        state.tasks[spec.task] = task
        state.recovering.add(spec.task)
        step.events.append(TaskRetried(seq=step.number(), at=step.now, task=task.hex, attempt=task.attempt, reason=why))
        submission.enter(step, task)
