"""Fixtures for tests in a real JupyterLab: one server and one Chromium per session, fresh pages per test.

``ui`` is a :class:`~tests.ui.lab_page.LabPage` with JupyterLab loaded and nothing open. ``open_lab()`` gives further
pages, as a second browser tab would be; ``reader`` is one that the tests of a module use in turn. After each test all
kernels are shut down. A test also fails if the browser's console showed an error that it did not expect. When a test
fails, its pages' pictures go to ``tests/ui/out`` and the end of the server's log into the report.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, ViewportSize, sync_playwright

from tests.leaks import Watch
from tests.ui import chromium
from tests.ui.lab_page import LabPage
from tests.ui.server import JupyterServer

VIEWPORT: ViewportSize = {"width": 1400, "height": 900}

# No sandbox, because CI runs as root; the rest keeps Chromium off the network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]

_pages = pytest.StashKey[list[LabPage]]()
_failed = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """One Jupyter server for all UI tests."""
    panel = Path(sys.prefix, "share", "jupyter", "labextensions", "jupyter_ray", "package.json")
    assert panel.exists(), "the panel is not installed in this environment: run `make install`"
    server = JupyterServer(tmp_path_factory.mktemp("lab"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """One Chromium for all UI tests. It has a profile, where what it compiled of JupyterLab's code serves all pages."""
    path = chromium.find()
    assert path, chromium.HELP
    profile = tmp_path_factory.mktemp("profile")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=path, headless=True, args=FLAGS, viewport=VIEWPORT
        )
        browser.set_default_timeout(30_000)
        yield browser
        browser.close()


@contextlib.contextmanager
def _own_storage(browser: BrowserContext, server: JupyterServer) -> Iterator[None]:
    """Leave no page, cookie or stored choice to who comes next."""
    yield
    empty, *pages = browser.pages
    for page in pages:
        page.close()
    browser.clear_cookies()
    session = browser.new_cdp_session(empty)
    session.send("Storage.clearDataForOrigin", {"origin": server.url, "storageTypes": "indexeddb,local_storage"})
    session.detach()


@contextlib.contextmanager
def _checked(server: JupyterServer, item: pytest.Item, pages: list[LabPage]) -> Iterator[None]:
    """Run a test with these pages: their consoles must be clean, its kernels and settings go."""
    item.stash[_pages] = pages
    yield
    errors = [error for lab in pages for error in lab.console_errors()]
    server.shut_down_kernels()
    server.reset_settings()
    if errors and not item.stash.get(_failed, False):
        pytest.fail("the browser's console showed errors:\n  " + "\n  ".join(errors), pytrace=False)


def _open_lab(browser: BrowserContext, server: JupyterServer) -> LabPage:
    lab = LabPage(browser.new_page(), server, bool(os.environ.get("JUPYTER_RAY_UPDATE_IMAGES")))
    lab.open()
    return lab


@pytest.fixture
def browser_context(browser: BrowserContext, lab_server: JupyterServer) -> Iterator[BrowserContext]:
    """Provide the browser without another test's pages, cookies and storage."""
    with _own_storage(browser, lab_server):
        yield browser


@pytest.fixture
def open_lab(
    lab_server: JupyterServer, browser_context: BrowserContext, request: pytest.FixtureRequest
) -> Iterator[Callable[[], LabPage]]:
    """Make pages with JupyterLab loaded; each call is one more tab."""
    pages: list[LabPage] = []

    def open_one() -> LabPage:
        pages.append(_open_lab(browser_context, lab_server))
        return pages[-1]

    with _checked(lab_server, request.node, pages):
        yield open_one


@pytest.fixture(scope="module")
def module_lab(lab_server: JupyterServer, browser: BrowserContext) -> Iterator[LabPage]:
    """JupyterLab in a page of the module's: to load it takes as long as many a test. For `reader`."""
    with _own_storage(browser, lab_server):
        yield _open_lab(browser, lab_server)


@pytest.fixture
def reader(module_lab: LabPage, request: pytest.FixtureRequest) -> Iterator[LabPage]:
    """JupyterLab with nothing open, in a page that has shown the notebooks of the module's tests before."""
    with _checked(module_lab.server, request.node, [module_lab]):
        yield module_lab
        module_lab.close_notebooks()
    module_lab.console.clear()


@pytest.fixture
def ui(open_lab: Callable[[], LabPage]) -> LabPage:
    """JupyterLab in a fresh page."""
    return open_lab()


@pytest.fixture(scope="module", autouse=True)
def no_leaks_after_module(leak_watch: Watch) -> Iterator[None]:
    """Look for what kernels left behind. Server and browser go on; the end of the session looks for those."""
    yield
    left = leak_watch.leftovers(patience=8.0, processes=False)
    assert not left, f"left behind by kernels that have ended: {left}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what helps to understand a failure: pictures, the console and the server's log."""
    report = yield
    if report.when != "teardown" and report.failed:
        item.stash[_failed] = True
        pages: list[LabPage] = item.stash.get(_pages, [])
        for number, lab in enumerate(pages):
            name = re.sub(r"\W+", "-", item.name).strip("-")
            try:
                picture = str(lab.screenshot(f"failed-{name}-{number}"))
            except Exception as error:  # the page may have crashed; the report matters more than its picture
                picture = f"no picture: {error}"
            report.sections.append((f"page {number}", "\n".join([picture, *lab.console[-40:]])))
        if pages:
            report.sections.append(("log of the Jupyter server", pages[0].server.tail()))
    return report
