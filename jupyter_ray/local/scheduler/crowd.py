"""Crowds: many tasks of one function that are blocked at once, each in a process of its own.

Blocked tasks hold no CPU, so nothing else bounds how many processes wait for the same thing. Beyond a number, further
tasks of the function start one by one, and later and later (as in Ray, which begins earlier). Deeper ones, which the
crowd may be waiting for, are another crowd: so recursion goes on as quickly as ever.
"""

from __future__ import annotations

from jupyter_ray.local.scheduler.records import TaskRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import TaskState
from jupyter_ray.resources import CPU, PARTS

AT_LEAST = 16
LONGEST = 10.0
"""Seconds between two of a crowd, which begin with one and double (as in Ray)."""


def crowd(state: State, task: TaskRecord) -> list[TaskRecord]:
    """Return the blocked tasks of the same function and depth as a plain task."""
    found: list[TaskRecord] = []
    for worker in state.workers.values():
        first = next(iter(worker.tasks.values()), None)
        if (
            first is not None
            and first.state is TaskState.BLOCKED
            and first.lent
            and first.depth == task.depth
            and first.spec.definition == task.spec.definition
        ):
            found.append(first)
    return found


def due(state: State, task: TaskRecord) -> float:
    """Return from when on one more task of its function may have a process of its own; 0: now."""
    if task.spec.kind != "task":
        return 0.0
    blocked = crowd(state, task)
    surplus = len(blocked) - max(AT_LEAST, 2 * state.ledger.total.get(CPU, 0) // PARTS)
    if surplus < 0:
        return 0.0
    return max(each.since for each in blocked) + min(2.0**surplus, LONGEST)


def waits(state: State) -> bool:
    """Tell whether a task waits for its time rather than for resources: see `crowd`."""
    return any(queue.crowded and queue.tasks for queue in state.order)
