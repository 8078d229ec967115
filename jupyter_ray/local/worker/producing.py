"""The worker's end of its streams: when the next item may be made.

Owner: a `Producer` belongs to the call that makes the stream; what was read is told in the reader thread. One
`Budget` is shared by all streams of an actor. The lock of the one or the other guards what changes.
"""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from jupyter_ray.interrupts import Change
from jupyter_ray.local.client.client import Client
from jupyter_ray.local.protocol.messages import AwaitRead

EARLY_LIMIT = 1000
"""Streams of calls that have yet to begin, of which it is kept how far they were read."""

_MOMENT, _SHORT = 0.02, 0.002
"""A reader is waited for so long before the runtime hears of it; and where the last item was not read in time."""

LIMIT = "RAY_max_num_generator_returns"
"""The environment variable that says how many items a stream may have; Ray's, as is the default."""


Listening = Callable[[], AbstractContextManager[None]]


class Budget:
    """How many items of an actor's streams may be unread at once, those of calls that have ended included.

    Items are counted before they are made. Source: Ray's ``_actor_generator_backpressure_num_objects``.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._made: dict[bytes, int] = {}
        self._read: dict[bytes, int] = {}
        self._unread = 0
        self._lock = threading.RLock()  # What wakes may look.
        self.changed = Change()
        self.waiting: dict[bytes, Callable[[], object]] = {}
        """What wakes the async generators that wait, by task."""

    def take(self, task: bytes, count: int) -> bool:
        """Count `count` more items of a stream if there is room."""
        with self._lock:
            if not self.has_room:
                return False
            self._made[task] = self._made.get(task, 0) + count
            self._count()
            return True

    @property
    def has_room(self) -> bool:
        """Whether `take` would succeed."""
        return self._unread < self._limit

    def set_made(self, task: bytes, made: int) -> None:
        """A stream has ended with `made` items, or begins again with none."""
        with self._lock:
            if task in self._made:
                self._made[task] = made
                self._count()

    def read(self, task: bytes, index: int) -> None:
        """A stream was read up to `index`; -1: nobody reads on."""
        with self._lock:
            if index < 0:
                self._made.pop(task, None)
                self._read.pop(task, None)
            else:
                self._read[task] = max(self._read.get(task, 0), index)
            self._count()

    def _count(self) -> None:
        self._unread = sum(max(0, made - self._read.get(task, 0)) for task, made in self._made.items())
        self.changed.tell()
        for wake in self.waiting.values():
            wake()

    def on_room(self, task: bytes, wake: Callable[[], object] | None) -> None:
        """Call `wake` whenever there may be room for a stream; None: no more."""
        with self._lock:
            if wake is None:
                self.waiting.pop(task, None)
            else:
                self.waiting[task] = wake


class Producer:
    """One stream: how far it was read, and how far it may be made.

    Parameters
    ----------
    task
        Its task.
    ahead
        How many unread items it may have; not positive: any number.
    step
        How many items the generator yields at once.
    budget
        That of the actor, if it has one.
    listening
        Returns a context in which a reader's word is heard at once.
    """

    def __init__(
        self, task: bytes, ahead: int, step: int = 1, budget: Budget | None = None, listening: Listening = nullcontext
    ) -> None:
        self.task = task
        self._listening = listening
        self.step = step
        self._ahead = ahead
        self._budget = budget
        if budget is not None:
            budget.set_made(task, 0)
        self._consumed = 0
        self._limit = int(os.environ.get(LIMIT) or 100_000_000)
        self._moment = _MOMENT
        self.made = 0
        self.unwanted = False
        self.stopped = False
        """The call was cancelled: it waits for nothing any more."""
        self._lock = threading.Lock()
        self._changed = Change()
        self.wake: Callable[[], object] | None = None
        """For an async generator: called when there is room."""

    def consumed(self, index: int) -> None:
        """Take the reader's word; -1: nobody reads on."""
        with self._lock:
            if index < 0:
                self.unwanted = True
            else:
                self._consumed = max(self._consumed, index)
            wake = self.wake
        self._changed.tell()
        if wake is not None:
            wake()

    def count(self) -> None:
        """Another item was made; ValueError if it is one too many for any stream."""
        if self.made == self._limit:
            raise ValueError(f"A stream has {self._limit} items at most: the environment variable {LIMIT} says so.")
        self.made += 1

    def stop(self) -> None:
        """The call was cancelled."""
        self.stopped = True
        self.consumed(0)
        if self._budget is not None:
            self._budget.changed.tell()

    def may_go_on(self) -> bool:
        """Tell whether the generator may make its next item, and count it if so."""
        if self.unwanted or self.stopped:
            return True
        if self._ahead > 0 and self.made - self._consumed >= self._ahead:
            return False
        return self._budget is None or self._budget.take(self.task, self.step)

    @property
    def is_full(self) -> bool:
        """Whether its reader has to read on before there can be a next item."""
        return 0 < self._ahead <= self.made - self._consumed

    def wait(self, ask: Callable[[int], object] | None = None) -> None:
        """Wait until the next item may be made; after a moment by `ask`, told up to which item it must be read."""
        while not self.may_go_on():
            with self._listening():
                there = self._changed.wait_for(self._in_time, None if ask is None else self._moment)
            self._moment = _MOMENT if there else _SHORT
            if ask is not None and not there:
                ask(self.made - self._ahead + 1)
            if self._budget is not None and not self._free():
                with self._listening():
                    self._budget.changed.wait_for(self._has_budget)

    def _in_time(self) -> bool:
        """Whether the reader is near enough."""
        return self._free() or self._ahead <= 0 or self.made - self._consumed < self._ahead

    def _has_budget(self) -> bool:
        """Whether the stream, with the others of its actor, may go on."""
        return self._free() or self._budget is None or self._budget.has_room

    def _free(self) -> bool:
        return self.unwanted or self.stopped

    def on_room(self, wake: Callable[[], object] | None) -> None:
        """Call `wake` whenever there may be room; None: no more."""
        self.wake = wake
        if self._budget is not None:
            self._budget.on_room(self.task, wake)

    def end(self) -> None:
        """The generator has ended: what was counted and not made is given back."""
        if self._budget is not None and self.unwanted:
            self._budget.read(self.task, -1)
        elif self._budget is not None:
            self._budget.set_made(self.task, self.made)


class Producers:
    """The streams that a worker makes, and how far those were read that have yet to begin.

    A call that runs again makes items that were read before; its reader tells of them no more.
    """

    def __init__(self, listening: Listening = nullcontext) -> None:
        self._listening = listening
        self.running: dict[bytes, Producer] = {}
        self.budget: Budget | None = None
        """Of the actor, where its streams share one."""
        self._early: collections.OrderedDict[bytes, int] = collections.OrderedDict()

    def begin(self, task: bytes, ahead: int, step: int) -> None:
        """A call begins to make a stream; the parameters are those of its `Producer`."""
        self.running[task] = producer = Producer(task, ahead, step, self.budget, self._listening)
        producer.consumed(self._early.pop(task, 0))

    def heard(self, task: bytes, index: int) -> None:
        """Take a reader's word, in the thread that reads: a stream was read up to `index`; -1: nobody reads on."""
        self._early[task] = index if index < 0 else max(index, self._early.get(task, 0))
        producer = self.running.get(task)
        if producer is not None:
            self._early.pop(task, None)
            producer.consumed(index)
        elif len(self._early) > EARLY_LIMIT:  # Those that have ended.
            self._early.popitem(last=False)
        if self.budget is not None:
            self.budget.read(task, index)

    def end(self, task: bytes) -> None:
        """A call that made a stream has ended."""
        producer = self.running.pop(task, None)
        if producer is not None:
            producer.end()


def await_read(client: Client, task: bytes, index: int) -> None:
    """Wait until a plain task's stream was read up to an item: its reader may need the CPUs that the task holds."""
    client.ask(lambda number, _: AwaitRead(number, task, index), blocks=True)
