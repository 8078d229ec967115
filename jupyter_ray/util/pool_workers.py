"""The processes of a `Pool`: actors, and the thread that hands them work.

One thread owns all that changes; others put batches and messages into its inbox. What comes after the end of that
thread fails: whoever puts it there, or the thread itself with its last breath, finds it.

Batches go to the processes in turn, so that each gets as many as another; what waits for a process that is busy for
long goes to one that is free. A process that died is replaced, and its batch fails.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import dataclasses
import functools
import itertools
import os
import pickle
import queue
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import cloudpickle

from jupyter_ray.api.calls import get, kill
from jupyter_ray.api.remote import remote
from jupyter_ray.api.session import session_engine
from jupyter_ray.api.waiting import wait
from jupyter_ray.engine import registry
from jupyter_ray.exceptions import RayActorError, RayError, RaySystemError, RayTaskError
from jupyter_ray.interrupts import Flag, started
from jupyter_ray.util.pool_globals import PoolGlobals

_PATIENCE = 0.05
"""Seconds after which a process that still runs a batch is helped with those that wait for it."""

_LEAVING = 32
"""With more processes that were told to leave, those are forgotten that have left."""

_ENDED = "The session of this pool has ended. Make a new pool."

Call = tuple[tuple[Any, ...], dict[str, Any]]


class PoolTaskError(Exception):
    """What `imap` gives, and an `error_callback` gets, for an error that the function raised. Source: Ray.

    Parameters
    ----------
    underlying
        The error itself, which `get`, `map` and `apply` raise.
    """

    def __init__(self, underlying: BaseException) -> None:
        super().__init__(underlying)
        self.underlying = underlying
        self.__cause__ = underlying  # With its traceback, where somebody raises this one.


@dataclasses.dataclass(slots=True)
class Failed:
    """The error of one call, as it travels: `pickled` is None if it does not pickle.

    `raised`: by the function; else the call could not be made, or its process died.
    """

    name: str
    text: str
    pickled: bytes | None
    raised: bool = False
    pid: int = 0
    """The process of the function."""

    def value(self) -> BaseException:
        """Return the error where it is a value among others: as Ray has it."""
        error = self.error()
        return PoolTaskError(error) if self.raised and not isinstance(error, RayTaskError) else error

    def error(self) -> BaseException:
        """Return the error, with the remote traceback as its cause."""
        told = RayTaskError(self.name, self.text, pid=self.pid)
        if self.pickled is None:
            return told
        try:
            error: BaseException = pickle.loads(self.pickled)
        except Exception:
            return told
        if error.__cause__ is None:
            error.__cause__ = told
        return error

    @classmethod
    def of(cls, error: BaseException, name: str, *, raised: bool = False) -> Failed:
        """Return the error of a call, from inside its ``except``."""
        try:
            pickled: bytes | None = cloudpickle.dumps(error)
        except Exception:
            pickled = None
        if not raised:
            return cls(name, "".join(traceback.format_exception(error)), pickled)
        begins = None if error.__traceback__ is None else error.__traceback__.tb_next  # Below this package's own frame.
        text = "".join(traceback.format_exception(type(error), error, begins))
        return cls(name, text, pickled, raised, os.getpid())


@dataclasses.dataclass(slots=True, eq=False)
class Batch:
    """Calls that go to a process together. `sink` gets their results, `Failed` for those that raised."""

    function: Any
    """A function, or a reference to one."""
    calls: list[Call]
    sink: Callable[[list[Any]], None]
    name: str
    home: int = 0
    """The number of the process that it is meant for: they take turns, so that all get alike many."""
    context: contextvars.Context = dataclasses.field(default_factory=contextvars.copy_context)
    """Of whoever made the calls, for who asks which task or notebook cell that was."""


@dataclasses.dataclass(slots=True, eq=False)
class _Worker:
    handle: Any
    batch: Batch | None = None
    """The one that it runs. It gets no second one: another process may be free sooner."""
    since: float = 0.0
    """When it began that."""
    left: int | None = None
    """Batches that it may still get; None: any number."""


class Reader(Protocol):
    """What submits batches as its results are taken."""

    exhausted: bool


class PoolActor:
    """One process of a pool."""

    def __init__(self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> None:
        self._globals = PoolGlobals()
        if initializer is not None:
            with self._globals.of(initializer, filled=True):
                initializer(*initargs)

    def run(self, function: Callable[..., Any], calls: list[Call]) -> list[Any]:
        """Return the results of the calls, `Failed` for those that raised."""
        results: list[Any] = []
        with self._globals.of(function):
            for args, kwargs in calls:
                try:
                    results.append(function(*args, **kwargs))
                except Exception as error:
                    name = getattr(function, "__name__", type(function).__name__)
                    results.append(Failed.of(error, name, raised=True))
        return results


class Workers:
    """The processes.

    Parameters
    ----------
    size
        How many.
    options
        Of the actors.
    lifetime
        Batches after which a process is replaced; None: never.
    initializer, initargs
        Called in each.

    Raises
    ------
    RayActorError
        The initializer failed.
    """

    def __init__(
        self,
        size: int,
        options: dict[str, Any],
        lifetime: int | None,
        initializer: Callable[..., Any] | None,
        initargs: tuple[Any, ...],
    ) -> None:
        self._engine = session_engine()
        self._plain_class = remote(PoolActor)  # Kept: Python swallows an interrupt where one that it remembers goes.
        self._class = self._plain_class.options(**options)
        self._arguments = (initializer, initargs)
        self._lifetime = lifetime
        self._waiting: collections.deque[Batch] = collections.deque()
        self._inbox: queue.SimpleQueue[Batch | weakref.ref[Reader] | Callable[[], None]] = queue.SimpleQueue()
        self._readers: list[weakref.ref[Reader]] = []
        self._joined = False
        self._turns = itertools.count()
        self._closing = False
        self._ended = False
        self._leaving: list[Any] = []
        """References that are ready when a process has ended."""
        self._workers = [self._start() for _ in range(size)]
        try:
            get([worker.handle.__ray_ready__.remote() for worker in self._workers])
        except BaseException:
            self._kill_all()
            raise
        self._clock: threading.Timer | None = None
        self._thread = threading.Thread(target=self._run, name="pool", daemon=True)
        self._gone = Flag()  # An interrupted `join` takes the thread for ended.

    def start(self) -> None:
        """Start the thread. From now on somebody has to `abandon` them, or to `close`."""
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Queue a batch; it fails if the processes have ended."""
        batch.home = next(self._turns)
        self._inbox.put(batch)
        if self._gone.is_set():
            self._refuse()

    def serve(self, reader: Reader) -> None:
        """Do not end by `close` as long as somebody has `reader`, and that has more to submit."""
        # The thread hears that it is gone, by C code: an interrupt of Python code, there, would be swallowed.
        self._readers.append(weakref.ref(reader, self._inbox.put))

    def look(self) -> None:
        """Have the thread look whether it is needed any more."""
        self._inbox.put(_nothing)

    def close(self) -> None:
        """End the processes when all is done."""

        def closing() -> None:
            self._closing = True

        self._inbox.put(closing)

    def terminate(self) -> None:
        """End the processes at once."""
        self.abandon()
        if threading.current_thread() is not self._thread:
            self._gone.wait()

    @property
    def abandon(self) -> Callable[[], object]:
        """What ends the processes soon: C code."""
        return functools.partial(self._inbox.put, self._terminate)

    def join(self) -> None:
        """Wait for the end, and for no more to be submitted by readers: they may be this thread's."""
        self._joined = True
        self.look()
        self._gone.wait()
        for ref in self._leaving:
            with contextlib.suppress(RayError):
                get(ref)

    # --- in the thread ---

    def _run(self) -> None:
        try:
            while not self._ended:
                if self._waiting and self._free() is not None:
                    self._look_again()
                job = self._inbox.get()
                if isinstance(job, Batch):
                    self._waiting.append(job)
                elif isinstance(job, weakref.ref):
                    self._readers.remove(job)
                else:
                    job()
                del job
                self._serve()
        finally:
            self._gone.set()
            self._refuse()

    def _refuse(self) -> None:
        """Fail what has come after the end. In any thread."""
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._inbox.get_nowait()
                if isinstance(job, Batch):
                    _fail(job, "The pool had ended before this call was made.")

    def _look_again(self) -> None:
        """See to it that it is soon looked which process is busy for so long that another one may help."""
        if self._clock is None:
            clock = threading.Timer(_PATIENCE, self._inbox.put, [self._stop_clock])
            clock.daemon = True
            started(clock)
            self._clock = clock

    def _stop_clock(self) -> None:
        """Its time is up. Said here, in order: a timer's thread may live on for a moment when it has been heard."""
        self._clock = None

    def _serve(self) -> None:
        if self._ended:
            return
        last: Any = None
        while (found := self._next()) is not None:
            worker, batch = found
            self._waiting.remove(batch)
            last = self._hand(worker, batch) or last
        if last is not None:
            last._hurry()
        busy = self._waiting or any(worker.batch is not None for worker in self._workers)
        if self._closing and not busy and not self._is_read():
            self._ended = True
            for worker in self._workers:
                self._let_go(worker)

    def _is_read(self) -> bool:
        """Whether a reader may have more to submit."""
        readers = [reader() for reader in tuple(self._readers)]
        return not self._joined and any(reader is not None and not reader.exhausted for reader in readers)

    def _start(self) -> _Worker:
        return _Worker(self._class.remote(*self._arguments), left=self._lifetime)

    def _next(self) -> tuple[_Worker, Batch] | None:
        """Return a free process and its next batch, or one that is meant for a process that is busy for long."""
        free = self._free()
        if free is None:
            return None
        late = time.monotonic() - _PATIENCE
        helped: Batch | None = None
        for batch in itertools.islice(self._waiting, 4 * len(self._workers)):
            home = self._workers[batch.home % len(self._workers)]
            if home.batch is None:
                return home, batch
            if helped is None and home.since <= late:
                helped = batch
        return None if helped is None else (free, helped)

    def _free(self) -> _Worker | None:
        return next((worker for worker in self._workers if worker.batch is None), None)

    def _hand(self, worker: _Worker, batch: Batch) -> Any:
        """Return the call's reference, or None: there is no call."""
        try:
            self._check_session()
            method = worker.handle.run.options(name=batch.name)
            called = batch.context.run(method.remote, batch.function, batch.calls)
            future = _future(called)
        except Exception as error:  # Arguments that do not pickle, or a session that has ended.
            batch.sink([Failed.of(error, batch.name)] * len(batch.calls))
            return None
        worker.batch, worker.since = batch, time.monotonic()
        if worker.left is not None:
            worker.left -= 1
        future.add_done_callback(lambda done: self._inbox.put(lambda: self._done(worker, batch, done)))
        return called

    def _done(self, worker: _Worker, batch: Batch, future: Any) -> None:
        worker.batch = None
        error = future.exception()
        if error is None:
            batch.sink(future.result())
        else:
            batch.sink([Failed.of(error, batch.name)] * len(batch.calls))
        if isinstance(error, RayActorError):
            self._replace(worker)
        elif worker.left == 0:
            self._replace(worker)
            self._let_go(worker)

    def _replace(self, worker: _Worker) -> None:
        with contextlib.suppress(RayError):  # The session has ended: nothing will be run any more.
            self._check_session()
            self._workers[self._workers.index(worker)] = self._start()

    def _let_go(self, worker: _Worker) -> None:
        with contextlib.suppress(RayError):
            self._check_session()
            self._leaving.append(worker.handle.__ray_terminate__.remote())
            if len(self._leaving) > _LEAVING:
                self._leaving = wait(self._leaving, num_returns=len(self._leaving), timeout=0)[1]

    def _terminate(self) -> None:
        self._ended = True
        self._kill_all()
        lost = [worker.batch for worker in self._workers if worker.batch is not None]
        for batch in [*lost, *self._waiting]:
            _fail(batch, "The pool was terminated before this call was done.")

    def _kill_all(self) -> None:
        with contextlib.suppress(RayError):
            self._check_session()
            for worker in self._workers:
                kill(worker.handle)

    def _check_session(self) -> None:
        """Raise if the session has ended; a call would start another one."""
        if registry.current() is not self._engine or not self._engine.alive:
            raise RaySystemError(_ENDED)

    def __repr__(self) -> str:
        busy = [worker for worker in self._workers if worker.batch is not None]
        return f"<{len(self._workers)} workers, {len(busy)} busy, {len(self._waiting)} batches wait>"


def _nothing() -> None: ...


def _fail(batch: Batch, why: str) -> None:
    batch.sink([Failed.of(RayError(why), batch.name)] * len(batch.calls))


def _future(ref: Any) -> Any:
    try:
        return ref.future()
    except RuntimeError as error:  # A reference without a session: it is ending just now.
        raise RaySystemError(_ENDED) from error
