"""The numbers of threads of libraries that a worker has loaded before it gets a task with more CPUs, or fewer."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import pytest

from jupyter_ray.local.worker.process import Devices
from jupyter_ray.local.worker.thread_pools import ThreadPools
from jupyter_ray.resources import CPU, PARTS


class Pool:
    """As PyTorch's module, and as threadpoolctl's controller of a library."""

    def __init__(self, threads: int) -> None:
        self.num_threads = threads

    def get_num_threads(self) -> int:
        return self.num_threads

    def set_num_threads(self, threads: int) -> None:
        self.num_threads = threads


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Pool:
    pool = Pool(1)
    monkeypatch.setitem(sys.modules, "torch", pool)
    return pool


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Pool]:
    """What threadpoolctl finds."""
    found: list[Pool] = []
    module: Any = types.ModuleType("threadpoolctl")
    module.ThreadpoolController = lambda: types.SimpleNamespace(lib_controllers=list(found))
    monkeypatch.setitem(sys.modules, "threadpoolctl", module)
    monkeypatch.setitem(sys.modules, "numpy", types.ModuleType("numpy"))
    return found


def test_a_task_has_as_many_threads_as_cpus(torch: Pool, found: list[Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # So that it is put back.
    monkeypatch.delenv("OMP_NUM_THREADS")
    blas, own = Pool(1), Pool(7)
    found += [blas, own]
    devices = Devices()
    for cpus, threads in ((1.0, 1), (4.0, 4), (0.5, 1), (2.0, 2)):
        devices.give({CPU: int(cpus * PARTS)}, {})
        assert os.environ["OMP_NUM_THREADS"] == str(threads)
        assert (torch.num_threads, blas.num_threads, own.num_threads) == (threads, threads, 7)
    torch.num_threads = 3  # The program's own choice.
    devices.give({CPU: PARTS}, {})
    assert (torch.num_threads, blas.num_threads) == (3, 1)


def test_what_the_user_has_set_stays(torch: Pool, found: list[Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    devices = Devices()
    devices.give({CPU: PARTS}, {})
    devices.give({CPU: 2 * PARTS}, {})
    assert (os.environ["OMP_NUM_THREADS"], torch.num_threads) == ("1", 1)


def test_libraries_are_looked_for_again_when_more_was_imported(
    found: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = ThreadPools()
    pools.resize(1, 2)
    found.append(Pool(2))
    pools.resize(2, 3)
    assert found[0].num_threads == 2  # Nothing was imported, so that it is not known.
    monkeypatch.setitem(sys.modules, "one_more", types.ModuleType("one_more"))
    pools.resize(2, 3)
    assert found[0].num_threads == 3
    assert repr(pools) == "<ThreadPools: 1 libraries>"


def test_libraries_that_fail_harm_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    monkeypatch.setitem(sys.modules, "numpy", types.ModuleType("numpy"))
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    ThreadPools().resize(1, 2)
