"""Programs that call and wait by turns, whose calls take the short way: nothing else may differ."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.config import shared_memory_folder
from jupyter_ray.engine import registry
from jupyter_ray.events import TaskFinished, TaskStarted, TaskSubmitted
from jupyter_ray.local.client import direct as direct_module
from jupyter_ray.local.engine.local import LocalEngine
from tests.contract.helpers import Log, eventually, is_running

pytestmark = pytest.mark.local_only("there is no short way past the scheduler that could be distinguished")


@ray.remote
def identity(value: Any) -> Any:
    return value


@ray.remote
def total(*values: Any) -> int:
    return int(sum(np.sum(value, dtype=int) for value in values))


@ray.remote
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def inc(self, wait: float = 0.0) -> int:
        time.sleep(wait)
        self.value += 1
        return self.value

    def nested(self, other: Any) -> int:
        return int(ray.get(other.inc.remote()))

    def total(self, *values: Any, wait: float = 0.0) -> int:
        time.sleep(wait)
        return int(sum(np.sum(value, dtype=int) for value in values))

    def make(self) -> Any:
        return ray.put(self.value)

    def fail(self) -> None:
        raise KeyError("no")

    def say(self, text: str) -> None:
        print(text)

    def pid(self) -> int:
        return os.getpid()

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def leave(self) -> None:
        ray.actor.exit_actor()


def ask_by_turns(count: int, function: Any = identity) -> tuple[list[Any], int]:
    """Call and wait by turns; returns the answers, and how many calls took the short way."""
    direct: Any = engine().client.direct
    exchange, directly = direct._exchange, []

    def spy(call: Any, *rest: Any) -> None:
        directly.append(call)
        exchange(call, *rest)

    direct._exchange = spy
    try:
        answers = [ray.get(function.remote(number)) for number in range(count)]
    finally:
        direct._exchange = exchange
    return answers, len(directly)


@ray.remote
def child(begun: Path | None, pid: int = 0) -> None:
    if begun is not None:
        begun.write_text(f"{pid} {os.getpid()}")
        time.sleep(300)


@ray.remote(max_retries=0, max_calls=1)
def parent(begun: Path, threaded: bool) -> None:
    """Call a child that lasts, by the short way, and have nobody tell the runtime of it."""
    eventually(lambda: ray.get(child.remote(None)) is None and any(route.leased for route in routes()))
    direct_module.PATIENCE_SECONDS = 300
    asking = threading.Thread(target=lambda: ray.get(child.remote(begun, os.getpid())), daemon=True)
    if threaded:
        asking.start()
        asking.join()
    else:
        asking.run()


def engine() -> LocalEngine:
    current = registry.current()
    assert isinstance(current, LocalEngine)
    return current


def open_route(actor: Any) -> None:
    """Call by turns until the runtime has shown the way."""
    eventually(lambda: ray.get(actor.inc.remote()) and actor._ray_actor_id.binary() in engine().client.direct)


def open_lease() -> None:
    eventually(lambda: ray.get(identity.remote(1)) and any(route.leased for route in routes()))


def routes() -> list[Any]:
    return list(engine().client.direct.routes.usable.values())


@pytest.mark.usefixtures("cluster")
class TestShared:
    def test_values_and_order(self) -> None:
        counter = Counter.remote()
        open_route(counter)
        first = ray.get(counter.inc.remote())
        got = [ray.get(counter.inc.remote()) for _ in range(50)]
        burst = [counter.inc.remote() for _ in range(50)]
        alone = ray.get(counter.inc.remote())
        assert got == list(range(first + 1, first + 51))
        assert ray.get(burst) == list(range(first + 51, first + 101))
        assert alone == first + 101

    def test_wait_takes_the_short_way_too(self) -> None:
        counter = Counter.remote()

        def waited(ref: Any, **options: Any) -> bool:
            return ray.wait([ref], **options) == ([ref], [])

        eventually(lambda: waited(counter.inc.remote()) and counter._ray_actor_id.binary() in engine().client.direct)
        eventually(lambda: waited(identity.remote(1)) and any(route.leased for route in routes()))
        first = ray.get(counter.inc.remote())
        ref = counter.inc.remote()
        assert waited(ref, timeout=30)
        assert ray.get(ref) == first + 1
        failed = counter.fail.remote()
        assert waited(failed)
        with pytest.raises(KeyError):
            ray.get(failed)
        slow = counter.inc.remote(wait=3)
        assert ray.wait([slow], timeout=1.1) == ([], [slow])
        assert ray.get(slow) == first + 2

    def test_a_call_that_is_not_waited_for_goes_out(self, tmp_path: Path) -> None:
        @ray.remote
        class Writer:
            def inc(self) -> int:
                return 1

            def write(self) -> None:
                (tmp_path / "written").touch()

        writer = Writer.remote()
        open_route(writer)
        ref = writer.write.remote()
        eventually((tmp_path / "written").exists)
        del ref

    def test_a_dropped_call_runs_and_leaves_nothing(self) -> None:
        counter = Counter.remote()
        open_route(counter)
        before = ray.get(counter.inc.remote())
        for _ in range(20):
            counter.inc.remote()
        assert ray.get(counter.inc.remote()) == before + 21
        eventually(lambda: engine().statistics()["objects"] == 0)

    def test_a_call_is_made_also_if_the_handle_is_dropped_at_once(self) -> None:
        for _ in range(5):
            counter = Counter.remote()
            open_route(counter)
            ref = counter.inc.remote()
            del counter
            gc.collect()
            engine().client.references.flush()
            assert ray.get(ref) > 0

    def test_events_are_told(self) -> None:
        counter = Counter.remote()
        with Log() as log:
            open_route(counter)
            ref = counter.inc.remote()
            ray.get(ref)
            task = ref.task_id().hex()
            for kind in (TaskSubmitted, TaskStarted, TaskFinished):
                assert len(eventually(lambda kind=kind: log.find(kind, task=task))) == 1  # type: ignore[misc]

    def test_the_reference_can_be_handed_on(self) -> None:
        counter = Counter.remote()
        open_route(counter)
        ref = counter.inc.remote()
        value = ray.get(ref)
        assert ray.get(identity.remote(ref)) == value
        assert ray.get(ray.get(identity.remote([ref]))[0]) == value

    def test_calls_that_last_are_seen_and_can_be_waited_for(self) -> None:
        counter = Counter.remote()
        open_route(counter)
        ref = counter.inc.remote(0.5)
        got = threading.Thread(target=ray.get, args=(ref,))
        got.start()
        assert ray.wait([ref], timeout=0)[0] == []
        assert ray.get(ref) == ray.get(counter.inc.remote()) - 1
        got.join()

    def test_a_method_that_calls_others(self) -> None:
        inner, outer = Counter.remote(), Counter.remote()
        open_route(outer)
        numbers = [ray.get(outer.nested.remote(inner)) for _ in range(20)]
        assert numbers == list(range(1, 21))

    def test_values_that_hold_references(self) -> None:
        counter = Counter.remote()
        open_route(counter)
        value = ray.get(counter.inc.remote())
        assert [ray.get(ray.get(counter.make.remote())) for _ in range(5)] == [value] * 5

    @pytest.mark.parametrize("size", [10, 1_000_000])
    def test_arguments_by_reference_are_brought_along(self, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        direct, brought = engine().client.direct, []
        exchange = direct._exchange

        def spy(call: Any, *rest: Any) -> None:
            brought.append(len(call.values))
            exchange(call, *rest)

        monkeypatch.setattr(direct, "_exchange", spy)
        value = np.ones(size, np.uint8)
        put, made = ray.put(value), identity.remote(value)
        ray.get(made)
        counter = Counter.remote()
        open_route(counter)
        with Log() as log:
            assert ray.get(counter.total.remote(put, made)) == 2 * size
            open_lease()
            ref = total.remote(put, made)
            assert ray.get(ref) == 2 * size
            assert brought.count(2) >= 1
            (told,) = eventually(lambda: log.find(TaskSubmitted, task=ref.task_id().hex()))
        assert told.dependencies == [put.hex(), made.hex()]

    def test_an_argument_whose_reference_goes_while_the_call_lasts(self) -> None:
        counter = Counter.remote()
        open_route(counter)
        for wait in (0.0, 0.1):
            assert ray.get(counter.total.remote(ray.put(np.ones(500_000, np.uint8)), wait=wait)) == 500_000
        assert ray.get(counter.total.remote(ray.put(2))) == 2
        eventually(lambda: engine().statistics()["objects"] == 0)

    def test_an_argument_that_is_lost_is_made_again(self) -> None:
        open_lease()
        made = identity.remote(np.ones(500_000, np.uint8))
        ray.get(made)
        client = engine().client
        path = shared_memory_folder(engine().process.session) / client.references.payloads[made.binary()].segment
        client.store.leave_old(), client.store.leave_old()
        path.unlink()
        open_lease()
        assert ray.get(total.remote(made), timeout=60) == 500_000
        assert ray.get(total.remote(made), timeout=60) == 500_000

    def test_errors(self) -> None:
        counter = Counter.remote()
        open_route(counter)
        for _ in range(5):
            with pytest.raises(KeyError, match="no"):
                ray.get(counter.fail.remote())
        assert ray.get(counter.inc.remote()) > 0

    def test_an_actor_that_dies_in_a_call(self) -> None:
        counter = Counter.remote()
        open_route(counter)
        with pytest.raises(exceptions.ActorDiedError):
            ray.get(counter.die.remote())
        with pytest.raises(exceptions.ActorDiedError):
            ray.get(counter.inc.remote())

    def test_an_actor_that_leaves_in_a_call(self) -> None:
        counter = Counter.remote()
        open_route(counter)
        with pytest.raises(exceptions.ActorDiedError):
            ray.get(counter.leave.remote())

    def test_an_actor_that_is_killed_is_made_again_for_the_next_call(self) -> None:
        counter = Counter.options(max_restarts=1).remote()
        open_route(counter)
        pid = ray.get(counter.pid.remote())
        ray.kill(counter, no_restart=False)
        with pytest.raises(exceptions.ActorUnavailableError):
            ray.get(counter.inc.remote())
        assert ray.get(counter.inc.options(max_task_retries=1).remote()) == 1
        assert not is_running(pid)

    def test_a_call_is_tried_again_after_the_process_died(self) -> None:
        counter = Counter.options(max_restarts=-1, max_task_retries=-1).remote()
        open_route(counter)
        os.kill(ray.get(counter.pid.remote()), signal.SIGKILL)
        assert ray.get(counter.inc.remote()) == 1

    def test_an_interrupt_while_waiting_loses_nothing(self) -> None:
        counter = Counter.remote()
        open_route(counter)
        ref = counter.inc.remote(1.0)
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            ray.get(ref)
        assert ray.get(ref) == ray.get(counter.inc.remote()) - 1

    def test_a_cancel_reaches_a_call_that_runs(self) -> None:
        open_lease()

        @ray.remote
        def sleeper() -> None:
            time.sleep(60)

        ref = sleeper.remote()
        timer = threading.Timer(0.3, ray.cancel, (ref,))
        timer.start()
        with pytest.raises(exceptions.TaskCancelledError):
            ray.get(ref)

    def test_tasks_see_a_new_definition(self) -> None:
        def answer() -> int:
            return 1

        @ray.remote
        def ask() -> int:
            return helper()  # type: ignore[name-defined]  # noqa: F821

        ask._function.__globals__["helper"] = answer
        assert [ray.get(ask.remote()) for _ in range(20)] == [1] * 20
        ask._function.__globals__["helper"] = lambda: 2
        assert [ray.get(ask.remote()) for _ in range(20)] == [2] * 20
        del ask._function.__globals__["helper"]

    def test_calls_in_a_task_take_the_short_way_too(self) -> None:
        @ray.remote
        class Caller:
            def ask(self, count: int) -> tuple[list[Any], int]:
                return ask_by_turns(count)

        @ray.remote
        def caller(count: int) -> tuple[list[Any], int]:
            return ask_by_turns(count)

        caller_actor = Caller.remote()
        for asked in (caller.remote(100), caller_actor.ask.remote(100)):
            answers, directly = ray.get(asked)
            assert answers == list(range(100))
            assert directly > 50

    def test_so_do_those_of_functions_that_others_have_defined(self) -> None:
        @ray.remote
        def answer(value: int) -> int:
            return value

        @ray.remote
        def knows_it(count: int) -> tuple[list[Any], int]:
            return ask_by_turns(count, answer)

        @ray.remote
        def is_given_it(count: int, function: Any) -> tuple[list[Any], int]:
            return ask_by_turns(count, function)

        for asked in (knows_it.remote(100), is_given_it.remote(100, answer)):
            answers, directly = ray.get(asked)
            assert answers == list(range(100))
            assert directly > 50

    def test_a_task_that_calls_by_turns_sees_a_new_definition(self) -> None:
        @ray.remote
        class Caller:
            def ask(self) -> list[int]:
                return [ray.get(function.remote()) for _ in range(20)]

        @ray.remote
        def function() -> int:
            return number  # type: ignore[name-defined]  # noqa: F821

        names = function._function.__globals__
        caller = Caller.remote()
        for names["number"] in range(5):
            ray.get(function.remote())  # The driver ships it; the caller has only heard of it.
            assert ray.get(caller.ask.remote()) == [names["number"]] * 20
        del names["number"]

    @pytest.mark.parametrize("threaded", [False, True])
    def test_a_cancel_reaches_what_a_task_has_just_brought_to_a_worker(self, tmp_path: Path, threaded: bool) -> None:
        ref = parent.remote(tmp_path / "begun", threaded)
        eventually((tmp_path / "begun").exists)
        ray.cancel(ref)
        with pytest.raises(exceptions.TaskCancelledError):
            ray.get(ref, timeout=60)
        eventually(lambda: ray.available_resources()["CPU"] == 4.0)
        assert ray.get(identity.options(num_cpus=4).remote(5), timeout=60) == 5

    def test_what_a_dead_task_has_just_brought_to_a_worker_ends_with_it(self, tmp_path: Path) -> None:
        begun = tmp_path / "begun"
        ref = parent.remote(begun, False)
        eventually(lambda: begun.exists() and len(begun.read_text().split()) == 2)
        parent_pid, child_pid = map(int, begun.read_text().split())
        os.kill(parent_pid, signal.SIGKILL)
        with pytest.raises(exceptions.WorkerCrashedError):
            ray.get(ref, timeout=60)
        eventually(lambda: not is_running(child_pid))
        assert ray.get(identity.options(num_cpus=4).remote(5), timeout=60) == 5

    def test_what_is_leased_is_free_for_others(self) -> None:
        open_lease()
        assert ray.available_resources()["CPU"] == 4.0
        assert ray.get(identity.options(num_cpus=4).remote(5), timeout=30) == 5
        open_lease()
        eventually(lambda: not any(route.leased for route in routes()))

    def test_a_task_on_a_leased_worker_that_dies_is_tried_again(self, tmp_path: Path) -> None:
        open_lease()

        @ray.remote
        def once() -> str:
            if not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return "again"

        assert ray.get(once.remote()) == "again"

    def test_nested_tasks_on_a_leased_worker(self) -> None:
        @ray.remote
        def outer(depth: int) -> int:
            return depth if depth == 0 else 1 + int(ray.get(outer.remote(depth - 1)))

        open_lease()
        assert [ray.get(outer.remote(8)) for _ in range(5)] == [8] * 5

    def test_what_it_prints_comes_before_the_value(self) -> None:
        seen: list[str] = []

        @ray.remote
        def speak(number: int) -> int:
            print(f"number {number}")
            return number

        undo = engine().subscribe(lambda batch: seen.extend(getattr(each, "text", "") for each in batch))
        open_lease()
        for number in range(20):
            assert ray.get(speak.remote(number)) == number
        eventually(lambda: sum(text.count("number") for text in seen) == 20)
        undo()

    def test_lines_of_nested_calls_keep_their_order(self) -> None:
        seen: list[str] = []
        inner = Counter.remote()

        @ray.remote
        def outer(inner: Any, number: int) -> None:
            print(f"before {number}")
            ray.get(inner.say.remote(f"inside {number}"))
            print(f"after {number}")

        undo = engine().subscribe(lambda batch: seen.extend(getattr(each, "text", "") for each in batch))
        for number in range(20):
            ray.get(outer.remote(inner, number))
        eventually(lambda: "after 19" in "".join(seen))
        undo()
        lines = [line for line in "".join(seen).splitlines() if line.startswith(("before", "inside", "after"))]
        assert lines == [f"{word} {number}" for number in range(20) for word in ("before", "inside", "after")]

    def test_an_async_and_a_threaded_actor(self) -> None:
        @ray.remote
        class Async:
            async def inc(self) -> int:
                return 7

        quick: Any = Async.remote()
        threaded: Any = Counter.options(max_concurrency=4).remote()
        open_route(quick)
        open_route(threaded)
        assert [ray.get(quick.inc.remote()) for _ in range(20)] == [7] * 20
        first = ray.get(threaded.inc.remote())
        assert [ray.get(threaded.inc.remote()) for _ in range(20)] == list(range(first + 1, first + 21))

    def test_threads_that_call_by_turns(self) -> None:
        counters = [Counter.remote() for _ in range(3)]
        for counter in counters:
            open_route(counter)
        results: dict[int, list[int]] = {}

        def work(number: int) -> None:
            results[number] = [ray.get(counters[number].inc.remote()) for _ in range(200)]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for numbers in results.values():
            assert numbers == list(range(numbers[0], numbers[0] + 200))


def test_nothing_is_kept_of_actors_that_nobody_has(cluster: Any) -> None:
    engine = registry.current()
    assert isinstance(engine, LocalEngine)
    last = engine.client.direct._last
    gc.collect()
    for _ in range(3):
        actor = Counter.remote()
        ray.get([actor.inc.remote() for _ in range(3)])
        key = actor._actor_id.binary()
        assert key in last
        del actor
        eventually(lambda key=key: key not in last)  # type: ignore[misc]


def test_an_interrupt_right_after_a_call_was_sent_lets_go_of_its_value(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(num_cpus=1)
    engine = registry.current()
    assert isinstance(engine, LocalEngine)
    direct = engine.client.direct
    submit = direct.submit

    def interrupted(*how: Any) -> None:
        submit(*how)
        engine.client.flush()
        raise KeyboardInterrupt

    @ray.remote
    def f() -> int:
        return 1

    assert ray.get(f.remote()) == 1
    monkeypatch.setattr(direct, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        f.remote()
    monkeypatch.undo()
    eventually(lambda: [each.state for each in ray.util.state.list_tasks()] == ["FINISHED"] * 2)
    eventually(lambda: not ray.util.state.list_objects())
