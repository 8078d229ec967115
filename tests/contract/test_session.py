"""The session: warm-up, first use, threads, workers' part in it."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.engine import registry
from jupyter_ray.events import AnyEvent, LogLines, TaskFinished
from jupyter_ray.job_config import JobConfig
from jupyter_ray.util.scheduling_strategies import In, NodeLabelSchedulingStrategy
from tests.contract.helpers import Log, eventually
from tests.leaks import Watch


@pytest.mark.local_only("there is nothing to warm up: the cluster is running")
def test_a_warm_runtime_is_bound_by_init(start: Callable[..., Any], leak_watch: Watch) -> None:
    ray.warm_up()
    ray.warm_up()
    assert not ray.is_initialized()
    start(num_cpus=3)
    assert ray.cluster_resources()["CPU"] == 3
    ray.shutdown()
    ray.warm_up()
    ray.shutdown()
    eventually(lambda: not leak_watch.processes())
    with pytest.raises(ValueError, match="num_cpus"):
        start(num_cpus=-1)
    eventually(lambda: not leak_watch.processes())


def test_a_function_that_came_in_an_ended_session(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    came = ray.get(ray.remote(lambda: ray.remote(lambda: 5)).remote())
    assert ray.get(came.remote()) == 5
    ray.shutdown()
    start(num_cpus=1)
    with pytest.raises(exceptions.RaySystemError, match="session"):
        ray.get(came.remote(), timeout=60)


@pytest.mark.local_only("Ray keeps what it needs of a session on a cluster")
def test_what_is_kept_of_a_session_does_not_keep_it(start: Callable[..., Any]) -> None:
    function = ray.remote(lambda: 1)
    kept: list[Any] = []
    handles, engines = [], []
    for _ in range(2):
        start(num_cpus=1)
        kept += [ray.put(1), function.remote()]
        ray.get(kept[-2:])
        handles.append(ray.remote(list).remote())
        engines.append(weakref.ref(registry.required()))
        ray.shutdown()
    gc.collect()
    assert [engine() for engine in engines] == [None, None]
    for each in kept:
        with pytest.raises(exceptions.RaySystemError, match="ended"):
            ray.get(each)


@pytest.mark.local_only("without an address the first use starts the local engine")
def test_the_first_use_starts_a_session(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    @ray.remote
    def f() -> int:
        return 1

    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")
    with pytest.raises(exceptions.RaySystemError, match=r"ray\.init\(\)"):
        f.remote()
    monkeypatch.delenv("RAY_ENABLE_AUTO_CONNECT")
    refs: list[Any] = []
    threads = [threading.Thread(target=lambda: refs.append(f.remote())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ray.get(refs) == [1, 1, 1, 1]
    assert ray.cluster_resources()["CPU"] >= 1


def test_a_task_is_in_the_session_and_does_not_end_it(start: Callable[..., Any]) -> None:
    start(num_cpus=2)

    @ray.remote
    def inside() -> tuple[bool, bool]:
        try:
            ray.init()
        except RuntimeError:
            refused = True
        ray.init(ignore_reinit_error=True)
        ray.shutdown()
        return ray.is_initialized(), refused

    assert ray.get(inside.remote()) == (True, True)
    assert ray.get(ray.put(1)) == 1


def test_a_second_init_is_refused(start: Callable[..., Any]) -> None:
    context = start(num_cpus=1, namespace="mine")
    assert context.address_info["namespace"] == "mine"
    with pytest.raises(RuntimeError, match="twice"):
        start(num_cpus=1)
    assert start(ignore_reinit_error=True)["node_id"] == context["node_id"]
    with context:
        pass
    assert not ray.is_initialized()


def test_the_job_has_an_environment(start: Callable[..., Any]) -> None:
    start(num_cpus=1, runtime_env={"env_vars": {"CONTRACT_JOB": "job", "CONTRACT_BOTH": "job"}})

    @ray.remote(runtime_env={"env_vars": {"CONTRACT_BOTH": "task"}})
    def read() -> list[str | None]:
        @ray.remote
        def child() -> str | None:
            return os.environ.get("CONTRACT_BOTH")

        return [os.environ.get("CONTRACT_JOB"), os.environ.get("CONTRACT_BOTH"), ray.get(child.remote())]

    assert ray.get(read.remote()) == ["job", "task", "task"]
    assert ray.get_runtime_context().runtime_env["env_vars"]["CONTRACT_JOB"] == "job"


def test_a_worker_is_recognized_by_its_environment(start: Callable[..., Any]) -> None:
    start()

    @ray.remote
    def told() -> tuple[str | None, bool]:
        return os.environ.get("RAY_JOB_ID"), psutil.pid_exists(int(os.environ["RAY_RAYLET_PID"]))

    assert "RAY_RAYLET_PID" not in os.environ
    assert ray.get(told.remote()) == (ray.get_runtime_context().get_job_id(), True)


def test_environments_merge(start: Callable[..., Any], tmp_path: Path) -> None:
    """A field of the task replaces the job's; variables are merged by name, and refer to the driver's."""
    for name in ("job", "task", "library"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"contract_{name}.py").write_text(f"NAME = {name!r}")
    for name in ("job", "library"):
        (tmp_path / name / "large.bin").write_bytes(b"x")
    start(
        num_cpus=1,
        runtime_env={
            "working_dir": str(tmp_path / "job"),
            "excludes": ["*.bin"],
            "py_modules": [str(tmp_path / "library")],
            "env_vars": {"CONTRACT_PATH": "${PATH}:more${CONTRACT_NOT_THERE}"},
        },
    )

    @ray.remote
    def look() -> tuple[list[str], str, str]:
        import library.contract_library as found  # type: ignore[import-not-found]

        assert not (Path(found.__file__).parent / "large.bin").exists()
        return sorted(os.listdir()), found.NAME, os.environ["CONTRACT_PATH"]

    path = f"{os.environ['PATH']}:more"
    assert ray.get(look.remote()) == (["contract_job.py"], "library", path)
    other = look.options(runtime_env={"working_dir": str(tmp_path / "task")})
    assert ray.get(other.remote()) == (["contract_task.py"], "library", path)


def test_a_timeline(start: Callable[..., Any]) -> None:
    start(num_cpus=1)

    @ray.remote
    def traced() -> None: ...

    ray.get([traced.remote() for _ in range(3)])
    rows = eventually(lambda: [row for row in ray.timeline() or [] if row["name"] == "traced"])
    assert {row["ph"] for row in rows} == {"X"}


def test_the_last_events_come_before_the_end(start: Callable[..., Any]) -> None:
    start(num_cpus=2, log_to_driver=True)
    engine = registry.current()
    assert engine is not None
    events: list[AnyEvent] = []
    engine.subscribe(events.extend)
    ray.get([ray.remote(len).remote("x") for _ in range(300)])
    ray.shutdown()
    assert sum(isinstance(event, TaskFinished) for event in events) == 300


def test_what_a_parent_printed_comes_before_what_its_child_prints(start: Callable[..., Any]) -> None:
    start(num_cpus=2, log_to_driver=True)
    engine = registry.current()
    assert engine is not None
    events: list[AnyEvent] = []
    engine.subscribe(events.extend)

    @ray.remote
    def child(number: int) -> None:
        print("child", number)

    @ray.remote
    def parent(number: int) -> None:
        print("parent", number)
        ray.get(child.remote(number))
        print("parent again", number)

    for number in range(20):
        ray.get(parent.remote(number))
    ray.shutdown()
    lines = "".join(event.text for event in events if isinstance(event, LogLines)).splitlines()
    expected = [[f"parent {number}", f"child {number}", f"parent again {number}"] for number in range(20)]
    assert lines == [line for lines in expected for line in lines]


def test_without_a_session_everything_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    ray.shutdown()
    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")
    calls: list[Callable[[], Any]] = [
        ray.remote(os.getpid).remote,
        lambda: ray.get([]),
        lambda: ray.wait([]),
        lambda: ray.put(1),
        lambda: ray.cancel(None),
        lambda: ray.kill(None),
        lambda: ray.get_actor("name"),
        ray.nodes,
        ray.get_gpu_ids,
    ]
    for call in calls:
        with pytest.raises(exceptions.RaySystemError, match="Ray has not been started yet"):
            call()


def test_what_asks_about_a_session_raises_what_ray_raises_where_there_is_none() -> None:
    ray.shutdown()
    for ask, kind in (
        (ray.util.state.list_tasks, ConnectionError),
        (ray.util.state.summarize_actors, ConnectionError),
        (lambda: ray.util.state.get_node("ab"), ConnectionError),
        (lambda: list(ray.util.state.get_log(actor_id="ab")), ConnectionError),
        (ray.nodes, exceptions.RaySystemError),
        (ray.timeline, RuntimeError),
    ):
        with pytest.raises(kind, match="Ray has not been started yet") as found:
            ask()
        assert isinstance(found.value, exceptions.RaySystemError)
        assert str(pickle.loads(pickle.dumps(found.value))) == str(found.value)
    assert not ray.is_initialized()


@pytest.mark.local_only("the tests choose resources at init; a cluster's resources are given (see tests/cluster)")
def test_memory_is_counted_in_whole_bytes(start: Callable[..., Any]) -> None:
    start(num_cpus=1, _memory=2.2)

    @ray.remote
    def task() -> int:
        return 1

    assert ray.get(task.options(memory=2.9).remote()) == 1
    with pytest.raises(exceptions.TaskUnschedulableError):
        task.options(memory=3.1).remote()


_HOOKED = "tests.contract.test_session.hook"


def hook(runtime_env: dict[str, Any] | None) -> dict[str, Any]:
    """What `RAY_RUNTIME_ENV_HOOK` names below."""
    return {"env_vars": {"HOOKED": "yes", **((runtime_env or {}).get("env_vars") or {})}}


def test_a_hook_may_change_the_runtime_environment(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_RUNTIME_ENV_HOOK", _HOOKED)
    start(runtime_env={"env_vars": {"MINE": "1"}})

    @ray.remote
    def variables() -> tuple[str | None, str | None]:
        return os.environ.get("HOOKED"), os.environ.get("MINE")

    assert ray.get(variables.remote()) == ("yes", "1")


def test_a_job_config_says_what_init_does_not(start: Callable[..., Any]) -> None:
    config = JobConfig(ray_namespace="jobs", default_actor_lifetime="detached", metadata={"who": "me"})
    start(job_config=config)

    class Keeper:
        def here(self) -> bool:
            return True

    @ray.remote
    def keep() -> bool:
        kept: bool = ray.get(ray.remote(Keeper).options(name="inner").remote().here.remote())
        return kept

    assert ray.get(ray.remote(Keeper).options(name="outer").remote().here.remote())
    assert ray.get(keep.remote())
    assert ray.get([ray.get_actor(name, namespace="jobs").here.remote() for name in ("inner", "outer")]) == [True] * 2
    for name in ("inner", "outer"):
        ray.kill(ray.get_actor(name))


@pytest.mark.local_only("the metadata of a cluster's job are Ray's")
def test_a_job_config_s_metadata_is_listed(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"metadata": {"who": "me"}}')
    start()
    assert ray.util.state.list_jobs(detail=True)[0].metadata == {"who": "me"}


def test_the_environment_of_a_submitted_job_joins_that_of_init(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"runtime_env": {"env_vars": {"FIRST": "job"}}}')

    @ray.remote
    def variables() -> tuple[str | None, str | None]:
        return os.environ.get("FIRST"), os.environ.get("SECOND")

    with pytest.raises(ValueError, match="conflict: FIRST"):
        start(runtime_env={"env_vars": {"FIRST": "init"}})
    start(runtime_env={"env_vars": {"SECOND": "init"}})
    assert ray.get(variables.remote()) == ("job", "init")
    ray.shutdown()
    monkeypatch.setenv("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
    start(runtime_env={"env_vars": {"FIRST": "init"}})
    assert ray.get(variables.remote()) == ("init", None)


def test_a_constructor_prints_under_the_class_s_name(start: Callable[..., Any]) -> None:
    start()

    @ray.remote
    class Named:
        def __init__(self) -> None:
            print("constructed")

        def speak(self) -> None:
            print("spoken")

        def __repr__(self) -> str:
            return "Nickname"

    with Log() as log:
        ray.get(Named.remote().speak.remote())
        eventually(lambda: any("spoken" in event.text for event in log.find(LogLines)))
    names = {event.text.strip(): event.name for event in log.find(LogLines)}
    assert names["constructed"].endswith("Named")
    assert names["spoken"] == "Nickname"


def test_references_of_an_ended_session(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    stale = ray.put(1)
    ray.shutdown()
    start(num_cpus=1)
    fresh = ray.put(2)

    @ray.remote
    def task(argument: object) -> None: ...

    async def awaited(ref: Any) -> Any:
        return await ref

    for use in (
        lambda: ray.get(stale),
        lambda: ray.get([fresh, stale]),
        lambda: ray.wait([stale], timeout=1),
        lambda: ray.put([stale]),
        lambda: task.remote(stale),
        lambda: task.remote([stale]),
        lambda: task.remote({"key": [fresh, stale]}),
        lambda: stale.future(),
        lambda: asyncio.run(awaited(stale)),
    ):
        with pytest.raises(ValueError, match="owner is unknown") as caught:
            use()
        assert isinstance(caught.value, exceptions.RaySystemError)
    assert ray.wait([stale, fresh]) == ([fresh], [stale])


def test_references_of_an_ended_session_that_a_function_uses(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    stale = ray.put(1)
    ray.shutdown()
    start(num_cpus=1)

    class Box:
        content = (stale,)

    @ray.remote
    def reads() -> Any:
        return ray.get(stale)

    @ray.remote
    def looks_into() -> Any:
        return Box.content

    @ray.remote
    class Reader:
        def reads(self) -> Any:
            return ray.get(stale)

    for use, where in (
        (reads.remote, "variable of its closure 'stale'"),
        (looks_into.remote, "Box"),
        (Reader.remote, "'stale'"),
    ):
        with pytest.raises(ValueError, match="owner is unknown") as caught:
            use()
        assert isinstance(caught.value, exceptions.RaySystemError)
        assert where in str(caught.value)
        assert "a session that has ended" in str(caught.value)


def test_a_nil_reference_that_a_function_uses(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    nil = ray.ObjectRef.nil()

    @ray.remote
    def uses() -> Any:
        return nil

    with pytest.raises(ValueError, match="is nil"):
        uses.remote()


@pytest.mark.local_only("Ray passes on a nil reference that a task returns")
def test_a_nil_reference_that_a_function_returns(start: Callable[..., Any]) -> None:
    start(num_cpus=1)

    @ray.remote
    def returns() -> Any:
        return ray.ObjectRef.nil()

    with pytest.raises(ValueError, match="is nil"):
        ray.get(returns.remote())


@pytest.mark.local_only("the session's folder is Ray's")
def test_ray_tmpdir_is_where_the_session_is(
    start: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Path(tempfile.mkdtemp(dir="/tmp"))  # A socket's path must not be long.
    monkeypatch.setenv("RAY_TMPDIR", str(short / "inner"))
    try:
        session = start(num_cpus=1)["session_dir"]
        monkeypatch.delenv("RAY_TMPDIR")
        assert session.startswith(str(short / "inner"))

        @ray.remote(runtime_env={"env_vars": {"RAY_TMPDIR": "/elsewhere"}})
        def folder() -> str:
            return ray.get_runtime_context().get_temp_dir()

        assert ray.get(folder.remote()) == session
        ray.shutdown()
        assert not Path(session).exists()
    finally:
        shutil.rmtree(short)


@pytest.mark.local_only("the session's folder is Ray's")
def test_temp_dir_is_where_the_session_is(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/elsewhere")
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        session = Path(start(num_cpus=1, _temp_dir=f"{short}/inner")["session_dir"])
        assert session.parent == Path(short, "inner")
        assert session.stat().st_mode & 0o777 == 0o700

        @ray.remote
        def folder() -> str:
            return ray.get_runtime_context().get_temp_dir()

        assert Path(ray.get(folder.remote())) == session
        ray.shutdown()
        assert not session.exists()
        with pytest.raises(OSError, match=r"bytes too long for this system. Set init\(_temp_dir"):
            start(_temp_dir=f"{short}/{'long' * 20}")
        assert not ray.is_initialized()


@pytest.mark.local_only("a cluster's nodes have the names and labels that they were started with")
def test_a_machine_has_a_name_and_labels(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_NODE_ZONE", "a")
    given = {"region": "north", "ray.io/market-type": "spot", "ray.io/availability-zone": "b"}
    start(labels=given, resources={"accelerator_type:A100": 1}, _node_name="mine")
    [node] = ray.nodes()
    assert node["NodeName"] == "mine"
    assert node["Labels"] == {
        **given,  # They are preferred to what the environment says.
        "ray.io/accelerator-type": "A100",
        "ray.io/node-id": node["NodeID"],
    }

    @ray.remote
    def labels() -> dict[str, str]:
        return ray.get_runtime_context().get_node_labels()

    assert ray.get(labels.remote()) == node["Labels"]
    north = labels.options(scheduling_strategy=NodeLabelSchedulingStrategy({"region": In("north")}))
    south = labels.options(scheduling_strategy=NodeLabelSchedulingStrategy({"region": In("south")}))
    assert ray.get(north.remote())["region"] == "north"
    with pytest.raises(exceptions.TaskUnschedulableError, match="north"):
        ray.get(south.remote())
    ray.shutdown()
    for wrong, kind in (({"a": 1}, TypeError), ("a", TypeError), ({"ray.io/node-id": "x"}, ValueError)):
        with pytest.raises(kind, match=r"[Ll]abels"):
            start(labels=wrong)


@pytest.mark.local_only("a cluster's nodes have the labels that they were started with")
def test_a_machine_without_the_labels_that_a_call_wants(start: Callable[..., Any]) -> None:
    start(labels={"hardware": "mock"}, resources={"accelerator_type:T4": 1})

    @ray.remote(label_selector={"hardware": "mock"})
    def labels() -> dict[str, str]:
        with pytest.raises(exceptions.TaskUnschedulableError, match="real"):
            labels.options(label_selector={"hardware": "real"}).remote()
        return ray.get_runtime_context().get_node_labels()

    @ray.remote
    class Keeper:
        def ready(self) -> bool:
            return True

    found = ray.get(labels.remote())
    assert (found["hardware"], found["ray.io/accelerator-type"]) == ("mock", "T4")
    for selector in (
        {"ray.io/accelerator-type": "in(T4, L4)"},
        {"zone": "!a"},
        {"ray.io/node-id": found["ray.io/node-id"]},
    ):
        assert ray.get(labels.options(label_selector=selector).remote()) == found
        assert ray.get(Keeper.options(label_selector=selector).remote().ready.remote())
    away = {"label_selector": {"hardware": "real"}}
    with pytest.raises(exceptions.TaskUnschedulableError, match=r"labels wants .*'real'.* of this one are .*'mock'"):
        labels.options(**away).remote()
    with pytest.raises(exceptions.ActorUnschedulableError, match="Keeper wants"):
        Keeper.options(**away).remote()
    other = labels.options(**away, fallback_strategy=[{"label_selector": {"hardware": "mock"}}])
    assert ray.get(other.remote()) == found
    with pytest.raises(exceptions.TaskUnschedulableError, match="labels wants"):
        labels.options(**away, fallback_strategy=[{"label_selector": {"hardware": "none"}}]).remote()


@pytest.mark.local_only("Ray's own handler shows the stacks")
def test_a_crash_shows_its_stacks(start: Callable[..., Any]) -> None:
    start()

    @ray.remote(max_retries=0)
    def crash() -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    with Log() as log:
        with pytest.raises(exceptions.WorkerCrashedError, match="SIGSEGV"):
            ray.get(crash.remote())
        [told] = eventually(lambda: [each for each in log.find(LogLines) if "Segmentation fault" in each.text])
    assert (told.stream, told.name) == ("stderr", "crash")
    assert "in crash" in told.text


@pytest.mark.local_only("the wording is Ray's own")
def test_everybody_sees_the_same_runtime_environment(start: Callable[..., Any], tmp_path: Path) -> None:
    start(runtime_env={"working_dir": str(tmp_path), "env_vars": {"A": "1"}})

    @ray.remote
    def seen() -> Any:
        return ray.get_runtime_context().runtime_env

    mine = ray.get_runtime_context().runtime_env
    assert ray.get([seen.remote(), seen.options(runtime_env=mine).remote()]) == [mine, mine]
    assert mine["working_dir"] != str(tmp_path), "a copy"


@pytest.mark.local_only("the tests' cluster is configured when it starts")
def test_a_session_may_list_no_tasks(start: Callable[..., Any]) -> None:
    start(num_cpus=1, _system_config={"task_events_report_interval_ms": 0})

    @ray.remote(enable_task_events=True)
    def one() -> int:
        return 1

    @ray.remote
    class Actor:
        def one(self) -> int:
            return 1

    actor: Any = Actor.remote()
    refs = [one.remote(), actor.one.remote()]
    assert ray.get(refs) == [1, 1]
    assert ray.util.state.list_tasks() == []
    assert ray.util.state.get_task(refs[0].task_id().hex()) is None
    assert [row.class_name.rpartition(".")[2] for row in ray.util.state.list_actors()] == ["Actor"]


@pytest.mark.local_only("the tests' cluster is configured when it starts")
def test_of_few_tasks_the_unfinished_are_listed(start: Callable[..., Any]) -> None:
    start(num_cpus=2, _system_config={"task_events_max_num_task_in_gcs": 4})

    @ray.remote(max_retries=0)
    def run(fails: bool = False) -> None:
        if fails:
            raise ValueError("as asked")

    @ray.remote
    class Actor:
        def run(self) -> None: ...

        def sleep(self) -> None:
            time.sleep(1000)

    def listed(**expected: int) -> bool:
        return Counter(task.name.rpartition(".")[2] for task in ray.util.state.list_tasks()) == expected

    actor: Any = Actor.remote()
    ray.get(actor.run.remote())
    ray.get([run.options(name="quick").remote() for _ in range(9)])
    eventually(lambda: listed(quick=4))
    failed = [run.options(name="failed").remote(True)]
    ray.wait(failed)
    ray.get([actor.run.options(name="call").remote() for _ in range(2)])
    eventually(lambda: listed(failed=1, call=2, quick=1))
    asleep = [actor.sleep.options(name="asleep").remote() for _ in range(5)]
    eventually(lambda: listed(failed=1, asleep=3))
    failed += [run.options(name="failed").remote(True) for _ in range(4)]
    ray.wait(failed, num_returns=5)
    eventually(lambda: listed(failed=4))
    assert len(asleep) == 5
    for ref in failed:
        with pytest.raises(ValueError, match="as asked"):
            ray.get(ref)
