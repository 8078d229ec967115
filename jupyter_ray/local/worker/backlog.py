"""Tasks that the runtime has handed over and that have not begun.

Owner: the thread that reads puts in; the main thread takes out; both give back. Plain tasks are given back whenever the
main thread is about to wait for something, since they might be what it waits for; while it waits, new ones bounce.
Calls of an actor stay: their order is a promise.

The runtime takes the next task for begun when it hears that the one before has ended. So both ends must agree on which
came first: only what stands behind a task that has not ended is given back, and that is told under the lock. With the
end of a task the next one is reserved, or the next that comes.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Container

from jupyter_ray.local.protocol.messages import Execute, Function


class Backlog:
    """The queue of one worker.

    Parameters
    ----------
    give_back
        Tells the runtime of tasks that it gets back.
    forget
        Called with each of them.
    read_until
        Reads messages in the thread that calls it until its argument is true; False: another thread does.
    """

    def __init__(
        self,
        give_back: Callable[[list[bytes]], None],
        forget: Callable[[Execute], None],
        read_until: Callable[[Callable[[], bool]], bool] = lambda done: False,
    ) -> None:
        self._give_back = give_back
        self._forget = forget
        self._read_until = read_until
        self._lock = threading.RLock()  # A finalizer may wait for a value in the midst of anything.
        self._queue: deque[Execute | None] = deque()
        self._reserved: Execute | None = None
        """The next task to run: the runtime takes it for begun."""
        self._busy = False
        """A task runs, or is reserved."""
        self._owed: list[bytes] = []
        """Taken out, and not told yet: an interrupt may come in between."""
        self._undelivered: list[Function] = []
        """Definitions that came with a task taken out: the runtime believes that this worker has them."""
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._elsewhere: Callable[[Execute | None], None] | None = None
        self._waiting = 0
        self._closed = False
        self._ended = False

    # --- the thread that reads ---

    def put(self, execute: Execute) -> None:
        """Add a task, or give it back at once."""
        elsewhere = self._elsewhere
        if elsewhere is not None:
            if not self._ended:
                elsewhere(execute)
            return
        with self._lock:
            if self._ended:
                return
            if (self._waiting or self._closed) and self._busy and execute.kind == "task":
                self._set_aside(execute)
                self._owed.append(execute.task)
                self._settle()
                return
            if self._elsewhere is not None:  # Since just now.
                self._elsewhere(execute)
                return
            if not self._busy:
                self._busy = True
                self._reserved = execute
            else:
                self._queue.append(execute)
        self._wakes.put(None)

    def put_end(self) -> None:
        """Have `get` return None after what is queued."""
        with self._lock:
            if self._elsewhere is not None:
                self._elsewhere(None)
                return
            self._queue.append(None)
        self._wakes.put(None)

    def end_now(self) -> None:
        """Have `get` return None at once: what is queued does not begin, and nothing more comes."""
        with self._lock:
            self._ended = True
            self._reserved = None
            self._queue.clear()
            self._queue.append(None)
        self._wakes.put(None)

    def recall(self) -> None:
        """Give back the plain tasks that have not begun; tells the runtime also if there are none."""
        with self._lock:
            self._take_plain()
            self._settle(always=True)

    def remove(self, task: bytes) -> Execute | None:
        """Take out one task; None if it is not here (any more)."""
        with self._lock:
            if self._reserved is not None and self._reserved.task == task:
                found = self._reserved
                self._reserve_next()
                self._undelivered += found.functions
                return found
            for each in self._queue:
                if each is not None and each.task == task:
                    self._queue.remove(each)
                    self._undelivered += each.functions
                    return each
        return None

    def withdraw(self, definitions: Container[str]) -> list[Function]:
        """Return those of `definitions` that came with tasks which were taken out, and that no other is to bring."""
        with self._lock:
            gone = [each for each in self._undelivered if each.definition in definitions]
            self._undelivered = [each for each in self._undelivered if each.definition not in definitions]
        return gone

    # --- the main thread ---

    def get(self) -> Execute | None:
        """Wait for the next task, and read meanwhile; None: leave."""
        while True:
            if self._wakes.empty():
                self._read_until(self._woken)
            self._wakes.get()
            with self._lock:
                if self._reserved is not None:
                    execute, self._reserved = self._reserved, None
                    return self._handed(execute)
                if self._queue:
                    self._busy = True
                    return self._handed(self._queue.popleft())

    def _handed(self, execute: Execute | None) -> Execute | None:
        """Give the next task what came with those taken out, the newest version last.

        At the last moment, since the next one to run may have been queued already when they were taken out.
        """
        if self._undelivered and execute is not None and execute.kind != "method":
            execute.functions[:] = sorted([*self._undelivered, *execute.functions], key=lambda each: each.version)
            self._undelivered.clear()
        return execute

    def _woken(self) -> bool:
        return not self._wakes.empty()

    def end_task(self, report: Callable[[], None]) -> None:
        """Report the end of a task, and reserve the next one, as one step."""
        if self._elsewhere is not None:  # There is none to reserve, and many threads report.
            report()
            return
        with self._lock:
            report()
            if self._reserved is None and not self._ended:
                self._reserve_next()

    def redirect(self, elsewhere: Callable[[Execute | None], None]) -> None:
        """From now on, give everything to `elsewhere` (an event loop, threads), and what is queued first."""
        with self._lock:
            if self._reserved is not None:
                elsewhere(self._reserved)
                self._reserved = None
            while self._queue:
                elsewhere(self._queue.popleft())
            self._elsewhere = elsewhere  # Last: who sees it does not wait for the lock.

    def close(self) -> None:
        """Take no more plain tasks: the process is about to leave."""
        with self._lock:
            self._closed = True
            self._take_plain()
            self._settle()

    # --- any thread of a task ---

    def begin(self) -> None:
        """Note that a task is about to wait: give back what has not begun, and let new tasks bounce."""
        with self._lock:
            self._waiting += 1
            if self._queue:
                self._take_plain()
                self._settle()

    def end(self) -> None:
        """Undo one `begin`."""
        with self._lock:
            self._waiting = max(self._waiting - 1, 0)  # An interrupt may have come before `begin` had counted.
            if self._owed:
                self._settle()

    def _reserve_next(self) -> None:
        following = bool(self._queue) and self._queue[0] is not None
        self._reserved = self._queue.popleft() if following else None
        self._busy = following

    def _take_plain(self) -> None:
        taken = [each for each in self._queue if each is not None and each.kind == "task"]
        if taken:
            self._owed += [each.task for each in taken]
            rest = [each for each in self._queue if each is None or each.kind != "task"]
            self._queue.clear()
            self._queue.extend(rest)
            for each in taken:
                self._set_aside(each)

    def _set_aside(self, execute: Execute) -> None:
        self._undelivered += execute.functions
        self._forget(execute)

    def _settle(self, *, always: bool = False) -> None:
        if self._owed or always:
            self._give_back(list(self._owed))
            self._owed.clear()

    def __len__(self) -> int:
        return len(self._queue) + (self._reserved is not None)

    def __repr__(self) -> str:
        return f"<Backlog: {len(self)} tasks>"
