"""Files that are written into again: what is reused, what is never touched, and how it is written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from jupyter_ray.local.protocol.names import ON_DISK, spare_name
from jupyter_ray.local.server import spill
from jupyter_ray.local.store import mapping
from jupyter_ray.local.store.mapping import Mapping
from jupyter_ray.local.store.segments import SegmentStore, Unreadable

CLIENT = b"c" * 16
SIZE = 2 * 1024**2


class Store:
    """A store, and what it told the runtime."""

    def __init__(self, folder: Path, disk: Path) -> None:
        self.folder = folder
        self.store = SegmentStore(folder, CLIENT, disk)
        self.reserved: list[int] = []
        self.claimed: list[tuple[str, str, int]] = []
        self.answer: object = True
        self.store.reserve = self._reserve
        self.store.spares.claimed = lambda *told: self.claimed.append(told)

    def _reserve(self, size: int, segment: str) -> object:
        self.reserved.append(size)
        return self.answer

    def write(self, fill: int, size: int = SIZE) -> str:
        return self.store.write([np.full(size, fill, dtype=np.uint8).data])[0]

    def free(self, segment: str) -> None:
        """What the runtime does when the value goes."""
        spill.keep_spare(self.folder, segment)
        self.store.spares.offer(segment, os.stat(self.folder / spare_name(segment)).st_size)
        self.store.spares.prepare()

    def inode(self, segment: str) -> int:
        return os.stat(self.folder / segment).st_ino

    def read(self, segment: str) -> np.ndarray:
        return np.frombuffer(self.store.open(segment), dtype=np.uint8)


@pytest.fixture(params=["mapped", "system calls"] if mapping.offered() else ["system calls"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "system calls":
        monkeypatch.setattr(mapping, "_offered", False)
    folder = tmp_path / "memory"
    folder.mkdir()
    return Store(folder, tmp_path / "disk")


def test_a_freed_file_is_written_into_again(store: Store) -> None:
    first = store.write(1)
    inode = store.inode(first)
    for fill in range(2, 5):
        store.free(first)
        second = store.write(fill)
        assert store.inode(second) == inode
        assert store.claimed[-1] == (first, second, SIZE)
        assert os.listdir(store.folder) == [second]
        array = store.read(second)
        assert array.size == SIZE
        assert (array == fill).all()
        del array
        first = second
    assert store.reserved == [SIZE], "room was there, and counted"


@pytest.mark.parametrize("size", [SIZE * 2 - 5, SIZE // 2 + 5], ids=["larger", "smaller"])
def test_another_size(store: Store, size: int) -> None:
    first = store.write(1)
    inode = store.inode(first)
    store.free(first)
    second = store.write(2, size)
    assert store.inode(second) == inode
    assert os.stat(store.folder / second).st_size == size
    assert (store.read(second) == 2).all()
    assert store.reserved == [SIZE, *([size - SIZE] if size - SIZE >= 1024**2 else [])]
    store.free(second)
    third = store.write(3, size)
    assert store.inode(third) == inode
    assert (store.read(third) == 3).all()


def test_sizes_that_do_not_fit_are_written_anew(store: Store) -> None:
    first = store.write(1)
    inode = store.inode(first)
    store.free(first)
    assert store.inode(store.write(2, 3 * SIZE)) != inode
    assert len(store.store.spares) == 1


def test_the_best_fit_is_taken(store: Store) -> None:
    names = [store.write(1, size) for size in (SIZE + 4096, SIZE, SIZE - 4096)]
    inode = store.inode(names[1])
    for name in names:
        store.free(name)
    assert store.inode(store.write(2)) == inode


def test_what_somebody_reads_is_never_overwritten(store: Store) -> None:
    first = store.write(1)
    inode = store.inode(first)
    kept = store.read(first)[5:]
    store.free(first)
    second = store.write(2)
    assert store.inode(second) != inode
    assert (kept == 1).all()
    assert len(store.store.spares) == 1
    del kept
    third = store.write(3)
    assert store.inode(third) == inode
    assert (store.read(second) == 2).all()


def test_a_forked_child_that_has_a_value_mapped_is_a_reader_too(store: Store) -> None:
    first = store.write(1)
    inode = store.inode(first)
    kept = store.read(first)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)  # Until the parent closes its end.
        os._exit(0)
    os.close(reading)
    del kept
    store.free(first)
    assert store.inode(store.write(2)) != inode
    os.close(writing)
    os.waitpid(child, 0)
    assert store.inode(store.write(3)) == inode


def test_a_spare_that_was_taken_back_is_not_used(store: Store) -> None:
    first = store.write(1)
    store.free(first)
    spill.drop_spare(store.folder, first)
    second = store.write(2)
    assert (store.read(second) == 2).all()
    assert store.claimed == [(first, "", 0)]
    assert store.reserved == [SIZE, SIZE]


def test_a_forgotten_spare_is_not_mapped_any_more(store: Store) -> None:
    first = store.write(1)
    store.free(first)
    store.store.spares.forget(first)
    assert len(store.store.spares) == 0
    assert "0 free, 0 mapped" in repr(store.store.spares)
    store.write(2)
    assert store.claimed == []


def test_a_spare_that_somebody_cut_short(store: Store) -> None:
    first = store.write(1)
    store.free(first)
    os.truncate(store.folder / spare_name(first), 100)
    assert (store.read(store.write(2)) == 2).all()


def test_a_late_reader_does_not_find_another_value(store: Store) -> None:
    first = store.write(1)
    reader = SegmentStore(store.folder, b"d" * 16)
    find = reader._find

    def late(name: str) -> tuple[str, int]:
        found = find(name)
        if name == first and os.path.exists(found[0]):
            store.free(first)
            store.write(2)
        return found

    reader._find = late  # type: ignore[method-assign]
    with pytest.raises(Unreadable, match="No such file"):
        reader.open(first)


def test_a_failed_write_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    unwritten: list[str] = []
    store.store.unwritten = unwritten.append
    first = store.write(1)
    store.free(first)

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "pwrite", fails)
    monkeypatch.setattr(Mapping, "write", fails)
    with pytest.raises(OSError, match="broken"):
        store.write(2)
    assert os.listdir(store.folder) == []
    assert unwritten == [store.claimed[0][1]]


def test_without_room_in_memory_a_value_goes_to_disk(store: Store, tmp_path: Path) -> None:
    store.answer = ON_DISK
    name = store.write(7)
    assert os.listdir(store.folder) == []
    assert os.listdir(tmp_path / "disk") == [name]
    assert (store.read(name) == 7).all()


def test_what_is_read_is_not_moved_to_disk(store: Store, tmp_path: Path) -> None:
    name = store.write(1)
    array = store.read(name)
    assert not spill.spill(store.folder, tmp_path / "disk", name)
    assert os.listdir(store.folder) == [name]
    assert os.listdir(tmp_path / "disk") == []
    del array
    assert spill.spill(store.folder, tmp_path / "disk", name)
    assert (store.read(name) == 1).all()
    assert os.listdir(store.folder) == []


@pytest.mark.skipif(not mapping.offered(), reason="this system writes by system calls alone")
def test_a_large_copy_is_shared_by_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "SHARE_FROM", 10_000)
    monkeypatch.setattr(mapping, "_cpus", lambda: 3)
    size = 1_000_003
    source = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    with open(tmp_path / "file", "w+b") as file:
        file.truncate(size + 7)
        target = Mapping(file.fileno(), size + 7)
        target.populate()
        target.write(source.data, 7)
        assert file.read() == bytes(7) + source.tobytes()
    with pytest.raises(ValueError, match="do not fit"):
        target.write(source.data, 8)
