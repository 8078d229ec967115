"""Segments of the shared-memory store."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jupyter_ray import config
from jupyter_ray.config import RESERVE_FROM
from jupyter_ray.exceptions import ObjectStoreFullError
from jupyter_ray.local.protocol import names
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.serialization import values
from jupyter_ray.local.server.files import Files
from jupyter_ray.local.store import payloads, segments
from jupyter_ray.local.store.segments import SegmentStore
from tests.interrupting import interrupted

CLIENT = b"c" * 16


@pytest.fixture
def store(tmp_path: Path) -> SegmentStore:
    return SegmentStore(tmp_path, CLIENT)


def test_parts_are_aligned_and_come_back(store: SegmentStore) -> None:
    parts = [b"a" * 10, b"b" * 100, b"", b"c" * 64]
    name, layout, size = store.write(parts)
    assert name.startswith(names.prefix(CLIENT))
    assert all(start % segments.ALIGNMENT == 0 for start in layout[::2])
    view = store.open(name)
    assert view.readonly
    assert [
        bytes(view[start : start + length]) for start, length in zip(layout[::2], layout[1::2], strict=True)
    ] == parts
    assert size == layout[-2] + layout[-1]


def test_large_values_share_memory(store: SegmentStore, tmp_path: Path) -> None:
    array = np.arange(100_000)
    payload = payloads.pack(values.dumps([array, array + 1]), store)
    assert payload.segment
    assert payload.data == b""
    first = payloads.unpack(payload, store)
    second = payloads.unpack(payload, store)
    assert np.array_equal(first[1], array + 1)
    assert not first[0].flags.writeable
    assert first[0].ctypes.data % segments.ALIGNMENT == 0
    assert first[0].ctypes.data == second[0].ctypes.data
    (tmp_path / payload.segment).unlink()  # The runtime may: the mapping stays.
    assert first[0].sum() == array.sum()


def test_a_mapping_closes_with_its_last_view(store: SegmentStore) -> None:
    payload = payloads.pack(values.dumps(np.zeros(100_000)), store)
    array = payloads.unpack(payload, store)
    part = array[10:20]
    del array
    assert len(store._mappings) == 1
    del part
    gc.collect()
    assert len(store._mappings) == 0


def test_a_mapping_lingers_while_it_is_used(store: SegmentStore) -> None:
    name, _, _ = store.write([b"x" * 100])
    store.open(name)
    assert not store._mappings, "nobody reads it"
    view = store.open(name)
    store.linger(name)
    del view
    assert store.leave_old()
    assert store._mappings, "it was used just before"
    assert not store.leave_old()
    assert not store._mappings
    view = store.open(name)
    store.linger(name)
    store.leave(name)
    assert bytes(view[:1]) == b"x", "who reads it keeps it"
    del view
    assert not store._mappings


def test_an_array_that_was_just_read_is_at_hand(store: SegmentStore) -> None:
    payload = payloads.pack(values.dumps(np.zeros(100_000)), store)
    array = payloads.unpack(payload, store)
    store.linger(payload.segment, array)
    assert store.read_before(payload.segment) is array
    store.leave_old()
    assert store.read_before(payload.segment) is array
    store.linger(payload.segment, store.read_before(payload.segment).view())
    assert store.read_before(payload.segment).base is array.base, "views of views lead to the same"
    store.leave(payload.segment)
    assert store.read_before(payload.segment) is None


def test_small_values_stay_in_the_message(store: SegmentStore, tmp_path: Path) -> None:
    payload = payloads.pack(values.dumps(np.zeros(10)), store)
    assert not payload.segment
    assert len(payload.buffers) == 1
    assert not os.listdir(tmp_path)
    assert not payloads.unpack(payload, store).flags.writeable


def test_no_room(store: SegmentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ObjectStoreFullError, match="1,000 bytes"):
        store.write([b"x" * 1000])
    assert not os.listdir(tmp_path)


def test_what_a_dead_writer_left_is_removed(
    store: SegmentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "shared_memory_folder", lambda session: tmp_path)
    monkeypatch.setattr(config, "spill_folder", lambda session: tmp_path / "disk")
    kept, _, _ = store.write([b"kept"])
    store.write([b"lost"])
    other, _, _ = SegmentStore(tmp_path, b"d" * 16).write([b"other"])
    state = State()
    state.segments[kept] = {b"object": None}
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        Files(loop, "session", state, lambda stimulus: None, lambda text: None).remove_unsealed(CLIENT)
    assert sorted(os.listdir(tmp_path)) == sorted([kept, other])


def test_a_gone_segment(store: SegmentStore) -> None:
    with pytest.raises(segments.Unreadable, match="No such file"):
        store.open("nothing")
    with pytest.raises(ValueError, match="no name"):
        store.open("../secret")


@pytest.mark.parametrize("size", [200_000, 2 * RESERVE_FROM])
def test_an_interrupt_anywhere_leaves_no_descriptor(store: SegmentStore, tmp_path: Path, size: int) -> None:
    def act() -> memoryview:
        return store.open(store.write([b"x" * size])[0], size)

    act()
    before = descriptors()
    for where in interrupted(act, 3):
        assert descriptors() == before, where
        for each in tmp_path.iterdir():
            each.unlink()


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


@pytest.mark.parametrize("size", [200_000, 2 * RESERVE_FROM])
def test_an_interrupt_of_a_write_leaves_no_file(
    store: SegmentStore, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def interrupted_pwrite(*args: Any) -> int:
        signal.raise_signal(signal.SIGINT)
        return pwrite(*args)

    monkeypatch.setattr(os, "pwrite", interrupted_pwrite)
    with pytest.raises(KeyboardInterrupt):
        store.write([b"x" * size])
    assert not list(tmp_path.iterdir())
