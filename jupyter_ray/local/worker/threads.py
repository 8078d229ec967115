"""The threads of a concurrent actor, which take calls from one queue.

The standard library's pool makes a future for each call, with a condition of its own. That took two thirds of such a
worker's time, and nobody here waits for a future: a call reports its own end.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable

from jupyter_ray.local.protocol.messages import Execute
from jupyter_ray.local.worker.process import name_thread

EAGER = 32
"""So many threads are there before the first call: their number does not grow while the actor is used."""


class Threads:
    """A pool of threads.

    Parameters
    ----------
    size
        How many at most.
    name
        Of the threads.
    run
        Runs a call and reports its end; must not raise.
    """

    def __init__(self, size: int, name: str, run: Callable[[Execute], None]) -> None:
        self._size = size
        self._name = name
        self._run = run
        self._calls: queue.SimpleQueue[Execute | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._load = 0
        """Calls that are queued or run; counted while there may be more threads."""
        for _ in range(min(size, EAGER)):
            self._add()

    def _add(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"{self._name}_{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def submit(self, execute: Execute) -> None:
        """Run a call in one of the threads."""
        if len(self._threads) < self._size:
            with self._lock:
                self._load += 1
                if self._load > len(self._threads):
                    self._add()
        self._calls.put(execute)

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return self._calls.qsize()

    def _serve(self) -> None:
        name_thread()
        while (execute := self._calls.get()) is not None:
            self._run(execute)
            del execute
            if len(self._threads) < self._size:
                with self._lock:
                    self._load -= 1

    def drain(self, *, queued: bool) -> None:
        """Wait for the calls that run, and for those that are queued or drop them."""
        if not queued:
            with contextlib.suppress(queue.Empty):
                while True:
                    self._calls.get_nowait()
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def __repr__(self) -> str:
        return f"<Threads {self._name}: {len(self._threads)} of {self._size}, {self._calls.qsize()} calls wait>"
