"""Progress bars of tasks in a notebook: each is a display in the cell that asked for the work, replaced as it moves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from html import escape

from jupyter_ray.api.progress import Bar
from jupyter_ray.ipython.cells import Cells
from jupyter_ray.ipython.iopub import UPDATE, IOPub
from jupyter_ray.ipython.markup import bar_html

logger = logging.getLogger(__name__)


class CellCanvas:
    """Draws bars in cells.

    Parameters
    ----------
    iopub
        Sends the messages.
    cells
        Who knows the cells.
    """

    def __init__(self, iopub: IOPub, cells: Cells) -> None:
        self._iopub = iopub
        self._cells = cells
        self._shown: set[str] = set()

    def draw(self, bars: Sequence[Bar], changed: Bar) -> None:
        """Show a bar, or replace what it showed."""
        kind = UPDATE if changed.uuid in self._shown else "display_data"
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
        try:
            self._iopub.send(kind, content, cell, kind)
        except Exception:  # The page cannot be reached, or the kernel ends: no reason for a task to fail.
            logger.debug("a progress bar could not be shown", exc_info=True)

    def hide(self, bars: Sequence[Bar]) -> None:
        """Do nothing: a cell's displays are in nobody's way."""

    def __repr__(self) -> str:
        return f"<CellCanvas with {len(self._shown)} bars>"
