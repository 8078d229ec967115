"""What is kept so that a lost result can be computed again: bookkeeping only, `recovery` acts on it.

Rules. The lineage of a task is kept while a result of it lives in a file, or while the lineage of a task that took one
of its results does. It holds no large value: an argument that can be computed again may be freed meanwhile, and one
that cannot is not kept alive for this. It pins small arguments and definitions, and owns the file of the inline ones.
Past a limit the oldest go.
"""

from __future__ import annotations

from typing import Literal

from jupyter_ray.ids import OBJECT_ID_SIZE, task_of
from jupyter_ray.local.protocol.messages import STREAMING, TaskSpec
from jupyter_ray.local.scheduler import memory
from jupyter_ray.local.scheduler.records import LineageRecord, TaskRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.step import Step

OVERHEAD = 1024
"""Bytes that a lineage is taken to cost beside what it names."""


def ended(step: Step, task: TaskRecord, results: list[bytes]) -> list[bytes]:
    """Keep the lineage of a task that ends now if a result needs it; return what is not pinned any more."""
    state, spec = step.state, task.spec
    live = set()
    for object_id in results:
        record = state.objects.get(object_id)
        if record is not None and record.payload is not None and record.payload.segment:
            if record.payload.is_error:
                record.fate = "error"
            else:
                live.add(object_id)
    known = state.lineage.get(spec.task)
    if known is not None:
        known.attempt = task.attempt
        known.live = live
        return _drop_unused(step, [known])
    if not live:
        return []
    fate = _fate(spec)
    if fate:
        for object_id in live:
            state.objects[object_id].fate = fate
        return []
    _keep(state, task, live)
    unpinned: list[bytes] = []
    while state.lineage_bytes > state.lineage_limit:
        oldest = next(iter(state.lineage.values()))
        for object_id in oldest.live:
            state.objects[object_id].fate = "evicted"
        unpinned += _drop_unused(step, [oldest], forced=True)
    return unpinned


def _fate(spec: TaskSpec) -> Literal["", "stream", "once", "method"]:
    if spec.num_returns == STREAMING:
        return "stream"
    if spec.max_retries == 0:
        return "once" if spec.kind == "task" else "method"
    return ""


def _keep(state: State, task: TaskRecord, live: set[bytes]) -> None:
    spec = task.spec
    kept = LineageRecord(
        spec, task.client, task.depth, task.attempt, OVERHEAD + len(spec.body) + spec.segment_size, live
    )
    if spec.kind == "task" and (function := state.functions.get(spec.definition)) is not None:
        function.pins += 1
        kept.pins.append(spec.definition.encode())
    for object_id in dict.fromkeys([*spec.dependencies, *spec.contained]):
        if len(object_id) != OBJECT_ID_SIZE:
            if (function := state.functions.get(object_id.decode("latin-1"))) is not None:
                function.pins += 1
                kept.pins.append(object_id)
            continue
        parent = state.lineage.get(task_of(object_id))
        record = state.objects.get(object_id)
        if parent is not None:
            parent.users += 1
            kept.parents.append(parent)
        elif record is None or record.payload is None:
            continue
        elif not (record.payload.segment or record.payload.contained or record.payload.is_error):
            record.pins += 1
            kept.pins.append(object_id)
            kept.size += record.payload.size
    state.lineage[spec.task] = kept
    state.lineage_bytes += kept.size


def freed(step: Step, object_id: bytes) -> list[bytes]:
    """A result that lived in a file is gone for good; return what is not pinned any more."""
    record = step.state.lineage.get(task_of(object_id))
    if record is None:
        return []
    record.live.discard(object_id)
    return _drop_unused(step, [record])


def _drop_unused(step: Step, candidates: list[LineageRecord], *, forced: bool = False) -> list[bytes]:
    """Forget those that nobody needs, and then their parents: a loop, since a chain may be long."""
    state = step.state
    unpinned: list[bytes] = []
    while candidates:
        record = candidates.pop()
        task = record.spec.task
        if (not forced and (record.live or record.users)) or state.lineage.get(task) is not record:
            continue
        forced = False
        del state.lineage[task]
        state.lineage_bytes -= record.size
        unpinned += record.pins
        if record.spec.segment and task not in state.tasks:  # Else the task needs it, and discards it.
            memory.discard(step, record.spec.segment)
        for parent in record.parents:
            parent.users -= 1
            candidates.append(parent)
    return unpinned
