"""Rows about starting, and about doing nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from benchmarks import processes
from benchmarks.contenders import Contender, PoolSession, RaySession, Session
from benchmarks.model import Limit, Row, Step
from benchmarks.programs import nap

IDLE_SECONDS = 2.0
TIMED = "import time; start = time.perf_counter()\n{before}\nprint(time.perf_counter() - start, flush=True)\n{after}\n"


def timed(before: str, after: str = "") -> float:
    """Run a program in a fresh Python; return the seconds of its first part, Python's own start not included."""
    program = TIMED.format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def imports(contender: Contender) -> Iterator[Step]:
    yield lambda: timed(contender.imports)


def first(contender: Contender) -> Iterator[Step]:
    folder = tempfile.mkdtemp(prefix="f-")
    yield lambda: timed(f"{contender.imports}\n{contender.first}".format(folder=folder), contender.last)
    shutil.rmtree(folder, ignore_errors=True)


def rest_ray(s: RaySession) -> None:
    task = s.ray.remote(nap)
    s.ray.get([task.remote(0.2) for _ in range(s.workers)])


def rest_pool(s: PoolSession) -> None:
    s.gather([s.submit(nap, 0.2) for _ in range(s.workers)])


def memory(s: Session) -> Step:
    """Megabytes of all processes but the driver, when all workers have worked and rest."""

    def step() -> float:
        time.sleep(1.0)
        return processes.memory(processes.ours()) / 1e6

    return step


def idle_cpu(s: Session) -> Step:
    """CPU time of all processes, the driver included, in percent of one CPU."""

    def step() -> float:
        time.sleep(0.5)
        cpu = processes.CpuMeter()
        time.sleep(IDLE_SECONDS)
        return max(cpu() / IDLE_SECONDS * 100, 0.001)

    return step


def memory_ray(s: RaySession) -> Iterator[Step]:
    rest_ray(s)
    yield memory(s)


def memory_pool(s: PoolSession) -> Iterator[Step]:
    rest_pool(s)
    yield memory(s)


def cpu_ray(s: RaySession) -> Iterator[Step]:
    rest_ray(s)
    yield idle_cpu(s)


def cpu_pool(s: PoolSession) -> Iterator[Step]:
    rest_pool(s)
    yield idle_cpu(s)


ROWS = (
    Row("import", "import", {"bare": imports}, unit="s", better="lower", goal=0.06, once=True),
    Row("first", "import to first result", {"bare": first}, unit="s", better="lower", goal=0.15,
        limit=Limit("python_start"), once=True),
    Row("idle_memory", "memory with idle workers (PSS)", {"ray": memory_ray, "pool": memory_pool}, unit="MB",
        better="lower", goal=60, once=True),
    Row("idle_cpu", "CPU when idle, of one", {"ray": cpu_ray, "pool": cpu_pool}, unit="%", better="lower",
        once=True),
)  # fmt: skip
