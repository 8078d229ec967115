"""The panel in Notebook 7, which has a side bar of its own and none of JupyterLab's shell."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Page, expect

from tests.ui.lab_page import SECONDS, LabPage
from tests.ui.server import JupyterServer

SETUP = "%load_ext jupyter_ray\nimport jupyter_ray as ray\nray.init(num_cpus=2)"
CALLS = """@ray.remote
def part(n):
    return n

@ray.remote
def whole():
    return sum(ray.get([part.remote(n) for n in range(3)]))

ray.get(whole.remote())"""


def _run(page: Page, index: int) -> None:
    cell = page.locator(".jp-CodeCell").nth(index)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    expect(cell.locator(".jp-InputPrompt")).to_have_text(f"[{index + 1}]:", timeout=60 * SECONDS)


def test_the_panel_opens_from_the_view_menu(lab_server: JupyterServer, browser_context: BrowserContext) -> None:
    def connected() -> bool:
        kernels = lab_server.listing("kernels")
        return any(row["connections"] and row["execution_state"] == "idle" for row in kernels)

    page = browser_context.new_page()
    seven = LabPage(page, lab_server)
    seven.write_notebook("seven.ipynb", SETUP, CALLS)
    try:
        page.goto(f"{lab_server.url}/notebooks/seven.ipynb?token={lab_server.token}")
        seven.wait_until(connected, 60, "a kernel that the page is connected to")
        _run(page, 0)
        expect(page.locator(".jp-OutputArea table.jupyter-ray-status")).to_be_visible()
        page.get_by_role("menuitem", name="View").click()
        page.get_by_text("Right Sidebar").hover()
        page.get_by_text("Show jupyter_ray").click()
        panel = page.locator(".jr-Panel")
        expect(panel.get_by_test_id("jr-runtime-state")).to_contain_text("Ready")
        _run(page, 1)
        expect(panel.locator(".jr-Node-task")).to_have_count(4)
        expect(panel.locator("[data-edge=call]")).to_have_count(3)
    finally:
        seven.screenshot("notebook7")
        lab_server.shut_down_kernels()
