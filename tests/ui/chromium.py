"""Find the browser that the UI tests drive; as a script, install it where that can be done.

    python tests/ui/chromium.py --install

Playwright's own browser downloads are not needed. ``CHROMIUM=/path`` chooses another one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MACOS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
HELP = (
    "The UI tests need Chromium or Chrome. Debian: sudo apt-get install chromium. macOS: install Google Chrome. "
    "Elsewhere: playwright install chromium. CHROMIUM=/path/to/it names one that is not on the PATH."
)


def find() -> str | None:
    """Return the path of a browser, or None."""
    chosen = os.environ.get("CHROMIUM")
    if chosen:
        return shutil.which(chosen)
    for name in (*NAMES, *MACOS):
        path = shutil.which(name)
        if path:
            return path
    return _playwrights_own()


def install() -> None:
    """Install Debian's Chromium, if this is Debian and we may."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        sys.exit(HELP)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        subprocess.run(["apt-get", *command], check=True, env=environment, stdin=subprocess.DEVNULL)


def _playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


if __name__ == "__main__":
    if "--install" in sys.argv and find() is None and not os.environ.get("CHROMIUM"):
        install()
    print(f"UI tests drive {find() or sys.exit(HELP)}")
