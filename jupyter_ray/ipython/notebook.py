"""What the extension adds to one shell, put together and taken apart.

The engine's events go, in an engine's thread, to the hub (the panel's model) and to the board (live lines); what
tasks print goes to the router. Each of the three has a thread of its own behind a queue, so the engine waits for none
of them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from jupyter_ray.api import progress, session
from jupyter_ray.engine import registry, sites
from jupyter_ray.engine.base import Engine, NoOwnerError
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.events import UNHANDLED, AnyEvent, LogLines
from jupyter_ray.exceptions import RayError
from jupyter_ray.ids import return_id
from jupyter_ray.interrupts import shielded
from jupyter_ray.ipython import groups, reprs, tracebacks, widgets
from jupyter_ray.ipython.bars import CellCanvas
from jupyter_ray.ipython.cells import Cell, Cells, Parent, kernel_of
from jupyter_ray.ipython.folding import Limits
from jupyter_ray.ipython.iopub import IOPub
from jupyter_ray.ipython.live import Board, Line
from jupyter_ray.ipython.markup import Bundle
from jupyter_ray.ipython.output import KernelSink, MainThreadSink, Router, TerminalSink
from jupyter_ray.ipython.pages import KernelPage, TerminalPage
from jupyter_ray.monitor.hub import Hub

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 1.0
"""For so long the end of a cell waits for a page that takes no output."""

_IN_A_TERMINAL = Limits(messages=10**9, bytes=10**12, interval=0.0)
"""None, as in a script: there is no page to be kept fast, and what is held back would never be told at the end."""


class Notebook:
    """Everything that the extension adds to one shell.

    Parameters
    ----------
    shell
        The IPython shell.
    request
        Runs the cell that loads the extension; None where there is no kernel, or no such cell.

    Attributes
    ----------
    hub, cells, router, board
        The monitor, and where output and live lines go.
    """

    def __init__(self, shell: Any, request: Parent | None = None) -> None:
        self.shell = shell
        kernel = kernel_of(shell)
        self.hub = Hub(cancel=self._cancel)
        self.cells = Cells.of(shell)
        self.cells.begin(request)
        self._iopub = None if kernel is None else IOPub(kernel, self.cells)
        self._printed = TerminalSink() if getattr(shell, "kernel", None) is None else MainThreadSink()
        self.page: TerminalPage
        if self._iopub is None:
            self.router = Router(self.cells, self._printed, limits=_IN_A_TERMINAL, at_once=True)
            self.page = TerminalPage(shell, self._printed.write)
        else:
            self.router = Router(self.cells, KernelSink(self._iopub))
            self.page = KernelPage(shell, self._iopub, self._has_printed)
        self.board = Board(self.page)
        self._undo: list[Callable[[], None]] = []
        self._unsubscribe: Callable[[], None] | None = None
        self._engine: Engine | None = None
        self._changing = threading.RLock()  # `open` runs in a thread of its own, and a session may start meanwhile.

    def __repr__(self) -> str:
        return f"<Notebook {self.hub!r}>"

    def open(self) -> None:
        """Put everything in its place."""
        shell = self.shell
        if self._iopub is not None:
            from jupyter_ray.ipython.comm import open_comm  # Other kernels have no such comms.

            comm = open_comm(self.hub, shell)
            if comm is not None:
                self._undo.append(comm.close)
        self._undo.append(session.set_log_printer(self._print, earlier=self.router.keep))
        if self._iopub is not None:
            self._undo.append(progress.set_canvas(CellCanvas(self._iopub, self.cells)))
            self._undo.append(widgets.install(self.show_output))
        self._undo.append(registry.watch(self._engine_changed))
        self._undo += [tracebacks.install(shell), groups.install(shell)]
        self._undo.append(sites.set_names(functools.partial(tracebacks.with_cell_names, shell)))
        self._undo.append(reprs.install(shell, self._now))
        running = registry.current()
        if running is not None:
            self._engine_changed(running)
            return
        try:
            session.warm_up()
            self.hub.reset(state="warm", message="it takes its CPUs and GPUs at the first call")
        except RayError as error:  # Not on this system: the rest works, for `init(address=...)`.
            self.hub.set_runtime("absent", message=str(error))

    def close(self) -> None:
        """Take everything out again. A session in use goes on; a runtime that nobody has used ends."""
        if registry.current() is None:
            session.shutdown()
        self._leave()
        for undo in reversed(self._undo):
            try:
                undo()
            except Exception:
                with shielded():
                    logger.exception("unloading: a part could not be taken out")
        self._undo.clear()
        self.board.close()
        self.router.close()
        self.hub.close()

    # The engine

    def _engine_changed(self, engine: Engine | None) -> None:
        with self._changing:
            self._follow(engine)

    def _follow(self, engine: Engine | None) -> None:
        self._leave()
        if engine is None:
            self.board.stop()
            self.hub.set_runtime("stopped", message="")
            return
        self._engine = engine
        epoch = self.hub.reset(state="starting", engine="ray" if engine.name == "ray" else "local")

        def listen(events: list[AnyEvent]) -> None:
            self.hub.feed(events, epoch=epoch)
            self.board.feed(events)

        self._unsubscribe = engine.subscribe(listen, condensed=True)

    def _print(self, lines: Sequence[LogLines]) -> None:
        """Take in what is printed; an error that nobody looks at tells of cells as other errors do."""
        if any(each.text.startswith(UNHANDLED) for each in lines):
            lines = [
                msgspec.structs.replace(each, text=tracebacks.with_cell_names(self.shell, each.text))
                if each.text.startswith(UNHANDLED)
                else each
                for each in lines
            ]
        self.router.feed(lines)

    def _leave(self) -> None:
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        self._engine = None
        if unsubscribe is not None:
            with contextlib.suppress(RayError, OSError):
                unsubscribe()

    def _cancel(self, task: str, force: bool) -> None:
        """Cancel a task for the panel; on the hub's thread."""
        engine = self._engine
        if engine is not None:
            with contextlib.suppress(NoOwnerError):  # It has ended, and its result, that nobody holds, with it.
                engine.cancel(return_id(bytes.fromhex(task), 1), force=force, recursive=True)

    def _now(self) -> dict[str, Any]:
        """Return the monitor's state, with what the running cell has done so far."""
        self.settle()
        return self.hub.snapshot()

    def _has_printed(self, cell: Cell) -> bool:
        """Show what a cell's tasks have printed so far, and return whether its result can be shown below that."""
        self.settle()
        return self.router.has_printed(cell) and self.cells.is_home(cell)

    # For the magics

    def begin_cell(self) -> None:
        """A cell begins to run."""
        self.cells.begin()
        if self._iopub is not None:
            self._iopub.begin_cell()
        self._printed.tell()

    def show_output(self) -> None:
        """Show what the cell waited for: its value is shown next, or it ends."""
        self.router.settle(_PATIENCE_SECONDS)
        self._printed.tell()

    def end_cell(self) -> None:
        """The cell that runs ends."""
        self.show_output()
        self.board.settle(_PATIENCE_SECONDS)
        self._printed.tell()
        self.cells.end()

    def settle(self) -> None:
        """Wait until what has just happened is known: the engine tells its events in batches."""
        if self._engine is not None:
            with contextlib.suppress(RayError):
                self._engine.flush_events()

    def show(self, bundle: Bundle) -> None:
        """Show something in the cell that runs."""
        self.page.show(bundle)

    def show_line(self, name: str, ref: ObjectRef[Any], *, quiet: bool, follow: bool) -> Line:
        """Show the live line of a task that was just submitted; `board.record` was called before."""
        cell = self.cells.find(self.cells.current())
        now = self.board.now()
        line = Line(name, ref, cell, f"jupyter_ray-{secrets.token_hex(8)}", quiet=quiet, now=now)
        self.router.own(line.task)
        self.page.show(line.bundle(now), line.display_id)
        line.changed = False
        self.board.add(line, follow=follow)
        return line
