"""What a person at a notebook feels: how soon a cell returns, an interrupt works, a change is seen, and what is left.

    python -m benchmarks.notebook [--probes N]

Real kernels, and for the panel a real JupyterLab in Chromium without a graphics card. It writes
``benchmarks/NOTEBOOK.md``. The goals are those that `docs/performance.md` names.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.cli import HERE, facts, tell
from tests.ipython.kernels import Kernel
from tests.leaks import Watch
from tests.ui.lab_page import LabPage
from tests.ui.panel_view import BUSY_LOOP, PROBE, WATCH, Gates, end_sleep, wait_states

INTERRUPTED = {
    "get": "ray.get(held)",
    "get of many": "ray.get([held, *many])",
    "wait": "ray.wait([held])",
    "get of an actor's call": "ray.get(actor.hold.remote())",
}
"""What a cell waits in when it is interrupted, by turns."""

HELD = """%load_ext jupyter_ray
import time
import jupyter_ray as ray
session = ray.init(num_cpus=2)

@ray.remote
def hold():
    time.sleep(600)

@ray.remote
class Actor:
    def hold(self):
        time.sleep(600)

held, actor = hold.remote(), Actor.options(num_cpus=0).remote()
many = [hold.remote() for _ in range(100)]
ray.get(ray.put(1))
"""

AT_ONCE = 10
"""So many probes are made at once: the panel draws what is in view."""
COUNT_FRAMES = """() => {
    window.frames_seen = [];
    const note = now => { window.frames_seen.push(now); requestAnimationFrame(note); };
    requestAnimationFrame(note);
}"""
FRAMES = "() => window.frames_seen.splice(0)"
MANY = 10_000
CHANGES = f"""
@ray.remote
def change():
    time.sleep(0.0005)

refs = [change.remote() for _ in range({MANY})]
began = time.time()
values = ray.get(refs)
print(time.time() - began)
"""


@dataclass
class Row:
    """One figure: what it is of, the values measured, and what it ought to be."""

    name: str
    unit: str
    goal: float
    values: list[float] = field(default_factory=list)
    worst: Callable[[list[float]], float] = max
    """What is compared with the goal."""
    how: str = "the largest"
    more_is_better: bool = False

    def line(self) -> str:
        """Return the row of a table in Markdown."""
        if not self.values:
            return f"| {self.name} | – | – | {self.goal:g} {self.unit} | not measured |"
        told, middle = self.worst(self.values), statistics.median(self.values)
        met = told >= self.goal if self.more_is_better else told <= self.goal
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"| {self.name} | {middle:.3g}{unit} | {told:.3g}{unit} ({self.how} of {len(self.values)}) | "
            f"{self.goal:g}{unit} | {'✓' if met else '✗'} |"
        )


def percentile(values: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


@contextlib.contextmanager
def kernel_running() -> Iterator[Kernel]:
    """Provide a kernel, and end it with all that it started."""
    kernel = Kernel()
    try:
        yield kernel
    finally:
        kernel.close()


def load_ext(row: Row, times: int) -> None:
    """How long ``%load_ext`` keeps the first cell of a notebook from returning, by the kernel's own clock."""
    for _ in range(times):
        with kernel_running() as kernel:
            cell = kernel.start(
                "import time\nbegan = time.perf_counter()\nget_ipython().run_line_magic('load_ext', 'jupyter_ray')\n"
                "print(time.perf_counter() - began)"
            ).ok()
            row.values.append(float(cell.stdout) * 1000)


def interrupts(row: Row, times: int) -> None:
    """From the interrupt of a cell that waits until the kernel is idle."""
    with kernel_running() as kernel:
        kernel.start(HELD).ok()
        for number in range(times):
            code = list(INTERRUPTED.values())[number % len(INTERRUPTED)]
            cell = kernel.start(f"print('waits', flush=True)\n{code}")
            kernel.until(lambda cell=cell: "waits" in cell.stdout, 60)  # type: ignore[misc]
            time.sleep(0.02)  # The line after it is what is to be interrupted.
            began = time.monotonic()
            kernel.interrupt()
            cell.wait()
            assert cell.idle_at is not None
            assert "KeyboardInterrupt" in cell.error, cell.error
            row.values.append((cell.idle_at - began) * 1000)


def after_a_kill(left: Row, ports: Row, times: int) -> None:
    """What is there three seconds after a kernel with busy tasks was killed; and the ports that it had opened."""
    watch = Watch()
    for _ in range(times):
        kernel = Kernel()
        before = _ports(kernel.pid)
        kernel.start(HELD).ok()
        ports.values.append(float(len(_ports(kernel.pid) - before)))
        os.kill(kernel.pid, signal.SIGKILL)
        time.sleep(3.0)
        runtimes = [line for line in watch.processes().values() if "jupyter_ray" in line or "ray::" in line]
        left.values.append(float(len(runtimes) + len(watch.folders())))
        kernel.close()


def _ports(root: int) -> set[tuple[str, int]]:
    """Return the TCP ports that a process and its descendants listen on."""
    found: set[tuple[str, int]] = set()
    for each in (psutil.Process(root), *psutil.Process(root).children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            listening = [one for one in each.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
            found |= {(one.laddr.ip, one.laddr.port) for one in listening}
    return found


@contextlib.contextmanager
def lab_page() -> Iterator[LabPage]:
    """Provide JupyterLab in a page of Chromium."""
    from playwright.sync_api import sync_playwright

    from tests.ui import chromium
    from tests.ui.conftest import FLAGS, VIEWPORT
    from tests.ui.server import JupyterServer

    with tempfile.TemporaryDirectory(prefix="jr-lab-") as folder, sync_playwright() as playwright:
        server = JupyterServer(Path(folder))
        server.start()
        try:
            browser = playwright.chromium.launch(executable_path=chromium.find(), headless=True, args=FLAGS)
            lab = LabPage(browser.new_context(viewport=VIEWPORT).new_page(), server)
            lab.open()
            yield lab
            server.shut_down_kernels()
            browser.close()
        finally:
            server.stop()


def event_to_pixel(row: Row, lab: LabPage, probes: int) -> None:
    """From a task's beginning, and its end, to their being drawn, while the kernel is in a loop of pure Python."""
    with tempfile.TemporaryDirectory(prefix="jr-gates-") as folder:
        gates = Gates(Path(folder))
        firsts = range(0, probes, AT_ONCE)
        cells = [PROBE % (first, first + AT_ONCE) + BUSY_LOOP for first in firsts]
        times = "import json; print(json.dumps(ray.get(refs)))"
        lab.open_notebook("latency.ipynb", gates.setup(), *(each for cell in cells for each in (cell, times)))
        lab.show_panel()
        lab.run_cell(0)
        lab.page.evaluate(WATCH)
        for number, first in enumerate(firsts):
            lab.start_cell(1 + 2 * number)
            for n in range(first, first + AT_ONCE):
                wait_states(lab, f"probe-{n}", {"running": 1})
                gates.open(f"probe-{n}")
                wait_states(lab, f"probe-{n}", {"finished": 1})
            end_sleep(lab, 1 + 2 * number)
            seen = lab.page.evaluate("() => window.seen")
            told = json.loads(lab.run_cell(2 + 2 * number))
            for n, (started, ended) in enumerate(told, first):
                row.values.append((seen[f"probe-{n} running"] - started) * 1000)
                row.values.append((seen[f"probe-{n} finished"] - ended) * 1000)
    lab.server.shut_down_kernels()


def frames(rate: Row, pause: Row, lab: LabPage, times: int) -> None:
    """Frames a second, and the longest pause between two, while ten thousand tasks in view change."""
    lab.open_notebook("frames.ipynb", "%load_ext jupyter_ray\nimport time\nimport jupyter_ray as ray", CHANGES)
    lab.show_panel()
    lab.run_cell(0)
    lab.page.evaluate(COUNT_FRAMES)
    for _ in range(times):
        lab.start_cell(1)
        lab.page.evaluate(FRAMES)
        lab.wait_cell(1, 120)
        at = lab.page.evaluate(FRAMES)
        rate.values.append((len(at) - 1) / (at[-1] - at[0]) * 1000)
        pause.values.append(max(after - before for before, after in itertools.pairwise(at)))
    lab.server.shut_down_kernels()


def main() -> None:
    """Measure all, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.notebook", description=__doc__)
    parser.add_argument("--probes", type=int, default=50, help="of how many tasks it is looked for when they are drawn")
    options = parser.parse_args()
    rows = {
        "load": Row("`%load_ext` returns in", "ms", 100),
        "interrupt": Row("an interrupt ends a wait in", "ms", 100),
        "left": Row("processes and folders 3 s after the kernel was killed", "", 0),
        "ports": Row("TCP ports opened", "", 0),
        "pixel": Row("event to pixel, kernel in a busy loop", "ms", 250, worst=percentile, how="95th percentile"),
        "frames": Row(
            f"frames a second while {MANY:,} tasks change", "", 55, worst=min, how="the least", more_is_better=True
        ),
        "pause": Row("the longest pause between two of these frames", "ms", 250),
    }
    began, load = time.monotonic(), os.getloadavg()[0]
    steps: list[Callable[[], None]] = [
        lambda: load_ext(rows["load"], 10),
        lambda: interrupts(rows["interrupt"], 100),
        lambda: after_a_kill(rows["left"], rows["ports"], 3),
    ]
    for step in steps:
        step()
        tell(f"{time.monotonic() - began:.0f} s")
    with lab_page() as lab:
        event_to_pixel(rows["pixel"], lab, options.probes)
        tell(f"{time.monotonic() - began:.0f} s")
        frames(rows["frames"], rows["pause"], lab, 5)
    lines = [
        "# What a person at a notebook feels",
        "",
        "Written by `make bench-notebook`; [docs/performance.md](../docs/performance.md) says how it is measured.",
        "",
        *(f"- {name}: {value}" for name, value in facts().items()),
        f"- load: {load:.1f} before, {os.getloadavg()[0]:.1f} at the end; {time.monotonic() - began:.0f} s in all",
        "",
        "| | median | compared with the goal | goal | |",
        "|---|---:|---:|---:|---|",
        *(row.line() for row in rows.values()),
        "",
    ]
    (HERE / "NOTEBOOK.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
