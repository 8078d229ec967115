"""An engine in this process: the port, without processes, for unit tests of what stands above it.

Tasks run in the caller's thread, at once, or, after `hold`, when `release` says so. Arguments and results are
pickled as a real engine does, definitions travelling by their ids: a function gets what it would get in a worker.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import io
import itertools
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cloudpickle

from jupyter_ray import exceptions
from jupyter_ray.engine import context, refs
from jupyter_ray.engine.base import Definition, EventListener, InitOptions, NamedActor
from jupyter_ray.engine.context import ProcessContext
from jupyter_ray.engine.refs import ActorRef, ObjectRef
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.engine.travel import collecting
from jupyter_ray.ids import IdSource, return_id, task_of
from jupyter_ray.options import ActorOptions, MethodOptions, TaskOptions

Callback = Callable[[Any, BaseException | None], None]


class Actor:
    """One actor of a `FakeEngine`."""

    def __init__(self, instance: Any, error: BaseException | None, handle: bytes, options: ActorOptions) -> None:
        self.instance = instance
        self.error = error
        self.handle = handle
        self.options = options


class FakeEngine:
    """Implements `jupyter_ray.engine.base.Engine`.

    Attributes
    ----------
    calls : list
        What was asked for: ``("submit", name, args, kwargs, options)`` and so on, oldest first.
    held : dict
        How many references to each id live in this process.
    """

    name = address = "fake"

    def __init__(self, options: InitOptions | None = None) -> None:
        self.init_options = options or InitOptions()
        self.ids = IdSource(b"\1" * 4)
        self.process = ProcessContext(
            job=b"\1" * 4,
            node=b"\2" * 28,
            worker=b"\3" * 28,
            is_driver=True,
            namespace=self.init_options.namespace or "",
            session="fake",
            held={},
        )
        self.calls: list[tuple[Any, ...]] = []
        self.held: dict[bytes, int] = {}
        self.pinned_ids: list[bytes] = []
        self.definitions: dict[str, Any] = {}
        self.actors: dict[bytes, Actor] = {}
        self.named: dict[tuple[str, str], bytes] = {}
        self.listeners: list[EventListener] = []
        self._values: dict[bytes, tuple[bytes, BaseException | None]] = {}
        self._callbacks: dict[bytes, list[Callback]] = {}
        self._queue: list[Callable[[], None]] = []
        self._holding = False
        self._alive = True
        refs.set_counter(self)

    def __repr__(self) -> str:
        return f"<FakeEngine, {len(self.calls)} calls, {len(self._queue)} held back>"

    # --- what tests steer ---

    def hold(self) -> None:
        """Let tasks wait from now on."""
        self._holding = True

    def release(self, count: int | None = None) -> None:
        """Run `count` of those that wait, or all, and stop holding."""
        if count is None:
            self._holding = False
            count = len(self._queue)
        for _ in range(count):
            self._queue.pop(0)()

    def die(self) -> None:
        """Be as after the loss of the runtime."""
        self._alive = False

    # --- the references' counter ---

    def reference(self, counted: bytes, kind: type[Any]) -> Any:
        self.held[counted] = self.held.get(counted, 0) + 1
        ref = refs.uncounted(kind, counted, self)
        ref.__del__ = functools.partial(self.released, counted)
        return ref

    def released(self, counted: bytes) -> None:
        self.held[counted] = self.held.get(counted, 0) - 1

    def pinned(self, counted: bytes) -> None:
        self.pinned_ids.append(counted)

    def call_site(self, object_id: bytes) -> str:
        return ""

    def hurry(self) -> None: ...

    def when_ready(self, object_id: bytes, callback: Callback, awaited: bool = False) -> None:
        if object_id in self._values:
            callback(*self._load(object_id))
        else:
            self._callbacks.setdefault(object_id, []).append(callback)

    # --- the port ---

    def submit(
        self, definition: Definition, args: Sequence[Any], kwargs: dict[str, Any], options: TaskOptions
    ) -> list[ObjectRef[Any]] | ObjectRefGenerator:
        self._check()
        self.calls.append(("submit", definition.name, tuple(args), kwargs, options))
        function = self._function(definition)
        task = self.ids.task()
        running = TaskContext(task=task, name=options.name or definition.name, function=definition.name)
        return self._start(task, function, args, kwargs, options.num_returns, running, definition.name)

    def create_actor(
        self,
        definition: Definition,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        options: ActorOptions,
        *,
        is_async: bool,
        handle: bytes,
    ) -> tuple[ActorRef, bool]:
        self._check()
        self.calls.append(("create_actor", definition.name, tuple(args), kwargs, options))
        key = (options.namespace or self.process.namespace, options.name or "")
        if options.name and key in self.named:
            if options.get_if_exists:
                return ActorRef(self.named[key], weak=True), False
            raise exceptions.ActorAlreadyExistsError(f"The name {options.name!r} is taken.")
        actor = self.ids.actor()
        instance, error = None, None
        try:
            args, kwargs = self._travel((args, kwargs))
            instance = self._function(definition)(*args, **kwargs)
        except Exception as raised:
            error = exceptions.ActorDiedError(f"The constructor raised {raised!r}", actor.hex(), True)
        self.actors[actor] = Actor(instance, error, handle, options)
        if options.name:
            self.named[key] = actor
        return ActorRef(actor), True

    def call(
        self, actor: ActorRef, method: str, args: Sequence[Any], kwargs: dict[str, Any], options: MethodOptions
    ) -> list[ObjectRef[Any]] | ObjectRefGenerator:
        self._check()
        self.calls.append(("call", method, tuple(args), kwargs, options))
        found = self.actors[actor.binary()]
        task = self.ids.task()

        def run(*args: Any, **kwargs: Any) -> Any:
            if found.error is not None:
                raise found.error
            if method == "__ray_ready__":
                return True
            if method == "__ray_call__":
                return args[0](found.instance, *args[1:], **kwargs)
            before = self.process.actor, self.process.actor_handle, self.process.is_driver
            self.process.actor, self.process.actor_handle = actor.binary(), found.handle
            self.process.is_driver = False
            try:
                return getattr(found.instance, method)(*args, **kwargs)
            except context.ActorExit:
                found.error = exceptions.ActorDiedError("The actor left by exit_actor().", actor.binary().hex())
                raise found.error from None
            finally:
                self.process.actor, self.process.actor_handle, self.process.is_driver = before

        running = TaskContext(task=task, name=options.name or method, function=method, actor=actor.binary())
        return self._start(task, run, args, kwargs, options.num_returns, running, method)

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        self._check()
        if timeout is None and not self._holding:
            self.release()
        values = []
        for ref in refs:
            if ref.binary() not in self._values:
                raise exceptions.GetTimeoutError(f"{ref} is not ready.")
            value, error = self._load(ref.binary())
            if error is not None:
                raise error
            values.append(value)
        return values

    def put(self, value: Any) -> ObjectRef[Any]:
        self._check()
        object_id = self.ids.object()
        self._values[object_id] = (self._dump(value), None)
        return ObjectRef(object_id)

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> list[bytes]:
        self._check()
        self.calls.append(("wait", len(refs), num_returns, timeout, fetch_local))
        # From behind: a caller must not rely on an order.
        return [ref.binary() for ref in reversed(refs) if ref.binary() in self._values][:num_returns]

    def cancel(self, object_id: bytes, *, force: bool, recursive: bool) -> None:
        self.calls.append(("cancel", task_of(object_id), force, recursive))

    def kill(self, actor: ActorRef, *, no_restart: bool) -> None:
        self.calls.append(("kill", actor.binary(), no_restart))
        self.actors[actor.binary()].error = exceptions.ActorDiedError("The actor was killed.")

    def get_actor(self, name: str, namespace: str | None) -> NamedActor | None:
        actor = self.named.get((namespace or self.process.namespace, name))
        return None if actor is None else NamedActor(actor=actor, handle=self.actors[actor].handle)

    def list_named_actors(self, all_namespaces: bool) -> list[tuple[str, str]]:
        return [key for key in self.named if all_namespaces or key[0] == self.process.namespace]

    def total_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def available_resources(self) -> dict[str, float]:
        return {"CPU": 1.0}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": self.process.node.hex(), "Alive": True}]

    def jobs(self) -> list[dict[str, Any]]:
        return []

    def is_cancelled(self, task: bytes) -> bool:
        return ("cancel", task, False, True) in self.calls

    def subscribe(
        self, listener: EventListener, *, logs_only: bool = False, condensed: bool = False
    ) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def create_placement_group(
        self,
        bundles: list[dict[str, float]],
        strategy: str,
        name: str,
        *,
        detached: bool,
        labels: Any = None,
        alike: str = "",
    ) -> str:
        return "00" * 18

    def placement_group_ready(self, group: str, value: Any) -> ObjectRef[Any]:
        return self.put(value)

    def remove_placement_group(self, group: str) -> None:
        pass

    def placement_groups(self) -> list[dict[str, Any]]:
        return []

    def flush_events(self) -> None:
        pass

    def why(self, counted: bytes) -> str:
        return f"{counted.hex()} runs."

    def table(
        self, what: str, *, limit: int, filters: Sequence[tuple[str, str, Any]] = (), id: str | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        return [], False

    def summary(self, what: str, by: Sequence[str]) -> list[tuple[list[str], int, int]]:
        return []

    def locations(self, refs: Sequence[ObjectRef[Any]]) -> list[tuple[list[str], int | None, bool]]:
        return [([], None, False) for _ in refs]

    def reference_counts(self) -> dict[bytes, tuple[int, int]]:
        return {}

    def pairs(self, operation: str, key: bytes, *, space: bytes, value: bytes = b"", flag: bool = False) -> Any:
        return None

    def note_span(self, name: str, since: float, until: float, extra: dict[str, str]) -> None:
        self.calls.append(("span", name, extra))

    def collect_garbage(self) -> None:
        self.calls.append(("garbage",))

    def statistics(self) -> dict[str, Any]:
        return {"tasks": len(self.calls)}

    def shutdown(self) -> None:
        self._alive = False
        refs.set_counter(None)

    @property
    def alive(self) -> bool:
        return self._alive

    def definition(self, key: str) -> Any:
        return self.definitions.get(key)

    # --- inside ---

    def _check(self) -> None:
        if not self._alive:
            raise exceptions.RaySystemError("The runtime died. Call shutdown() and init() to start a new one.")

    def _function(self, definition: Definition) -> Any:
        if definition.value is not None:
            self.definitions[definition.id] = definition.value
        return self.definitions[definition.id]

    def _dump(self, value: Any) -> bytes:
        file = io.BytesIO()
        for definition in collecting(lambda: cloudpickle.dump(value, file)).definitions:
            self._function(definition)
        return file.getvalue()

    def _travel(self, value: Any) -> Any:
        return pickle.loads(self._dump(value))

    def _load(self, object_id: bytes) -> tuple[Any, BaseException | None]:
        dumped, error = self._values[object_id]
        return (None, error) if error is not None else (pickle.loads(dumped), None)

    def _store(self, object_id: bytes, value: Any, error: BaseException | None) -> None:
        self._values[object_id] = (b"" if error is not None else self._dump(value), error)
        for callback in self._callbacks.pop(object_id, []):
            callback(*self._load(object_id))

    def _start(
        self,
        task: bytes,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        num_returns: Any,
        running: TaskContext,
        name: str,
    ) -> list[ObjectRef[Any]] | ObjectRefGenerator:
        args, kwargs = self._travel((tuple(args), kwargs))
        if num_returns == "streaming":
            return ObjectRefGenerator(FakeStream(self, task, function(*args, **kwargs)))
        count = 1 if num_returns == "dynamic" else num_returns
        returns = [return_id(task, index) for index in range(1, count + 1)]

        def run() -> None:
            token = context.enter_task(running, main=True)
            try:
                resolved = [self._resolve(value) for value in args]
                value = function(*resolved, **{key: self._resolve(value) for key, value in kwargs.items()})
                if inspect.iscoroutine(value):
                    value = asyncio.run(value)
                values = [value] if count == 1 else list(value or ())
                for object_id, each in zip(returns, values, strict=True):
                    self._store(object_id, each, None)
            except exceptions.RayActorError as error:
                for object_id in returns:
                    self._store(object_id, None, error)
            except Exception as error:
                told = exceptions.RayTaskError(
                    name, f"{type(error).__name__}: {error}", error, pid=7
                ).as_instanceof_cause()
                for object_id in returns:
                    self._store(object_id, None, told)
            finally:
                context.leave_task(token, main=True)

        if self._holding:
            self._queue.append(run)
        else:
            run()
        return [ObjectRef(object_id) for object_id in returns]

    def _resolve(self, value: Any) -> Any:
        return self.get([value], 0)[0] if isinstance(value, ObjectRef) else value


class FakeStream:
    """The items of one generator; each is made when it is asked for."""

    def __init__(self, engine: FakeEngine, task: bytes, generator: Iterator[Any]) -> None:
        self._engine = engine
        self._task = task
        self._generator = generator
        self._index = itertools.count(1)
        self._ended = False

    def next(self, timeout: float | None) -> ObjectRef[Any] | None:
        for value in self._generator:
            object_id = return_id(self._task, next(self._index))
            self._engine._store(object_id, value, None)
            return ObjectRef(object_id)
        self._ended = True
        return None

    async def next_async(self) -> ObjectRef[Any] | None:
        return self.next(None)

    def ready(self) -> bool:
        return True

    def finished(self) -> bool:
        return self._ended

    def completed(self) -> ObjectRef[Any]:
        return self._engine.put(None)

    def task(self) -> bytes:
        return self._task


# --- what the registry asks of a module that provides engines ---

warmed: list[str] = []
started: list[FakeEngine] = []


def start(options: InitOptions, address: str | None) -> FakeEngine:
    """Return a new engine."""
    engine = FakeEngine(options)
    started.append(engine)
    return engine


def find(root: str | None) -> str | None:
    """Return that there is no session to join."""
    return None


def warm(*, wait: bool = False) -> bool:
    """Note that someone expects to need an engine soon, unless someone did."""
    begun = warmed[-1:] != ["warm"]
    if begun:
        warmed.append("warm")
    return begun


def cool() -> None:
    """Note that nobody does."""
    warmed.append("cool")
