"""What tasks print, shown by a plain script: ``(name pid=N) text`` on the stream that it was printed to.

The engine calls `print_lines` in a thread of its own; a timer's thread prints the counts of repeated lines when they
are due. `_lock` keeps the two apart. A notebook has better places for output: its layer replaces the printer (see
`session.set_log_printer`).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from jupyter_ray.api import progress
from jupyter_ray.api.repeats import WINDOW, Repeats, Shown
from jupyter_ray.api.returns import Returns
from jupyter_ray.events import DISPLAYED, UNHANDLED, AnyEvent, LogLines
from jupyter_ray.interrupts import shielded, started
from jupyter_ray.task_errors import RayTaskError

if TYPE_CHECKING:
    from jupyter_ray.api.displays import Gathering

_log = logging.getLogger("jupyter_ray")

LogPrinter = Callable[[Sequence[LogLines]], None]

NEVER_FOLDED = "__ray_testing_never_deduplicate__"
"""Lines with this word are shown as they are (Ray's default)."""

_CYAN = 36
_COLOURS = (35, 36, 32, 90, 94, 95)
"""One for each process, by turns: those that can be read on light and on dark terminals."""

_lock = threading.Lock()
_repeats = Repeats(float(os.environ.get("RAY_DEDUP_LOGS_AGG_WINDOW_S") or WINDOW))
_returns = Returns()
_timer: threading.Timer | None = None
_paused = False
_plain = False


def _begin_anew() -> None:
    """In a forked child: what waits to be told is the parent's to tell, and who held the lock is not there."""
    global _lock, _repeats, _returns, _timer
    _lock = threading.Lock()
    _repeats = Repeats(_repeats.window)
    _returns = Returns()
    _timer = None


os.register_at_fork(after_in_child=_begin_anew)


def pause(paused: bool) -> None:
    """Have what tasks print dropped, or shown again: while somebody types at a debugger's prompt."""
    global _paused
    _paused = paused


_MARKS = re.compile(r" *[~^][ ~^]*")


def be_plain(plain: bool) -> None:
    """Leave the origin of each line out, or write it: a `LoggingConfig` has every record say where it is from."""
    global _plain
    _plain = plain


def print_lines(lines: Sequence[LogLines]) -> None:
    """Print what tasks wrote, each line with its origin. Source: Ray's driver output.

    Lines that several processes print alike within seconds are printed once and counted, unless the environment
    variable ``RAY_DEDUP_LOGS`` is 0, or the line fits ``RAY_DEDUP_LOGS_ALLOW_REGEX``; what fits
    ``RAY_DEDUP_LOGS_SKIP_REGEX`` is not shown. Of a line that a progress bar writes anew, some states are shown, see
    `Returns`. What the origin looks like: `prefix`.
    """
    if _paused:
        return
    environ = os.environ
    folds = environ.get("RAY_DEDUP_LOGS", "1") != "0"
    always, never = _patterns()
    now = time.monotonic()
    with _lock:
        shown: list[Shown] = []
        for event in lines:
            origin = prefix(event)
            folded = False
            for line in _returns.lines((event.stream, origin, event.pid, event.task), event.text, now):
                if not folds or (always and always.search(line)):
                    shown.append(Shown(event.stream, origin + line))
                elif never and never.search(line):
                    continue
                elif folded and _MARKS.fullmatch(line):
                    continue  # The carets below a line of a traceback that is not shown.
                else:
                    taken = _repeats.take(event.stream, line, origin, event.pid, now)
                    folded = not taken
                    shown += taken
        _print(shown)
        _wait(now)


def wanted(text: str) -> str:
    """Return what tasks wrote without the lines that `print_lines` would never show."""
    always, never = _patterns()
    if never is None or os.environ.get("RAY_DEDUP_LOGS") == "0":
        return text
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not never.search(line) or (always and always.search(line)))


def _patterns() -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    """Return what fits the lines that are always shown as they are, and those that never are; None: there is none."""
    always = os.environ.get("RAY_DEDUP_LOGS_ALLOW_REGEX", NEVER_FOLDED)
    never = os.environ.get("RAY_DEDUP_LOGS_SKIP_REGEX", "")
    return _compiled("RAY_DEDUP_LOGS_ALLOW_REGEX", always), _compiled("RAY_DEDUP_LOGS_SKIP_REGEX", never)


@functools.lru_cache(maxsize=8)  # What is no pattern is told of once.
def _compiled(variable: str, pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern) if pattern else None
    except re.error as error:
        _log.warning("%s=%r is not a regular expression (%s), and has no effect.", variable, pattern, error)
        return None


def prefix(event: LogLines) -> str:
    """Return what stands before each line: its origin, see `_coloured`; nothing where that is to be left out.

    That a `LoggingConfig` does, and ``RAY_DISABLE_WORKER_LOG_PREFIX=1``.
    """
    plain = _plain or os.environ.get("RAY_DISABLE_WORKER_LOG_PREFIX", "0") not in ("0", "")
    return "" if plain else _coloured(event)


def _coloured(event: LogLines) -> str:
    """Return what stands before a line: in cyan on a terminal.

    ``RAY_COLOR_PREFIX=1``: in a colour of each process, also in a file; ``0``: as it is, as with ``NO_COLOR``.
    """
    choice = os.environ.get("RAY_COLOR_PREFIX")
    stream = sys.stderr if event.stream == "stderr" else sys.stdout
    if choice == "0" or (choice != "1" and (os.environ.get("NO_COLOR") or not progress.is_terminal(stream))):
        return event.origin
    colour = _COLOURS[event.pid % len(_COLOURS)] if choice == "1" else _CYAN
    return f"\x1b[{colour}m{event.origin[:-1]}\x1b[0m "


def print_rest() -> None:
    """Print the counts that wait for their time, and leave the bars as they are: the session ends."""
    global _timer
    progress.instance().finish()
    with _lock, shielded():
        left = [Shown(stream, origin + line) for (stream, origin, *_), line in _returns.rest()]
        _print([*left, *_repeats.due()])
        if _timer is not None:
            _timer.cancel()
            _timer = None


def _print(shown: Iterable[Shown]) -> None:
    texts: dict[str, list[str]] = {}
    for each in shown:
        texts.setdefault(each.stream, []).append(each.text)
    for name, parts in texts.items():
        stream = sys.stderr if name == "stderr" else sys.stdout
        if stream is None:
            continue
        with contextlib.suppress(ValueError, OSError, AttributeError):  # Closed, its reader is gone, or it lacks one.
            stream.write(progress.as_lines(stream, "\n".join([*parts, ""])))
            stream.flush()


def _wait(now: float) -> None:
    """See to it that counts are printed when they are due; the caller holds `_lock`."""
    global _timer
    pause = _repeats.wait(now)
    if pause is not None and _timer is None:
        timer = threading.Timer(pause, _due)
        timer.daemon = True
        timer.name = "jupyter_ray repeated lines"
        if started(timer):
            _timer = timer


def _due() -> None:
    global _timer
    with _lock:
        now = time.monotonic()
        _timer = None
        _print(_repeats.due(now))
        _wait(now)


def _without_handled(lines: Sequence[LogLines]) -> Sequence[LogLines]:
    """Hand errors that nobody looked at to who has taken Ray's place for them, and return the other lines."""
    inside = sys.modules.get("jupyter_ray._private.worker")
    handler = None if inside is None else vars(inside).get("_unhandled_error_handler")
    if handler is None:
        return lines
    for each in lines:
        if each.text.startswith(UNHANDLED):
            text = each.text.removeprefix(UNHANDLED)
            handler(RayTaskError(each.name, text, RuntimeError(text), pid=each.pid))
    return [each for each in lines if not each.text.startswith(UNHANDLED)]


class Told:
    """Up to which line of a session a printer was told, by the line's number: its successor gets the log anew."""

    def __init__(self) -> None:
        self._seq = 0

    def split(self, events: list[AnyEvent]) -> tuple[list[AnyEvent], list[AnyEvent]]:
        """Return the events that were told, and those that are told now."""
        before = [event for event in events if 0 < event.seq <= self._seq]
        fresh = [event for event in events if not 0 < event.seq <= self._seq]
        self._seq = max(self._seq, *(event.seq for event in fresh), 0)
        return before, fresh

    def __repr__(self) -> str:
        return f"<Told up to {self._seq}>"


def listener(
    printer: LogPrinter, told: Told | None = None, earlier: LogPrinter | None = None
) -> Callable[[list[AnyEvent]], None]:
    """Return an event listener that hands on the lines.

    Parameters
    ----------
    printer
        Shows them.
    told
        What others have shown of this session.
    earlier
        Gets that.
    """
    told = told or Told()
    gathering: list[Gathering] = []

    def lines_of(events: list[AnyEvent]) -> tuple[Sequence[LogLines], list[progress.State]]:
        lines, states = progress.without_states([event for event in events if isinstance(event, LogLines)])
        if any(DISPLAYED in event.text for event in lines):
            if not gathering:
                from jupyter_ray.api.displays import Gathering

                gathering.append(Gathering())
            lines = gathering[0].take(lines)
        if os.environ.get("RAY_IGNORE_UNHANDLED_ERRORS") == "1":  # Modin sets it after `init`.
            lines = [each for each in lines if not each.text.startswith(UNHANDLED)]
        return _without_handled(lines), states

    def on_events(events: list[AnyEvent]) -> None:
        before, fresh = told.split(events)
        if before:
            known, _ = lines_of(before)
            if earlier is not None and known:
                earlier(known)
        lines, states = lines_of(fresh)
        if lines:
            progress.instance().hide_bars()
            printer(lines)
        for state in states:
            progress.instance().process_state_update(*state)

    return on_events
