"""Results whose files were removed or damaged: computed again where their task may be, named errors elsewhere."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray import config
from jupyter_ray.engine import registry
from jupyter_ray.events import TaskRetried
from jupyter_ray.exceptions import ObjectLostError, ObjectReconstructionFailedError
from jupyter_ray.local.protocol.names import is_spare
from jupyter_ray.local.store.segments import SegmentStore
from tests.contract.helpers import Log, eventually

pytestmark = pytest.mark.local_only(
    "the tests damage the local engine's files; Ray recovers lost objects by its own rules"
)

N = 200_000
"""Elements: 1.6 MB, too much for a message."""


def folders() -> tuple[Path, Path]:
    engine = registry.current()
    assert engine is not None
    session = engine.process.session
    return config.shared_memory_folder(session), config.spill_folder(session)


def files() -> list[Path]:
    there = [each for folder in folders() if folder.is_dir() for each in folder.iterdir()]
    return [each for each in there if not is_spare(each.name)]


def remove(paths: list[Path]) -> None:
    """Remove files of values, once this process does not keep them mapped: then it would not notice."""
    assert paths
    store = registry.required().client.store  # type: ignore[attr-defined]
    eventually(lambda: not store._lingering and not store._older)
    for each in paths:
        each.unlink()


def ready(*refs: Any) -> None:
    """Wait for values without reading them."""
    assert ray.wait(list(refs), num_returns=len(refs), timeout=60)[1] == []


@ray.remote
def make(runs: str, start: int = 0) -> Any:
    with open(runs, "a") as file:
        file.write(f"{start}\n")
    return np.arange(start, start + N)


@ray.remote
def double(array: Any, runs: str) -> Any:
    with open(runs, "a") as file:
        file.write("double\n")
    return array * 2


@ray.remote
def total(array: Any) -> int:
    return int(array.sum())


class _Keeper:
    def total(self, array: Any) -> int:
        return int(array.sum())

    def log(self) -> list[int]:
        return self.seen

    def __init__(self, array: Any = None) -> None:
        self.seen: list[int] = []
        self.first = None if array is None else int(array[0])

    def see(self, array: Any, number: int) -> None:
        self.seen.append(number)

    def get_first(self) -> int | None:
        return self.first

    def make(self, start: int) -> Any:
        return np.arange(start, start + N)


Keeper: Any = ray.remote(_Keeper)


@pytest.fixture(autouse=True)
def empty(request: pytest.FixtureRequest) -> None:
    """Begin when nothing is left of the test before."""
    if "cluster" in request.fixturenames:
        request.getfixturevalue("cluster")
        gc.collect()
        eventually(lambda: not files())


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_a_removed_result_is_computed_again(cluster: Any, runs: Path) -> None:
    with Log() as log:
        ref = make.remote(str(runs), 3)
        ready(ref)
        remove(files())
        assert int(ray.get(ref)[0]) == 3
        assert runs.read_text().split() == ["3", "3"]
        retried = eventually(lambda: log.find(TaskRetried))
        assert [(event.task, event.attempt) for event in retried] == [(ref.task_id().hex(), 1)]
        assert "was lost: its file" in retried[0].reason
    del ref
    eventually(lambda: not files())


@pytest.mark.parametrize("how", ["truncated", "overwritten"])
def test_a_damaged_result_is_computed_again(cluster: Any, runs: Path, how: str) -> None:
    ref = make.remote(str(runs), 4)
    ready(ref)
    (path,) = files()
    if how == "truncated":
        os.truncate(path, 1000)
    else:
        path.write_bytes(bytes(path.stat().st_size))
    assert int(ray.get(ref)[-1]) == 4 + N - 1
    assert runs.read_text().split() == ["4", "4"]


def test_a_chain_of_lost_results_each_is_computed_once(cluster: Any, runs: Path) -> None:
    first = make.remote(str(runs))
    second = double.remote(first, str(runs))
    third = double.remote(second, str(runs))
    ready(first, second, third)
    remove(files())
    assert int(ray.get(third)[1]) == 4
    assert int(ray.get(second)[1]) == 2
    assert int(ray.get(first)[1]) == 1
    assert sorted(runs.read_text().split()) == ["0", "0"] + ["double"] * 4


def test_arguments_that_were_freed_are_computed_again_on_the_way(cluster: Any, runs: Path) -> None:
    ref = double.remote(double.remote(make.remote(str(runs)), str(runs)), str(runs))
    ready(ref)
    eventually(lambda: len(files()) == 1)
    remove(files())
    assert int(ray.get(ref)[1]) == 4
    assert sorted(runs.read_text().split()) == ["0", "0"] + ["double"] * 4
    eventually(lambda: len(files()) == 1)
    del ref
    eventually(lambda: not files())


def test_large_arguments_are_kept_for_the_result(cluster: Any) -> None:
    @ray.remote
    def same(array: Any) -> Any:
        return array + 0

    ref = same.remote(np.arange(N))
    ready(ref)
    mine = ray.get_runtime_context().get_worker_id()[:32]
    (result,) = [each for each in files() if not each.name.startswith(mine)]
    assert len(files()) == 2
    result.unlink()
    assert int(ray.get(ref)[7]) == 7
    del ref
    eventually(lambda: not files())


def test_a_lost_argument_is_computed_again_for_the_task_that_fetches_it(cluster: Any, runs: Path) -> None:
    ref = make.remote(str(runs))
    ready(ref)
    remove(files())
    assert ray.get(total.remote(ref)) == N * (N - 1) // 2
    assert len(runs.read_text().split()) == 2


@pytest.mark.parametrize("options", [{}, {"max_concurrency": 3}], ids=["plain", "threaded"])
def test_a_lost_argument_of_a_method_keeps_the_order_of_calls(
    cluster: Any, runs: Path, options: dict[str, Any]
) -> None:
    keeper = Keeper.options(**options).remote()
    assert ray.get([keeper.see.remote(None, -1) for _ in range(20)])  # Its calls are short, from now on: handed ahead.
    ref = make.remote(str(runs))
    ready(ref)
    remove(files())
    calls = [keeper.see.remote(ref if number == 0 else None, number) for number in range(5)]
    assert ray.get(calls) == [None] * 5
    seen = [each for each in ray.get(keeper.log.remote()) if each >= 0]
    assert (sorted(seen) if options else seen) == [0, 1, 2, 3, 4]
    assert len(runs.read_text().split()) == 2


def test_a_lost_argument_of_a_constructor_and_of_an_async_method(cluster: Any, runs: Path) -> None:
    class Async:
        async def total(self, array: Any) -> int:
            await asyncio.sleep(0)
            return int(array.sum())

    ref = make.remote(str(runs), 5)
    ready(ref)
    remove(files())
    keeper = Keeper.remote(ref)
    assert ray.get(keeper.get_first.remote()) == 5
    asynchronous: Any = ray.remote(Async).remote()
    remove(files())
    assert ray.get(asynchronous.total.remote(ref)) == int(np.arange(5, 5 + N).sum())


def test_a_file_that_is_cut_short_while_a_task_reads_it(cluster: Any, runs: Path, tmp_path: Path) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"

    @ray.remote
    def slow_total(array: Any) -> int:
        begun.touch()
        while not gate.exists():
            pass
        return int(array.sum())  # Its process ends here the first time: there is nothing behind its memory.

    ref = make.remote(str(runs))
    ready(ref)
    result = slow_total.remote(ref)
    eventually(begun.exists)
    (path,) = files()
    os.truncate(path, 0)
    gate.touch()
    assert ray.get(result) == N * (N - 1) // 2
    assert len(runs.read_text().split()) == 2


def test_get_inside_a_task_await_and_wait(cluster: Any, runs: Path) -> None:
    @ray.remote
    def nested(refs: list[Any]) -> int:
        return int(ray.get(refs[0])[1])

    ref = make.remote(str(runs))
    ready(ref)
    remove(files())
    assert ray.get(nested.remote([ref])) == 1
    remove(files())

    async def first() -> int:
        return int((await ref)[1])

    assert asyncio.run(first()) == 1
    assert len(runs.read_text().split()) == 3


def test_several_results_of_one_task(cluster: Any, runs: Path) -> None:
    @ray.remote(num_returns=3)
    def three() -> Any:
        with open(runs, "a") as file:
            file.write("x")
        return np.zeros(N), "small", np.ones(N)

    refs = three.remote()
    ready(*refs)
    remove(files())
    assert [float(np.sum(ray.get(ref))) for ref in (refs[0], refs[2])] == [0, N]
    assert ray.get(refs[1]) == "small"
    assert runs.read_text() == "xx"


def test_references_inside_a_lost_result_are_made_anew(cluster: Any) -> None:
    @ray.remote
    def outer() -> Any:
        return [ray.put(np.full(N, 9)), np.zeros(N)]

    ref = outer.remote()
    ready(ref)
    remove(files())
    inner = ray.get(ref)[0]
    assert int(ray.get(inner)[0]) == 9
    del ref, inner
    gc.collect()
    eventually(lambda: not files())


def test_what_only_this_process_cannot_read_is_not_computed_again(
    cluster: Any, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: SegmentStore, name: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    ref = make.remote(str(runs))
    ready(ref)

    async def wait_for_it() -> Any:
        return await ref

    with monkeypatch.context() as patch:
        patch.setattr(SegmentStore, "_find", full)
        with pytest.raises(ObjectLostError, match=r"is there, but this process cannot read it.*Too many open files"):
            ray.get(ref)
        with pytest.raises(ObjectLostError, match="this process cannot read it"):
            asyncio.run(wait_for_it())
    assert int(ray.get(ref)[1]) == 1
    assert len(runs.read_text().split()) == 1


def test_a_lost_put_says_what_it_was(cluster: Any) -> None:
    ref = ray.put(np.arange(N))
    remove(files())
    with pytest.raises(ObjectLostError, match=rf"{ref.hex()}.*made by put\(\).*Put it again"):
        ray.get(ref)
    with pytest.raises(ObjectLostError, match="made by put"):
        ray.get(total.remote(ref))


def test_without_retries_the_error_says_so(cluster: Any, runs: Path) -> None:
    ref = make.options(max_retries=0).remote(str(runs))
    ready(ref)
    remove(files())
    with pytest.raises(ObjectLostError, match=r"make, which made it, has max_retries=0"):
        ray.get(ref)
    assert len(runs.read_text().split()) == 1


def test_retries_are_used_up(cluster: Any, runs: Path) -> None:
    ref = make.options(max_retries=1).remote(str(runs))
    ready(ref)
    remove(files())
    ready(total.remote(ref))
    remove(files())
    with pytest.raises(ObjectReconstructionFailedError, match=r"make was run 2 times, and max_retries=1"):
        ray.get(ref)


def test_results_of_methods_need_max_task_retries(cluster: Any) -> None:
    once, again = Keeper.remote(), Keeper.options(max_task_retries=2, max_restarts=1).remote()
    refs = [once.make.remote(1), again.make.remote(2)]
    ready(*refs)
    remove(files())
    with pytest.raises(ObjectLostError, match="only with max_task_retries"):
        ray.get(refs[0])
    assert int(ray.get(refs[1])[0]) == 2
    ray.kill(again)
    remove(files())
    with pytest.raises(ObjectReconstructionFailedError, match=r"the actor of _Keeper.make is gone"):
        ray.get(refs[1])


def test_items_of_a_stream_are_not_made_again(cluster: Any) -> None:
    @ray.remote(num_returns="streaming")
    def items() -> Any:
        for number in range(2):
            yield np.full(N, number)

    refs = list(items.remote())
    ready(*refs)
    remove(files())
    for ref in refs:
        with pytest.raises(ObjectReconstructionFailedError, match="streaming task items"):
            ray.get(ref)


def test_an_argument_that_cannot_be_made_again_is_named(cluster: Any, runs: Path) -> None:
    put = ray.put(np.arange(N))
    name = put.hex()
    ref = double.remote(put, str(runs))
    ready(ref)
    del put
    eventually(lambda: len(files()) == 1)
    remove(files())
    with pytest.raises(ObjectReconstructionFailedError, match=rf"argument of double, the object {name}, was freed"):
        ray.get(ref)


def test_why_says_that_it_is_being_computed_again(cluster: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()

    @ray.remote
    def gated() -> Any:
        while not gate.exists():
            pass
        return np.zeros(N)

    ref = gated.remote()
    ready(ref)
    remove(files())
    gate.unlink()
    waiting = total.remote(ref)
    text = eventually(lambda: text if "runs again" in (text := ray.why(waiting)) else "")
    assert "runs again, as attempt 2, since the value of its result" in text
    gate.touch()
    assert ray.get(waiting) == 0


def test_a_task_that_holds_the_only_gpu_gives_it_back_for_its_lost_argument(
    start: Callable[..., Any], runs: Path
) -> None:
    start(num_cpus=2, num_gpus=1)
    ref = make.options(num_gpus=1).remote(str(runs))
    ready(ref)
    remove(files())
    assert ray.get(total.options(num_gpus=1).remote(ref)) == N * (N - 1) // 2


def test_a_spilled_result_is_computed_again(start: Callable[..., Any], runs: Path) -> None:
    start(object_store_memory=4 * 8 * N)
    refs = [make.remote(str(runs), number) for number in range(8)]
    ready(*refs)
    _, disk = folders()
    spilled = eventually(lambda: [each for each in disk.iterdir() if each.suffix != ".part"] if disk.is_dir() else [])
    remove(spilled)
    assert [int(ray.get(ref)[0]) for ref in refs] == list(range(8))
    assert len(runs.read_text().split()) >= 8 + len(spilled)


def test_a_result_that_is_found_lost_when_it_is_to_be_spilled(start: Callable[..., Any], runs: Path) -> None:
    start(object_store_memory=4 * 8 * N)
    refs = [make.remote(str(runs), number) for number in range(2)]
    ready(*refs)
    remove(files())
    refs += [make.remote(str(runs), number) for number in range(2, 6)]
    ready(*refs)
    assert [int(ray.get(ref)[0]) for ref in refs] == list(range(6))
