"""Pictures of a rich session, to be looked at: the README's two, and the panel as narrow as a side bar gets."""

from __future__ import annotations

from tests.ui.lab_page import LabPage
from tests.ui.panel_view import Picture, look, wait, wait_states

SETUP = """%load_ext jupyter_ray
import time
import jupyter_ray as ray

session = ray.init(num_cpus=4, num_gpus=1)"""
ACTOR = """@ray.remote
class Scoreboard:
    def __init__(self):
        self.scores = {}

    def report(self, trial, score):
        self.scores[trial] = score"""
TASKS = """@ray.remote
def load(part):
    return list(range(part, part + 100))

@ray.remote
def train(trial, data, board):
    for step in range(600):
        time.sleep(0.1)  # stands for real work
        board.report.remote(trial, step * sum(data))
    return trial

@ray.remote(num_gpus=1)
def search(trials, board):
    parts = [load.remote(n) for n in range(trials)]
    return ray.get([train.remote(n, part, board) for n, part in enumerate(parts)])"""
REMOTE = """%%remote --name baseline
# A cell can be a task too: the notebook stays free.
time.sleep(60)"""
RUN = """board = Scoreboard.options(name="scoreboard").remote()
best = search.remote(5, board)"""


def _rich_session(ui: LabPage) -> None:
    """Leave a notebook in the middle of its work: tasks nest, wait, hold and lend, and many calls are one group."""
    ui.open_notebook("search.ipynb", SETUP, ACTOR, TASKS, REMOTE, RUN)
    ui.show_panel()
    for index in range(4):
        ui.run_cell(index)
    wait_states(ui, "baseline", {"running": 1})
    ui.run_cell(4)

    def at_work(picture: Picture) -> None:
        assert picture.states("train") == {"running": 3, "pending": 2}
        assert picture.states("search") == {"blocked": 1}
        assert picture.actors[0].state == "alive"
        assert [group["name"] for group in picture.groups] == ["Scoreboard.report"]

    wait(ui, at_work)


def _set_panel_width(ui: LabPage, width: float) -> None:
    """Drag the handle of the right side bar until the panel is this wide."""
    box = ui.panel.bounding_box()
    assert box is not None
    ui.page.mouse.move(box["x"] - 2, 500)
    ui.page.mouse.down()
    ui.page.mouse.move(box["x"] - 2 - (width - box["width"]), 500, steps=5)
    ui.page.mouse.up()
    ui.wait_until(lambda: abs(_width(ui) - width) < 20, 10, f"the panel to be {width:.0f} pixels wide")


def _width(ui: LabPage) -> float:
    box = ui.panel.bounding_box()
    assert box is not None
    return box["width"]


def _close_left(ui: LabPage) -> None:
    """Close the file browser, for a picture of notebook and panel."""
    ui.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")


def test_a_rich_session(ui: LabPage) -> None:
    ui.page.set_viewport_size({"width": 1280, "height": 880})
    _close_left(ui)
    _rich_session(ui)
    narrow = _width(ui)
    for theme in ("light", "dark"):
        ui.set_theme(f"JupyterLab {theme.capitalize()}")
        _set_panel_width(ui, narrow)
        assert ui.accessibility_violations() == []
        ui.screenshot(f"narrow-{theme}", of=ui.panel)
        _set_panel_width(ui, 380)
        assert look(ui).states("search") == {"blocked": 1}
        ui.documentation_image(f"panel-{theme}")
