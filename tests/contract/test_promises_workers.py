"""What RAY_API says of workers: devices, variables, modules, titles, words (S11, S13, S15 to S17), and its traps."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray.util import placement_group, remove_placement_group
from jupyter_ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from tests.contract.helpers import PATIENCE, eventually

LOCAL = pytest.mark.local_only(
    "the tests choose resources at init; a cluster's resources are given (see tests/cluster)"
)


@ray.remote
def variable(name: str) -> str | None:
    return os.environ.get(name)


@LOCAL
def test_parts_of_gpus_share_one_until_it_is_full(start: Callable[..., Any]) -> None:
    start(num_cpus=2, num_gpus=2)

    @ray.remote(num_gpus=0.5, num_cpus=0)
    class Half:
        def __init__(self) -> None:
            self.at_first = os.environ.get("CUDA_VISIBLE_DEVICES")

        def ids(self) -> tuple[list[Any], str | None]:
            return ray.get_gpu_ids(), self.at_first

    halves = [Half.remote() for _ in range(3)]
    found = ray.get([each.ids.remote() for each in halves])
    assert all(variable == str(*ids) for ids, variable in found), "it was set before the constructor ran"
    assert sorted(Counter(ids[0] for ids, _ in found).values()) == [1, 2]
    whole = Half.options(num_gpus=1).remote().ids.remote()
    assert ray.wait([whole], timeout=0.2)[0] == [], "two halves of two GPUs are no whole one"
    last = Half.remote()
    assert Counter(ids[0] for ids, _ in [*found, ray.get(last.ids.remote())]) == {0: 2, 1: 2}
    assert ray.get([each.ids.remote() for each in halves]) == found, "actors keep theirs"
    del halves, last
    assert ray.get(whole, timeout=PATIENCE)[0] in ([0], [1])


@LOCAL
def test_a_task_without_gpus_leaves_the_variable_alone(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "CUDA_VISIBLE_DEVICES"
    monkeypatch.delenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", raising=False)
    monkeypatch.setenv(name, "4,6")
    start(num_cpus=1, num_gpus=2)
    assert ray.get(variable.options(num_gpus=1).remote(name)) in ("4", "6")
    assert ray.get(variable.remote(name)) == "4,6"
    ray.shutdown()
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    start(num_cpus=1, num_gpus=2)
    assert ray.get(variable.remote(name)) == ""
    ray.shutdown()
    monkeypatch.delenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO")
    monkeypatch.setenv("RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES", "1")
    start(num_cpus=1, num_gpus=2)
    assert ray.get(variable.options(num_gpus=1).remote(name)) == "4,6"


@LOCAL
def test_who_sets_the_number_of_threads_has_the_last_word(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "OMP_NUM_THREADS"
    monkeypatch.delenv(name, raising=False)
    start(num_cpus=4)

    @ray.remote
    class Actor:
        def __init__(self) -> None:
            self.at_first = os.environ.get(name)

        def get(self) -> str | None:
            return self.at_first

    for cpus, threads in ((0, "1"), (0.5, "1"), (1.9, "1"), (2, "2")):
        assert ray.get(variable.options(num_cpus=cpus).remote(name)) == threads
    assert ray.get([Actor.remote().get.remote(), Actor.options(num_cpus=3).remote().get.remote()]) == ["1", "3"]
    mine = variable.options(num_cpus=2, runtime_env={"env_vars": {name: "7"}})
    assert ray.get(mine.remote(name)) == "7"
    assert name not in os.environ, "of the driver it is not set"
    ray.shutdown()
    monkeypatch.setenv(name, "5")
    start(num_cpus=4)
    assert ray.get(variable.options(num_cpus=2).remote(name)) == "5"


def test_a_working_dir_is_a_copy_and_that_of_its_tasks_alone(start: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "promised_module.py").write_text("VALUE = 9")
    (tmp_path / "notes.txt").write_text("first")

    @ray.remote
    def use() -> tuple[int, str]:
        import promised_module  # type: ignore[import-not-found]

        Path("written.txt").write_text("by a task")
        return promised_module.VALUE, Path("notes.txt").read_text()

    @ray.remote
    def is_there() -> bool:
        try:
            import promised_module  # noqa: F401
        except ImportError:
            return Path("notes.txt").exists()
        return True

    @ray.remote
    def parent() -> list[bool]:
        return [ray.get(is_there.remote()), is_there._function()]

    start(num_cpus=2, runtime_env={"working_dir": str(tmp_path)})
    assert ray.get(use.remote()) == (9, "first")
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix) == ["notes.txt", "promised_module.py"]
    assert ray.get(parent.remote()) == [True, True]
    ray.shutdown()
    start(num_cpus=2)
    assert not ray.get(is_there.remote())


@pytest.mark.local_only("Ray uploads a task's working_dir beforehand")
def test_a_task_s_working_dir_is_none_of_the_next_task_s(start: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("first")
    start(num_cpus=1)
    read = ray.remote(lambda: Path("notes.txt").exists() and Path("notes.txt").read_text())
    mine = {"working_dir": str(tmp_path)}
    assert ray.get(read.options(runtime_env=mine).remote()) == "first"
    assert ray.get([read.remote() for _ in range(3)]) == [False] * 3
    (tmp_path / "notes.txt").write_text("second")
    assert ray.get(read.options(runtime_env=mine).remote()) == "second"


@pytest.mark.local_only("Ray's workers get only the script's folder from the driver's search path")
def test_workers_import_from_wherever_the_driver_does(
    start: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_the_path.py").write_text("VALUE = 3")
    monkeypatch.syspath_prepend(tmp_path)

    @ray.remote
    def use() -> int:
        import of_the_path  # type: ignore[import-not-found]

        value: int = of_the_path.VALUE
        return value

    start(num_cpus=1)
    assert ray.get(use.remote()) == 3


def test_what_a_task_knows_of_where_it_runs(start: Callable[..., Any]) -> None:
    start(num_cpus=2, namespace="promised")
    group = placement_group([{"CPU": 1}])
    assert group.wait(PATIENCE)

    @ray.remote
    def known() -> dict[str, Any]:
        context = ray.get_runtime_context()
        return {
            "session": context.get_session_name(),
            "temp": context.get_temp_dir(),
            "group": context.get_placement_group_id(),
            "captures": context.should_capture_child_tasks_in_placement_group,
            "labels": context.get_node_labels(),
            "variables": context.runtime_env.get("env_vars"),
            "text": "PROMISED" in context.get_runtime_env_string(),
            "dict": {name: value.hex() if hasattr(value, "hex") else value for name, value in context.get().items()},
        }

    captured = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    env = {"env_vars": {"PROMISED": "1"}}
    ref = known.options(scheduling_strategy=captured, runtime_env=env).remote()
    found = ray.get(ref)
    mine = ray.get_runtime_context()
    assert (found["session"], found["temp"]) == (mine.get_session_name(), mine.get_temp_dir())
    assert (found["group"], found["captures"]) == (group.id.hex(), True)
    assert found["labels"] in [node["Labels"] for node in ray.nodes()]
    assert (found["variables"], found["text"]) == ({"PROMISED": "1"}, True)
    assert found["dict"].keys() == {"job_id", "node_id", "task_id", "namespace"}
    assert found["dict"]["task_id"] == ref.task_id().hex()
    assert (found["dict"]["job_id"], found["dict"]["namespace"]) == (mine.get_job_id(), "promised")
    plain = ray.get(known.remote())
    assert (plain["group"], plain["captures"], plain["text"]) == (None, False, False)
    assert mine.get().keys() == {"job_id", "node_id", "namespace"}
    remove_placement_group(group)


@pytest.mark.local_only("Ray changes process titles in its own time")
def test_a_worker_that_has_nothing_to_do_says_so(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    pid = ray.get(ray.remote(os.getpid).remote())
    eventually(lambda: psutil.Process(pid).cmdline()[0] == "ray::IDLE")


@pytest.mark.local_only("Ray's own log monitor decides what is shown")
def test_what_workers_print_is_shown_under_their_names_or_not_at_all() -> None:
    program = """
        import sys
        import jupyter_ray as ray

        @ray.remote
        class Plain:
            def say(self):
                print("plain")
                print("wrong", file=sys.stderr)

        @ray.remote
        class Named:
            def __repr__(self):
                return "Nickname"
            def say(self):
                print("named")

        for log_to_driver in (True, False):
            ray.init(num_cpus=1, log_to_driver=log_to_driver)
            actors = [Plain.remote(), Named.remote()]
            ray.get([actor.say.remote() for actor in actors])
            ray.shutdown()
            print("over", flush=True)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    said, _, silent = ran.stdout.partition("over\n")
    assert ") plain\n" in said
    assert "(Plain pid=" in said
    assert "(Nickname pid=" in said
    assert ran.stderr.count(") wrong\n") == 1
    assert silent == "over\n"


# --- the traps of the table ---


@LOCAL
def test_a_thousand_chains_on_one_cpu_end(start: Callable[..., Any]) -> None:
    @ray.remote
    def h(value: int) -> int:
        return value

    @ray.remote
    def g(value: int) -> int:
        return int(ray.get(h.remote(value)))

    @ray.remote
    def f(value: int) -> int:
        return int(ray.get(g.remote(value)))

    start(num_cpus=1)
    assert ray.get([f.remote(number) for number in range(1000)], timeout=100) == list(range(1000))


@LOCAL
def test_ten_thousand_kinds_of_resources(start: Callable[..., Any]) -> None:
    names = [f"kind{number}" for number in range(10_000)]
    start(num_cpus=1, resources=dict.fromkeys(names, 1))
    assert ray.cluster_resources().keys() >= set(names)
    held = ray.remote(lambda: ray.get_runtime_context().get_assigned_resources())
    ref = held.options(num_cpus=0, resources=dict.fromkeys(names[:5000], 1)).remote()
    assert ray.get(ref, timeout=PATIENCE) == dict.fromkeys(names[:5000], 1.0)
    assert all(ray.get([held.options(resources={name: 1}).remote() for name in names[::100]], timeout=PATIENCE))
    eventually(lambda: ray.available_resources().keys() >= set(names))


@LOCAL
def test_twenty_workers_are_alive_at_once(start: Callable[..., Any], tmp_path: Path) -> None:
    @ray.remote
    def meet(number: int) -> int:
        (tmp_path / str(number)).touch()
        eventually(lambda: len(list(tmp_path.iterdir())) == 20)
        return os.getpid()

    start(num_cpus=20)
    assert len(set(ray.get([meet.remote(number) for number in range(20)], timeout=2 * PATIENCE))) == 20


def test_an_async_actor_has_more_calls_at_once_than_python_calls_deep(start: Callable[..., Any]) -> None:
    @ray.remote
    class Gate:
        def __init__(self) -> None:
            self.open = asyncio.Event()

        async def wait(self) -> int:
            await self.open.wait()
            return 1

        async def go(self) -> None:
            self.open.set()

    start(num_cpus=1)
    many = 4 * sys.getrecursionlimit()
    gate = Gate.options(max_concurrency=many + 1).remote()
    refs = [gate.wait.remote() for _ in range(many)]
    ray.get(gate.go.remote(), timeout=PATIENCE)
    assert sum(ray.get(refs, timeout=2 * PATIENCE)) == many
