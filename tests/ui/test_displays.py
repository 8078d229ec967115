"""What tasks display, in JupyterLab: pictures in the cell that asked, which move."""

from __future__ import annotations

from tests.ui.lab_page import LabPage

SETUP = """%load_ext jupyter_ray
import jupyter_ray as ray
import numpy as np
session = ray.init(num_cpus=2)"""
TRAIN = """@ray.remote
def train(name):
    import matplotlib.pyplot as plt
    from IPython.display import HTML, clear_output
    print("begins")
    losses = []
    for epoch in range(1, 13):
        losses.append(np.exp(-epoch / 8) + np.random.default_rng(epoch).normal(0, 0.02))
        clear_output(wait=True)
        plt.figure(figsize=(4, 2))
        plt.plot(losses)
        plt.title(f"{name}, epoch {epoch}")
        plt.show()
    display(HTML(f"<b>{name}</b> has <i>converged</i>"))
    print("ends")

ray.get([train.remote("red"), train.remote("blue")])"""


def _pictures(ui: LabPage, cell: int) -> int:
    return ui.cell(cell).locator(".jp-OutputArea-output img").count()


def test_pictures_of_tasks(ui: LabPage) -> None:
    ui.open_notebook("displays.ipynb", SETUP, TRAIN)
    ui.run_cell(0)
    ui.run_cell(1)
    ui.wait_until(lambda: ui.cell_text(1).count("ends") == 2, 60, "both tasks to have printed their last line")
    ui.wait_until(lambda: ui.cell(1).locator("i", has_text="converged").count() == 2, 60, "HTML of both tasks")
    ui.wait_until(lambda: _pictures(ui, 1) == 2, 30, "one picture of each task")
    ui.screenshot("displays")
