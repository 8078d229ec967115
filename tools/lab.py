"""Open JupyterLab on the first tutorial with the side panel visible: `make lab`.

Only defaults differ from a plain `jupyter lab`: `lab-config/` beside this file opens the panel, and what a user has set
for themselves still wins. The layout of the windows is kept in `build/`, so that nobody's own workspace is touched.
Without a display the address is printed and the server keeps serving. Further arguments go to JupyterLab.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NOTEBOOK = ROOT / "notebooks" / "01-nested-tasks.ipynb"


def has_display() -> bool:
    """Whether a browser could open a window here."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def main(arguments: list[str]) -> None:
    """Replace this process by JupyterLab, so that Ctrl-C reaches it directly."""
    search = [str(HERE / "lab-config"), os.environ.get("JUPYTER_CONFIG_PATH")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, search))
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel and the panel of this environment, not the user's
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={NOTEBOOK.parent}",
        f"--LabApp.workspaces_dir={ROOT / 'build' / 'workspaces'}",
        "--ServerApp.answer_yes=True",  # one Ctrl-C ends it
    ]
    if os.geteuid() == 0:
        command.append("--allow-root")
    if not has_display():
        command.append("--no-browser")
        print("No display here: open the address below in a browser. Ctrl-C ends the server.", flush=True)
    if NOTEBOOK.exists():
        # Not as a file to open: the address printed for those without a display should lead to it, too.
        command.append(f"--LabApp.default_url=/lab/tree/{NOTEBOOK.name}")
    os.execv(command[0], command + arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
