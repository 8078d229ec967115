"""What an actor's class means by its own name: in its methods, in tasks, by value and by import."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import jupyter_ray as ray

SOURCE = """
import threading

import jupyter_ray as ray

lock = threading.Lock()

class Base:
    def __init__(self, value):
        self.value = value

    def doubled(self):
        return 2 * self.value

@ray.remote
class Actor(Base):
    LIMIT = 3
    made = 0

    def __init__(self, value):
        super().__init__(value)
        Actor.made += 1

    @staticmethod
    def more(value):
        return value + 1

    @classmethod
    def kind(cls):
        return cls.__name__, cls.LIMIT

    def doubled(self):
        return super().doubled() + Actor.more(0)

    def look(self):
        return Actor.LIMIT, Actor.more(1), Actor.kind(), Actor.made, Actor.__name__

    def spawn(self):
        return ray.get(Actor.remote(21).doubled.remote())

@ray.remote
def task():
    return Actor.LIMIT, Actor.more(2), hasattr(Actor, "nothing")
"""


@pytest.fixture(scope="module", params=["by value", "by import"])
def module(
    request: pytest.FixtureRequest, engine_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    name = "contract_class_names"
    folder = tmp_path_factory.mktemp("modules")
    # Without its lock, which cannot be pickled: a module's own globals need not travel, a notebook's do.
    (folder / f"{name}.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    try:
        if engine_name == "local":
            ray.init(num_cpus=2, log_to_driver=False)
        else:  # What is imported from a folder of the driver's must be shipped: a cluster's workers see other folders.
            address = request.getfixturevalue("ray_cluster").address
            ray.init(address=address, log_to_driver=False, runtime_env={"working_dir": str(folder)})
        if request.param == "by import":
            yield vars(importlib.import_module(name))
        else:
            namespace = {"__name__": "contract_a_notebook"}
            exec(SOURCE.replace("lock = threading.Lock()", ""), namespace)
            yield namespace
    finally:
        ray.shutdown()
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)


def test_the_class_by_its_name_in_its_methods(module: dict[str, Any]) -> None:
    actor = module["Actor"].remote(4)
    assert ray.get(actor.look.remote()) == (3, 2, ("Actor", 3), 1, "Actor")


def test_super_without_arguments(module: dict[str, Any]) -> None:
    assert ray.get(module["Actor"].remote(4).doubled.remote()) == 9


def test_an_actor_makes_another_of_its_class(module: dict[str, Any]) -> None:
    assert ray.get(module["Actor"].remote(4).spawn.remote()) == 43


def test_the_class_by_its_name_in_a_task(module: dict[str, Any]) -> None:
    assert ray.get(module["task"].remote()) == (3, 3, False)


def test_a_class_that_a_task_made(module: dict[str, Any]) -> None:
    @ray.remote
    def make() -> Any:
        @ray.remote
        class Inner:
            LIMIT = 5

            def get(self) -> int:
                return Inner.LIMIT

        return Inner

    inner = ray.get(make.remote())
    assert ray.get(inner.remote().get.remote()) == 5
    assert (inner.LIMIT, inner.__name__, inner.__ray_metadata__.class_name.rpartition(".")[2]) == (5, "Inner", "Inner")
    with pytest.raises(AttributeError, match="nothing"):
        _ = inner.nothing
