"""Modules that a person edits: which files a process has loaded, and what becomes of it when they change."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler.stimuli import Outdated, Stimulus
from jupyter_ray.local.server import modules as server
from jupyter_ray.local.server.connection import Connection
from jupyter_ray.local.worker import modules as worker
from tests.unit.test_scheduler import DRIVER, Session

HOUR = 3600.0


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of modules that the test makes, which are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []
    yield made
    for name in made:
        sys.modules.pop(name, None)


def make(folder: Path, name: str, names: list[str], age: float = HOUR) -> tuple[str, int]:
    """Make a module that was changed some seconds ago, load it, and return its file, and when it was changed."""
    path = folder / f"{name}.py"
    path.write_text("")
    then = int(time.time() - age) * 10**9
    os.utime(path, ns=(then, then))
    importlib.invalidate_caches()
    importlib.import_module(name)
    names.append(name)
    return str(path), then


def test_a_worker_tells_of_the_files_that_its_task_has_loaded(tmp_path: Path, names: list[str]) -> None:
    told: list[m.Loaded] = []
    modules = worker.Modules(told.append)
    modules.tell(1.0)
    assert told == []
    first, second = make(tmp_path, "first_of_mine", names), make(tmp_path, "second_of_mine", names)
    sys.modules["without_a_file_of_mine"] = cast(Any, SimpleNamespace(__file__=None))
    names.append("without_a_file_of_mine")
    modules.tell(1.0)
    assert [sorted(each.files) for each in told] == [sorted([first, second])]
    modules.tell(1.0)
    assert len(told) == 1, "once"


def test_what_is_taken_out_and_loaded_again_is_told_again(tmp_path: Path, names: list[str]) -> None:
    told: list[m.Loaded] = []
    modules = worker.Modules(told.append)
    make(tmp_path, "kept_of_mine", names)
    path, _ = make(tmp_path, "again_of_mine", names)
    modules.tell(1.0)
    del sys.modules["again_of_mine"]
    make(tmp_path, "again_of_mine", names, age=2 * HOUR)
    modules.tell(1.0)
    assert path in dict(told[-1].files), "though there are as many modules as before"
    assert len(told) == 2


def test_a_file_that_was_changed_while_the_task_ran_is_taken_for_changed(tmp_path: Path, names: list[str]) -> None:
    told: list[m.Loaded] = []
    modules = worker.Modules(told.append)
    path, _ = make(tmp_path, "edited_of_mine", names, age=100)
    modules.tell(HOUR)
    assert [each.files for each in told] == [[(path, 0)]]


def test_installed_modules_and_those_of_python_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker._is_library(os.__file__)
    assert worker._is_library(pytest.__file__)
    assert worker._is_library(worker.__file__)
    assert worker._is_library("/usr/lib/python3/dist-packages/thing.py")
    assert not worker._is_library(str(tmp_path / "mine.py"))


class Runtime:
    """The server's part, with workers that have loaded files."""

    def __init__(self) -> None:
        self.happened: list[Stimulus] = []
        workers = {
            name: SimpleNamespace(env=env, actor=actor)
            for name, env, actor in [(b"one", "", None), (b"two", "", None), (b"actor", "", object())]
        }
        self.modules = server.Modules(cast(Any, SimpleNamespace(workers=workers)), self.happened.append)

    def loaded(self, client: bytes, path: Path) -> None:
        files = [(str(path), path.stat().st_mtime_ns)]
        self.modules.loaded(cast(Connection, SimpleNamespace(client=client)), m.Loaded(files))

    def outdated(self) -> list[bytes]:
        """Return the workers that are outdated when a cell begins."""
        self.happened.clear()
        self.modules.cell_began(cast(Connection, SimpleNamespace(client=b"driver", job="")), m.CellBegan())
        return sorted(worker for each in self.happened if isinstance(each, Outdated) for worker in each.workers)


def test_workers_are_outdated_when_what_they_have_loaded_has_changed(tmp_path: Path) -> None:
    runtime, shared, own = Runtime(), tmp_path / "shared.py", tmp_path / "own.py"
    shared.touch()
    own.touch()
    for client in (b"one", b"two", b"actor", b"long gone"):
        runtime.loaded(client, shared)
    runtime.loaded(b"two", own)
    assert runtime.outdated() == []
    os.utime(own, ns=(1, 1))
    assert runtime.outdated() == [b"two"]
    os.utime(shared, ns=(2, 2))
    assert runtime.outdated() == [b"one", b"two"], "an actor keeps what it has begun with"
    runtime.modules.gone(b"two")
    assert runtime.outdated() == [b"one"]
    shared.unlink()
    assert runtime.outdated() == []


def test_an_idle_worker_is_replaced_at_once() -> None:
    session = Session(CPU=1)
    first = session.submit("first")
    worker = session.worker_of(first)
    session.finish(first)
    session.happen(Outdated([worker, b"unknown"]))
    assert session.asked_to_leave == [worker]
    assert session.worker_of(session.submit("second")) != worker


def test_a_worker_that_runs_ends_with_its_task_and_gives_back_what_is_behind_it() -> None:
    session = Session(CPU=1)
    session.say(DRIVER, m.Export("quick", 1, "quick", b""))
    for _ in range(3):  # It is known to be quick: so tasks are handed in advance.
        session.finish(session.submit("quick", definition="quick"), seconds=0.0001)
    runs, behind = session.submit("quick", definition="quick"), session.submit("quick", definition="quick")
    worker = session.worker_of(runs)
    assert session.worker_of(behind) == worker
    session.happen(Outdated([worker]))
    assert len(session.of(m.Recall, worker)) == 1
    session.say(worker, m.Returned([behind]))
    later = session.submit("quick", definition="quick")
    assert session.asked_to_leave == []
    session.finish(runs)
    assert session.asked_to_leave == [worker]
    for task in (behind, later):
        assert session.worker_of(task) != worker
        session.finish(task)
    assert session.scheduler.state.ledger.free["CPU"] == session.scheduler.state.ledger.total["CPU"]


def test_an_actor_keeps_its_process() -> None:
    session = Session(CPU=1)
    actor = session.scheduler.state.actors[session.actor()]
    assert actor.worker is not None
    worker = actor.worker.id
    session.happen(Outdated([worker]))
    assert session.asked_to_leave == []
