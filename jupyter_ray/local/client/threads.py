"""The helper threads of a client: those that tidy up, and those that run callbacks.

The reader thread must never run a user's code, which may wait for what only the reader can bring. So callbacks have a
thread of their own, made when the first one is needed. `SimpleQueue.put` is safe in finalizers and signal handlers
(CPython promises that), which is what wakes either of them.
"""

from __future__ import annotations

import functools
import logging
import math
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from jupyter_ray.bell import Bell
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.interrupts import shielded, started

_log = logging.getLogger("jupyter_ray")
_Job = Callable[[], object]


class CallbackThread:
    """Runs jobs one after the other, in the order in which they came."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self._queued = 0
        self._done = 0

    def run(self, job: _Job) -> None:
        """Queue a job; an error in it is logged."""
        self._queued += 1
        if self._thread is None and not self._starts():
            self._do(job)
        else:
            self._jobs.put(job)

    def _starts(self) -> bool:
        with shielded(), self._lock:
            if self._thread is None and not self._stopped:
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                if not started(thread):
                    return False
                self._thread = thread
        return True

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(job)
            del job  # What it holds must not live until the next one comes.

    def _do(self, job: _Job) -> None:
        try:
            job()
        except Exception:
            # As text: a record with the error itself would keep the callback and all that it holds.
            _log.error("A callback failed.\n%s", traceback.format_exc())
        self._done += 1

    @property
    def queued(self) -> int:
        """How many jobs were ever queued."""
        return self._queued

    @property
    def done(self) -> int:
        """How many jobs were done."""
        return self._done

    def settle(self, number: int, timeout: float) -> bool:
        """Wait until the job with that number, from 1, is done, or for `timeout` seconds; not in this thread itself.

        Return whether it is done, as far as can be.
        """
        if self._done >= number or threading.current_thread() is self._thread:
            return True
        done = Bell()  # An `Event` that an interrupt tears would stop the thread.
        self._jobs.put(done.ring)
        self._queued += 1
        return done.wait(timeout)

    def stop(self) -> None:
        """End the thread after what is queued; wait for it unless this is it."""
        with self._lock:
            self._stopped = True
        self._jobs.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def __repr__(self) -> str:
        return f"<CallbackThread {self._name}: {self._jobs.qsize()} queued>"


class Departures:
    """What finalizers report, and the thread that works it off soon after.

    A finalizer may run in the midst of anything, and in the main thread an interrupt in the midst of it. So `report`
    is C code alone: it takes no lock, and wakes the thread, which rests for `pause` seconds so that more can come.

    Parameters
    ----------
    work
        Works off what was `reported`.
    pause
        Seconds.
    """

    def __init__(self, work: Callable[[], None], pause: float) -> None:
        self._work = work
        self._pause = pause
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.report: Callable[[Any], None] = self._queue.put
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="jupyter_ray departures", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def reported(self) -> Iterator[Any]:
        """Take out what was reported, also what comes meanwhile."""
        while True:
            try:
                gone = self._queue.get_nowait()
            except queue.Empty:
                return
            if gone is None:
                self._queue.put(None)  # To the thread, from `stop`.
                return
            yield gone

    def _run(self) -> None:
        while True:
            gone = self._queue.get()
            if self._stopped:
                return
            self._queue.put(gone)
            del gone
            time.sleep(self._pause)
            try:
                self._work()
            except (ConnectionError, RaySystemError):
                pass  # The reader tells everybody.
            except Exception:
                _log.exception("What is gone could not be told.")

    def stop(self) -> None:
        """End the thread; wait for it unless this is it. What is reported later is of no session."""
        self._stopped = True
        self._queue.put(None)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(1.0)
        self._work = lambda: None

    def __repr__(self) -> str:
        return f"<Departures: {self._queue.qsize()} reported>"


class Housekeeper:
    """Does small chores soon after they were asked for, and sleeps while there are none.

    Parameters
    ----------
    chores
        Name, seconds to wait so that more can come together, and what to do.
    """

    def __init__(self, chores: dict[str, tuple[float, _Job]]) -> None:
        self._chores = chores
        self._wanted: dict[str, float] = {}
        self._sleeps_until = -math.inf
        """While it sleeps: when it wakes by itself."""
        self._bell = Bell()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="jupyter_ray housekeeper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, chore: str, seconds: float, do: _Job) -> Callable[[], None]:
        """Add a chore, and return what asks for it."""
        self._chores[chore] = seconds, do
        return functools.partial(self.want, chore)

    def want(self, chore: str) -> None:
        """Ask for a chore. Safe in finalizers: it takes no lock."""
        due = self._wanted.get(chore)
        if due is None:
            due = self._wanted[chore] = time.monotonic() + self._chores[chore][0]
        # Written by the thread alone: whoever has just woken it does not know whether it sleeps again.
        if due < self._sleeps_until:
            self._bell.ring()

    def _work(self) -> None:
        while not self._stopped:
            due = min(list(self._wanted.values()), default=math.inf)
            wait = due - time.monotonic()
            if wait <= 0:
                self._do(time.monotonic())
            else:
                self._sleep(due, wait)

    def _sleep(self, due: float, wait: float) -> None:
        """Sleep until it is time for the next chore."""
        self._sleeps_until = due
        # What was asked for just before did not see that we sleep.
        if min(list(self._wanted.values()), default=math.inf) >= due:
            self._bell.wait(wait)
        self._sleeps_until = -math.inf

    def _do(self, now: float) -> None:
        for chore, due in list(self._wanted.items()):
            if due <= now:
                del self._wanted[chore]
                try:
                    self._chores[chore][1]()
                except (ConnectionError, RaySystemError):
                    pass  # The reader tells everybody.
                except Exception:
                    _log.exception("A chore of the session failed: %s", chore)

    def stop(self) -> None:
        """End the thread; wait for it unless this is it."""
        self._stopped = True
        self._bell.ring()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(1.0)
        # Nothing is wanted any more: a finalizer at the interpreter's exit finds this module without its globals.
        self._wanted = dict.fromkeys(self._chores, math.inf)

    def __repr__(self) -> str:
        return f"<Housekeeper: {', '.join(self._wanted) or 'nothing'} to do>"
