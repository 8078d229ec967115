"""The object store: its limit, what happens past it, and what is left of it."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray import config
from jupyter_ray.config import FULL_SECONDS, PROMISE_SECONDS
from jupyter_ray.engine import registry
from jupyter_ray.events import RuntimeReady
from jupyter_ray.exceptions import ObjectStoreFullError, OutOfDiskError
from jupyter_ray.local.engine.local import LocalEngine
from jupyter_ray.local.protocol.names import is_spare
from tests.contract.helpers import PATIENCE, Log, eventually

pytestmark = pytest.mark.local_only("the store belongs to the nodes, and its size was set when they were started")

MIB = 1024**2


def folders() -> tuple[Path, Path]:
    engine = registry.current()
    assert engine is not None
    session = engine.process.session
    return config.shared_memory_folder(session), config.spill_folder(session)


def size_of(folder: Path) -> int:
    """Return the bytes of values in a folder whose files may go at any moment."""
    total = 0
    for each in folder.iterdir() if folder.is_dir() else ():
        if is_spare(each.name):
            continue
        with contextlib.suppress(FileNotFoundError):
            total += each.stat().st_size
    return total


def test_what_does_not_fit_goes_to_disk_and_is_read_from_there(start: Callable[..., Any]) -> None:
    start(object_store_memory=100 * MIB)
    memory, disk = folders()
    refs = [ray.put(np.full(10 * MIB, number, dtype=np.uint8)) for number in range(30)]
    eventually(lambda: size_of(memory) <= 100 * MIB and size_of(disk) >= 190 * MIB)

    @ray.remote
    def first(array: Any) -> int:
        return int(array[0]) + int(array[-1])

    assert ray.get([first.remote(ref) for ref in refs]) == [2 * number for number in range(30)]
    for number, ref in enumerate(refs):
        value = ray.get(ref)
        assert value[5] == number
        assert not value.flags.writeable
    del refs, ref, value
    gc.collect()
    eventually(lambda: size_of(memory) == 0 and size_of(disk) == 0)


def test_what_values_take_is_not_available(start: Callable[..., Any]) -> None:
    start(object_store_memory=100 * MIB)
    refs = [ray.put(np.zeros(40 * MIB, dtype=np.uint8)) for _ in range(2)]
    assert 19 * MIB <= ray.available_resources()["object_store_memory"] <= 20 * MIB
    assert ray.cluster_resources()["object_store_memory"] == 100 * MIB
    del refs
    eventually(lambda: ray.available_resources()["object_store_memory"] == 100 * MIB)


def test_many_objects_go_through_a_small_store(start: Callable[..., Any]) -> None:
    start(object_store_memory=64 * MIB)
    memory, disk = folders()

    @ray.remote
    def make(number: int) -> Any:
        return np.full(MIB, number % 251, dtype=np.uint8)

    @ray.remote
    def check(array: Any, number: int) -> bool:
        return bool((array == number % 251).all())

    for begin in range(0, 1000, 100):
        refs = [make.remote(number) for number in range(begin, begin + 100)]
        assert all(ray.get([check.remote(ref, number) for number, ref in enumerate(refs, begin)]))
    del refs
    gc.collect()
    eventually(lambda: size_of(memory) == 0 and size_of(disk) == 0)


def inodes(folder: Path) -> set[int]:
    return {each.stat().st_ino for each in folder.iterdir()}


def test_the_files_of_freed_values_are_written_into_again(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    memory, _ = folders()

    @ray.remote
    def make(fill: int) -> Any:
        return np.full(4 * MIB, fill, dtype=np.uint8)

    def put(fill: int) -> Any:
        return ray.put(np.full(4 * MIB, fill, dtype=np.uint8))

    for one in (put, make.remote):
        seen: set[int] = set()
        for fill in range(5):
            ref = one(fill)
            assert (ray.get(ref) == fill).all()
            seen |= inodes(memory)
            del ref
            eventually(lambda: size_of(memory) == 0)
        assert len(seen) == (1 if one is put else 2), "the driver's, and the worker's"


def test_arguments_by_value_are_written_into_the_same_file(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    memory, _ = folders()

    @ray.remote
    def first(array: Any) -> int:
        return int(array[0])

    seen: set[int] = set()
    for fill in range(5):
        assert ray.get(first.remote(np.full(4 * MIB, fill, dtype=np.uint8))) == fill
        seen |= inodes(memory)
    assert len(seen) == 1


def test_what_an_actor_still_reads_is_never_written_over(start: Callable[..., Any]) -> None:
    start(num_cpus=2)

    class Keeper:
        def keep(self, array: Any) -> None:
            self.array = array

        def intact(self, fill: int) -> bool:
            return bool((self.array == fill).all())

    keeper: Any = ray.remote(Keeper).remote()
    for fill in range(5):
        array = np.full(4 * MIB, fill, dtype=np.uint8)
        ray.get(keeper.keep.remote(array))  # The file is freed, and still read.
        for other in range(100, 104):
            assert ray.get(ray.put(np.full(4 * MIB, other, dtype=np.uint8)))[7] == other
        assert ray.get(keeper.intact.remote(fill))
    ref = ray.put(np.full(4 * MIB, 7, dtype=np.uint8))
    mine = ray.get(ref)
    del ref
    for other in range(100, 104):
        ray.get(ray.put(np.full(4 * MIB, other, dtype=np.uint8)))
    assert (mine == 7).all()


def test_what_is_read_stays_in_memory_and_the_rest_makes_room(start: Callable[..., Any]) -> None:
    start(object_store_memory=64 * MIB)
    memory, disk = folders()
    refs = [ray.put(np.full(16 * MIB, number, dtype=np.uint8)) for number in range(3)]
    held = [ray.get(ref) for ref in refs[:2]]
    refs += [ray.put(np.full(16 * MIB, number, dtype=np.uint8)) for number in range(3, 6)]
    in_use = {each.name for each in memory.iterdir()}
    assert size_of(memory) <= 64 * MIB + 65_536
    held += [ray.get(ref) for ref in refs[2:]]
    assert [int(array[-1]) for array in held] == list(range(6))
    refs.append(ray.put(np.full(60 * MIB, 6, dtype=np.uint8)))  # All of memory is being read: it goes to disk.
    assert size_of(memory) <= 64 * MIB + 65_536
    assert in_use & {each.name for each in memory.iterdir()}
    assert int(ray.get(refs[-1])[-1]) == 6
    assert [int(array[-1]) for array in held] == list(range(6))
    del refs, held
    gc.collect()
    eventually(lambda: size_of(memory) == 0 and size_of(disk) == 0)


def test_many_arrays_are_held_at_once(start: Callable[..., Any]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    start(num_cpus=1)
    refs = [ray.put(np.full(200_000, number % 251, dtype=np.uint8)) for number in range(300)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 100, hard))
    try:
        arrays = ray.get(refs)
        assert [int(array[0]) for array in arrays] == [number % 251 for number in range(300)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_was_read_a_moment_ago_is_not_kept_past_the_session(start: Callable[..., Any]) -> None:
    """A reference, or a remote function, may live on, and holds the session's store."""
    start(num_cpus=1)
    engine = registry.current()
    assert isinstance(engine, LocalEngine)
    store = engine.client.store
    reference = ray.put(np.ones(MIB))
    assert ray.get(reference)[-1] == 1
    assert ": 1 mapped," in repr(store), "who reads it again at once finds its pages"
    ray.shutdown()
    assert ": 0 mapped," in repr(store)
    assert reference is not None


def test_a_value_larger_than_the_whole_store_goes_to_disk_at_once(start: Callable[..., Any]) -> None:
    start(num_cpus=1, object_store_memory=80 * MIB)
    memory, disk = folders()
    kept = ray.put(np.full(20 * MIB, 1, dtype=np.uint8))

    @ray.remote
    def double(array: Any) -> Any:
        return np.concatenate([array, array])

    large = double.remote(np.full(90 * MIB, 2, dtype=np.uint8))
    value = ray.get(large)
    assert (value.nbytes, value[0], value[-1]) == (180 * MIB, 2, 2)
    assert size_of(disk) >= 180 * MIB
    assert 20 * MIB <= size_of(memory) < 40 * MIB, "nothing was moved for its sake"
    del large, value
    gc.collect()
    eventually(lambda: size_of(disk) == 0)
    assert ray.get(kept)[0] == 1


def test_return_values_that_are_larger_together_than_the_store(start: Callable[..., Any]) -> None:
    start(num_cpus=1, object_store_memory=40 * MIB)

    @ray.remote(num_returns=4)
    def several() -> list[Any]:
        return [np.full(15 * MIB, number, dtype=np.uint8) for number in range(4)]

    began = time.monotonic()
    assert [int(ray.get(ref)[-1]) for ref in several.remote()] == [0, 1, 2, 3]
    assert time.monotonic() - began < PROMISE_SECONDS, "each waited for the room that the ones before it had"


def test_a_disk_that_is_full_enough_takes_no_more(start: Callable[..., Any], tmp_path: Path) -> None:
    """The threshold is below what is in use, so that there need not be a full disk; others may free some meanwhile."""
    usage = shutil.disk_usage(tmp_path)
    share = max(1 - (usage.free + 2048 * MIB) / usage.total, 0.0)
    config = {"local_fs_capacity_threshold": share}
    start(num_cpus=1, object_store_memory=80 * MIB, object_spilling_directory=str(tmp_path), _system_config=config)

    @ray.remote
    def make() -> Any:
        return np.zeros(90 * MIB, dtype=np.uint8)

    kept = ray.put(np.ones(50 * MIB, dtype=np.uint8))
    with pytest.raises(OutOfDiskError, match=rf"cannot be moved to disk: .*{kept.hex()[:8]} of put"):
        ray.put(np.zeros(50 * MIB, dtype=np.uint8))
    with pytest.raises(OutOfDiskError, match="no room for 94,371,9"):
        ray.put(np.zeros(90 * MIB, dtype=np.uint8))
    with pytest.raises(OutOfDiskError, match="no room for 94,371,9"):
        ray.get(make.remote())
    assert ray.get(kept)[0] == 1


def test_the_environment_asks_where_small_values_were_put_too(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_record_ref_creation_sites", "1")
    start()
    ref = ray.put(1)
    assert "in test_the_environment_asks" in str(ray.util.state.get_objects(ref.hex())[0].call_site)


def test_a_disk_that_becomes_full_in_the_midst_of_a_file(start: Callable[..., Any]) -> None:
    """The runtime may write files of 8 MiB at most: what becomes of a longer one is what a full disk does to it."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system cannot limit another process's files")
    start(object_store_memory=80 * MIB)
    memory, disk = folders()
    with Log() as log:
        [ready] = eventually(lambda: log.find(RuntimeReady))
    old = resource.prlimit(ready.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(ready.pid, resource.RLIMIT_FSIZE, (8 * MIB, old[1]))
    refs = [ray.put(np.full(20 * MIB, number, dtype=np.uint8)) for number in range(3)]
    held = refs[0].hex()[:8]
    with pytest.raises(OutOfDiskError, match=rf"(?s)cannot be moved to disk: .*{held} of put\(\)"):
        ray.put(np.zeros(40 * MIB, dtype=np.uint8))
    assert list(disk.iterdir()) == [], "nothing half-written is left"
    assert size_of(memory) >= 60 * MIB
    assert [int(ray.get(ref)[0]) for ref in refs] == [0, 1, 2]
    resource.prlimit(ready.pid, resource.RLIMIT_FSIZE, old)
    refs.append(ray.put(np.full(40 * MIB, 9, dtype=np.uint8)))
    assert [int(ray.get(ref)[0]) for ref in refs] == [0, 1, 2, 9]


def test_a_full_disk_is_said_and_nothing_is_lost(start: Callable[..., Any]) -> None:
    start(object_store_memory=80 * MIB)
    _, disk = folders()
    disk.write_bytes(b"")  # A file where the folder should be: nothing can be moved there.
    refs = [ray.put(np.full(20 * MIB, number, dtype=np.uint8)) for number in range(3)]
    with pytest.raises(ObjectStoreFullError, match="cannot be moved to disk"):
        ray.put(np.zeros(40 * MIB, dtype=np.uint8))
    assert [int(ray.get(ref)[0]) for ref in refs] == [0, 1, 2]
    os.unlink(disk)
    refs.append(ray.put(np.full(40 * MIB, 9, dtype=np.uint8)))
    assert int(ray.get(refs[-1])[0]) == 9


def test_references_that_only_garbage_holds_go_when_memory_gets_short(start: Callable[..., Any]) -> None:
    start(num_cpus=1, object_store_memory=100 * 1024**2)

    @ray.remote
    class Hoarder:
        def __init__(self) -> None:
            gc.disable()
            self.collections = 0
            gc.callbacks.append(self.count)

        def count(self, phase: str, info: dict[str, int]) -> None:
            self.collections += phase == "start"

        def leave_a_cycle(self) -> None:
            cycle: list[Any] = [ray.put(b"0" * 10**7), ray.put(b"1" * 10**7)]
            cycle.append(cycle)

        def collected(self) -> int:
            return self.collections

    hoarder = Hoarder.remote()  # type: ignore[attr-defined]
    for _ in range(3):
        ray.get(hoarder.leave_a_cycle.remote())
    assert ray.get(hoarder.collected.remote()) == 0
    ray.get(hoarder.leave_a_cycle.remote())
    eventually(lambda: ray.get(hoarder.collected.remote()) > 0)
    # What was garbage is gone; a value that came just then may be on disk.
    eventually(lambda: sum(row["object_size"] for row in ray.util.state.list_objects(limit=1000)) < 30 * 10**6)


def test_values_are_spilled_where_init_says(start: Callable[..., Any], tmp_path: Path) -> None:
    start(object_store_memory=100 * MIB, object_spilling_directory=str(tmp_path / "big disk"))
    refs = [ray.put(np.full(10 * MIB, number, dtype=np.uint8)) for number in range(20)]
    [folder] = eventually(lambda: list((tmp_path / "big disk").iterdir()))
    assert folder.stat().st_mode & 0o777 == 0o700
    eventually(lambda: size_of(folder) >= 90 * MIB)
    assert [int(ray.get(ref)[7]) for ref in refs] == list(range(20))
    del refs
    ray.shutdown()
    assert list((tmp_path / "big disk").iterdir()) == []
    with pytest.raises(ValueError, match="spilled to a filesystem"):
        start(_system_config={"object_spilling_config": '{"type": "abc"}'})
    with pytest.raises(ValueError, match="buffer_size"):
        start(_system_config={"object_spilling_config": '{"type": "filesystem", "params": {"buffer_size": "abc"}}'})
    with pytest.raises(PermissionError if os.geteuid() else OSError):
        start(object_spilling_directory="/proc/nowhere")
    assert not ray.is_initialized()


@pytest.mark.parametrize("said", ["config", "environment"])
def test_a_full_store_that_may_not_spill_writes_new_values_to_disk(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """It waits a while for room before the first of them, and moves nothing."""
    options = {}
    if said == "config":
        options["_system_config"] = {"automatic_object_spilling_enabled": False}
    else:
        monkeypatch.setenv("RAY_automatic_object_spilling_enabled", "0")
    start(num_cpus=1, object_store_memory=100 * MIB, **options)
    memory, disk = folders()

    @ray.remote
    def make() -> Any:
        return np.full(30 * MIB, 7, dtype=np.uint8)

    refs = [ray.put(np.full(30 * MIB, number, dtype=np.uint8)) for number in range(3)]
    begun = time.monotonic()
    refs.append(ray.put(np.full(30 * MIB, 3, dtype=np.uint8)))
    assert time.monotonic() - begun >= FULL_SECONDS
    assert (size_of(memory) // MIB, size_of(disk) // MIB) == (90, 30), "those in memory stay there"
    refs += [ray.put(np.full(20 * MIB, number, dtype=np.uint8)) for number in range(4, 10)]
    assert time.monotonic() - begun < 3 * FULL_SECONDS, "the others need not wait"
    assert ray.get(make.remote(), timeout=PATIENCE)[-1] == 7
    assert ray.get(ray.put(np.full(110 * MIB, 8, dtype=np.uint8)))[-1] == 8
    assert [int(ray.get(ref)[9]) for ref in refs] == list(range(10))
    del refs
    eventually(lambda: size_of(disk) == 0)
    for _ in range(20):  # What was dropped just now makes room.
        ray.put(np.zeros(60 * MIB, dtype=np.uint8))
    assert size_of(disk) == 0


def test_values_are_spread_over_several_disks(start: Callable[..., Any], tmp_path: Path) -> None:
    disks = [tmp_path / name for name in ("a", "b", "c")]
    spilling = {"type": "filesystem", "params": {"directory_path": [str(disk) for disk in disks]}}
    start(
        num_cpus=1,
        object_store_memory=80 * MIB,
        _system_config={"object_spilling_config": json.dumps(spilling)},
    )

    @ray.remote
    def make() -> Any:
        return np.full(90 * MIB, 9, dtype=np.uint8)

    @ray.remote
    def total(*values: Any) -> int:
        return sum(int(value[5]) for value in values)

    refs = [ray.put(np.full(10 * MIB, number, dtype=np.uint8)) for number in range(40)]
    refs.append(make.remote())
    ray.wait(refs, num_returns=41)
    eventually(lambda: all(size_of(next(disk.iterdir())) >= 60 * MIB for disk in disks))
    assert [int(ray.get(ref)[7]) for ref in refs] == [*range(40), 9]
    assert ray.get(total.remote(*refs)) == sum(range(40)) + 9
    del refs
    eventually(lambda: sum(size_of(next(disk.iterdir())) for disk in disks) == 0)
    ray.shutdown()
    assert [list(disk.iterdir()) for disk in disks] == [[], [], []]
