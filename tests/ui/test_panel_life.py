"""The panel goes along: with a restart, a reload in the middle of a cell, a switch of notebooks, a late extension."""

from __future__ import annotations

from pathlib import Path

from tests.ui.lab_page import LabPage
from tests.ui.panel_view import SLEEP, Gates, Picture, end_sleep, look, wait, wait_runtime, wait_states

TASKS = """
@ray.remote
def step(n):
    gate(f"step-{n}")

refs = [step.remote(n) for n in range(2)]
"""


def test_a_panel_that_was_open_before_and_a_restart(ui: LabPage) -> None:
    first = "import jupyter_ray as ray\n@ray.remote\ndef once():\n    return 1\n\nray.get(once.remote())"
    ui.open_notebook("early.ipynb", "%load_ext jupyter_ray", first)
    ui.show_panel()
    before = wait_runtime(ui, "absent")
    assert "%load_ext jupyter_ray" in ui.panel.inner_text()
    assert before.title == "Not running"
    ui.run_cell(0)
    wait_runtime(ui, "warm")
    ui.run_cell(1)
    lived = wait_states(ui, "once", {"finished": 1})
    assert lived.state == "ready"

    ui.restart_kernel()
    wait_runtime(ui, "absent")
    assert "%load_ext jupyter_ray" in ui.panel.inner_text()
    assert look(ui).tasks == []
    ui.run_cell(0)
    ui.run_cell(1)
    again = wait_states(ui, "once", {"finished": 1})
    assert (again.state, again.kernel) == ("ready", lived.kernel)
    assert again.epoch != lived.epoch


def test_a_reload_in_the_middle_of_a_cell(ui: LabPage, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    ui.open_notebook("reload.ipynb", gates.setup(), TASKS + SLEEP, "ray.get(refs)")
    ui.show_panel()
    ui.run_cell(0)
    ui.start_cell(1)
    wait_states(ui, "step", {"running": 2})
    ui.reload()
    ui.show_panel()
    wait_states(ui, "step", {"running": 2})
    gates.open("step-0")
    wait_states(ui, "step", {"finished": 1, "running": 1})
    [kernel] = ui.server.listing("kernels")
    assert kernel["execution_state"] == "busy"
    gates.open("step-1")
    wait_states(ui, "step", {"finished": 2})
    ui.interrupt_kernel()
    ui.wait_kernel("idle")
    assert ui.run_cell(2) == "[None, None]"


def test_two_notebooks_with_a_runtime_each(ui: LabPage, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    one = "@ray.remote\ndef one():\n    gate('one')\n\nref = one.remote()"
    two = "@ray.remote\ndef two():\n    gate('two')\n\nray.get(two.remote())"
    ui.open_notebook("one.ipynb", gates.setup("num_cpus=1"), one + SLEEP)
    ui.show_panel()
    ui.run_cell(0)
    ui.start_cell(1)
    first = wait_states(ui, "one", {"running": 1})

    ui.open_notebook("two.ipynb", gates.setup("num_cpus=2"), two)
    wait_runtime(ui, "absent")
    ui.run_cell(0)
    ui.start_cell(1)
    second = wait_states(ui, "two", {"running": 1})
    assert (first.kernel != second.kernel, first.resources["CPU"].total, second.resources["CPU"].total) == (True, 1, 2)
    assert second.named("one") == []

    # What happens in a notebook that is not in front is there as soon as it is, and only it.
    gates.open("one")
    ui.activate("one.ipynb")
    back = wait_states(ui, "one", {"finished": 1})
    assert (back.kernel, back.epoch, back.named("two")) == (first.kernel, first.epoch, [])
    end_sleep(ui, 1)
    gates.open("two")
    ui.activate("two.ipynb")
    ui.wait_cell(1)
    wait_states(ui, "two", {"finished": 1})

    # The kernel of the one in front goes; the other's stays.
    ui.shut_down_kernel()
    wait(ui, _shows_nothing)
    ui.activate("one.ipynb")
    wait_states(ui, "one", {"finished": 1})


def _shows_nothing(picture: Picture) -> bool:
    return picture.tasks == [] and picture.state == "absent"
