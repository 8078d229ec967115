"""What the extension shows in cells, as messages of a kernel: from any thread, and long after the cell has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from jupyter_ray.interrupts import shielded
from jupyter_ray.ipython.cells import Cell, Cells

UPDATE = "update_display_data"
_LATE_SECONDS = 2.0
_LATE = 64
_LATE_CHARACTERS = 1_000_000
"""What is larger is not kept."""


class IOPub:
    """Sends what is shown in cells.

    What is new has the request of its cell as parent, so that pages show it there. What replaces a display has the cell
    that runs: pages find the display by its id, and who runs a notebook without a page (nbclient, and with it `jupyter
    execute`, nbconvert and papermill) hears of nothing but that cell. Between two cells it hears nothing at all: what
    is replaced then is sent again when the next one begins.

    Parameters
    ----------
    kernel
        The kernel, whose socket takes the messages.
    cells
        Who knows the cells.
    clock
        Seconds, monotonic.
    """

    def __init__(self, kernel: Any, cells: Cells, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kernel = kernel
        self._cells = cells
        self._clock = clock
        self._lock = threading.RLock()
        self._late: dict[str, tuple[float, dict[str, Any]]] = {}
        """The last replacements that came while no cell ran, by display."""

    def __repr__(self) -> str:
        return f"<IOPub: {len(self._late)} late>"

    def send(self, kind: str, content: dict[str, Any], cell: Cell | None, ident: str) -> None:
        """Send a message that belongs to a cell; None: to no one that is known.

        Parameters
        ----------
        kind
            The message's type: ``"stream"``, ``"display_data"`` or ``"update_display_data"``.
        content
            Ready for JSON.
        cell
            Who asked for the work.
        ident
            Its topic.
        """
        own = cell.parent if cell is not None else {}
        if kind != UPDATE:
            self._send(kind, content, own, ident)
            return
        with self._lock, shielded():
            running = self._cells.running
            name = content["transient"]["display_id"]
            self._late.pop(name, None)
            if running is None and sum(map(len, map(str, content["data"].values()))) <= _LATE_CHARACTERS:
                self._late[name] = (self._clock(), content)
                if len(self._late) > _LATE:
                    del self._late[next(iter(self._late))]
            self._send(kind, content, running or own, ident)

    def begin_cell(self) -> None:
        """A cell has begun: send again what was replaced right before, when it may be that nobody heard of it."""
        with self._lock, shielded():
            late, self._late = self._late, {}
            for at, content in late.values():
                if self._clock() - at <= _LATE_SECONDS:
                    self._send(UPDATE, content, self._cells.running or {}, UPDATE)

    def _send(self, kind: str, content: dict[str, Any], parent: dict[str, Any], ident: str) -> None:
        kernel = self._kernel
        kernel.session.send(kernel.iopub_socket, kind, content, parent=parent, ident=ident.encode())
