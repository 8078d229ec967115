"""What tasks display, taken out of what they print: the driver's side of `jupyter_ray.engine.displays`.

``api.logs`` calls `Gathering.take` in the engine's thread, once something is displayed. What comes out is in its place
among the lines; a printer that knows nothing of it prints its text.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from jupyter_ray.engine.displays import Part, Shown
from jupyter_ray.events import DISPLAYED, LogLines

_OPEN = 64
"""So many displays may be on their way; of those that began before, the rest will not come: their workers died."""

_LINES = re.compile(r"[^\n]*\n|[^\n]+")
"""Not `str.splitlines`: what is displayed may contain what that takes for the end of a line, such as U+2028."""

_part = msgspec.json.Decoder(Part)
_shown = msgspec.json.Decoder(Shown)


class Displayed(LogLines, frozen=True, kw_only=True):
    """Something that a task displayed. `text` is what it looks like where only text can be shown."""

    shown: Shown

    def as_text(self) -> LogLines:
        """Return what is left where only text is kept."""
        return LogLines(**{name: getattr(self, name) for name in LogLines.__struct_fields__})


class Gathering:
    """Puts together what comes in parts."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, int], list[str]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Gathering of {len(self._open)} displays>"

    def take(self, lines: Sequence[LogLines]) -> Sequence[LogLines]:
        """Return the lines with what was displayed in the place of its last part."""
        return [each for event in lines for each in (self._split(event) if DISPLAYED in event.text else (event,))]

    def _split(self, event: LogLines) -> list[LogLines]:
        found: list[LogLines] = []
        kept = ""
        for line in _LINES.findall(event.text):
            printed, begin, _ = line.partition(DISPLAYED)
            part = _decoded(line[len(printed) :]) if begin else None
            if part is None:
                kept += line
                continue
            kept += printed
            whole = self._joined(part, event.pid)
            if whole is not None:
                found += [msgspec.structs.replace(event, text=kept)] if kept else []
                found.append(_displayed(event, whole))
                kept = ""
        return [*found, msgspec.structs.replace(event, text=kept)] if kept else found

    def _joined(self, part: Part, pid: int) -> Shown | None:
        """Return the whole, if this is the last of its parts."""
        key = (part.id, pid)
        parts = self._open.setdefault(key, [])
        if part.part != len(parts):  # One was lost: an output that drops lines is between.
            del self._open[key]
            return None
        parts.append(part.text)
        if len(parts) < part.of:
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)
            return None
        del self._open[key]
        try:
            return _shown.decode("".join(parts))
        except msgspec.MsgspecError:
            return None


def _decoded(line: str) -> Part | None:
    """Return the part in a line; None if somebody just prints one's beginning."""
    try:
        return _part.decode(line)
    except msgspec.MsgspecError:
        return None


def _displayed(event: LogLines, shown: Shown) -> Displayed:
    text = str(shown.data.get("text/plain", ""))
    fields = {name: getattr(event, name) for name in LogLines.__struct_fields__}
    return Displayed(**{**fields, "text": f"{text}\n" if text else "", "shown": shown})
