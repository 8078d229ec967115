"""``make bench``: what a call costs here, and what it costs with `concurrent.futures`, in the same run.

Each row is measured several times in turn for all who offer it, so that a noisy moment hits all alike; the table
shows the median and the range. Nothing here asserts: figures are for people.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import psutil

import jupyter_ray as ray

Row = tuple[str, str, dict[str, list[float]]]


def rate(count: int, work: Callable[[], object]) -> float:
    """Return how many of `count` units `work` does in a second."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def nothing() -> None:
    """The task that costs only its call."""


class Idle:
    """The actor whose calls cost only themselves."""

    def nothing(self) -> None:
        """Do nothing."""


def measure(cpus: int, rounds: int, scale: int) -> list[Row]:
    """Measure the rows that are rates; return (name, unit, figures by contender)."""
    task = ray.remote(nothing)
    idle = ray.remote(Idle).remote()
    ray.get([task.remote() for _ in range(200)])
    ray.get(idle.nothing.remote())
    with ProcessPoolExecutor(cpus, mp_context=get_context("forkserver")) as pool:
        list(pool.map(nothing_of, range(100)))
        sync, burst = 500 * scale, 2_000 * scale
        contenders: dict[str, dict[str, Callable[[], float]]] = {
            "tasks, sync": {
                "jupyter_ray": lambda: rate(sync, lambda: [ray.get(task.remote()) for _ in range(sync)]),
                "ProcessPoolExecutor": lambda: rate(sync, lambda: [pool.submit(nothing).result() for _ in range(sync)]),
            },
            "tasks, async": {
                "jupyter_ray": lambda: rate(burst, lambda: ray.get([task.remote() for _ in range(burst)])),
                "ProcessPoolExecutor": lambda: rate(
                    burst, lambda: [each.result() for each in [pool.submit(nothing) for _ in range(burst)]]
                ),
            },
            "actor calls, sync": {
                "jupyter_ray": lambda: rate(sync, lambda: [ray.get(idle.nothing.remote()) for _ in range(sync)]),
            },
            "actor calls, async": {
                "jupyter_ray": lambda: rate(burst, lambda: ray.get([idle.nothing.remote() for _ in range(burst)])),
            },
        }
        rows: list[Row] = []
        for name, by_contender in contenders.items():
            figures: dict[str, list[float]] = {contender: [] for contender in by_contender}
            for _ in range(rounds):
                for contender, run in by_contender.items():
                    figures[contender].append(run())
            rows.append((name, "/s", figures))
    return rows


def nothing_of(_: int) -> None:
    """As `nothing`, for `map`."""


START = {
    "jupyter_ray": (
        "import time; t = time.perf_counter(); import jupyter_ray as ray; ray.init(num_cpus=2)\n"
        "assert ray.get(ray.remote(len).remote('ab')) == 2; print(time.perf_counter() - t)"
    ),
    "ProcessPoolExecutor": (
        "import time; t = time.perf_counter(); from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "pool = ProcessPoolExecutor(2, mp_context=get_context('forkserver'))\n"
        "assert pool.submit(len, 'ab').result() == 2; print(time.perf_counter() - t)"
    ),
}


def start_up(rounds: int) -> Row:
    """Measure the time from the import to the first result, in fresh processes."""
    figures: dict[str, list[float]] = {contender: [] for contender in START}
    for _ in range(rounds):
        for contender, program in START.items():
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            figures[contender].append(float(done.stdout))
    return "import to first result", " s", figures


def idle_memory() -> Row:
    """Measure the memory (PSS) of this session's processes, the driver excepted."""
    ours = [each for each in psutil.process_iter() if _belongs(each)]
    total = sum(each.memory_full_info().pss for each in ours) / 1e6
    return f"memory of {len(ours)} idle processes (PSS)", " MB", {"jupyter_ray": [total]}


def _belongs(process: psutil.Process) -> bool:
    parents = []
    try:
        parents = [each.pid for each in process.parents()]
    except psutil.Error:
        return False
    return os.getpid() in parents


def show(rows: list[Row]) -> None:
    """Print the table."""
    print(f"{'row':38} {'jupyter_ray':>24} {'ProcessPoolExecutor':>24}   ratio")
    for name, unit, figures in rows:
        cells, medians = [], []
        for contender in ("jupyter_ray", "ProcessPoolExecutor"):
            values = figures.get(contender)
            if not values:
                cells.append("-")
                continue
            median = statistics.median(values)
            medians.append(median)
            form = "{:,.0f}" if unit == "/s" else "{:.2f}"
            spread = f" ({form.format(min(values))}-{form.format(max(values))})" if len(values) > 1 else ""
            cells.append(form.format(median) + unit + spread)
        ratio = ""
        if len(medians) == 2:
            better = medians[0] / medians[1] if unit == "/s" else medians[1] / medians[0]
            ratio = f"{better:.2f}x"
        print(f"{name:38} {cells[0]:>24} {cells[1]:>24}   {ratio}")


def main() -> None:
    """Run all rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, default=1, help="multiplies the number of calls of each row")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs")
    rows = [start_up(options.rounds)]
    ray.init(num_cpus=options.cpus)
    try:
        ray.get([ray.remote(nothing).remote() for _ in range(options.cpus)])
        rows.append(idle_memory())
        rows += measure(options.cpus, options.rounds, options.scale)
    finally:
        ray.shutdown()
    show(rows)
