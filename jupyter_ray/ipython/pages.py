"""Where the magics draw: a notebook's page, or a terminal.

`show` is for the main thread, inside a cell; all else may be called from any thread, long after.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from jupyter_ray.exceptions import RayTaskError
from jupyter_ray.ipython import tracebacks
from jupyter_ray.ipython.cells import Cell
from jupyter_ray.ipython.iopub import UPDATE, IOPub
from jupyter_ray.ipython.live import Line
from jupyter_ray.ipython.markup import Bundle

_INLINE = ("inline", "module://matplotlib_inline.backend_inline")


class TerminalPage:
    """Prints: the first state, and the end.

    Parameters
    ----------
    shell
        IPython's.
    write
        Prints a text to ``"stdout"``, from any thread.
    """

    def __init__(self, shell: Any, write: Callable[[str, str], None]) -> None:
        self.shell = shell
        self._write = write

    def show(self, bundle: Bundle, display_id: str | None = None) -> None:
        """Show something in the cell that runs."""
        transient = {"display_id": display_id} if display_id else {}
        self.shell.display_pub.publish(bundle.data, bundle.metadata, transient=transient)

    def update(self, line: Line, bundle: Bundle) -> None:
        """Print nothing: a terminal cannot take back what it printed before."""

    def end(self, line: Line, state: Bundle, result: Bundle | None) -> None:
        """Print the last state, and the result: the first one may be far above."""
        self._write("stdout", state.text + ("\n" if result is None else f"\n{result.text}\n"))

    def render(self, line: Line, value: Any, error: BaseException | None) -> Bundle | None:
        """Return how a result looks; None where the state says it all."""
        if error is not None:
            if isinstance(error, RayTaskError) and line.state == "failed":
                return Bundle({"text/plain": tracebacks.remote(self.shell, error)})
            name = type(error).__name__
            return None if line.state == "cancelled" else Bundle({"text/plain": f"{name}: {error}"})
        if value is None:
            return None
        data, metadata = self.shell.display_formatter.format(shown_value(value))
        return Bundle(data, metadata) if data else None


class KernelPage(TerminalPage):
    """Shows displays in a notebook, and replaces them later, in whichever cell they are.

    Parameters
    ----------
    shell
        Of the notebook.
    iopub
        Sends the messages.
    has_printed
        Shows what is known to be printed in a cell, and returns whether something can be shown below it.
    """

    def __init__(self, shell: Any, iopub: IOPub, has_printed: Callable[[Cell], bool]) -> None:
        super().__init__(shell, lambda *_: None)
        self._iopub = iopub
        self._has_printed = has_printed

    def update(self, line: Line, bundle: Bundle) -> None:
        """Replace what the line shows."""
        self._send(UPDATE, line, bundle, {"display_id": line.display_id})

    def end(self, line: Line, state: Bundle, result: Bundle | None) -> None:
        """Put the result in the line's place; where the cell has printed, below that, as in any cell."""
        has_printed = line.cell is not None and self._has_printed(line.cell)  # Which shows it first, in any case.
        if result is not None and has_printed:
            self.update(line, state)
            self._send("display_data", line, result, {})
        else:
            self.update(line, _in_its_place(line, state, result))

    def _send(self, kind: str, line: Line, bundle: Bundle, transient: dict[str, Any]) -> None:
        content = {"data": _plain(bundle.data), "metadata": bundle.metadata, "transient": transient}
        self._iopub.send(kind, content, line.cell, kind)

    def render(self, line: Line, value: Any, error: BaseException | None) -> Bundle | None:
        """Return how a result looks. What it displays by itself goes to the line's cell too."""
        publisher = self.shell.display_pub
        token = None
        if line.cell is not None and hasattr(publisher, "set_thread_parent"):
            token = publisher.set_thread_parent(line.cell.parent)
        try:
            return super().render(line, value, error)
        finally:
            if token is not None:
                publisher.reset_thread_parent(token)


def _in_its_place(line: Line, state: Bundle, result: Bundle | None) -> Bundle:
    """Return what is shown instead of a line that has ended: an error needs to be told whose it is."""
    if result is None or line.state != "failed":
        return result or state
    return Bundle({"text/plain": f"{state.text}\n{result.text}"})


def shown_value(value: Any) -> Any:
    """Return what to show of a result: with Matplotlib the figure, unless the task has shown it when it ended.

    A figure that arrives here may make itself one of pyplot's, and the next cell's end would show it once more.
    """
    artist = sys.modules.get("matplotlib.artist")
    if artist is None or not isinstance(value, artist.Artist):
        return value
    import matplotlib
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    if matplotlib.get_backend() in _INLINE:  # The notebook may have drawn nothing yet: this tells it how figures look.
        importlib.import_module("matplotlib_inline.backend_inline")
    figure = value if isinstance(value, Figure) else value.get_figure()
    if not isinstance(figure, Figure) or (figure is not value and figure.canvas.manager is None):
        return value
    pyplot.close(figure)
    return figure


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """Return data for JSON: images as base64 text, as ipykernel does."""
    from ipykernel.jsonutil import encode_images

    encoded: dict[str, Any] = encode_images(data)  # type: ignore[no-untyped-call]
    return encoded
