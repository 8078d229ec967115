"""Lines that several workers print alike are shown once, and counted: ``[repeated 3x across cluster]``.

Decisions only: no clock, no thread, no stream. Lines are alike that differ only in words with numbers in them: times,
addresses, identifiers. The first is never withheld, and lines of one process are not counted against each other: a loop
that prints the same again and again is shown as it is. Source: Ray's ``RAY_DEDUP_LOGS``.
"""

from __future__ import annotations

import dataclasses
import re
from collections import OrderedDict
from typing import NamedTuple

WINDOW = 5.0
"""Ray's figure."""

LINES = 10_000
"""At most so many lines are compared: a flood of different ones must not fill memory."""

_HINT = " (RAY_DEDUP_LOGS=0 shows all of them)"
_NUMBERED = re.compile(r"(?<!\S)[^\s0-9]*[0-9]\S*")
"""A word with a digit in it."""
_WORD = re.compile(r"\w")


class Shown(NamedTuple):
    """A line to print, without its end."""

    stream: str
    text: str


@dataclasses.dataclass(slots=True)
class _Seen:
    since: float
    first: int
    is_shared: bool = False
    withheld: int = 0
    last: str = ""
    """The last one that was withheld, with its origin."""


class Repeats:
    """The lines of the last seconds. All times are seconds of one monotonic clock.

    Parameters
    ----------
    window
        Seconds for which lines are compared, from the first one on.
    """

    def __init__(self, window: float = WINDOW) -> None:
        self.window = window
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()
        self._hinted = False
        self._withheld = 0
        """How many of the lines have been withheld."""

    def take(self, stream: str, line: str, origin: str, pid: int, now: float) -> list[Shown]:
        """Take in a line of the process `pid`; return what to print now: it, nothing, or counts that have become due.

        Parameters
        ----------
        origin
            What stands before the line.
        """
        due = self.due(now)
        if any(map(line.__contains__, "0123456789")):  # Far cheaper than the pattern, for a flood of long lines.
            pattern = " ".join(_NUMBERED.sub("", line).split())
        else:
            pattern = " ".join(line.split())
        compared = _WORD.search(pattern)  # Numbers alone are what is to be seen, and carets belong to the line above.
        seen = self._seen.get((stream, pattern)) if compared else None
        if seen is None:
            if compared:
                self._seen[stream, pattern] = _Seen(now, pid)
            return [*due, Shown(stream, origin + line)]
        seen.is_shared = seen.is_shared or pid != seen.first
        if not seen.is_shared:
            return [*due, Shown(stream, origin + line)]
        self._withheld += not seen.withheld
        seen.withheld += 1
        seen.last = origin + line
        return due

    def due(self, now: float | None = None) -> list[Shown]:
        """Return the counts of lines that have been compared long enough; of all of them without `now`."""
        counts: list[Shown] = []
        while self._seen:
            (stream, pattern), seen = next(iter(self._seen.items()))
            if now is not None and now - seen.since < self.window and len(self._seen) <= LINES:
                break
            del self._seen[stream, pattern]
            self._withheld -= bool(seen.withheld)
            if seen.withheld == 1:
                counts.append(Shown(stream, seen.last))
            elif seen.withheld:
                hint, self._hinted = "" if self._hinted else _HINT, True
                counts.append(Shown(stream, f"{seen.last} [repeated {seen.withheld}x across cluster]{hint}"))
        return counts

    def wait(self, now: float) -> float | None:
        """Return the seconds until `due` has a count to tell; None if nothing is withheld."""
        if not self._withheld:
            return None
        first = next(seen for seen in self._seen.values() if seen.withheld)  # They are in the order of their times.
        return max(0.0, first.since + self.window - now)

    def __repr__(self) -> str:
        return f"<Repeats: {len(self._seen)} lines, {sum(each.withheld for each in self._seen.values())} withheld>"
