"""What user code prints, sent to the runtime with the task that printed it.

 print() ── TaskStream ──────────────► Output (buffers by stream and task) ── Log ──► runtime
 printf() in C, child processes ── pipe ── pump thread ──► Output, under the task that runs now

Owner: `_lock` guards the buffers and the reading ends of the pipes; whoever fills a buffer sends it. A socket that is
full stops the printer: that is the brake on a flood.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import fcntl
import io
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Any, Literal

from jupyter_ray.engine.context import current_task
from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.local.protocol.messages import Log

StreamName = Literal["stdout", "stderr"]
_STREAMS: tuple[StreamName, ...] = ("stdout", "stderr")
_FULL = 32 * 1024
_PIPE = 1 << 20
"""Bytes that C code may print while it keeps Python from reading (it holds the interpreter lock)."""
_decoder = codecs.getincrementaldecoder("utf-8")
"""Of bytes that come in pieces: a character may be in two of them."""


class _Buffer:
    __slots__ = ("context", "parts", "size", "stream")

    def __init__(self, stream: StreamName, context: TaskContext | None) -> None:
        self.stream = stream
        self.context = context
        self.parts: list[str] = []
        self.size = 0


class Output:
    """The buffers of one worker.

    Parameters
    ----------
    send
        Sends a `Log`.
    wake
        Asks for `flush` after `config.LOG_INTERVAL`.
    """

    def __init__(self, send: Callable[[Log], None], wake: Callable[[], None]) -> None:
        self._send = send
        self._wake = wake
        self._lock = threading.RLock()
        self._buffers: dict[tuple[StreamName, bytes | None], _Buffer] = {}
        self._pipes: dict[int, tuple[StreamName, codecs.IncrementalDecoder]] = {}
        self._poll = select.poll()
        self._flush_c: Callable[[Any], Any] = lambda _: None
        self.label = ""
        """What stands before an actor's lines: its class, or the instance's ``repr``."""
        self.last = ""
        """The task that has ended last: what prints now, under no task, is a thread that it left behind."""
        self.main_task: Callable[[], TaskContext | None] = lambda: None
        """The task that runs now, for what C code prints."""
        self.push: Callable[[], None] = lambda: None
        """Has what was sent leave this process at once."""

    def write(self, stream: StreamName, text: str, context: TaskContext | None) -> None:
        """Take what `context` printed."""
        if not text:
            return
        key = (stream, None if context is None else context.task)
        with self._lock:
            buffer = self._buffers.get(key)
            is_new = buffer is None
            if buffer is None:
                self._emit_lines(stream)
                buffer = self._buffers[key] = _Buffer(stream, context)
            buffer.parts.append(text)
            buffer.size += len(text)
            if buffer.size >= _FULL:
                del self._buffers[key]
                self._emit(buffer)
            elif is_new:
                self._wake()

    def _emit_lines(self, stream: StreamName) -> None:
        """Send what other tasks printed, unless they are in the middle of a line: lines keep their order."""
        for key in [key for key, buffer in self._buffers.items() if key[0] == stream]:
            if self._buffers[key].parts[-1].endswith("\n"):
                self._emit(self._buffers.pop(key))

    @property
    def waiting(self) -> bool:
        """Whether something that was printed has not been sent."""
        return bool(self._buffers)

    def flush(self) -> None:
        """Send all that waits; what another thread is just sending has gone too, hence the lock in any case."""
        with self._lock:
            while self._buffers:
                self._emit(self._buffers.pop(next(iter(self._buffers))))

    def end_task(self, task: bytes) -> None:
        """Send what a task printed: nothing of it may come after its result."""
        if self._pipes:
            self._flush_c(None)
        with self._lock:  # Also if nothing waits here: another thread may be just sending it.
            if self._pipes and self._poll.poll(0):
                self._drain()
            for stream in _STREAMS if self._buffers else ():
                buffer = self._buffers.pop((stream, task), None)
                if buffer is not None:
                    self._emit(buffer)

    def _emit(self, buffer: _Buffer) -> None:
        context = buffer.context
        text = "".join(buffer.parts)
        for start in range(0, len(text), 4 * _FULL):
            part = text[start : start + 4 * _FULL]
            if context is None:
                self._send(Log(buffer.stream, part, self.label or self.last))
            else:
                name = context.name if context.actor is None else self.label or context.name
                whose = (name, context.task, context.actor, context.cell, context.attempt)
                self._send(Log(buffer.stream, part, *whose))

    # --- what does not go through sys.stdout ---

    def capture(self) -> None:
        """Replace ``sys.stdout`` and ``sys.stderr``, and lead the file descriptors 1 and 2 into pipes."""
        streams: list[Any] = [TaskStream(self, "stdout"), TaskStream(self, "stderr")]
        sys.stdout, sys.stderr = streams
        sys.__stdout__, sys.__stderr__ = streams  # type: ignore[misc]
        for descriptor, stream in enumerate(_STREAMS, 1):
            reading, writing = os.pipe()
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                with contextlib.suppress(OSError):  # The user has too many large pipes: the usual size does.
                    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
            os.dup2(writing, descriptor)
            os.close(writing)
            os.set_blocking(reading, False)
            self._pipes[reading] = stream, _decoder("replace")
            self._poll.register(reading, select.POLLIN)
        self._flush_c = ctypes.CDLL(None).fflush
        threading.Thread(target=self._pump, name="jupyter_ray output", daemon=True).start()

    def _pump(self) -> None:
        poll = select.poll()
        for descriptor in self._pipes:
            poll.register(descriptor, select.POLLIN)
        while True:
            poll.poll()
            self._drain()

    def _drain(self) -> None:
        with self._lock:
            context = self.main_task()
            for descriptor, (stream, decoder) in self._pipes.items():
                try:
                    data = os.read(descriptor, _PIPE)
                except BlockingIOError:
                    continue
                self.write(stream, decoder.decode(data), context)

    def disown(self) -> None:
        """In a forked process: forget what the parent printed, and print into the pipes that the parent reads."""
        self._lock = threading.RLock()
        self._buffers = {}
        self._send = _write_plainly
        self._wake = self.flush
        self.push = lambda: None

    def __repr__(self) -> str:
        return f"<Output: {len(self._buffers)} buffers>"


def _write_plainly(log: Log) -> None:
    data = log.text.encode("utf-8", "replace")
    while data:
        data = data[os.write(1 if log.stream == "stdout" else 2, data) :]


class TaskStream(io.TextIOBase):
    """A text stream that knows which task writes to it, also in threads and coroutines."""

    def __init__(self, output: Output, name: StreamName) -> None:
        super().__init__()
        self._output = output
        self._name = name
        self.buffer = _Binary(self)
        self.mode = "w"

    @property
    def name(self) -> str:
        """The file's name, as of the interpreter's own streams."""
        return f"<{self._name}>"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of `buffer`."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What becomes of bytes that are no text."""
        return "replace"

    def write(self, text: str) -> int:
        """Write text."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._output.write(self._name, text, current_task())
        return len(text)

    def flush(self) -> None:
        """Send what was written: it is safe then, whatever happens to the process."""
        self._output.flush()
        self._output.push()

    def writable(self) -> bool:
        """Tell that one can write."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, which leads to the same place."""
        return 1 if self._name == "stdout" else 2

    def reconfigure(self, **options: Any) -> None:
        """Accept what `io.TextIOWrapper.reconfigure` takes; there is nothing to change."""


class _Binary(io.RawIOBase):
    """``sys.stdout.buffer``."""

    def __init__(self, text: TaskStream) -> None:
        super().__init__()
        self._text = text
        self._decoder = _decoder("replace")

    def write(self, data: Any) -> int:
        """Write bytes."""
        view = bytes(data)
        self._text.write(self._decoder.decode(view))
        return len(view)

    def writable(self) -> bool:
        """Tell that one can write."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._text.fileno()
