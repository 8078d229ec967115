"""A remote function or class lives as long as somebody can call it, whoever has let go of it."""

from __future__ import annotations

import concurrent.futures
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray.engine import registry
from jupyter_ray.engine.base import Definition
from tests.contract.helpers import eventually

pytestmark = pytest.mark.usefixtures("cluster")

counts = pytest.mark.local_only("on a cluster definitions are kept until the session ends, as in Ray")


def known() -> int:
    """Return how many definitions the runtime has."""
    count: int = registry.required().statistics()["definitions"]
    return count


def number(value: int) -> Any:
    return ray.remote(lambda: value)


@pytest.fixture(scope="module", autouse=True)
def nothing_frozen() -> None:
    """Let `living` see what was made when this module was imported, which tests/conftest.py has frozen."""
    gc.unfreeze()


def living() -> int:
    """Return how many of this process there are that were shipped in this session."""
    gc.collect()
    references = registry.required().client.references  # type: ignore[attr-defined]
    held = [each.held for each in gc.get_objects() if isinstance(each, Definition)]
    return sum(1 for each in held if each is not None and each._counter is references)


@pytest.fixture
def all_go() -> Iterator[None]:
    """In the end the runtime has the definitions that live here, and no other."""
    yield
    eventually(lambda: known() == living())


@counts
@pytest.mark.usefixtures("all_go")
def test_what_nobody_can_call_is_forgotten() -> None:
    kept = [number(value) for value in range(3)]
    for value in range(100):
        assert ray.get(number(value).remote()) == value
    assert ray.get([each.remote() for each in kept]) == [0, 1, 2]
    eventually(lambda: known() == living())
    assert 3 <= known() < 100


@counts
@pytest.mark.usefixtures("all_go")
def test_classes_go_with_their_actors() -> None:
    def actor(number: int) -> Any:
        @ray.remote
        class Actor:
            def value(self) -> int:
                return number

        return Actor.remote()  # type: ignore[attr-defined]

    for value in range(3):
        assert ray.get(actor(value).value.remote()) == value


@counts
@pytest.mark.usefixtures("all_go")
def test_functions_that_call_themselves_or_each_other_go() -> None:
    def defined() -> tuple[Any, Any, Any]:
        @ray.remote
        def fib(n: int) -> int:
            return n if n < 2 else sum(ray.get([fib.remote(n - 1), fib.remote(n - 2)]))

        @ray.remote
        def even(n: int) -> bool:
            return True if n == 0 else bool(ray.get(odd.remote(n - 1)))

        @ray.remote
        def odd(n: int) -> bool:
            return False if n == 0 else bool(ray.get(even.remote(n - 1)))

        return fib, even, odd

    for _ in range(2):
        fib, even, odd = defined()
        assert ray.get(fib.remote(5)) == 5
        assert ray.get([even.remote(4), odd.remote(4)]) == [True, False]


class Gate:
    """Opens once; what waits for it is under way meanwhile."""

    def __init__(self) -> None:
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def look(self) -> bool:
        return self.is_open


@ray.remote(num_cpus=0)
def passed(gate: Any) -> None:
    eventually(lambda: ray.get(gate.look.remote()))


def test_a_call_that_has_not_begun_has_its_function() -> None:
    gate = ray.remote(Gate).remote()
    calls = [ray.remote(lambda _, value=value: value).remote(passed.remote(gate)) for value in range(3)]
    gc.collect()
    ray.get(gate.open.remote())
    assert ray.get(calls) == [0, 1, 2]


def test_who_was_given_a_function_can_call_it() -> None:
    class Keeper:
        def __init__(self) -> None:
            self.functions: list[Any] = []

        def keep(self, function: Any) -> None:
            self.functions.append(function)

        def call(self) -> list[Any]:
            return list(ray.get([each.remote() for each in self.functions]))

    keeper = ray.remote(Keeper).remote()
    for value in range(3):
        ray.get(keeper.keep.remote(number(value)))
    gc.collect()
    for _ in range(3):
        assert ray.get(keeper.call.remote()) == [0, 1, 2]


def test_a_function_in_a_value_lives_with_it() -> None:
    stored = ray.put([number(1), {"of": number(2)}])
    gc.collect()
    ray.get(number(3).remote())
    one, two = ray.get(stored)
    del stored
    gc.collect()
    assert ray.get([one.remote(), two["of"].remote(), one.remote()]) == [1, 2, 1]


def test_a_function_that_a_task_has_made_lives_on() -> None:
    @ray.remote
    def maker(value: int) -> Any:
        inner = number(value)

        @ray.remote
        def outer() -> int:
            return int(ray.get(inner.remote()))

        return outer

    made = ray.get([maker.remote(value) for value in range(4)])
    gc.collect()
    for _ in range(2):
        assert ray.get([each.remote() for each in made]) == [0, 1, 2, 3]


def test_what_only_another_function_refers_to_lives_with_that() -> None:
    def nested(depth: int) -> Any:
        inner = nested(depth - 1) if depth else None
        return ray.remote(lambda: 0 if inner is None else 1 + ray.get(inner.remote()))

    def returned(function: Any) -> Any:
        return ray.get(ray.remote(lambda: function).remote())

    deep = nested(5)
    gc.collect()
    assert [ray.get(deep.remote()) for _ in range(3)] == [5, 5, 5]
    handed = returned(nested(5))
    gc.collect()
    assert [ray.get(handed.remote()) for _ in range(3)] == [5, 5, 5]


def test_an_actor_restarts_though_its_class_is_gone(tmp_path: Any) -> None:
    @ray.remote(max_restarts=1, max_task_retries=1)
    class Mortal:
        def die_once(self) -> str:
            if not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os._exit(1)
            return "alive"

    actor = Mortal.remote()  # type: ignore[attr-defined]
    del Mortal
    gc.collect()
    assert ray.get(actor.die_once.remote()) == "alive"


def test_a_class_that_was_handed_on_makes_actors() -> None:
    @ray.remote
    class Made:
        def __init__(self, value: int) -> None:
            self.value = value

        def get(self) -> int:
            return self.value

    @ray.remote
    def make(kind: Any, value: int) -> Any:
        return kind.remote(value)

    actors = [make.remote(Made, value) for value in range(2)]
    del Made
    gc.collect()
    assert ray.get([ray.get(each).get.remote() for each in actors]) == [0, 1]


@counts
@pytest.mark.usefixtures("all_go")
def test_a_lost_result_is_made_again_though_its_function_is_gone() -> None:
    from tests.contract.test_lost_results import files

    there = set(files())
    made = ray.remote(lambda: np.arange(200_000)).remote()
    ray.wait([made], fetch_local=False)
    gc.collect()
    [file] = set(files()) - there
    file.unlink()
    assert ray.get(made)[-1] == 199_999
    del made


@counts
@pytest.mark.usefixtures("all_go")
def test_threads_define_and_call_at_once() -> None:
    def work(start: int) -> list[int]:
        return [ray.get(number(value).remote()) for value in range(start, start + 30)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(0, 800, 100)))
    assert found == [list(range(start, start + 30)) for start in range(0, 800, 100)]


@counts
@pytest.mark.usefixtures("all_go")
def test_what_a_function_held_ends_with_it() -> None:
    """An actor whose last handle was in the code ends, though a process has run it."""

    class Held:
        def ping(self) -> int:
            return 1

    def pings() -> Any:
        actor = ray.remote(Held).remote()
        return ray.remote(lambda: ray.get(actor.ping.remote()))

    living = registry.required().statistics()["actors"]
    function = pings()
    assert [ray.get(function.remote()) for _ in range(3)] == [1, 1, 1]
    assert registry.required().statistics()["actors"] == living + 1
    del function
    eventually(lambda: registry.required().statistics()["actors"] == living)


def test_a_call_runs_what_its_function_was_when_it_was_made() -> None:
    """However late it begins; so does an actor that is made of a class."""

    @ray.remote(num_cpus=2)
    def function(_: Any = None) -> int:
        return number_now  # type: ignore[name-defined]  # noqa: F821

    @ray.remote(num_cpus=0)
    class Actor:
        def __init__(self, _: Any) -> None:
            self.number = number_now  # type: ignore[name-defined]  # noqa: F821

        def get(self) -> int:
            return int(self.number)

    names = function._function.__globals__
    gate = ray.remote(Gate).options(num_cpus=0).remote()
    opened = passed.remote(gate)
    calls, actors = [], []
    for names["number_now"] in range(8):
        calls += [function.remote(), function.remote(opened)]
        actors.append(Actor.remote(opened))  # type: ignore[attr-defined]
    names["number_now"] = 8
    last = function.remote()
    ray.get(gate.open.remote())
    assert ray.get(calls) == [each // 2 for each in range(16)]
    assert ray.get([each.get.remote() for each in actors]) == list(range(8))
    assert ray.get(last) == 8
    del names["number_now"]


def test_so_does_one_whose_process_has_died(tmp_path: Path) -> None:
    @ray.remote(max_retries=1)
    def function(died: Path) -> int:
        if not died.exists():
            died.touch()
            os._exit(1)
        return number_now  # type: ignore[name-defined]  # noqa: F821

    names = function._function.__globals__
    calls = []
    for names["number_now"] in range(3):
        calls.append(function.remote(tmp_path / str(names["number_now"])))
    assert ray.get(calls) == [0, 1, 2]
    del names["number_now"]
