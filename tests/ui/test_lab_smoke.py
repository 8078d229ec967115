"""The whole chain stands: JupyterLab loads our extension, the panel opens, cells run."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from jupyter_ray.server_extension import UNTRACKED
from tests.ui.lab_page import LabPage


def test_lab_loads_with_the_panel_which_is_accessible_when_empty(ui: LabPage) -> None:
    panel = ui.show_panel()
    expect(panel).to_be_visible()
    expect(ui.page.get_by_test_id("jr-runtime-state")).to_be_visible()
    for theme in ("Light", "Dark"):
        ui.set_theme(f"JupyterLab {theme}")
        assert ui.accessibility_violations() == []
        ui.screenshot(f"smoke-{theme.lower()}", of=panel)


def test_a_notebook_runs_and_its_outputs_can_be_read(ui: LabPage) -> None:
    ui.open_notebook("smoke.ipynb", "print('hello')\n6 * 7", "1 / 0")
    assert ui.run_cell(0) == "hello\n\n42"
    assert "ZeroDivisionError" in ui.run_cell(1)
    added = ui.add_cell("'again'")
    assert ui.run_cell(added) == "'again'"


def test_two_pages_see_one_server(ui: LabPage, open_lab: Callable[[], LabPage]) -> None:
    other = open_lab()
    ui.open_notebook("one.ipynb", "value = 'one'", "value")
    ui.run_cell(0)
    other.open_notebook("two.ipynb", "value = 'two'", "value")
    other.run_cell(0)
    assert (ui.run_cell(1), other.run_cell(1)) == ("'one'", "'two'")
    assert len(ui.server.listing("kernels")) == 2


def test_a_running_cell_survives_a_reload(ui: LabPage) -> None:
    ui.open_notebook("reload.ipynb", "import time\nprint('begun')\ntime.sleep(3)\nvalue = 1", "value + 1")
    ui.start_cell(0)
    ui.wait_text(0, "begun")
    ui.reload()
    ui.wait_kernel("idle")
    assert ui.run_cell(1) == "2"


def test_the_server_extension_keeps_comm_messages_out_of_the_kernel_state(ui: LabPage) -> None:
    ui.open_notebook("busy.ipynb", "import time\nprint('begun')\ntime.sleep(4)")
    kernel = ui.server.listing("kernels")[0]["id"]
    ui.start_cell(0)
    ui.wait_text(0, "begun")
    # A request over a subshell while the cell runs, as the panel makes them.
    ui.page.evaluate(
        """async path => {
            const panel = [...window.jupyterapp.shell.widgets('main')].find(w => w.context?.path === path);
            const kernel = panel.sessionContext.session.kernel;
            const comm = kernel.createComm('nobody');
            await Promise.race([comm.subshellStarted, new Promise(done => setTimeout(done, 2000))]);
            await comm.open({}).done;
            return null;
        }""",
        ui.path,
    )
    assert ui.server.request("GET", f"kernels/{kernel}")["execution_state"] == "busy", f"not untracked: {UNTRACKED}"
    assert ui.kernel_status() == "busy"
    ui.wait_cell(0)


def test_interrupt_restart_and_a_change_of_notebook(ui: LabPage) -> None:
    ui.open_notebook(
        "first.ipynb", "import time\nprint('begun')\nwhile True: time.sleep(0.01)", "'alive'", "import time"
    )
    ui.start_cell(0)
    ui.wait_text(0, "begun")
    ui.interrupt_kernel()
    ui.wait_cell(0)
    assert "KeyboardInterrupt" in ui.cell_text(0)
    assert ui.run_cell(1) == "'alive'"
    ui.restart_kernel()
    ui.open_notebook("second.ipynb", "'second'")
    assert ui.run_cell(0) == "'second'"
    ui.activate("first.ipynb")
    ui.run_cell(2)
    assert ui.execution_count(2) == 1
