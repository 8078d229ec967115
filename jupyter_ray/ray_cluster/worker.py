"""What Ray runs in its workers for this package: tasks, and the hosts of actors.

Ray's process, Ray's threads: the main thread runs tasks and the methods of plain actors, pools run those of threaded
actors, and an event loop those of async ones. Each call enters its `TaskContext`, so that the whole interface works in
it, and leaves with the user's own value or with the error that `get` will raise.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import pickle
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from types import AsyncGeneratorType
from typing import Any

import ray

from jupyter_ray.engine import log_format, registry
from jupyter_ray.engine.base import InitOptions
from jupyter_ray.engine.context import ActorExit, enter_task, leave_task
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.exceptions import ActorDiedError, RaySystemError
from jupyter_ray.local.serialization.arguments import fill
from jupyter_ray.local.serialization.errors import one_line
from jupyter_ray.local.worker import calling
from jupyter_ray.ray_cluster import exceptions
from jupyter_ray.ray_cluster.calls import Header, Terms, load_header, storable
from jupyter_ray.resources import VISIBLE

versions_here: contextvars.ContextVar[dict[str, int]] = contextvars.ContextVar("jupyter_ray_versions")
"""The versions of the definitions that the running call may refer to: what it starts is told them too."""

WORKER = "worker"
"""The address that stands for the connection which a worker has already."""

_NO_ARGUMENTS: tuple[list[Any], dict[str, Any]] = ([], {})
_MAIN = threading.main_thread().ident
_SIGINT, _IGNORED = int(signal.SIGINT), int(signal.SIG_IGN)
_getsignal: Callable[[int], Any] = getattr(signal.getsignal, "__wrapped__", signal.getsignal)
"""Without the names that Python looks up for the answer: they cost more than the question."""

_binding = threading.Lock()
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
"""Values of which nothing need be found out."""

_RAYS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


def engine() -> Any:
    """Return the engine of this worker, bound to Ray's own connection at the first call."""
    found: Any = registry.current()
    if found is not None:
        return found
    with _binding:
        found = registry.current()
        if found is None:
            found = registry.start("ray", InitOptions(), WORKER)
            registry.set_current(found)
            found.capture_output()
            if settings := os.environ.get(log_format.VARIABLE):
                log_format.apply(settings)
    return found


def hear_interrupts() -> None:
    """Have cancels interrupt this thread, the main one: the node or an earlier task may have switched that off."""
    if _getsignal(_SIGINT) in (_IGNORED, None):
        signal.signal(signal.SIGINT, signal.default_int_handler)


@functools.lru_cache(maxsize=4096)
def _terms(blob: bytes) -> Terms:
    terms: Terms = pickle.loads(blob)
    return terms


@functools.lru_cache(maxsize=4096)
def _decoded(header: bytes) -> Header:
    """Return a header that comes again and again: what it says is taken up once."""
    found = load_header(header)
    engine().learn(found.versions)
    return found


@functools.lru_cache(maxsize=4096)
def _kept(key: str) -> Header:
    return _decoded(engine().definitions.header_of(key))


class Call:
    """One call in this worker: its context, its arguments, its outcome.

    Parameters
    ----------
    header
        What `dump_header` returned, the key under which that is kept in the cluster, or what it says.
    values
        What travelled beside it.
    host
        What Ray holds of the actor, if it is a call of one.
    """

    # These seldom change, and what a call touches costs time.
    inout: Sequence[Any] = ()
    open = False
    """The call goes on after its function has returned: its generator is read."""
    cancelled = False
    error: str | None = None
    """What the call raised, in one line."""

    def __init__(self, header: bytes | str | Header, values: Sequence[Any], host: Any = None) -> None:
        self.engine = engine()
        self._news = type(header) is bytes
        """What the header says of definitions may be new here."""
        self.header: Header = (
            load_header(header) if isinstance(header, bytes) else (_kept(header) if isinstance(header, str) else header)
        )
        self.terms = _terms(self.header.terms)
        self.host = host
        self.context = self._context()
        self._values = values
        self._versions = self.header.versions
        self._tokens: Any = None
        self._main = False

    def _context(self) -> TaskContext:
        header, terms, process = self.header, self.terms, self.engine.process
        core = ray._private.worker.global_worker.core_worker
        if terms.method:  # What an actor holds, and its placement group, are the same for all its calls.
            return TaskContext(
                task=core.get_current_task_id().binary(),
                name=terms.name,
                function=terms.function,
                actor=process.actor,
                parent=header.parent,
                cell=header.cell,
                held=process.held,
                devices=process.devices,
                attempt=core.get_current_task_attempt_number() if header.observe else 0,
                runtime_env=process.runtime_env,
                group=process.group,
                capture=process.capture,
            )
        group = core.get_placement_group_id()
        return TaskContext(
            task=core.get_current_task_id().binary(),
            name=terms.name,
            function=terms.function,
            actor=process.actor if self.host is not None else None,
            parent=header.parent,
            cell=header.cell,
            held=terms.held,
            devices=_devices(terms.held),
            attempt=core.get_current_task_attempt_number(),
            runtime_env=process.runtime_env,
            group="" if group.is_nil() else group.hex(),
            capture=bool(core.should_capture_child_tasks_in_placement_group()),
        )

    def __enter__(self) -> Call:
        self._main = threading.get_ident() == _MAIN and asyncio._get_running_loop() is None
        self._tokens = versions_here.set(self._versions), enter_task(self.context, main=self._main)
        if self._versions and self._news:
            self.engine.learn(self._versions)
        if self.host is None and self._main:
            hear_interrupts()
        if self.header.observe and not self.open:
            self.engine.observer.began(self)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self.header.observe and not self.open:
            self.engine.observer.ended(self, error)
        try:
            leave_task(self._tokens[1], main=self._main)
            versions_here.reset(self._tokens[0])
        except ValueError:
            pass  # An async generator may be closed in another context.

    def prepare(self, function: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments; buffers are read-only, or private copies where the options say so."""
        values, layout = self._values, self.header.layout
        if layout == _NO_ARGUMENTS:
            return [], {}
        if layout is None:
            layout, values = values[0], values[1:]
        self._values = ()
        args, kwargs = fill(layout, values)
        body: Any = self.terms
        self.inout = calling.unwrap(args, kwargs, body, function)
        return args, kwargs

    def function(self) -> Any:
        """Return what to call; the context knows it from then on."""
        if self.host is not None and self.terms.method:
            found = method_of(self.host.instance, self.terms.method)
        else:
            found = self._defined()
        self.context.called = found
        return found

    def _defined(self) -> Any:
        try:
            return self.engine.resolve(self.header.definition, self._versions.get(self.header.definition))
        except RaySystemError:
            raise
        except Exception as error:
            what = "The remote function" if self.host is None else f"The actor with name {type(self.host).__name__}"
            raise RuntimeError(
                f"{what} failed to import on the worker: {one_line(error)}. A module that it uses may be missing on "
                f"{socket.gethostname()}: ship your own with init(address=..., runtime_env={{'working_dir': '.'}})."
            ) from error

    def returned(self, value: Any) -> Any:
        """Return a value as Ray wants it for `num_returns`."""
        if self.context.exiting:  # The method caught what exit_actor() raised: it leaves all the same.
            raise ActorExit(0)
        number = self.terms.num_returns
        if number == 1 and not self.inout and type(value) in _PLAIN:
            return value
        value = calling.with_inout(value, list(self.inout))
        if number == 0:
            return None
        if type(value) is AsyncGeneratorType:
            value = calling.stepped(value)
        if isinstance(value, Generator) and not isinstance(value, ObjectRefGenerator):
            # Ray runs a call again only for what it raises before it returns.
            return [storable(item) for item in value] if self.terms.retries and number != 1 else self._items(value)
        if number == 1:
            return storable(value)
        name = self.terms.function
        if isinstance(value, Iterator):
            value = list(value)
        if not (hasattr(value, "__len__") and isinstance(value, Iterable)):
            kind = type(value).__name__
            raise TypeError(f"{name} returned a {kind}, and num_returns={number} wants {number} values.")
        items = list(value)
        if len(items) != number:
            raise ValueError(f"{name} returned {len(items)} values, and num_returns={number} wants {number}.")
        return [storable(item) for item in items]

    def _items(self, generator: Generator[Any, Any, Any]) -> Iterator[Any]:
        """Yield what a generator makes for a number of returns: Ray takes as many, after the function has returned."""
        self.open = True
        return self.yielded(generator)

    def yielded(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield items as Ray shall store them. The call goes on meanwhile, and what they raise is its error."""
        failure: BaseException | None = None
        with self:
            self.open = False
            try:
                # Not `yield from`: Ray sends into generators, and what the user yields from need not take that.
                for item in items:
                    yield storable(item)
                    del item
            except GeneratorExit:
                raise
            except BaseException as error:
                failure = self.failed(error)
        if failure is not None:
            raise failure

    def failed(self, error: BaseException) -> BaseException:
        """Return what to raise for what the call raised."""
        if self.host is not None and (isinstance(error, ActorExit) or self.context.exiting):
            self.engine.observer.flush()
            try:
                ray.actor.exit_actor()
            except BaseException as leaving:
                return leaving
        self.error = one_line(error)
        if isinstance(error, ActorDiedError) and self.host is not None and self.host.is_broken:
            return error
        if isinstance(error, _RAYS):
            self.cancelled = isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
            # An interrupt, an exit, a cancel: Ray knows what they mean. What the call had must go before the process.
            return error.with_traceback(None)
        ip = ray._private.worker.global_worker.node_ip_address
        hint = calling.hint_for(error) or _hint_for(error)
        return exceptions.raised(error, self.terms.function, ip, self._describe(), hint)

    def _describe(self) -> str | None:
        if self.host is None or self.context.actor is None:
            return None
        try:
            text = repr(self.host.instance)
        except Exception:
            text = "<its repr fails>"
        return f"{self.context.actor.hex()}, repr={text:.200}"


def _hint_for(error: BaseException) -> str:
    """Return the remedy for what a program meets that has moved over from one machine."""
    host = socket.gethostname()
    if isinstance(error, ModuleNotFoundError):
        return (
            f"\n({error.name!r} cannot be imported on {host}. A module of your own is shipped with init(address=..., "
            "runtime_env={'working_dir': '.'}), a package is installed there with runtime_env={'pip': [...]}.)"
        )
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return (
            f"\n({error.filename!r} was looked up on {host}. Use storage that all nodes share, or ship the folder with "
            "init(address=..., runtime_env={'working_dir': ...}).)"
        )
    return ""


def run(header: bytes | str | Header, values: Sequence[Any], host: Any = None) -> Any:
    """Run a call, and return what Ray shall store."""
    with Call(header, values, host) as call:
        del values
        try:
            function = call.function()
            args, kwargs = call.prepare(function)
            value = function(*args, **kwargs)
            del args, kwargs
            return call.returned(value)
        except BaseException as error:
            failure = call.failed(error)
    raise failure


def stream(header: bytes, values: Sequence[Any], host: Any = None) -> Iterator[Any]:
    """Run a call that yields."""
    call = Call(header, values, host)
    del values
    return call.yielded(_made_by(call))


def _made_by(call: Call) -> Iterator[Any]:
    function = call.function()
    args, kwargs = call.prepare(function)
    value = function(*args, **kwargs)
    del args, kwargs
    if isinstance(value, AsyncIterator):
        value = calling.stepped(value)
    if not isinstance(value, Iterable):
        raise ValueError(
            f"num_returns={call.terms.num_returns!r} wants a generator, and {call.terms.function} returned a "
            f"{type(value).__name__}."
        )
    for item in value:
        yield item
        del item


def run_task(header: bytes, *values: Any) -> Any:
    """Run a task. What Ray calls."""
    return run(header, values)


def with_header(header: bytes) -> Callable[[], Any]:
    """Return a function that runs the call of a header; it travels with the header inside."""

    def run_task() -> Any:
        return run(_decoded(header), ())

    run_task.__qualname__ = "run_task"
    return run_task


def stream_task(header: bytes, *values: Any) -> Iterator[Any]:
    """Run a task that yields. What Ray calls."""
    for item in stream(header, values):
        yield item
        del item


def _devices(held: Mapping[str, float]) -> dict[str, list[str]]:
    """Return the ids of the accelerators that Ray gave to this process, where `held` has any."""
    if held.keys().isdisjoint(VISIBLE):
        return {}
    return {kind: ids for kind, ids in ray.get_runtime_context().get_accelerator_ids().items() if ids}


def method_of(instance: Any, name: str) -> Callable[..., Any]:
    """Return what a handle's method name calls, the extra methods of every actor included."""
    return calling.method_of(instance, name, _terminate)


def _terminate() -> None:
    raise ActorExit(0)
