"""Real GPUs: found, shown to one task at a time, kept while it waits, and free again when it is over."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import atexit
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from tests.contract.helpers import PATIENCE, eventually
from tests.gpu.cuda import Gpu

pytestmark = pytest.mark.gpu

GIB = 2**30
MOST = 0.6
"""A part of a GPU's memory that two processes cannot both have."""


def smi(*fields: str) -> list[list[str]]:
    """Return a row of these fields for each GPU, from the driver's own tool."""
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    return [[field.strip() for field in line.split(",")] for line in listed.splitlines()]


def used() -> int:
    """Return the bytes of the first GPU's memory that all processes have together."""
    return int(smi("memory.used")[0][0]) * 2**20


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    ray.shutdown()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield lambda **options: ray.init(**{"num_cpus": 4, "log_to_driver": False, **options})
    ray.shutdown()


@ray.remote(num_gpus=1)
def most_of_it() -> int:
    """Fill more than half of the memory, and leave it to the end of the process."""
    gpu = Gpu()
    size = int(gpu.memory()[1] * MOST)
    address = gpu.fill(size, 7)
    return gpu.read(address + size - 1, 1)[0]


@ray.remote(num_gpus=1, num_cpus=0)
class Holder:
    def __init__(self, part: float = MOST) -> None:
        self.gpu = Gpu()
        self.size = int(self.gpu.memory()[1] * part)
        self.address = self.gpu.fill(self.size, 3)

    def last(self) -> int:
        return self.gpu.read(self.address + self.size - 1, 1)[0]

    def pid(self) -> int:
        return os.getpid()


def test_the_gpus_are_found(session: Callable[..., Any]) -> None:
    session()
    names = [name for (name,) in smi("name")]
    total = ray.cluster_resources()
    assert total["GPU"] == len(names)
    kinds = [kind.removeprefix("accelerator_type:") for kind in total if kind.startswith("accelerator_type:")]
    assert kinds
    assert all(any(kind in re.split(r"[\s-]", name) for name in names) for kind in kinds), (kinds, names)
    assert ray.nodes()[0]["Labels"]["ray.io/accelerator-type"] == kinds[0]
    options = {"num_gpus": 1, "accelerator_type": kinds[0]}
    assert ray.get(ray.remote(ray.get_gpu_ids).options(**options).remote()) == [0]


def test_fewer_may_be_declared_and_none(session: Callable[..., Any]) -> None:
    session(num_gpus=0)
    assert "GPU" not in ray.cluster_resources()
    with pytest.raises(ray.exceptions.TaskUnschedulableError, match="GPU"):
        most_of_it.remote()


def test_a_task_sees_its_own_gpu(session: Callable[..., Any]) -> None:
    session()
    uuids = [uuid for (uuid,) in smi("uuid")]

    @ray.remote
    def look() -> tuple[list[Any], str | None, int, str]:
        gpu = Gpu()
        return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES"), gpu.visible, gpu.uuid

    for _ in range(2):
        ids, variable, visible, uuid = ray.get(look.options(num_gpus=1).remote())
        assert (variable, visible, uuid) == (str(ids[0]), 1, uuids[ids[0]])
    ids, variable, visible, _ = ray.get(look.options(num_gpus=0).remote())
    assert (ids, variable, visible) == ([], None, len(uuids)), "a task without GPUs is left alone"


def test_a_task_that_waits_lends_its_cpu_and_keeps_its_gpu_and_what_it_has_there(session: Callable[..., Any]) -> None:
    """The seeds' `g`, with memory on a real GPU."""
    session(num_cpus=1)
    everything = int(ray.cluster_resources()["GPU"])
    before = used()

    @ray.remote(num_cpus=1)
    def f() -> tuple[dict[str, float], int]:
        return ray.available_resources(), used()

    @ray.remote(num_cpus=1, num_gpus=everything)
    def g() -> tuple[dict[str, float], int, bytes, float]:
        gpu = Gpu()
        address = gpu.fill(4 * GIB, 9)
        free, there = ray.get(f.remote())
        return free, there, gpu.read(address + 4 * GIB - 1, 1), time.monotonic()

    @ray.remote(num_cpus=0, num_gpus=1)
    def next_one() -> float:
        return time.monotonic()

    first = g.remote()
    later = next_one.remote()
    free, there, last, ended = ray.get(first)
    assert "GPU" not in free, "f ran while g held every GPU"
    assert there - before >= 4 * GIB, "what g has on the GPU stays there"
    assert last == b"\t"
    assert ray.get(later) >= ended, "nobody had the GPU before g ended"


def test_a_gpu_that_one_holds_and_waits_for_is_a_deadlock(session: Callable[..., Any]) -> None:
    session()
    everything = int(ray.cluster_resources()["GPU"])

    @ray.remote(num_gpus=everything)
    def outer() -> int:
        Gpu().fill(GIB, 1)
        found: int = ray.get(most_of_it.remote())
        return found

    with pytest.raises(ray.exceptions.ResourceDeadlockError, match="GPU"):
        ray.get(outer.remote(), timeout=PATIENCE)
    assert ray.get(most_of_it.remote(), timeout=PATIENCE) == 7


def test_each_task_finds_the_memory_free(session: Callable[..., Any]) -> None:
    session()
    before = used()
    assert ray.get([most_of_it.remote() for _ in range(8)]) == [7] * 8
    eventually(lambda: used() - before < GIB)


def test_the_next_one_waits_for_a_process_that_takes_its_time_to_end(
    session: Callable[..., Any], tmp_path: Path
) -> None:
    """As one does that sends its last words at the exit."""
    session()
    everything = int(ray.cluster_resources()["GPU"])

    @ray.remote(num_gpus=everything)
    def slow_to_end(go: Path) -> int:
        gpu = Gpu()
        gpu.fill(int(gpu.memory()[1] * MOST), 1)
        atexit.register(eventually, go.exists)
        return os.getpid()

    pid = ray.get(slow_to_end.remote(tmp_path / "go"))
    later = most_of_it.remote()
    eventually(lambda: f"process {pid}, which is ending, has GPU: {everything}" in ray.why(later))
    (tmp_path / "go").touch()
    assert ray.get(later, timeout=PATIENCE) == 7


def test_two_halves_share_a_gpu(session: Callable[..., Any]) -> None:
    session()
    halves = [Holder.options(num_gpus=0.5).remote(0.4) for _ in range(2 * int(ray.cluster_resources()["GPU"]))]
    assert ray.get([half.last.remote() for half in halves]) == [3] * len(halves)
    assert "GPU" not in ray.available_resources()


@pytest.mark.parametrize("way", ["dropped", "killed", "died"])
def test_the_next_actor_finds_the_memory_free(session: Callable[..., Any], way: str) -> None:
    session()
    for _ in range(4):
        everyone = [Holder.remote() for _ in range(int(ray.cluster_resources()["GPU"]))]
        assert ray.get([each.last.remote() for each in everyone]) == [3] * len(everyone)
        pids = ray.get([each.pid.remote() for each in everyone])
        for each, pid in zip(everyone, pids, strict=True):
            if way == "killed":
                ray.kill(each)
            elif way == "died":
                os.kill(pid, signal.SIGKILL)
        del everyone, each


def test_a_killed_task_leaves_the_gpu_to_its_next_attempt(session: Callable[..., Any], tmp_path: Path) -> None:
    session()

    @ray.remote(num_gpus=1, max_retries=1)
    def fall(mark: Path) -> int:
        gpu = Gpu()
        size = int(gpu.memory()[1] * MOST)
        address = gpu.fill(size, 4)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return gpu.read(address, 1)[0]

    assert ray.get(fall.remote(tmp_path / "mark"), timeout=2 * PATIENCE) == 4


def test_a_task_cancelled_by_force_leaves_the_gpu(session: Callable[..., Any], tmp_path: Path) -> None:
    session()

    @ray.remote(num_gpus=1)
    def stay(mark: Path) -> None:
        gpu = Gpu()
        gpu.fill(int(gpu.memory()[1] * MOST), 4)
        mark.touch()
        while True:
            time.sleep(0.01)

    for round_ in range(3):
        mark = tmp_path / str(round_)
        running = stay.remote(mark)
        eventually(mark.exists)
        ray.cancel(running, force=True)
        assert ray.get(most_of_it.remote(), timeout=2 * PATIENCE) == 7


def test_no_memory_on_the_gpu_is_the_tasks_own_error(session: Callable[..., Any]) -> None:
    session()

    @ray.remote(num_gpus=1, max_retries=0)
    def too_much() -> None:
        gpu = Gpu()
        gpu.fill(gpu.memory()[1] * 2, 1)

    with pytest.raises(RuntimeError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        ray.get(too_much.remote())
    assert ray.get(most_of_it.remote(), timeout=PATIENCE) == 7


LOOK = """
    import os
    import jupyter_ray as ray

    if __name__ == "__main__":
        with ray.init(num_cpus=1, log_to_driver=False):

            @ray.remote(num_gpus=1)
            def look():
                from tests.gpu.cuda import Gpu

                return ray.get_gpu_ids(), os.environ["CUDA_VISIBLE_DEVICES"], Gpu().uuid

            gpus = ray.cluster_resources().get("GPU", 0)
            print(gpus, ray.get(look.remote()) if gpus else "")
"""


def run(tmp_path: Path, program: str, **environment: str) -> str:
    """Return what a program prints; it may do to the GPU what the process of the tests is not to."""
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(program))
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    ended = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("by", ["uuid", "number", "nothing"])
def test_the_variable_of_the_driver_counts(tmp_path: Path, by: str) -> None:
    (uuid,) = smi("uuid")[0]
    shown = {"uuid": uuid, "number": "0", "nothing": ""}[by]
    expected = {
        "uuid": f"1.0 (['{uuid}'], '{uuid}', '{uuid}')",
        "number": f"1.0 (['0'], '0', '{uuid}')",
        "nothing": "0",
    }
    assert run(tmp_path, LOOK, CUDA_VISIBLE_DEVICES=shown) == expected[by]


BOTH = """
    import jupyter_ray as ray
    from tests.gpu.cuda import Gpu

    GIB = 2**30

    if __name__ == "__main__":
        here = Gpu()
        address = here.fill(GIB, 5)
        ray.init(num_cpus=2, log_to_driver=False)

        @ray.remote(num_gpus=0.1)
        def add(value):
            gpu = Gpu()
            return gpu.read(gpu.fill(GIB, value + 1), 1)[0]

        print(ray.get([add.remote(value) for value in range(6)]), here.read(address, 1))
        ray.shutdown()
"""


def test_the_driver_may_use_the_gpu_too(tmp_path: Path) -> None:
    assert run(tmp_path, BOTH) == f"{[1, 2, 3, 4, 5, 6]} {bytes([5])!r}"
