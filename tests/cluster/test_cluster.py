"""What only a cluster has: several nodes, Ray's own libraries beside this package, its state in the panel's events."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import events as ev
from jupyter_ray.engine import registry
from jupyter_ray.exceptions import ActorDiedError
from tests.cluster.conftest import Join
from tests.cluster.nodes import Cluster
from tests.contract.helpers import Log, eventually

pytestmark = pytest.mark.usefixtures("session")


@ray.remote
def node() -> str:
    return ray.get_runtime_context().get_node_id()


def test_tasks_run_on_both_workers() -> None:
    places = [node.options(resources={name: 1}).remote() for name in ("first", "second")]
    first, second = ray.get(places)
    assert first != second
    assert {first, second} <= {row["NodeID"] for row in ray.nodes()}
    assert len(ray.nodes()) == 3


def test_a_large_value_travels_between_nodes() -> None:
    import numpy as np

    @ray.remote(resources={"first": 1})
    def make() -> Any:
        return np.arange(1_000_000)

    @ray.remote(resources={"second": 1})
    def total(array: Any) -> int:
        assert not array.flags.writeable
        return int(array.sum())

    assert ray.get(total.remote(make.remote())) == 499_999_500_000


def test_gpu_ids_and_what_is_held() -> None:
    @ray.remote(num_gpus=1, num_cpus=1)
    def held() -> Any:
        context = ray.get_runtime_context()
        return ray.get_gpu_ids(), os.environ["CUDA_VISIBLE_DEVICES"], context.get_assigned_resources()

    ids, visible, amounts = ray.get(held.remote())
    assert [str(number) for number in ids] == visible.split(",")
    assert len(ids) == 1
    assert amounts == {"CPU": 1.0, "GPU": 1.0}


def test_references_and_handles_are_rays_own() -> None:
    import ray as native

    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.value = 0

        def inc(self) -> int:
            self.value += 1
            return self.value

    @native.remote
    def rays_own(value: int, handle: Any) -> int:
        import jupyter_ray

        return value + int(jupyter_ray.get(handle.inc.remote()))

    ref = ray.put(41)
    assert isinstance(ref, native.ObjectRef)
    assert isinstance(ref, ray.ObjectRef)
    assert native.get(ref) == 41
    counter = Counter.remote()
    theirs = rays_own.remote(ref, counter)
    assert ray.get(theirs) == 42
    assert ray.wait([theirs], timeout=30)[0] == [theirs]
    assert ray.get(ray.remote(lambda value: value * 2).remote(theirs)) == 84
    with pytest.raises(ZeroDivisionError):
        native.get(ray.remote(lambda: 1 / 0).remote())
    pool = native.util.ActorPool([counter])
    assert list(pool.map(lambda handle, _: handle.inc.remote(), range(3))) == [2, 3, 4]


def test_a_librarys_own_process_is_in_the_session() -> None:
    import ray as native

    @native.remote(max_calls=1)  # A process of its own, in which none of our tasks has run.
    def rays_own() -> tuple[int, bool]:
        import jupyter_ray

        return int(jupyter_ray.get(jupyter_ray.put(7))), jupyter_ray.is_initialized()

    assert ray.get(rays_own.remote()) == (7, True)


def test_the_panel_sees_parents_holdings_places_and_holders(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote
    def child(handle: Any) -> int:
        while not gate.exists():
            time.sleep(0.01)
        return 1

    @ray.remote
    class Held:
        def ping(self) -> int:
            return 1

    @ray.remote
    def parent(handle: Any) -> int:
        return int(ray.get(child.remote(handle)))

    with Log() as log:
        actor = Held.remote()
        ray.get(actor.ping.remote())
        ref = parent.remote(actor)
        outer = ref.task_id().hex()
        [inner] = eventually(lambda: log.find(ev.TaskSubmitted, name="child"))
        assert inner.parent == outer
        [started] = eventually(lambda: log.find(ev.TaskStarted, task=inner.task))
        assert started.held == {"CPU": 1.0}
        [worker] = log.find(ev.WorkerStarted, worker=started.worker)
        assert worker.node in {row["NodeID"] for row in ray.nodes()}
        eventually(lambda: log.find(ev.TaskBlocked, task=outer))
        holders = {event.holder for event in log.find(ev.HandlePassed, actor=actor._actor_id.hex())}
        assert {outer, inner.task, "driver"} <= holders
        eventually(lambda: log.find(ev.ActorAlive, actor=actor._actor_id.hex()))
        eventually(lambda: "is blocked in get()" in ray.why(ref))
        gate.touch()
        assert ray.get(ref) == 1
        eventually(lambda: log.find(ev.TaskFinished, task=outer))
        eventually(lambda: log.find(ev.HandleDropped, actor=actor._actor_id.hex(), holder=inner.task))


def test_the_nodes_and_what_each_has() -> None:
    with Log() as log:
        [ready] = eventually(lambda: log.find(ev.RuntimeReady))
    assert {each.id for each in ready.nodes} == {row["NodeID"] for row in ray.nodes()}
    assert len({each.name for each in ready.nodes}) == 3
    assert ready.nodes[0].name.endswith("(head)")
    assert sorted(each.resources.get("CPU", 0) for each in ready.nodes) == [0, 2, 2]


def test_a_wait_that_can_never_end_is_told() -> None:
    @ray.remote(num_gpus=1)
    def inner() -> None: ...

    @ray.remote(num_gpus=1)
    def outer() -> None:
        ray.get(inner.remote())

    with pytest.raises(ray.exceptions.ResourceDeadlockError, match=r"outer holds GPU: 1 and waits for .*inner"):
        ray.get(outer.remote(), timeout=60)


def test_a_caller_does_not_run_far_ahead_of_an_actor(tmp_path: Path) -> None:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.value = 0

        def inc(self) -> int:
            self.value += 1
            return self.value

    @ray.remote
    class Selfish:
        def again(self, me: Any, number: int) -> int:
            self.refs = [me.nothing.remote() for _ in range(number)]
            return len(self.refs)

        def nothing(self) -> None: ...

    counter = Counter.remote()
    assert ray.get(counter.inc.remote()) == 1
    refs = [counter.inc.remote() for _ in range(5_000)]
    done, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
    assert len(done) > 3_000  # Most had run before the last call was made.
    assert ray.get(refs) == list(range(2, 5_002))
    selfish = Selfish.remote()
    assert ray.get(selfish.again.remote(selfish, 2_000), timeout=60) == 2_000  # Nobody waits for himself.


def test_the_streams_of_an_actor_have_a_bound() -> None:
    @ray.remote(_actor_generator_backpressure_num_objects=3)
    class Counting:
        def __init__(self) -> None:
            self.made = 0

        async def numbers(self, count: int) -> AsyncIterator[int]:
            for number in range(count):
                self.made += 1
                yield number

        async def so_far(self) -> int:
            return self.made

    actor = Counting.remote()
    stream = actor.numbers.remote(9)
    assert ray.get(next(stream)) == 0
    eventually(lambda: ray.get(actor.so_far.remote()) >= 4)
    assert ray.get(actor.so_far.remote()) < 6
    assert [ray.get(ref) for ref in stream] == list(range(1, 9))


def test_tasks_that_libraries_start_with_ray_itself_are_seen(tmp_path: Path) -> None:
    import ray as native

    gate = tmp_path / "gate"

    @native.remote
    def of_a_library() -> None:
        while not gate.exists():
            time.sleep(0.01)

    with Log() as log:
        ref = of_a_library.remote()
        [submitted] = eventually(lambda: [each for each in log.find(ev.TaskSubmitted) if "of_a_library" in each.name])
        eventually(lambda: log.find(ev.TaskStarted, task=submitted.task))
        gate.touch()
        native.get(ref)
        eventually(lambda: log.find(ev.TaskFinished, task=submitted.task))


def test_the_state_is_asked_once_a_second_at_most_also_with_many_tasks() -> None:
    engine: Any = registry.current()
    poller = engine.reports.poller
    asked: list[tuple[float, str]] = []

    def counted(what: str) -> Any:
        ask = getattr(engine.state, what)

        def asks(**options: Any) -> Any:
            asked.append((time.monotonic(), what))
            return ask(**options)

        return asks

    @ray.remote
    def nothing() -> None: ...

    kinds = ("tasks", "actors", "workers")
    for kind in kinds:
        setattr(engine.state, kind, counted(kind))
    try:
        with Log() as log:
            ray.get([nothing.remote() for _ in range(10_000)])
            eventually(lambda: len(log.find(ev.TaskFinished)) >= 10_000, 60)
            eventually(lambda: {"tasks", "actors"} <= {what for _, what in asked})
    finally:
        for kind in kinds:
            delattr(engine.state, kind)
    assert all(later - earlier >= 1.0 for (earlier, _), (later, _) in itertools.pairwise(asked))
    assert poller.looks >= len(asked)  # One question is one look.


def test_what_ray_leaves_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Any = registry.current()
    poller = engine.reports.poller
    monkeypatch.setattr(engine.state, "tasks", lambda **options: ([], 5))
    monkeypatch.setattr(poller, "_truncated", False)
    with Log() as log:
        eventually(lambda: [line for line in log.find(ev.LogLines) if "left out 5 tasks" in line.text])


def test_an_interrupt_during_get_returns_at_once() -> None:
    import signal

    @ray.remote
    def sleep() -> None:
        time.sleep(60)

    ref = sleep.remote()
    began: list[float] = []

    def interrupt() -> None:
        time.sleep(0.5)
        began.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        ray.get(ref)
    assert time.monotonic() - began[0] < 1
    ray.cancel(ref, force=True)


def test_a_definition_that_is_changed_reaches_a_running_session() -> None:
    scope: dict[str, Any] = {"ray": ray, "__name__": "__main__"}
    exec(
        "@ray.remote\ndef inner():\n    return 1\n@ray.remote\ndef outer():\n    return ray.get(inner.remote())", scope
    )
    assert ray.get(scope["outer"].remote()) == 1
    exec("@ray.remote\ndef inner():\n    return 2", scope)
    assert ray.get(scope["outer"].remote()) == 2


def test_a_detached_actor_outlives_its_session(join: Join) -> None:
    @ray.remote
    class Keeper:
        def __init__(self) -> None:
            self.values: list[int] = []

        def add(self, value: int) -> list[int]:
            self.values.append(value)
            return self.values

    keeper = Keeper.options(name="keeper", lifetime="detached").remote()
    assert ray.get(keeper.add.remote(1)) == [1]
    ray.shutdown()
    join()
    again = ray.get_actor("keeper")
    assert ray.get(again.add.remote(2)) == [1, 2]
    ray.kill(again)


def test_a_session_may_end_while_many_calls_wait(ray_cluster: Cluster) -> None:
    number = 8_000
    program = (
        "import time, jupyter_ray as ray\n"
        f"ray.init({ray_cluster.address!r}, log_to_driver=False)\n"
        "sleeper = ray.remote(type('Sleeper', (), {'sleep': lambda self: time.sleep(1)})).remote()\n"
        "task = ray.remote(lambda *args: time.sleep(1))\n"
        f"refs = [task.remote() for _ in range({number})]\n"
        f"refs += [task.remote(refs[-1]) for _ in range({number})]\n"
        f"refs += [sleeper.sleep.remote() for _ in range({number})]\n"
        "ray.shutdown()\n"
        "print('ended')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.endswith("ended\n")


def test_a_demand_that_no_node_can_meet_is_refused() -> None:
    @ray.remote(num_cpus=3)  # Each worker has two.
    def wide() -> None: ...

    @ray.remote(num_gpus=9)
    class Large: ...

    with pytest.raises(ray.exceptions.TaskUnschedulableError, match=r"CPU: 3.*no node"):
        wide.remote()
    with pytest.raises(ray.exceptions.ActorUnschedulableError, match="GPU: 9"):
        Large.remote()


def test_who_left_on_purpose_never_comes_back_in_whatever_words_ray_says_so() -> None:
    import ray as native

    from jupyter_ray.ray_cluster.exceptions import translated

    words = "IntentionalSystemExit: Worker has already exited. Detail: User requested to exit the actor."
    told = translated(native.exceptions.ActorUnavailableError(words, b"\1" * 16))
    assert isinstance(told, ActorDiedError)
    assert "exit_actor()" in str(told)
