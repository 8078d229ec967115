"""What the extension shows in cells, as messages of a kernel: from any thread, and long after the cell has ended."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from jupyter_ray.interrupts import shielded
from jupyter_ray.ipython.cells import Cell, Cells

UPDATE = "update_display_data"
_LATE_SECONDS = 2.0
_LATE = 64
_LATE_CHARACTERS = 1_000_000
"""What is larger is not kept."""
_WAITING = 1_000
_WAITING_CHARACTERS = 10_000_000
"""So much waits for the next cell, at most: of more, the newest."""


class IOPub:
    """Sends what is shown in cells.

    What is new has the request of its cell as parent, so that pages show it there. What replaces a display has the cell
    that runs: pages find the display by its id, and who runs a notebook without a page (`Cell.alone`) hears of nothing
    but that cell. Between two cells it hears nothing at all: what is replaced then is sent again when the next one
    begins. What is new in a cell that has ended would be lost to it: it goes with the cell that runs, or waits for one.

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
        """The last replacements that came while no cell ran, by display, and until when to say them again."""
        self._waiting: deque[tuple[str, dict[str, Any], str]] = deque()
        """What nobody would have heard."""
        self._waiting_characters = 0

    def __repr__(self) -> str:
        return f"<IOPub: {len(self._late)} late, {len(self._waiting)} wait for a cell>"

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
        with self._lock, shielded():
            if kind != UPDATE:
                parent = self._cells.place(cell)
                if parent is None:
                    self._wait(kind, content, ident)
                else:
                    self._tell_waiting()
                    self._send(kind, content, parent, ident)
                return
            running = self._cells.running
            name = content["transient"]["display_id"]
            self._late.pop(name, None)
            if running is None and _characters(content) <= _LATE_CHARACTERS:
                until = float("inf") if cell is not None and cell.alone else self._clock() + _LATE_SECONDS
                self._late[name] = (until, content)
                if len(self._late) > _LATE:
                    del self._late[next(iter(self._late))]
            self._send(kind, content, running or (cell.parent if cell is not None else {}), ident)

    def begin_cell(self) -> None:
        """A cell has begun: send what waited for it, and again what it may be that nobody heard of."""
        with self._lock, shielded():
            self._tell_waiting()
            late, self._late = self._late, {}
            for until, content in late.values():
                if self._clock() <= until:
                    self._send(UPDATE, content, self._cells.running or {}, UPDATE)

    def _wait(self, kind: str, content: dict[str, Any], ident: str) -> None:
        self._waiting.append((kind, content, ident))
        self._waiting_characters += _characters(content)
        while len(self._waiting) > _WAITING or self._waiting_characters > _WAITING_CHARACTERS:
            self._waiting_characters -= _characters(self._waiting.popleft()[1])

    def _tell_waiting(self) -> None:
        running = self._cells.running
        while running is not None and self._waiting:
            kind, content, ident = self._waiting.popleft()
            self._waiting_characters -= _characters(content)
            self._send(kind, content, running, ident)

    def _send(self, kind: str, content: dict[str, Any], parent: dict[str, Any], ident: str) -> None:
        kernel = self._kernel
        kernel.session.send(kernel.iopub_socket, kind, content, parent=parent, ident=ident.encode())


def _characters(content: dict[str, Any]) -> int:
    """Return about how much a message holds."""
    return sum(map(len, map(str, content.get("data", content).values())))
