"""Where the magics draw: a notebook's page, or a terminal.

`show` is for the main thread, inside a cell; `update` and `render` may be called from any thread, long after.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from jupyter_ray.exceptions import RayTaskError
from jupyter_ray.ipython import tracebacks
from jupyter_ray.ipython.live import Line
from jupyter_ray.ipython.markup import Bundle


class TerminalPage:
    """Prints: the first state, and the end."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell

    def show(self, bundle: Bundle, display_id: str | None = None) -> None:
        """Show something in the cell that runs."""
        transient = {"display_id": display_id} if display_id else {}
        self.shell.display_pub.publish(bundle.data, bundle.metadata, transient=transient)

    def update(self, line: Line, bundle: Bundle, *, final: bool) -> None:
        """Print the end; a terminal cannot take back what it printed before."""
        if final and bundle.text:
            self._print(bundle.text)

    def render(self, line: Line, value: Any, error: BaseException | None) -> Bundle | None:
        """Return how a result looks; None where the state says it all."""
        if error is not None:
            if isinstance(error, RayTaskError) and line.state == "failed":
                state = line.bundle(0.0).text
                return Bundle({"text/plain": f"{state}\n{tracebacks.remote(self.shell, error)}"})
            name = type(error).__name__
            return None if line.state == "cancelled" else Bundle({"text/plain": f"{name}: {error}"})
        if value is None:
            return None
        data, metadata = self.shell.display_formatter.format(value)
        return Bundle(data, metadata) if data else None

    def _print(self, text: str) -> None:
        with contextlib.suppress(ValueError, OSError, AttributeError):  # Closed, or there is none.
            sys.stdout.write(text + "\n")
            sys.stdout.flush()


class KernelPage(TerminalPage):
    """Shows displays in a notebook, and replaces them later, in whichever cell they are."""

    def __init__(self, shell: Any, kernel: Any) -> None:
        super().__init__(shell)
        self._kernel = kernel

    def update(self, line: Line, bundle: Bundle, *, final: bool) -> None:
        """Replace what the line shows. As with output: from any thread, with the line's request as parent."""
        content = {
            "data": _plain(bundle.data),
            "metadata": bundle.metadata,
            "transient": {"display_id": line.display_id},
        }
        parent = line.cell.parent if line.cell is not None else {}
        self._kernel.session.send(
            self._kernel.iopub_socket, "update_display_data", content, parent=parent, ident=b"update_display_data"
        )

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


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """Return data for JSON: images as base64 text, as ipykernel does."""
    from ipykernel.jsonutil import encode_images

    encoded: dict[str, Any] = encode_images(data)  # type: ignore[no-untyped-call]
    return encoded
