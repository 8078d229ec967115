"""The panel is live while the kernel is busy: in a sleep, and in pure Python that never lets go of it."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from tests.ui.lab_page import LabPage
from tests.ui.panel_view import BUSY_LOOP, PROBE, SLEEP, WATCH, Gates, end_sleep, wait_states

SECONDS = 10.0
"""No change may take longer to reach the panel, on however busy a machine."""

PROBES = 12


@pytest.mark.parametrize(("kind", "wait"), [("sleep", SLEEP), ("busy loop", BUSY_LOOP)])
def test_the_panel_is_live_while_a_cell_runs(reader: LabPage, tmp_path: Path, kind: str, wait: str) -> None:
    ui, gates = reader, Gates(tmp_path)
    source = "@ray.remote\ndef step(n):\n    gate(f'step-{n}')\n\nrefs = [step.remote(n) for n in range(3)]"
    times = "import json; print(json.dumps(ray.get(refs)))"
    ui.open_notebook("live.ipynb", gates.setup(), source + wait, PROBE % (0, PROBES) + wait, times)
    ui.show_panel()
    ui.run_cell(0)

    ui.start_cell(1)
    wait_states(ui, "step", {"running": 2, "pending": 1})
    gates.open("step-0")
    wait_states(ui, "step", {"finished": 1, "running": 2})
    for n in (1, 2):
        gates.open(f"step-{n}")
    wait_states(ui, "step", {"finished": 3})
    end_sleep(ui, 1)

    # One after the other, so that each change is a message of its own.
    ui.page.evaluate(WATCH)
    ui.start_cell(2)
    for n in range(PROBES):
        wait_states(ui, f"probe-{n}", {"running": 1})
        gates.open(f"probe-{n}")
        wait_states(ui, f"probe-{n}", {"finished": 1})
    end_sleep(ui, 2)
    seen = ui.page.evaluate("() => window.seen")
    delays = []
    for n, (started, ended) in enumerate(json.loads(ui.run_cell(3))):
        delays += [seen[f"probe-{n} running"] - started, seen[f"probe-{n} finished"] - ended]
    middle, worst = statistics.median(delays), max(delays)
    print(f"from a task to the panel, {kind}: median {middle * 1000:.0f} ms, worst {worst * 1000:.0f} ms")
    assert worst < SECONDS
