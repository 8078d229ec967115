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


@pytest.mark.local_only("Ray only reports that the task's worker died, not that its setup hook raised")
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


def test_a_folder_is_used_where_it_is(start: Callable[..., Any], tmp_path: Path) -> None:
    """``local:///folder`` copies nothing; of ``py_modules`` the folder itself is searched. Source: Ray's words."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "said.txt").write_text("at first")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "used_in_place.py").write_text("value = 7\n")
    written = {"working_dir": f"local://{tmp_path}/app", "py_modules": [f"local://{tmp_path}/lib"]}
    start(runtime_env=written)
    (tmp_path / "app" / "said.txt").write_text("changed")

    @ray.remote
    def read() -> Any:
        import used_in_place  # type: ignore[import-not-found]

        env = ray.get_runtime_context().runtime_env
        return os.getcwd(), Path("said.txt").read_text(), used_in_place.value, env["working_dir"], env["py_modules"]

    @ray.remote(runtime_env={"env_vars": {"CONTRACT_OUTER": "1"}})
    def nested() -> Any:
        return ray.get(read.remote())

    expected = (str(tmp_path / "app"), "changed", 7, written["working_dir"], written["py_modules"])
    assert ray.get([read.remote(), nested.remote()]) == [expected, expected]


def test_links_lead_to_what_they_led_to(start: Callable[..., Any], tmp_path: Path) -> None:
    """Also those out of the folder, and to what was left out of it. Source: Ray's documentation."""
    (tmp_path / "data" / "part").mkdir(parents=True)
    (tmp_path / "data" / "part" / "file.txt").write_text("far")
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "near.txt").write_text("near")
    (folder / "left.out").write_text("left out")
    for link, target in (
        ("out", "../data/part/file.txt"),
        ("inner/out", "../../data/part"),
        ("near", "inner/near.txt"),
        ("inside", "inner"),
        ("excluded", "left.out"),
        ("nowhere", "no such file"),
    ):
        (folder / link).symlink_to(target)
    start(runtime_env={"working_dir": str(folder), "excludes": ["left.out"]})

    @ray.remote
    def read() -> list[Any]:
        names = ("out", "inner/out/file.txt", "near", "inside/near.txt", "excluded")
        return [Path(name).read_text() for name in names] + [Path(name).exists() for name in ("left.out", "nowhere")]

    assert ray.get(read.remote()) == ["far", "far", "near", "near", "left out", False, False]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"working_dir": "local://relative/path"}, "must be absolute"),
        ({"working_dir": "local:///app.zip"}, "must be a directory"),
        ({"py_modules": ["local:///lib.whl"]}, "must be a directory"),
    ],
)
def test_what_cannot_be_used_in_place_is_refused(start: Callable[..., Any], written: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        start(runtime_env=written)


@pytest.mark.local_only("Ray looks for the folder on the task's machine, where its start then fails")
def test_a_folder_that_is_not_there_to_be_used(start: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeEnvSetupError, match="must exist already"):
        start(runtime_env={"working_dir": f"local://{tmp_path}/nowhere"})


def test_settings_of_the_set_up_are_checked(start: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TypeError, match="eager_install must be a boolean"):
        start(runtime_env={"config": {"eager_install": 3}})
    start(runtime_env={"config": {"no_such_setting": 1, "eager_install": False}})
    assert "no_such_setting" in caplog.text
