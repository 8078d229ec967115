"""Whatever happens, a panel that plays the messages has the kernel's model, and every message keeps to the protocol.

The structs below are docs/panel-protocol.md once more; unlike the panel, they take no field that it does not name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_ray import events as ev
from jupyter_ray.monitor.model import Model
from jupyter_ray.monitor.records import ALIVE, Limits
from jupyter_ray.monitor.reducer import fold
from jupyter_ray.monitor.requests import PanelMessage
from jupyter_ray.monitor.snapshot import Writer, describe

Kind = Literal["task", "method", "actor"]
State = Literal["waiting", "pending", "running", "blocked", "finished", "failed", "cancelled"]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    pass


class RuntimeRow(Strict):
    state: Literal["absent", "starting", "warm", "ready", "stopped", "dead"]
    engine: Literal["local", "ray"]
    message: str
    pid: int | None
    since: float | None
    dropped: int


class TaskRow(Strict):
    id: str
    name: str
    kind: Kind
    state: State
    parent: str | None
    group: str
    deps: list[str]
    actor: str | None
    worker: str | None
    node: str | None
    cell: str | None
    demand: dict[str, float]
    held: dict[str, float]
    lent: dict[str, float]
    gpus: list[str]
    waits_for: list[str]
    attempt: int
    error: str | None
    submitted: float | None
    started: float | None
    ended: float | None


class GroupRow(Strict):
    id: str
    name: str
    kind: Kind
    parent: str | None
    deps: list[str]
    actor: str | None
    counts: dict[State, int]
    cell: str | None
    folded: int
    first: float
    last: float


class HolderRow(Strict):
    id: str
    kind: Literal["driver", "task", "actor", "object"]
    label: str
    count: int


class ActorRow(Strict):
    id: str
    name: str | None
    class_name: str
    state: Literal["pending", "starting", "alive", "restarting", "dead"]
    queue: int
    running: int
    finished: int
    worker: str | None
    pid: int | None
    node: str | None
    held: dict[str, float]
    gpus: list[str]
    restarts: int
    holders: list[HolderRow]
    error: str | None
    reason: str | None
    parent: str | None
    created: float


class AmountRow(Strict):
    id: str
    kind: Literal["task", "actor"]
    label: str
    amount: float


class LentRow(Strict):
    id: str
    label: str
    amount: float


class ResourceRow(Strict):
    id: str
    name: str
    node: str | None
    kind: Literal["CPU", "GPU", "other"]
    total: float
    used: float
    holders: list[AmountRow]
    lent: list[LentRow]


class WorkerRow(Strict):
    id: str
    pid: int | None
    node: str | None
    state: Literal["starting", "idle", "busy", "actor", "blocked", "dead"]
    task: str | None
    actor: str | None
    started: float


class NodeRow(Strict):
    id: str
    name: str


class Rows(Strict):
    runtime: RuntimeRow
    tasks: list[TaskRow]
    groups: list[GroupRow]
    actors: list[ActorRow]
    resources: list[ResourceRow]
    workers: list[WorkerRow]
    nodes: list[NodeRow]


class Upsert(Strict, omit_defaults=True):
    runtime: RuntimeRow | msgspec.UnsetType = msgspec.UNSET
    tasks: list[TaskRow] | msgspec.UnsetType = msgspec.UNSET
    groups: list[GroupRow] | msgspec.UnsetType = msgspec.UNSET
    actors: list[ActorRow] | msgspec.UnsetType = msgspec.UNSET
    resources: list[ResourceRow] | msgspec.UnsetType = msgspec.UNSET
    workers: list[WorkerRow] | msgspec.UnsetType = msgspec.UNSET
    nodes: list[NodeRow] | msgspec.UnsetType = msgspec.UNSET


class Snapshot(Strict, tag_field="type", tag="snapshot"):
    version: Literal[1]
    epoch: str
    seq: int
    state: Rows


class Delta(Strict, tag_field="type", tag="delta"):
    version: Literal[1]
    epoch: str
    seq: int
    base: int
    upsert: Upsert
    remove: dict[Literal["tasks", "groups", "actors", "workers", "resources", "nodes"], list[str]]


KernelMessage = Snapshot | Delta
KINDS = ("tasks", "groups", "actors", "resources", "workers", "nodes")
FROM_PANEL = ("hello", "ack", "bye", "cancel")


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "golden").glob("*.json")), ids=lambda path: path.stem
)
def test_golden_messages_keep_to_the_protocol(path: Path) -> None:
    kind: Any = PanelMessage if path.stem in FROM_PANEL else KernelMessage
    msgspec.json.decode(path.read_bytes(), type=kind)


class Mirror:
    """What a panel has."""

    def __init__(self) -> None:
        self.seq = 0
        self.runtime: Any = None
        self.rows: dict[str, dict[str, Any]] = {}

    def play(self, message: dict[str, Any]) -> None:
        message = json.loads(json.dumps(message, allow_nan=False))
        msgspec.convert(message, KernelMessage)
        assert message["seq"] == self.seq + 1
        self.seq = message["seq"]
        if message["type"] == "snapshot":
            self.runtime = message["state"]["runtime"]
            self.rows = {kind: {row["id"]: row for row in message["state"][kind]} for kind in KINDS}
            return
        assert message["base"] == self.seq - 1
        upsert, remove = message["upsert"], message["remove"]
        assert upsert or remove
        self.runtime = upsert.get("runtime", self.runtime)
        for kind in KINDS:
            for key in remove.get(kind, []):
                del self.rows[kind][key]  # Only what the panel has is removed.
            self.rows[kind].update((row["id"], row) for row in upsert.get(kind, []))


TASKS = [f"t{number}" for number in range(8)]
ACTORS, WORKERS = ["a0", "a1", "a2"], ["w0", "w1", "w2"]
task, actor, worker = st.sampled_from(TASKS), st.sampled_from(ACTORS), st.sampled_from(WORKERS)
objects = st.lists(st.sampled_from([f"{name}.0" for name in TASKS] + ["put"]), max_size=3)
amounts = st.dictionaries(st.sampled_from(["CPU", "GPU", "tpu"]), st.sampled_from([0.5, 1.0, 2.0]), max_size=2)
gpus = st.lists(st.sampled_from(["0", "1"]), unique=True, max_size=2)
text = st.text(max_size=3)
node = st.sampled_from(["n0", "n1", "n2"])
nodes = st.lists(st.builds(ev.Node, id=node, name=text, resources=amounts), max_size=3, unique_by=lambda each: each.id)


@st.composite
def submissions(draw: st.DrawFn) -> ev.TaskSubmitted:
    name = draw(task)
    kind: Kind = draw(st.sampled_from(["task", "method", "actor"]))
    return ev.TaskSubmitted(
        task=name,
        name=draw(st.sampled_from(["f", "g"])),
        kind=kind,
        parent=draw(st.none() | task),
        dependencies=draw(objects),
        returns=[f"{name}.0"],
        demand=draw(amounts),
        actor=None if kind == "task" else draw(actor),
        site=draw(st.sampled_from(["1", "2", "3", None])),
    )


any_event: st.SearchStrategy[ev.Event] = st.one_of(
    submissions(),
    submissions(),
    st.builds(ev.TaskQueued, task=task),
    st.builds(ev.TaskStarted, task=task, worker=worker, held=amounts, gpus=gpus, attempt=st.integers(0, 3)),
    st.builds(ev.TaskBlocked, task=task, waits_for=objects, lent=amounts),
    st.builds(ev.TaskUnblocked, task=task),
    st.builds(ev.TaskFinished, task=task),
    st.builds(ev.TaskFailed, task=task, error=text),
    st.builds(ev.TaskCancelled, task=task),
    st.builds(ev.TaskRetried, task=task, attempt=st.integers(0, 3), reason=text),
    st.builds(
        ev.ActorCreated,
        actor=actor,
        class_name=text,
        name=st.none() | text,
        task=task,
        parent=st.none() | task,
    ),
    st.builds(ev.ActorAlive, actor=actor, worker=worker, pid=st.integers(1, 9), held=amounts, gpus=gpus),
    st.builds(ev.ActorRestarted, actor=actor, restarts=st.integers(0, 3), reason=text),
    st.builds(ev.ActorDied, actor=actor, reason=text, expected=st.booleans()),
    st.builds(ev.HandlePassed, actor=actor, holder=task, holder_kind=st.just("task"), label=text),
    st.builds(ev.HandleDropped, actor=actor, holder=task),
    st.builds(ev.ObjectSealed, object=st.just("put"), size=st.just(1), task=st.none() | task),
    st.builds(ev.ObjectFreed, object=st.sampled_from([f"{name}.0" for name in TASKS])),
    st.builds(ev.WorkerStarted, worker=worker, pid=st.integers(1, 9), node=st.none() | node),
    st.builds(ev.WorkerDied, worker=worker, reason=text, expected=st.booleans()),
    st.builds(ev.RuntimeReady, pid=st.just(1), engine=st.just("local"), resources=amounts, gpus=gpus, nodes=nodes),
    st.builds(ev.NodesChanged, nodes=nodes),
    st.builds(ev.RuntimeStopped, expected=st.booleans(), message=text),
)
limits = st.builds(
    Limits,
    tasks=st.integers(1, 6),
    groups=st.integers(1, 4),
    dead_actors=st.integers(0, 2),
    objects=st.integers(1, 6),
    links=st.just(2),
    nodes=st.integers(2, 3),
)


def validate(model: Model) -> None:
    """Check what holds after any events."""
    for group in model.groups.values():
        assert all(count >= 0 for count in group.counts.values())
        members = [one for one in model.tasks.values() if one.group is group]
        for state in ALIVE:
            assert group.counts[state] == sum(one.state == state for one in members)
        assert sum(group.counts.values()) == len(members) + group.folded
        assert group.parent is None or model.groups[group.parent.id] is group.parent
        assert group.deps.keys() <= model.groups.keys() - {group.id}
    assert all(one.group.id in model.groups for one in model.tasks.values())
    assert len(model.groups) <= model.limits.groups + 1
    for record in model.actors.values():
        calls = [one.state for one in model.tasks.values() if one.owner is record]
        assert record.queue == calls.count("waiting") + calls.count("pending")
        assert record.running == calls.count("running") + calls.count("blocked")
        assert record.finished >= 0
    started = {one.id for one in model.tasks.values() if one.state in ("running", "blocked")}
    assert model.holding.keys() == started
    assert started <= model.shown.keys() <= model.tasks.keys()
    ended = [one for one in model.tasks.values() if one.state not in ALIVE]
    assert all(one.shown for one in ended)
    assert len(model.shown) <= max(model.limits.tasks, len(model.shown) - len(ended))
    assert len(model.producers) <= model.limits.objects
    assert sum(one.state == "dead" for one in model.actors.values()) <= model.limits.dead_actors
    assert model.runtime.dropped == sum(group.folded for group in model.groups.values())


@settings(max_examples=100, deadline=None)
@given(
    limits=limits,
    batches=st.lists(st.lists(any_event, min_size=1, max_size=12), max_size=12),
    budget=st.sampled_from([400, 1_000_000]),
    again=st.integers(0, 12),
)
def test_a_panel_has_what_the_kernel_has(
    limits: Limits, batches: list[list[ev.Event]], budget: int, again: int
) -> None:
    model = Model(limits)
    writer = Writer(model, "e", delta_bytes=budget)
    mirror = Mirror()
    mirror.play(writer.snapshot())
    for number, batch in enumerate(batches):
        fold(model, batch)
        validate(model)
        if number == again:
            mirror.play(writer.snapshot())
        delta = writer.delta()
        while delta is not None:
            mirror.play(delta)
            delta = writer.delta() if budget > 1_000 or number % 3 == 2 else None
    while (delta := writer.delta()) is not None:
        mirror.play(delta)
    whole = json.loads(json.dumps(describe(model)))
    assert mirror.runtime == whole["runtime"]
    for kind in KINDS:
        assert mirror.rows[kind] == {row["id"]: row for row in whole[kind]}
