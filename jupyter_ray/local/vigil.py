"""Staying awake for what is about to come.

To sleep and to be woken costs as much as a small call: tens of microseconds in the kernel, caches gone cold, and on a
virtual machine the way out of the halt. So who expects an answer, or the next call, looks for it for a moment
before it sleeps, and offers the processor to others between two looks. Where it looks in vain, since the other side
takes longer or has no processor, it looks ever more seldom.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from time import monotonic

LOOK_SECONDS = 0.0001
"""How long it is looked for: what a small call and its caller need."""
_RAREST = 64
"""At least once in so many times it is looked for again."""

yield_processor: Callable[[], object] = getattr(os, "sched_yield", lambda: time.sleep(0))


class Vigil:
    """Looks for what one side expects of the other. Owner: the thread that waits.

    `expect` says that something is likely to come soon; whoever waits next, by `poll` or in a loop of its own with
    `goes_on` and `ended`, looks for it then.
    """

    __slots__ = ("_expected", "_pause", "_until", "_vain")

    def __init__(self) -> None:
        self._expected = False
        self._until = 0.0
        self._vain = 0
        """So many times it is not looked for, after the last time in vain."""
        self._pause = 0
        """How many of them are left."""

    def expect(self) -> bool:
        """Note that something is about to come; tell whether it is worth while to look for it."""
        if self._pause:
            self._pause -= 1
            return False
        self._expected = True
        self._until = monotonic() + LOOK_SECONDS
        return True

    def goes_on(self) -> bool:
        """Offer the processor to others, and tell whether to look once more."""
        if monotonic() >= self._until:
            return False
        yield_processor()
        return True

    def ended(self, *, came: bool) -> None:
        """Learn from how it ended. What came late, since others had the processor, might have woken us before."""
        self._expected = False
        self._vain = 0 if came and monotonic() < self._until else min(2 * self._vain + 1, _RAREST - 1)
        self._pause = self._vain

    def poll(self, poll: select.poll, milliseconds: float | None = None) -> list[tuple[int, int]]:
        """Do as ``poll.poll(milliseconds)``, after some looks if something is expected."""
        if self._expected:
            ready = poll.poll(0)
            while not ready and self.goes_on():
                ready = poll.poll(0)
            self.ended(came=bool(ready))
            if ready:
                return ready
        return poll.poll(milliseconds)

    def __repr__(self) -> str:
        return f"<Vigil: {'awake' if self._expected else 'asleep'}, looks once in {self._vain + 1}>"
