"""The threads of a concurrent actor, which take calls from one queue.

The standard library's pool makes a future for each call, with a condition of its own. That took two thirds of such a
worker's time, and nobody here waits for a future: a call reports its own end.

To wake a thread costs more than a small call, and two that are awake take the interpreter from each other. So while
calls are quick, the thread that took the last one goes on with the next ones, and no other is woken for them. Should
that one not come back, since its call waits for something, `look` finds after a moment that nobody goes on, and wakes
as many as there are calls.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from jupyter_ray.bell import Bell
from jupyter_ray.local.protocol.messages import Execute
from jupyter_ray.local.worker.process import name_thread

EAGER = 32
"""So many threads are there before the first call: their number does not grow while the actor is used."""

QUICK_SECONDS = 0.0002
"""Calls are quick that take less than this, going by the last ones."""
LOOK_SECONDS = 0.001
"""After so long it is looked whether somebody goes on."""


class _Seat:
    """Where one thread sleeps."""

    __slots__ = ("asleep", "bell", "since")

    def __init__(self) -> None:
        self.bell = Bell()
        self.asleep = False
        self.since = 0.0
        """When it took its last call, or was woken for one."""


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
    want_look
        Asks for a call of `look` after `LOOK_SECONDS`.
    """

    def __init__(self, size: int, name: str, run: Callable[[Execute], None], want_look: Callable[[], object]) -> None:
        self._size = size
        self._name = name
        self._run = run
        self._want_look = want_look
        self._calls: deque[Execute | None] = deque()
        self._sleeping: deque[_Seat] = deque()
        self._front = _Seat()
        """Of the thread that took the last call, or was woken last."""
        self._seconds = QUICK_SECONDS
        """What a call takes."""
        self._seen = 0.0
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

    # --- the thread that reads ---

    def submit(self, execute: Execute) -> None:
        """Run a call in one of the threads."""
        if len(self._threads) < self._size:
            with self._lock:
                self._load += 1
                if self._load > len(self._threads):
                    self._add()
        self._calls.append(execute)  # First: a thread that falls asleep looks once more.
        front, now = self._front, monotonic()
        if front.asleep or self._seconds >= QUICK_SECONDS or now - front.since >= LOOK_SECONDS:
            self._wake(now)
        elif self._sleeping:
            self._want_look()

    def _wake(self, now: float) -> None:
        with contextlib.suppress(IndexError):
            seat = self._sleeping.pop()  # The one that fell asleep last.
            seat.asleep, seat.since = False, now
            self._front = seat
            seat.bell.ring()

    # --- the housekeeper's thread ---

    def look(self) -> None:
        """Wake threads if calls wait and nobody has taken one since the last time."""
        if self._calls and self._sleeping:
            since = self._front.since
            if since == self._seen:
                for _ in range(min(len(self._calls), len(self._sleeping))):
                    self._wake(monotonic())
            self._seen = self._front.since
            self._want_look()

    # --- the threads ---

    def _serve(self) -> None:
        name_thread()
        seat = _Seat()
        while True:
            try:
                execute = self._calls.popleft()
            except IndexError:
                self._sleep(seat)
                continue
            if execute is None:
                return
            seat.since = began = monotonic()
            self._front = seat
            if self._calls and self._seconds >= QUICK_SECONDS:
                self._wake(began)
            self._run(execute)
            del execute
            self._seconds += 0.2 * (monotonic() - began - self._seconds)
            if len(self._threads) < self._size:
                with self._lock:
                    self._load -= 1

    def _sleep(self, seat: _Seat) -> None:
        seat.asleep = True
        self._sleeping.append(seat)
        if self._calls:  # It came before anybody could see that this one sleeps.
            with contextlib.suppress(ValueError):
                self._sleeping.remove(seat)
                seat.asleep = False
                return
        seat.bell.wait()

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return len(self._calls)

    def drain(self, *, queued: bool) -> None:
        """Wait for the calls that run, and for those that are queued or drop them."""
        if not queued:
            self._calls.clear()
        self._calls.extend([None] * len(self._threads))
        for _ in self._threads:
            self._wake(monotonic())
        for thread in self._threads:
            thread.join()

    def __repr__(self) -> str:
        return f"<Threads {self._name}: {len(self._threads)} of {self._size}, {len(self._calls)} calls wait>"
