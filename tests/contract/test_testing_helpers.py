"""What people who write programs for Ray use in their own tests: signals, conditions, what tasks print, who died."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray._common.test_utils import (
    Semaphore,
    SignalActor,
    async_wait_for_condition,
    wait_for_condition,
)
from jupyter_ray._private import internal_api, test_utils
from jupyter_ray._private import utils as rays_utils

pytestmark = pytest.mark.usefixtures("cluster")

PATIENCE = 30.0


@ray.remote
class Worker:
    def pid(self) -> int:
        return os.getpid()

    def die(self) -> None:
        os._exit(1)

    def says(self, text: str) -> None:
        print(text)
        print(text.upper(), file=sys.stderr)


def test_a_signal_lets_all_go_on_that_wait_for_it() -> None:
    signal = SignalActor.remote()
    waiting = [signal.wait.remote() for _ in range(3)]
    wait_for_condition(lambda: ray.get(signal.cur_num_waiters.remote()) == 3, timeout=PATIENCE)
    assert ray.get(signal.wait.remote(should_wait=False)) is None
    assert ray.wait(waiting, timeout=0)[0] == []
    ray.get(signal.send.remote())
    assert ray.get(waiting) == [None] * 3
    assert ray.get([signal.wait.remote(), signal.cur_num_waiters.remote()]) == [None, 0]


def test_a_signal_that_is_cleared_lets_only_those_go_on_that_wait_now() -> None:
    signal = SignalActor.remote()
    first = signal.wait.remote()
    wait_for_condition(lambda: ray.get(signal.cur_num_waiters.remote()) == 1, timeout=PATIENCE)
    ray.get(signal.send.remote(clear=True))
    ray.get(first)
    second = signal.wait.remote()
    assert ray.wait([second], timeout=0.2)[0] == []
    ray.get([signal.send.remote(), second])


def test_a_semaphore_has_so_many_places() -> None:
    semaphore = Semaphore.remote(value=2)
    ray.get([semaphore.acquire.remote() for _ in range(2)])
    third = semaphore.acquire.remote()
    assert ray.get(semaphore.locked.remote())
    assert ray.wait([third], timeout=0.2)[0] == []
    ray.get([semaphore.release.remote(), third, semaphore.release.remote()])
    assert not ray.get(semaphore.locked.remote())


def test_a_condition_that_does_not_come_true_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"The condition wasn't met before the timeout expired\.$"):
        wait_for_condition(lambda: False, timeout=0.1, retry_interval_ms=10)
    with pytest.raises(RuntimeError, match=r"Last exception: (.|\n)*ZeroDivisionError"):
        wait_for_condition(lambda n: 1 // n > 0, timeout=0.1, retry_interval_ms=10, n=0)
    with pytest.raises(ZeroDivisionError):
        wait_for_condition(lambda: 1 // 0 > 0, raise_exceptions=True)
    looks = iter([False, False, True])
    wait_for_condition(lambda: next(looks), retry_interval_ms=1)
    assert list(looks) == []


def test_a_condition_may_be_a_coroutine() -> None:
    async def waits(answers: list[bool]) -> None:
        async def look() -> bool:
            return answers.pop()

        await async_wait_for_condition(look, timeout=PATIENCE, retry_interval_ms=1)
        await async_wait_for_condition(lambda: True)
        with pytest.raises(RuntimeError, match="wasn't met"):
            await async_wait_for_condition(lambda: False, timeout=0.05, retry_interval_ms=10)

    answers = [True, False, False]
    asyncio.run(waits(answers))
    assert answers == []


def test_an_assertion_is_tried_until_it_holds() -> None:
    left = [1, 2, 3]

    def holds() -> None:
        left.pop()
        assert not left

    def never() -> None:
        raise AssertionError("never")

    test_utils.wait_for_assertion(holds, retry_interval_ms=1)
    with pytest.raises(AssertionError, match="never"):
        test_utils.wait_for_assertion(never, timeout=0.05, retry_interval_ms=10)
    tried = (lambda: 1 // 0, (ZeroDivisionError,))
    assert not test_utils.wait_until_succeeded_without_exception(*tried, timeout_ms=50)
    assert test_utils.wait_until_succeeded_without_exception(lambda: None, (ZeroDivisionError,))


def test_who_kills_an_actor_waits_until_that_is_known() -> None:
    actor = Worker.options(max_restarts=1).remote()
    pid = ray.get(actor.pid.remote())
    test_utils.kill_actor_and_wait_for_failure(actor, timeout=PATIENCE)
    test_utils.wait_for_pid_to_exit(pid, timeout=PATIENCE)
    wait_for_condition(lambda: ray.get(actor.pid.remote()) != pid, timeout=PATIENCE)
    test_utils.kill_actor_and_wait_for_failure(actor, timeout=PATIENCE)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(actor.pid.remote())
    with pytest.raises(TimeoutError, match=f"process {os.getpid()} to exit"):
        test_utils.wait_for_pid_to_exit(os.getpid(), timeout=0.1)


def test_how_many_actors_there_are() -> None:
    actors = [Worker.remote() for _ in range(2)]
    ray.get([actor.pid.remote() for actor in actors])
    test_utils.wait_for_num_actors(2, "ALIVE", timeout=PATIENCE)
    with pytest.raises(TimeoutError):
        test_utils.wait_for_num_actors(10_000, timeout=0.2)
    here = ray.get_runtime_context().get_node_id()
    assert {test_utils.get_actor_node_id(actor) for actor in actors} <= {node["NodeID"] for node in ray.nodes()} | {
        here
    }


@pytest.mark.local_only("a cluster's nodes report their memory at intervals")
def test_how_full_the_object_store_is() -> None:
    before = test_utils.object_memory_usage()
    ref = ray.put(np.zeros(1_000_000))
    assert test_utils.object_memory_usage() - before >= 8_000_000
    told = internal_api.memory_summary(units="MB")
    assert "LOCAL_REFERENCE" in told or "PINNED_IN_MEMORY" in told
    assert ref.hex() in told
    assert "7.6" in told
    assert "Plasma memory usage 7 MiB, 1 objects" in internal_api.memory_summary(stats_only=True)
    assert ref.hex() not in internal_api.memory_summary(stats_only=True)
    del ref
    wait_for_condition(lambda: test_utils.object_memory_usage() == before, timeout=PATIENCE)


def test_who_refers_to_an_object() -> None:
    core_worker = ray._private.worker.global_worker.core_worker

    def counts(name: bytes) -> tuple[bool, int] | None:
        found = core_worker.get_all_reference_counts().get(name)
        return None if found is None else (found["local"] > 0, found["submitted"])

    @ray.remote
    def wait_for(array: Any, nested: list[Any], also: Any) -> None:
        ray.get(nested)

    signal = SignalActor.remote()
    ref = ray.put(np.zeros(200_000))
    name = ref.hex().encode()
    assert counts(name) == (True, 0)
    assert core_worker.object_exists(ref)
    assert core_worker.get_memory_store_size() >= 1
    running = wait_for.remote(ref, [signal.wait.remote()], ref)
    assert counts(name) == (True, 2)
    assert not core_worker.object_exists(running)
    del ref
    wait_for_condition(lambda: counts(name) == (False, 2), timeout=PATIENCE)
    ray.get(signal.send.remote())
    ray.get(running)
    assert core_worker.object_exists(running)
    wait_for_condition(lambda: counts(name) is None, timeout=PATIENCE)


@pytest.mark.local_only("Ray also counts small values that it keeps for itself")
def test_what_is_let_go_is_counted_no_more() -> None:
    core_worker = ray._private.worker.global_worker.core_worker
    wait_for_condition(lambda: core_worker.get_memory_store_size() == 0, timeout=PATIENCE)
    refs = [ray.put(each) for each in range(3)]
    assert core_worker.get_memory_store_size() == 3
    binary = refs[0].binary()
    del refs
    wait_for_condition(lambda: core_worker.get_memory_store_size() == 0, timeout=PATIENCE)
    assert core_worker.get_all_reference_counts() == {}
    assert not core_worker.object_exists(ray.ObjectRef(binary))


class Cycle:
    """Holds a reference, and is garbage at once that only the collector frees."""

    def __init__(self, ref: Any) -> None:
        self.ref, self.me = ref, self


@pytest.mark.local_only("a cluster's nodes report their memory at intervals")
def test_garbage_is_collected_in_all_processes() -> None:
    @ray.remote
    class Keeper:
        def keep(self) -> None:
            gc.disable()
            Cycle(ray.put(np.zeros(1_000_000)))

    keeper = Keeper.remote()
    before = test_utils.object_memory_usage()
    gc.disable()
    try:
        Cycle(ray.put(np.zeros(1_000_000)))
        ray.get(keeper.keep.remote())
        assert test_utils.object_memory_usage() - before >= 16_000_000
        internal_api.global_gc()
        wait_for_condition(lambda: test_utils.object_memory_usage() == before, timeout=PATIENCE)
    finally:
        gc.enable()


@pytest.mark.local_only("a cluster gets its settings when it is started")
def test_garbage_is_collected_at_intervals() -> None:
    program = """
import gc, weakref
import jupyter_ray as ray
from jupyter_ray._common.test_utils import wait_for_condition

class Cycle:
    def __init__(self):
        self.me = self

@ray.remote
class Keeper:
    def __init__(self):
        gc.disable()
        self.kept = weakref.ref(Cycle())

    def has_it(self):
        return self.kept() is not None

ray.init(num_cpus=1, _system_config={"local_gc_interval_s": SECONDS})
gc.disable()
keepers = [Keeper.remote() for _ in range(2)]
kept = weakref.ref(Cycle())
held = lambda: [kept() is not None, *ray.get([keeper.has_it.remote() for keeper in keepers])]
if SECONDS < 1:
    wait_for_condition(lambda: not any(held()), timeout=30)
else:
    print(held())
"""
    test_utils.run_string_as_driver(program.replace("SECONDS", "0.2"))
    assert "[True, True, True]" in test_utils.run_string_as_driver(program.replace("SECONDS", "1000"))


@pytest.mark.local_only("a cluster's driver receives printed lines in batches of its own")
def test_a_test_hears_what_tasks_print() -> None:
    actor = Worker.remote()
    earlier = test_utils.init_log_pubsub()
    ray.get(actor.says.remote("before"))
    assert len(test_utils.get_log_data(earlier, num=2, timeout=PATIENCE)) == 2
    earlier.close()
    logs = test_utils.init_log_pubsub()
    try:
        pid = str(ray.get(actor.pid.remote()))
        ray.get(actor.says.remote("now"))
        rows = test_utils.get_log_data(logs, num=2, timeout=PATIENCE)
        assert sorted((row["is_err"], row["lines"]) for row in rows) == [(False, ["now"]), (True, ["NOW"])]
        job = ray.get_runtime_context().get_job_id()
        assert {(row["pid"], row["actor_name"], row["job"]) for row in rows} == {(pid, "Worker", job)}
        ray.get([actor.says.remote("then"), actor.says.remote("last")])
        assert test_utils.get_log_message(logs, num=1, timeout=PATIENCE, matcher=lambda line: "last" in line) == [
            ["last"]
        ]
        ray.get(actor.says.remote("more"))
        assert test_utils.get_log_sources(logs, num=1, timeout=PATIENCE, job_id=job) == {pid}
        assert test_utils.get_log_message(logs, num=1, timeout=0.05, job_id="ffffffff") == []
    finally:
        logs.close()


@pytest.mark.local_only("a cluster's driver hears of deaths from the nodes")
def test_a_test_hears_of_processes_that_die() -> None:
    errors = test_utils.init_error_pubsub()
    try:
        assert test_utils.get_error_message(errors, num=1, timeout=0.05) == []
        actor = Worker.remote()
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(actor.die.remote())
        (row,) = test_utils.get_error_message(errors, num=1, timeout=PATIENCE)
        assert row["type"] == "worker_died"
        assert row["error_message"]
        ray.kill(Worker.remote())
        assert test_utils.get_error_message(errors, num=1, error_type="worker_died", timeout=0.2) == []
        rays_utils.publish_error_to_driver("of mine", "what has happened")
        (row,) = test_utils.get_error_message(errors, num=1, error_type="of mine", timeout=PATIENCE)
        assert row["error_message"] == "what has happened"
    finally:
        errors.close()


def test_groups_that_are_removed_leave_nothing() -> None:
    group = ray.util.placement_group([{"CPU": 1}])
    ray.get(group.ready())
    assert not test_utils.is_placement_group_removed(group)
    ray.util.remove_placement_group(group)
    wait_for_condition(lambda: test_utils.is_placement_group_removed(group), timeout=PATIENCE)


def test_a_value_may_come_from_the_driver_or_from_a_task() -> None:
    assert ray.get([test_utils.put_object(7, True), test_utils.put_object(7, False)]) == [7, 7]


def test_this_process_as_rays_programs_ask_for_it() -> None:
    worker = ray._private.worker.global_worker
    context = ray.get_runtime_context()
    assert worker.connected
    assert worker.mode == ray.SCRIPT_MODE
    worker.check_connected()
    assert worker.core_worker.get_worker_id().hex() == context.get_worker_id() == worker.worker_id.hex()
    assert worker.core_worker.get_current_job_id() == worker.current_job_id
    assert worker.core_worker.get_current_node_id().hex() == context.get_node_id() == worker.node.node_id
    assert worker.core_worker.get_actor_id().is_nil()
    assert worker.placement_group_id.is_nil()

    @ray.remote
    class Asked:
        def tells(self) -> Any:
            me = ray._private.worker.global_worker
            here = ray.get_runtime_context()
            return (
                me.mode == ray.WORKER_MODE,
                me.current_task_id.hex() == here.get_task_id(),
                me.core_worker.get_actor_id().hex() == here.get_actor_id() == me.actor_id.hex(),
                me.core_worker.get_actor_name(),
                me.current_job_id.hex() == here.get_job_id(),
            )

    asked = Asked.options(name="asked").remote()
    assert ray.get(asked.tells.remote()) == (True, True, True, "asked", True)
    with pytest.raises(AttributeError, match="is internal to Ray"):
        worker.core_worker.submit_task  # noqa: B018
    with pytest.raises(AttributeError, match="is internal to Ray"):
        worker.function_actor_manager  # noqa: B018


def test_what_is_only_for_tests_of_servers_can_be_imported_and_not_used() -> None:
    from jupyter_ray._private.test_utils import kill_raylet
    from jupyter_ray._raylet import GcsClient

    for name in (kill_raylet, GcsClient):
        with pytest.raises(NotImplementedError, match=r"is not offered\. It is for tests of Ray's own servers"):
            name()
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        test_utils.nothing  # noqa: B018


def test_the_small_helpers() -> None:
    assert test_utils.generate_system_config_map(a=1) == {"_system_config": {"a": 1}}
    assert test_utils.same_elements([{1}, {2}], [{2}, {1}])
    assert not test_utils.same_elements([1, 1], [1, 2])
    assert not test_utils.client_test_enabled()
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="children"):
        test_utils.wait_for_children_of_pid(os.getpid(), num_children=10_000, timeout=0.1)
    assert time.monotonic() - begun < PATIENCE
