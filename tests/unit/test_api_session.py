"""``init``, ``shutdown``, the start at first use, logs, resources and the runtime context, without processes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.api import session
from jupyter_ray.engine import context, registry
from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.events import LogLines, Span, TaskFinished, TaskStarted, TaskSubmitted
from jupyter_ray.exceptions import RaySystemError
from tests import fakes
from tests.fakes import FakeEngine


@pytest.fixture(autouse=True)
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_PROVIDERS", {"local": "tests.fakes", "ray": "jupyter_ray_absent"})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    fakes.started.clear()
    fakes.warmed.clear()
    yield
    ray.shutdown()


def current() -> FakeEngine:
    engine = registry.current()
    assert isinstance(engine, FakeEngine)
    return engine


def test_init_and_shutdown() -> None:
    assert not ray.is_initialized()
    context = ray.init(num_cpus=2, num_gpus=1, resources={"x": 1}, namespace="n", object_store_memory=2**24)
    assert ray.is_initialized()
    options = current().init_options
    assert (options.num_cpus, options.num_gpus, options.resources) == (2, 1, {"x": 1})
    assert (options.namespace, options.object_store_memory) == ("n", 2**24)
    assert context.address_info["namespace"] == context["namespace"] == "n"
    assert context.dashboard_url == ""
    assert context.python_version == sys.version.split()[0]
    assert "RayContext" in repr(context)
    ray.shutdown()
    ray.shutdown()
    assert not ray.is_initialized()
    assert not fakes.started[0].alive


def test_the_context_ends_the_session() -> None:
    with ray.init() as context:
        assert context.ray_version == ray.__version__
        assert ray.is_initialized()
    assert not ray.is_initialized()


def test_a_second_init_is_an_error_unless_ignored() -> None:
    ray.init()
    with pytest.raises(RuntimeError, match="twice"):
        ray.init()
    again = ray.init(ignore_reinit_error=True)
    assert again["node_id"] == current().process.node.hex()
    assert len(fakes.started) == 1


def test_an_anonymous_namespace_is_fresh() -> None:
    ray.init()
    first = current().init_options.namespace
    ray.shutdown()
    ray.init()
    assert first
    assert current().init_options.namespace not in (None, first)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"num_cpu": 1}, RuntimeError, "Unknown keyword argument.*num_cpu"),
        ({"local_mode": True}, RuntimeError, "local_mode"),
        ({"allow_multiple": True}, RuntimeError, "allow_multiple.*ray://"),
        ({"_system_config": 1}, TypeError, "_system_config must be a dict"),
        ({"num_cpus": -1}, ValueError, "negative"),
        ({"num_cpus": float("inf")}, ValueError, "num_cpus is at most"),
        ({"num_cpus": float("nan")}, ValueError, "num_cpus is at most"),
        ({"num_gpus": 2**63}, ValueError, "num_gpus is at most 10,000"),
        ({"num_cpus": "1"}, TypeError, "num_cpus"),
        ({"resources": {"CPU": 1}}, AssertionError, "`CPU` cannot be a custom resource .*num_cpus"),
        ({"resources": {"memory": 1}}, AssertionError, "`memory` cannot be a custom resource"),
        ({"_temp_dir": "relative"}, ValueError, "absolute"),
        ({"resources": {"x": "1"}}, TypeError, "x"),
        ({"resources": [1]}, TypeError, "dict"),
        ({"namespace": ""}, ValueError, "namespace"),
        ({"namespace": 1}, TypeError, "namespace"),
        ({"runtime_env": 1}, TypeError, "runtime_env"),
        ({"runtime_env": {"envvars": {}}}, ValueError, "no field 'envvars'"),
        ({"object_store_memory": 10}, ValueError, "MiB"),
        ({"address": 3}, TypeError, "address must be a string"),
        ({"job_config": 3}, TypeError, "job_config must be a JobConfig"),
        ({"address": "ray://localhost:1"}, ConnectionError, "Could not find any running Ray instance"),
        ({"address": "localhost"}, ConnectionError, "not the address of a cluster|not installed"),
    ],
)
def test_what_init_refuses(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ray.init(**options)
    assert not ray.is_initialized()


def test_what_init_ignores() -> None:
    ray.init(
        "local",
        include_dashboard=False,
        dashboard_host="127.0.0.1",
        _system_config={},
        _temp_dir="/tmp/x",
        logging_level="warning",
        configure_logging=True,
    )
    assert ray.is_initialized()


@pytest.mark.parametrize("package", ["ray", "grpc"])
def test_a_cluster_without_its_packages(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == package else SimpleNamespace(origin=name)
    )
    with pytest.raises(ConnectionError, match=rf"`{package}` is not.*pip install 'jupyter-ray\[ray\]'"):
        ray.init("auto")
    assert not ray.is_initialized()


@pytest.mark.parametrize("asked", [{"num_cpus": 5}, {"num_gpus": 1, "resources": {"a": 1}}])
def test_a_cluster_has_its_resources(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"leave {', '.join(f'{name}=' for name in asked)} out"):
        ray.init("127.0.0.1:1", **asked)
    assert not ray.is_initialized()


def test_the_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1"):
        ray.init()
    monkeypatch.setenv("RAY_ADDRESS", "local")
    ray.init()


def _refused(use: Callable[[], object]) -> None:
    with contextlib.suppress(ValueError):
        use()


FIRST_USES: list[Callable[[], object]] = [
    lambda: ray.remote(len).remote("a"),
    lambda: ray.remote(dict).remote(),
    lambda: ray.put(1),
    lambda: ray.get([]),
    lambda: ray.wait([]),
    ray.get_gpu_ids,
    lambda: ray.cancel(ray.ObjectRef.nil()),
    lambda: _refused(lambda: ray.kill(None)),
    lambda: _refused(lambda: ray.get_actor("nobody")),
]


@pytest.mark.parametrize("use", FIRST_USES)
def test_the_first_use_starts_a_session(use: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")
    with pytest.raises(RaySystemError, match=r"ray\.init\(\)"):
        use()
    monkeypatch.delenv("RAY_ENABLE_AUTO_CONNECT")
    use()
    assert ray.is_initialized()


def test_the_first_use_starts_what_init_starts_without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ray.init.__kwdefaults__ or {}, "resources", {"by_default": 3})
    ray.put(1)
    assert current().init_options.resources == {"by_default": 3}
    ray.shutdown()
    ray.init()
    assert current().init_options.resources == {"by_default": 3}


def test_that_no_debugger_reaches_a_failed_task_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "RAY_DEBUG_POST_MORTEM=1 has no effect here"
    ray.init(runtime_env={"env_vars": {"RAY_DEBUG_POST_MORTEM": "0"}})
    ray.shutdown()
    assert told not in caplog.text
    ray.init(runtime_env={"env_vars": {"RAY_DEBUG_POST_MORTEM": "1"}})
    ray.shutdown()
    assert caplog.text.count(told) == 1
    monkeypatch.setenv("RAY_DEBUG_POST_MORTEM", "1")
    ray.init()
    assert caplog.text.count(told) == 2


def test_the_runtime_context_outside_of_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")
    context = ray.get_runtime_context()
    for ask, what in (
        (context.get_job_id, "Job ID"),
        (context.get_node_id, "Node ID"),
        (context.get_worker_id, "Worker ID"),
        (context.get_session_name, "Session name"),
        (context.get_runtime_env_string, "This"),
    ):
        with pytest.raises(RuntimeError, match=f"{what} is not available because Ray has not been initialized"):
            ask()
    with pytest.raises(AssertionError, match="Temp directory is not available"):
        context.get_temp_dir()
    for none in (context.get_task_id, context.get_task_name, context.get_actor_id, context.get_actor_name):
        assert none() is None
    assert not ray.is_initialized()
    monkeypatch.delenv("RAY_ENABLE_AUTO_CONNECT")
    assert ray.get_runtime_context().get_job_id() == context.get_job_id()


@pytest.mark.parametrize("use", [ray.nodes, ray.cluster_resources, ray.available_resources, ray.timeline])
def test_questions_about_a_session_start_none(use: Callable[[], object]) -> None:
    with pytest.raises(RaySystemError, match="has not been started"):
        use()


def test_many_threads_may_use_it_first() -> None:
    threads = [threading.Thread(target=lambda: ray.put(1)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fakes.started) == 1


def test_a_dead_runtime_does_not_stand_in_the_way() -> None:
    ray.init()
    ref = ray.put(1)
    current().die()
    with pytest.raises(RaySystemError):
        ray.get(ref)
    ray.init()
    assert ray.get(ray.put(2)) == 2
    assert len(fakes.started) == 2


def test_functions_and_classes_outlive_a_session() -> None:
    function, kind = ray.remote(len), ray.remote(dict)
    for _ in range(2):
        ray.init()
        assert ray.get(function.remote("ab")) == 2
        assert ray.get(kind.remote(a=1).get.remote("a")) == 1
        ray.shutdown()


def test_warming_up_starts_no_session() -> None:
    ray.warm_up()
    assert fakes.warmed == ["warm"]
    assert not ray.is_initialized()
    ray.shutdown()
    ray.shutdown()
    assert fakes.warmed == ["warm", "cool"]
    ray.warm_up()
    ray.init()
    ray.shutdown()
    assert fakes.warmed == ["warm", "cool", "warm"]


def test_the_runtime_has_a_head_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ray.init()
    with pytest.raises(RuntimeError, match="twice"):
        ray.init()
    assert fakes.warmed == ["warm"]
    ray.shutdown()
    fakes.warmed.clear()
    with pytest.raises(TypeError, match="num_cpus"):
        ray.init(num_cpus="two")  # type: ignore[arg-type]
    assert fakes.warmed == ["warm", "cool"]
    fakes.warmed.clear()
    with pytest.raises(RuntimeError, match="num_cpu"):
        ray.init(num_cpu=2)
    with pytest.raises(ConnectionError):
        ray.init("127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ConnectionError):
        ray.init()
    ray.init("local", _temp_dir=str(tmp_path))  # Where the one that was started would not be.
    assert not fakes.warmed


def test_a_worker_neither_starts_nor_ends_sessions() -> None:
    ray.init()
    current().process.is_driver = False
    ray.shutdown()
    assert ray.is_initialized()
    with pytest.raises(RuntimeError, match="twice"):
        ray.init()
    current().process.is_driver = True


def log(text: str, stream: Any = "stdout") -> LogLines:
    return LogLines(stream=stream, text=text, name="f", pid=7)


def test_what_tasks_print_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ray.init()
    [listener] = current().listeners
    listener([log("one\ntwo\n"), TaskFinished(task="ab"), log("bad", "stderr")])
    assert capsys.readouterr() == ("(f pid=7) one\n(f pid=7) two\n", "(f pid=7) bad\n")
    ray.shutdown()
    ray.init(log_to_driver=False)
    assert not current().listeners
    ray.shutdown()
    monkeypatch.setenv("RAY_LOG_TO_DRIVER", "0")
    ray.init()
    assert not current().listeners
    ray.shutdown()
    ray.init(log_to_driver=True)
    assert current().listeners


def test_the_printer_can_be_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    ray.init()
    lines: list[LogLines] = []
    undo = session.set_log_printer(lines.extend)
    [listener] = current().listeners
    listener([log("x")])
    assert [line.text for line in lines] == ["x"]
    session.set_log_printer(None)
    assert not current().listeners
    undo()
    [listener] = current().listeners
    listener([log("y")])
    assert capsys.readouterr().out == "(f pid=7) y\n"


def test_resources_and_nodes() -> None:
    ray.init()
    assert ray.cluster_resources() == {"CPU": 2.0}
    assert ray.available_resources() == {"CPU": 1.0}
    assert ray.nodes()[0]["Alive"]


def test_gpu_ids(caplog: pytest.LogCaptureFixture) -> None:
    ray.init()
    assert ray.get_gpu_ids() == []
    process = current().process
    process.is_driver = False
    try:
        process.devices = {"GPU": ["1"]}
        assert ray.get_gpu_ids() == [1]
        assert ray.get_runtime_context().get_accelerator_ids()["GPU"] == ["1"]
        task = TaskContext(task=b"t" * 24, name="f", function="f", devices={"GPU": ["0", "2"]})
        token = context.enter_task(task, main=True)
        assert ray.get_gpu_ids() == [0, 2]
        task.devices = {"GPU": ["GPU-ab"]}
        assert ray.get_gpu_ids() == ["GPU-ab"]
        context.leave_task(token, main=True)
    finally:
        process.is_driver = True


def test_the_runtime_context_of_the_driver(caplog: pytest.LogCaptureFixture) -> None:
    ray.init(namespace="n")
    found = ray.get_runtime_context()
    assert (found.get_job_id(), found.get_node_id(), found.namespace) == ("01" * 4, "02" * 28, "n")
    assert found.get_worker_id() == "03" * 28
    for value in (found.get_task_id(), found.get_task_name(), found.get_task_function_name()):
        assert value is None
    assert found.get_actor_id() is None
    assert found.get_actor_name() is None
    assert found.get_assigned_resources() == {}
    assert (found.get_accelerator_ids()["GPU"], found.get_accelerator_ids()["TPU"]) == ([], [])
    assert found.get_session_name() == "fake"
    assert found.get_placement_group_id() is None
    assert json.loads(found.get_runtime_env_string()) == {}
    with pytest.raises(RuntimeError):
        found.is_canceled()
    with pytest.raises(AssertionError):
        _ = found.was_current_actor_reconstructed
    with pytest.warns(DeprecationWarning, match="get_job_id"):
        assert found.job_id.hex() == "01" * 4
    assert "only available in a task" in caplog.text


def test_the_runtime_context_of_a_task() -> None:
    ray.init()

    @ray.remote(name="mine")
    def f() -> tuple[Any, ...]:
        found = ray.get_runtime_context()
        return found.get_task_id(), found.get_task_name(), found.is_canceled(), found.get_actor_id()

    ref = f.remote()
    assert ray.get(ref) == (ref.task_id().hex(), "mine", False, None)


def test_a_runtime_env_is_a_dict() -> None:
    env = ray.runtime_env.RuntimeEnv(env_vars={"A": "1"}, working_dir="/")
    assert env == {"env_vars": {"A": "1"}, "working_dir": "/"}
    assert env.to_dict() == dict(env)
    config = ray.runtime_env.RuntimeEnvConfig(setup_timeout_seconds=1)
    plain = ray.runtime_env.RuntimeEnv(config=config).to_dict()
    assert plain == {"config": config.to_dict()}
    assert type(plain["config"]) is dict
    ray.init(runtime_env=env)
    assert current().init_options.runtime_env == env
    with pytest.raises(ValueError, match="no field 'env_var'"):
        ray.runtime_env.RuntimeEnv(env_var={})


def test_a_runtime_env_tells_what_is_for_a_cluster(tmp_path: Path) -> None:
    make = ray.runtime_env.RuntimeEnv
    env = make(pip=["a", "b"])
    assert env == {"pip": {"packages": ["a", "b"], "pip_check": False}}
    assert make.deserialize(env.serialize()) == env
    plain = env.to_dict()
    env["pip"]["packages"].append("c")
    assert plain["pip"]["packages"] == ["a", "b"], "a copy"
    (tmp_path / "list.txt").write_text("d\ne\n")
    env["pip"] = str(tmp_path / "list.txt")
    assert (env.has_pip(), env.pip_config()["packages"], env.virtualenv_name()) == (True, ["d", "e"], None)
    assert make(uv={"packages": ["x"], "uv_check": True}).uv_config() == {"packages": ["x"], "uv_check": True}
    with pytest.raises(ValueError, match="cannot be read"):
        make(pip="/nowhere.txt")
    with pytest.raises(TypeError, match="must list packages"):
        make(pip=7)
    with pytest.raises(ValueError, match="only have these fields"):
        make(pip={"packages": ["a"], "version": "1"})
    assert make(excludes=[]) == {}
    env["conda"] = "name"
    assert (env.conda_env_name(), env.conda_config()) == ("name", None)
    with pytest.raises(ValueError, match="pip and conda"):
        env.serialize()
    env = make(conda={"dependencies": ["x"]})
    assert (env.conda_env_name(), env.conda_config()) == (None, '{"dependencies": ["x"]}')
    env = make(container={"image": "i", "run_options": ["--x"]})
    assert (env.py_container_image(), env.py_container_worker_path(), env.py_container_run_options()) == (
        "i",
        "",
        ["--x"],
    )
    assert make().py_container_image() is None
    with pytest.raises(ValueError, match="cannot be used together with other fields of runtime_env: pip"):
        make(container={"image": "i"}, pip=["x"])


def test_a_timeline_has_a_row_per_attempt(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ray.init()
    events = [
        TaskSubmitted(task="t", name="f", kind="task", parent=None, dependencies=[], returns=[], demand={}),
        TaskStarted(task="t", worker="w", held={}, at=1.0),
        TaskFinished(task="t", at=3.5),
    ]

    def subscribe(listener: Any) -> Callable[[], None]:
        listener(events)
        return lambda: None

    monkeypatch.setattr(current(), "subscribe", subscribe)
    rows = ray.timeline() or []
    assert [(row["name"], row["ph"]) for row in rows[:2]] == [("f", "X"), ("task:execute", "X")]
    assert {(row["ts"], row["dur"], row["tid"]) for row in rows[:2]} == {(1e6, 2.5e6, 0)}
    assert [(row["name"], row["ph"]) for row in rows[2:]] == [("process_name", "M"), ("thread_name", "M")]
    assert all(row["cat"] for row in rows)
    path = tmp_path / "trace.json"
    assert ray.timeline(str(path)) is None
    assert json.loads(path.read_text()) == rows


def test_a_timeline_has_the_spans_that_the_program_names(monkeypatch: pytest.MonkeyPatch) -> None:
    ray.init()
    task = "ab" * 20 + "01000000"
    events = [
        TaskSubmitted(task=task, name="f", kind="task", parent=None, dependencies=[], returns=[], demand={}),
        TaskStarted(task=task, worker="w", held={}, at=1.0),
        Span(
            name="load",
            since=1.5,
            until=2.0,
            worker="w",
            extra={"name": "loading", "cname": "bad", "k": "v"},
            task=task,
        ),
        TaskFinished(task=task, at=3.5),
        Span(name="all", since=0.0, until=4.0, worker="", extra={}),
    ]

    def subscribe(listener: Any) -> Callable[[], None]:
        listener(events)
        return lambda: None

    monkeypatch.setattr(current(), "subscribe", subscribe)
    rows = {row["cat"]: row for row in ray.timeline() or []}
    load, whole = rows["load"], rows["all"]
    assert (load["name"], load["cname"], load["ts"], load["dur"]) == ("loading", "bad", 1.5e6, 0.5e6)
    assert load["tid"] == rows["task::f"]["tid"] != whole["tid"]
    whose = {"task_id": task, "job_id": "01000000", "func_or_class_name": "f", "actor_id": None}
    assert {**load["args"], **whose, "k": "v"} == load["args"]
    assert {**rows["task::f"]["args"], **whose, "attempt_number": 0} == rows["task::f"]["args"]
    assert (whole["name"], whole["args"]["task_id"]) == ("all", None)
    called = [row["args"]["name"] for row in ray.timeline() or [] if row["name"] == "thread_name"]
    assert called == ["worker:w", "driver"]


def test_every_name_of_the_face_is_there() -> None:
    for name in ray.__all__:
        assert getattr(ray, name) is not None, name
    assert set(ray.__all__) <= set(dir(ray))
    with pytest.raises(AttributeError, match="absent"):
        ray.absent  # noqa: B018


def test_importing_is_cheap() -> None:
    """What it costs is measured by the benchmarks; here, that it imports next to nothing."""
    modules = "set(sys.modules)"
    program = f"import sys, typing, __future__; old = {modules}; import jupyter_ray; print(*sorted({modules} - old))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["jupyter_ray", "jupyter_ray._version"]
