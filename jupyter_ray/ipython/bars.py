"""Progress bars of tasks in a notebook: each is a display in the cell that asked for the work, replaced as it moves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from html import escape
from typing import Any

from jupyter_ray.api.progress import Bar
from jupyter_ray.ipython.cells import Cells
from jupyter_ray.ipython.markup import bar_html

logger = logging.getLogger(__name__)


class CellCanvas:
    """Draws bars in cells. As with output: from any thread, with the cell's request as parent.

    Parameters
    ----------
    kernel
        The kernel, whose socket takes the messages.
    cells
        Who knows the cells.
    """

    def __init__(self, kernel: Any, cells: Cells) -> None:
        self._kernel = kernel
        self._cells = cells
        self._shown: set[str] = set()

    def draw(self, bars: Sequence[Bar], changed: Bar) -> None:
        """Show a bar, or replace what it showed."""
        kind = "update_display_data" if changed.uuid in self._shown else "display_data"
        if changed.closed:
            self._shown.discard(changed.uuid)
        else:
            self._shown.add(changed.uuid)
        cell = self._cells.find(changed.cell)
        content = {
            "data": {
                "text/plain": changed.text(),
                "text/html": bar_html(changed.desc, changed.share, changed.counts()),
            },
            "metadata": {},
            "transient": {"display_id": f"jupyter_ray-bar-{escape(changed.uuid)}"},
        }
        parent = cell.parent if cell is not None else {}
        if kind == "update_display_data":
            parent = self._cells.parent_of_update(cell)
        try:
            self._kernel.session.send(self._kernel.iopub_socket, kind, content, parent=parent, ident=kind.encode())
        except Exception:  # The page cannot be reached, or the kernel ends: no reason for a task to fail.
            logger.debug("a progress bar could not be shown", exc_info=True)

    def hide(self, bars: Sequence[Bar]) -> None:
        """Do nothing: a cell's displays are in nobody's way."""

    def __repr__(self) -> str:
        return f"<CellCanvas with {len(self._shown)} bars>"
