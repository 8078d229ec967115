"""What tasks print, brought to the cell that asked for the work, however late and whatever runs now.

Which thread does what::

    engine's reader thread ── feed() ──► inbox (a deque)
    router's thread ── inbox ──► spool (disk) and folding (per cell) ──► sink: IOPub messages, the cell as parent
    main thread ── own(), flush(), spool.lines() ──► under the lock, or on the spool's own
                ── settle(), when a cell ends ──► sink; an interrupt comes when that is done

So the engine never waits for the page, a flood is paced and folded, and the kernel's main thread has no part in it, but
for what a cell has waited for: it is there before the cell ends.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, Protocol

from jupyter_ray.events import LogLines
from jupyter_ray.interrupts import Change, shielded
from jupyter_ray.ipython.cells import Cell, Cells
from jupyter_ray.ipython.folding import NOTICE, CellOutput, Limits, Message
from jupyter_ray.ipython.iopub import UPDATE, IOPub
from jupyter_ray.ipython.spool import Spool

logger = logging.getLogger(__name__)

_INBOX_CHARACTERS = 16_000_000
"""With more than that undigested, `feed` digests by itself: what comes faster than the thread must not pile up."""

_PATIENCE = 1.0
"""Seconds that a page may hang before the end of a task is shown without waiting for what was printed."""

_CELLS = 1_000
_OWN_TASKS = 1_000


class Sink(Protocol):
    """Where output appears."""

    def show(self, cell: Cell | None, message: Message, notices: int) -> None:
        """Show a message in the cell. `notices` counts the cell's notices, this one included."""


class KernelSink:
    """Shows output in the notebook: messages on IOPub, from any thread (`docs/notebooks.md`)."""

    def __init__(self, iopub: IOPub) -> None:
        self._iopub = iopub

    def show(self, cell: Cell | None, message: Message, notices: int) -> None:
        """Send the message."""
        kind = "stream"
        content: dict[str, Any] = {"name": message.stream, "text": message.text}
        if message.shown is not None:
            kind = UPDATE if message.shown.update else "display_data"
            transient = {"display_id": message.shown.display_id}
            content = {"data": message.shown.data, "metadata": message.shown.metadata, "transient": transient}
        elif message.stream == NOTICE:
            kind = "display_data" if notices == 1 else UPDATE
            name = f"jupyter_ray-held-{cell.token if cell is not None else ''}"
            content = {"data": {"text/plain": message.text}, "metadata": {}, "transient": {"display_id": name}}
        self._iopub.send(kind, content, cell, f"stream.{message.stream}")


class TerminalSink:
    """Prints, above the prompt."""

    def show(self, cell: Cell | None, message: Message, notices: int) -> None:
        """Print the message."""
        text = f"{message.text}\n" if message.stream == NOTICE else message.text
        self.write("stderr" if message.stream in ("stderr", NOTICE) else "stdout", text)

    def write(self, stream: str, text: str) -> None:
        """Print a text."""
        out = sys.stdout if stream == "stdout" else sys.stderr
        with contextlib.suppress(ValueError, OSError, AttributeError):  # Closed, or gone, or there never was one.
            out.write(text)
            out.flush()

    def tell(self) -> None:
        """Print what waits for the main thread: nothing does."""


class MainThreadSink(TerminalSink):
    """Prints in the main thread alone: in other kernels what threads print belongs to no cell, and pages drop it."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, str]] = deque()

    def write(self, stream: str, text: str) -> None:
        """Keep a text until `tell`."""
        self._waiting.append((stream, text))

    def tell(self) -> None:
        """Print what waits, in the cell that runs."""
        while self._waiting:
            super().write(*self._waiting.popleft())


class Router:
    """Takes what tasks print and shows it in their cells.

    Parameters
    ----------
    cells
        Who knows the cells.
    sink
        Where it appears.
    limits
        What a cell may show.
    at_once
        `feed` shows what it takes, where nothing has to be paced: what a program prints after a `get` comes after what
        the task has printed.
    """

    def __init__(
        self,
        cells: Cells,
        sink: Sink,
        *,
        limits: Limits | None = None,
        at_once: bool = False,
    ) -> None:
        self._at_once = at_once
        self.spool = Spool()
        self._cells = cells
        self._sink = sink
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        """Guards `_outputs` and the order of the spool."""
        self._showing = threading.Lock()
        """Held by whoever takes messages until they are shown: they keep their order. Taken before `_lock`."""
        self._outputs: OrderedDict[str, _Entry] = OrderedDict()
        self._own: OrderedDict[str, None] = OrderedDict()
        self._inbox: deque[Sequence[LogLines]] = deque()
        self._inbox_size = 0
        self._flags = threading.Lock()
        """Guards the flags below and `_inbox_size`."""
        self._wake = Change()
        """Tells the thread that there is something to do, or others that there is nothing left."""
        self._idle = True
        self._closed = False
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<Router of {len(self._outputs)} cells, {self.spool!r}>"

    def feed(self, lines: Sequence[LogLines]) -> None:
        """Take in what tasks printed; any thread. Returns at once, unless all is shown at once."""
        if self._closed or not lines:
            return
        size = sum(len(event.text) for event in lines)
        with self._flags, shielded():
            self._inbox.append(lines)
            self._inbox_size += size
            self._idle = False
            crowded = self._inbox_size > _INBOX_CHARACTERS
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jupyter_ray-output", daemon=True)
                self._thread.start()
            self._wake.tell()
        if self._at_once:
            self.settle(_PATIENCE)
        elif crowded:
            with self._lock:
                self._digest()

    def keep(self, lines: Sequence[LogLines]) -> None:
        """Take in what was shown before there was this router: for `%ray logs`."""
        with self._lock:
            self.spool.append(lines)

    def own(self, task: str) -> None:
        """Say that a task is all that its cell does: its lines need no origin."""
        self._own[task] = None
        while len(self._own) > _OWN_TASKS:
            self._own.popitem(last=False)

    def flush(self, timeout: float) -> bool:
        """Wait until what was fed is shown, as far as it will be; return whether it is."""
        return self._wake.wait_for(lambda: self._idle or self._closed, timeout)

    def settle(self, timeout: float) -> None:
        """Show at once what was fed: the cell that runs is about to end. Wait for a page that hangs so long."""
        if self._idle:
            return
        with shielded():
            if not self._showing.acquire(timeout=timeout):
                return
            try:
                self._show(hurry=True)
            except Exception:
                logger.debug("output could not be shown", exc_info=True)
            finally:
                self._showing.release()

    def has_printed(self, cell: Cell) -> bool:
        """Show at once what was fed, and return whether a cell has any output."""
        self.settle(_PATIENCE)
        return cell.token in self._outputs

    def close(self, timeout: float = 1.0) -> None:
        """Show what is due, end the thread and give the disk space back; safe to repeat."""
        self.flush(timeout)
        self._closed = True
        self._wake.tell()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        self.spool.close()

    def _run(self) -> None:
        while not self._closed:
            try:
                pause = self._turn()
            except Exception:  # The page cannot be reached, or the kernel ends. Output is no reason to fail.
                logger.debug("output could not be shown", exc_info=True)
                pause = 0.2
            if pause is None:
                with self._flags:
                    self._idle = not self._inbox
                self._wake.tell()
            self._wake.wait_for(lambda: bool(self._inbox) or self._closed, pause)

    def _turn(self) -> float | None:
        """Show what is due; return the seconds until something else is."""
        with self._showing:
            self._show()
        with self._lock:
            now = time.monotonic()
            waits = [wait for entry in self._outputs.values() if (wait := entry.output.due(now)) is not None]
        return min(waits) if waits else None

    def _show(self, *, hurry: bool = False) -> None:
        with self._lock:
            self._digest()
            now = time.monotonic()
            messages: list[tuple[_Entry, Message]] = []
            for entry in self._outputs.values():
                while (message := entry.output.take(now, hurry=hurry)) is not None:
                    entry.notices += message.stream == NOTICE
                    messages.append((entry, message))
        for entry, message in messages:
            self._sink.show(entry.cell, message, entry.notices)

    def _digest(self) -> None:
        """Spool and fold what was fed; the caller holds `_lock`, which keeps the order."""
        while self._inbox:
            lines = self._inbox.popleft()
            with self._flags:
                self._inbox_size -= sum(len(event.text) for event in lines)
            self.spool.append(lines)
            now = time.monotonic()
            for event in lines:
                cell = self._cells.find(event.cell)
                own = event.task in self._own and self._cells.is_home(cell)
                self._entry(cell).output.add(event, now, own=own)

    def _entry(self, cell: Cell | None) -> _Entry:
        token = cell.token if cell is not None else ""
        entry = self._outputs.get(token)
        if entry is None:
            entry = self._outputs[token] = _Entry(cell, CellOutput(self._limits, token))
            if len(self._outputs) > _CELLS:
                self._outputs.popitem(last=False)
        return entry


class _Entry:
    """A cell and what becomes of its output."""

    __slots__ = ("cell", "notices", "output")

    def __init__(self, cell: Cell | None, output: CellOutput) -> None:
        self.cell = cell
        self.output = output
        self.notices = 0
