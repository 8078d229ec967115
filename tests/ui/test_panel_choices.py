"""What a user does with the panel: finds what failed, folds parts away, gives it room; and where the work went."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.ui.lab_page import LabPage
from tests.ui.panel_view import Gates, look, wait, wait_runtime, wait_states

SOME_FAIL = """
@ray.remote(max_retries=0)
def parse(row):
    if row % 5 == 0:
        raise ValueError(f"row {row} has no price")
    return row

@ray.remote
class Store:
    def put(self):
        return 1

rows = [parse.remote(row) for row in range(10)]
ray.wait(rows, num_returns=10)
store = Store.remote()
ray.get(store.put.remote())
ray.kill(store)
"""


def test_what_failed_is_counted_named_and_listed(ui: LabPage, tmp_path: Path) -> None:
    ui.open_notebook("fails.ipynb", Gates(tmp_path).setup(), SOME_FAIL)
    ui.show_panel()
    ui.run_cell(0)
    ui.run_cell(1)
    picture = wait_states(ui, "parse", {"finished": 8, "failed": 2})
    expect(ui.page.get_by_test_id("jr-failures")).to_have_text("2 failed")
    notes = {task.note for task in picture.tasks if task.state == "failed"}
    assert all(note.rstrip("…") and "ValueError".startswith(note.rstrip("…")) for note in notes), notes
    failed = ui.panel.locator("[data-testid='jr-task'][data-state='failed'] title").first
    assert "ValueError: row 0 has no price" in str(failed.text_content())
    ui.page.get_by_test_id("jr-tool-list").click()
    rows = ui.page.get_by_test_id("jr-task-row")
    ui.page.get_by_test_id("jr-tool-filter").select_option("failed")
    expect(rows).to_have_count(2)
    rows.first.click()
    expect(ui.page.get_by_test_id("jr-details-error")).to_have_text("ValueError: row 0 has no price")
    ui.screenshot("list-failed", of=ui.panel)
    assert ui.accessibility_violations() == []
    ui.page.get_by_test_id("jr-tool-filter").select_option("all")
    expect(rows).to_have_count(12)  # with the actor and its method

    # Clear takes away the dead actors, too, until all are asked for.
    wait(ui, lambda picture: [actor.state for actor in picture.actors] == ["dead"])
    ui.page.get_by_test_id("jr-tool-clear").click()
    expect(rows).to_have_count(0)
    wait(ui, lambda picture: picture.actors == [])
    ui.page.get_by_test_id("jr-tool-unclear").click()
    wait(ui, lambda picture: len(picture.actors) == 1)


def test_choices_outlive_a_reload_and_a_restart_says_where_the_work_went(ui: LabPage, tmp_path: Path) -> None:
    waits = "@ray.remote\ndef step():\n    gate('never')\n\nrefs = [step.remote() for _ in range(2)]"
    ui.open_notebook("choices.ipynb", Gates(tmp_path).setup(), waits)
    ui.show_panel()
    ui.run_cell(0)
    ui.run_cell(1)
    wait_states(ui, "step", {"running": 2})
    legend = ui.page.get_by_test_id("jr-legend")
    expect(legend).to_be_visible()
    ui.page.get_by_test_id("jr-tool-legend").click()
    expect(legend).to_have_count(0)
    ui.page.get_by_test_id("jr-section-actors").get_by_role("button", name="Actors").click()
    ui.page.get_by_test_id("jr-tool-list").click()
    ui.reload()
    ui.show_panel()
    expect(ui.page.get_by_test_id("jr-task-row")).to_have_count(2)
    expect(legend).to_have_count(0)
    actors = ui.page.get_by_test_id("jr-section-actors").get_by_role("button", name="Actors")
    expect(actors).to_have_attribute("aria-expanded", "false")
    ui.page.get_by_test_id("jr-tool-graph").click()
    wait_states(ui, "step", {"running": 2})

    ui.restart_kernel()
    wait_runtime(ui, "absent")
    expect(ui.page.get_by_test_id("jr-lost")).to_contain_text("The kernel was restarted")
    ui.screenshot("restarted", of=ui.panel)
    ui.run_cell(0)
    wait_runtime(ui, "ready")
    expect(ui.page.get_by_test_id("jr-lost")).to_have_count(0)


def test_the_panel_moves_into_the_main_area_and_back(ui: LabPage, tmp_path: Path) -> None:
    done = "@ray.remote\ndef step():\n    return 1\n\nsum(ray.get([step.remote() for _ in range(3)]))"
    ui.open_notebook("move.ipynb", Gates(tmp_path).setup(), done)
    ui.show_panel()
    ui.run_cell(0)
    ui.run_cell(1)
    before = wait_states(ui, "step", {"finished": 3})
    side = ui.panel.bounding_box()
    ui.page.get_by_test_id("jr-move").click()
    expect(ui.page.locator("#jp-main-dock-panel .jr-Panel")).to_be_visible()
    # The notebook goes on being the one that is shown, and what it does arrives.
    ui.run_cell(1)
    wait_states(ui, "step", {"finished": 6})
    main = ui.panel.bounding_box()
    assert side is not None
    assert main is not None
    assert main["width"] > 2 * side["width"]
    ui.page.evaluate("() => window.jupyterapp.shell.mode = 'single-document'")
    ui.show_panel()
    graph, resources = (ui.page.get_by_test_id(f"jr-section-{name}").bounding_box() for name in ("tasks", "resources"))
    assert graph is not None
    assert resources is not None
    assert resources["x"] >= graph["x"] + graph["width"] - 1, "side by side"
    ui.screenshot("main-area", of=ui.panel)
    ui.page.evaluate("() => window.jupyterapp.shell.mode = 'multiple-document'")
    ui.page.get_by_test_id("jr-move").click()
    expect(ui.page.locator("#jp-right-stack .jr-Panel")).to_be_visible()
    assert look(ui).epoch == before.epoch
    wait_states(ui, "step", {"finished": 6})
