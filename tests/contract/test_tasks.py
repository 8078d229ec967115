"""Tasks: arguments, options, return values, errors, definitions."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import functools
import math
import os
import pdb
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from tests.contract.helpers import PATIENCE, eventually

pytestmark = pytest.mark.usefixtures("cluster")

DEBUGGER = pytest.mark.local_only("breakpoint() in a task waits for Ray's own debugger: run `ray debug`")


def test_arguments_and_defaults() -> None:
    @ray.remote
    def f(a: int, b: int = 2, *rest: int, c: int = 3, **more: int) -> tuple[Any, ...]:
        return a, b, rest, c, more

    assert ray.get(f.remote(1)) == (1, 2, (), 3, {})
    assert ray.get(f.remote(1, 5, 6, 7, c=8, d=9)) == (1, 5, (6, 7), 8, {"d": 9})
    assert ray.get(f.remote(a=0)) == (0, 2, (), 3, {})


def test_references_at_top_level_are_replaced_and_nested_ones_are_not() -> None:
    @ray.remote
    def f(plain: int, nested: list[Any], *, named: int) -> tuple[Any, ...]:
        return plain, type(nested[0]).__name__, ray.get(nested[0]), named

    assert ray.get(f.remote(ray.put(1), [ray.put(2)], named=ray.put(3))) == (1, "ObjectRef", 2, 3)


def test_a_chain_and_a_diamond() -> None:
    @ray.remote
    def add(a: int, b: int) -> int:
        return a + b

    one = ray.put(1)
    left, right = add.remote(one, 1), add.remote(one, 2)
    ref = add.remote(left, right)
    for _ in range(20):
        ref = add.remote(ref, 1)
    assert ray.get(ref) == 25


def test_many_tasks() -> None:
    @ray.remote
    def f(n: int) -> int:
        return n * n

    assert ray.get([f.remote(n) for n in range(500)]) == [n * n for n in range(500)]


def test_tasks_run_in_other_processes() -> None:
    @ray.remote
    def pid() -> int:
        return os.getpid()

    assert os.getpid() not in ray.get([pid.remote() for _ in range(4)])


def test_tasks_run_at_once(tmp_path: Path) -> None:
    @ray.remote
    def meet(name: str) -> bool:
        (tmp_path / name).touch()
        end = time.monotonic() + 30
        while len(list(tmp_path.iterdir())) < 4 and time.monotonic() < end:
            time.sleep(0.01)
        return len(list(tmp_path.iterdir())) == 4

    assert all(ray.get([meet.remote(str(n)) for n in range(4)]))


def test_num_returns() -> None:
    @ray.remote(num_returns=3)
    def three() -> tuple[int, int, int]:
        return 1, 2, 3

    @ray.remote(num_returns=0)
    def none() -> None: ...

    assert ray.get(three.remote()) == [1, 2, 3]
    assert ray.get(three.options(num_returns=1).remote()) == (1, 2, 3)
    assert none.remote() is None
    for ref in three.options(num_returns=2).remote():
        with pytest.raises(exceptions.RayTaskError):
            ray.get(ref)


def test_what_comes_before_a_return_value_that_does_not_pickle_is_there() -> None:
    @ray.remote(num_returns=3)
    def three() -> tuple[int, Any, int]:
        return 1, threading.Lock(), 3

    first, *others = three.remote()
    assert ray.get(first) == 1
    for ref in others:
        with pytest.raises(TypeError, match="lock"):
            ray.get(ref)


def test_streaming_generators() -> None:
    @ray.remote
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    assert [ray.get(ref) for ref in count.remote(5)] == list(range(5))
    assert ray.get(count.options(num_returns=3).remote(3)) == [0, 1, 2]

    @ray.remote
    def fail() -> Iterator[int]:
        yield 1
        raise ValueError("after one")

    assert ray.get(fail.options(num_returns=1).remote()) == 1  # The error comes too late, and is only told.
    both = fail.options(num_returns=2).remote()
    assert ray.get(both[0]) == 1
    with pytest.raises(ValueError, match="after one"):
        ray.get(both[1])
    stream = fail.remote()
    assert ray.get(next(stream)) == 1
    with pytest.raises(ValueError, match="after one"):
        ray.get(next(stream))
    with pytest.raises(StopIteration):
        next(stream)
    assert eventually(stream.is_finished)


def test_a_stream_gives_values_before_its_task_ends(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote
    def slow() -> Iterator[int]:
        yield 1
        while not gate.exists():
            time.sleep(0.01)
        yield 2

    stream = slow.remote()
    assert ray.wait([stream], timeout=30)[0] == [stream]
    assert ray.get(next(stream)) == 1
    assert not stream.next_ready()
    assert ray.wait([stream], timeout=0.1)[0] == []
    gate.touch()
    assert [ray.get(ref) for ref in stream] == [2]


def test_options_of_one_call() -> None:
    @ray.remote(num_cpus=1)
    def held() -> tuple[Any, ...]:
        context = ray.get_runtime_context()
        return context.get_assigned_resources(), context.get_task_name()

    assert ray.get(held.options(num_cpus=2, name="other").remote()) == ({"CPU": 2.0}, "other")
    assert ray.get(held.options(num_cpus=0.5).remote())[0] == {"CPU": 0.5}
    assert ray.get(held.remote())[0] == {"CPU": 1.0}


@pytest.mark.parametrize(
    ("function", "args", "value"),
    [(math.sqrt, (4,), 2.0), (len, ("abc",), 3), (functools.partial(pow, 2), (3,), 8), (min, (3, 1), 1)],
    ids=repr,
)
def test_anything_callable(function: Callable[..., Any], args: Any, value: Any) -> None:
    assert ray.get(ray.remote(function).remote(*args)) == value


def test_an_error_is_of_its_own_class_and_carries_the_remote_traceback() -> None:
    class Custom(Exception):
        def __init__(self, code: int) -> None:
            super().__init__(code)
            self.code = code

    @ray.remote
    def deep() -> None:
        raise Custom(7)

    @ray.remote
    def outer() -> None:
        ray.get(deep.remote())

    for function in (deep, outer):
        with pytest.raises(Custom) as caught:
            ray.get(function.remote())
        error: Any = caught.value
        assert isinstance(error, exceptions.RayTaskError)
        assert type(error).__name__ == "RayTaskError(Custom)"
        assert error.code == 7
        assert isinstance(error.cause, Custom)
        assert "raise Custom(7)" in str(error)
        assert "pid=" in str(error)


def test_an_error_passes_through_the_tasks_that_depend_on_it() -> None:
    @ray.remote
    def fail() -> int:
        raise KeyError("k")

    @ray.remote
    def use(x: int) -> int:
        return x

    with pytest.raises(KeyError):
        ray.get(use.remote(use.remote(fail.remote())))


def test_the_chain_of_causes_is_in_the_text() -> None:
    @ray.remote
    def f() -> None:
        try:
            raise ValueError("first")
        except ValueError as error:
            raise RuntimeError("second") from error

    with pytest.raises(RuntimeError, match=r"(?s)first.*second"):
        ray.get(f.remote())


def test_errors_that_do_not_pickle_still_arrive() -> None:
    class Two(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__(f"{a} and {b}")

    @ray.remote
    def two() -> None:
        raise Two(1, 2)

    @ray.remote
    def locked() -> None:
        error = ValueError("with a lock")
        error.lock = threading.Lock()
        raise error

    with pytest.raises(exceptions.RayError, match="1 and 2"):
        ray.get(two.remote())
    with pytest.raises(exceptions.RayTaskError, match="with a lock"):
        ray.get(locked.remote())


class Delegates(Exception):
    def __getattr__(self, name: str) -> Any:
        return self.inner.anything  # There is none, and so it asks itself for ever.


class NeitherTrueNorFalse(Exception):
    def __bool__(self) -> bool:
        raise ValueError("neither")


def raise_what_fails_when_it_is_looked_at(kind: type[Exception]) -> None:
    raise kind("at first")


class RaisesThem:
    def plain(self, kind: type[Exception]) -> None:
        raise_what_fails_when_it_is_looked_at(kind)

    def stream(self, kind: type[Exception]) -> Iterator[int]:
        yield 1
        raise_what_fails_when_it_is_looked_at(kind)


class RaisesThemInALoop(RaisesThem):
    async def plain(self, kind: type[Exception]) -> None:  # type: ignore[override]
        raise_what_fails_when_it_is_looked_at(kind)


@pytest.mark.local_only("such an error kills a worker of Ray")
@pytest.mark.parametrize("kind", [Delegates, NeitherTrueNorFalse])
def test_errors_that_fail_when_they_are_looked_at_arrive_too(kind: type[Exception]) -> None:
    @ray.remote(max_retries=0)
    def task() -> None:
        raise_what_fails_when_it_is_looked_at(kind)

    actor, looping = ray.remote(RaisesThem).remote(), ray.remote(RaisesThemInALoop).remote()
    for ref in (
        task.remote(),
        actor.plain.remote(kind),
        looping.plain.remote(kind),
        list(actor.stream.remote(kind))[-1],
        list(looping.stream.remote(kind))[-1],
    ):
        with pytest.raises(exceptions.RayTaskError, match=f"{kind.__name__}, which could not be reported") as caught:
            ray.get(ref, timeout=PATIENCE)
        assert "in raise_what_fails_when_it_is_looked_at" in str(caught.value)


def test_a_result_that_does_not_pickle_is_an_error_of_the_task() -> None:
    @ray.remote
    def f() -> Any:
        return threading.Lock()

    with pytest.raises(TypeError, match="lock"):
        ray.get(f.remote())


def test_retries_on_chosen_errors(tmp_path: Path) -> None:
    @ray.remote(max_retries=3, retry_exceptions=[ConnectionError])
    def flaky(name: str, error: type[Exception], good: int) -> int:
        path = tmp_path / name
        count = int(path.read_text()) + 1 if path.exists() else 1
        path.write_text(str(count))
        if count < good:
            raise error(f"attempt {count}")
        return count

    assert ray.get(flaky.remote("a", ConnectionError, 3)) == 3
    with pytest.raises(KeyError, match="attempt 1"):
        ray.get(flaky.remote("b", KeyError, 3))
    with pytest.raises(ConnectionError, match="attempt 4"):
        ray.get(flaky.remote("c", ConnectionError, 10))
    assert ray.get(flaky.options(retry_exceptions=True).remote("d", KeyError, 2)) == 2

    class OwnError(Exception):
        """As a notebook defines one: no process can import it."""

    assert ray.get(flaky.options(retry_exceptions=[OwnError]).remote("e", OwnError, 2)) == 2


def test_an_argument_that_does_not_pickle_is_named() -> None:
    @ray.remote
    def f(first: Any, second: Any) -> None: ...

    with pytest.raises(TypeError, match="second"):
        f.remote(1, threading.Lock())

    lock = threading.Lock()

    @ray.remote
    def g() -> None:
        lock.acquire()

    with pytest.raises(TypeError, match="lock"):
        g.remote()


def test_what_does_not_travel_is_called_by_what_it_is() -> None:
    lock = threading.Lock()

    @ray.remote
    def f(value: object = None) -> object:
        return lock

    @ray.remote
    class Keeper:
        def __init__(self) -> None:
            self.lock = lock

    for what, call in {
        "the function .*f: .*'lock'": f.remote,
        "the actor class .*Keeper: .*'lock'": Keeper.remote,
        "the put value": lambda: ray.put([lock]),
    }.items():
        with pytest.raises(TypeError, match=f"Could not serialize {what}"):
            call()


def test_mutual_recursion() -> None:
    @ray.remote
    def even(n: int) -> bool:
        return True if n == 0 else ray.get(odd.remote(n - 1))

    @ray.remote
    def odd(n: int) -> bool:
        return False if n == 0 else ray.get(even.remote(n - 1))

    assert ray.get(even.remote(6)) is True
    assert ray.get(even.remote(7)) is False


def test_functions_and_classes_are_arguments() -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    @ray.remote
    class Holder:
        def __init__(self, x: int) -> None:
            self.x = x

        def get(self) -> int:
            return self.x

    @ray.remote
    def use(function: Any, kind: Any) -> tuple[int, int]:
        return ray.get(function.remote(4)), ray.get(kind.remote(5).get.remote())

    assert ray.get(use.remote(double, Holder)) == (8, 5)
    assert ray.get(ray.get(ray.put(double)).remote(3)) == 6


def test_a_class_that_a_task_makes_names_what_the_program_has() -> None:
    """Beyond Ray: class bodies look names up in another way than functions do, also those of annotations."""

    @ray.remote
    def area(radius: float) -> tuple[float, list[str]]:
        class Circle:
            pi = math.pi
            PATIENCE = PATIENCE
            eventually = 1
            more = eventually

        missing = [name for name in ("eventually", "Iterator") if name not in globals()]
        return Circle.pi * radius + Circle.PATIENCE, missing

    expected = math.pi * 2 + PATIENCE, ["eventually", "Iterator"]
    assert ray.get(area.remote(2.0)) == expected, "and no more than it names"


def test_closures_see_what_they_saw_when_called() -> None:
    scale = 10

    @ray.remote
    def f(x: int) -> int:
        return x * scale

    assert ray.get(f.remote(2)) == 20
    scale = 100
    assert ray.get(f.remote(2)) == 200


def test_wrong_calls_are_told_at_once() -> None:
    @ray.remote
    def f(a: int) -> None: ...

    with pytest.raises(TypeError, match="missing a required argument"):
        f.remote()
    with pytest.raises(TypeError, match=r"f\.remote\(\)"):
        f(1)
    with pytest.raises(ValueError, match="Valid ones are"):
        f.options(cpus=1)


@pytest.mark.parametrize(
    ("stop", "error", "words"),
    [
        pytest.param(lambda: breakpoint(), RuntimeError, r"no terminal.*_function.*PYTHONBREAKPOINT", marks=DEBUGGER),
        pytest.param(ray.util.pdb.set_trace, RuntimeError, r"no terminal.*_function.*PYTHONBREAKPOINT", marks=DEBUGGER),
        pytest.param(
            lambda: pdb.set_trace(), RuntimeError, r"no terminal.*_function.*PYTHONBREAKPOINT", marks=DEBUGGER
        ),
        (lambda: input("name? "), EOFError, "no terminal to read from.*argument"),
    ],
    ids=["breakpoint", "ray.util.pdb", "pdb", "input"],
)
def test_a_task_has_no_terminal(stop: Callable[[], Any], error: type[Exception], words: str) -> None:
    @ray.remote
    def task() -> str:
        stop()
        return "not here"

    with pytest.raises(error, match=words):
        ray.get(task.remote(), timeout=60)


def test_environment_variables(tmp_path: Path) -> None:
    @ray.remote
    def read(name: str) -> str | None:
        return os.environ.get(name)

    env = {"env_vars": {"CONTRACT_VALUE": "yes"}}
    assert ray.get(read.options(runtime_env=env).remote("CONTRACT_VALUE")) == "yes"
    assert ray.get(read.remote("CONTRACT_VALUE")) is None


def test_max_calls_ends_the_worker() -> None:
    @ray.remote(max_calls=1)
    def pid() -> int:
        return os.getpid()

    pids = [ray.get(pid.remote()) for _ in range(3)]
    assert len(set(pids)) == 3


def test_functions_and_handles_pickled_by_hand() -> None:
    import cloudpickle

    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    @ray.remote
    class Holder:
        def get(self) -> int:
            return 7

    @ray.remote
    def use(function: bytes, handle: bytes, ref: bytes) -> list[int]:
        import pickle

        inside = [pickle.loads(each) for each in (function, handle, ref)]
        return ray.get([inside[0].remote(4), inside[1].get.remote(), inside[2]])

    holder, ref = Holder.remote(), ray.put(9)
    texts = [cloudpickle.dumps(each) for each in (double, holder, ref)]
    assert ray.get(use.remote(*texts)) == [8, 7, 9]
    assert ray.get(cloudpickle.loads(texts[0]).remote(5)) == 10


def test_a_cached_function_is_shipped_and_again_when_its_globals_change() -> None:
    scope: dict[str, Any] = {"functools": functools, "FACTOR": 2, "__name__": "__main__"}  # As in a notebook.
    exec("@functools.cache\ndef scaled(number):\n    return number * FACTOR\n", scope)
    exec("def use(number):\n    return scaled(number)\n", scope)
    use = ray.remote(scope["use"])
    assert ray.get(use.remote(3), timeout=PATIENCE) == 6
    scope["FACTOR"] = 5
    assert ray.get(use.remote(3), timeout=PATIENCE) == 15


def test_arguments_of_a_wrong_kind_do_not_end_the_session() -> None:
    @ray.remote
    class Actor:
        def work(self) -> int:
            return 1

    @ray.remote
    def work() -> int:
        return 1

    actor = Actor.remote()
    assert ray.get(actor.work.remote()) == 1
    ray.kill(actor, no_restart=1)  # type: ignore[arg-type]

    def is_dead() -> bool:  # On a cluster a call may overtake the kill.
        try:
            ray.get(actor.work.remote())
        except exceptions.RayActorError:
            return True
        return False

    eventually(is_dead)
    ray.cancel(work.remote(), force=1, recursive=None)  # type: ignore[arg-type]
    wrong: Any = None
    with pytest.raises(TypeError, match="name of a placement group"):
        ray.util.placement_group([{"CPU": 1}], name=wrong)
    with pytest.raises(ValueError, match="not valid Unicode"):
        ray.util.placement_group([{"CPU": 1}], name="\ud800")
    for limit in (1.5, float("inf"), float("nan"), "ten"):
        with pytest.raises(ValueError, match="limit must be a whole number"):
            ray.util.state.list_tasks(limit=limit)  # type: ignore[arg-type]
    assert eventually(lambda: ray.util.state.list_tasks(limit=2**70))  # Ray learns of a task a second later.
    assert ray.get(work.remote()) == 1
