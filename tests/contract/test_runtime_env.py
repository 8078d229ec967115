"""The surroundings of tasks: what they import, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray


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


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"working_dir": "/does/not/exist"}, ValueError),
        ({"py_modules": ["/does/not/exist"]}, ValueError),
        ({"py_modules": [1]}, TypeError),
        ({"py_modules": "folder"}, TypeError),
        ({"working_dir": 10}, TypeError),
        ({"env_vars": {"A": 1}}, TypeError),
    ],
)
def test_what_cannot_be_is_refused_at_init(
    start: Callable[..., Any], environment: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        start(runtime_env=environment)
    assert not ray.is_initialized()
