"""The quick mode: this project against a loop in pure Python, in the same run, compared with ratios in the repository.

How fast a machine is cancels out in the ratio, mostly. Each row is measured several times, each time between two turns
of the loop, and the best ratio counts: another program on the machine can only make it worse. The CPU time of all
processes is looked at beside the wall time: it says whether more work is done, or only more waited.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import runner
from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.model import Row, Sample
from benchmarks.rows import BY_KEY
from benchmarks.rows.observation import REFERENCE

BASELINE = Path(__file__).resolve().parent / "baseline.json"
ROWS = (
    "tasks_sync", "tasks_async", "tasks_wait", "actor_sync", "actor_async", "async_actor_async", "get_small",
    "put_small", "refs_10k", "placement_group",
)  # fmt: skip
DROP = 0.25
SECONDS = 0.15
ROUNDS = 4
BUDGET = 60.0
"""Seconds that the quick mode should take at most."""


@dataclass(frozen=True)
class Ratio:
    """A row's speed in that of the loop: by the clock, and by CPU time (None where that was too short to tell)."""

    wall: float
    cpu: float | None


def ratio(row: Row, sample: Sample, loops: Sequence[Sample]) -> Ratio:
    """Compare one measurement with the loop before and after it; for rows that are rates."""
    assert row.unit == "/s"
    cpu = None
    loop_cpu = [loop.cpu for loop in loops if loop.cpu]
    if sample.cpu and loop_cpu:
        cpu = sum(loop_cpu) / len(loop_cpu) / sample.cpu
    return Ratio(sample.value / (sum(loop.value for loop in loops) / len(loops)), cpu)


def best(ratios: Sequence[Ratio]) -> Ratio:
    """The best of several rounds, each way of counting for itself."""
    cpus = [each.cpu for each in ratios if each.cpu is not None]
    return Ratio(max(each.wall for each in ratios), max(cpus) if cpus else None)


def dropped(now: Ratio, stored: Ratio) -> bool:
    """Whether a row is slower by more than `DROP`."""
    return now.wall < (1 - DROP) * stored.wall


def more_work(now: Ratio, stored: Ratio) -> bool:
    """Whether it costs more CPU time by more than `DROP`, too."""
    return now.cpu is not None and stored.cpu is not None and now.cpu < (1 - DROP) * stored.cpu


def compare(now: Mapping[str, Ratio], stored: Mapping[str, Ratio], busy: bool) -> list[str]:
    """Return a line for each row that is slower than stored, and for each that failed."""
    lines = []
    for key, then in stored.items():
        here = now.get(key)
        if here is None:
            lines.append(f"warning: {key} could not be measured")
        elif dropped(here, then):
            percent = f"{100 * (1 - here.wall / then.wall):.0f}% slower than stored"
            if more_work(here, then):
                lines.append(f"warning: {key} is {percent}, and costs more CPU time")
            elif busy:
                lines.append(f"note: {key} is {percent}, at the same CPU time, on a busy machine")
            else:
                lines.append(f"warning: {key} is {percent}, at the same CPU time: something waits")
    return lines


def load(path: Path = BASELINE) -> dict[str, Ratio]:
    """Read the stored ratios; none if there is no file."""
    if not path.exists():
        return {}
    rows: dict[str, dict[str, Any]] = json.loads(path.read_text())["rows"]
    return {key: Ratio(each["wall"], each["cpu"]) for key, each in rows.items()}


def store(ratios: Mapping[str, Ratio], facts: Mapping[str, str], path: Path = BASELINE) -> None:
    """Write the ratios for the next time."""

    def short(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.4g}")

    rows = {key: {"wall": short(each.wall), "cpu": short(each.cpu)} for key, each in ratios.items()}
    path.write_text(json.dumps({"facts": dict(facts), "rows": rows}, indent=1) + "\n")


def measure(keys: Sequence[str], rounds: int) -> dict[str, Ratio]:
    """Measure the rows between turns of the loop; a row that fails is left out."""
    found: dict[str, list[Ratio]] = {}
    child = runner.Child(CONTENDERS[OURS], 2)
    clean = False
    try:
        child.start()
        for _ in range(rounds):
            before = runner.sample(child.measure(REFERENCE, SECONDS))
            for key in keys:
                here = runner.sample(child.measure(BY_KEY[key], SECONDS))
                after = runner.sample(child.measure(REFERENCE, SECONDS))
                if before and here and after:
                    found.setdefault(key, []).append(ratio(BY_KEY[key], here, (before, after)))
                before = after
        clean = True
    except runner.Stuck as stuck:
        print(f"warning: jupyter_ray is stuck: {stuck}")
    finally:
        child.close(patience=20.0 if clean else 0.0)
    return {key: best(each) for key, each in found.items()}


def main(facts: Mapping[str, str], update: bool) -> None:
    """Measure, compare and say; never fail for a figure."""
    start = time.monotonic()
    now = measure(ROWS, ROUNDS)
    stored = load()
    again = [key for key, then in stored.items() if key not in now or dropped(now[key], then)]
    if again and not update and time.monotonic() - start < BUDGET / 2:  # a busy moment passes
        for key, second in measure(again, ROUNDS).items():
            now[key] = best([now[key], second]) if key in now else second
    print(f"{'row':18} {'to the loop':>11} {'stored':>8} {'CPU':>8} {'stored':>8}")
    for key, each in now.items():
        then = stored.get(key)
        cells = [each.wall, then and then.wall, each.cpu, then and then.cpu]
        print(f"{key:18}" + "".join(f"{'–' if cell is None else f'{cell:.3g}':>9}" for cell in cells))
    if update:
        store(now, facts)
        print(f"stored in {BASELINE}")
    else:
        busy = os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1)
        for line in compare(now, stored, busy) or ["no row is slower by more than 25%" if stored else "nothing stored"]:
            print(line)
    print(f"{time.monotonic() - start:.0f} s")
