"""What tasks display, in JupyterLab: pictures in the cell that asked, which move."""

from __future__ import annotations

import functools

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
BUTTON = """import ipywidgets

@ray.remote
def answer(number):
    from IPython.display import HTML
    print("asked", number)
    display(HTML(f"<i>answered {number}</i>"))

out = ipywidgets.Output()
button = ipywidgets.Button(description="Ask")
numbers = iter(range(1, 9))

def ask(_):
    with out:
        ray.get(answer.remote(next(numbers)))

button.on_click(ask)
ipywidgets.VBox([button, out])"""


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


def test_a_button_whose_tasks_answer_in_an_output_widget(ui: LabPage) -> None:
    ui.open_notebook("button.ipynb", SETUP, BUTTON)
    ui.run_cell(0)
    ui.run_cell(1)
    shown = ui.cell(1).locator(".jupyter-widgets.widget-output, .widget-output").first

    def has_answered(number: int) -> bool:
        return f"asked {number}" in shown.inner_text() and shown.locator("i").count() == number

    for number in (1, 2, 3):
        ui.cell(1).get_by_role("button", name="Ask").click()
        ui.wait_until(functools.partial(has_answered, number), 30, "what the task printed, and what it displayed")
