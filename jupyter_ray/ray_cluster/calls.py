"""A call on its way to a worker: Ray's options for it, and the one argument that says what to run.

A call travels as ``run(header, *values)``. The header is bytes: which definition, in which version, who asks, and the
arguments where they are plain. What is not plain travels beside it through Ray's own serializer, so that references
and handles inside are counted; references at top level are Ray's dependencies, whose values take their places.
"""

from __future__ import annotations

import array
import dataclasses
import pickle
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from jupyter_ray.config import INLINE_LIMIT
from jupyter_ray.exceptions import RayError
from jupyter_ray.local.serialization import compiled, kinds, libraries, values
from jupyter_ray.local.serialization.arguments import Argument, Parcel, entwined
from jupyter_ray.options import ActorOptions, MethodOptions, TaskOptions
from jupyter_ray.ray_cluster import refs
from jupyter_ray.resources import amounts

PROTOCOL = 5
NOTHING, LOGS, EVERYTHING = range(3)
_PLANS = 4096
_ATOMS = frozenset({int, float, bool, complex, type(None)})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a worker needs to know of a call's options; the same for all calls with one options record."""

    function: str = ""
    method: str = ""
    name: str = ""
    held: dict[str, float] = dataclasses.field(default_factory=dict)
    writable: bool | list[str | int] | None = None
    inout: list[str | int] | None = None
    num_returns: int | str = 1
    retries: bool = False
    """Errors that it raises are tried again."""


class Header(NamedTuple):
    """One call, as its worker reads it."""

    definition: str
    versions: dict[str, int]
    terms: bytes
    parent: bytes | None
    cell: str | None
    layout: tuple[Sequence[Any], Mapping[str, Any]] | None
    """None: the first value is the layout."""
    observe: int
    """What the worker shall report: one of `NOTHING`, `LOGS`, `EVERYTHING`."""
    handle: bytes
    """For an actor's constructor: what `current_actor` needs beside Ray's own handle."""


def dump_header(header: Header) -> bytes:
    """Return a header as bytes."""
    return pickle.dumps(tuple(header), PROTOCOL)


def load_header(header: bytes) -> Header:
    """Return what `dump_header` dumped."""
    return Header._make(pickle.loads(header))


@dataclasses.dataclass(slots=True, kw_only=True)
class Plan:
    """What one options record comes to, for one definition or method. `options` keeps the record, its key, alive."""

    options: TaskOptions | ActorOptions | MethodOptions
    terms: bytes
    native: dict[str, Any]
    """Ray's keyword arguments."""
    defined: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Those that Ray takes where a function or method is defined, and not with a call."""
    num_returns: int | str = 1
    held: dict[str, float] = dataclasses.field(default_factory=dict)
    name: str = ""
    feasible: bool = False
    """Some node has been seen to have what the call asks for."""
    bound: Any = None
    """What Ray made of the options, where it can be used again."""

    @property
    def group(self) -> str:
        """The id of the placement group that the options name; "" if they name none."""
        group = getattr(getattr(self.options, "scheduling_strategy", None), "placement_group", None)
        return "" if group in (None, "default") or group.is_empty else str(group.id.hex())

    @property
    def streams(self) -> bool:
        """Whether the call makes a generator's references."""
        return self.num_returns in ("streaming", "dynamic")


class Plans:
    """The plans of one process."""

    def __init__(self) -> None:
        self._plans: dict[tuple[int, str], Plan] = {}

    def of(self, options: Any, key: str, make: Callable[[], Plan]) -> Plan:
        """Return the plan of an options record for the definition or method `key`."""
        plan = self._plans.get((id(options), key))
        if plan is None:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            plan = self._plans[id(options), key] = make()
        return plan


renamed: dict[str, str] = {}
"""The functions and methods whose calls this process gave another name, by that name."""


def _note_name(asked: str | None, own: str) -> str:
    if asked and asked != own:
        if len(renamed) >= _PLANS:
            renamed.clear()
        renamed[asked] = own
    return asked or own


def task_plan(options: TaskOptions, name: str) -> Plan:
    """Return the plan of a task; `name` is the function's."""
    held = amounts(options.demand())
    terms = Terms(
        function=name,
        name=_note_name(options.name, name),
        held=held,
        writable=options.writable,
        inout=options.inout,
        num_returns=1 if options.num_returns is None else options.num_returns,
        retries=bool(options.retry_exceptions),
    )
    native: dict[str, Any] = {**_resources(options), "name": terms.name, "num_returns": terms.num_returns}
    if options.max_retries is not None:
        native["max_retries"] = options.max_retries
    if options.retry_exceptions:
        native["retry_exceptions"] = options.retry_exceptions
    if options.runtime_env:
        native["runtime_env"] = shipped(options.runtime_env)
    if options.generator_backpressure > 0:
        native["_generator_backpressure_num_objects"] = options.generator_backpressure
    native["enable_task_events"] = options.enable_task_events
    native["scheduling_strategy"] = strategy(options.scheduling_strategy)
    defined = {"max_calls": options.max_calls} if options.max_calls else {}
    if options.per_yield > 1:
        defined["_num_objects_per_yield"] = options.per_yield
    return Plan(
        options=options,
        terms=pickle.dumps(terms, PROTOCOL),
        native=native,
        defined=defined,
        num_returns=terms.num_returns,
        held=held,
        name=terms.name,
    )


def method_plan(options: MethodOptions, name: str, method: str) -> Plan:
    """Return the plan of a method's calls; `name` is the method's, with its class."""
    number = 1 if options.num_returns is None else options.num_returns
    terms = Terms(
        function=name,
        method=method,
        name=options.name or method,
        writable=options.writable,
        inout=options.inout,
        num_returns=number,
        retries=bool(options.retry_exceptions),
    )
    native: dict[str, Any] = {"name": terms.name, "num_returns": number}
    if options.max_task_retries is not None:  # 0 is what the call says where its actor says more.
        native["max_task_retries"] = options.max_task_retries
    if options.retry_exceptions:
        native["retry_exceptions"] = options.retry_exceptions
    if options.concurrency_group:
        native["concurrency_group"] = options.concurrency_group
    if options.generator_backpressure > 0:
        native["_generator_backpressure_num_objects"] = options.generator_backpressure
    native["enable_task_events"] = options.enable_task_events is not False
    return Plan(
        options=options,
        terms=pickle.dumps(terms, PROTOCOL),
        native=native,
        defined={"_num_objects_per_yield": options.per_yield} if options.per_yield > 1 else {},
        num_returns=number,
        name=terms.name,
    )


def actor_plan(options: ActorOptions, name: str) -> Plan:
    """Return the plan of an actor; `name` is the class's."""
    held = amounts(options.demand())
    function = f"{name}.__init__"
    terms = Terms(function=function, name=f"{options.name}:{function}" if options.name else function, held=held)
    native: dict[str, Any] = _resources(options)
    for field in ("name", "namespace", "lifetime", "max_concurrency", "allow_out_of_order_execution"):
        value = getattr(options, field)
        if value is not None:
            native[field] = value
    native["get_if_exists"] = options.get_if_exists
    native["max_restarts"] = options.max_restarts
    native["max_task_retries"] = options.max_task_retries
    if options.generator_cap > 0:
        native["_actor_generator_backpressure_num_objects"] = options.generator_cap
    if options.runtime_env:
        native["runtime_env"] = shipped(options.runtime_env)
    native["enable_task_events"] = options.enable_task_events
    native["scheduling_strategy"] = strategy(options.scheduling_strategy)
    return Plan(options=options, terms=pickle.dumps(terms, PROTOCOL), native=native, held=held, name=function)


def shipped(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's runtime environment with its folders uploaded to the cluster: Ray does that for a job's alone."""
    from ray._private.runtime_env.py_modules import upload_py_modules_if_needed
    from ray._private.runtime_env.working_dir import upload_working_dir_if_needed

    found = dict(environment)
    with tempfile.TemporaryDirectory() as scratch:
        for upload in (upload_py_modules_if_needed, upload_working_dir_if_needed):
            found = upload(found, include_gitignore=True, scratch_dir=scratch)
    return found


def _resources(options: TaskOptions | ActorOptions) -> dict[str, Any]:
    named = {"num_cpus": options.num_cpus, "num_gpus": options.num_gpus, "memory": options.memory}
    found: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if options.resources:
        found["resources"] = dict(options.resources)
    if options.label_selector:
        found["label_selector"] = options.label_selector
    if options.fallback_strategy:
        found["fallback_strategy"] = options.fallback_strategy
    return found


def group_of(hexadecimal: str, bundles: list[dict[str, float]] | None = None) -> Any:
    """Return Ray's placement group of that id."""
    from ray.util.placement_group import PlacementGroup

    return PlacementGroup(ray.PlacementGroupID(bytes.fromhex(hexadecimal)), bundles)


def strategy(asked: Any) -> Any:
    """Return a scheduling strategy as Ray's; the classes are the API's, so they are read by their attributes."""
    if asked is None or isinstance(asked, str):
        return asked
    if hasattr(asked, "placement_group"):
        group = asked.placement_group
        if group not in (None, "default"):
            group = group_of(group.id.hex(), list(group.bundle_specs) or None)
        return PlacementGroupSchedulingStrategy(
            group, asked.placement_group_bundle_index, asked.placement_group_capture_child_tasks
        )
    if hasattr(asked, "node_id"):
        return NodeAffinitySchedulingStrategy(
            asked.node_id,
            asked.soft,
            _spill_on_unavailable=getattr(asked, "_spill_on_unavailable", False),
            _fail_on_unavailable=getattr(asked, "_fail_on_unavailable", False),
        )
    return NodeLabelSchedulingStrategy(_labels(asked.hard) or {}, soft=_labels(asked.soft))


def is_method(object_id: bytes) -> bool:
    """Tell whether an actor's call makes the object: the ids of Ray's tasks hold their actor, or twelve times 255."""
    return object_id[8:20] != b"\xff" * 12


def _labels(conditions: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not conditions:
        return None
    from ray.util import scheduling_strategies as native

    return {
        name: getattr(native, type(condition).__name__)(*condition.values) for name, condition in conditions.items()
    }


# --- arguments ---------------------------------------------------------------------------------------------------

Layout = tuple[list[Any], dict[str, Any]]


def lay_out(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Layout, list[Any], bool]:
    """Lay out the arguments of a call.

    Returns
    -------
    (layout, list, bool)
        The arguments with `Argument` in the places of references at top level, and of values that may share something;
        those; and whether the layout is plain, so that it can be part of the header.
    """
    dependencies: list[Any] = []
    plain = True
    laid_out: list[Any] = []
    for value in args:
        kind = type(value)
        if kind in _ATOMS:
            laid_out.append(value)
        else:
            value, is_plain = _place(value, kind, dependencies)
            plain = plain and is_plain
            laid_out.append(value)
    named: dict[str, Any] = {}
    for key, value in kwargs.items():
        kind = type(value)
        if kind not in _ATOMS:
            value, is_plain = _place(value, kind, dependencies)
            plain = plain and is_plain
        named[key] = value
    if not plain and len(laid_out) + len(named) > 1:
        for place, key, value in entwined(laid_out, named):
            place[key] = Argument(len(dependencies))
            dependencies.append(value)  # Ray pickles each by itself.
    return (laid_out, named), dependencies, plain


def _place(value: Any, kind: type, dependencies: list[Any]) -> tuple[Any, bool]:
    if kind is str:
        return value, len(value) < INLINE_LIMIT
    if isinstance(value, ray.ObjectRef):
        if isinstance(value, refs.References):
            value.check()
        dependencies.append(value)  # Twice, if it is two arguments: each gets a value of its own.
        return Argument(len(dependencies) - 1), True
    if kind is bytes:
        small = len(value) <= INLINE_LIMIT
        return (value, True) if small else (values._LargeBytes(value), False)
    if kind is bytearray:
        return Parcel("bytearray", value), False
    if kind is array.array:
        code = values.array_format(value)
        return (value if code is None else Parcel(code, memoryview(value).cast("B"))), False
    if values.is_array(kind) or kind is memoryview:
        register_reducers()
    elif kind.__name__ in compiled._FUNCTIONS:
        ray.cloudpickle.CloudPickler.dispatch[kind] = _reduce_compiled
    return value, False


def share_classes() -> None:
    """Let Ray's copy of cloudpickle and cloudpickle itself know the same classes.

    Definitions are pickled by the one, values by the other: a class that went to a worker in a definition must be the
    same class when an instance of it comes back.
    """
    from cloudpickle import cloudpickle as ours
    from ray.cloudpickle import cloudpickle as rays

    kinds.told_always = True
    if rays._DYNAMIC_CLASS_TRACKER_BY_CLASS is ours._DYNAMIC_CLASS_TRACKER_BY_CLASS:
        return
    with ours._DYNAMIC_CLASS_TRACKER_LOCK:
        for kind, name in list(rays._DYNAMIC_CLASS_TRACKER_BY_CLASS.items()):
            ours._DYNAMIC_CLASS_TRACKER_BY_CLASS.setdefault(kind, name)
        for name, kind in list(rays._DYNAMIC_CLASS_TRACKER_BY_ID.items()):
            ours._DYNAMIC_CLASS_TRACKER_BY_ID.setdefault(name, kind)
        rays._DYNAMIC_CLASS_TRACKER_BY_CLASS = ours._DYNAMIC_CLASS_TRACKER_BY_CLASS
        rays._DYNAMIC_CLASS_TRACKER_BY_ID = ours._DYNAMIC_CLASS_TRACKER_BY_ID
        rays._DYNAMIC_CLASS_TRACKER_LOCK = ours._DYNAMIC_CLASS_TRACKER_LOCK


share_classes()  # Before the first value is unpickled here.


def storable(value: Any) -> Any:
    """Return a value as Ray shall pickle and store it: one of our errors as one that `get` raises."""
    register_reducers()
    if isinstance(value, RayError):
        return ray.exceptions.RayTaskError(getattr(value, "function_name", type(value).__name__), str(value), value)
    return value


_registered = False


def register_reducers() -> None:
    """Teach Ray's pickler what this package's own can: memoryviews, streams, arrays with gaps (read-only there).

    What is pickled next may be the first array of this process: so this is called before each value that Ray pickles.
    """
    global _registered
    if _registered:
        return
    dispatch = ray.cloudpickle.CloudPickler.dispatch
    dispatch[memoryview] = values._reduce_memoryview
    stream = getattr(sys.modules.get("ipykernel.iostream"), "OutStream", None)
    if stream is not None:
        dispatch[stream] = libraries.reduce_stream
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "ndarray"):
        dispatch[numpy.ndarray] = libraries.reduce_array
        _registered = True


def _reduce_compiled(value: Any) -> Any:
    return compiled.reduce(value) or value.__reduce_ex__(PROTOCOL)
