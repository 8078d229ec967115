"""The panel of a cluster: each node's resources under its name, and the node of a task. The kernel is told a story."""

from __future__ import annotations

from tests.ui.lab_page import LabPage
from tests.ui.panel_view import look

STORY = """%load_ext jupyter_ray
import time
from jupyter_ray import events as ev

hub = get_ipython()._jupyter_ray_extension.notebook().hub
now = time.time()
nodes = [
    ev.Node(id="aa", name="desk (head)", resources={"CPU": 4.0}),
    ev.Node(id="bb", name="rack-1", resources={"CPU": 8.0, "GPU": 2.0}),
    ev.Node(id="cc", name="rack-2", resources={"CPU": 8.0}),
][:NODES]
total = {"CPU": 20.0, "GPU": 2.0}
hub.feed([ev.RuntimeReady(at=now, pid=0, engine="ray", resources=total, gpus=[], nodes=nodes)])

def run(name, node, **held):
    call = {"kind": "task", "parent": None, "dependencies": [], "returns": [], "demand": held}
    hub.feed([
        ev.WorkerStarted(worker=f"worker of {name}", pid=4711, node=node, at=now),
        ev.TaskSubmitted(at=now, task=name, name=name, **call),
        ev.TaskStarted(at=now, task=name, worker=f"worker of {name}", held=held),
    ])

run("load", "aa", CPU=1.0)
run("train", "bb", CPU=4.0, GPU=1.0)"""
_MACHINES = """() => [...document.querySelectorAll('[data-testid="jr-machine"]')].map(node => node.dataset.name)"""


def _tell(ui: LabPage, nodes: int) -> None:
    ui.open_notebook("nodes.ipynb", STORY.replace("NODES", str(nodes)))
    ui.show_panel()
    ui.run_cell(0)
    ui.wait_until(lambda: {"load", "train"} <= {task.name for task in look(ui).tasks}, 20, "the story's tasks")


def test_each_node_has_its_resources_and_tasks_their_node(ui: LabPage) -> None:
    _tell(ui, 3)
    assert ui.page.evaluate(_MACHINES) == ["desk (head)", "rack-1", "rack-2"]
    found = look(ui).resources
    assert {key: row.used for key, row in found.items()} == {"aa/CPU": 1, "bb/CPU": 4, "bb/GPU": 1, "cc/CPU": 0}
    ui.page.locator('[data-testid="jr-task"][data-task-name="train"]').click()
    node = ui.page.locator('[data-testid="jr-details-node"]')
    node.wait_for()
    assert "rack-1" in node.inner_text()
    for theme in ("Light", "Dark"):
        ui.set_theme(f"JupyterLab {theme}")
        assert ui.accessibility_violations() == []
        ui.screenshot(f"nodes-{theme.lower()}", of=ui.panel)


def test_one_node_is_not_named(ui: LabPage) -> None:
    _tell(ui, 1)
    assert ui.page.evaluate(_MACHINES) == []
    assert set(look(ui).resources) == {"CPU", "GPU"}
    ui.page.locator('[data-testid="jr-task"][data-task-name="load"]').click()
    ui.page.locator('[data-testid="jr-details-id"]').wait_for()
    assert ui.page.locator('[data-testid="jr-details-node"]').count() == 0
