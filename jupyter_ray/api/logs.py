"""What tasks print, shown by a plain script: ``(name pid=N) text`` on the stream that it was printed to.

The engine calls `print_lines` in a thread of its own. A notebook has better places for output: its layer replaces the
printer (see `session.set_log_printer`).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence

from jupyter_ray.events import AnyEvent, LogLines

LogPrinter = Callable[[Sequence[LogLines]], None]


def print_lines(lines: Sequence[LogLines]) -> None:
    """Print what tasks wrote, each line with its origin. Source: Ray's driver output."""
    for event in lines:
        stream = sys.stderr if event.stream == "stderr" else sys.stdout
        if stream is None:
            continue
        prefix = f"({event.name} pid={event.pid}) "
        text = "".join(f"{prefix}{line}\n" for line in event.text.splitlines())
        with contextlib.suppress(ValueError, OSError):  # The stream may be closed already, or its reader gone.
            stream.write(text)
            stream.flush()


def listener(printer: LogPrinter) -> Callable[[list[AnyEvent]], None]:
    """Return an event listener that hands on the lines."""

    def on_events(events: list[AnyEvent]) -> None:
        lines = [event for event in events if isinstance(event, LogLines)]
        if lines:
            printer(lines)

    return on_events
