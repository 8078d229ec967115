"""How cost grows: one session of this project with more and more of one thing; time and memory of a unit at each size.

Each series runs in a process of its own (`python -m benchmarks.growth SERIES`) and prints a line of JSON per size. A
unit's time is that of the last stretch before the size was reached, not of the way there: what the next one costs.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks import processes
from benchmarks.programs import Small, small

OUT = Path(__file__).resolve().parent / "out"
IMAGES = Path(__file__).resolve().parent.parent / "docs" / "img"
FLAT = 1.5
ACTOR_BYTES = 10e6
"""More than an actor takes."""
SPARE = 3e9
"""Bytes that must stay free on the machine: a series ends before it takes more."""


@dataclass(frozen=True)
class Point:
    """Attributes: how many there are, and what a unit costs: seconds, CPU seconds of all processes, bytes."""

    size: int
    seconds: float
    cpu: float
    memory: float | None


class Meter:
    """Measures stretches of work, and the memory that a number of things takes."""

    def __init__(self) -> None:
        self._empty = self._memory()

    def _memory(self) -> float:
        return processes.memory([*processes.ours(), processes.this()])

    def point(self, size: int, units: int, work: Callable[[], object], repeat: int = 1) -> Point:
        """Do `work`, which makes or does `units`, and then is followed by a state with `size` of them."""
        seconds, cpus = [], []
        for _ in range(repeat):
            cpu = processes.CpuMeter()
            start = time.perf_counter()
            work()
            seconds.append((time.perf_counter() - start) / units)
            cpus.append(cpu() / units)
        memory = (self._memory() - self._empty) / size
        return Point(size, min(seconds), min(cpus), memory)


def sizes(first: int, last: int) -> list[int]:
    """Powers of ten, with the threes between."""
    return [size for power in range(1, 7) for size in (10**power, 3 * 10**power) if first <= size <= last]


def roomy() -> bool:
    return psutil.virtual_memory().available > SPARE


def stretches(ends: Iterable[int], most: int) -> Iterator[tuple[int, int, int]]:
    """For each size: how many to add at once and in silence, how many to measure, and the size then."""
    have = 0
    for end in ends:
        measured = min(end - have, most)
        yield end - have - measured, measured, end
        have = end


def tasks(ray: Any) -> Iterator[Point]:
    """Tasks that ended, in one session."""
    task, meter = ray.remote(small), Meter()

    def burst(count: int) -> None:
        while count > 0:
            ray.get([task.remote() for _ in range(min(count, 1_000))])
            count -= 1_000

    for silent, measured, size in stretches(sizes(100, 1_000_000), 3_000):
        burst(silent)
        yield meter.point(size, measured // 3, partial(burst, measured // 3), repeat=3)


def pending(ray: Any) -> Iterator[Point]:
    """Tasks that wait for a CPU: an actor holds them all."""
    task, holder = ray.remote(small), ray.remote(num_cpus=int(ray.cluster_resources()["CPU"]))(Small).remote()
    witness = ray.remote(num_cpus=0)(Small).remote()
    ray.get([holder.small.remote(), witness.small.remote()])
    meter, held = Meter(), []

    def add(count: int) -> None:
        held.extend([task.remote() for _ in range(count)])
        ray.get(witness.small.remote())  # so the runtime has had all that came before

    for silent, measured, size in stretches(sizes(100, 100_000), 3_000):
        add(silent)
        yield meter.point(size, measured // 3, partial(add, measured // 3), repeat=3)


def pending_done(ray: Any) -> Iterator[Point]:
    """From the first submission to the last result of so many tasks at once."""
    task, meter = ray.remote(small), Meter()

    def burst(count: int) -> None:
        ray.get([task.remote() for _ in range(count)])

    for size in sizes(100, 100_000):
        yield meter.point(size, size, partial(burst, size), repeat=3 if size <= 10_000 else 1)


def actors(ray: Any) -> Iterator[Point]:
    """Actors that have answered once, and rest.

    A virtual machine gets memory from its host when it first touches it, at 1.5 to 2.4 ms a MB where this was measured,
    more than all else that an actor costs, and gives back what has been free for some seconds. So what is about to be
    taken is touched before: the growth is the program's.
    """
    cls, meter, held = ray.remote(num_cpus=0)(Small), Meter(), []

    def add(count: int) -> None:
        made = [cls.remote() for _ in range(count)]
        ray.get([actor.small.remote() for actor in made])
        held.extend(made)

    for silent, measured, size in stretches(sizes(10, 1_000), 30):
        while silent and roomy():
            add(min(silent, 50))
            silent -= min(silent, 50)
        if not roomy():
            return
        processes.touch(measured * ACTOR_BYTES)
        yield meter.point(size, measured, partial(add, measured))


def blocked(ray: Any) -> Iterator[Point]:
    """Workers that wait, each for the task that it has called: nesting so deep, cold."""
    meter = Meter()
    nested = ray.remote(descend)
    for size in (10, 20, 50, 100, 150, 200):
        if not roomy():
            return
        gate = ray.remote(num_cpus=0)(Gate).remote()
        refs: list[Any] = []

        def reach(depth: int = size - 1, gate: Any = gate, refs: list[Any] = refs) -> None:
            refs.append(nested.remote(depth, gate))
            ray.get(gate.wait_for_one.remote())

        yield meter.point(size, size, reach)
        ray.get(gate.open.remote())
        assert ray.get(refs[0]) == size - 1
        wait_until_rest(ray)


def wait_until_rest(ray: Any) -> None:
    """Return when the workers beyond the CPUs are gone, so that the next depth is cold again."""
    deadline = time.monotonic() + 30
    while len(processes.ours()) > 6 and time.monotonic() < deadline:
        time.sleep(0.2)


def descend(depth: int, gate: Any) -> int:
    import jupyter_ray as ray

    if depth:
        below: int = ray.get(ray.remote(descend).remote(depth - 1, gate)) + 1
        return below
    ray.get(gate.come.remote())
    return 0


def objects(ray: Any) -> Iterator[Point]:
    """Small objects that somebody holds."""
    meter, held = Meter(), []

    def add(count: int) -> None:
        held.extend([ray.put(i) for i in range(count)])

    for silent, measured, size in stretches(sizes(100, 1_000_000), 30_000):
        add(silent)
        yield meter.point(size, measured // 3, partial(add, measured // 3), repeat=3)


class Gate:
    """Where tasks wait until they are let through."""

    def __init__(self) -> None:
        import asyncio

        self._open, self._one = asyncio.Event(), asyncio.Event()

    async def come(self) -> None:
        self._one.set()
        await self._open.wait()

    async def wait_for_one(self) -> None:
        await self._one.wait()

    async def open(self) -> None:
        self._open.set()


@dataclass(frozen=True)
class Series:
    """Attributes: what is counted, what measures it, and how long that may take."""

    name: str
    measure: Callable[[Any], Iterator[Point]]
    seconds: float = 240.0


SERIES = {
    "tasks": Series("tasks that ended, in one session", tasks, 420.0),
    "pending": Series("tasks that wait", pending),
    "pending_done": Series("tasks at once, until the last result", pending_done),
    "actors": Series("idle actors", actors),
    "blocked": Series("blocked workers (nested calls), cold", blocked),
    "objects": Series("small objects", objects),
}


def child(name: str, workers: int) -> None:
    """Measure one series in this process."""
    import jupyter_ray as ray

    ray.init(num_cpus=workers)
    try:
        ray.get([ray.remote(small).remote() for _ in range(200)])
        for point in SERIES[name].measure(ray):
            print(json.dumps(asdict(point)), flush=True)
    finally:
        ray.shutdown()


def run(name: str, workers: int, progress: Callable[[str], None]) -> list[Point]:
    """Measure one series in a process of its own; what it measured before its time was up counts."""
    mark, temporary = uuid.uuid4().hex, processes.temporary()
    command = [sys.executable, "-m", "benchmarks.growth", name, str(workers)]
    process = subprocess.Popen(command, env=processes.environment(mark, temporary), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    watchdog = threading.Timer(SERIES[name].seconds, process.kill)
    watchdog.start()
    points = []
    try:
        for line in process.stdout:
            point = Point(**json.loads(line))
            points.append(point)
            progress(
                f"  {name} {point.size:,}: {point.seconds * 1e6:,.0f} µs, CPU {point.cpu * 1e6:,.0f} µs, "
                f"{(point.memory or 0) / 1e3:,.1f} kB"
            )
    finally:
        # The end of its output is the end of the child; an interrupt here comes sooner.
        watchdog.cancel()
        process.stdout.close()
        processes.end(mark, patience=5.0)
        process.wait()
        processes.remove(temporary)
    return points


def verdict(name: str, points: Sequence[Point]) -> str:
    """One line: the costs at both ends, and whether they are flat."""
    if not points:
        return f"{name}: nothing was measured"
    first, last = points[0], points[-1]
    walls, cpus = [point.seconds for point in points], [point.cpu for point in points]
    growth = last.cpu / statistics.median(cpus)
    flat = "flat" if growth <= FLAT else "not flat"
    return (
        f"{SERIES[name].name}: {first.size:,} to {last.size:,}: {walls[0] * 1e6:,.0f} to {walls[-1] * 1e6:,.0f} µs, "
        f"CPU {cpus[0] * 1e6:,.0f} to {cpus[-1] * 1e6:,.0f} µs ({flat}: {growth:.2f} times the median at the end)"
    )


def main(names: Sequence[str], workers: int, facts: dict[str, str], progress: Callable[[str], None]) -> None:
    """Measure the series, write the figures, and draw them."""
    found: dict[str, list[Point]] = {}
    for name in names or SERIES:
        found[name] = run(name, workers, progress)
        print(verdict(name, found[name]), flush=True)
    data = {"facts": facts, "series": {name: [asdict(point) for point in points] for name, points in found.items()}}
    OUT.mkdir(exist_ok=True)
    (OUT / "growth.json").write_text(json.dumps(data, indent=1) + "\n")
    if not names:
        from benchmarks import plots

        plots.draw({SERIES[name].name: points for name, points in found.items()}, IMAGES)


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]))
