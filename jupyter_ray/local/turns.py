"""Who reads a connection: the thread that waits for an answer, or else the reader thread.

Waking another thread costs more than reading a socket, so a thread that waits reads by itself, and hands what is not
its own to whom it belongs. There is one turn to read:

- A thread that waits takes the turn if it is free (`attend`); if not, whoever has it brings the answer.
- The reader thread (`serve`) has the turn while nobody attends. Nothing calls it away from the socket; so when it hears
  that a thread would have liked to read, it lets go of the turn after the next messages, and rests.
- It takes the turn back when nobody has attended for `REST` seconds, and at once when somebody waits who does not
  read. Each time that it looks in vain, since the program goes on attending, it waits twice as long before the next
  look, up to `PATIENCE` times.

Signals. Python runs signal handlers in the main thread, between any two instructions, and what they raise (an
interrupt, a program's own time limit by SIGALRM) would tear the handling of a message apart. While the main thread
attends, they are therefore heard where it sleeps; one that comes while it works is delivered when it sleeps or leaves.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from jupyter_ray import interrupts
from jupyter_ray.bell import Bell
from jupyter_ray.interrupts import Sleep

REST = 0.002
PATIENCE = 16


class Turns:
    """Takes turns reading one connection.

    Parameters
    ----------
    take_in
        Reads what came and handles it; False: the connection has ended. Waits by its argument, or else as it likes.
    busy
        Tells whether somebody waits who does not read.
    rest
        Seconds without anybody attending after which the reader thread reads again.
    """

    def __init__(self, take_in: Callable[[Sleep | None], bool], busy: Callable[[], bool], rest: float = REST) -> None:
        self._take_in = take_in
        self._somebody_waits = busy
        self._listening: set[int] = set()
        """The threads that wait for a message that nobody was asked for."""
        self._least_rest = self._rest_seconds = rest
        self._turn = threading.RLock()  # A finalizer may wait for a value while its thread handles a message.
        self._attending = 0
        self._attended = 0
        """How often anybody attended: by this the reader thread sees that the program goes on doing so."""
        self._wanted = False
        self._ended = False
        self._resting = False
        self._dozing = False
        """The reader thread rests until it is woken, since another thread attends for long."""
        self._bell = Bell()

    def attend(self, done: Callable[[], bool], *, shielded: bool = True, looks: bool = False) -> bool:
        """Read in this thread until `done()`.

        Parameters
        ----------
        done
            Is true once what this thread waits for has been handled.
        shielded
            Keep signals from interrupting anything but the sleep; not needed where their handlers raise nothing.
        looks
            Look at `done` now and then while nothing comes; a shielded main thread does so anyway.

        Returns
        -------
        bool
            False: somebody else reads, or nothing will come any more.
        """
        if not shielded or threading.get_ident() != interrupts.main_thread:
            return self._attend(done, interrupts.BARE.sleep if looks else None)
        with interrupts.Shield() as shield:
            return self._attend(done, shield.sleep)

    def _attend(self, done: Callable[[], bool], sleep: Sleep | None) -> bool:
        if self._listening:  # An interrupt of `listening` may have left us there.
            self._listening.discard(threading.get_ident())
        if not self._turn.acquire(blocking=False):
            self._wanted = True
            return False
        self._attending += 1
        try:
            while not done():
                if self._ended or not self._take_in(sleep):
                    self._ended = True
                    return False
            return True
        finally:
            self._attending -= 1
            self._attended += 1
            self._turn.release()
            if self._dozing or self._ended or self._busy():
                self._bell.ring()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Read at once whatever comes, while this thread waits for it and does not read."""
        self._listening.add(threading.get_ident())
        try:
            self.attention()
            yield
        finally:
            self._listening.discard(threading.get_ident())

    def _busy(self) -> bool:
        return bool(self._listening) or self._somebody_waits()

    def attention(self) -> None:
        """Tell that somebody waits now who does not read."""
        if self._resting and not self._attending:
            self._bell.ring()

    def serve(self) -> None:
        """Read whenever nobody attends, until the connection ends: the reader thread's work."""
        while not self._ended:
            if self._turn.acquire(blocking=False):
                try:
                    while not self._ended and (not self._wanted or self._busy()):
                        self._ended = not self._take_in(None)
                    self._wanted = False
                finally:
                    self._turn.release()
            self._resting = True
            self._rest()
            self._resting = False

    def _rest(self) -> None:
        """Return when it is time for the reader thread to read."""
        while not self._ended:
            attended = self._attended
            if not self._attending and self._busy():
                return
            if self._bell.wait(self._rest_seconds):
                continue
            if attended == self._attended and not self._attending:
                self._rest_seconds = self._least_rest
                return
            self._rest_seconds = min(2 * self._rest_seconds, PATIENCE * self._least_rest)
            if attended != self._attended:
                continue
            self._dozing = True
            if self._attending and attended == self._attended:
                self._bell.wait()
            self._dozing = False

    def __repr__(self) -> str:
        return f"<Turns: {'attended' if self._attending else 'read in the background'}>"
