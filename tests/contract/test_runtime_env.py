"""The surroundings of tasks: what they import, and what is refused."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import RayError, RuntimeEnvSetupError


@pytest.mark.usefixtures("cluster")
def test_a_python_path_among_the_variables_is_searched(tmp_path: Path) -> None:
    (tmp_path / "on_the_path.py").write_text("value = 5\n")

    @ray.remote
    def read() -> Any:
        import on_the_path  # type: ignore[import-not-found]

        return on_the_path.value

    assert ray.get(read.options(runtime_env={"env_vars": {"PYTHONPATH": str(tmp_path)}}).remote()) == 5
    with pytest.raises(ModuleNotFoundError):
        ray.get(read.remote())


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("nothing", [None, {}])
def test_no_environment_at_the_call(nothing: Any) -> None:
    """A task has its decorator's then, an actor none. Source: Ray, measured."""
    written = {"env_vars": {"CONTRACT_WRITTEN": "1"}}

    @ray.remote(runtime_env=written)
    def read() -> Any:
        return os.environ.get("CONTRACT_WRITTEN")

    class Reader:
        def read(self) -> Any:
            return os.environ.get("CONTRACT_WRITTEN")

    remote_reader = ray.remote(runtime_env=written)(Reader)

    assert ray.get(read.options(runtime_env=nothing).remote()) == "1"
    assert ray.get(remote_reader.options(runtime_env=nothing).remote().read.remote()) is None


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"working_dir": "/does/not/exist"}, ValueError),
        ({"working_dir": __file__}, ValueError),
        ({"py_modules": ["/does/not/exist"]}, ValueError),
        ({"py_modules": [1]}, TypeError),
        ({"py_modules": "folder"}, TypeError),
        ({"working_dir": 10}, TypeError),
        ({"env_vars": {"A": 1}}, TypeError),
        ({"working_dir": "nowhere://folder"}, ValueError),
        ({"working_dir": "s3://bucket/folder"}, ValueError),
        ({"py_modules": ["https://host/folder"]}, ValueError),
        ({"excludes": ["name", 1]}, TypeError),
        ({"conda": True}, TypeError),
        ({"image_uri": "image", "working_dir": "."}, ValueError),
    ],
)
def test_what_cannot_be_is_refused_at_init(
    start: Callable[..., Any], environment: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        start(runtime_env=environment)
    assert not ray.is_initialized()


def _hook() -> None:
    os.environ["CONTRACT_HOOK"] = "module"


@pytest.mark.parametrize("named", [False, True])
def test_a_function_is_called_first_in_every_process(start: Callable[..., Any], named: bool) -> None:
    text = "closure"

    def hook() -> None:
        os.environ["CONTRACT_HOOK"] = text

    chosen: Any = f"{__name__}._hook" if named else hook
    start(num_cpus=2, runtime_env={"worker_process_setup_hook": chosen, "env_vars": {"CONTRACT_OTHER": "kept"}})

    @ray.remote
    def read() -> Any:
        return os.environ.get("CONTRACT_HOOK"), os.environ.get("CONTRACT_OTHER")

    @ray.remote
    class Reader:
        def __init__(self) -> None:
            self.found = read._function()

        def get(self) -> Any:
            return self.found

    expected = ("module" if named else "closure", "kept")
    assert ray.get([read.remote() for _ in range(4)]) == [expected] * 4
    assert ray.get(read.options(runtime_env={"env_vars": {"CONTRACT_OTHER": "kept"}}).remote()) == expected
    assert ray.get(Reader.remote().get.remote()) == expected  # type: ignore[attr-defined]
    assert "CONTRACT_HOOK" not in os.environ


def test_a_function_that_fails_is_told_to_whoever_waits(start: Callable[..., Any]) -> None:
    def hook() -> None:
        raise ValueError("no such device")

    start(num_cpus=1, runtime_env={"worker_process_setup_hook": hook})

    @ray.remote
    class Actor: ...

    with pytest.raises(RayError, match=r"(?s)Failed to execute the setup hook method.*no such device"):
        ray.get(Actor.remote().__ray_ready__.remote())  # type: ignore[attr-defined]


@pytest.mark.local_only("Ray says of a task only that its worker died, not that the worker's setup hook raised")
def test_a_function_that_fails_is_told_to_whoever_waits_for_a_task(start: Callable[..., Any]) -> None:
    def hook() -> None:
        raise ValueError("no such device")

    start(num_cpus=1, runtime_env={"worker_process_setup_hook": hook})

    @ray.remote
    def task() -> None: ...

    with pytest.raises(RayError, match=r"(?s)Failed to execute the setup hook method.*no such device"):
        ray.get(task.remote())


def test_a_function_that_cannot_travel_is_refused_at_init(start: Callable[..., Any]) -> None:
    lock = threading.Lock()
    with pytest.raises(RuntimeEnvSetupError, match="Failed to export the setup function"):
        start(runtime_env={"worker_process_setup_hook": lambda: print(lock)})
