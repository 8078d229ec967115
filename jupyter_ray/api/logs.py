"""What tasks print, shown by a plain script: ``(name pid=N) text`` on the stream that it was printed to.

The engine calls `print_lines` in a thread of its own; a timer's thread prints the counts of repeated lines when they
are due. `_lock` keeps the two apart. A notebook has better places for output: its layer replaces the printer (see
`session.set_log_printer`).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from jupyter_ray.api.repeats import Repeats, Shown
from jupyter_ray.events import AnyEvent, LogLines

LogPrinter = Callable[[Sequence[LogLines]], None]

_lock = threading.Lock()
_repeats = Repeats()
_timer: threading.Timer | None = None


def print_lines(lines: Sequence[LogLines]) -> None:
    """Print what tasks wrote, each line with its origin. Source: Ray's driver output.

    Lines that several processes print alike within seconds are printed once and counted, unless the environment
    variable ``RAY_DEDUP_LOGS`` is 0.
    """
    folds = os.environ.get("RAY_DEDUP_LOGS", "1") != "0"
    now = time.monotonic()
    with _lock:
        shown: list[Shown] = []
        for event in lines:
            origin = f"({event.name} pid={event.pid}) "
            for line in event.text.splitlines():
                if folds:
                    shown += _repeats.take(event.stream, line, origin, event.pid, now)
                else:
                    shown.append(Shown(event.stream, origin + line))
        _print(shown)
        _wait(now)


def print_rest() -> None:
    """Print the counts that wait for their time: the session ends."""
    global _timer
    with _lock:
        _print(_repeats.due())
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
        with contextlib.suppress(ValueError, OSError):  # The stream may be closed already, or its reader gone.
            stream.write("\n".join([*parts, ""]))
            stream.flush()


def _wait(now: float) -> None:
    """See to it that counts are printed when they are due; the caller holds `_lock`."""
    global _timer
    pause = _repeats.wait(now)
    if pause is not None and _timer is None:
        _timer = threading.Timer(pause, _due)
        _timer.daemon = True
        _timer.name = "jupyter_ray repeated lines"
        _timer.start()


def _due() -> None:
    global _timer
    with _lock:
        now = time.monotonic()
        _timer = None
        _print(_repeats.due(now))
        _wait(now)


def listener(printer: LogPrinter) -> Callable[[list[AnyEvent]], None]:
    """Return an event listener that hands on the lines."""

    def on_events(events: list[AnyEvent]) -> None:
        lines = [event for event in events if isinstance(event, LogLines)]
        if lines:
            printer(lines)

    return on_events
