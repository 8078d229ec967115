"""``sys.path``, changed when a session runs already: what the program finds, its tasks and actors find."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from tests.contract.helpers import PATIENCE, is_running

pytestmark = [
    pytest.mark.usefixtures("cluster"),
    pytest.mark.local_only("Ray's workers keep the search path that the driver had at the start"),
]


@ray.remote
def load(name: str) -> str:
    """Import a module in a task; return what it says of itself."""
    return str(importlib.import_module(name).TEXT)


@ray.remote
def identify(value: Any = None) -> int:
    return os.getpid()


@ray.remote
def nested(name: str) -> str:
    text: str = ray.get(load.remote(name))
    return text


@ray.remote
class Loader:
    def load(self, name: str) -> str:
        return str(importlib.import_module(name).TEXT)

    def tell(self, thing: Any) -> str:
        return str(thing.tell())


class Late:
    """A folder with modules that nobody has imported; tests add it to the path."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = str(folder)
        self.one, self.two, self.three = (f"{folder.name}_{number}" for number in ("one", "two", "three"))
        for name in (self.one, self.two, self.three):
            (folder / f"{name}.py").write_text(
                f"TEXT = {name!r}\nclass Thing:\n    def tell(self): return TEXT\ndef tell(): return TEXT\n"
            )


@pytest.fixture
def late(tmp_path: Path) -> Late:
    return Late(tmp_path)


def test_tasks_find_what_the_program_finds(late: Late, monkeypatch: pytest.MonkeyPatch) -> None:
    ray.get(identify.remote())
    monkeypatch.syspath_prepend(late.folder)
    assert ray.get(load.remote(late.one), timeout=PATIENCE) == late.one
    assert ray.get(nested.remote(late.two), timeout=PATIENCE) == late.two
    module = importlib.import_module(late.three)
    assert ray.get(ray.remote(module.tell).remote(), timeout=PATIENCE) == late.three
    assert is_running(ray.get(identify.remote(module.Thing()), timeout=PATIENCE))


def test_actors_that_were_there_before_find_it(late: Late, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader.remote()
    for _ in range(10):  # So that calls go straight to its process.
        with pytest.raises(ModuleNotFoundError):
            ray.get(loader.load.remote(late.one), timeout=PATIENCE)
    monkeypatch.syspath_prepend(late.folder)
    assert ray.get(loader.load.remote(late.one), timeout=PATIENCE) == late.one
    thing = importlib.import_module(late.two).Thing()
    assert ray.get(loader.tell.remote(thing), timeout=PATIENCE) == late.two


def test_each_of_many_changes_is_followed_by_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader.remote()
    for number in range(30):
        late = Late(tmp_path / f"late_{number}")
        monkeypatch.setattr(sys, "path", [*sys.path, late.folder])
        assert ray.get(load.remote(late.one), timeout=PATIENCE) == late.one
        assert ray.get(loader.load.remote(late.two), timeout=PATIENCE) == late.two


def test_what_is_taken_off_is_not_found_any_more(late: Late, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as while_there:
        while_there.setattr(sys, "path", [*sys.path, late.folder])
        assert ray.get(load.remote(late.one), timeout=PATIENCE) == late.one
    with pytest.raises(ModuleNotFoundError, match=late.two):
        ray.get(load.remote(late.two), timeout=PATIENCE)


def test_a_runtime_environment_goes_first(late: Late, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / f"{late.one}.py").write_text("TEXT = 'of the environment'\n")
    within = load.options(runtime_env={"working_dir": str(mine)})
    with pytest.raises(ModuleNotFoundError):
        ray.get(within.remote(late.two), timeout=PATIENCE)
    monkeypatch.syspath_prepend(late.folder)
    assert ray.get(within.remote(late.one), timeout=PATIENCE) == "of the environment"
    assert ray.get(within.remote(late.two), timeout=PATIENCE) == late.two


def test_a_change_between_many_calls(late: Late, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are only being started are told, too."""
    before = [identify.remote() for _ in range(100)]
    monkeypatch.syspath_prepend(late.folder)
    after = [nested.remote(late.one) for _ in range(20)]
    actors = [Loader.remote() for _ in range(4)]
    loaded = [actor.load.remote(late.two) for actor in actors]
    assert set(ray.get(after, timeout=PATIENCE)) == {late.one}
    assert set(ray.get(loaded, timeout=PATIENCE)) == {late.two}
    ray.get(before, timeout=PATIENCE)
