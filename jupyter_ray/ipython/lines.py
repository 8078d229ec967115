"""The end of a cell's output: which line is open there, and what is written over.

Pure. A page can write over its last line only (with a carriage return), as a terminal does, and several tasks may have
a progress bar each. So one of them has the last line, and the others wait until it ends, or rests while they go on: its
task may have been killed. Other lines go above it.
"""

from __future__ import annotations

from jupyter_ray.api.returns import rewritten

Source = tuple[str | None, int, str]
"""Task, pid and stream."""

_LONG = 1_000
"""Characters of an open line that are remembered: what is written over is shorter."""

RESTS = 50
"""So often others may change before the last line that does not is taken for one that never will again."""


class Lines:
    """Where the lines of one cell's tasks go."""

    def __init__(self) -> None:
        self._open: Source | None = None
        """Whose line has no end yet."""
        self._shown = ""
        """What that line shows."""
        self._bars: dict[Source, tuple[str, str]] = {}
        """Origin and text of each line that has been written over and has no end yet."""
        self._waited = 0
        """How often others have changed since the last line did."""

    def __repr__(self) -> str:
        return f"<Lines: {self._open} is open, {len(self._bars)} are written over>"

    def close(self) -> str | None:
        """Something else is shown next: return the stream of the line that must be ended before."""
        stream = self._open[2] if self._open is not None else None
        self._open = None
        return stream

    def fit(self, source: Source, text: str, prefix: str, room: int) -> tuple[str, str]:
        """Return what to show of a text, lines with their origin before them, and the rest that finds no room.

        Parameters
        ----------
        room
            Bytes.
        """
        quick = "\r" not in text and not self._bars
        parts: list[str] = []
        start = 0
        while start < len(text):
            end = text.find("\n", start) + 1 or len(text)
            before = self._open, self._shown, self._bars.get(source)
            line = text[start:end]
            part = self._plain(source, line, prefix) if quick else self._placed(source, line, prefix)
            size = len(part) if part.isascii() else len(part.encode("utf-8", "replace"))
            if size > room:
                self._open, self._shown, bar = before
                self._bars.pop(source, None)
                if bar is not None:
                    self._bars[source] = bar
                break
            room -= size
            parts.append(part)
            start = end
        return "".join(parts), text[start:]

    def _plain(self, source: Source, line: str, prefix: str) -> str:
        """Return what shows a line, or a piece of one, that is not written over."""
        ended = line.endswith("\n")
        if self._open == source:
            shown = line
            self._shown = (self._shown + line)[:_LONG]
        else:
            shown = prefix + line
            if ended and self._is_below(source):
                return self._above(shown[:-1])
            self._shown = shown[:_LONG]
            if self._open is not None:
                shown = "\n" + shown
        self._open = None if ended else source
        return shown + self._next(source[2]) if ended and self._bars else shown

    def _placed(self, source: Source, line: str, prefix: str) -> str:
        """As `_plain`; the line may be written over."""
        ended = line.endswith("\n")
        text = line.rstrip("\r\n") if ended else line
        bar = self._bars.pop(source, None)
        if bar is None and "\r" not in text:
            return self._plain(source, text + "\n" * ended, prefix)
        before = bar[1] if bar is not None else self._shown.removeprefix(prefix) if self._open == source else ""
        text = rewritten(before, text)
        shows = prefix + text.rstrip(" \r")
        is_blank = shows == prefix
        if not is_blank and not ended:
            self._bars[source] = prefix, text
        if self._open == source:
            self._waited = 0
            over = f"\r{('' if is_blank else shows).ljust(len(self._shown))}"
            self._shown = shows
            if not is_blank and not ended:
                return over
            self._open = None
            return over + ("\r" if is_blank else "\n") + self._next(source[2])
        if is_blank:
            return ""
        if self._is_below(source):
            if ended:
                return self._above(shows)
            self._waited += 1
            if self._waited <= RESTS:
                return ""
            assert self._open is not None, "it is above"
            del self._bars[self._open]
        self._waited = 0
        begin = "" if self._open is None else "\n"
        self._open, self._shown = (None, "") if ended else (source, shows)
        return begin + shows + "\n" * ended

    def _is_below(self, source: Source) -> bool:
        """Tell whether the last line is one that is written over, in the same stream: others go above it."""
        return self._open is not None and self._open in self._bars and self._open[2] == source[2]

    def _above(self, line: str) -> str:
        return f"\r{line.ljust(len(self._shown))}\n{self._shown}"

    def _next(self, stream: str) -> str:
        """Return the first of those that wait for the last line, which is free now."""
        for source, (prefix, text) in self._bars.items():
            if source[2] == stream:
                self._waited = 0
                self._open, self._shown = source, prefix + text.rstrip(" \r")
                return self._shown
        return ""
