"""The hub: threads, sinks, epochs, and what panels say."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jupyter_ray import events as ev
from jupyter_ray.monitor import hub as hub_module
from jupyter_ray.monitor.hub import Hub
from jupyter_ray.monitor.policy import Pace

PATIENCE = 30.0
QUICK = Pace(fast=0.001, slow=0.002)


class Panel:
    """A sink that keeps what it gets, and plays the messages as a real panel does."""

    def __init__(self, hub: Hub, *, acknowledge: bool = True) -> None:
        self.hub = hub
        self.acknowledge = acknowledge
        self.messages: list[dict[str, Any]] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        self.gaps = 0
        self.detach = hub.attach(self)

    def __call__(self, message: dict[str, Any]) -> None:
        last = self.messages[-1] if self.messages else None
        self.messages.append(message)
        if message["type"] == "snapshot":
            self.tasks = {row["id"]: row for row in message["state"]["tasks"]}
        elif last is None or (message["epoch"], message["base"]) != (last["epoch"], last["seq"]):
            self.gaps += 1
            self.hello()
        else:
            for key in message["remove"].get("tasks", []):
                del self.tasks[key]
            self.tasks.update((row["id"], row) for row in message["upsert"].get("tasks", []))
        if self.acknowledge:
            self.hub.handle({"type": "ack", "client": "p", "epoch": message["epoch"], "seq": message["seq"]})

    def hello(self) -> None:
        self.hub.handle({"type": "hello", "client": "p"})

    def bye(self) -> None:
        self.hub.handle({"type": "bye", "client": "p"})


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)


def submitted(*tasks: str) -> list[ev.AnyEvent]:
    return [
        ev.TaskSubmitted(task=task, name="f", kind="task", parent=None, dependencies=[], returns=[], demand={})
        for task in tasks
    ]


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(pace=QUICK, wall=lambda: 100.0)
    yield hub
    hub.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "jupyter_ray-monitor"]


def test_a_hub_that_is_not_used_has_no_thread() -> None:
    hub = Hub()
    assert not [thread for thread in threading.enumerate() if thread.name == "jupyter_ray-monitor"]
    assert hub.snapshot()["runtime"]["state"] == "absent"
    hub.close()
    hub.close()


def test_a_panel_follows(hub: Hub) -> None:
    panel = Panel(hub, acknowledge=False)
    until(lambda: len(panel.messages) == 1)
    assert panel.messages[0]["type"] == "snapshot"
    hub.feed(submitted("a"))
    until(lambda: hub.statistics().tasks == 1)
    assert len(panel.messages) == 1  # Nobody has said hello.
    panel.acknowledge = True
    panel.hello()
    until(lambda: "a" in panel.tasks)
    for number in range(200):
        hub.feed(submitted(f"t{number}"))
        hub.feed([ev.TaskStarted(task=f"t{number}", worker="w", held={})])
        hub.feed([ev.TaskFinished(task=f"t{number}")])
    until(lambda: sum(row["state"] == "finished" for row in panel.tasks.values()) == 200)
    assert panel.gaps == 0
    assert list(panel.tasks.values()) == hub.snapshot()["tasks"]
    panel.bye()
    until(lambda: hub.statistics().clients == 0)
    hub.feed(submitted("late"))
    until(lambda: hub.statistics().tasks == 202)
    assert "late" not in panel.tasks


def test_the_snapshot_holds_what_was_just_fed(hub: Hub) -> None:
    for number in range(100):
        hub.feed(submitted(f"t{number}"))
        assert len(hub.snapshot()["tasks"]) == number + 1


def test_without_a_thread_that_keeps_up_feed_folds_by_itself(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "INBOX_EVENTS", 10)
    monkeypatch.setattr(Hub, "_start", lambda self: None)
    hub.feed(submitted(*"abc"))
    assert hub.statistics().events == 0
    hub.feed(submitted(*"defghijklm"))
    assert hub.statistics().events == 13


def test_a_reset_forgets_and_begins_a_new_epoch(hub: Hub) -> None:
    panel = Panel(hub)
    panel.hello()
    first = hub.reset("e1", state="starting", pid=7)
    hub.feed(submitted("a"), epoch=first)
    until(lambda: "a" in panel.tasks)
    second = hub.reset(state="warm")
    assert second not in ("e1", None)
    assert hub.epoch == second
    hub.feed(submitted("late"), epoch=first)
    hub.feed(submitted("b"), epoch=second)
    until(lambda: "b" in panel.tasks)
    assert list(panel.tasks) == ["b"]
    assert next(message["seq"] for message in panel.messages if message["epoch"] == second) == 1


def test_the_runtimes_state(hub: Hub) -> None:
    panel = Panel(hub)
    panel.hello()
    hub.set_runtime("warm", pid=7, message="unbound")
    assert hub.snapshot()["runtime"] == {
        "state": "warm",
        "engine": "local",
        "message": "unbound",
        "pid": 7,
        "since": 100.0,
        "dropped": 0,
    }
    hub.feed(
        [ev.RuntimeReady(pid=7, engine="local", resources={"CPU": 1.0}, gpus=[], at=5.0), *submitted("a")],
    )
    hub.set_runtime("dead", message="it was killed; call init()")
    state = hub.snapshot()
    assert (state["runtime"]["state"], state["runtime"]["pid"], state["resources"]) == ("dead", None, [])
    assert state["tasks"][0]["state"] == "failed"
    assert state["tasks"][0]["error"] == "it was killed; call init()"
    until(lambda: bool(panel.tasks) and panel.tasks["a"]["state"] == "failed")


CANCEL = {"type": "cancel", "client": "p", "task": "t", "force": True}


def test_a_cancel_reaches_the_callback_on_the_hubs_thread() -> None:
    calls: list[tuple[str, bool, str]] = []

    def cancel(task: str, force: bool) -> None:
        calls.append((task, force, threading.current_thread().name))

    with contextlib.closing(Hub(cancel=cancel)) as hub:
        hub.handle(CANCEL)
        until(lambda: calls == [("t", True, "jupyter_ray-monitor")])


def _broken(*_: Any) -> None:
    raise OSError("closed")


@pytest.mark.parametrize("cancel", [None, _broken])
def test_a_callback_or_a_sink_that_raises_is_survived(cancel: Any, caplog: pytest.LogCaptureFixture) -> None:
    with (
        contextlib.closing(Hub(pace=QUICK, cancel=cancel)) as hub,
        caplog.at_level(logging.CRITICAL, logger="jupyter_ray.monitor.hub"),
    ):
        panel = Panel(hub)
        hub.attach(_broken)
        hub.handle(CANCEL)
        panel.hello()
        hub.feed(submitted("a"))
        until(lambda: "a" in panel.tasks)
        assert "1 sinks" in repr(hub)


def test_an_event_that_cannot_be_folded_is_skipped(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    broken = ev.TaskSubmitted(
        task="x",
        name="f",
        kind="task",
        parent=None,
        dependencies=[],
        returns=None,  # type: ignore[arg-type]
        demand={},
    )
    with caplog.at_level(logging.CRITICAL, logger="jupyter_ray.monitor.hub"):
        hub.feed([*submitted("a"), broken, *submitted("b")])
        assert [row["id"] for row in hub.snapshot()["tasks"]] == ["a", "b"]
    assert hub.statistics().faults == 1


@pytest.mark.parametrize(
    "message",
    [{}, {"type": "hello"}, {"type": "ack", "client": "p", "epoch": "e", "seq": "1"}, {"type": "dance"}, "hello", None],
)
def test_what_is_no_message_is_rejected(hub: Hub, message: Any) -> None:
    hub.handle(message)
    assert hub.statistics().rejected == 1
    assert hub.statistics().clients == 0


def test_a_detached_sink_hears_nothing_more(hub: Hub) -> None:
    first, second = Panel(hub), Panel(hub)
    first.hello()
    until(lambda: any(message["type"] == "snapshot" for message in first.messages))
    first.detach()
    first.detach()
    heard = len(first.messages)
    hub.feed(submitted("a"))
    until(lambda: "a" in second.tasks)
    assert "a" not in first.tasks or len(first.messages) == heard


def test_nothing_happens_after_close(hub: Hub) -> None:
    panel = Panel(hub)
    until(lambda: len(panel.messages) == 1)
    hub.close()
    hub.feed(submitted("a"))
    panel.hello()
    hub.reset("later")
    assert hub.statistics().events == 0
    assert "closed" in repr(hub)


def test_an_idle_hub_rests(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []
    turn = Hub._turn

    def counted(self: Hub) -> float | None:
        turns.append(pause := turn(self))
        return pause

    monkeypatch.setattr(Hub, "_turn", counted)
    panel = Panel(hub)
    panel.hello()
    hub.feed(submitted("a"))
    until(lambda: "a" in panel.tasks and hub._resting)
    assert turns[-1] is None  # It waits without a limit of time.


def test_many_threads_feed_and_speak_at_once(hub: Hub) -> None:
    panel = Panel(hub)

    def work(number: int) -> None:
        for step in range(200):
            hub.feed(submitted(f"{number}-{step}"))
            if step % 20 == 0:
                panel.hello()
                hub.snapshot()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    until(lambda: len(panel.tasks) == 800)
    assert panel.gaps == 0
