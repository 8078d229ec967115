"""`LocalEngine`: the port of `engine.base`, on one client. The driver and every worker have one."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from jupyter_ray.engine.base import Definition, EventListener
from jupyter_ray.engine.context import ProcessContext, current_cell, current_task
from jupyter_ray.engine.refs import ActorRef, ObjectRef, ids_of, set_counter
from jupyter_ray.engine.sites import call_site
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.engine.travel import StaleReferenceError
from jupyter_ray.environments import merge
from jupyter_ray.ids import IdSource, return_id, task_of
from jupyter_ray.interrupts import shielded
from jupyter_ray.local.client.client import Client
from jupyter_ray.local.definitions import Exporter
from jupyter_ray.local.engine import environment
from jupyter_ray.local.engine.calls import Plan, Plans, actor_spec, check_feasible, check_session, new_group
from jupyter_ray.local.engine.questions import Questions
from jupyter_ray.local.joining import address_of
from jupyter_ray.local.library import Library
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.protocol.codec import encode_body
from jupyter_ray.local.protocol.names import environment_of
from jupyter_ray.local.serialization import values
from jupyter_ray.local.serialization.arguments import pack_call
from jupyter_ray.local.serialization.inspection import unpicklable
from jupyter_ray.local.serialization.values import Serialized
from jupyter_ray.local.store.payloads import named, pack
from jupyter_ray.options import ActorOptions, MethodOptions, TaskOptions

Returned = list[ObjectRef[Any]] | ObjectRefGenerator

_SITES = "RAY_record_ref_creation_sites"
"""With it set, the runtime is told where small values were put, too; for large ones that costs nothing beside them."""


class LocalEngine(Questions):
    """One session of the local engine, seen from one process.

    Parameters
    ----------
    client
        The connection, started.
    process
        What this process is.
    end
        Ends the session; None in a worker, whose session is not its own to end.
    total
        All resources, in parts, if they are known already.
    guest
        The job (hex) of a driver that joined; "" of the one that started the runtime.
    """

    name = "local"

    def __init__(
        self,
        client: Client,
        process: ProcessContext,
        end: Callable[[], None] | None = None,
        total: Mapping[str, int] | None = None,
        guest: str = "",
    ) -> None:
        self.client = client
        self.process = process
        self.address = address_of(process.session)
        self._guest = guest
        self._end = end
        self._end_lock = threading.Lock()
        self._ids = IdSource(process.job)
        self._exporter = Exporter(lambda export: client.send(export), client.references)
        self.library = Library(functools.partial(client.references.many, grants=1))
        self._fetching = threading.Lock()
        self._plans = Plans(self._encode_env, process)
        self.total = total
        self._tells_sites = os.environ.get(_SITES, "0").lower() in ("1", "true")
        client.references.call_site = self.call_site
        client.references.hurry = client.flush
        set_counter(client.references)

    # --- calls ---

    def submit(
        self, definition: Definition, args: Sequence[Any], kwargs: dict[str, Any], options: TaskOptions
    ) -> Returned:
        """Start a task; see `Engine.submit`."""
        plan = self._plans.of(options, getattr(definition.value, "__qualname__", definition.name))
        group, bundle, capture = self._group(plan)
        if group is None:
            check_feasible(definition.name, plan.demand, self._totals(), is_actor=False)
        self._exporter.ensure(definition)
        name = options.name or definition.name
        payload, dependencies = self._pack(args, kwargs, definition, name) if args or kwargs else (None, ())
        key = (definition.name, group, capture)
        body = plan.bodies.get(key) if payload is None else None
        if body is None:
            body = encode_body(
                m.Body(
                    function=definition.name,
                    args=payload,
                    retry_on=plan.retry_on,
                    writable=options.writable,
                    inout=options.inout,
                    backpressure=options.generator_backpressure,
                    per_yield=options.per_yield,
                    max_calls=plan.max_calls,
                    group=group or "",
                    capture=capture,
                )
            )
            plan.keep(key, body, payload)
        spec = self._spec(
            "task", name, body, payload, plan, dependencies, definition=definition.id, group=group, bundle=bundle
        )
        version = self._exporter.version(definition)
        ahead = max(options.generator_backpressure, 0)
        return self._send(spec, payload, plan, ahead, plan.route_key if group is None else None, version)

    def call(
        self, actor: ActorRef, method: str, args: Sequence[Any], kwargs: dict[str, Any], options: MethodOptions
    ) -> Returned:
        """Call a method; see `Engine.call`."""
        plan = self._plans.of(options)
        name = options.name or method
        payload, dependencies = self._pack(args, kwargs, None, name) if args or kwargs else (None, ())
        body = plan.bodies.get(method) if payload is None else None
        if body is None:
            body = encode_body(
                m.Body(
                    method=method,
                    args=payload,
                    retry_on=plan.retry_on,
                    writable=options.writable,
                    inout=options.inout,
                    backpressure=options.generator_backpressure,
                    per_yield=options.per_yield,
                )
            )
            plan.keep(method, body, payload)
        key = actor._binary
        if key not in self.client.direct:
            self.client.brake(key)
        spec = self._spec(
            "method",
            name,
            body,
            payload,
            plan,
            dependencies,
            definition="" if name.endswith(method) else method,  # Tables tell it of a call with a name of its own.
            actor=key,
            concurrency_group=options.concurrency_group or "",
        )
        ahead = 1 if options.counted else max(options.generator_backpressure, 0)
        return self._send(spec, payload, plan, ahead, key)

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
        """Start an actor; see `Engine.create_actor`."""
        plan = self._plans.of(options, getattr(definition.value, "__qualname__", definition.name))
        group, bundle, capture = self._group(plan)
        if group is None:
            check_feasible(definition.name, plan.placement, self._totals(), is_actor=True)
        self._exporter.ensure(definition)
        name = f"{definition.name}.__init__"
        payload, dependencies = self._pack(args, kwargs, definition, name) if args or kwargs else (None, ())
        actor = self._ids.actor()
        body = encode_body(m.Body(function=definition.name, args=payload, group=group or "", capture=capture))
        creation = self._spec(
            "actor",
            name,
            body,
            payload,
            plan,
            dependencies,
            definition=definition.id,
            actor=actor,
            group=group,
            bundle=bundle,
        )
        spec = actor_spec(creation, definition, options, plan, self.process, is_async=is_async, handle=handle)
        self.client.before_call()
        ref = self.client.references.promised(actor, ActorRef)  # First: an interrupt of what follows lets go of it.
        if spec.name:
            found = self._create_named(spec)
            if found is not None:
                return ActorRef(found, weak=True), False
        else:
            self.client.send(m.CreateActor(0, spec))
        named(payload)
        return ref, True

    def _group(self, plan: Plan) -> tuple[str | None, int, bool]:
        """Return placement group, bundle, and whether children are captured, of a call made here."""
        if not plan.anywhere:
            return plan.group, plan.bundle, plan.capture
        task = current_task()
        here = self.process if task is None or task.actor is not None else task
        return plan.taken_over(here.group, here.capture)

    def _pack(
        self, args: Sequence[Any], kwargs: dict[str, Any], definition: Definition | None, name: str
    ) -> tuple[m.Payload | None, Sequence[bytes]]:
        who = definition.value if definition is not None and not definition.is_class else None
        serialized, dependencies = pack_call(args, kwargs, lambda: who, name)
        return (None if serialized is None else self.store_value(serialized, unnamed=True)), dependencies

    def store_value(self, serialized: Serialized, *, unnamed: bool = False) -> m.Payload:
        """Return the payload of a value, after shipping the definitions that it contains; see `pack`."""
        if serialized.definitions:
            self._exporter.ensure_all(serialized.definitions)
        return pack(serialized, self.client.store, unnamed=unnamed)

    def _spec(
        self,
        kind: Any,
        name: str,
        body: bytes,
        arguments: m.Payload | None,
        plan: Plan,
        dependencies: Sequence[bytes],
        *,
        definition: str = "",
        actor: bytes | None = None,
        concurrency_group: str = "",
        group: str | None = None,
        bundle: int = -1,
    ) -> m.TaskSpec:
        task = current_task()
        cell = current_cell() if task is None else task.cell
        if task is None and (cell not in self.client.direct.cells or sys.path != self.client.direct.search_path):
            self.client.direct.go_on(cell)
        return m.TaskSpec(  # By position, in the order of its fields: so many names would cost as much as all the rest.
            self._ids.task(actor),
            kind,
            name,
            body,
            definition,
            tuple(dependencies),
            () if arguments is None else arguments.contained,
            "" if arguments is None else arguments.segment,
            plan.num_returns,
            plan.demand,
            self.process.creation if task is None else task.task,
            cell,
            call_site(),
            plan.max_retries,
            bool(plan.retry_on),
            plan.max_calls,
            plan.env,
            group,
            bundle,
            actor,
            concurrency_group,
            arguments.size if arguments is not None and arguments.segment else 0,
            plan.listed,
            plan.labels,
        )

    def _send(
        self, spec: m.TaskSpec, args: m.Payload | None, plan: Plan, ahead: int, route: Hashable, version: int = 0
    ) -> Returned:
        client = self.client
        client.before_call()
        task, number = spec.task, plan.num_returns
        if number == m.STREAMING:
            generator = ObjectRefGenerator(client.streams.open(task, ahead))
            client.direct.submit(spec, None, 0)
            named(args)
            return generator
        refs: list[ObjectRef[Any]] = []
        for index in range(1, (1 if number == m.DYNAMIC else number) + 1):
            refs.append(client.references.promised(return_id(task, index), ObjectRef))
        client.direct.submit(spec, route if number == 1 else None, version)  # Last: an interrupt lets go of all.
        named(args)
        return refs

    # --- objects ---

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Return values; see `Engine.get`."""
        return self.client.get(self._ids_of(refs), timeout)

    def put(self, value: Any) -> ObjectRef[Any]:
        """Store a snapshot of `value`; see `Engine.put`."""
        try:
            serialized = values.dumps(value)
        except Exception as error:
            raise unpicklable(value, error, "the put value", "value") from error
        payload = self.store_value(serialized, unnamed=True)
        ref = self.put_payload(payload, call_site() if payload.segment or self._tells_sites else "")
        named(payload)
        self.client.references.remember(ref.binary(), payload)
        return ref

    def put_payload(self, payload: m.Payload, site: str = "") -> ObjectRef[Any]:
        """Return a reference to a stored value, or to an error that it will raise."""
        return self._made(lambda object_id: m.Put(object_id, payload, site))

    def _made(self, message: Callable[[bytes], m.ClientMessage]) -> ObjectRef[Any]:
        ref = self.client.references.promised(self._ids.object(), ObjectRef)
        self.client.send(message(ref.binary()))  # Last: an interrupt lets go of it.
        return ref

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> list[bytes]:
        """Wait for some of `refs`; see `Engine.wait`. Those of an ended session are never ready (as in Ray)."""
        ready = self.client.references.known_ready(refs, num_returns)
        if len(ready) == num_returns:
            return ready
        try:
            ids = self._ids_of(refs)
        except StaleReferenceError:
            known = [ref for ref in refs if ref._counter in (self.client.references, None)]
            if len(known) < num_returns:
                raise
            ids = self._ids_of(known)
        return self.client.wait(ids, num_returns, timeout)

    def _ids_of(self, refs: Sequence[ObjectRef[Any]]) -> list[bytes]:
        counter = self.client.references
        ids = [ref._binary for ref in refs if ref._counter is counter]
        if len(ids) == len(refs):
            return ids
        for ref in refs:
            if ref._counter is not counter and ref._counter is not None:
                raise StaleReferenceError(ref)
        return ids_of(refs)

    def cancel(self, object_id: bytes, *, force: bool, recursive: bool) -> None:
        """Cancel a task; see `Engine.cancel`."""
        self._check_there(object_id)
        if force:
            found = self.client.query("task", task=task_of(object_id))
            if found is not None and found["kind"] == "method":
                raise ValueError("force=True is not supported for actor tasks: end the actor with kill() instead.")
        self.client.send(m.Cancel(object_id, force, recursive), soon=False)

    # --- actors ---

    def kill(self, actor: ActorRef, *, no_restart: bool) -> None:
        """End an actor at once; see `Engine.kill`."""
        check_session(actor, self.process.job, self.table)
        self.client.send(m.Kill(actor._binary, no_restart), soon=False)
        self.client.direct.forget(actor._binary)

    # --- the session ---

    def _totals(self) -> Mapping[str, int]:
        if self.total is None:
            self.total = self.client.query("resources")["parts"]
        return self.total

    def subscribe(
        self, listener: EventListener, *, logs_only: bool = False, condensed: bool = False
    ) -> Callable[[], None]:
        """Send every event to `listener`; see `Engine.subscribe`."""
        return self.client.events.add(listener, logs_only, condensed)

    def flush_events(self) -> None:
        """Return when the listeners have had every event so far, one that was just added too."""
        self.client.events.drain()
        self.client.query("events")
        self.client.events.drain()

    def create_placement_group(self, bundles: list[dict[str, float]], strategy: Any, name: str, **where: Any) -> str:
        """Ask for a placement group; see `Engine.create_placement_group`."""
        message = new_group(self.process, bundles, strategy, name, **where)
        self.client.send(message)
        return message.group

    def placement_group_ready(self, group: str, value: Any) -> ObjectRef[Any]:
        """Return a reference that is ready when the group is; see `Engine.placement_group_ready`."""
        return self._made(lambda ref: m.GroupReady(group, ref, self.store_value(values.dumps_own(value))))

    def remove_placement_group(self, group: str) -> None:
        """Give a placement group back; see `Engine.remove_placement_group`."""
        self.client.send(m.RemoveGroup(group))
        self.client.direct.forget_actors()  # Calls from here ask the runtime now, which has ended the actors by then.

    def definition(self, key: str) -> Any:
        """Return a function or class that was shipped; see `Engine.definition`."""
        with self._fetching:  # The runtime counts what the definition contains at each answer: ask once.
            if key not in self.library:
                self.fetch(key)
        return self.library.resolve(key) if key in self.library else None

    def fetch(self, key: str, version: int = 0) -> None:
        """Get the newest version of a definition, if there is one; wait for `version`, which was shipped for sure."""
        found = self.client.query("definition", definition=key, version=version)
        if found is not None:
            self.library.install([m.Function(key, found["version"], found["blob"])])

    def shutdown(self) -> None:
        """End the session and all its processes; idempotent. An interrupt is raised when that is done."""
        with shielded():
            with self._end_lock:
                end, self._end = self._end, None
            if end is not None:
                end()

    def _encode_env(self, asked: Mapping[str, Any] | None) -> str:
        inherited = self.process.runtime_env
        env = ""
        if asked or inherited:
            env = environment.encode(merge(inherited, asked), environment.folder_for(self.process.session, self._guest))
        return environment_of(self._guest, env)

    def __repr__(self) -> str:
        role = "driver" if self.process.is_driver else "worker"
        return f"<LocalEngine: {role} of session {self.process.session}, {self.client!r}>"
