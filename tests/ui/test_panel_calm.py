"""What a user looks at stays in sight, where the graph changes from tasks to groups and where the panel is narrow."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.ui.lab_page import LabPage
from tests.ui.panel_view import Gates, Picture, wait

STEPS = """
@ray.remote
def step(n):
    gate("never")

@ray.remote
def last():
    return 0

steps = [step.remote(n) for n in range(59)]
"""
IN_SIGHT = """element => {
    const place = element.getBoundingClientRect();
    const box = element.closest('.jr-Graph').getBoundingClientRect();
    return place.height > 0 && place.top >= box.top - 1 && place.bottom <= box.bottom + 1;
}"""


# A while after the cell, so that a test can look elsewhere than at the notebook meanwhile.
LAST = """
import threading

def call():
    gate("more")
    two.extend([last.remote(), last.remote()])

two = []
threading.Thread(target=call).start()
"""


def _fifty_nine(ui: LabPage, gates: Gates) -> None:
    """Leave so many tasks in the graph, each drawn by itself, and two more to come."""
    ui.open_notebook("calm.ipynb", gates.setup(), STEPS, LAST)
    ui.show_panel()
    ui.run_cell(0)
    ui.run_cell(1)
    ui.run_cell(2)
    _wait_count(ui, "2 running of 59")
    wait(ui, lambda picture: not picture.groups)


def _wait_count(ui: LabPage, text: str) -> None:
    expect(ui.page.get_by_test_id("jr-section-tasks")).to_contain_text(text)


def _is_grouped(picture: Picture) -> None:
    assert [group["name"] for group in picture.groups] == ["step"]


def test_the_sixty_first_task_leaves_the_chosen_one_in_sight(ui: LabPage, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    _fifty_nine(ui, gates)
    task = ui.panel.locator("[data-testid='jr-task']").nth(12)
    chosen = task.get_attribute("data-task-id")
    task.click()
    task.focus()
    same = ui.panel.locator(f".jr-Graph [data-task-id='{chosen}']")
    ui.screenshot("calm-before", of=ui.panel)
    gates.open("more")
    wait(ui, _is_grouped)
    # Its group has opened: it is a part of that, chosen as before, and can be seen.
    expect(same).to_have_count(1)
    ui.wait_until(lambda: same.evaluate(IN_SIGHT), 10, "the chosen task to be in sight")
    assert "jr-mod-selected" in (same.get_attribute("class") or "")
    expect(ui.page.get_by_test_id("jr-details")).to_be_visible()
    # The keyboard is where the task has gone to.
    expect(ui.panel.locator("[data-testid='jr-group']")).to_be_focused()
    ui.screenshot("calm-after", of=ui.panel)
    # Who closes it is obeyed, also when more comes.
    ui.panel.locator("[data-testid='jr-group']").click()
    expect(same).to_have_count(0)
    ui.run_cell(2)
    _wait_count(ui, "2 running of 63")
    expect(same).to_have_count(0)


def test_what_is_above_stays_in_its_place_when_groups_are_made(ui: LabPage, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    _fifty_nine(ui, gates)
    # Whoever has scrolled to the middle looks at `step` tasks; what they have become is in sight then.
    ui.panel.locator("[data-testid='jr-task']").nth(12).scroll_into_view_if_needed()
    gates.open("more")
    wait(ui, _is_grouped)
    group = ui.panel.locator("[data-testid='jr-group']")
    ui.wait_until(lambda: group.evaluate(IN_SIGHT), 10, "the group to be in sight")


def test_no_line_of_an_actor_ends_in_a_dot(ui: LabPage, tmp_path: Path) -> None:
    actor = """
@ray.remote(num_cpus=1, num_gpus=1, resources={"licence for a solver": 1})
class Solver:
    def run(self):
        gate("never")

solver = Solver.remote()
running = solver.run.remote()
"""
    setup = Gates(tmp_path).setup("num_cpus=2, num_gpus=1, resources={'licence for a solver': 1}")
    ui.open_notebook("dots.ipynb", setup, actor)
    ui.show_panel()
    ui.run_cell(0)
    ui.run_cell(1)
    facts = ui.panel.locator(".jr-Fact")
    expect(facts).to_have_count(3)
    places = ui.panel.locator(".jr-Facts").evaluate(
        """line => {
            const left = line.getBoundingClientRect().left;
            return [...line.querySelectorAll('.jr-Fact')].map(fact => {
                const box = fact.getBoundingClientRect();
                const dot = parseFloat(getComputedStyle(fact, '::before').left);
                return { top: box.top, dotIsShown: box.left + dot >= left, text: fact.textContent };
            });
        }"""
    )
    assert len({place["top"] for place in places}) > 1, f"all in one line, nothing is tested: {places}"
    assert not any("·" in place["text"] for place in places)
    for before, place in zip([None, *places], places, strict=False):
        assert place["dotIsShown"] == (before is not None and before["top"] == place["top"]), places
    ui.screenshot("actor-narrow", of=ui.panel)
    assert ui.accessibility_violations() == []
