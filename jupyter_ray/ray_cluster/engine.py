"""`RayEngine`: the port of `engine.base`, on a real Ray cluster. The driver and every worker have one."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import ray

from jupyter_ray.engine import travel
from jupyter_ray.engine.base import EventListener, InitOptions, NamedActor, NoOwnerError
from jupyter_ray.engine.context import ProcessContext, current_task
from jupyter_ray.engine.refs import ActorRef, ObjectRef, set_counter
from jupyter_ray.engine.travel import StaleReferenceError
from jupyter_ray.exceptions import GetTimeoutError, RaySystemError
from jupyter_ray.local.serialization.inspection import unpicklable
from jupyter_ray.ray_cluster import calls, cancelling, circles, groups, joining, kept, refs, why, worker
from jupyter_ray.ray_cluster.definitions import Definitions
from jupyter_ray.ray_cluster.events import EventLog
from jupyter_ray.ray_cluster.exceptions import translated
from jupyter_ray.ray_cluster.living import while_alive
from jupyter_ray.ray_cluster.observer import Observer
from jupyter_ray.ray_cluster.refs import converted
from jupyter_ray.ray_cluster.reports import Reports
from jupyter_ray.ray_cluster.state import State
from jupyter_ray.ray_cluster.submission import Submitter, native_of

_DYNAMIC = ray.DynamicObjectRefGenerator


class RayEngine(kept.Kept):
    """One session on a cluster, seen from one process.

    Parameters
    ----------
    process
        What this process is.
    log
        The driver's event log; None in a worker.
    observer
        A worker's reports; None in the driver.
    owned
        Whether `shutdown` ends the connection to the cluster.
    """

    name = "ray"

    def __init__(
        self,
        process: ProcessContext,
        log: EventLog | None = None,
        observer: Observer | None = None,
        *,
        owned: bool = False,
    ) -> None:
        self.process = process
        self.log = log
        self.observer: Any = observer
        self.definitions = self._make_definitions()
        self.state = self._make_state()
        self.reports = Reports(self, log, observer)
        self._owned = owned
        self._alive = True
        self._end_lock = threading.Lock()
        submitter = self._submitter = self._make_submitter()
        # Those of the port that a part does:
        self.submit, self.call, self.create_actor = submitter.submit, submitter.call, submitter.create_actor
        refs.begin(self, self._references)
        travel.set_hooks(self.definitions)
        set_counter(None)  # Ray counts; ids know their session.
        calls.register_reducers()

    _references: Any = refs.RayObjectRef
    # Ray's own, without what is wrapped around them: it asks whether a session runs, and through Ray Client, each time.
    _get = staticmethod(inspect.unwrap(ray.get))
    _put = staticmethod(inspect.unwrap(ray.put))

    @property
    def address(self) -> str:
        """Where the head node answers."""
        return joining.address()

    def _make_definitions(self) -> Definitions:
        return Definitions(self.process.job.hex())

    def _make_state(self) -> State:
        return State(self.process.job, self.process.node.hex())

    def _make_submitter(self) -> Submitter:
        return Submitter(self)

    # --- objects ---

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Return values; see `Engine.get`."""
        self._check(refs)
        try:
            if self.observer is None:
                found = self._get(list(refs), timeout=timeout)
            else:
                with self.reports.blocked(refs):
                    keeps = circles.kept(current_task()) if timeout is None else {}
                    found = self._get_with_looks(refs, keeps) if keeps else self._get(list(refs), timeout=timeout)
        except ray.exceptions.GetTimeoutError as error:
            if isinstance(error, ray.exceptions.RayTaskError):  # The task's own, not ours.
                raise translated(error) from None
            raise GetTimeoutError(
                f"Get timed out: some object(s) not ready ({self._late(refs)} within {timeout} s)."
            ) from None
        except ray.exceptions.RayError as error:
            raise translated(error, refs) from None
        except Exception as error:
            if self.lost(error):
                raise self.dead() from error
            raise
        return [converted(value) if type(value) is _DYNAMIC else value for value in found]

    def _get_with_looks(self, refs: Sequence[ObjectRef[Any]], keeps: dict[str, float]) -> list[Any]:
        """As ``ray.get``; looks now and then whether this wait can end."""
        seconds = circles.FIRST_LOOK_SECONDS
        while True:
            try:
                return list(self._get(list(refs), timeout=seconds))
            except ray.exceptions.GetTimeoutError as error:
                if isinstance(error, ray.exceptions.RayTaskError):
                    raise
            task = current_task()
            circles.check(self, refs, keeps, "this task" if task is None else task.name)
            seconds = min(2 * seconds, 60.0)

    def _check(self, asked: Sequence[Any]) -> None:
        if not self.alive:
            raise self.dead()
        ours, running = self._references, refs.session
        for ref in asked:
            if type(ref) is ours:
                if ref.session is not running:
                    ref.check()
            elif type(ref) is ObjectRef:
                raise StaleReferenceError(ref)

    def _late(self, asked: Sequence[Any]) -> str:
        unique = list(dict.fromkeys(asked))
        _, late = ray.wait(unique, num_returns=len(unique), timeout=0, fetch_local=False)
        return f"{len(late)} of {len(unique)}"

    def lost(self, error: Exception) -> bool:
        """Tell whether an error of Ray's means that the session has ended."""
        return not self.alive

    def dead(self) -> RaySystemError:
        """Return the error that says how the session ended."""
        return RaySystemError(
            "The session has ended: the connection to the cluster is closed. Call ray.init(address=...) (in a "
            "notebook: %ray start --address ...) to join again."
        )

    @while_alive
    def put(self, value: Any) -> ObjectRef[Any]:
        """Store a snapshot of `value`; see `Engine.put`."""
        try:
            ref: Any = self._references.adopt(self._put(calls.storable(value)))
            return ref  # type: ignore[no-any-return]
        except ray.exceptions.RayError as error:
            raise translated(error) from None
        except Exception as error:
            if self.lost(error):
                raise self.dead() from error
            if isinstance(error, TypeError):
                raise unpicklable(value, error, "the put value", "value") from error
            raise

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> list[bytes]:
        """Wait for some of `refs`; see `Engine.wait`. Those of an ended session are never ready (as in Ray)."""
        known = list(refs)
        try:
            self._check(known)
        except StaleReferenceError:
            known = [ref for ref in refs if getattr(ref, "session", None) in (None, self)]
            if len(known) < num_returns:
                raise
        try:
            ready, _ = ray.wait(known, num_returns=num_returns, timeout=timeout, fetch_local=fetch_local)
        except ray.exceptions.RayError as error:
            raise translated(error) from None
        return [ref.binary() for ref in ready]

    @while_alive
    def cancel(self, object_id: bytes, *, force: bool, recursive: bool) -> None:
        """Cancel a task; see `Engine.cancel`."""
        if force and calls.is_method(object_id):
            raise ValueError("force=True is not supported for actor tasks: end the actor with kill() instead.")
        ref = refs.living(object_id)
        try:
            cancelling.cancel(ref, force=force, recursive=recursive)
        except ray.exceptions.RayError as error:
            raise translated(error) from None
        except TypeError as error:
            raise NoOwnerError(str(error)) from error

    # --- actors ---

    @while_alive
    def kill(self, actor: ActorRef, *, no_restart: bool) -> None:
        """End an actor at once; see `Engine.kill`."""
        try:
            ray.kill(native_of(actor), no_restart=no_restart)
        except ray.exceptions.RayError as error:
            raise translated(error) from None

    @while_alive
    def get_actor(self, name: str, namespace: str | None) -> NamedActor | None:
        """Find a living actor by its name; see `Engine.get_actor`."""
        try:
            actor = refs.remember_weak(ray.get_actor(name, namespace=namespace or self.process.namespace))
        except ValueError:
            return None
        handle = self.definitions.handle_of(actor)
        if handle is None:
            raise ValueError(
                f"The actor {name!r} was not made through jupyter_ray: get it with the package `ray` itself, which may "
                "be used beside this one."
            )
        return NamedActor(actor=actor, handle=handle)

    @while_alive
    def list_named_actors(self, all_namespaces: bool) -> list[tuple[str, str]]:
        """Return (namespace, name) of the living named actors."""
        found = ray.util.list_named_actors(all_namespaces=True)
        named = [(each["namespace"], each["name"]) for each in found]
        return [each for each in named if all_namespaces or each[0] == self.process.namespace]

    # --- the session ---

    @while_alive
    def nodes(self) -> list[dict[str, Any]]:
        """Return a row for each node; see `Engine.nodes`."""
        return self.state.nodes()

    @while_alive
    def table(self, *args: Any, **options: Any) -> Any:
        """Return rows of one of Ray's tables; see `Engine.table`."""
        return self.state.table(*args, **options)

    @while_alive
    def summary(self, *args: Any, **options: Any) -> Any:
        """Count what there is; see `Engine.summary`."""
        return self.state.summary(*args, **options)

    @while_alive
    def statistics(self) -> Any:
        """Return figures about the session; see `Engine.statistics`."""
        return self.state.statistics()

    @while_alive
    def total_resources(self) -> dict[str, float]:
        """Return all resources, in amounts."""
        return dict(ray.cluster_resources())

    @while_alive
    def available_resources(self) -> dict[str, float]:
        """Return what is free, in amounts."""
        return {name: amount for name, amount in ray.available_resources().items() if amount}

    def jobs(self) -> list[dict[str, Any]]:
        """Return the row of our own job; see `Engine.jobs`."""
        process = self.process
        return [
            {
                "job_id": process.job.hex(),
                "entrypoint": " ".join(sys.orig_argv) if process.is_driver else "",
                "runtime_env": process.runtime_env or {},
                "metadata": process.metadata,
                "pid": os.getpid() if process.is_driver else 0,
                "started": self.nodes()[0].get("StartTimeMs", 0) / 1000,
                "ended": 0.0,
            }
        ]

    def is_cancelled(self, task: bytes) -> bool:
        """Tell whether a cancel was asked for the running task."""
        return bool(ray.get_runtime_context().is_canceled())

    def subscribe(
        self, listener: EventListener, *, logs_only: bool = False, condensed: bool = False
    ) -> Callable[[], None]:
        """Send every event to `listener`; see `Engine.subscribe`."""
        if self.log is None:
            raise RaySystemError("Events are sent to the driver, not to a task.")
        return self.log.subscribe(listener, logs_only)

    def flush_events(self) -> None:
        """Return when the listeners have had every event so far."""
        if self.log is not None:
            self.log.flush()

    @while_alive
    def create_placement_group(
        self,
        bundles: list[dict[str, float]],
        strategy: Any,
        name: str,
        *,
        detached: bool,
        labels: Any,
        alike: str,
    ) -> str:
        """Ask for a placement group; see `Engine.create_placement_group`."""
        return groups.create(bundles, strategy, name, detached=detached, labels=labels, alike=alike)

    @while_alive
    def placement_group_ready(self, group: str, value: Any) -> ObjectRef[Any]:
        """Return a reference that is ready when the group is; see `Engine.placement_group_ready`."""
        ref: ObjectRef[Any] = self._references.adopt(groups.ready(group, value))
        return ref

    @while_alive
    def remove_placement_group(self, group: str) -> None:
        """Give a placement group back; see `Engine.remove_placement_group`."""
        groups.remove(group)

    @while_alive
    def placement_groups(self) -> list[dict[str, Any]]:
        """Return a row for each placement group."""
        return groups.rows()

    def may_ask(self, object_id: bytes) -> bool:
        """Tell whether Ray answers a `wait` for an object to which there may be no reference here any more."""
        return True

    @while_alive
    def why(self, counted: bytes) -> str:
        """Explain in plain sentences why an object is not ready, or what an actor is doing."""
        return why.Explanation(self).of(counted)

    def definition(self, key: str) -> Any:
        """Return a function or class that was shipped; see `Engine.definition`."""
        return self.definitions.find(key)

    def shutdown(self) -> None:
        """End the session; idempotent. The cluster goes on, and with it detached actors."""
        with self._end_lock:
            if not self._owned or not self._alive:
                return
            if self.log is not None:
                self.reports.close()
                self.log.close()
            self._alive = False
            if not self._submitter.detached:
                with contextlib.suppress(Exception):  # The cluster is gone already.
                    self.definitions.forget_all()
            refs.begin(None)
            travel.set_hooks(None)
            set_counter(None)
            joining.leave()

    @property
    def alive(self) -> bool:
        """Whether the session can still be used."""
        return self._alive and bool(ray._private.worker.global_worker.connected)

    # --- in a worker ---

    def capture_output(self) -> None:
        """Have what tasks print reported to the driver."""
        if self.observer is not None:
            self.observer.capture()

    def learn(self, versions: dict[str, int]) -> None:
        """Take the versions of definitions that a call came with."""
        self.definitions.learn_all(versions)

    def resolve(self, key: str, version: int | None) -> Any:
        """Return the function or class of a call."""
        return self.definitions.resolve(key, version)

    def become_actor(self, call: worker.Call) -> None:
        """This process is an actor from now on."""
        context, process = ray.get_runtime_context(), self.process
        process.actor = bytes(ray._private.worker.global_worker.actor_id.binary())
        process.actor_name = context.get_actor_name() or None
        process.namespace = context.namespace
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray's own code uses what it calls deprecated.
            process.restarts = int(context.was_current_actor_reconstructed)
        process.held = dict(call.terms.held)
        process.devices = call.context.devices
        process.actor_handle = call.header.handle
        process.leave = lambda reason: ray._private.worker.global_worker.core_worker.set_current_actor_should_exit()
        process.group = call.context.group
        process.capture = call.context.capture

    def __repr__(self) -> str:
        role = "driver" if self.process.is_driver else "worker"
        return f"<RayEngine: {role} of job {self.process.job.hex()} on {self.address}>"


def driver_of(options: InitOptions) -> ProcessContext:
    """Return what this process is: the driver."""
    context = ray.get_runtime_context()
    return ProcessContext(
        job=bytes.fromhex(context.get_job_id()),
        node=bytes.fromhex(context.get_node_id()),
        worker=bytes.fromhex(context.get_worker_id()),
        is_driver=True,
        namespace=context.namespace,
        session=context.get_session_name(),
        runtime_env=dict(options.runtime_env) if options.runtime_env else None,
    )
