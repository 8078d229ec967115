"""The tutorials as a reader runs them: one after the other in JupyterLab with the panel beside them, and looked at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.ui.lab_page import LabPage
from tests.ui.panel_view import look

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
"""From 08 on they need a cluster: `make test-nb-cluster`."""

# All that the panel has shown: the tutorials end with `%ray stop`, and some of their tasks are over in milliseconds.
WATCH = """() => {
    window.shown = {names: {}, runtime: {}, actors: {}, lent: 0};
    const note = () => {
        const panel = document.querySelector('.jr-Panel');
        const each = (id, see) => panel.querySelectorAll(`[data-testid="${id}"]`).forEach(node => see(node.dataset));
        each('jr-task', data => { window.shown.names[data.taskName] = true; });
        each('jr-group', data => { window.shown.names[data.name] = true; });
        each('jr-actor', data => { window.shown.actors[data.class] = true; });
        each('jr-lent', () => { window.shown.lent += 1; });
        each('jr-runtime-state', data => { window.shown.runtime[data.state] = true; });
    };
    window.observer?.disconnect();
    window.observer = new MutationObserver(note);
    window.observer.observe(document.querySelector('.jr-Panel'), {subtree: true, childList: true, attributes: true});
    note();
}"""

TASKS = {
    "01-nested-tasks": {"square", "f", "g", "h", "area", "add", "hits", "greet", "divide"},
    "02-resources": {"train", "infer", "solve", "f", "g", "depth", "merge_sort", "inner", "outer", "patient"},
    "03-actor-handles": {"Counter.inc", "add_ten", "f", "worker", "ParameterServer.push"},
}
ACTORS = {"03-actor-handles": {"Counter", "Clicker", "ParameterServer"}}


@pytest.mark.parametrize("name", [path.stem for path in sorted(NOTEBOOKS.glob("0[1-7]*.ipynb"))])
def test_a_tutorial_run_by_hand(reader: LabPage, name: str) -> None:
    ui, source = reader, NOTEBOOKS / f"{name}.ipynb"
    shutil.copy(source, ui.server.root)
    ui.page.set_viewport_size({"width": 1400, "height": 3000})  # the graph draws what is in sight: that should be all
    ui.open_notebook(source.name)
    ui.show_panel()
    ui.page.evaluate(WATCH)
    ui.run_all()

    cells = json.loads(source.read_text(encoding="utf-8"))["cells"]
    for index, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            ui.wait_cell(index)  # The command of `run_all` may end before the last cells do.
            failed = [output for output in ui.cell_outputs(index) if output["output_type"] == "error"]
            meant = "raises-exception" in cell["metadata"].get("tags", [])
            assert bool(failed) == meant, f"cell {index} ended with {ui.cell_text(index)}"
    ui.wait_until(lambda: look(ui).state == "stopped", 20, "the panel to say that the runtime has ended")
    shown = ui.page.evaluate("() => window.shown")
    assert shown["names"], "the panel never showed a task"
    assert TASKS.get(name, set()) <= set(shown["names"]), sorted(shown["names"])
    assert ACTORS.get(name, set()) <= set(shown["actors"])
    assert {"absent", "ready", "stopped"} <= set(shown["runtime"])
    assert name != "02-resources" or shown["lent"], "the panel never showed that a task lent its CPU"
    ui.screenshot(f"tutorial-{name}")
