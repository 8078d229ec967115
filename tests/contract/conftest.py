"""Sessions for the contract suite: the programs that every engine must run.

`engine_name` names the engines; the environment variable ``JUPYTER_RAY_TEST_ENGINES`` chooses them (``local,ray``). A
test that takes `cluster` shares one session of 4 CPUs with its module; one that takes `start` makes its own. The Ray
engine joins the cluster that `ray_cluster` starts once: a head and two worker nodes of 2 CPUs.

Where the engines are ``client``, it does so through Ray Client.

``@pytest.mark.local_only("reason")`` leaves a test out on the Ray engine, and ``not_through_client("reason")`` where
that is reached through Ray Client; `docs/engines.md` lists all of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import jupyter_ray as ray

ENGINES = os.environ.get("JUPYTER_RAY_TEST_ENGINES", "local").split(",")

_GIVEN = ("num_cpus", "num_gpus", "resources", "object_store_memory")
"""What a session chooses on one machine, and a cluster's nodes have declared."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `local_only`, on the other engine."""
    left_out = []
    for item in list(items):
        callspec = getattr(item, "callspec", None)
        engine = callspec.params.get("engine_name") if callspec is not None else None
        alone = engine is None and "tests/contract" in item.nodeid and "local" not in ENGINES
        marks = {"ray": ("local_only",), "client": ("local_only", "not_through_client")}.get(str(engine), ())
        if any(item.get_closest_marker(mark) for mark in marks) or alone:
            left_out.append(item)
            items.remove(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="module", params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """The engine under test."""
    name: str = request.param
    if name != "local":
        request.getfixturevalue("ray_cluster")
    return name


def _start(engine_name: str, request: pytest.FixtureRequest, **options: Any) -> Any:
    if engine_name != "local":
        os.environ["JUPYTER_RAY_CHECKS"] = "0"  # A task at each of a hundred sessions; tests/cluster has them on.
        given = {name: value for name, value in options.items() if name not in _GIVEN}
        cluster = request.getfixturevalue("ray_cluster")
        address = cluster.address if engine_name == "ray" else cluster.client_address
        return ray.init(**{"address": address, "log_to_driver": False, **given})
    return ray.init(**{"num_cpus": 4, "num_gpus": 0, "log_to_driver": False, **options})


@pytest.fixture(scope="module")
def cluster(engine_name: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A session of 4 CPUs and the namespace ``contract``, shared by the module."""
    yield _start(engine_name, request, namespace="contract")
    _end(engine_name)


@pytest.fixture
def start(engine_name: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Start a session of the test's own: `init` with other options."""
    ray.shutdown()
    yield lambda **options: _start(engine_name, request, **options)
    _end(engine_name)


def _end(engine_name: str) -> None:
    """End a session; on the shared cluster also what would outlive it."""
    if engine_name != "local" and ray.is_initialized():
        import ray as native

        for actor in native.util.list_named_actors(all_namespaces=True):
            with contextlib.suppress(ValueError):  # It was about to end.
                native.kill(native.get_actor(actor["name"], namespace=actor["namespace"]))
    ray.shutdown()
