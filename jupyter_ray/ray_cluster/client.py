"""The engine through Ray Client (``ray://host:10001``): the same programs, from outside of the cluster.

 this process ── gRPC, one port ──► Ray Client's server (the job's driver) ──► tasks, actors
      ▲                                                                          │
      └────────────── Relay, an actor: Ray's state, reports, streams ◄───────────┘

References and handles are Ray Client's own, so libraries built on Ray take them here too. What Ray Client does not
offer goes through the `Relay`. Calls, definitions, errors and the panel are those of the other engine.
"""

from __future__ import annotations

import contextlib
import copyreg
import functools
import pickle
import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import ray
from ray.util import client
from ray.util.client import client_pickler
from ray.util.client.common import ClientActorHandle, ClientObjectRef, ClientRemoteFunc, OptionWrapper

from jupyter_ray.engine import travel
from jupyter_ray.engine.base import InitOptions
from jupyter_ray.engine.context import ProcessContext
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.ids import task_of
from jupyter_ray.options import MethodOptions
from jupyter_ray.ray_cluster import calls, refs, worker
from jupyter_ray.ray_cluster.calls import Plan
from jupyter_ray.ray_cluster.definitions import Definitions
from jupyter_ray.ray_cluster.engine import RayEngine, driver_of
from jupyter_ray.ray_cluster.events import EventLog
from jupyter_ray.ray_cluster.exceptions import translated
from jupyter_ray.ray_cluster.hosts import Host
from jupyter_ray.ray_cluster.relay import Relay
from jupyter_ray.ray_cluster.state import Row, State, ready
from jupyter_ray.ray_cluster.submission import Submitter

_HEAR_SECONDS = 1.0
"""How long one question for reports waits."""

_RELAYS = 1_000
"""Calls that run in the relay at once: each stream that is waited for is one."""


class ClientRef(refs.References, ClientObjectRef):  # type: ignore[misc]
    """A reference of Ray Client's, with the errors of `jupyter_ray.exceptions`."""

    @classmethod
    def adopt(cls, ref: Any) -> Any:
        """Return `ref` as one of ours."""
        if type(ref) is ClientObjectRef:
            ref.__class__ = cls  # A copy would be one more name for the server to keep.
            ref.session = refs.session
        return ref

    @staticmethod
    def complete(handle: Any) -> None:
        """Tell a handle the methods of a host: it would ask the cluster for them."""
        if type(handle) is ClientActorHandle and not (handle._method_signatures or {}).get("mark"):
            handle.__init__(handle.actor_ref, SimpleNamespace(actor_cls=Host))

    def _when_ready(self, callback: refs.Settle, awaited: bool = False) -> None:
        def settle(value: Any, error: BaseException | None) -> None:
            lost = isinstance(value, ConnectionError) and not self.session.alive  # Ray Client calls that a value.
            callback(*((None, self.session.dead()) if lost else (value, error)))

        super()._when_ready(settle)

    def __reduce__(self) -> tuple[Any, ...]:
        return _by_hand(self)


def _by_hand(held: Any) -> tuple[Any, ...]:
    """Return how a reference or handle is pickled by whom Ray Client does not know: the code of a function has one."""
    return refs.by_hand, (refs.session.ask_relay("dump", [held]),)


copyreg.pickle(ClientActorHandle, _by_hand)


class _Unpickler(client_pickler.ServerUnpickler):  # type: ignore[misc]
    """Makes references inside of values this package's too."""

    def persistent_load(self, pid: Any) -> Any:
        return ClientRef.adopt(super().persistent_load(pid))


client_pickler.ServerUnpickler = _Unpickler


ClientRef.__name__ = "ObjectRef"
ObjectRef.register(ClientObjectRef)


class ClientEngine(RayEngine):
    """One session through Ray Client.

    Parameters
    ----------
    process
        What this process is.
    relay
        Ray's handle of the session's `Relay`.
    """

    _references = ClientRef
    _get = staticmethod(ray.get)
    _put = staticmethod(ray.put)

    def __init__(self, process: ProcessContext, relay: Any) -> None:
        self.relay = relay
        self.closing: deque[bytes] = deque()
        """Streams that nobody reads any more; finalizers write here, so nothing locks."""
        self._address = f"ray://{client.ray.worker._conn_str}"
        super().__init__(process, EventLog(_Channel(self), ready(ray.nodes())), owned=True)

    @classmethod
    def begin(cls, options: InitOptions) -> ClientEngine:
        """Return the engine of the connection that this process has just made."""
        try:
            ray.put(_HandsOn())
        except ImportError as error:
            ray.shutdown()
            raise ConnectionError(
                f"The head node of the cluster cannot import this package ({error}): pip install jupyter-ray there, "
                "and on every node."
            ) from None
        process = driver_of(options)
        maker = ray.remote(num_cpus=0, max_concurrency=_RELAYS, enable_task_events=False)(Relay)
        return cls(process, maker.remote(process.job, process.node.hex()))

    @property
    def address(self) -> str:
        """Where Ray Client's server answers."""
        return self._address

    def _make_definitions(self) -> Definitions:
        return _Definitions(self.process.job.hex())

    def _make_state(self) -> State:
        return _State(self)

    def _make_submitter(self) -> Submitter:
        return _Submitter(self)

    def ask_relay(self, method: str, *args: Any) -> Any:
        """Return what a method of the relay does."""
        if self.closing:
            self.let_go()
        return ray.get(getattr(self.relay, method).remote(*args))

    def revive(self, dumped: bytes) -> Any:
        """Return the reference or handle that was pickled by hand; see `refs.by_hand`."""
        return self.ask_relay("load", dumped)[0]

    def let_go(self) -> None:
        """Let the streams go that nobody reads any more."""
        keys = []
        with contextlib.suppress(IndexError):
            while True:
                keys.append(self.closing.popleft())
        if keys:
            self.relay.close.remote(keys)

    def cancel(self, object_id: bytes, *, force: bool, recursive: bool) -> None:
        """Cancel a task; see `Engine.cancel`."""
        key = task_of(object_id)
        if key not in _streams:
            super().cancel(object_id, force=force, recursive=recursive)
            return
        try:
            self.ask_relay("cancel", key, force, recursive)
        except ray.exceptions.RayError as error:
            raise translated(error) from None

    @property
    def alive(self) -> bool:
        """Whether the session can still be used."""
        # The channel of calls ends first: what waits there is told, and nothing can be asked any more.
        return self._alive and bool(client.ray.is_connected() and not client.ray.worker.data_client._in_shutdown)

    def lost(self, error: Exception) -> bool:
        """Tell whether an error of Ray's means that the session has ended; a task's own is none of these."""
        return isinstance(error, ConnectionError) or super().lost(error)

    def may_ask(self, object_id: bytes) -> bool:
        """Tell whether there is a reference here: asked for another object, Ray Client tries again for ever."""
        return bool(client.ray.worker.reference_count.get(object_id))


class _HandsOn:
    """Makes Ray Client's server hand on the definitions that pass through it: it runs none of them itself."""

    def __reduce__(self) -> tuple[Any, ...]:
        return hand_on, ()


def hand_on() -> None:
    """Become a process that only hands definitions on."""
    travel.set_hooks(_Passing())


class _Passing(travel.Hooks):
    def __init__(self) -> None:
        self._versions: dict[str, int] = {}

    def note(self, definition: Any) -> int:
        return self._versions.get(definition.id, 0)

    def learn(self, key: str, noted: int) -> None:
        self._versions[key] = max(noted, self._versions.get(key, 0))


class _Definitions(Definitions):
    """Definitions of a client: whatever is pickled here goes to the cluster."""

    def note(self, definition: Any) -> int:
        if definition.value is None:
            return self._versions.get(definition.id, 0) or self._latest(definition.id)
        self._exporter.ensure(definition)
        return self._exporter.version(definition)


class _State(State):
    """Ray's state, as the relay reads it."""

    def __init__(self, engine: ClientEngine) -> None:
        super().__init__(engine.process.job, engine.process.node.hex())
        self._engine = engine
        for what in ("workers", "nodes", "total", "free", "may_grow"):
            setattr(self, what, functools.partial(self._ask, what))

    def _ask(self, what: str, **options: Any) -> Any:
        return pickle.loads(self._engine.ask_relay("ask", what, options))

    def tasks(self, **options: Any) -> tuple[list[Row], int]:
        rows, more = self._ask("tasks", **options)
        for row in rows:  # Only this process knows which names it gave.
            row["func_or_class_name"] = calls.renamed.get(row["name"], row["func_or_class_name"])
        return rows, more

    def actors(self) -> list[Row]:
        relay = self._engine.relay._actor_id.hex()
        return [row for row in self._ask("actors") if row["actor_id"] != relay]

    def objects(self) -> list[Row]:
        return [
            {
                "object_id": name.hex(),
                "object_size": 0,
                "task_status": "NIL",
                "attempt_number": 0,
                "reference_type": "LOCAL_REFERENCE",
                "call_site": None,
                "ip": None,
                "in_shared_memory": False,
                "holders": None,
            }
            for name in list(client.ray.worker.reference_count)
            if len(name) == 28
        ]


class _Channel:
    """The log channel, as the relay hears it."""

    def __init__(self, engine: ClientEngine) -> None:
        self._engine = engine
        self._asking = threading.Lock()
        ray.get(engine.relay.publish.remote([]))  # It listens.

    def poll(self) -> list[dict[str, Any]] | None:
        with self._asking:
            self._engine.let_go()
            try:
                heard: list[dict[str, Any]] = pickle.loads(self._engine.ask_relay("hear", _HEAR_SECONDS))
            except Exception as error:
                if self._engine.lost(error):
                    raise self._engine.dead() from error
                raise
        return heard

    def publish(self, lines: list[str]) -> None:
        self._engine.ask_relay("publish", lines)

    def close(self) -> None:
        # Ray Client's server would wait for ever for what was asked when the client leaves.
        self._engine.relay.wake.remote()
        if self._asking.acquire(timeout=3 * _HEAR_SECONDS):
            self._asking.release()


class _Submitter(Submitter):
    """Calls go the long way through Ray Client; streams through the relay."""

    def _way_of_task(self, plan: Plan) -> Callable[..., Any]:
        if plan.num_returns == "streaming":
            return functools.partial(self._open, (), plan)
        function = worker.stream_task if plan.streams else worker.run_task
        return _way(ClientRemoteFunc(function, plan.defined or None), plan)

    def _way_of_method(self, plan: Plan, native: Any) -> Callable[..., Any]:
        if plan.num_returns == "streaming":
            return functools.partial(self._open, (native,), plan)
        return _way(native.stream if plan.streams else native.run, plan)

    def _open(
        self, actor: Sequence[Any], plan: Plan, header: bytes, values: Sequence[Any], *, capture: bool
    ) -> _Stream:
        asked: Any = Plan(
            options=MethodOptions(), terms=b"", native=plan.native, defined=plan.defined, num_returns="streaming"
        )
        return _Stream(self._engine, self._engine.ask_relay("open", actor, asked, header, list(values)))


class _ByValue:
    """Exceptions of the program's own among a call's options, which Ray Client would send by their names alone."""

    def __init__(self, kinds: Sequence[type[BaseException]]) -> None:
        self._pickled = ray.cloudpickle.dumps(list(kinds))

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self._pickled,)


def _way(stub: Any, plan: Plan) -> Callable[..., Any]:
    called = OptionWrapper(stub, None)
    called._options = dict(plan.native)  # Ray Client would refuse some that the server takes.
    if isinstance(kinds := plan.native.get("retry_exceptions"), (list, tuple)):
        called._options["retry_exceptions"] = _ByValue(kinds)

    def way(header: bytes, values: Sequence[Any], *, capture: bool) -> Any:
        return called.remote(header, *values)

    return way


_streams: set[bytes] = set()
"""The tasks of the streams that are read here."""


class _Stream:
    """A stream that the relay reads, with the methods of Ray's own generator."""

    def __init__(self, engine: ClientEngine, key: bytes) -> None:
        self._engine = engine
        self._key = key
        self._coming: Any = None
        """The question for the next item, which outlives a wait that was given up."""
        self._lock = threading.Lock()
        self._generator_ref = SimpleNamespace(task_id=lambda: ray.TaskID(key))
        _streams.add(key)

    def _question(self) -> Any:
        if self._coming is None:
            self._coming = self._engine.relay.next.remote(self._key)
        return self._coming

    def _answered(self, found: list[Any]) -> Any:
        self._coming = None
        return found[0] if found else None

    def _next_sync(self, timeout_s: float | None = None) -> Any:
        with self._lock:
            try:
                ref = self._answered(ray.get(self._question(), timeout=timeout_s))
            except ray.exceptions.GetTimeoutError:
                return ray.ObjectRef.nil()
        if ref is None:
            raise StopIteration
        return ref

    def __next__(self) -> Any:
        return self._next_sync()

    async def __anext__(self) -> Any:
        ref = self._answered(await self._question())
        if ref is None:
            raise StopAsyncIteration
        return ref

    def next_ready(self) -> bool:
        if self._coming is not None:
            return bool(ray.wait([self._coming], timeout=0)[0])
        return bool(self._engine.ask_relay("look", self._key)[0])

    def is_finished(self) -> bool:
        return self._coming is None and bool(self._engine.ask_relay("look", self._key)[1])

    def completed(self) -> Any:
        return self._engine.ask_relay("completed", self._key)[0]

    def __del__(self) -> None:
        _streams.discard(self._key)
        self._engine.closing.append(self._key)
