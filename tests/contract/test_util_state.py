"""``ray.util.state``: the session as tables; and ``ray.nodes``, ``ray.timeline``."""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.util import placement_group, remove_placement_group, state
from tests.contract.helpers import eventually

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "open"


@ray.remote
def waits(gate: str) -> int:
    Path(f"{gate}.begun").touch()
    while not os.path.exists(gate):
        time.sleep(0.01)
    return 1


@ray.remote
def passes(value: int) -> int:
    return value


@ray.remote
def gets(refs: list[Any], wait: bool) -> int:
    if wait:
        ray.wait(refs)
    return int(ray.get(refs[0]))


@ray.remote
def fails() -> None:
    raise ValueError("as it should")


@ray.remote
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def inc(self) -> int:
        self.count += 1
        return self.count

    def hold(self, gate: str) -> None:
        while not os.path.exists(gate):
            time.sleep(0.01)


def cpus_of_nodes() -> list[float]:
    """Return what each machine has."""
    return [node["Resources"]["CPU"] for node in ray.nodes() if node["Resources"].get("CPU")]


def ended(*refs: Any) -> list[Any]:
    """Return the rows of tasks once it is known how they ended; Ray's own state learns that a second later."""

    def found() -> list[Any]:
        rows = [state.get_task(ref) for ref in refs]
        return rows if all(row is not None and row.end_time_ms for row in rows) else []

    return eventually(found)


def states(*refs: Any) -> list[str | None]:
    found = [state.get_task(ref) for ref in refs]
    return [None if task is None else task.state for task in found]


def test_a_table_tells_its_columns() -> None:
    keeper = Counter.remote()  # type: ignore[attr-defined]
    ray.get(keeper.inc.remote())
    brief, full = eventually(lambda: [state.list_actors(detail=detail) for detail in (False, True)])
    kind = type(full[0])
    assert set(full[0].asdict()) == kind.columns() == kind.detail_columns() == set(kind.list_columns())
    assert {name for name in kind.columns() if brief[0][name] is not None} <= kind.base_columns() < kind.columns()
    assert {"state", "actor_id"} <= kind.filterable_columns()


def test_a_task_from_beginning_to_end(gate: Path) -> None:
    running, *others = [waits.options(num_cpus=cpus).remote(str(gate)) for cpus in cpus_of_nodes()]
    eventually(lambda: states(running, *others) == ["RUNNING"] * (1 + len(others)))
    queued = waits.options(num_cpus=2, name="second").remote(str(gate))
    waiting = passes.remote(running)
    eventually(lambda: states(running, queued, waiting) == ["RUNNING", "PENDING_NODE_ASSIGNMENT", "PENDING_ARGS_AVAIL"])
    named = state.list_tasks(filters=[("name", "=", "second"), ("state", "!=", "FINISHED")], detail=True)
    assert [task.task_id for task in named] == [queued.task_id().hex()]
    assert named[0].func_or_class_name == "waits"
    assert named[0].required_resources == {"CPU": 2.0}
    assert named[0].end_time_ms is None
    gate.touch()
    assert ray.get([running, queued, waiting]) == [1, 1, 1]
    eventually(lambda: states(running, queued, waiting) == ["FINISHED"] * 3)
    task = state.get_task(running.task_id().hex())
    assert task is not None
    assert task.type == "NORMAL_TASK"
    assert task["worker_pid"] in [worker.pid for worker in state.list_workers()]
    assert task.worker_id in [worker.worker_id for worker in state.list_workers()]
    assert task.node_id in [node["NodeID"] for node in ray.nodes()]
    assert task.job_id == ray.get_runtime_context().get_job_id()
    assert task.parent_task_id == "ff" * 20 + task.job_id
    assert task.creation_time_ms is not None
    assert task.start_time_ms is not None
    assert task.end_time_ms is not None
    assert task.creation_time_ms <= task.start_time_ms <= task.end_time_ms


NO_CALL_SITES = pytest.mark.local_only("Ray notes no call sites")


@NO_CALL_SITES
def test_where_a_task_and_an_object_were_made() -> None:
    def called() -> Any:
        return passes.remote(1)

    ref = called()
    ray.get(ref)
    row = state.get_task(ref)
    assert row is not None
    assert str(row.call_site).endswith(" in called")
    assert "test_util_state" in str(row.call_site)
    assert any("test_util_state" in site for site in state.summarize_objects()["cluster"]["summary"])


@NO_CALL_SITES
def test_where_a_large_value_was_put() -> None:
    def store(size: int) -> Any:
        return ray.put(b"x" * size)

    large, small = store(200_000), store(10)
    site = state.get_objects(large.hex())[0].call_site
    assert site is not None
    assert site.endswith(" in store")
    assert state.get_objects(small.hex())[0].call_site is None
    assert state.summarize_objects()["cluster"]["summary"][site]["total_objects"] == 1


def test_blocked_tasks_run(gate: Path) -> None:
    first = waits.remote(str(gate))
    in_get, in_wait = gets.remote([first], False), gets.remote([first], True)
    eventually(lambda: states(first, in_get, in_wait) == ["RUNNING"] * 3)
    gate.touch()
    assert ray.get([in_get, in_wait]) == [1, 1]


def test_failed_and_cancelled_tasks(gate: Path) -> None:
    failed, crashed = fails.remote(), passes.options(name="crash", max_retries=0).remote(1)
    with pytest.raises(ValueError, match="as it should"):
        ray.get(failed)
    ray.get(crashed)
    cancelled = waits.remote(str(gate))
    eventually(Path(f"{gate}.begun").exists)  # A task that is cancelled before it began has failed.
    ray.cancel(cancelled)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(cancelled)
    first, second = ended(failed, cancelled)
    assert (first.state, first.error_type) == ("FAILED", "TASK_EXECUTION_EXCEPTION")
    assert "as it should" in str(first.error_message)
    assert "raise ValueError(" in str(first.error_message)
    assert (second.state, second.error_type) == ("FINISHED", None)  # It ran to an end, if an early one (as in Ray).
    assert failed.task_id().hex() in [task.task_id for task in state.list_tasks(filters=[("STATE", "=", "failed")])]


def test_a_crash_is_told() -> None:
    @ray.remote(max_retries=0)
    def crash() -> None:
        os._exit(1)

    ref = crash.remote()
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(ref)
    [task] = ended(ref)
    assert (task.state, task.error_type) == ("FAILED", "WORKER_DIED")

    ref = ray.remote(max_retries=0)(sys.exit).remote(27)
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(ref)
    [task] = ended(ref)
    assert task.error_type == "WORKER_DIED"
    assert "Worker exits with an exit code 27" in str(task.error_message)


def test_actors(gate: Path) -> None:
    actor: Any = Counter.options(name="listed", num_cpus=1).remote()  # type: ignore[attr-defined]
    held = actor.hold.remote(str(gate))
    calls = [actor.inc.remote() for _ in range(3)]
    eventually(lambda: states(held) == ["RUNNING"])
    eventually(lambda: states(calls[-1])[0] in ("PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY", "SUBMITTED_TO_WORKER"))
    row = state.list_actors(filters=[("name", "=", "listed")], detail=True)[0]
    assert (row.class_name, row.state, row.ray_namespace) == ("Counter", "ALIVE", "contract")
    assert row.required_resources == {"CPU": 1.0}
    assert row.pid in [worker.pid for worker in state.list_workers() if worker.worker_type == "WORKER"]
    gate.touch()
    assert ray.get(calls) == [1, 2, 3]
    expected = {
        ("listed:Counter.__init__", "Counter.__init__", "ACTOR_CREATION_TASK"),
        ("Counter.hold", "Counter.hold", "ACTOR_TASK"),
        ("Counter.inc", "Counter.inc", "ACTOR_TASK"),
    }
    of_the_actor = [("actor_id", "=", row.actor_id)]

    def told() -> set[tuple[Any, ...]]:
        rows = state.list_tasks(filters=of_the_actor)
        return {(task.name, task.func_or_class_name, task.type) for task in rows}

    eventually(lambda: told() == expected)
    ray.kill(actor)

    def dead() -> bool:
        found = state.get_actor(row.actor_id)
        return found is not None and found.state == "DEAD" and "ray.kill" in str(found.death_cause)

    eventually(dead)
    assert state.summarize_actors()["cluster"]["summary"]["Counter"]["state_counts"]["DEAD"] >= 1


@pytest.mark.not_through_client("Ray Client does not report how large objects are")
def test_objects() -> None:
    ref = ray.put(b"x" * 200_000)
    row = state.get_objects(ref.hex())[0]
    assert row.object_size >= 200_000
    assert row.reference_type == "PINNED_IN_MEMORY"
    assert ref.hex() in [each.object_id for each in state.list_objects(limit=1000)]
    made = passes.remote(1)
    ray.get(made)
    summary = state.summarize_objects()["cluster"]
    assert summary["total_objects"] >= 2
    assert (row.type, row.pid) == ("DRIVER", os.getpid())
    assert ref.hex() in [each.object_id for each in state.list_objects(filters=[("pid", "=", os.getpid())], limit=1000)]
    key = ref.hex()
    del ref
    eventually(lambda: not state.get_objects(key))


@pytest.mark.local_only("on a cluster only the objects of this process are listed")
def test_objects_of_a_worker() -> None:
    @ray.remote
    class Keeper:
        def keep(self) -> tuple[int, str]:
            self.ref = ray.put(b"x" * 200_000)
            return os.getpid(), self.ref.hex()

    keeper: Any = Keeper.remote()  # type: ignore[attr-defined]
    pid, key = ray.get(keeper.keep.remote())
    rows = {row.object_id: row for row in state.list_objects(filters=[("pid", "=", pid)], limit=1000)}
    assert (rows[key].type, rows[key].pid) == ("WORKER", pid)
    assert key not in [each.object_id for each in state.list_objects(filters=[("pid", "!=", pid)], limit=1000)]


def test_processes_machines_and_jobs() -> None:
    drivers = state.list_workers(filters=[("worker_type", "=", "DRIVER")])
    assert [row.pid for row in drivers] == [os.getpid()]
    context = ray.get_runtime_context()
    assert [row.worker_id for row in drivers] == [context.get_worker_id()]

    @ray.remote
    def own() -> tuple[str, int]:
        return ray.get_runtime_context().get_worker_id(), os.getpid()

    worker, pid = ray.get(own.remote())
    found = state.get_worker(worker)
    assert found is not None
    assert (found.pid, found.is_alive) == (pid, True)
    nodes = state.list_nodes(detail=True)
    assert {node.state for node in nodes} == {"ALIVE"}
    assert sum(node.resources_total.get("CPU", 0) for node in nodes) == 4.0
    assert [node.is_head_node for node in nodes].count(True) == 1
    assert state.get_node(nodes[-1].node_id) == nodes[-1]
    (job,) = state.list_jobs()
    assert job.driver_info["pid"] in ("", str(os.getpid()))
    assert (job.metadata, job.runtime_env) == (None, None)
    assert Path(sys.executable).name in job.entrypoint
    assert (job.job_id, job.status) == (context.get_job_id(), "RUNNING")


def end_of(worker: str | None) -> tuple[str | None, str]:
    """Return how a process ended, and what is said of that."""

    def gone() -> Any:
        found = state.get_worker(str(worker))
        return found if found is not None and not found.is_alive else None

    found = eventually(gone)
    return found.exit_type, found.exit_detail


@pytest.mark.local_only("Ray does not report the exit code of a worker that crashed")
@pytest.mark.parametrize("leave", [os._exit, sys.exit])
def test_the_exit_code_of_a_process_is_told(leave: Callable[[int], Any]) -> None:
    @ray.remote(max_retries=1)
    def crash() -> None:
        leave(3)

    ref = crash.remote()
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(ref)
    for row in eventually(lambda: _whole(state.get_task(ref), 2)):
        assert row.error_type == "WORKER_DIED"
        kind, detail = end_of(row.worker_id)
        assert kind == "SYSTEM_ERROR"
        assert "exit code 3" in detail


def test_processes_that_ended_say_why() -> None:
    @ray.remote(max_retries=0)
    def crash() -> None:
        os._exit(3)

    @ray.remote
    class Leaver:
        def where(self) -> str:
            return ray.get_runtime_context().get_worker_id()

        def leave(self) -> None:
            ray.actor.exit_actor()

    ref = crash.remote()
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(ref)
    [crashed] = ended(ref)
    kind, detail = end_of(crashed.worker_id)
    assert kind == "SYSTEM_ERROR"
    assert detail
    killed, leaver = Leaver.remote(), Leaver.remote()  # type: ignore[attr-defined]
    first, second = ray.get([killed.where.remote(), leaver.where.remote()])
    ray.kill(killed)
    leaver.leave.remote()
    kind, detail = end_of(first)
    assert kind == "INTENDED_SYSTEM_EXIT"
    assert "it was killed by `ray.kill`" in detail
    assert end_of(second)[0] == "INTENDED_USER_EXIT"
    assert first in [row.worker_id for row in state.list_workers(filters=[("is_alive", "=", False)], limit=1000)]


def test_why_calls_of_actors_failed() -> None:
    @ray.remote
    class Doomed:
        def die(self) -> None:
            os._exit(1)

        def fail(self) -> None:
            raise ZeroDivisionError

    actor = Doomed.remote()  # type: ignore[attr-defined]
    failed, named = actor.fail.remote(), actor.fail.options(name="its own name").remote()
    for ref in (failed, named):  # What an actor says as it dies may not be heard.
        with pytest.raises(ZeroDivisionError):
            ray.get(ref)
    lost, late = actor.die.remote(), actor.fail.remote()
    for ref in (lost, late):
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(ref)
    later = actor.fail.remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(later)
    rows = [(row.name, row.error_type) for row in ended(failed, named, lost, late, later)]
    assert rows == [
        ("Doomed.fail", "TASK_EXECUTION_EXCEPTION"),
        ("its own name", "TASK_EXECUTION_EXCEPTION"),
        ("Doomed.die", "ACTOR_DIED"),
        ("Doomed.fail", "ACTOR_DIED"),
        ("Doomed.fail", "ACTOR_DIED"),
    ]


def test_the_signatures_are_those_of_ray() -> None:
    assert list(inspect.signature(state.list_tasks).parameters)[:5] == [
        "address", "filters", "limit", "timeout", "detail",
    ]  # fmt: skip
    assert state.list_nodes(None, [("node_id", "=", "00" * 28)], 5, 30, True) == []
    assert str(state.list_actors.__doc__).startswith("Return the actors")


def test_placement_groups_are_listed() -> None:
    group = placement_group([{"CPU": 1}], name="listed")
    ray.get(group.ready())
    row = state.get_placement_group(group.id.hex())
    assert row is not None
    assert (row.name, row.state, row.is_detached) == ("listed", "CREATED", False)
    [bundle] = row.bundles
    assert bundle["bundle_id"] == {"placement_group_id": group.id.hex(), "bundle_index": 0}
    assert bundle["unit_resources"] == {"CPU": 1.0}
    assert bundle["node_id"] in [node["NodeID"] for node in ray.nodes()]
    assert row.stats["scheduling_state"] == "FINISHED"
    assert int(row.stats["scheduling_latency_us"]) >= 0
    remove_placement_group(group)
    eventually(lambda: state.list_placement_groups(filters=[("name", "=", "listed")])[0].state == "REMOVED")


def test_a_summary_of_tasks() -> None:
    @ray.remote
    def counted() -> None:
        pass

    ended(*[counted.remote() for _ in range(7)])
    cluster = state.summarize_tasks()["cluster"]
    row = next(row for name, row in cluster["summary"].items() if name.endswith("counted"))
    assert row["type"] == "NORMAL_TASK"
    assert row["state_counts"] == {"FINISHED": 7}
    assert cluster["total_tasks"] >= 7


def test_a_summary_of_tasks_goes_by_names() -> None:
    ended(passes.options(name="seldom").remote(1), passes.options(name="seldom").remote(2))
    found = state.summarize_tasks()["cluster"]["summary"]["seldom"]
    assert found == {"func_or_class_name": "seldom", "type": "NORMAL_TASK", "state_counts": {"FINISHED": 2}}


def test_limits_are_told(caplog: pytest.LogCaptureFixture) -> None:
    ended(*[passes.remote(n) for n in range(5)])
    with caplog.at_level(logging.WARNING, "jupyter_ray"):
        assert len(state.list_tasks(limit=2)) == 2
    assert "more than 2 rows" in caplog.text
    assert state.list_tasks(limit=0) == []


def test_detail_comes_on_request() -> None:
    ended(passes.remote(1))
    plain, full = state.list_tasks(limit=1)[0], state.list_tasks(limit=1, detail=True)[0]
    assert plain.end_time_ms is None
    assert full.end_time_ms is not None
    assert plain.asdict()["task_id"] == full.get("task_id")
    assert full.get("nothing", 3) == 3
    with pytest.raises(KeyError):
        full["nothing"]


def test_the_same_from_inside_a_task() -> None:
    @ray.remote
    def look() -> list[Any]:
        own = ray.get_runtime_context().get_task_id()
        [found] = eventually(lambda: state.list_tasks(filters=[("task_id", "=", own), ("state", "=", "RUNNING")]))
        return [found.task_id == own, state.get_task(own).name]

    same, name = ray.get(look.remote())
    assert same
    assert name.endswith("look")


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ([("nonsense", "=", "1")], "The given filter column nonsense is not supported"),
        ([("state", ">", "1")], "Unsupported filter predicate > is given"),
        ([("state", "=")], "The given filter has incorrect input type"),
    ],
)
def test_bad_filters(filters: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        state.list_tasks(filters=filters)
    with pytest.raises(state.exception.RayStateApiException, match="negative"):
        state.list_actors(limit=-1)
    with pytest.raises(ValueError, match="filters must be a list"):
        state.list_tasks(filters="state=FINISHED")  # type: ignore[arg-type]
    with pytest.raises(state.exception.RayStateApiException):  # As Ray's server puts it.
        state.list_actors(filters=[("nonsense", "=", "1")])


def test_what_is_not_there() -> None:
    assert state.get_task("00" * 24) is None
    assert state.get_actor("00" * 16) is None
    assert state.get_objects("00" * 28) == []
    assert state.get_node("00" * 28) is None
    assert [state.get_worker("none"), state.get_placement_group("none"), state.get_job("none")] == [None] * 3
    assert state.list_tasks(filters=[("job_id", "=", "00" * 4)]) == []


@pytest.mark.parametrize("ask", [state.get_task, state.get_actor, state.get_node])
@pytest.mark.parametrize("id", ["not an id", "", "00"])
def test_what_cannot_be_an_identifier_is_refused(ask: Callable[[str], Any], id: str) -> None:
    with pytest.raises(state.exception.RayStateApiException, match=f"'{id}' is not a .*_id.* hexadecimal digits"):
        ask(id)


def test_the_identifier_of_an_object_is_not_a_task_s() -> None:
    ref = passes.remote(1)
    with pytest.raises(state.exception.RayStateApiException, match=r"ref\.task_id\(\)\.hex\(\)"):
        state.get_task(ref.hex())
    ray.get(ref)


@pytest.mark.parametrize(
    ("listed", "column", "value"),
    [
        (state.list_tasks, "worker_pid", "many"),
        (state.list_tasks, "attempt_number", "first"),
        (state.list_tasks, "actor_id", "elsewhere"),
        (state.list_tasks, "job_id", "00"),
        (state.list_actors, "state", "ASLEEP"),
        (state.list_actors, "pid", 0.5j),
        (state.list_workers, "pid", float("inf")),
        (state.list_workers, "is_alive", "yes"),
        (state.list_nodes, "is_head_node", 2),
        (state.list_nodes, "state", "RUNNING"),
    ],
)
def test_values_that_a_column_cannot_have_are_refused(listed: Callable[..., Any], column: str, value: Any) -> None:
    with pytest.raises(state.exception.RayStateApiException, match=column if column != "state" else "no state"):
        listed(filters=[(column, "=", value)])


def test_values_of_filters_may_be_text_or_what_they_are() -> None:
    ended(passes.remote(1))
    alive = {row.worker_id for row in state.list_workers(filters=[("is_alive", "=", True)], limit=1000)}
    dead = {row.worker_id for row in state.list_workers(filters=[("is_alive", "=", 0)], limit=1000)}
    assert alive
    for true in (1, "1", "true", "True"):
        rows = state.list_workers(filters=[("is_alive", "=", true)], limit=1000)
        assert {row.worker_id for row in rows} & dead == set()
        assert {row.worker_id for row in rows} & alive
    for pid in (os.getpid(), str(os.getpid())):
        [driver] = state.list_workers(filters=[("pid", "=", pid), ("worker_type", "=", "DRIVER")])
        assert driver.is_alive
    pids = [task.worker_pid for task in state.list_tasks(filters=[("worker_pid", "!=", None)], limit=1000)]
    assert pids
    assert None not in pids
    assert state.list_tasks(filters=[("worker_pid", "=", 2**70)]) == []


@pytest.mark.parametrize("limit", [None, "two", 1.5, -1])
def test_limits_that_are_none(limit: Any) -> None:
    with pytest.raises(ValueError, match="limit"):
        state.list_tasks(limit=limit)
    with pytest.raises(ValueError, match="limit"):
        state.list_nodes(limit=limit)


def test_rows_may_be_changed_and_name_what_they_lack() -> None:
    row = state.list_nodes()[0]
    row["node_name"] = "mine"
    row.state = "GONE"
    assert (row.node_name, row["state"]) == ("mine", "GONE")
    with pytest.raises(AttributeError):  # In Ray it is this one.
        row["nothing"]


def test_the_timeline(tmp_path: Path) -> None:
    ray.get([passes.options(name="drawn").remote(n) for n in range(3)])
    rows = eventually(lambda: [row for row in ray.timeline() or [] if row["name"] == "drawn"])
    assert len(rows) == 3
    for row in rows:
        assert (row["ph"], row["cat"], row["args"]["name"]) == ("X", "task::drawn", "drawn")
        assert row["dur"] >= 0
    drawn = ray.timeline() or []
    tasks = [row["args"]["task_id"] for row in drawn if row["name"] == "drawn"]
    assert len({row["args"]["task_id"] for row in drawn if row["name"] == "task:execute"} & set(tasks)) == 3
    # Viewers want numbers for rows, and take the names of the rows from entries of their own.
    assert all(isinstance(row["pid"], int) and isinstance(row["tid"], int | None) for row in drawn)
    called = {(row["pid"], row["tid"]) for row in drawn if row["ph"] == "M" and row["name"] == "thread_name"}
    assert {(row["pid"], row["tid"]) for row in rows} <= called
    assert [row["args"]["name"][:5] for row in drawn if row["name"] == "process_name"] == ["Node "]
    file = tmp_path / "timeline.json"
    assert ray.timeline(str(file)) is None
    assert file.read_text().startswith("[")


def test_every_attempt_of_a_task_is_told() -> None:
    @ray.remote(retry_exceptions=True, max_retries=2)
    def fails_thrice() -> None:
        raise ValueError("again")

    ref = fails_thrice.remote()
    with pytest.raises(ValueError, match="again"):
        ray.get(ref)
    attempts = eventually(lambda: _whole(state.get_task(ref), 3))
    assert [(each.attempt_number, each.state) for each in attempts] == [(2, "FAILED"), (1, "FAILED"), (0, "FAILED")]
    assert {each.task_id for each in attempts} == {ref.task_id().hex()}
    assert len(state.list_tasks(filters=[("task_id", "=", ref.task_id().hex())])) == 3


def _whole(attempts: Any, number: int) -> Any:
    """Return the attempts if all are there and over."""
    there = isinstance(attempts, list) and len(attempts) == number and all(each.end_time_ms for each in attempts)
    return attempts if there else None


def test_when_processes_began_and_ended() -> None:
    ray.get(passes.remote(1))
    worker = next(each for each in state.list_workers(detail=True) if each.worker_type == "WORKER" and each.is_alive)
    assert worker.pid > 0
    assert worker.start_time_ms
    assert worker.end_time_ms == 0
    ended = [each for each in state.list_workers(detail=True) if not each.is_alive and each.worker_type == "WORKER"]
    assert all((each.end_time_ms or 0) >= (each.start_time_ms or 0) > 0 for each in ended)
    node, job = state.list_nodes(detail=True)[0], state.list_jobs(detail=True)[0]
    assert node.start_time_ms == job.start_time
    assert job.start_time
    assert job.end_time == 0


def test_what_ended_a_process(tmp_path: Path) -> None:
    @ray.remote
    def forever(path: Path) -> None:
        path.write_text(ray.get_runtime_context().get_worker_id())
        while True:
            time.sleep(0.01)

    class Broken:
        def __init__(self, path: Path) -> None:
            path.write_text(ray.get_runtime_context().get_worker_id())
            raise RuntimeError("broken from the start")

    def gone(path: Path) -> Any:
        found = state.get_worker(path.read_text())
        return found if found is not None and found.exit_type else None

    cancelled, broken = tmp_path / "cancelled", tmp_path / "broken"
    ref = forever.remote(cancelled)
    eventually(lambda: cancelled.exists() and cancelled.read_text())
    ray.cancel(ref, force=True)
    found = eventually(lambda: gone(cancelled))
    assert found.exit_type == "INTENDED_USER_EXIT"
    assert "ray.cancel" in found.exit_detail
    actor: Any = ray.remote(Broken).remote(broken)
    eventually(lambda: broken.exists() and broken.read_text())
    found = eventually(lambda: gone(broken))
    assert found.exit_type == "USER_ERROR"
    assert "broken from the start" in found.exit_detail
    del actor


@pytest.mark.not_through_client("Ray Client's server holds an actor whose handle came with a value")
def test_dead_actors_are_remembered() -> None:
    class Mortal:
        def me(self) -> Any:
            return ray.get_runtime_context().current_actor

    actor: Any = ray.remote(Mortal).remote()
    weak = ray.get(actor.me.remote())
    key = actor._actor_id.hex()
    del actor
    row = eventually(lambda: state.list_actors(filters=[("actor_id", "=", key), ("state", "=", "DEAD")], detail=True))[
        0
    ]
    assert state.get_actor(key) == row
    assert row.class_name.rpartition(".")[2] == "Mortal"
    assert row.node_id
    assert "all references" in str(row.death_cause)
    with pytest.raises(ray.exceptions.ActorDiedError, match=r"(?s)Mortal.*all references"):
        ray.get(weak.me.remote())


@pytest.mark.local_only("the table is Ray's own")
def test_labels_and_environments_are_told() -> None:
    asked = {"label_selector": {"zone": "!b"}, "fallback_strategy": [{"label_selector": {"zone": "!c"}}]}
    env = {"env_vars": {"TOLD": "1"}}
    ref = passes.options(**asked, runtime_env=env).remote(1)
    plain = passes.remote(ref)
    actor: Any = Counter.options(**asked, runtime_env=env).remote()  # type: ignore[attr-defined]
    assert ray.get(plain) == ray.get(actor.inc.remote()) == 1
    first, second = ended(ref, plain)
    row: Any = state.get_actor(actor._actor_id.hex())
    for told in (first, row):
        assert told.label_selector == {"zone": "!b"}
        assert told.fallback_strategy == {"options": asked["fallback_strategy"]}
    assert (second.label_selector, second.fallback_strategy) == ({}, {"options": []})
    assert json.loads(first.runtime_env_info["serialized_runtime_env"]) == env
    assert first.runtime_env_info["runtime_env_config"]["eager_install"] is True
    assert json.loads(row.serialized_runtime_env) == env
    assert "TOLD" not in second.runtime_env_info["serialized_runtime_env"]


@pytest.mark.local_only("the table is Ray's own")
def test_names_of_calls_and_the_columns_of_ray() -> None:
    counter: Any = Counter.options(name="of calls").remote()  # type: ignore[attr-defined]
    pid = ray.get(counter.__ray_call__.remote(lambda _: os.getpid()))
    ref = counter.inc.options(name="a call of its own").remote()
    ray.get(ref)
    [row] = ended(ref)
    assert (row.name, row.func_or_class_name) == ("a call of its own", "Counter.inc")

    @ray.remote
    class Local:
        def work(self) -> None: ...

    local: Any = Local.remote()  # type: ignore[attr-defined]
    second = local.work.options(name="of a local class").remote()
    ray.get(second)
    assert ended(second)[0].func_or_class_name == "Local.work"
    assert [each["state"] for each in row.events] == ["PENDING_ARGS_AVAIL", "RUNNING", "FINISHED"]
    assert row.events[-1]["created_ms"] >= row.events[0]["created_ms"] > 0
    assert {row[name] for name in ("profiling_data", "task_log_info", "is_debugger_paused")} == {None}
    assert state.list_tasks(filters=[("task_log_info", "!=", "None")]) == []
    ray.kill(counter)
    dead: Any = eventually(
        lambda: found if (found := state.get_actor(row.actor_id)) and found.state == "DEAD" else None
    )
    assert dead.pid == pid
    cause = dead.death_cause["actor_died_error_context"]
    assert "killed by `ray.kill`" in cause["error_message"]
    assert (cause["pid"], cause["name"], cause["never_started"]) == (pid, "of calls", False)
    assert cause["reason"] == "RAY_KILL"
    assert dead.num_restarts_due_to_node_preemption == 0
    worker = state.get_worker(row.worker_id)
    assert worker is not None
    assert 0 < worker.worker_launch_time_ms <= worker.worker_launched_time_ms  # type: ignore[operator]


@pytest.mark.local_only("the table is Ray's own")
def test_an_actor_s_name_for_itself() -> None:
    @ray.remote
    class Named:
        def __repr__(self) -> str:
            return "nickname"

        def work(self) -> None: ...

    named: Any = Named.remote()  # type: ignore[attr-defined]
    ray.get([named.work.remote(), named.work.options(name="other").remote()])
    plain = Counter.remote()  # type: ignore[attr-defined]
    ray.get(plain.inc.remote())
    rows = [state.get_actor(actor._actor_id.hex()) for actor in (named, plain)]
    assert [row.repr_name for row in rows if row is not None] == ["nickname", ""]
    calls = state.list_tasks(filters=[("actor_id", "=", named._actor_id.hex()), ("type", "=", "ACTOR_TASK")])
    assert {call.name for call in calls} == {"nickname.work", "other"}


@pytest.mark.local_only("the table is Ray's own")
def test_the_driver_has_its_pid_in_every_answer() -> None:
    [driver] = state.list_workers(filters=[("worker_type", "=", "DRIVER")], detail=True)
    assert driver.pid == os.getpid()
    assert state.get_worker(driver.worker_id) == driver


@pytest.mark.local_only("in Ray only if a call has been made before")
def test_a_thread_of_an_actor_is_the_actor_s(gate: Path) -> None:
    @ray.remote
    class Starter:
        async def start(self) -> None:
            thread = threading.Thread(target=lambda: ray.get(passes.options(name="of a thread").remote(1)))
            thread.start()
            thread.join()

    starter: Any = Starter.remote()  # type: ignore[attr-defined]
    ray.get(starter.start.remote())
    [creation] = state.list_tasks(
        filters=[("type", "=", "ACTOR_CREATION_TASK"), ("actor_id", "=", starter._actor_id.hex())]
    )
    [task] = state.list_tasks(filters=[("name", "=", "of a thread")])
    assert task.parent_task_id == creation.task_id


def test_tasks_that_are_not_to_be_listed() -> None:
    @ray.remote(enable_task_events=False)
    def secret() -> int:
        return 1

    @ray.remote
    class Mixed:
        def plain(self) -> None: ...

        @ray.method(enable_task_events=False)
        def hidden(self) -> None: ...

        @ray.method(enable_task_events=True)
        def shown(self) -> None: ...

    shy: Any = Mixed.options(enable_task_events=False).remote()  # type: ignore[attr-defined]
    open_: Any = Mixed.remote()  # type: ignore[attr-defined]
    calls = [getattr(actor, name).remote() for actor in (shy, open_) for name in ("plain", "hidden", "shown")]
    ray.get([secret.remote(), *calls, shy.plain.options(enable_task_events=True).remote()])

    def listed(actor: Any) -> list[str]:
        key = actor._actor_id.hex()
        return sorted(task.name.rpartition(".")[2] for task in state.list_tasks(filters=[("actor_id", "=", key)]))

    eventually(lambda: listed(open_) == ["__init__", "plain", "shown"])
    eventually(lambda: listed(shy) == ["plain", "shown"])
    assert not any("secret" in task.name for task in state.list_tasks())
    assert state.get_task(calls[1]) is None


def test_a_client_of_the_tables() -> None:
    from jupyter_ray.util.state.common import ListApiOptions, StateResource, SummaryResource

    client = state.StateApiClient()
    ref = passes.remote(1)
    ray.get(ref)
    key = ref.task_id().hex()
    options = ListApiOptions(filters=[("task_id", "=", key)], detail=True)
    rows = eventually(lambda: client.list(StateResource.TASKS, options, raise_on_missing_output=False))
    assert [row["name"].rpartition(".")[2] for row in rows] == ["passes"]
    assert client.get(StateResource.TASKS, key)["task_id"] == key
    assert len(client.list(StateResource.TASKS, ListApiOptions(limit=0))) == 0
    assert "passes" in str(client.summary(SummaryResource.TASKS)["cluster"]["summary"])
    assert [node["node_id"] for node in client.list(StateResource.NODES)] == [node["NodeID"] for node in ray.nodes()]
    with pytest.raises(ValueError, match="CLUSTER_EVENTS"):
        client.get(StateResource.CLUSTER_EVENTS, key)


@pytest.mark.local_only("the table is Ray's own")
def test_why_an_actor_died() -> None:
    @ray.remote
    class Broken:
        def __init__(self, error: str) -> None:
            raise RuntimeError(error)

    class Frail:
        def die(self) -> None:
            os._exit(1)

    def cause(actor_id: str) -> Any:
        return eventually(lambda: (row := state.get_actor(actor_id)) and row.state == "DEAD" and row.death_cause)

    broken: Any = Broken.remote("broken \udc80" + 10_000 * "!")  # type: ignore[attr-defined]
    frail: Any = ray.remote(Frail).remote()
    told = cause(broken._actor_id.hex())["creation_task_failure_context"]
    assert "raise RuntimeError(error)" in told["formatted_exception_string"]
    assert len(told["formatted_exception_string"]) < 5_000
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(frail.die.remote())
    key = frail._actor_id.hex()
    assert cause(key)["actor_died_error_context"]["reason"] == "WORKER_DIED"
    last: Any = ray.remote(Frail).remote()
    ray.get(last.__ray_ready__.remote())
    key = last._actor_id.hex()
    del last
    assert cause(key)["actor_died_error_context"]["reason"] == "OUT_OF_SCOPE"


@pytest.mark.local_only("the table is Ray's own")
def test_a_constructor_that_runs_again_has_a_time_of_its_own(tmp_path: Path) -> None:
    @ray.remote(max_restarts=1)
    class Again:
        def die(self) -> None:
            os._exit(1)

    actor: Any = Again.remote()  # type: ignore[attr-defined]
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.die.remote())
    key = actor._actor_id.hex()
    of_it = [("actor_id", "=", key), ("type", "=", "ACTOR_CREATION_TASK"), ("state", "=", "FINISHED")]
    found = eventually(lambda: state.list_tasks(filters=[*of_it, ("attempt_number", "=", 1)], detail=True))
    assert 0 < found[0].creation_time_ms <= found[0].start_time_ms  # type: ignore[operator]
