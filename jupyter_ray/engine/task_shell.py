"""IPython's shell in a worker: what ``get_ipython()`` returns in a task that a notebook asked for.

Libraries ask for a shell to know whether there is a page that shows more than text (Matplotlib's inline backend,
Plotly). This one formats values and publishes them, through `displays`, and runs the commands of a shell (``!ls``); it
runs no cells and has no magics, no history and no namespace. Imported by `shell_watch` when somebody imports IPython.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn, TextIO

from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import UsageError
from IPython.core.events import EventManager, available_events
from IPython.core.formatters import DisplayFormatter
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.text import DollarFormatter, SList

from jupyter_ray.engine import displays

_PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
_WIDGET = "application/vnd.jupyter.widget-view+json"


class TaskShell(InteractiveShell):
    """A shell that displays, and runs shell commands."""

    def __init__(self, cell_here: Callable[[], str | None], out: TextIO) -> None:
        # Not InteractiveShell's own, which opens a history, takes over `sys.excepthook` and the like.
        super(InteractiveShell, self).__init__()
        self.configurables = [self]
        self.events = EventManager(self, available_events)
        self.display_formatter = DisplayFormatter(parent=self)
        self.display_pub = _Publisher(cell_here, out)
        self.user_ns: dict[str, Any] = {}
        self.init_hooks()  # type: ignore[no-untyped-call]  # IPython's debugger calls one.

    def ask_exit(self) -> NoReturn:
        """End the task: what ``exit()`` and ``quit()`` do, which IPython has bound to its shell."""
        sys.exit()

    def run_line_magic(self, magic_name: str, line: str, _stack_depth: int = 1) -> NoReturn:
        """Refuse: there are no magics."""
        raise UsageError(f"%{magic_name} runs in the notebook only, not in a task.")

    def run_cell_magic(self, magic_name: str, line: str, cell: str) -> NoReturn:
        """Refuse: there are no magics."""
        raise UsageError(f"%%{magic_name} runs in the notebook only, not in a task.")

    def system(self, cmd: str) -> None:
        """Run a shell command, ``!cmd``, and print what it prints, as the task."""
        command = _expanded(cmd, sys._getframe(1))
        process = subprocess.Popen(command, shell=True, stdin=subprocess.DEVNULL, text=True, errors="replace", **_PIPES)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sys.stdout.write(line)
            self.user_ns["_exit_code"] = process.wait()
        except BaseException:
            process.terminate()
            raise
        finally:
            process.stdout.close()

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> SList | str:
        """Run a shell command, ``lines = !cmd``, and return what it prints: its lines, or one text."""
        command = _expanded(cmd, sys._getframe(1 + depth))
        ran = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, text=True, errors="replace", **_PIPES)
        self.user_ns["_exit_code"] = ran.returncode
        return SList(ran.stdout.splitlines()) if split else str(ran.stdout)

    def __repr__(self) -> str:
        return "<TaskShell>"


class _Publisher(DisplayPublisher):
    """Sends what is displayed to the driver."""

    def __init__(self, cell_here: Callable[[], str | None], out: TextIO) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cell_here = cell_here
        self._out = out

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        source: Any = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **_: Any,
    ) -> None:
        """Publish one value in its formats. Source: IPython's `DisplayPublisher.publish`."""
        if not isinstance(data, dict):
            raise TypeError(f"data must be a dict, got: {data!r}")
        if metadata is not None and not isinstance(metadata, dict):
            raise TypeError(f"metadata must be a dict, got: {metadata!r}")
        if self._cell_here() is None:  # No cell has asked for this: a script, or the worker itself.
            if "text/plain" in data:
                print(data["text/plain"])
            return
        # A widget lives in its own process: the page could not find it.
        shown = {kind: _plain(each) for kind, each in data.items() if kind != _WIDGET}
        display_id = (transient or {}).get("display_id")
        displays.send(displays.Shown(shown, metadata or {}, display_id, bool(update)), self._out)

    def clear_output(self, wait: bool = False) -> None:
        """Take back what this task has displayed; with `wait`, when it displays something new."""
        if self._cell_here() is not None:
            displays.send(displays.Shown(clear="wait" if wait else "now"), self._out)

    def __repr__(self) -> str:
        return "<Publisher of what tasks display>"


def begin(cell_here: Callable[[], str | None], out: TextIO) -> None:
    """Give this process its shell, unless it has one."""
    if not InteractiveShell.initialized():
        shell: Any = TaskShell(cell_here, out)
        InteractiveShell._instance = TaskShell._instance = shell


def here() -> Any:
    """Return the shell of this process: what a notebook's shell becomes on its way to a task, and back."""
    return InteractiveShell.instance() if InteractiveShell.initialized() else None


def _expanded(command: str, frame: FrameType) -> str:
    """Return a command with the variables in it, ``{name}`` and ``$name``, as IPython's `var_expand`."""
    try:
        return DollarFormatter().vformat(command, [], {**frame.f_globals, **frame.f_locals})
    except Exception:  # They are the command's own: `awk '{print $1}'`.
        return command


def _plain(data: Any) -> Any:
    """Return data for JSON: bytes, such as images, as base64 text."""
    return base64.b64encode(data).decode("ascii") if isinstance(data, bytes) else data
