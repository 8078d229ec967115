"""The short way of a call into Ray: what Ray's Python code works out for a call is the same for all calls of a kind.

Before it submits a call, Ray goes through some forty options and binds the arguments to a signature, which takes as
long as the submission itself. The calls of one plan differ only in their header. So the first one goes Ray's way, and
what Ray hands to its core then is kept; the later ones hand over the same, with another header.

To Ray an argument is worth a quarter of a task, and an eighth of a method's call that is waited for: it travels as an
object of its own, and is unpacked as one. What is called again and again with the same header, so without arguments of
its own, is called with nothing: a task becomes a function that has the header inside; the header of a method is kept in
the cluster, and its key stands in the method's descriptor, where the actor's process finds it.

Whatever could differ from call to call goes Ray's way always: arguments beside the header, several returns, generators,
tracing, a task that captures its children in its placement group, another session.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray._raylet import PythonFunctionDescriptor

BIND_AFTER = 64
"""Calls with one header in a row after which it is sent once and for all: that takes some milliseconds."""

BOUND = 1000
"""Headers that one process sends so at most: they are kept as long as the session."""

_bound = 0
_watching = threading.Lock()
_SUBMITS = ("submit_task", "submit_actor_task")
_DESCRIPTORS = 4096


class Way:
    """The way of the calls of one plan, to one actor if they are an actor's.

    Parameters
    ----------
    remote
        Ray's own.
    single
        Whether a call has one return value.
    bind
        Returns the way, made from this one, of the calls that do not carry a header; None: there is none.
    """

    __slots__ = (
        "_after", "_before", "_bind", "_core", "_inside", "_mark", "_remote", "_repeated", "_single", "_submit",
    )  # fmt: skip

    def __init__(
        self, remote: Callable[..., Any], *, single: bool, bind: Callable[[Way, bytes], Way] | None = None
    ) -> None:
        self._remote = remote
        self._single = single
        self._bind = bind
        self._repeated = 0
        self._inside: tuple[bytes, Way | None] = (b"", None)
        """The last header, and the way of the calls that do not carry it."""
        self._core: Any = None
        self._submit: Any = None
        self._before: tuple[Any, ...] = ()
        self._after: tuple[Any, ...] = ()
        self._mark: Any = None

    def __call__(self, header: bytes, values: Sequence[Any], *, capture: bool) -> Any:
        """Submit a call; return what Ray does.

        Parameters
        ----------
        header, values
            Its arguments.
        capture
            Whether the running task captures its children in its placement group.
        """
        if not self._single or values or capture:
            return self._remote(header, *values)
        return self._call(header) if self._bind is None else self._call_bound(header, self._bind)

    def _call_bound(self, header: bytes, bind: Callable[[Way, bytes], Way]) -> Any:
        global _bound
        known, inside = self._inside  # At once: other threads call too.
        if header != known:
            self._inside, self._repeated = (header, None), 0
            return self._call(header)
        if inside is None:
            self._repeated += 1
            if self._repeated < BIND_AFTER or _bound >= BOUND:
                return self._call(header)
            _bound += 1
            inside = bind(self, header)
            self._inside = (header, inside)
        return inside._call()

    def _call(self, *header: bytes) -> Any:
        if self._core is not None and getattr(ray._private.worker.global_worker, "core_worker", None) is self._core:
            return self._submit(*self._before, [self._mark, *header] if header else [], *self._after)[0]
        return self._learn(header)

    def _learn(self, header: tuple[bytes, ...]) -> Any:
        worker = ray._private.worker.global_worker
        if not _watching.acquire(blocking=False):  # Another thread learns: its watcher must not be watched.
            return self._remote(*header)
        try:
            core = worker.core_worker
            watcher = _Watcher(core)
            worker.core_worker = watcher
            try:
                found = self._remote(*header)
            finally:
                worker.core_worker = core
        finally:
            _watching.release()
        self._take(watcher, core, header)
        return found

    def _take(self, watcher: _Watcher, core: Any, header: tuple[bytes, ...]) -> None:
        if len(watcher.seen) != 1:
            return
        [(name, handed)] = watcher.seen
        # Ray lays out positional arguments as pairs of a mark and the argument.
        places = [n for n, each in enumerate(handed) if type(each) is list and tuple(each[1::2]) == header]
        if len(places) == 1 and len(handed[places[0]]) == 2 * len(header):
            [place] = places
            self._mark = handed[place][0] if header else None
            self._before, self._after = handed[:place], handed[place + 1 :]
            self._submit, self._core = getattr(core, name), core

    def named(self, header: bytes, key: str) -> Way:
        """Return the way of a method's calls whose header is known to the actor's process by its key."""
        made = Way(functools.partial(self._remote, header), single=self._single)
        for name in ("_after", "_before", "_core", "_submit"):
            setattr(made, name, getattr(self, name))
        made._before = tuple(
            _descriptor(each, key) if isinstance(each, PythonFunctionDescriptor) else each for each in self._before
        )
        return made

    def __repr__(self) -> str:
        return f"<Way: {'long' if self._core is None else 'short'}>"


def _descriptor(known: Any, key: str) -> Any:
    return PythonFunctionDescriptor(known.module_name, known.function_name, known.class_name, key)


def take_names() -> None:
    """Have this process, an actor's, run calls whose descriptor names their header."""
    manager = ray._private.worker.global_worker.function_actor_manager
    known = manager.get_execution_info

    def find(job: Any, descriptor: Any) -> Any:
        """Return what Ray shall run. It asks once for each descriptor."""
        key = descriptor.function_hash
        if not key or descriptor.function_name != "run":
            return known(job, descriptor)
        if len(manager.execution_infos) > _DESCRIPTORS:
            manager.execution_infos.clear()
        info = known(job, _descriptor(descriptor, ""))
        method = functools.partial(info.function.method, header=key)
        return info._replace(function=manager._make_actor_method_executor(info.function_name, method))

    manager.get_execution_info = find


class _Watcher:
    """Stands for Ray's core while one call is submitted, and notes with which arguments."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self._thread = threading.get_ident()
        self.seen: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._core, name)
        if name not in _SUBMITS or threading.get_ident() != self._thread:
            return found

        def submit(*args: Any) -> Any:
            self.seen.append((name, args))
            return found(*args)

        return submit
