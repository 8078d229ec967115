"""One real Jupyter server, in folders of its own, for the UI tests to talk to."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

START_LIMIT = 60.0

# What would otherwise put a dialog in front of the page, or ask the network.
SETTINGS: dict[str, dict[str, object]] = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
}


class JupyterServer:
    """A JupyterLab server process of this Python environment.

    Attributes
    ----------
    url, token : str
        Where it listens, and what it wants to hear.
    root : Path
        The folder it serves: put notebooks here.
    log : Path
        What it printed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir()
        self.log = folder / "server.log"
        self.token = secrets.token_hex(16)
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self.reset_settings()

    def __repr__(self) -> str:
        state = "down" if self._process is None else f"pid {self._process.pid}"
        return f"<JupyterServer {self.url or 'nowhere'}: {state}>"

    def start(self) -> None:
        """Start it, and return once it answers."""
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=self.root,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                self.request("GET", "status")
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the Jupyter server did not come up:\n{self.tail()}") from None
                time.sleep(0.1)

    def stop(self) -> None:
        """End it; it ends its kernels."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def request(self, method: str, resource: str, prefix: str = "api") -> Any:
        """Ask its REST interface, as in `request("GET", "status")`; returns the decoded answer."""
        headers = {"Authorization": f"token {self.token}"}
        question = urllib.request.Request(f"{self.url}/{prefix}/{resource}", method=method, headers=headers)
        with urllib.request.urlopen(question, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def listing(self, kind: str) -> list[dict[str, Any]]:
        """List the "kernels" or "sessions".

        The server cannot describe a kernel in the moment between its process and its first activity, and answers with
        an error; what it says a moment later is as good.
        """
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                rows: list[dict[str, Any]] = self.request("GET", kind)
                return rows
            except urllib.error.HTTPError as error:
                if error.code != 500 or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def shut_down_kernels(self) -> None:
        """End all sessions and kernels, so that the next test begins with none."""
        for kind in ("sessions", "kernels"):
            for row in self.listing(kind):
                try:
                    self.request("DELETE", f"{kind}/{row['id']}")
                except urllib.error.HTTPError as error:
                    if error.code not in (404, 410):  # it has just gone by itself
                        raise

    def reset_settings(self) -> None:
        """Forget what a test has set, such as a theme."""
        folder = self.folder / "settings"
        for path in folder.rglob("*.jupyterlab-settings"):
            path.unlink()
        for name, values in SETTINGS.items():
            path = folder / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))

    def tail(self, lines: int = 60) -> str:
        """Return the end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _environment(self) -> dict[str, str]:
        own = {
            "JUPYTER_CONFIG_DIR": self.folder / "config",
            "JUPYTER_DATA_DIR": self.folder / "data",
            "JUPYTER_RUNTIME_DIR": self.folder / "runtime",
            "IPYTHONDIR": self.folder / "ipython",
            "JUPYTER_PREFER_ENV_PATH": "1",
            "JUPYTER_PLATFORM_DIRS": "1",
        }
        return {**os.environ, **{name: str(value) for name, value in own.items()}}

    def _command(self, port: int) -> list[str]:
        return [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.expose_app_in_browser=True",  # window.jupyterapp
            "--LabApp.extension_manager=readonly",
            f"--LabApp.user_settings_dir={self.folder / 'settings'}",
            f"--LabApp.workspaces_dir={self.folder / 'workspaces'}",
        ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
