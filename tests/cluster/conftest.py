"""A session for each module of tests on the cluster; those of a module named for it go through Ray Client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import jupyter_ray as ray
from tests.cluster.nodes import Cluster

Join = Callable[[], Any]


@pytest.fixture(scope="module")
def join(ray_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Join]:
    """Join the cluster, without the checks."""
    name = request.module.__name__.rpartition("_")[2]
    address = ray_cluster.client_address if name == "client" else ray_cluster.address
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("JUPYTER_RAY_CHECKS", "0")
        yield lambda: ray.init(address, log_to_driver=False, namespace=name)
        ray.shutdown()


@pytest.fixture(scope="module")
def session(join: Join) -> Any:
    """One session for all tests of the module."""
    return join()
