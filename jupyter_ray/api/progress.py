"""The progress bars of all processes, on the driver's side.

``api.logs`` takes the states out of what tasks print (`without_states`) and gives them to the one `BarManager`, in the
engine's thread; bars of the driver itself come from any thread. The manager's lock keeps them apart. Where bars are
drawn is a `Canvas`: below a script's output, or in the cells of a notebook, whose layer sets another one.
Source: Ray's ``tqdm_ray``.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from jupyter_ray.engine.context import current_cell
from jupyter_ray.events import LogLines

MAGIC = "__ray_tqdm_magic_token__"
"""Ray's word: a line of output with it is the state of a bar."""

_WIDTH = 24


class Bar:
    """One bar, as the driver knows it.

    Attributes
    ----------
    desc, n, total, unit
        As the task gave them; `desc` says first which process it is.
    closed
        The bar will not move any more.
    cell
        The notebook cell that asked for the work.
    """

    def __init__(self, state: dict[str, Any], origin: str, cell: str | None) -> None:
        self.uuid = str(state["uuid"])
        self.position = int(state.get("pos") or 0)
        self.cell = cell
        self._origin = origin
        self._since = self._now = time.monotonic()
        self._first = state.get("x") or 0
        self.closed = False
        self.take(state)

    @property
    def bar(self) -> Bar:
        """The bar: in Ray it is one of tqdm's inside of another object."""
        return self

    def take(self, state: dict[str, Any]) -> None:
        """Take in a newer state."""
        self.desc = self._origin + str(state.get("desc") or "")
        self.n = state.get("x") or 0
        self.total = state.get("total")
        self.unit = str(state.get("unit") or "it")
        self.closed = bool(state.get("closed"))
        self._now = time.monotonic()

    @property
    def share(self) -> float | None:
        """How much is done, from 0 to 1; None if the total is not known."""
        return min(1.0, max(0.0, self.n / self.total)) if self.total else None

    def counts(self) -> str:
        """Return how far it is: ``42/100 it, 3.1 s, 13.5 it/s, 4.3 s left``."""
        elapsed = self._now - self._since
        done = f"{self.n:,}/{self.total:,}" if self.total else f"{self.n:,}"
        parts = [f"{done} {self.unit}", f"{elapsed:.1f} s"]
        rate = (self.n - self._first) / elapsed if elapsed > 0 else 0.0
        if rate > 0:
            parts.append(f"{rate:,.3g} {self.unit}/s")
            if self.total and self.n < self.total:
                parts.append(f"{(self.total - self.n) / rate:,.1f} s left")
        return ", ".join(parts)

    def text(self) -> str:
        """Return one line that shows the bar."""
        share = self.share
        if share is None:
            return f"{self.desc} {self.counts()}".strip()
        full = round(share * _WIDTH)
        return f"{self.desc} {share:4.0%} [{'#' * full}{'.' * (_WIDTH - full)}] {self.counts()}".strip()

    def __repr__(self) -> str:
        return f"<Bar {self.text()}>"


class BarGroup:
    """The bars of one process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.bars_by_uuid: dict[str, Bar] = {}

    def __repr__(self) -> str:
        return f"<BarGroup of process {self.pid}: {len(self.bars_by_uuid)} bars>"


class Canvas(Protocol):
    """Where bars are drawn. The manager calls it under its lock."""

    def draw(self, bars: Sequence[Bar], changed: Bar) -> None:
        """Draw a bar that is new or has changed, `bars` being those that still move, in their order."""

    def hide(self, bars: Sequence[Bar]) -> None:
        """Make room: something else is about to be printed."""


class TerminalCanvas:
    """Draws in the last lines of a terminal; elsewhere a bar is one line, written when it ends."""

    def __init__(self) -> None:
        self._lines = 0

    def draw(self, bars: Sequence[Bar], changed: Bar) -> None:
        """Draw all bars anew; one that ended stays above them."""
        if not is_terminal(sys.stderr):
            if changed.closed:
                _write(changed.text() + "\n")
            return
        _guard_print()
        wide = _columns() - 1
        ended = f"{changed.text()[:wide]}\n" if changed.closed else ""
        lines = [each.text()[:wide] for each in bars if not each.closed]
        _write(self._erased() + ended + "\n".join(lines))
        self._lines = len(lines)

    def hide(self, bars: Sequence[Bar]) -> None:
        """Take the bars off the screen."""
        if self._lines:
            _write(self._erased())
            self._lines = 0

    def _erased(self) -> str:
        return ("\r" + f"\x1b[{self._lines - 1}A" * (self._lines > 1) + "\x1b[J") if self._lines else ""


class BarManager:
    """All bars of the session."""

    def __init__(self) -> None:
        self.bar_groups: dict[tuple[str, int], BarGroup] = {}
        self.in_hidden_state = False
        self.canvas: Canvas = TerminalCanvas()
        self.lock = threading.RLock()

    def process_state_update(self, state: dict[str, Any], origin: str = "", cell: str | None = None) -> None:
        """Take in the state of a bar, which may be new.

        Parameters
        ----------
        origin
            What stands before the description: which process it is.
        cell
            The notebook cell that asked for the work; None: the one that runs.
        """
        with self.lock:
            process = (str(state.get("ip")), int(state.get("pid") or 0))
            group = self.bar_groups.setdefault(process, BarGroup(process[1]))
            bar = group.bars_by_uuid.get(str(state["uuid"]))
            if bar is None:
                bar = group.bars_by_uuid[str(state["uuid"])] = Bar(state, origin, cell or current_cell())
            else:
                bar.take(state)
            self.in_hidden_state = False
            self.canvas.draw(self._bars(), bar)
            if bar.closed:
                del group.bars_by_uuid[bar.uuid]
                if not group.bars_by_uuid:
                    del self.bar_groups[process]

    def hide_bars(self) -> None:
        """Make room for other output; the next state of a bar brings them back."""
        with self.lock:
            if not self.in_hidden_state and self.bar_groups:
                self.in_hidden_state = True
                self.canvas.hide(self._bars())

    def unhide_bars(self) -> None:
        """Bring the bars back."""
        with self.lock:
            bars = self._bars()
            if self.in_hidden_state and bars:
                self.canvas.draw(bars, bars[-1])
            self.in_hidden_state = False

    def finish(self) -> None:
        """Leave every bar as it is: the session ends."""
        with self.lock:
            for bar in self._bars():
                bar.closed = True
                self.canvas.draw(self._bars(), bar)
            self.bar_groups.clear()
            self.in_hidden_state = False
            _release_print()

    def _bars(self) -> list[Bar]:
        groups = self.bar_groups.values()
        return [bar for group in groups for bar in sorted(group.bars_by_uuid.values(), key=lambda each: each.position)]

    def __repr__(self) -> str:
        return f"<BarManager: {len(self._bars())} bars>"


_manager = BarManager()


def _begin_anew() -> None:
    """In a forked child: the bars are the parent's, and who held the lock is not there."""
    _manager.lock = threading.RLock()
    _manager.bar_groups.clear()


os.register_at_fork(after_in_child=_begin_anew)


def instance() -> BarManager:
    """Return the manager of this process."""
    return _manager


def set_canvas(canvas: Canvas) -> Callable[[], None]:
    """Say where bars are drawn; the returned function puts the earlier canvas back."""
    before = _manager.canvas
    _manager.canvas = canvas

    def undo() -> None:
        _manager.canvas = before

    return undo


def safe_print(*args: Any, **kwargs: Any) -> None:
    """Print as `print` does, without spoiling bars that a terminal shows."""
    if kwargs.get("file") not in (None, sys.stdout, sys.stderr):
        _print(*args, **kwargs)
        return
    _manager.hide_bars()
    _print(*args, **kwargs)
    _manager.unhide_bars()


_print: Callable[..., None] = print


def _guard_print() -> None:
    """Have the script's own `print` make room for bars, unless ``RAY_TQDM_PATCH_PRINT=0``. Source: Ray."""
    global _print
    if builtins.print is not safe_print and os.environ.get("RAY_TQDM_PATCH_PRINT", "1").lower() in ("1", "true"):
        _print = builtins.print
        builtins.print = safe_print


def _release_print() -> None:
    if builtins.print is safe_print:
        builtins.print = _print


State = tuple[dict[str, Any], str, str | None]
"""What a bar said, and of which process and which cell it is: the arguments of `process_state_update`."""


def without_states(lines: Sequence[LogLines]) -> tuple[Sequence[LogLines], list[State]]:
    """Return what is to be shown of what tasks printed, and what bars said in it."""
    states: list[State] = []
    if not any(MAGIC in event.text for event in lines):
        return lines, states
    return [kept for event in lines if (kept := _without_states(event, states)) is not None], states


def _without_states(event: LogLines, states: list[State]) -> LogLines | None:
    if MAGIC not in event.text:
        return event
    kept = ""
    for line in event.text.splitlines(keepends=True):
        state = _state(line) if MAGIC in line else None
        if state is None:
            kept += line
        else:
            states.append((state, f"({event.name} pid={event.pid}) ", event.cell))
    return msgspec.structs.replace(event, text=kept) if kept.strip("\n") else None


def _state(line: str) -> dict[str, Any] | None:
    """Return the state in a line; None if somebody just prints the word, or the line was cut."""
    try:
        state = json.loads(line)
        return state if state["__magic_token__"] == MAGIC and state["uuid"] else None
    except (ValueError, KeyError, TypeError):
        return None


def is_terminal(stream: Any) -> bool:
    """Tell whether a standard stream, which may be missing, is one of a terminal."""
    try:
        return stream is not None and bool(stream.isatty())
    except (ValueError, AttributeError):  # It is closed, or somebody's own.
        return False


def as_lines(stream: Any, text: str) -> str:
    """Return how a text is written to a standard stream so that each line begins at the left.

    A terminal that a program has for itself, as Python's prompt since 3.13, takes a line feed for the way down alone.
    """
    try:
        is_raw = is_terminal(stream) and not termios.tcgetattr(stream.fileno())[1] & termios.OPOST
    except (OSError, ValueError, AttributeError, termios.error):  # It only looks like one.
        is_raw = False
    return text.replace("\n", "\r\n") if is_raw else text


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return 80


def _write(text: str) -> None:
    try:
        sys.stderr.write(as_lines(sys.stderr, text))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # Closed, or there is none.
        return
