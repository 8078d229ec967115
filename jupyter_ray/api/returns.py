"""What a carriage return leaves of a line: progress bars write theirs anew with it, many times a second.

Decisions only: no clock, no stream.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

PAUSE = 1.0
"""Seconds between two states of one line that a script shows: each is a line of its own there."""

_SOURCES = 1_000


def rewritten(line: str, text: str) -> str:
    """Return what `line` shows when `text` has been written after it; each carriage return leads back to its begin.

    One at the end stays there, for the text to come.
    """
    if line.endswith("\r"):
        line, text = line[:-1], f"\r{text}"
    first, *others = text.split("\r")
    line += first
    for other in others:
        line = other + line[len(other) :]
    return f"{line}\r" if text.endswith("\r") else line


@dataclasses.dataclass(slots=True)
class _Line:
    shows: str
    told: str
    at: float
    """When it was told last."""


class Returns:
    """Makes lines of what several sources write, some of which is to be written over."""

    def __init__(self) -> None:
        self._begun: OrderedDict[Hashable, _Line] = OrderedDict()

    def lines(self, source: Hashable, text: str, now: float) -> list[str]:
        """Return the lines to show of what a source wrote.

        A line that may be written over is shown in its first state, then once a `PAUSE` at most, and in its last one.
        What is begun in another way is shown as it is: nobody knows when it ends.
        """
        if not text:
            return []
        if "\r" not in text and source not in self._begun:
            return text.split("\n")[: -1 if text.endswith("\n") else None]
        lines: list[str] = []
        *whole, rest = text.split("\n")
        for line in whole:
            lines += self._ended(source, line)
        if rest:
            lines += self._rewritten(source, rest, now)
        return lines

    def _ended(self, source: Hashable, text: str) -> list[str]:
        begun = self._begun.pop(source, None)
        if begun is None and "\r" not in text:
            return [text]
        shows = rewritten("" if begun is None else begun.shows, text).rstrip(" \r")
        return [shows] if shows not in ("", None if begun is None else begun.told) else []

    def _rewritten(self, source: Hashable, text: str, now: float) -> list[str]:
        line = self._begun.get(source)
        if line is None:
            if "\r" not in text:
                return [text]
            line = self._begun[source] = _Line("", "", now - PAUSE)
            if len(self._begun) > _SOURCES:
                self._begun.popitem(last=False)
        line.shows = rewritten(line.shows, text)
        shows = line.shows.rstrip(" \r")
        if now < line.at + PAUSE or shows in ("", line.told):
            return []
        line.told, line.at = shows, now
        return [shows]

    def rest(self) -> list[tuple[Any, str]]:
        """Return, with their sources, the last states that have not been shown: nothing more will come."""
        left = [(source, line.shows.rstrip(" \r"), line.told) for source, line in self._begun.items()]
        self._begun.clear()
        return [(source, shows) for source, shows, told in left if shows not in ("", told)]

    def __repr__(self) -> str:
        return f"<Returns: {len(self._begun)} lines that may be written over>"
