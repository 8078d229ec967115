"""Pools and sessions: the start at first use, and the end under a pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.util.multiprocessing import Pool
from tests.contract.test_util_pool import square, wait_for


@pytest.fixture(autouse=True)
def no_session() -> Iterator[None]:
    ray.shutdown()
    yield
    ray.shutdown()


def test_a_pool_starts_a_session_of_its_size() -> None:
    with Pool(2) as pool:
        assert ray.cluster_resources()["CPU"] == 2
        assert pool.map(square, range(4)) == [0, 1, 4, 9]


@pytest.mark.local_only("Ray ends a job's processes some seconds after the job")
def test_a_session_that_ends_takes_its_pools_with_it(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=2)
    pool = Pool(2)
    results = pool.map_async(wait_for, [str(tmp_path / "never")] * 4, 1)
    ray.shutdown()
    with pytest.raises(ray.exceptions.RayError):
        results.get(timeout=30)
    with pytest.raises(ray.exceptions.RaySystemError, match="session of this pool has ended"):
        pool.apply(square, (2,))
    pool.terminate()
    pool.join()
    assert not ray.is_initialized()
