"""From the options of a call to what the scheduler reads: worked out once per options record, used for every call."""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import msgspec

from jupyter_ray.engine.base import Definition
from jupyter_ray.engine.context import ProcessContext
from jupyter_ray.engine.refs import ActorRef
from jupyter_ray.exceptions import ActorHandleNotFoundError, ActorUnschedulableError, TaskUnschedulableError
from jupyter_ray.ids import JobID, PlacementGroupID
from jupyter_ray.labels import matches
from jupyter_ray.local.client.routes import route_key
from jupyter_ray.local.engine.machine import node_labels
from jupyter_ray.local.protocol.messages import DYNAMIC, STREAMING, ActorSpec, CreateGroup, TaskSpec
from jupyter_ray.local.serialization import values
from jupyter_ray.options import ActorOptions, MethodOptions, NumReturns, TaskOptions
from jupyter_ray.resources import GPU, PARTS, VISIBLE, Demand, demand, describe

DEFAULT_RETRIES = 3
"""How often a task is tried again that says nothing of it, unless ``RAY_TASK_MAX_RETRIES`` does. Source: Ray."""
_PLANS = 4096
_BODIES = 1024


class Plan(msgspec.Struct, kw_only=True):
    """What one options record comes to. `options` keeps the record alive, whose identity is the key."""

    options: TaskOptions | ActorOptions | MethodOptions
    num_returns: int = 1
    demand: Demand = msgspec.field(default_factory=dict)
    placement: Demand = msgspec.field(default_factory=dict)
    max_retries: int = 0
    retry_on: bytes = b""
    max_calls: int = 0
    env: str = ""
    labels: str = ""
    """What was asked for by label, as JSON, for the tables; this machine meets it."""
    group: str | None = None
    bundle: int = -1
    capture: bool = False
    anywhere: bool = True
    """No placement group was named: the one of the task that makes the call may be inherited."""
    inherits: bool | None = None
    """Whether it is, whatever that task was told; None: if its children are captured."""
    route_key: Hashable = None
    """What tasks have in common that one lease may serve; None: none may."""

    listed: bool = True
    """Whether `list_tasks` tells of the task."""
    bodies: dict[Hashable, bytes] = msgspec.field(default_factory=dict)
    """Encoded bodies of calls without arguments, by what they are of."""

    def __post_init__(self) -> None:
        """Work out what follows from the options."""
        self.listed = self.options.enable_task_events is not False

    def taken_over(self, group: str, capture: bool) -> tuple[str | None, int, bool]:
        """Return the placement group, and the bundle, of a call of a task in `group` that named none itself."""
        if group and (capture if self.inherits is None else self.inherits):
            return group, self.bundle, True
        if self.bundle != -1:
            raise no_group(self.bundle)
        return None, -1, False

    def keep(self, key: Hashable, body: bytes, arguments: object) -> None:
        """Remember the body of a call for the next one, if it has no arguments."""
        if arguments is None:
            if len(self.bodies) >= _BODIES:
                self.bodies.clear()
            self.bodies[key] = body


class Plans:
    """The plans of one process.

    Parameters
    ----------
    encode_env
        Returns the canonical text of a runtime environment, what is inherited included.
    process
        This process: its node, which a node affinity may name, has an id and labels.
    """

    def __init__(self, encode_env: Callable[[Mapping[str, Any] | None], str], process: ProcessContext) -> None:
        self._encode_env = encode_env
        self._process = process
        self._node = process.node.hex()
        self._plans: dict[int, Plan] = {}

    def of(self, options: TaskOptions | ActorOptions | MethodOptions, name: str = "") -> Plan:
        """Return the plan of an options record; `name`, of function or class, is for an error's text."""
        plan = self._plans.get(id(options))
        if plan is not None:
            return plan
        if isinstance(options, TaskOptions):
            plan = self._of_task(options, name)
        elif isinstance(options, ActorOptions):
            plan = Plan(
                options=options,
                num_returns=0,
                demand=options.demand(),
                placement=options.placement_demand(),
                env=self._encode_env(options.runtime_env),
                labels=_labels(options),
            )
            self._check_labels(options, name)
            self._place(plan, options.scheduling_strategy, name)
        else:
            plan = Plan(
                options=options,
                num_returns=_num_returns(options.num_returns),
                max_retries=options.max_task_retries or 0,
                retry_on=_retry_on(options.retry_exceptions),
            )
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        self._plans[id(options)] = plan
        return plan

    def _of_task(self, options: TaskOptions, name: str) -> Plan:
        demand = options.demand()
        plan = Plan(
            options=options,
            num_returns=_num_returns(options.num_returns),
            demand=demand,
            max_retries=_default_retries() if options.max_retries is None else options.max_retries,
            retry_on=_retry_on(options.retry_exceptions),
            # CUDA keeps a process's memory on the device: a worker that used a GPU is not used again (as in Ray).
            max_calls=(1 if GPU in demand else 0) if options.max_calls is None else options.max_calls,
            env=self._encode_env(options.runtime_env),
            labels=_labels(options),
        )
        self._check_labels(options, name)
        self._place(plan, options.scheduling_strategy, name)
        if not plan.max_calls and demand.keys().isdisjoint(VISIBLE):
            plan.route_key = route_key(plan.env, demand)
        return plan

    def _place(self, plan: Plan, strategy: Any, name: str) -> None:
        """Read a scheduling strategy by its attributes: the classes are the API's."""
        plan.anywhere = strategy is None
        if hasattr(strategy, "placement_group"):
            group, index = strategy.placement_group, strategy.placement_group_bundle_index
            plan.bundle = _bundle(index)
            if group == "default":  # The caller's, if children are captured: what no strategy at all means.
                plan.anywhere, plan.inherits = True, strategy.placement_group_capture_child_tasks
                return
            if group is not None and not hasattr(group, "is_empty"):
                raise TypeError(f"A placement_group is a PlacementGroup, 'default' or None, got {group!r}.")
            if group is not None and not group.is_empty:
                _check_bundle(group, plan, name)
                plan.group = group.id.hex()
            elif plan.bundle != -1:
                raise no_group(plan.bundle)
            plan.capture = bool(strategy.placement_group_capture_child_tasks)
            return
        node = getattr(strategy, "node_id", None)
        if node is not None and node != self._node and not getattr(strategy, "soft", False):
            raise _unschedulable(isinstance(plan.options, ActorOptions))(
                "The node specified via NodeAffinitySchedulingStrategy doesn't exist, and soft=False was specified: it "
                f"is {node}, and this one is {self._node}. Pass soft=True to run elsewhere too."
            )
        accepts = getattr(strategy, "accepts", None)
        if accepts is not None and not accepts(labels := node_labels(self._process)):
            text = f"No machine has the labels that {strategy!r} wants; the labels of this one are {labels}."
            raise _unschedulable(isinstance(plan.options, ActorOptions))(text)

    def _check_labels(self, options: TaskOptions | ActorOptions, name: str) -> None:
        """Raise if this machine has not the labels that the options want, nor those of any of their alternatives."""
        if not options.label_selector:
            return
        alternatives = [each.get("label_selector") for each in options.fallback_strategy or ()]
        labels = node_labels(self._process)
        if not any(matches(each, labels) for each in (options.label_selector, *alternatives)):
            raise _unschedulable(isinstance(options, ActorOptions))(
                f"{name} wants a machine with the labels {options.label_selector}, and those of this one are {labels}: "
                "it could never start. Declare labels in init(labels=...), or name others in fallback_strategy."
            )


def _unschedulable(is_actor: bool) -> type[ActorUnschedulableError] | type[TaskUnschedulableError]:
    """Return the error of what could never start."""
    return ActorUnschedulableError if is_actor else TaskUnschedulableError


def no_group(bundle: int) -> ValueError:
    """Return the error of a call that names a bundle and has no placement group."""
    return ValueError(f"If placement group is not set, the value of bundle index must be -1, got {bundle}.")


def _bundle(index: Any) -> int:
    """Read a bundle's number: a truth value and ``1.0`` are numbers, as in Ray."""
    if index is None:
        return -1
    if not isinstance(index, numbers.Real) or not float(index).is_integer():
        raise TypeError(f"placement_group_bundle_index must be a whole number, got {index!r}.")
    return int(float(index))


def _check_bundle(group: Any, plan: Plan, name: str) -> None:
    """Raise a ValueError if no bundle of `group` that `plan` may use can ever hold it (as in Ray)."""
    bundles = group.bundle_specs
    if not -1 <= plan.bundle < len(bundles):
        raise ValueError(
            f"placement group bundle index {plan.bundle} is invalid: {group!r} has {len(bundles)} bundles, counted "
            "from 0; -1 means any of them."
        )
    usable = bundles if plan.bundle < 0 else [bundles[plan.bundle]]
    needs = plan.placement or plan.demand
    for bundle in usable:
        amounts = demand(bundle)
        if all(parts <= amounts.get(name, 0) for name, parts in needs.items()):
            return
    asked = {name: parts // PARTS if parts % PARTS == 0 else parts / PARTS for name, parts in needs.items()}
    raise ValueError(
        f"Cannot schedule {name} with the placement group because the resource request {asked} cannot fit into any "
        f"bundles for the placement group, {usable}. Ask for less, or make the bundles larger."
    )


def actor_spec(
    creation: TaskSpec,
    definition: Definition,
    options: ActorOptions,
    plan: Plan,
    process: ProcessContext,
    *,
    is_async: bool,
    handle: bytes,
) -> ActorSpec:
    """Return what the runtime is told of a new actor, whose constructor runs as `creation`."""
    concurrency = options.max_concurrency or (1000 if is_async else 1)
    out_of_order = options.allow_out_of_order_execution
    if out_of_order is None:
        out_of_order = is_async or concurrency > 1 or bool(options.concurrency_groups)
    assert creation.actor is not None
    return ActorSpec(
        actor=creation.actor,
        creation=creation,
        class_name=definition.name,
        qualname=getattr(definition.value, "__qualname__", ""),
        handle=handle,
        placement=plan.placement,
        name=options.name or "",
        namespace=options.namespace or process.namespace,
        get_if_exists=options.get_if_exists,
        detached=process.detached_actors if options.lifetime is None else options.lifetime == "detached",
        max_restarts=options.max_restarts,
        max_task_retries=options.max_task_retries,
        max_concurrency=concurrency,
        is_async=is_async,
        concurrency_groups=options.concurrency_groups or {},
        generator_cap=options.generator_cap,
        ordered=not out_of_order,
    )


def new_group(
    process: ProcessContext,
    bundles: Iterable[Mapping[str, float]],
    strategy: Any,
    name: str,
    *,
    detached: bool,
    labels: Iterable[Mapping[str, str]] | None = None,
    alike: str = "",
) -> CreateGroup:
    """Return what asks for a placement group; see `Engine.create_placement_group`."""
    known = node_labels(process)
    lacks = [f"{selector}" for selector in labels or () if not matches(selector, known)]
    if alike and alike not in known:
        lacks.append(repr(alike))
    group = PlacementGroupID.of(JobID(process.job)).hex()
    return CreateGroup(group, [demand(bundle) for bundle in bundles], strategy, name, detached, ", ".join(lacks))


def _labels(options: TaskOptions | ActorOptions) -> str:
    if not options.label_selector and not options.fallback_strategy:
        return ""
    return json.dumps([options.label_selector or {}, options.fallback_strategy or []])


def _default_retries() -> int:
    """Return how often a task is tried again that says nothing of it."""
    text = os.environ.get("RAY_TASK_MAX_RETRIES")
    try:
        count = DEFAULT_RETRIES if text is None else int(text)
    except ValueError as error:
        raise ValueError(f"RAY_TASK_MAX_RETRIES must be a whole number, and it is {text!r}.") from error
    if count < -1:
        raise ValueError(f"RAY_TASK_MAX_RETRIES must be -1 (for ever), 0 or more, got {count}.")
    return count


def _num_returns(number: NumReturns | None) -> int:
    if number is None:
        return 1
    if number == "dynamic":
        return DYNAMIC
    if number == "streaming":
        return STREAMING
    return int(number)


def _retry_on(retry: bool | list[type[BaseException]]) -> bytes:
    if not retry:
        return b""
    classes = (Exception,) if retry is True else tuple(retry)
    return values.code_dumps(classes).data


def check_feasible(name: str, demand: Demand, total: Mapping[str, int], *, is_actor: bool) -> None:
    """Raise if this machine could never meet `demand`.

    Raises
    ------
    TaskUnschedulableError, ActorUnschedulableError
        It could not; the message says what was asked and what there is.
    """
    for resource, parts in demand.items():
        if parts > total.get(resource, 0):
            there = {key: value for key, value in total.items() if key in demand or key in ("CPU", "GPU")}
            raise _unschedulable(is_actor)(
                f"{name} asks for {describe(demand)}, and this machine has {describe(there)} in all: it could never "
                "start. Ask for less, or declare more in init()."
            )


def check_session(actor: ActorRef, job: bytes, table: Callable[..., tuple[list[Any], bool]]) -> None:
    """Raise an `ActorHandleNotFoundError` if the actor is of another session; `table` is `Engine.table` of ours.

    Of our own job it is of ours; another driver's job the runtime knows.
    """
    if actor.id.job_id.binary() != job and not table("actors", limit=1, id=actor.id.hex())[0]:
        raise ActorHandleNotFoundError(f"The handle of the actor {actor.id.hex()} is of a session that has ended.")
