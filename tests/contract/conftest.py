"""Sessions for the contract suite: the programs that every engine must run.

`engine_name` names the engines. A test that takes `cluster` shares one session of 4 CPUs with its module; one that
takes `start` makes its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import jupyter_ray as ray

ENGINES = ["local"]


@pytest.fixture(scope="module", params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """The engine under test."""
    name: str = request.param
    return name


def _start(engine_name: str, **options: Any) -> Any:
    assert engine_name == "local", "say here how a session of this engine begins"
    return ray.init(**{"num_cpus": 4, "num_gpus": 0, "log_to_driver": False, **options})


@pytest.fixture(scope="module")
def cluster(engine_name: str) -> Iterator[Any]:
    """A session of 4 CPUs and the namespace ``contract``, shared by the module."""
    yield _start(engine_name, namespace="contract")
    ray.shutdown()


@pytest.fixture
def start(engine_name: str) -> Iterator[Callable[..., Any]]:
    """Start a session of the test's own: `init` with other options."""
    ray.shutdown()
    yield lambda **options: _start(engine_name, **options)
    ray.shutdown()
