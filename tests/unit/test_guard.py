"""Which worker is ended when memory runs out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from jupyter_ray.local.server import guard

GIB = 1024**3


def ended(monkeypatch: pytest.MonkeyPatch, limit: int, sizes: dict[int, int]) -> int | None:
    """Return which process is ended, of processes of so many bytes, in the order in which they should go."""

    def process(pid: int) -> SimpleNamespace:
        return SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=sizes[pid] + GIB, shared=GIB))

    monkeypatch.setattr("psutil.Process", process)
    watch = guard.Guard()
    watch.limit = limit
    found = watch.look(lambda: sizes)
    if found is None:
        return None
    pid, reason, has_most = found
    assert f"{sizes[pid]:,}" in reason
    assert has_most == (sizes[pid] == max(sizes.values()))
    return pid


def test_the_first_goes_whose_end_makes_enough_room_and_else_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, 10 * GIB, {1: 5 * GIB, 2: 5 * GIB}) is None
    assert ended(monkeypatch, 10 * GIB, {1: 4 * GIB, 2: 7 * GIB}) == 1
    assert ended(monkeypatch, 10 * GIB, {1: GIB, 2: 9 * GIB + 1}) == 1, "and what is free then is a twentieth"
    assert ended(monkeypatch, 10 * GIB, {1: GIB // 4, 2: 10 * GIB, 3: GIB}) == 2, "small ones do not go for a large one"
    assert ended(monkeypatch, 2 * GIB, {1: 2 * GIB, 2: 3 * GIB, 3: 2 * GIB}) == 2, "none is enough"


def test_processes_are_looked_at_only_when_it_matters() -> None:
    watch = guard.Guard()
    watch.share = 1.0
    assert watch.look(lambda: pytest.fail("there may be a thousand of them")) is None


def test_copies_of_files_are_not_memory_in_use(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("1000\n")
    assert guard._used(tmp_path) == 1000
    (tmp_path / "memory.stat").write_text("anon 200\nfile 800\nshmem 100\ninactive_file 500\nactive_file 200\n")
    assert guard._used(tmp_path) == 300
