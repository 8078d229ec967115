"""A page with JupyterLab in it, in the words of a test: open a notebook, run a cell, look at the panel.

Cells are driven by JupyterLab's own commands and read from its models (`window.jupyterapp`), never by the position of
pixels. Nothing here sleeps for a guess: every wait is for a condition and fails with what it waited for.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import axe_playwright_python
from playwright.sync_api import ConsoleMessage, Locator, Page

from tests.ui.server import JupyterServer

T = TypeVar("T")

OUT = Path(__file__).parent / "out"
DOCS = Path(__file__).parent.parent.parent / "docs" / "img"
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
SECONDS = 1000  # Playwright counts in milliseconds

# JupyterLab's own noise, none of it ours. Each pattern is searched in "type: text".
HARMLESS: list[str] = [
    # JupyterLab asks each new kernel for its debugger, and gives up when the kernel is restarted meanwhile.
    r"Could not restore the debugger state: Canceled future for debug_request",
]

# `current` is the notebook panel in front, with `content.widgets` its cells and `sessionContext` its kernel.
_JS = """
const app = window.jupyterapp;
const current = [...app.shell.widgets('main')].find(w => w.content?.widgets && w.context?.path === path)
    ?? app.shell.currentWidget;
const notebook = current?.content;
const cell = notebook?.widgets?.[index];
"""


class LabPage:
    """JupyterLab in one browser page.

    Attributes
    ----------
    page : playwright.sync_api.Page
        For everything that is not covered here.
    console : list of str
        All that the browser's console showed, as "type: text".
    path : str or None
        The notebook that cell numbers refer to: the one opened or activated last.
    """

    def __init__(self, page: Page, server: JupyterServer, update_images: bool = False) -> None:
        self.page = page
        self.server = server
        self.console: list[str] = []
        self.path: str | None = None
        self.workspace = f"test-{secrets.token_hex(4)}"
        self._update_images = update_images
        self._expected: list[str] = []
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.console.append(f"pageerror: {error}"))

    def __repr__(self) -> str:
        return f"<LabPage {self.page.url} notebook={self.path}>"

    # -- the page ----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Load JupyterLab with an empty workspace of its own, and wait until it has started."""
        # Two pages with one workspace would make JupyterLab move the second to another one, in the middle of a test.
        self.page.goto(f"{self.server.url}/lab/workspaces/{self.workspace}?token={self.server.token}&reset")
        self.wait_restored()

    def reload(self) -> None:
        """Reload the page as a user would; the notebook in front comes back. Cells may be running meanwhile."""
        self.wait_until(self._layout_is_saved, 20, "JupyterLab to save its layout")
        # It takes `reset` out of the address when it has been told that the layout is saved: until then a reload would
        # begin with an empty workspace again.
        self.wait_until(lambda: "reset" not in self.page.url, 20, "JupyterLab to forget that its workspace was reset")
        self.page.reload()
        self.wait_restored()
        if self.path:
            self._wait_kernel_connected()

    def wait_restored(self) -> None:
        """Wait until JupyterLab has put its widgets where they belong."""
        self.page.wait_for_function("() => window.jupyterapp", timeout=60 * SECONDS)
        self.page.evaluate("() => window.jupyterapp.restored.then(() => null)")

    def command(self, name: str, **arguments: object) -> None:
        """Execute a command of JupyterLab, and wait until it has ended."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => null)", [name, arguments]
        )

    def set_theme(self, name: str) -> None:
        """Switch to a theme: "JupyterLab Dark" or "JupyterLab Light"."""
        # JupyterLab shows its splash meanwhile, and fails to take it away twice if it is still fading from the start.
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")
        light = "false" if name.endswith("Dark") else "true"
        self.page.wait_for_selector(
            f"body[data-jp-theme-light='{light}'][data-jp-theme-name='{name}']", state="attached"
        )

    # -- notebooks ---------------------------------------------------------------------------------------------------

    def write_notebook(self, name: str, *cells: str) -> str:
        """Put a notebook with these code cells into the server's folder; returns its path there."""
        notebook = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            "cells": [
                {
                    "id": f"cell-{number}",
                    "cell_type": "code",
                    "source": source,
                    "metadata": {},
                    "execution_count": None,
                    "outputs": [],
                }
                for number, source in enumerate(cells)
            ],
        }
        (self.server.root / name).write_text(json.dumps(notebook), encoding="utf-8")
        return name

    def open_notebook(self, name: str, *cells: str, timeout: float = 60) -> None:
        """Open a notebook, made from `cells` first if there are any, and wait for its kernel to be idle."""
        self.path = self.write_notebook(name, *cells) if cells else name
        self.command("docmanager:open", path=self.path, factory="Notebook")
        self._wait_kernel_connected(timeout)
        self.wait_kernel("idle", timeout)

    def activate(self, path: str) -> None:
        """Bring an open notebook to the front."""
        self.path = path
        self._evaluate("app.shell.activateById(current.id)")
        self.page.wait_for_function(
            "path => window.jupyterapp.shell.currentWidget?.context?.path === path", arg=path, timeout=10 * SECONDS
        )

    def close_notebooks(self) -> None:
        """Close all notebooks, without a question about what is not saved."""
        self._evaluate("[...app.shell.widgets('main')].filter(each => each.context).forEach(each => each.dispose())")
        self.path = None

    # -- cells -------------------------------------------------------------------------------------------------------

    def run_cell(self, index: int, timeout: float = 60) -> str:
        """Run a cell, wait until it has ended, and return the text of its outputs."""
        self.start_cell(index)
        self.wait_cell(index, timeout)
        return self.cell_text(index)

    def start_cell(self, index: int) -> None:
        """Run a cell without waiting for it."""
        self._evaluate(
            "app.shell.activateById(current.id); notebook.deselectAll(); notebook.activeCellIndex = index;"
            # After a restart the count would be what it was before: then nobody could tell that the cell has run again.
            "if (cell.model.type === 'code') cell.model.executionCount = null;"
            "void app.commands.execute('notebook:run-cell')",
            index,
        )

    def run_all(self, timeout: float = 120) -> None:
        """Run all cells as JupyterLab's own menu does, and wait for the last one that runs.

        The command ends with the first cell that raises, also where those after it go on (`raises-exception`).
        """
        self.start_all()
        ended = "return current.ran && notebook.widgets.every(each => each.model.executionState !== 'running')"
        self.wait_until(lambda: self._evaluate(ended), timeout, f"all cells of {self.path} to end")

    def start_all(self) -> None:
        """Run all cells without waiting for them."""
        self._evaluate(
            "app.shell.activateById(current.id); current.ran = false;"
            "void app.commands.execute('notebook:run-all-cells').then(() => { current.ran = true; })"
        )

    def add_cell(self, source: str) -> int:
        """Append a code cell; returns its number."""
        code = "notebook.model.sharedModel.addCell({cell_type: 'code', source}); return notebook.widgets.length - 1"
        return int(self._evaluate(code, source=source))

    def set_cell(self, index: int, source: str) -> None:
        """Replace a cell's source."""
        self._evaluate("cell.model.sharedModel.setSource(source)", index, source=source)

    def wait_cell(self, index: int, timeout: float = 60) -> None:
        """Wait until a cell that was started has ended."""

        def ended() -> bool:
            return self.execution_count(index) is not None and self.cell_state(index) == "idle"

        self.wait_until(ended, timeout, f"cell {index} to end")

    def wait_text(self, index: int, text: str) -> None:
        """Wait until a cell shows something: it runs then. A kernel is busy already when it is asked what it is."""
        self.wait_until(lambda: text in self.cell_text(index), 60, f"cell {index} to show {text!r}")

    def cell_state(self, index: int) -> str:
        """Tell what JupyterLab says of a cell: "idle" or "running"."""
        return str(self._evaluate("return cell.model.executionState", index))

    def execution_count(self, index: int) -> int | None:
        """Return the number in the cell's brackets, if it has one."""
        count = self._evaluate("return cell.model.executionCount ?? null", index)
        return None if count is None else int(count)

    def cell_outputs(self, index: int) -> list[dict[str, Any]]:
        """Return a cell's outputs as they would be saved."""
        outputs = self._evaluate("return JSON.parse(JSON.stringify(cell.model.outputs.toJSON()))", index)
        return list(outputs)

    def cell_text(self, index: int) -> str:
        """Return a cell's outputs as one plain text: streams, results and tracebacks, without colours."""
        parts = []
        for output in self.cell_outputs(index):
            if output["output_type"] == "stream":
                parts.append(_joined(output["text"]))
            elif output["output_type"] == "error":
                parts.append("\n".join(output["traceback"]))
            else:
                parts.append(_joined(output["data"].get("text/plain", "")))
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(parts))

    def cell(self, index: int) -> Locator:
        """Return the cell's element, for looks and clicks."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell").nth(index)

    # -- the kernel --------------------------------------------------------------------------------------------------

    def kernel_status(self) -> str:
        """Tell the state of the notebook's kernel as JupyterLab shows it: "idle", "busy", "restarting" ..."""
        return str(self._evaluate("return current?.sessionContext?.session?.kernel?.status ?? 'none'"))

    def wait_kernel(self, status: str, timeout: float = 60) -> None:
        """Wait for a status of the notebook's kernel."""

        def reached() -> bool:
            now = self.kernel_status()
            assert now == status, f"it is {now}"
            return True

        self.wait_until(reached, timeout, f"the kernel to be {status}")

    def restart_kernel(self) -> None:
        """Restart the notebook's kernel without a question, and wait until it is idle."""
        self._evaluate("return current.sessionContext.session.kernel.restart().then(() => null)")
        self.wait_kernel("idle")

    def interrupt_kernel(self) -> None:
        """Interrupt the notebook's kernel."""
        self._evaluate("return current.sessionContext.session.kernel.interrupt().then(() => null)")

    def shut_down_kernel(self) -> None:
        """Shut the notebook's kernel down; the notebook stays open."""
        self._evaluate("return current.sessionContext.shutdown().then(() => null)")

    def _wait_kernel_connected(self, timeout: float = 60) -> None:
        def connected() -> bool:
            return self._evaluate("return current?.sessionContext?.session?.kernel?.connectionStatus") == "connected"

        self.wait_until(connected, timeout, f"{self.path} to be connected to its kernel")

    # -- the side panel ----------------------------------------------------------------------------------------------

    @property
    def panel(self) -> Locator:
        """The side panel's element."""
        return self.page.locator(".jr-Panel")

    def show_panel(self) -> Locator:
        """Open the side panel, as a click on its tab does; returns its element."""
        found = self.page.evaluate(
            """() => {
                const app = window.jupyterapp;
                for (const area of ['right', 'left', 'main']) {
                    for (const widget of app.shell.widgets(area)) {
                        if (widget.node.matches('.jr-Panel') || widget.node.querySelector('.jr-Panel')) {
                            app.shell.activateById(widget.id);
                            return true;
                        }
                    }
                }
                return false;
            }"""
        )
        assert found, "there is no side panel: is the extension installed? (make install; jupyter labextension list)"
        self.panel.wait_for(state="visible", timeout=10 * SECONDS)
        return self.panel

    def runtime_state(self) -> str:
        """Return what the panel says of the runtime."""
        return self.page.get_by_test_id("jr-runtime-state").inner_text()

    def panel_texts(self, test_id: str) -> list[str]:
        """Return the texts of all elements of the panel with this `data-testid`."""
        return self.panel.get_by_test_id(test_id).all_inner_texts()

    # -- waiting and looking -----------------------------------------------------------------------------------------

    def wait_until(self, condition: Callable[[], T | None], timeout: float = 20, what: str = "") -> T:
        """Wait until `condition` returns something true, and return that. An AssertionError in it counts as false."""
        deadline = time.monotonic() + timeout
        while True:
            problem = ""
            try:
                value = condition()
                if value:
                    return value
                problem = f"last value: {value!r}"
            except AssertionError as error:
                problem = str(error)
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout:g} s for {what or 'a condition'}; {problem}")
            self.page.wait_for_timeout(100)

    def expect_console(self, pattern: str) -> None:
        """Say that this test makes the browser complain so, on purpose (a regular expression)."""
        self._expected.append(pattern)

    def console_errors(self) -> list[str]:
        """Return the errors that the browser's console showed, less those known to be harmless or expected."""
        known = [*HARMLESS, *self._expected]
        errors = [line for line in self.console if line.startswith(("error:", "pageerror:"))]
        return [line for line in errors if not any(re.search(pattern, line) for pattern in known)]

    def accessibility_violations(self, selector: str = ".jr-Panel") -> list[str]:
        """Let axe look at a part of the page; returns one line per rule that is broken."""
        if not self.page.evaluate("() => Boolean(window.axe)"):
            # Not add_script_tag: RequireJS, which some pages have, would take the module for itself.
            self.page.evaluate(f"() => {{ const define = undefined; {AXE.read_text(encoding='utf-8')} }}")
        result = self.page.evaluate("selector => window.axe.run(selector)", selector)
        return [
            f"{rule['id']} ({rule['impact']}): {rule['help']}: {[node['target'] for node in rule['nodes']]}"
            for rule in result["violations"]
        ]

    def screenshot(self, name: str, of: Locator | None = None) -> Path:
        """Take a picture of the page, or of one element, into tests/ui/out."""
        path = OUT / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (of or self.page).screenshot(path=path)
        return path

    def documentation_image(self, name: str, of: Locator | None = None) -> Path:
        """Take a picture for docs/img. One that is there is replaced only by `make images`, not by each test run."""
        picture = self.screenshot(name, of)
        target = DOCS / picture.name
        if self._update_images or not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, target)
        return target

    def _layout_is_saved(self) -> bool:
        """Whether the server knows that the notebook is open, and where; JupyterLab tells it a moment later."""
        saved = self.server.request("GET", f"workspaces/{self.workspace}", prefix="lab/api")["data"]
        widget = f"notebook:{self.path}"
        return not self.path or (widget in saved and widget in json.dumps(saved.get("layout-restorer:data")))

    def _note_console(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def _evaluate(self, body: str, index: int = -1, source: str = "") -> Any:
        """Evaluate JavaScript in which `app`, `current`, `notebook` and `cell` have their meaning."""
        code = f"([path, index, source]) => {{ {_JS} {body} }}"
        return self.page.evaluate(code, [self.path, index, source])


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
