"""Tasks that the runtime has handed over and that have not begun.

Owner: the reader thread puts in; the main thread takes out; both give back. Plain tasks are given back whenever the
main thread is about to wait for something, since they might be what it waits for; while it waits, new ones bounce.
Calls of an actor stay: their order is a promise.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable

from jupyter_ray.local.protocol.messages import Execute


class Backlog:
    """The queue of one worker.

    Parameters
    ----------
    forget
        Called with each task that leaves without having run.
    """

    def __init__(self, forget: Callable[[Execute], None]) -> None:
        self._forget = forget
        self._lock = threading.Lock()
        self._queue: deque[Execute | None] = deque()
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._elsewhere: Callable[[Execute | None], None] | None = None
        self._waiting = 0
        self.closed = False
        """Whether plain tasks bounce for good: the process is about to leave."""

    def put(self, execute: Execute) -> bool:
        """Add a task; False if it must be given back at once."""
        with self._lock:
            if (self._waiting or self.closed) and execute.kind == "task":
                return False
            if self._elsewhere is not None:
                self._elsewhere(execute)
                return True
            self._queue.append(execute)
        self._wakes.put(None)
        return True

    def redirect(self, elsewhere: Callable[[Execute | None], None]) -> None:
        """From now on, give everything to `elsewhere` (an event loop), and what is queued first."""
        with self._lock:
            self._elsewhere = elsewhere
            while self._queue:
                elsewhere(self._queue.popleft())

    def close(self) -> list[bytes]:
        """Take no more plain tasks; return those that are to be given back."""
        with self._lock:
            self.closed = True
            return self._take_plain()

    def put_end(self) -> None:
        """Have `get` return None after what is queued."""
        with self._lock:
            if self._elsewhere is not None:
                self._elsewhere(None)
                return
            self._queue.append(None)
        self._wakes.put(None)

    def get(self) -> Execute | None:
        """Wait for the next task; None: leave."""
        while True:
            self._wakes.get()
            try:
                return self._queue.popleft()
            except IndexError:
                continue  # It was given back.

    def begin(self, returned: list[bytes]) -> None:
        """Note that a task is about to wait: add the tasks to give back to `returned`, and let new ones bounce."""
        with self._lock:
            self._waiting += 1
            if self._queue:
                returned.extend(self._take_plain())

    def end(self) -> None:
        """Undo one `begin`."""
        with self._lock:
            self._waiting = max(self._waiting - 1, 0)  # An interrupt may have come before `begin` had counted.

    def recall(self) -> list[bytes]:
        """Return the plain tasks that have not begun, to be given back."""
        with self._lock:
            return self._take_plain()

    def _take_plain(self) -> list[bytes]:
        taken = [each for each in self._queue if each is not None and each.kind == "task"]
        if taken:
            rest = [each for each in self._queue if each is None or each.kind != "task"]
            self._queue.clear()
            self._queue.extend(rest)
            for each in taken:
                self._forget(each)
        return [each.task for each in taken]

    def remove(self, task: bytes) -> Execute | None:
        """Take out one task; None if it is not here (any more)."""
        with self._lock:
            for each in self._queue:
                if each is not None and each.task == task:
                    self._queue.remove(each)
                    return each
        return None

    def __len__(self) -> int:
        return len(self._queue)

    def __repr__(self) -> str:
        return f"<Backlog: {len(self._queue)} tasks>"
