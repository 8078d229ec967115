"""The pause before what failed more than once is tried again: what is at fault may need a moment to pass.

That is a task, or an actor whose processes end soon after they were given to it, one after the other.
"""

from __future__ import annotations

from jupyter_ray.local.scheduler import placement
from jupyter_ray.local.scheduler.records import TaskRecord
from jupyter_ray.local.scheduler.states import TaskState
from jupyter_ray.local.scheduler.step import Step

SECONDS, LONGEST = 0.1, 1.0
"""The pause before the third attempt, doubled for each that follows, and the longest (Ray's is that at most)."""


def begin(step: Step, task: TaskRecord, failures: int, *, long: bool = False) -> None:
    """Queue a task or a constructor later; after its first failure there is no pause, unless it is to be `long`."""
    if failures < 2 and not long:
        placement.enqueue(step, task)
        return
    seconds = LONGEST if long else min(SECONDS * 2 ** min(failures - 2, 10), LONGEST)
    step.state.later.append((step.now + seconds, task))


def end(step: Step) -> None:
    """Queue the tasks whose pause is over."""
    state = step.state
    due = [task for at, task in state.later if at <= step.now]
    if due:
        state.later = [each for each in state.later if each[0] > step.now]
        for task in due:
            if task.state is TaskState.READY:  # It may have been cancelled meanwhile.
                placement.enqueue(step, task)
