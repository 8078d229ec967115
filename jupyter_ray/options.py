"""What a call may ask for: the options of tasks, actors and methods.

Two halves. The records are complete and typed: engines read them. The tables say which keyword arguments make them,
and what each accepts: `api` checks what a user wrote as soon as it is written. An unknown option is a ValueError that
lists the valid ones (a TypeError of a method's ``.options()``), a wrong type a TypeError, a wrong value a ValueError.
Source: Ray's ``@ray.remote`` and ``.options()``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import msgspec

from jupyter_ray.deprecation import deprecated
from jupyter_ray.environments import check_runtime_env
from jupyter_ray.labels import unwritable, wrong_fallback, wrong_selector
from jupyter_ray.resources import CPU, GPU, MEMORY, VISIBLE, Demand, broken, demand, not_custom, to_parts
from jupyter_ray.spelling import no_option

NumReturns = int | Literal["dynamic", "streaming"]

ASYNC_CONCURRENCY = 1000
"""Calls that an async actor runs at once unless it says otherwise (Ray's figure)."""


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one remote function or of one call of it. Defaults are Ray's."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: dict[str, float] | None = None
    memory: float | None = None
    num_returns: NumReturns | None = None
    max_retries: int | None = None
    retry_exceptions: bool | list[type[BaseException]] = False
    max_calls: int | None = None
    name: str | None = None
    runtime_env: dict[str, Any] | None = None
    scheduling_strategy: Any = None
    label_selector: dict[str, str] | None = None
    fallback_strategy: list[dict[str, Any]] | None = None
    writable: bool | list[str | int] | None = None
    inout: list[str | int] | None = None
    generator_backpressure: int = -1
    per_yield: int = 1
    enable_task_events: bool = True

    def demand(self) -> Demand:
        """Return what the task holds while it runs: one CPU unless stated."""
        return _demand(self, 1.0)


class ActorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one actor. Defaults are Ray's."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: dict[str, float] | None = None
    memory: float | None = None
    name: str | None = None
    namespace: str | None = None
    lifetime: Literal["detached", "non_detached"] | None = None
    get_if_exists: bool = False
    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int | None = None
    concurrency_groups: dict[str, int] | None = None
    max_pending_calls: int = -1
    generator_cap: int = -1
    allow_out_of_order_execution: bool | None = None
    runtime_env: dict[str, Any] | None = None
    scheduling_strategy: Any = None
    label_selector: dict[str, str] | None = None
    fallback_strategy: list[dict[str, Any]] | None = None
    enable_task_events: bool = True

    @property
    def _asks_for_more_than_memory(self) -> bool:
        return not (self.num_cpus is None and self.num_gpus is None and not self.resources)

    def demand(self) -> Demand:
        """Return what the actor holds while it lives.

        No CPU by default, and one if it asks for GPUs or custom resources but states no CPUs. Source: Ray.
        """
        return _demand(self, 1.0 if self._asks_for_more_than_memory else 0.0)

    def placement_demand(self) -> Demand:
        """Return what there must be where the actor is placed, free or not: one CPU by default, else what it holds."""
        return _demand(self, 1.0)


class MethodOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one actor method or of one call of it."""

    num_returns: NumReturns | None = None
    name: str | None = None
    concurrency_group: str | None = None
    max_task_retries: int | None = None
    retry_exceptions: bool | list[type[BaseException]] = False
    writable: bool | list[str | int] | None = None
    inout: list[str | int] | None = None
    generator_backpressure: int = -1
    per_yield: int = 1
    counted: bool = False
    """Whoever reads a stream of it tells how far: its actor has a `generator_cap`."""
    enable_task_events: bool | None = None
    """None: as the actor."""


def _demand(options: TaskOptions | ActorOptions, cpus: float) -> Demand:
    if options.num_gpus and (wrong := broken("num_gpus", options.num_gpus)):
        raise ValueError(wrong)
    named = {
        CPU: cpus if options.num_cpus is None else options.num_cpus,
        GPU: options.num_gpus,
        MEMORY: None if options.memory is None else int(options.memory),  # Whole bytes, as in Ray.
    }
    return demand({**named, **(options.resources or {})})


# --- the tables: what each keyword accepts -----------------------------------------------------------------------

Types = tuple[type, ...]
Check = Callable[[str, Any], str | None]
Written = Mapping[str, Any]


class Keyword(msgspec.Struct, frozen=True):
    """What one option accepts: types, and a check that returns what is wrong. `field` None: accepted, of no effect."""

    types: Types = ()
    check: Check | None = None
    field: str | None = ""


_NONE = type(None)


def _at_least(least: int, *, endless: bool = False) -> Check:
    accepted = f"None, {least}" + (", -1" if endless else "") + " or a positive integer"

    def check(name: str, value: Any) -> str | None:
        ok = value is None or value >= least or (endless and value == -1)
        hint = ", where -1 represents infinity" if endless else ""
        return None if ok else f"The keyword '{name}' only accepts {accepted}{hint}. Got {value}."

    return check


def _amount(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if value < 0:
        return f"The quantity of resource {name} cannot be negative, got {value}."
    if isinstance(value, float) and not math.isfinite(value):
        return f"The quantity of resource {name} must be finite, got {value}."
    if value and not to_parts(value):
        return f"The precision of the fractional quantity of resource {name} cannot go beyond 0.0001, got {value}."
    return broken(name, value) if name in VISIBLE else None


def _resources(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if wrong := not_custom(value):
        return wrong
    for resource, amount in value.items():
        if not isinstance(resource, str) or isinstance(amount, bool) or not isinstance(amount, int | float):
            raise TypeError(f"The keyword '{name}' maps names to numbers, got {resource!r}: {amount!r}.")
        if wrong := unwritable(name, resource) or _amount(resource, amount):
            return wrong
    return None


_MOST_RETURNS = 1_000_000
"""Each has a reference that the caller holds at once."""


def _num_returns(name: str, value: Any) -> str | None:
    if isinstance(value, int) and value > _MOST_RETURNS:
        return f"{name} is at most {_MOST_RETURNS:,}: each has a reference. num_returns='streaming' has no limit."
    if value is None or value in ("dynamic", "streaming") or (isinstance(value, int) and value >= 0):
        return None
    wrong = f"The keyword '{name}' only accepts None, a non-negative integer, 'streaming' (generators) or 'dynamic'"
    if isinstance(value, str):
        raise TypeError(f"{wrong}: no other text. Got {value!r}.")
    return f"{wrong}: {name} must be >= 0 where it is a number. Got {value!r}."


def _retry_exceptions(name: str, value: Any) -> str | None:
    if isinstance(value, bool | None) or all(isinstance(kind, type) and issubclass(kind, Exception) for kind in value):
        return None
    return f"{name} must be either a boolean or a list of exceptions, got {value!r}."


def _backpressure(name: str, value: Any) -> str | None:
    if value is None or value == -1 or value > 0:
        return None
    return f"{name}={value} is not allowed: {name} must be > 0 (at least 1 unread object), or -1 for no limit."


def _positive(name: str, value: Any) -> str | None:
    return None if value is None or value > 0 else f"{name} must be a positive integer, got {value}."


def _strategy(name: str, value: Any) -> str | None:
    known = ("placement_group", "node_id", "accepts")  # Of the strategies' classes, which are above this module.
    if value is not None and not isinstance(value, str) and not any(hasattr(value, each) for each in known):
        raise TypeError(f"The type of keyword '{name}' must be None, str or a strategy, but received {type(value)}.")
    if isinstance(value, str) and value not in ("DEFAULT", "SPREAD"):
        return f"Invalid {name} value {value}. Valid values are [None, 'DEFAULT', 'SPREAD', a strategy object]."
    return None


def _group(name: str, value: Any) -> str | None:
    if value not in (None, "default") and not hasattr(value, "is_empty"):  # The class is above this module.
        raise TypeError(f"The type of keyword '{name}' must be None or PlacementGroup, but received {type(value)}.")
    return None


def _not_for_tasks(name: str, value: Any) -> str | None:
    return None if value is None else f"Setting '{name}' is not implemented for tasks: leave it out."


def _groups(name: str, value: Any) -> str | None:
    for group, size in (value or {}).items():
        if not isinstance(group, str) or isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"The keyword '{name}' maps names to whole numbers, got {group!r}: {size!r}.")
        if size < 1:
            return f"The keyword '{name}' wants one thread at least for each group, got {group!r}: {size}."
        if wrong := unwritable(name, group):
            return wrong
    return None


def _lifetime(name: str, value: Any) -> str | None:
    if value in (None, "detached", "non_detached"):
        return None
    return f"actor `{name}` argument must be one of 'detached', 'non_detached' and 'None', got {value!r}."


def _parameters(name: str, value: Any) -> str | None:
    if isinstance(value, bool) and name == "inout":
        return "'inout' wants a list of parameter names or positions."
    if isinstance(value, list | tuple) and not all(
        isinstance(item, str | int) and not isinstance(item, bool) for item in value
    ):
        return f"The keyword '{name}' wants a list of parameter names or positions, got {value!r}."
    return None


_NUMBER: Types = (float, int, _NONE)
_COUNT: Types = (int, _NONE)
_TEXT: Types = (str, _NONE)
_DICT: Types = (dict, _NONE)

COMMON: dict[str, Keyword] = {
    "accelerator_type": Keyword(_TEXT),
    "memory": Keyword(_NUMBER, _amount),
    "name": Keyword(_TEXT, unwritable),
    "num_cpus": Keyword(_NUMBER, _amount),
    "num_gpus": Keyword(_NUMBER, _amount),
    "object_store_memory": Keyword(_COUNT, _at_least(0), None),
    "placement_group": Keyword((), _group),
    "placement_group_bundle_index": Keyword((int,)),
    "placement_group_capture_child_tasks": Keyword((bool, _NONE)),
    "resources": Keyword(_DICT, _resources),
    "runtime_env": Keyword(_DICT, check_runtime_env),
    "scheduling_strategy": Keyword((), _strategy),
    "enable_task_events": Keyword((bool,)),
    "label_selector": Keyword(_DICT, wrong_selector),
    "fallback_strategy": Keyword((list, _NONE), wrong_fallback),
    "_labels": Keyword(_DICT, None, None),
    "_metadata": Keyword(_DICT, None, None),
}

TASK: dict[str, Keyword] = {
    **COMMON,
    "object_store_memory": Keyword(_COUNT, _not_for_tasks, None),
    "max_calls": Keyword(_COUNT, _at_least(0)),
    "max_retries": Keyword(_COUNT, _at_least(0, endless=True)),
    "num_returns": Keyword((int, str, _NONE), _num_returns),
    "retry_exceptions": Keyword((bool, list, tuple), _retry_exceptions),
    "_generator_backpressure_num_objects": Keyword(_COUNT, _backpressure, "generator_backpressure"),
    "_num_objects_per_yield": Keyword(_COUNT, _positive, "per_yield"),
    "writable": Keyword((bool, list, tuple, _NONE), _parameters),
    "inout": Keyword((list, tuple, _NONE), _parameters),
}

ACTOR: dict[str, Keyword] = {
    **COMMON,
    "concurrency_groups": Keyword(_DICT, _groups),
    "lifetime": Keyword(_TEXT, _lifetime),
    "max_concurrency": Keyword(_COUNT, _at_least(0)),
    "max_restarts": Keyword(_COUNT, _at_least(0, endless=True)),
    "max_task_retries": Keyword(_COUNT, _at_least(0, endless=True)),
    "max_pending_calls": Keyword(_COUNT, _at_least(0, endless=True)),
    "_actor_generator_backpressure_num_objects": Keyword(_COUNT, _backpressure, "generator_cap"),
    "namespace": Keyword(_TEXT, unwritable),
    "get_if_exists": Keyword((bool,)),
    "allow_out_of_order_execution": Keyword((bool, _NONE)),
    "enable_tensor_transport": Keyword((bool, _NONE), None, None),
}

METHOD: dict[str, Keyword] = {
    "num_returns": TASK["num_returns"],
    "concurrency_group": Keyword(_TEXT),
    "max_task_retries": ACTOR["max_task_retries"],
    "retry_exceptions": Keyword((bool, list, tuple, _NONE), _retry_exceptions),
    "_generator_backpressure_num_objects": TASK["_generator_backpressure_num_objects"],
    "_num_objects_per_yield": TASK["_num_objects_per_yield"],
    "enable_task_events": Keyword((bool, _NONE)),
    "tensor_transport": Keyword((), None, None),
    "writable": TASK["writable"],
    "inout": TASK["inout"],
}

_FIXED = {"max_calls": TASK, "concurrency_groups": ACTOR}
_NONE_MEANS_DEFAULT = frozenset({
    "max_restarts", "max_task_retries", "max_pending_calls", "_generator_backpressure_num_objects",
    "enable_task_events", "_num_objects_per_yield", "_actor_generator_backpressure_num_objects", "retry_exceptions",
})  # fmt: skip


def check(table: Mapping[str, Keyword], what: str, written: Written, before: Written | None = None) -> None:
    """Check what a user wrote for `what` (``"remote functions"``) against a table: `TASK`, `ACTOR` or `METHOD`.

    Raises
    ------
    ValueError
        An option is unknown, or its value is out of range.
    TypeError
        A value is of the wrong type.
    """
    for name, value in written.items():
        if (keyword := table.get(name)) is None:
            raise ValueError(no_option(name, table, f" for {what}"))
        if keyword.types and not isinstance(value, keyword.types):
            accepted = keyword.types if len(keyword.types) > 1 else keyword.types[0]
            raise TypeError(f"The type of keyword '{name}' must be {accepted}, but received type {type(value)}")
        if keyword.check is not None and (wrong := keyword.check(name, value)):
            raise ValueError(wrong)
    whole = {**before, **written} if before else written  # A group of the decorator's, and what .options() says of it.
    group, strategy, index = map(whole.get, ("placement_group", "scheduling_strategy", "placement_group_bundle_index"))
    if group not in ("default", None):
        instead = "parameter is deprecated: use scheduling_strategy=PlacementGroupSchedulingStrategy(...)."
        if strategy is not None:
            raise ValueError(f"Placement groups should be specified via the scheduling_strategy option: that {instead}")
        if "placement_group" in written:
            deprecated(f"The placement_group {instead}")
    elif group is None and index not in (None, -1) and not hasattr(strategy, "placement_group"):
        raise ValueError(f"If placement group is not set, the value of bundle index must be -1, got {index}.")
    if table is ACTOR and written.get("object_store_memory"):
        deprecated("Setting 'object_store_memory' for actors is deprecated: it has no effect.")


def check_override(table: Mapping[str, Keyword], what: str, written: Written, before: Written) -> None:
    """Check what ``.options()`` says beside the decorator's `before`, less what only that may say (a ValueError)."""
    for name, owner in _FIXED.items():
        if name in written and owner is table:
            raise ValueError(f"Setting '{name}' is not supported in '.options()'.")
    check(table, what, written, before)


def _fields(table: Mapping[str, Keyword], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record's fields for what was written; None stands for the default."""
    fields: dict[str, Any] = {}
    for name, value in written.items():
        if (field := table[name].field) is None or (value is None and name in _NONE_MEANS_DEFAULT):
            continue
        if isinstance(value, bool) and int in table[name].types:  # num_gpus=torch.cuda.is_available()
            value = int(value)
        fields[field or name] = list(value) if isinstance(value, tuple) else value
    if kind := fields.pop("accelerator_type", None):
        fields["resources"] = {**(fields.get("resources") or {}), f"accelerator_type:{kind}": 0.001}
    group = fields.pop("placement_group", None)
    bundle = fields.pop("placement_group_bundle_index", -1)
    capture = fields.pop("placement_group_capture_child_tasks", None)
    if group not in (None, "default"):
        fields["scheduling_strategy"] = PlacementGroupOption(group, bundle, capture)
    elif group is None and "placement_group" in written and fields.get("scheduling_strategy") is None:
        fields["scheduling_strategy"] = "DEFAULT"  # Outside of the group that the caller is in.
    return fields


class PlacementGroupOption(msgspec.Struct, frozen=True):
    """The deprecated spelling of a placement group, with the names of Ray's ``PlacementGroupSchedulingStrategy``."""

    placement_group: Any
    placement_group_bundle_index: int = -1
    placement_group_capture_child_tasks: bool | None = None


Called = TypeVar("Called", TaskOptions, MethodOptions)


def task_options(written: Mapping[str, Any], *, is_generator: bool | None) -> TaskOptions:
    """Return the record of checked options, with `num_returns` filled in; see `resolve_num_returns`."""
    cpus = {"num_cpus": 0} if written.get("num_cpus", 1) is None else {}  # Who writes None asks for none. Source: Ray.
    options = TaskOptions(**_fields(TASK, {**written, **cpus}))
    if options.num_gpus and options.max_calls is None:  # A process that used a GPU keeps its memory: end it (Ray).
        options = msgspec.structs.replace(options, max_calls=1)
    return _with_num_returns(options, is_generator)


def actor_options(written: Mapping[str, Any]) -> ActorOptions:
    """Return the record of checked options; ValueError for ``get_if_exists`` without a name."""
    if written.get("get_if_exists") and not written.get("name"):
        raise ValueError("The actor name must be specified to use `get_if_exists`.")
    return ActorOptions(**_fields(ACTOR, written))


def method_options(written: Mapping[str, Any], *, is_generator: bool | None) -> MethodOptions:
    """Return the record of checked options; as `task_options`."""
    return _with_num_returns(MethodOptions(**_fields({**METHOD, "name": COMMON["name"]}, written)), is_generator)


def _with_num_returns(options: Called, is_generator: bool | None) -> Called:
    returns = resolve_num_returns(options.num_returns, is_generator)
    if options.inout and (returns == 0 or isinstance(returns, str)):
        raise ValueError(
            f"'inout' returns the buffers together with the function's value, and num_returns={returns!r} has no place "
            "for them. Use writable=, and return or yield the buffer."
        )
    return msgspec.structs.replace(options, num_returns=returns)


def resolve_num_returns(num_returns: NumReturns | None, is_generator: bool | None) -> NumReturns:
    """Return what None means: one value, or a stream for a generator function. Source: Ray.

    `is_generator` is None where that cannot be known. ValueError: ``"streaming"`` on a function that yields nothing.
    """
    if num_returns is None:
        return "streaming" if is_generator else 1
    if num_returns == "dynamic":
        deprecated("num_returns='dynamic' is deprecated. Use 'streaming', which gives each value when it is there.")
    return check_yields(num_returns, is_generator)


def check_yields(num_returns: NumReturns, is_generator: bool | None) -> NumReturns:
    """Return what was given; a ValueError where a function that yields nothing is to stream."""
    if isinstance(num_returns, str) and is_generator is False:
        raise ValueError(
            f"num_returns='{num_returns}' can only be used with generator functions, and this function does not yield."
        )
    return num_returns
