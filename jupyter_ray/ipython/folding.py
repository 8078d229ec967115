"""How much of a cell's output reaches the page, and when: decisions only, no clock of its own, no thread, no socket.

The rules:

- Each line says where it comes from, ``(name pid=N) text``, unless it is the cell's own task (`%%remote`), or scripts
  would leave it out, too (`logs.prefix`). What scripts would not show at all (`logs.wanted`) is not shown here.
- A line that its task writes over (a progress bar) is the last one: see `lines`.
- A message takes all that has come since the last one of this cell, and the next one waits for an interval.
- Past a number of messages or bytes nothing more is shown. One last line says how much was held back, and is brought
  up to date when the flood pauses, and while it goes on ever more seldom.
- What tasks display keeps its place among the lines. Of one display that changes, the newest state goes. Its changes
  take no more room on the page, so they do not count.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import NamedTuple

import msgspec

from jupyter_ray.api import logs
from jupyter_ray.api.displays import Displayed
from jupyter_ray.engine.displays import Shown
from jupyter_ray.events import LogLines
from jupyter_ray.ipython.lines import Lines
from jupyter_ray.ipython.slots import Slots

MESSAGE_LIMIT = 1_000
BYTE_LIMIT = 2_000_000
INTERVAL = 0.05
"""Seconds between two messages of one cell, so at most 20 per second."""

NOTICE_PAUSE = 0.5
"""Seconds without new lines after which the held-back ones are counted out loud."""

NOTICE = "notice"
"""The stream of the line about what was held back: it replaces its earlier self."""

DISPLAY = "display"
"""The stream of what is displayed."""

DISPLAY_LIMIT = 50_000_000
"""Bytes of displays. A Jupyter server's limit for bytes in a second is for printed text alone."""

_NOTICE_INTERVAL = 2.0
_NOTICE_INTERVAL_MAX = 600.0
_MESSAGE_BYTES = 64_000
_RESERVED_MESSAGES = 100
_RESERVED_BYTES = 20_000
"""What is kept free for the notices."""


class Message(NamedTuple):
    """Something for the page. `stream` is ``stdout``, ``stderr``, `NOTICE`, or `DISPLAY` with what is `shown`."""

    stream: str
    text: str
    shown: Shown | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What one cell may show."""

    messages: int = MESSAGE_LIMIT
    bytes: int = BYTE_LIMIT
    display_bytes: int = DISPLAY_LIMIT
    interval: float = INTERVAL
    notice_pause: float = NOTICE_PAUSE


class CellOutput:
    """What one cell has shown, will show, and holds back.

    `add` takes output in, `due` says when the next message may leave, `take` returns it. All times are seconds of one
    monotonic clock.
    """

    def __init__(self, limits: Limits | None = None, token: str = "") -> None:
        self.limits = limits or Limits()
        self.messages = 0
        self.bytes = 0
        self._held_newlines = 0
        self._held_open = False
        self.held_bytes = 0
        self._next = 0.0
        self._last_added = 0.0
        self._pending: deque[Message] = deque()
        self._pending_bytes = 0
        self._full = False
        self._noticed = 0
        self._next_notice = 0.0
        self._notice_interval = _NOTICE_INTERVAL
        self._lines = Lines()
        self._slots = Slots(token)
        self._display_bytes = 0

    def __repr__(self) -> str:
        return f"<CellOutput {self.messages} messages, {self.bytes} bytes shown, {self.held_lines} lines held back>"

    @property
    def held_lines(self) -> int:
        """The number of lines held back; what is written in pieces is one line."""
        return self._held_newlines + self._held_open

    def add(self, event: LogLines, now: float, *, own: bool = False) -> None:
        """Take in what a task wrote; `own`: it is the cell's own task, whose lines need no origin."""
        self._last_added = now
        if isinstance(event, Displayed):
            self._display(event, now, own=own)
            return
        text = event.text if own else logs.wanted(event.text)
        full = self._full or self.messages >= self.limits.messages - _RESERVED_MESSAGES
        room = 0 if full else self.limits.bytes - _RESERVED_BYTES - self.bytes - self._pending_bytes
        if room > 0:
            prefix = "" if own else logs.prefix(event)
            shown, text = self._lines.fit((event.task, event.pid, event.stream), text, prefix, room)
            if shown:
                self._pending.append(Message(event.stream, shown))
                self._pending_bytes += len(shown.encode("utf-8", "replace"))
        if text:
            self._hold(text, now)

    def _display(self, event: Displayed, now: float, *, own: bool) -> None:
        """Take in what a task displayed."""
        prefix = "" if own else logs.prefix(event)
        text = "".join(prefix + line for line in event.text.splitlines(keepends=True))
        for shown in self._slots.placed(event.task, event.shown):
            size = _size_of(shown)
            if self._replace(shown):
                continue
            if not shown.update:
                full = self.messages >= self.limits.messages - _RESERVED_MESSAGES
                if full or self._display_bytes + size > self.limits.display_bytes:
                    self._hold(event.text or "\n", now)
                    continue
                self._display_bytes += size
            stream = self._lines.close()
            if stream is not None:
                self._pending.append(Message(stream, "\n"))
                self._pending_bytes += 1
            self._pending.append(Message(DISPLAY, text, shown))

    def _replace(self, shown: Shown) -> bool:
        """Put a newer state in the place of one that has not been sent yet; return whether there is one."""
        for index, message in enumerate(self._pending):
            earlier = message.shown
            if earlier is not None and shown.update and earlier.display_id == shown.display_id:
                newer = msgspec.structs.replace(shown, update=earlier.update)
                self._pending[index] = message._replace(shown=newer)
                return True
        return False

    def due(self, now: float) -> float | None:
        """Return the seconds until `take` has something; None if there is nothing to come."""
        waits = []
        if self._pending:
            waits.append(self._next - now)
        elif self._notice_wanted():
            waits.append(self._notice_time() - now)
        return max(0.0, min(waits)) if waits else None

    def take(self, now: float, *, hurry: bool = False) -> Message | None:
        """Return the next message if it is time; None also when all that was due has to be held back.

        With `hurry`, it is time for what came last, too.
        """
        if now < self._next and not (hurry and self._pending):
            return None
        if self._pending:
            message = self._merge()
            is_change = message.shown is not None and message.shown.update
            if self.messages >= self.limits.messages - _RESERVED_MESSAGES and not is_change:
                self._hold(message.text, now)
                return self.take(now, hurry=hurry)
            return self._sent(message, now)
        if self._notice_wanted() and now >= self._notice_time():
            self._noticed = self.held_lines
            self._notice_interval = min(2 * self._notice_interval, _NOTICE_INTERVAL_MAX)
            self._next_notice = now + self._notice_interval
            return self._sent(Message(NOTICE, self.notice()), now)
        return None

    def notice(self) -> str:
        """Return the line that says what was held back."""
        lines = f"{self.held_lines:,} more line{'s' if self.held_lines != 1 else ''}"
        return f"[{lines} ({_size(self.held_bytes)}) held back to keep the page fast; see them with %ray logs]"

    def _notice_wanted(self) -> bool:
        return self.held_lines > self._noticed and self.messages < self.limits.messages

    def _notice_time(self) -> float:
        return max(self._next, min(self._last_added + self.limits.notice_pause, self._next_notice))

    def _merge(self) -> Message:
        first = self._pending.popleft()
        if first.shown is not None:
            return first
        stream, text, _ = first
        parts = [text]
        size = len(text)
        while self._pending and self._pending[0].stream == stream and size < _MESSAGE_BYTES:
            text = self._pending.popleft().text
            parts.append(text)
            size += len(text)
        merged = "".join(parts)
        self._pending_bytes -= len(merged.encode("utf-8", "replace"))
        return Message(stream, merged)

    def _hold(self, text: str, now: float) -> None:
        if not self._full:
            self._full = True
            self._next_notice = now + self._notice_interval
        self._held_newlines += text.count("\n")
        self._held_open = not text.endswith("\n")
        self.held_bytes += len(text.encode("utf-8", "replace"))

    def _sent(self, message: Message, now: float) -> Message:
        self._next = now + self.limits.interval
        if message.shown is None:
            self.messages += 1
            self.bytes += len(message.text.encode("utf-8", "replace"))
        else:
            self.messages += not message.shown.update
        return message


def _size_of(shown: Shown) -> int:
    """Return about how many bytes something takes on its way to the page."""
    return 200 + sum(len(each) if isinstance(each, str) else len(repr(each)) for each in shown.data.values())


def _size(count: int) -> str:
    amount = float(count)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
