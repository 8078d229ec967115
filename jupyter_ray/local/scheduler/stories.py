"""What is told of a deadlock: who holds what and waits for what."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from jupyter_ray.ids import task_of
from jupyter_ray.local.scheduler.outlook import Outlook, ahead, held, obstacle, total
from jupyter_ray.local.scheduler.records import RequestRecord, TaskRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ActorState, TaskState
from jupyter_ray.resources import CPU, Demand, describe

AWAITED = "A task that awaits a result, or waits for its future, keeps its CPUs: get() and wait() lend them."
TOLD, TOLD_EACH = 40, 5
"""Of so many waits is told, and of so many of one task."""


def story(
    state: State, outlook: Outlook, waits: Iterable[tuple[TaskRecord, RequestRecord]], refused: RequestRecord
) -> str:
    """Return why `refused` is never answered: what keeps the tasks waiting that it depends on.

    Parameters
    ----------
    state
        The session.
    outlook
        What comes, and what does not.
    waits
        The waits of tasks that close the circle; none, where a driver waits for calls that wait for their arguments.
    refused
        One of them, or the driver's.
    """
    for object_id in outlook.missing(refused.ids):
        group = outlook.hopeless(object_id)
        if group is not None:
            return f"This {_call(refused)} would never return. {obstacle(state, group)} Remove it, and ask for less."
    lines = [f"This {_call(refused)} would never return: tasks keep what the tasks that they wait for need."]
    missing: dict[TaskRecord, list[bytes]] = {}
    awaits = False
    for task, request in sorted(waits, key=lambda pair: pair[0].depth):
        missing.setdefault(task, []).extend(outlook.missing(request.ids))
        awaits = awaits or request.awaiter is not None
    short: Demand = {}
    queue = deque(missing)
    _follow(state, outlook, outlook.missing(refused.ids), missing, queue)
    while queue and len(lines) <= TOLD:
        task = queue.popleft()
        kept = held(task)
        waiting = f"  {name(task)}{f' holds {describe(kept)} and' if kept else ''} waits for"
        for object_id in missing[task][:TOLD_EACH]:
            what, needs = _needed(state, outlook, object_id)
            short.update(needs)
            lines.append(f"{waiting} {what}.")
        if len(missing[task]) > TOLD_EACH:
            lines.append(f"{waiting} {len(missing[task]) - TOLD_EACH} more.")
        _follow(state, outlook, missing[task], missing, queue)
    if not short:
        lines.append("Return the reference instead of waiting for it, or let the actor run more calls at once:")
        lines.append("a larger max_concurrency, or methods that are 'async def' and await the reference.")
        return "\n".join(lines)
    of_all = {each: parts for each, parts in state.ledger.total.items() if each in short}
    free = {each: parts for each, parts in state.ledger.free.items() if each in short}
    lines.append(f"  The machine has {describe(of_all)} in all; free now: {describe(free)}.")
    if awaits and free.get(CPU, 0) < short.get(CPU, 0):
        lines.append(AWAITED)
    lines.append("Let one of them ask for less, or return the reference instead of waiting for it.")
    return "\n".join(lines)


def _call(request: RequestRecord) -> str:
    return "get()" if request.awaiter is None else "await"


def _follow(
    state: State,
    outlook: Outlook,
    objects: list[bytes],
    missing: dict[TaskRecord, list[bytes]],
    queue: deque[TaskRecord],
) -> None:
    """Add the calls that make `objects` and wait for arguments themselves."""
    for object_id in objects[:TOLD_EACH]:
        maker = state.tasks.get(task_of(object_id))
        if maker is not None and maker.state is TaskState.WAITING and maker not in missing:
            missing[maker] = outlook.missing(maker.spec.dependencies)
            queue.append(maker)


def _needed(state: State, outlook: Outlook, object_id: bytes) -> tuple[str, Demand]:
    """Tell what does not come, and why; return the resources that it waits for besides."""
    group, maker = outlook.group_of(object_id), state.tasks.get(task_of(object_id))
    if group is not None:
        return f"the placement group {group.name or group.id[:8]}, which needs {describe(total(group))}", total(group)
    if maker is None:
        return f"object {object_id.hex()[:8]}", {}
    if maker.actor is None:
        needs = maker.spec.demand if maker.state is TaskState.READY else {}
        return f"{name(maker)}{f', which needs {describe(needs)}' if needs else ''}", needs
    creation = state.tasks.get(maker.actor.spec.creation.task)
    if maker.actor.state is not ActorState.ALIVE and creation is not None and creation.state is TaskState.READY:
        needs = creation.spec.demand
        return f"{name(maker)}, whose actor {maker.actor.label} needs {describe(needs)} to begin", needs
    first = next(ahead(maker), None)
    if first is not None:
        return f"{name(maker)}, whose turn at the actor {maker.actor.label} comes after that of {name(first)}", {}
    if maker.state in (TaskState.READY, TaskState.ASSIGNED):
        calls = f"the actor {maker.actor.label} runs {maker.actor.concurrency} calls at once"
        return f"{name(maker)}: {calls}, and those wait", {}
    return name(maker), {}


def name(task: TaskRecord) -> str:
    """Return what people call a task."""
    return f"{task.spec.name} ({task.id.hex()[:8]})"
