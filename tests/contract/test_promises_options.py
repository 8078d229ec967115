"""Promises of options: at the decorator, in `.options()`, on methods; and what wrong ones do."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import PendingCallsLimitExceeded, RayTaskError, WorkerCrashedError
from tests.contract.helpers import PATIENCE, eventually

pytestmark = pytest.mark.usefixtures("cluster")


@ray.remote(num_cpus=0)
class Flaky:
    """Each of its methods fails until it was called so often."""

    def __init__(self) -> None:
        self.calls = 0

    def _attempt(self, good: int) -> int:
        self.calls += 1
        if self.calls < good:
            raise KeyError(f"attempt {self.calls}")
        return self.calls

    def plain(self, good: int) -> int:
        return self._attempt(good)

    @ray.method(retry_exceptions=True, max_task_retries=2)
    def patient(self, good: int) -> int:
        return self._attempt(good)

    @ray.method(retry_exceptions=[OSError], max_task_retries=2)
    def choosy(self, good: int) -> int:
        return self._attempt(good)

    def count(self) -> int:
        return self.calls


class FlakyInALoop:
    def __init__(self) -> None:
        self.calls = 0

    async def plain(self, good: int) -> int:
        self.calls += 1
        if self.calls < good:
            raise KeyError(f"attempt {self.calls}")
        return self.calls


@pytest.mark.parametrize(
    ("method", "options", "of_the_actor", "attempts"),
    [
        ("plain", {}, {}, 1),
        ("plain", {}, {"max_task_retries": 3}, 1),
        ("plain", {"retry_exceptions": True}, {}, 1),
        ("plain", {"retry_exceptions": True}, {"max_task_retries": 1}, 2),
        ("plain", {"retry_exceptions": True, "max_task_retries": 2}, {}, 3),
        ("plain", {"retry_exceptions": True, "max_task_retries": 0}, {"max_task_retries": 3}, 1),
        ("plain", {"retry_exceptions": [LookupError], "max_task_retries": 1}, {}, 2),
        ("patient", {}, {}, 3),
        ("patient", {"max_task_retries": 1}, {}, 2),
        ("patient", {"retry_exceptions": False}, {}, 1),
        ("choosy", {}, {}, 1),
    ],
)
def test_errors_of_methods_are_retried_as_often_as_max_task_retries_says(
    method: str, options: dict[str, Any], of_the_actor: dict[str, Any], attempts: int
) -> None:
    flaky = Flaky.options(**of_the_actor).remote()
    with pytest.raises(KeyError, match=f"attempt {attempts}"):
        ray.get(getattr(flaky, method).options(**options).remote(99), timeout=PATIENCE)
    assert ray.get(flaky.count.remote()) == attempts


def test_a_method_is_retried_until_it_succeeds() -> None:
    endless = {"retry_exceptions": True, "max_task_retries": -1}
    assert ray.get(Flaky.remote().plain.options(**endless).remote(5), timeout=PATIENCE) == 5
    looping: Any = ray.remote(num_cpus=0)(FlakyInALoop).remote()
    assert ray.get(looping.plain.options(**endless).remote(4), timeout=PATIENCE) == 4


def test_which_errors_of_tasks_are_retried(tmp_path: Path) -> None:
    @ray.remote
    def inner() -> None:
        raise KeyError("inner")

    @ray.remote(max_retries=1)
    def attempt(name: str, nested: bool) -> None:
        with (tmp_path / name).open("a") as file:
            file.write("x")
        if nested:
            ray.get(inner.remote())
        raise KeyError("here")

    def attempts(kinds: Any, nested: bool = False, **options: Any) -> int:
        name = str(len(list(tmp_path.iterdir())))
        with pytest.raises(KeyError):
            ray.get(attempt.options(retry_exceptions=kinds, **options).remote(name, nested), timeout=PATIENCE)
        return len((tmp_path / name).read_text())

    assert attempts(False) == 1
    assert attempts([]) == 1
    assert attempts((LookupError,)) == 2, "a subclass counts"
    assert attempts([KeyError], nested=True) == 2, "so does what a nested task raised"
    assert attempts([RayTaskError], nested=True) == 2
    assert attempts([OSError], nested=True) == 1
    assert attempts(True, max_retries=0) == 1
    assert attempts(True, max_retries=2) == 3


@pytest.mark.parametrize(("options", "attempts"), [({}, 4), ({"max_retries": 1}, 2), ({"max_retries": 0}, 1)])
def test_how_often_a_crash_is_forgiven(options: dict[str, Any], attempts: int, tmp_path: Path) -> None:
    @ray.remote
    def crash() -> None:
        with (tmp_path / "attempts").open("a") as file:
            file.write("x")
        os._exit(1)

    with pytest.raises(WorkerCrashedError):
        ray.get(crash.options(**options).remote(), timeout=2 * PATIENCE)
    assert (tmp_path / "attempts").read_text() == attempts * "x"


def test_crashes_and_errors_are_forgiven_for_ever_where_it_is_said(tmp_path: Path) -> None:
    @ray.remote(max_retries=-1, retry_exceptions=True)
    def attempt() -> int:
        count = len(list(tmp_path.iterdir()))
        (tmp_path / str(count)).touch()
        if count < 5:
            os._exit(1) if count % 2 else [].pop()
        return count

    assert ray.get(attempt.remote(), timeout=2 * PATIENCE) == 5


@pytest.mark.local_only("which process a task gets is Ray's choice")
def test_max_calls_are_counted_per_worker() -> None:
    @ray.remote(max_calls=2, num_cpus=4)
    def pid() -> int:
        return os.getpid()

    first, second, third, fourth = (ray.get(pid.remote()) for _ in range(4))
    assert first == second != third == fourth
    with pytest.raises(ValueError, match="max_calls"):
        ray.remote(max_calls=1)(Flaky.__ray_metadata__.modified_class)


@pytest.mark.parametrize(
    ("value", "values"),
    [((1, 2), [1, 2]), ([1, 2], [1, 2]), ("ab", ["a", "b"]), ({"k": 1, "l": 2}, ["k", "l"]), (range(2), [0, 1])],
)
def test_what_may_be_several_values(value: Any, values: list[Any]) -> None:
    class Returns:
        def plain(self) -> Any:
            return value

    class ReturnsInALoop:
        async def plain(self) -> Any:
            return value

    @ray.remote(num_returns=2)
    def task() -> Any:
        return value

    assert ray.get(task.remote()) == values
    for kind in (Returns, ReturnsInALoop):
        actor: Any = ray.remote(num_cpus=0)(kind).remote()
        assert ray.get(actor.plain.options(num_returns=2).remote()) == values
        assert actor.plain.options(num_returns=0).remote() is None
        assert ray.get(actor.plain.options(num_returns=None).remote()) == value


@pytest.mark.parametrize(("value", "error"), [((1, 2, 3), ValueError), (None, TypeError), (7, TypeError)])
def test_what_is_not_so_many_values_fails_at_each_reference(value: Any, error: type[Exception]) -> None:
    class Returns:
        def plain(self) -> Any:
            return value

    @ray.remote(num_returns=2)
    def task() -> Any:
        return value

    actor: Any = ray.remote(num_cpus=0)(Returns).remote()
    for ref in (*task.remote(), *actor.plain.options(num_returns=2).remote()):
        with pytest.raises(error) as found:
            ray.get(ref)
        assert isinstance(found.value, RayTaskError)


def test_options_of_a_call_are_its_own_wherever_it_is_made() -> None:
    @ray.remote(name="first")
    def told() -> tuple[Any, Any]:
        context = ray.get_runtime_context()
        return context.get_task_name(), context.get_assigned_resources().get("CPU")

    @ray.remote(num_cpus=0)
    def outer() -> Any:
        return ray.get([told.remote(), told.options(name="second", num_cpus=0.5).remote(), told.remote()])

    class Actor:
        def plain(self) -> Any:
            return outer._function()

        def named(self) -> str | None:
            return ray.get_runtime_context().get_task_name()

        def items(self) -> Iterator[str | None]:
            yield ray.get_runtime_context().get_task_name()

    class Looping:
        async def plain(self) -> Any:
            return [await told.remote(), await told.options(name="second", num_cpus=0.5).remote(), await told.remote()]

    expected = [("first", 1), ("second", 0.5), ("first", 1)]
    actor: Any = ray.remote(num_cpus=0)(Actor).remote()
    looping: Any = ray.remote(num_cpus=0)(Looping).remote()
    for made in (outer.remote(), actor.plain.remote(), looping.plain.remote()):
        assert [tuple(each) for each in ray.get(made, timeout=PATIENCE)] == expected
    assert ray.get([actor.named.remote(), actor.named.options(name="mine").remote()]) == ["Actor.named", "mine"]
    assert ray.get(next(actor.items.options(name="its stream").remote())) == "its stream"


def test_an_actor_that_may_take_calls_out_of_order_takes_those_that_are_ready(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote(num_cpus=0)
    def slow() -> str:
        eventually(gate.exists)
        return "slow"

    @ray.remote(num_cpus=0, allow_out_of_order_execution=True)
    class Notes:
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, text: str) -> list[str]:
            self.notes.append(text)
            return self.notes

    for notes in (Notes.remote(), Notes.options(max_concurrency=2).remote()):
        late, early = notes.note.remote(slow.remote()), notes.note.remote("quick")
        assert ray.get(early, timeout=PATIENCE) == ["quick"]
        gate.touch()
        assert ray.get(late, timeout=PATIENCE) == ["quick", "slow"]
        gate.unlink()


def test_pending_calls_are_counted_for_each_handle(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote(num_cpus=0, max_pending_calls=2)
    class Waits:
        def wait(self) -> int:
            eventually(gate.exists)
            return 1

    @ray.remote(num_cpus=0)
    def call(handle: Any) -> tuple[int, Any]:
        made = []
        try:
            for _ in range(3):
                made.append(handle.wait.remote())
        except PendingCallsLimitExceeded:
            return len(made), made
        return -1, made

    waits = Waits.remote()
    mine = [waits.wait.remote() for _ in range(2)]
    with pytest.raises(PendingCallsLimitExceeded):
        waits.wait.remote()
    count, theirs = ray.get(call.remote(waits), timeout=PATIENCE)
    assert count == 2, "another process's handle has its own count"
    gate.touch()
    assert ray.get(mine + theirs, timeout=PATIENCE) == [1] * 4


@pytest.mark.parametrize(
    ("groups", "error"),
    [
        ({"io": "x"}, TypeError),
        ({"io": 1.5}, TypeError),
        ({"io": True}, TypeError),
        ({"io": None}, TypeError),
        ({1: 1}, TypeError),
        (["io"], TypeError),
        ({"io": 0}, ValueError),
        ({"io": -1}, ValueError),
        ({"\ud800": 1}, ValueError),
    ],
)
def test_concurrency_groups_of_a_wrong_kind_are_refused_where_they_are_written(
    groups: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="concurrency_groups"):
        ray.remote(concurrency_groups=groups)(FlakyInALoop)


@pytest.mark.parametrize("returns", ["streaming", "dynamic"])
def test_a_method_that_yields_nothing_is_refused_as_a_stream_where_it_is_written(returns: str) -> None:
    with pytest.raises(ValueError, match=f"num_returns='{returns}' can only be used with generator functions"):

        class Plain:
            @ray.method(num_returns=returns)
            def one(self) -> int:
                return 1


def test_how_many_items_a_step_has_is_said_by_the_method_alone() -> None:
    @ray.remote
    class Pairs:
        @ray.method(_num_objects_per_yield=2)
        def pairs(self) -> Iterator[tuple[int, int]]:
            yield 1, 2

    pairs: Any = Pairs.remote()
    assert [ray.get(ref) for ref in pairs.pairs.options(name="two").remote()] == [1, 2]
    with pytest.raises(ValueError, match="_num_objects_per_yield cannot be overridden"):
        pairs.pairs.options(_num_objects_per_yield=1)


@pytest.mark.parametrize("limit", [1, 3])
def test_calls_that_have_ended_are_not_pending(limit: int) -> None:
    @ray.remote(num_cpus=0, max_pending_calls=limit)
    class Quick:
        def answer(self) -> int:
            return 1

        def items(self) -> Any:
            yield 1

    actor: Any = Quick.remote()
    for _ in range(50):
        assert ray.get([actor.answer.remote() for _ in range(limit)], timeout=PATIENCE) == [1] * limit
    for _ in range(10):
        calls = [actor.answer.remote() for _ in range(limit)]
        assert ray.wait(calls, num_returns=limit, timeout=PATIENCE) == (calls, [])
        streams = [actor.items.remote() for _ in range(limit)]
        assert [len(list(stream)) for stream in streams] == [1] * limit


def test_a_truth_value_is_a_number_of_resources() -> None:
    @ray.remote(num_cpus=True, num_gpus=False)
    def there() -> dict[str, float]:
        found: dict[str, float] = ray.get_runtime_context().get_assigned_resources()
        return found

    assert ray.get(there.remote(), timeout=PATIENCE) == {"CPU": 1.0}


def test_a_fraction_of_what_is_waited_for() -> None:
    refs = [ray.put(each) for each in range(4)]
    assert len(ray.wait(refs, num_returns=2.5, timeout=PATIENCE)[0]) == 2  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be greater"):
        ray.wait(refs, num_returns=4.5, timeout=PATIENCE)  # type: ignore[arg-type]
