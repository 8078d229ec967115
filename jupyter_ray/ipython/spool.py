"""All that tasks printed, and displayed as text, on disk: what `%ray logs` pages through.

The files have no name (they are unlinked as soon as they are made), so nothing is left of them however the kernel
ends. There are two, used in turn: when the newer one is full the older one is emptied and takes over. So the newest
output is always there.

The router's thread appends, any other thread reads; `_lock` guards the bookkeeping, reads do not move the position of
writes.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import msgspec

from jupyter_ray.api.displays import Displayed
from jupyter_ray.events import LogLines

DISK_LIMIT = 1024**3
"""Bytes on disk, both files together."""

_CHUNK = 1024**2
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LogLines)


class Spool:
    """Output of tasks, the newest `limit` bytes of it."""

    def __init__(self, limit: int = DISK_LIMIT) -> None:
        self._half = limit // 2
        self._lock = threading.Lock()
        self._old: IO[bytes] | None = None
        self._new: IO[bytes] | None = None
        self._old_size = 0
        self._new_size = 0
        self.dropped_bytes = 0
        self.error: str | None = None

    def __repr__(self) -> str:
        return f"<Spool {self.size} bytes, {self.dropped_bytes} dropped>"

    @property
    def size(self) -> int:
        """The number of bytes on disk."""
        return self._old_size + self._new_size

    def append(self, events: Iterable[LogLines]) -> None:
        """Write what tasks printed. A full disk is noted, not raised: printing must not fail."""
        texts = (event.as_text() if isinstance(event, Displayed) else event for event in events)
        data = b"".join(_encoder.encode(event) + b"\n" for event in texts)
        with self._lock:
            try:
                self._write(data)
            except OSError as error:
                self.error = str(error)
                self.dropped_bytes += len(data)

    def _write(self, data: bytes) -> None:
        if self._new is None:
            self._new = _nameless()
        elif self._new_size + len(data) > self._half:
            oldest = self._old or _nameless()
            oldest.seek(0)
            oldest.truncate()
            self.dropped_bytes += self._old_size
            self._old, self._new = self._new, oldest
            self._old_size, self._new_size = self._new_size, 0
        self._new_size += self._new.write(data) or 0

    def __iter__(self) -> Iterator[LogLines]:
        """Read everything that was there when the iteration began, oldest first."""
        with self._lock:
            files = [(file, size) for file, size in ((self._old, self._old_size), (self._new, self._new_size)) if file]
        for file, size in files:
            rest = b""
            for at in range(0, size, _CHUNK):
                lines = (rest + os.pread(file.fileno(), min(_CHUNK, size - at), at)).split(b"\n")
                rest = lines.pop()
                for line in lines:
                    try:
                        yield _decoder.decode(line)
                    except msgspec.DecodeError:  # The file was emptied for newer output meanwhile.
                        continue

    def lines(self, what: str | None = None, *, grep: str | None = None) -> Iterator[str]:
        """Return printed lines, each with its origin, oldest first.

        Parameters
        ----------
        what
            A task's or actor's name, the beginning of a task's or actor's id, or a process id. None: everything.
        grep
            Only lines that contain this text.
        """
        begun: dict[tuple[str | None, int, str], str] = {}
        for event in self:
            if what is not None and not _matches(event, what):
                continue
            prefix = event.origin
            source = (event.task, event.pid, event.stream)
            *whole, rest = (begun.pop(source, prefix) + event.text).split("\n")
            for number, line in enumerate(whole):
                line = line if number == 0 else prefix + line
                if grep is None or grep in line:
                    yield line
            if rest and (whole or rest != prefix):
                begun[source] = prefix + rest if whole else rest
        yield from (line for line in begun.values() if grep is None or grep in line)

    def close(self) -> None:
        """Give the disk space back; safe to repeat."""
        with self._lock:
            for file in (self._old, self._new):
                if file is not None:
                    file.close()
            self._old = self._new = None
            self._old_size = self._new_size = 0


def _nameless() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="jupyter_ray", buffering=0)


def _matches(event: LogLines, what: str) -> bool:
    if what == event.name or what == str(event.pid):
        return True
    ids: Sequence[str | None] = (event.task, event.actor)
    return len(what) >= 4 and any(key is not None and (key.startswith(what) or key.endswith(what)) for key in ids)
