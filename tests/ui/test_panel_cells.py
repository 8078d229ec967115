"""Cells that work with tasks while the kernel is busy: cancelled, submitted as a task, printing late, interrupted."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.ui.lab_page import LabPage
from tests.ui.panel_view import SLEEP, Gates, end_sleep, wait_runtime, wait_states


def test_cancel_from_the_panel(ui: LabPage, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    forever = """
@ray.remote
def forever():
    time.sleep(600)

@ray.remote
def asks():
    return ray.get(forever.remote())

ray.get(asks.remote())
"""
    ui.open_notebook("cancel.ipynb", gates.setup(), forever, "'alive'")
    ui.show_panel()
    ui.run_cell(0)
    ui.start_cell(1)
    wait_states(ui, "forever", {"running": 1})
    # Its kernel is busy; the one that it called goes with it.
    ui.panel.locator("[data-task-name='asks']").click()
    details = ui.page.get_by_test_id("jr-details")
    expect(details).to_have_attribute("data-state", "blocked")
    ui.page.get_by_test_id("jr-cancel").click()
    ui.wait_cell(1)
    assert "TaskCancelledError" in ui.cell_text(1)
    wait_states(ui, "asks", {"cancelled": 1})
    wait_states(ui, "forever", {"cancelled": 1})
    expect(details).to_have_attribute("data-state", "cancelled")
    expect(ui.page.get_by_test_id("jr-cancel")).to_have_count(0)
    assert ui.run_cell(2) == "'alive'"


def test_a_remote_cell_becomes_its_result_while_another_cell_runs(ui: LabPage, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    remote = '%%remote --name job -o job\ngate("job")\n6 * 7'
    ui.open_notebook("remote.ipynb", gates.setup(), remote, SLEEP, "ray.get(job)")
    ui.show_panel()
    ui.run_cell(0)
    ui.run_cell(1)
    ui.start_cell(2)
    wait_states(ui, "job", {"running": 1})
    ui.wait_until(lambda: "running" in ui.cell_text(1), 20, "the live line to say that it runs")
    assert "42" not in ui.cell_text(1)
    gates.open("job")
    ui.wait_until(lambda: ui.cell_text(1).strip() == "42", 20, "the result to take the place of the live line")
    wait_states(ui, "job", {"finished": 1})
    end_sleep(ui, 2)
    assert ui.run_cell(3) == "42"


def test_what_a_task_prints_lands_in_the_cell_that_submitted_it(ui: LabPage, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    early = """
@ray.remote
def inner():
    gate("early")
    print("from a nested task")

@ray.remote
def early():
    gate("early")
    print("from the first cell")
    ray.get(inner.remote())

ref = early.remote()
"""
    ui.open_notebook("output.ipynb", gates.setup(), early, SLEEP)
    ui.show_panel()
    ui.run_cell(0)
    assert ui.run_cell(1) == ""
    ui.start_cell(2)
    wait_states(ui, "early", {"running": 1})
    gates.open("early")
    ui.wait_until(lambda: "from a nested task" in ui.cell_text(1), 20, "the output of the nested task")
    assert "from the first cell" in ui.cell_text(1)
    end_sleep(ui, 2)
    assert ui.cell_text(2) == "asleep\nwoken\n"


def test_an_interrupt_during_get_leaves_the_tasks_alive(ui: LabPage, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    waits = "@ray.remote\ndef slow():\n    gate('slow')\n    return 'at last'\n\nref = slow.remote()\nray.get(ref)"
    ui.open_notebook("interrupt.ipynb", gates.setup(), waits, "ray.wait([ref], timeout=0)", "ray.get(ref)")
    ui.show_panel()
    ui.run_cell(0)
    ui.start_cell(1)
    wait_states(ui, "slow", {"running": 1})
    ui.interrupt_kernel()
    ui.wait_cell(1)
    assert "KeyboardInterrupt" in ui.cell_text(1)
    assert ui.run_cell(2).startswith("([], [")
    wait_states(ui, "slow", {"running": 1})
    wait_runtime(ui, "ready")
    gates.open("slow")
    assert ui.run_cell(3) == "'at last'"
    wait_states(ui, "slow", {"finished": 1})
