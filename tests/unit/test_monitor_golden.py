"""The messages in tests/golden are what the reducer and the writer make of one realistic story.

The TypeScript tests parse the same files. To write them anew after a change that is meant::

    JUPYTER_RAY_WRITE_GOLDEN=1 python -m pytest tests/unit/test_monitor_golden.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jupyter_ray import events as ev
from jupyter_ray.monitor.model import Model
from jupyter_ray.monitor.records import Limits
from jupyter_ray.monitor.reducer import fold
from jupyter_ray.monitor.snapshot import Writer

GOLDEN = Path(__file__).parents[1] / "golden"
START = 1_800_000_000.0
CELL_DEFINE, CELL_CALL = "3f0e6c1a", "b7d2905e"
NUMBERS = {"worker": 0x3000, "actor": 0x2000, "task": 0x1000, "object": 0x4000}


def ident(kind: str, number: int) -> str:
    """Return a readable stand-in for a random id."""
    return f"{NUMBERS[kind] + number:016x}"


class Story:
    """Numbers and dates events, a quarter of a second apart."""

    def __init__(self) -> None:
        self.events: list[ev.Event] = []

    def tell(self, event: type[ev.Event], /, **fields: Any) -> None:
        """Append one event."""
        number = len(self.events)
        self.events.append(event(seq=number, at=START + number / 4, **fields))

    def call(
        self,
        number: int,
        name: str,
        *,
        parent: int | None = None,
        needs: tuple[int, ...] = (),
        demand: dict[str, float] | None = None,
        kind: ev.TaskKind = "task",
        actor: int | None = None,
        line: int = 1,
        cell: str = CELL_CALL,
    ) -> None:
        """A call whose result is the object of the same number; `needs` are such numbers."""
        self.tell(
            ev.TaskSubmitted,
            task=ident("task", number),
            name=name,
            kind=kind,
            parent=None if parent is None else ident("task", parent),
            dependencies=[ident("object", need) for need in needs],
            returns=[ident("object", number)],
            demand={"CPU": 1.0} if demand is None else demand,
            actor=None if actor is None else ident("actor", actor),
            cell=cell,
            site=f"{cell}:{line}",
        )
        if not needs:
            self.tell(ev.TaskQueued, task=ident("task", number))

    def start(
        self,
        number: int,
        worker: int,
        *,
        held: dict[str, float] | None = None,
        gpus: tuple[str, ...] = (),
        attempt: int = 0,
    ) -> None:
        """The task starts on the worker."""
        self.tell(
            ev.TaskStarted,
            task=ident("task", number),
            worker=ident("worker", worker),
            held={"CPU": 1.0} if held is None else held,
            gpus=list(gpus),
            attempt=attempt,
        )

    def block(self, number: int, *objects: int, lent: dict[str, float]) -> None:
        """The task waits for the objects."""
        self.tell(
            ev.TaskBlocked,
            task=ident("task", number),
            waits_for=[ident("object", key) for key in objects],
            lent=lent,
        )

    def finish(self, number: int) -> None:
        """The task returns."""
        self.tell(ev.ObjectSealed, object=ident("object", number), size=32, task=ident("task", number))
        self.tell(ev.TaskFinished, task=ident("task", number))


def opening() -> list[ev.Event]:
    """Up to the snapshot: h blocked on g's sibling calls, a GPU task that lent its CPU, an actor in three hands."""
    story = Story()
    story.tell(
        ev.RuntimeReady,
        pid=4000,
        engine="local",
        resources={"CPU": 4.0, "GPU": 2.0, "memory": 8e9},
        gpus=["0", "1"],
    )
    for number in range(1, 7):
        story.tell(ev.WorkerStarted, worker=ident("worker", number), pid=4000 + number)
    # Six short calls, of which the limit of rows keeps none: a folded group.
    for number in range(60, 66):
        story.call(number, "warm", line=2, cell=CELL_DEFINE)
        story.start(number, 1)
        story.finish(number)
    # h calls f four times and waits; two of them are done.
    story.call(1, "h", line=1)
    story.start(1, 1)
    for number in range(2, 6):
        story.call(number, "f", parent=1, line=4, cell=CELL_DEFINE)
    story.block(1, 2, 3, 4, 5, lent={"CPU": 1.0})
    for number in (2, 3):
        story.start(number, 2)
        story.finish(number)
    story.start(4, 2)
    # g holds half a GPU, waits for f, and lends its CPU.
    story.call(6, "g", demand={"CPU": 1.0, "GPU": 0.5}, line=2)
    story.start(6, 3, held={"CPU": 1.0, "GPU": 0.5}, gpus=("0",))
    story.call(7, "f", parent=6, line=7, cell=CELL_DEFINE)
    story.block(6, 7, lent={"CPU": 1.0})
    # A counter, whose handle the notebook holds and two tasks get.
    story.call(8, "Counter", kind="actor", actor=1, line=3)
    story.tell(
        ev.ActorCreated,
        actor=ident("actor", 1),
        class_name="Counter",
        name="counter",
        task=ident("task", 8),
        parent=None,
    )
    story.tell(ev.HandlePassed, actor=ident("actor", 1), holder="driver", holder_kind="driver", label="notebook")
    story.start(8, 4)
    story.tell(
        ev.ActorAlive,
        actor=ident("actor", 1),
        worker=ident("worker", 4),
        pid=4004,
        held={"CPU": 1.0},
    )
    story.tell(ev.TaskFinished, task=ident("task", 8))
    for number in (9, 10):
        story.call(number, "flood", line=4)
        story.tell(
            ev.HandlePassed,
            actor=ident("actor", 1),
            holder=ident("task", number),
            holder_kind="task",
            label="flood",
        )
    story.start(9, 5)
    for number in (11, 12, 13):
        story.call(number, "Counter.inc", kind="method", actor=1, parent=9, demand={}, line=9, cell=CELL_DEFINE)
    story.start(11, 4, held={})
    # One task failed, and one waits for h.
    story.call(14, "broken", line=5)
    story.start(14, 6, attempt=1)
    story.tell(ev.TaskFailed, task=ident("task", 14), error="ZeroDivisionError: division by zero")
    story.call(15, "total", needs=(1, 6), line=6)
    return story.events


def sequel(first: int) -> list[ev.Event]:
    """From the snapshot to the delta: g resumes, the second flood starts, a worker goes."""
    story = Story()
    story.events = [ev.LogLines(stream="stdout", text="", name="", pid=0)] * first
    story.finish(4)
    story.start(7, 2)
    story.finish(7)
    story.tell(ev.TaskUnblocked, task=ident("task", 6))
    story.tell(ev.TaskFinished, task=ident("task", 11))
    story.tell(ev.HandleDropped, actor=ident("actor", 1), holder=ident("task", 10))
    story.tell(ev.TaskCancelled, task=ident("task", 10))
    story.call(16, "f", line=7)
    story.tell(ev.WorkerStarted, worker=ident("worker", 7), pid=4007)
    story.tell(ev.WorkerDied, worker=ident("worker", 2), reason="idle for too long", expected=True)
    return story.events[first:]


def cluster() -> list[ev.Event]:
    """Two machines; a task runs on each, one of them was told of before its worker was, and holds a GPU."""
    story = Story()
    story.tell(
        ev.RuntimeReady,
        pid=0,
        engine="ray",
        resources={"CPU": 4.0, "GPU": 1.0},
        gpus=[],
        nodes=[
            ev.Node(id="aaaa", name="desk (head)", resources={"CPU": 2.0}),
            ev.Node(id="bbbb", name="rack", resources={"CPU": 2.0, "GPU": 1.0}),
        ],
    )
    story.tell(ev.WorkerStarted, worker=ident("worker", 1), pid=4001, node="aaaa")
    story.call(1, "f", line=1)
    story.start(1, 1)
    story.call(2, "g", line=2, demand={"CPU": 1.0, "GPU": 1.0})
    story.start(2, 2, held={"CPU": 1.0, "GPU": 1.0}, gpus=("0",))
    story.tell(ev.WorkerStarted, worker=ident("worker", 2), pid=4001, node="bbbb")
    return story.events


def messages() -> dict[str, dict[str, Any]]:
    """Return every golden message, by the name of its file."""
    absent = Writer(Model(), "0c5d1e2f")
    model = Model(Limits(tasks=17))
    writer = Writer(model, "9a8b7c6d")
    beginning = opening()
    fold(model, beginning)
    snapshot = writer.snapshot()
    fold(model, sequel(len(beginning)))
    delta = writer.delta()
    assert delta is not None
    several = Model()
    fold(several, cluster())
    return {
        "snapshot-absent": absent.snapshot(),
        "snapshot": snapshot,
        "snapshot-cluster": Writer(several, "5d1e2f0c").snapshot(),
        "delta": delta,
        "hello": {"type": "hello", "client": "panel-5f3a"},
        "ack": {"type": "ack", "client": "panel-5f3a", "epoch": snapshot["epoch"], "seq": snapshot["seq"]},
        "bye": {"type": "bye", "client": "panel-5f3a"},
        "cancel": {"type": "cancel", "client": "panel-5f3a", "task": ident("task", 9), "force": False},
    }


@pytest.mark.parametrize("name", sorted(messages()))
def test_golden_message(name: str) -> None:
    path = GOLDEN / f"{name}.json"
    text = json.dumps(messages()[name], indent=2, allow_nan=False) + "\n"
    if os.environ.get("JUPYTER_RAY_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "see this file's docstring for how to write it anew"
