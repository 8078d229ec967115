"""Placement groups: bundles of resources that are reserved together (Ray's ``ray.util.placement_group``)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_ray.api.calls import get as _get
from jupyter_ray.api.calls import put as _put
from jupyter_ray.engine import registry
from jupyter_ray.engine.context import current_task
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.exceptions import GetTimeoutError, RaySystemError
from jupyter_ray.ids import NodeID, PlacementGroupID
from jupyter_ray.labels import unwritable, wrong_selector

_NODE = "ray.io/node-id"
STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
VALID_PLACEMENT_GROUP_STRATEGIES = set(STRATEGIES)


class PlacementGroup:
    """A handle of a placement group; passes freely into tasks and actors.

    Parameters
    ----------
    id
        Names the group.
    bundle_cache
        The bundles, in amounts; asked for when they are needed if None.
    """

    def __init__(self, id: PlacementGroupID, bundle_cache: list[dict[str, float]] | None = None) -> None:
        self.id = id
        self.bundle_cache = bundle_cache

    @staticmethod
    def empty() -> PlacementGroup:
        """Return the handle of no group."""
        return PlacementGroup(PlacementGroupID.nil(), [])

    @staticmethod
    def from_dict(serialized: Mapping[str, Any]) -> PlacementGroup:
        """Return the handle that `to_dict` described."""
        return PlacementGroup(PlacementGroupID.from_hex(serialized["id"]), serialized["bundle_cache"])

    def to_dict(self) -> dict[str, Any]:
        """Return what names the group, as a dict for JSON."""
        return {"id": self.id.hex(), "bundle_cache": self.bundle_cache}

    @property
    def is_empty(self) -> bool:
        """Whether this is the handle of no group."""
        return self.id.is_nil()

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """The bundles, in amounts."""
        if self.bundle_cache is None:
            row = _row(self)
            self.bundle_cache = list(row["bundles"].values()) if row is not None else []
        return self.bundle_cache

    @property
    def bundle_count(self) -> int:
        """The number of bundles."""
        return len(self.bundle_specs)

    def ready(self) -> ObjectRef[PlacementGroup]:
        """Return a reference to this group that is ready when the group is reserved; at once if it is no group."""
        if self.is_empty:
            return _put(self)
        return (registry.current() or registry.required()).placement_group_ready(self.id.hex(), self)

    def wait(self, timeout_seconds: float | int = 30) -> bool:
        """Wait until the group is reserved, for at most `timeout_seconds`; tell whether it is.

        Raises
        ------
        TaskPlacementGroupRemoved
            It was removed.
        """
        try:
            _get(self.ready(), timeout=timeout_seconds)
        except GetTimeoutError:
            return False
        return not self.is_empty  # As in Ray: no group is reserved.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id.hex()})"


def placement_group(
    bundles: Sequence[dict[str, float]],
    strategy: str | None = None,
    name: str = "",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: dict[str, str] | None = None,
) -> PlacementGroup:
    """Ask for a placement group; returns at once.

    Parameters
    ----------
    bundles
        Amounts by resource, one mapping per bundle.
    strategy
        ``PACK`` (None means that), ``SPREAD``, ``STRICT_PACK`` or ``STRICT_SPREAD``. On one machine the first three are
        the same; the last one stays pending with more than one bundle.
    name
        For `get_placement_group`.
    lifetime
        ``"detached"`` or None.
    bundle_label_selector
        Labels of the machine, for each bundle. A group of which this machine does not meet one stays pending.
    topology_strategy
        Strategies by label; ``"ray.io/node-id"`` stands for `strategy`. Another label is one that the machine has.

    Raises
    ------
    ValueError
        A bundle is empty or no mapping of amounts, or the strategy or lifetime is not known.
    TypeError
        `name` is no text.
    RaySystemError
        A group of this name is there.
    """
    strategy = _validated(bundles, strategy, lifetime, _soft_target_node_id, bundle_label_selector, topology_strategy)
    if any("object_store_memory" in bundle for bundle in bundles):
        warnings.warn(
            "Setting 'object_store_memory' for bundles is deprecated: it has no effect.",
            DeprecationWarning,
            stacklevel=2,
        )
    if not isinstance(name, str):
        raise TypeError(f"The name of a placement group is a string, got {type(name)}.")
    if wrong := unwritable("name", name):
        raise ValueError(wrong)
    plain = [{resource: float(amount) for resource, amount in bundle.items()} for bundle in bundles]
    alike = next((label for label in topology_strategy or () if label != _NODE), "")
    engine = registry.current() or registry.required()
    if name and any(row["name"] == name and row["state"] != "REMOVED" for row in engine.placement_groups()):
        raise RaySystemError(
            f"A placement group with the name '{name}' already exists: remove it, or use another name."
        )
    group = engine.create_placement_group(
        plain, strategy, name, detached=lifetime == "detached", labels=bundle_label_selector, alike=alike
    )
    return PlacementGroup(PlacementGroupID.from_hex(group), plain)


def validate_placement_group(
    bundles: Sequence[dict[str, float]],
    strategy: str | None = None,
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: dict[str, str] | None = None,
) -> None:
    """Check what `placement_group` takes, and ask for nothing; a ValueError says what is wrong."""
    _validated(bundles, strategy, lifetime, _soft_target_node_id, bundle_label_selector, topology_strategy)


def _validated(
    bundles: Sequence[dict[str, float]],
    strategy: str | None,
    lifetime: str | None,
    target: str | None,
    bundle_label_selector: list[dict[str, str]] | None,
    topology_strategy: dict[str, str] | None,
) -> str:
    """Return the strategy on the machine, after a check of all that was written."""
    _validate_bundles(bundles)
    if bundle_label_selector is not None:
        if len(bundle_label_selector) != len(bundles):
            raise ValueError(
                f"The length of `bundle_label_selector` must equal that of `bundles`: {bundle_label_selector!r}."
            )
        _validate_bundle_label_selector(bundle_label_selector)
    if lifetime not in (None, "detached"):
        raise ValueError(f"Placement group `lifetime` argument must be either `None` or 'detached', got {lifetime!r}.")
    found = _strategy(strategy, topology_strategy)
    if target and found != "STRICT_PACK":
        raise ValueError(f"_soft_target_node_id currently only works with STRICT_PACK, and the strategy is {found}.")
    if target is not None:
        _hex("_soft_target_node_id", target)
    return found


def _hex(name: str, text: Any) -> None:
    """Refuse what is no machine's identifier in hex digits."""
    if not isinstance(text, str):
        raise TypeError(f"{name} is text in hex, got {type(text)}: see ray.nodes().")
    try:
        NodeID.from_hex(text)
    except ValueError as error:
        raise ValueError(f"Invalid hex ID of {name}, got {text}: see ray.nodes().") from error


def _validate_bundles(bundles: Any) -> None:
    if not isinstance(bundles, (list, tuple)):
        raise ValueError(f"Placement group bundles must be a list, got {type(bundles)}.")
    if not bundles:
        raise ValueError(
            "Bundles must be a non-empty list of resource dictionaries, such as [{'CPU': 1}], got an empty one."
        )
    for bundle in bundles:
        if not isinstance(bundle, dict) or not all(
            isinstance(name, str) and isinstance(amount, (int, float)) for name, amount in bundle.items()
        ):
            raise ValueError(
                "Bundles must be a non-empty list of resource dictionaries, of names and amounts, "
                f"and {bundle!r} is not one."
            )
        if not bundle or not any(bundle.values()):
            raise ValueError(f"Bundles cannot be an empty dictionary or resources with only 0 values: {bundle!r}.")
        if any(amount < 0 for amount in bundle.values()):
            raise ValueError(f"The amounts of a bundle must not be negative: {bundle!r}.")
        if "bundle" in bundle:
            raise ValueError(f"'bundle' cannot be the name of a resource of a placement group: {bundle!r}.")


def _validate_bundle_label_selector(selectors: Any) -> None:
    if not isinstance(selectors, list):
        raise ValueError(f"Placement group bundle_label_selector must be a list, got {type(selectors)}.")
    for selector in selectors:
        if not isinstance(selector, dict) or not all(
            isinstance(each, str) for item in selector.items() for each in item
        ):
            raise ValueError(
                f"Bundle label selector must be a list of string dictionary label selectors: {selector!r}."
            )
        if wrong := wrong_selector("bundle_label_selector", selector):
            raise ValueError(f"Invalid label selector provided in bundle_label_selector: {wrong}")


def check_placement_group_index(placement_group: PlacementGroup, bundle_index: int) -> None:
    """Raise a ValueError where a group has no bundle of that index; -1 is any."""
    if placement_group.is_empty and bundle_index != -1:
        raise ValueError(f"If placement group is not set, the value of bundle index must be -1, got {bundle_index}.")
    if not placement_group.is_empty and not -1 <= bundle_index < placement_group.bundle_count:
        raise ValueError(
            f"placement group bundle index {bundle_index} is invalid: there are {placement_group.bundle_count} bundles."
        )


def _strategy(strategy: str | None, topology: dict[str, str] | None) -> str:
    """Return the strategy on the machine, after a check of what was written."""
    if topology is not None and strategy is not None:
        raise ValueError("`strategy` and `topology_strategy` cannot both be specified.")
    if topology is not None and not isinstance(topology, dict):
        raise ValueError(f"`topology_strategy` must be a dict, got {type(topology).__name__}.")
    written = topology or {_NODE: "PACK" if strategy is None else strategy}
    labels = [label for label in written if label != _NODE]
    if len(labels) > 1 or "" in labels:
        raise ValueError(f"`topology_strategy` takes {_NODE!r} and one more label, got {topology!r}.")
    for label, each in written.items():
        if each not in STRATEGIES:
            raise ValueError(
                f"Invalid placement group strategy {each}. Supported strategies are: {', '.join(STRATEGIES)}."
            )
        if label in labels and each != "STRICT_PACK":
            raise ValueError(f"Only 'STRICT_PACK' is supported for the label {label!r}, got {each!r}.")
    return written.get(_NODE, "PACK")


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Give a group back: its tasks and actors end; later calls in it raise. Removing it twice does nothing."""
    if not isinstance(placement_group, PlacementGroup):
        raise TypeError(f"remove_placement_group() wants a PlacementGroup, got {type(placement_group)}.")
    (registry.current() or registry.required()).remove_placement_group(placement_group.id.hex())


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """Return the living group of that name.

    Raises
    ------
    ValueError
        There is none, or the name is empty.
    """
    if not placement_group_name:
        raise ValueError("Please supply a non-empty value to get_placement_group.")
    engine = registry.current() or registry.required()
    for row in engine.placement_groups():
        if row["name"] == placement_group_name and row["state"] != "REMOVED":
            return PlacementGroup(PlacementGroupID.from_hex(row["placement_group_id"]))
    raise ValueError(f"Failed to look up placement group with name: {placement_group_name}.")


def get_current_placement_group() -> PlacementGroup | None:
    """Return the group that the running task or actor is in; None outside of one."""
    task = current_task()
    engine = registry.current()
    group = (task.group if task is not None else None) or (engine.process.group if engine is not None else None)
    return None if not group else PlacementGroup(PlacementGroupID.from_hex(group))


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """Return the row of a group, or a mapping of ids to rows of all groups; removed ones are included.

    A row has ``placement_group_id``, ``name``, ``bundles``, ``strategy`` and ``state`` (``PENDING``, ``CREATED`` or
    ``REMOVED``).
    """
    if placement_group is not None:
        return _row(placement_group) or {}
    rows = (registry.current() or registry.required()).placement_groups()
    return {row["placement_group_id"]: row for row in rows}


def _row(group: PlacementGroup) -> dict[str, Any] | None:
    rows = (registry.current() or registry.required()).placement_groups()
    return next((row for row in rows if row["placement_group_id"] == group.id.hex()), None)


__all__ = [
    "VALID_PLACEMENT_GROUP_STRATEGIES",
    "PlacementGroup",
    "check_placement_group_index",
    "get_current_placement_group",
    "get_placement_group",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
    "validate_placement_group",
]
