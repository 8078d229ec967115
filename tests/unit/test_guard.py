"""Which worker is ended when memory runs out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from jupyter_ray.local import cgroups
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
    assert f"{sizes[pid] / 1e9:.2f} GB" in reason
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


class Machine:
    """Fills up, as time passes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used, self.now, self.kills = 0, 100.0, 7
        monkeypatch.setattr(
            "psutil.virtual_memory", lambda: SimpleNamespace(total=100 * GIB, available=100 * GIB - self.used)
        )
        monkeypatch.setattr(guard, "_kills", lambda: self.kills)
        monkeypatch.setattr(cgroups, "memory", lambda: None)
        monkeypatch.setattr(guard, "monotonic", lambda: self.now)
        self.watch = guard.Guard()
        self.watch.share = 0.9

    def pause(self, seconds: float, used: int) -> float:
        """Return how long the guard waits after a look, so much later, when so many GiB are in use."""
        self.now += seconds
        self.used = used * GIB
        self.watch.look(lambda: [])
        return self.watch.pause


def test_it_looks_more_often_the_faster_memory_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    assert machine.pause(10, 10) == guard.LOOK_SECONDS
    assert machine.pause(0.25, 10) == guard.LOOK_SECONDS, "it does not fill"
    assert machine.pause(0.25, 50) == pytest.approx(0.125), "the rest would be full after another 0.25 s"
    assert machine.pause(0.125, 88) == guard.LEAST_LOOK_SECONDS
    assert machine.pause(0.02, 95) == guard.LOOK_SECONDS, "a worker is being ended"
    assert machine.pause(0.25, 60) == guard.LOOK_SECONDS


def test_the_kernels_oom_killer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    assert machine.watch.explain(guard.SIGKILLED) == guard.SIGKILLED
    machine.kills += 1
    assert machine.watch.explain("its process ended by itself (exit code 1)").startswith("its process ended by itself")
    machine.pause(0.25, 10)
    assert machine.watch.explain(guard.SIGKILLED) == guard.OOM_KILLED, "a look came between its end and the news"
    machine.pause(0.25, 10)
    assert machine.watch.explain(guard.SIGKILLED) == guard.SIGKILLED, "that was another"


def test_the_kernel_tells_of_its_oom_killer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert guard._kills() >= 0
    monkeypatch.setattr(guard, "_VMSTAT", tmp_path / "vmstat")
    assert guard._kills() == 0, "another system"
    for text, kills in (("pgfault 9\noom_kill 12\nnuma_hit 3\n", 12), ("pgfault 9\n", 0)):
        (tmp_path / "vmstat").write_text(text)
        assert guard._kills() == kills
