"""Which notebook cell asks for work, and where its output goes.

A cell is named by a token: the id of the request that runs it. A call takes the token along, tasks hand it on to the
tasks that they submit, and their output brings it back. So a token stays good long after its cell ended and was run
again: each run is a cell of its own.

Any thread may ask; the table is a dict whose single operations are atomic, and only `Cells.current` adds to it.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

LIMIT = 1_000
"""Cells whose request is remembered. Output for an older one goes to the newest."""

Parent = dict[str, Any]

_NEEDS = ("session", "iopub_socket", "get_parent")


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One run of one cell.

    Attributes
    ----------
    token
        The request's message id; in a terminal ``In[n]``.
    parent
        What a message about the cell names as its parent; empty in a terminal.
    alone
        Nobody sits there who could be asked for input: the notebook is run without a page (by nbclient, and with it
        `jupyter execute`, nbconvert, papermill, Quarto and others), and who runs it hears of the cell that runs only.
    """

    token: str
    parent: Parent
    alone: bool = False


class Cells:
    """The cells that submitted work, by token.

    Parameters
    ----------
    get_parent
        Returns the request that runs in the calling thread (``kernel.get_parent``); None in a terminal.
    execution_count
        Returns the number of the running cell.
    """

    def __init__(
        self, get_parent: Callable[[], Parent] | None, execution_count: Callable[[], int], limit: int = LIMIT
    ) -> None:
        self._get_parent = get_parent
        self._execution_count = execution_count
        self._limit = limit
        self._cells: OrderedDict[str, Cell] = OrderedDict()
        self._running: Cell | None = None

    @classmethod
    def of(cls, shell: Any) -> Cells:
        """Return the cells of an IPython shell, with a kernel or without."""
        return cls(getattr(kernel_of(shell), "get_parent", None), lambda: int(shell.displayhook.prompt_count))

    def __repr__(self) -> str:
        return f"<Cells {len(self._cells)} known>"

    def current(self) -> str | None:
        """Return the token of the cell that runs now: what `set_cell_source` wants. Called for every task."""
        if self._get_parent is None:
            number = f"In[{self._execution_count()}]"
            if number not in self._cells:
                self._add(Cell(number, {}))
            return number
        parent = self._get_parent()
        try:
            token: str = parent["header"]["msg_id"]
        except (KeyError, TypeError):  # Before the first request.
            return None
        if token not in self._cells:
            self._add(_cell(token, parent))
        return token

    def find(self, token: str | None) -> Cell | None:
        """Return the cell of a token; the newest one for a token that is not known; None before the first."""
        found = self._cells.get(token) if token is not None else None
        if found is not None:
            return found
        try:
            return next(reversed(self._cells.values()))
        except (StopIteration, RuntimeError):  # RuntimeError: another thread added one just now.
            return None

    def begin(self, parent: Parent | None = None) -> None:
        """A cell begins to run, or runs: that of the request `parent`; None: of the one in the calling thread."""
        if self._get_parent is None:
            self._running = Cell(f"In[{self._execution_count()}]", {})
            return
        parent = self._get_parent() if parent is None else parent
        self._running = _cell(parent["header"]["msg_id"], parent) if parent and "header" in parent else None

    def end(self) -> None:
        """The cell that ran has ended."""
        self._running = None

    @property
    def running(self) -> Parent | None:
        """What has the cell that runs as its parent; None between two cells."""
        running = self._running
        return None if running is None else running.parent

    def is_home(self, cell: Cell | None) -> bool:
        """Tell whether what is shown of a cell appears below it, so that nobody has to be told whose it is."""
        running = self._running
        if cell is None or (running is not None and running.token == cell.token):
            return True
        return self._get_parent is not None and not cell.alone

    def place(self, cell: Cell | None) -> Parent | None:
        """Return what a message about a cell names as its parent; None: nobody listens before the next cell begins."""
        running = self._running
        if cell is None:
            return {}
        if self.is_home(cell) or (running is not None and not running.alone):
            return cell.parent
        return None if running is None else running.parent

    def _add(self, cell: Cell) -> None:
        self._cells[cell.token] = cell
        while len(self._cells) > self._limit:
            self._cells.popitem(last=False)


def kernel_of(shell: Any) -> Any:
    """Return the ipykernel of a shell; None in a terminal, and in other kernels (xeus-python), whose pages get text."""
    kernel = getattr(shell, "kernel", None)
    return kernel if all(getattr(kernel, need, None) is not None for need in _NEEDS) else None


def _cell(token: str, parent: Parent) -> Cell:
    alone = (parent.get("content") or {}).get("allow_stdin") is False
    # Only the header: the content is the cell's source, and nobody asks for it.
    return Cell(token, {"header": parent["header"]}, alone)
