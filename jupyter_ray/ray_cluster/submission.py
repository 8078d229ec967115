"""From the port's calls to Ray's: tasks, methods and actors, and what is noted of each."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import ray

from jupyter_ray.engine.base import Definition
from jupyter_ray.engine.context import current_cell, current_task
from jupyter_ray.engine.refs import ActorRef, ObjectRef
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.exceptions import ActorAlreadyExistsError, RaySystemError
from jupyter_ray.local.serialization.arguments import explain
from jupyter_ray.options import ActorOptions, MethodOptions, TaskOptions
from jupyter_ray.ray_cluster import calls, feasible, groups, hosts, refs, worker
from jupyter_ray.ray_cluster.calls import EVERYTHING, Plan, Plans
from jupyter_ray.ray_cluster.exceptions import translated
from jupyter_ray.ray_cluster.shortcut import Way

Returned = list[ObjectRef[Any]] | ObjectRefGenerator


def native_of(actor: ActorRef) -> Any:
    """Return Ray's own handle of an actor.

    Raises
    ------
    RaySystemError
        It is not known in this process.
    """
    if isinstance(actor, refs.RayActorRef):
        if refs.session is not None and actor.session not in (None, refs.session):
            raise RaySystemError(f"{actor!r} belongs to a session that has ended, and its actor with it.")
        return actor.native
    found = refs.weak_actor(actor.binary())
    if not isinstance(found, refs.RayActorRef):
        raise RaySystemError(f"{actor!r} belongs to another session, or its actor is not known here.")
    return found.native


def _with_options(called: Any, plan: Plan) -> Any:
    with warnings.catch_warnings():
        if plan.num_returns == "dynamic":  # Ray prefers "streaming" and says so; the program asked for this one.
            warnings.simplefilter("ignore")
        return called.options(**plan.native)


def function_of(streams: bool, **defined: Any) -> Any:
    """Return Ray's own remote function for tasks, with what Ray takes from the decorator alone."""
    function = worker.stream_task if streams else worker.run_task
    return ray.remote(**defined)(function) if defined else ray.remote(function)


def method_of(native: Any, plan: Plan) -> Any:
    """Return Ray's own method of a host for the calls of a plan."""
    called = native.stream if plan.streams else native.run
    for name, value in plan.defined.items():
        setattr(called, name, value)  # The host's class is made before anybody knows.
    return called


class Submitter:
    """Makes the calls of one process.

    Parameters
    ----------
    engine
        Whose calls.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._plans = Plans()
        self.detached = False
        """Whether actors were made that outlive the session."""
        self._function = functools.cache(function_of)
        self._classes: dict[tuple[str, bool, tuple[tuple[str, int], ...]], Any] = {}

    def submit(
        self, definition: Definition, args: Sequence[Any], kwargs: dict[str, Any], options: TaskOptions
    ) -> Returned:
        """Start a task; see `Engine.submit`."""
        plan = self._plans.of(options, definition.id, lambda: calls.task_plan(options, definition.name))
        if not plan.feasible:
            feasible.check(plan, definition.name, self._engine.state)
        if plan.bound is None:
            plan.bound = self._way_of_task(plan)
        returned = self._call(plan, plan.bound, args, kwargs, definition, None)
        if plan.group and isinstance(returned, list) and returned:
            groups.started(plan.group, returned[0])
        return returned

    def call(
        self, actor: ActorRef, method: str, args: Sequence[Any], kwargs: dict[str, Any], options: MethodOptions
    ) -> Returned:
        """Call a method; see `Engine.call`."""
        plan = self._plans.of(options, method, lambda: calls.method_plan(options, options.name or method, method))
        if type(actor) is not refs.RayActorRef:
            return self._call(plan, self._way_of_method(plan, native_of(actor)), args, kwargs, None, actor)
        if actor.session is not refs.session:
            native_of(actor)  # It says what is wrong with that.
        bound = actor._bound.get(id(plan))
        if bound is None:
            bound = actor._bound[id(plan)] = self._way_of_method(plan, actor.native)
        pace = actor.pace
        pace.calls += 1
        if pace.calls >= pace.stretch:
            pace.mark(wait=actor.binary() != self._engine.process.actor)
        return self._call(plan, bound, args, kwargs, None, actor)

    def _way_of_task(self, plan: Plan) -> Callable[..., Any]:
        """Return what makes the calls of a task's plan: `Way`, or the like of it."""
        function = self._function(plan.streams, **plan.defined)

        def bind(way: Way, header: bytes) -> Way:
            return Way(_with_options(ray.remote(worker.with_header(header)), plan).remote, single=True)

        single = plan.num_returns == 1
        return Way(_with_options(function, plan).remote, single=single, bind=None if plan.defined else bind)

    def _way_of_method(self, plan: Plan, native: Any) -> Callable[..., Any]:
        """Return what makes the calls of a method's plan."""

        def bind(way: Way, header: bytes) -> Way:
            return way.named(header, self._engine.definitions.keep_header(header))

        return Way(_with_options(method_of(native, plan), plan).remote, single=plan.num_returns == 1, bind=bind)

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
        plan = self._plans.of(options, definition.id, lambda: calls.actor_plan(options, definition.name))
        if not plan.feasible:
            feasible.check(plan, definition.name, self._engine.state)
        if options.get_if_exists and options.name:
            found = self._engine.get_actor(options.name, options.namespace)
            if found is not None:
                return refs.weak_actor(found.actor), False
        native_options = dict(plan.native)
        if options.name and "namespace" not in native_options:
            native_options["namespace"] = self._engine.process.namespace
        made = self._class(definition, options, is_async).options(**native_options)
        layout, dependencies, plain = calls.lay_out(args, kwargs)
        task = current_task()
        observe = self._engine.reports.level(task)
        header, values = self._header(definition, plan, layout, dependencies, plain, task, observe, handle)
        try:
            with self._engine.reports.passing() as passed:
                native = made.remote(header, *values)
            native._actor_id.binary()  # Through Ray Client, what is wrong is told with the id.
        except ValueError as error:
            if options.name and "already" in str(error):
                raise ActorAlreadyExistsError(str(error)) from None
            raise
        except Exception as error:
            raise self._explained(error, args, kwargs, definition, definition.name) from error
        ref = refs.RayActorRef(native)
        if plan.group:
            groups.started(plan.group, ref)
        if options.lifetime == "detached":
            self.detached = True
        if options.name:
            self._engine.definitions.keep_handle(ref.binary(), handle)
        self._engine.reports.actor_created(ref, definition.name, options, plan, passed)
        return ref, True

    def _class(self, definition: Definition, options: ActorOptions, is_async: bool) -> Any:
        groups = tuple(sorted((options.concurrency_groups or {}).items()))
        key = (definition.id, is_async, groups)
        made = self._classes.get(key)
        if made is None:
            host = hosts.host_class(definition.name, definition.module, is_async)
            made = ray.remote(concurrency_groups=dict(groups))(host) if groups else ray.remote(host)
            self._classes[key] = made
        return made

    def _call(
        self,
        plan: Plan,
        way: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        definition: Definition | None,
        actor: ActorRef | None,
    ) -> Returned:
        reports, task = self._engine.reports, current_task()
        observe = reports.level(task)
        layout, dependencies, plain = calls.lay_out(args, kwargs)
        header, values = self._header(definition, plan, layout, dependencies, plain, task, observe)
        reports.before_call()
        capture = task is not None and task.capture
        try:
            if observe == EVERYTHING:
                with reports.passing() as passed:
                    found = way(header, values, capture=capture)
            else:
                passed, found = None, way(header, values, capture=capture)
        except Exception as error:
            raise self._explained(error, args, kwargs, definition, plan.name) from error
        adopt = refs.kind.adopt
        returned: Returned
        if isinstance(found, ray.ObjectRef):
            returned = [adopt(found)]
        elif found is None:
            returned = []
        elif isinstance(found, list):
            returned = [adopt(each) for each in found]
        else:
            returned = refs.RayGenerator(found)
        dependencies = [each for each in dependencies if isinstance(each, ray.ObjectRef)]
        if dependencies:
            self._engine.reports.note(returned, plan.name, dependencies)
        if passed is not None:
            self._engine.reports.submitted(plan, returned, dependencies, passed, actor)
        return returned

    def _header(
        self,
        definition: Definition | None,
        plan: Plan,
        layout: calls.Layout,
        dependencies: list[Any],
        plain: bool,
        task: TaskContext | None,
        observe: int,
        handle: bytes = b"",
    ) -> tuple[bytes, list[Any]]:
        inherited = worker.versions_here.get({}) if task is not None else {}
        key, versions = "", inherited
        if definition is not None:
            self._engine.definitions.ensure(definition)
            key, versions = definition.id, self._engine.definitions.versions(definition, inherited)
        parent, cell = (None, current_cell()) if task is None else (task.task, task.cell)
        told = layout if plain else None
        header = calls.Header(key, versions, plan.terms, parent, cell, told, observe, handle)
        return calls.dump_header(header), dependencies if plain else [layout, *dependencies]

    def _explained(
        self, error: Exception, args: Sequence[Any], kwargs: dict[str, Any], definition: Definition | None, name: str
    ) -> BaseException:
        if isinstance(error, ray.exceptions.RayError):
            return translated(error)
        if self._engine.lost(error):
            dead: BaseException = self._engine.dead()
            return dead
        if isinstance(error, TypeError):
            return explain(error, args, kwargs, None if definition is None else definition.value, name)
        return error
