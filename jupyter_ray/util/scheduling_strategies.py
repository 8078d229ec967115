"""Where a task or an actor is to run: what the option ``scheduling_strategy`` takes. Source: Ray's module of this name.

On one machine there is little to choose. A strategy that this machine can satisfy changes nothing; one that it never
can raises `TaskUnschedulableError` or `ActorUnschedulableError` at the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyter_ray.ids import BaseID, NodeID

DEFAULT_SCHEDULING_STRATEGY = "DEFAULT"
SPREAD_SCHEDULING_STRATEGY = "SPREAD"


class PlacementGroupSchedulingStrategy:
    """Run in a placement group.

    Parameters
    ----------
    placement_group
        What `placement_group` returned; None: no group, also where the caller's would be taken over; ``"default"``: the
        caller's, if there is one, as libraries pass it on.
    placement_group_bundle_index
        The bundle to use; -1: any that has room.
    placement_group_capture_child_tasks
        What the task starts runs in the group too; None: only if the parent was captured so.
    """

    def __init__(
        self,
        placement_group: Any,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        if placement_group not in (None, "default") and not hasattr(placement_group, "is_empty"):  # Ray's has it, too.
            raise TypeError(f"placement_group must be a PlacementGroup or None, got {type(placement_group)}.")
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks

    def __repr__(self) -> str:
        return f"PlacementGroupSchedulingStrategy({self.placement_group!r}, {self.placement_group_bundle_index})"


class NodeAffinitySchedulingStrategy:
    """Run on one machine.

    Parameters
    ----------
    node_id
        Its id in hexadecimal digits, as in ``nodes()[0]["NodeID"]``, or a `NodeID`.
    soft
        If that machine is not there, run elsewhere. With False the call raises.
    """

    def __init__(
        self,
        node_id: str | BaseID,
        soft: bool,
        _spill_on_unavailable: bool = False,
        _fail_on_unavailable: bool = False,
    ) -> None:
        if _spill_on_unavailable and not soft:
            raise ValueError(
                "_spill_on_unavailable cannot be set when soft is False. "
                "Please set soft to True to use _spill_on_unavailable."
            )
        if _fail_on_unavailable and soft:
            raise ValueError("_fail_on_unavailable cannot be set when soft is True. Set soft to False to use it.")
        if not isinstance(node_id, str | BaseID):
            raise TypeError(f"node_id must be text in hex or a NodeID, got {type(node_id)}: see ray.nodes().")
        self.node_id = node_id if isinstance(node_id, str) else node_id.hex()
        if not _is_node_id(self.node_id):
            raise ValueError(f"Invalid node_id '{self.node_id}'. It is not the id of a node in hex; see ray.nodes().")
        self.soft = soft
        self._spill_on_unavailable = _spill_on_unavailable
        self._fail_on_unavailable = _fail_on_unavailable

    def __repr__(self) -> str:
        return f"NodeAffinitySchedulingStrategy({self.node_id!r}, soft={self.soft})"


def _is_node_id(text: str) -> bool:
    try:
        return not NodeID.from_hex(text).is_nil()
    except ValueError:
        return False


class _Operator:
    """A condition on the value of one label; None stands for a machine without the label."""

    def __init__(self, *values: str) -> None:
        self.values = list(values)

    def accepts(self, value: str | None) -> bool:
        """Tell whether a machine with this value will do."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.values))})"


class _Membership(_Operator):
    def __init__(self, *values: str) -> None:
        kind = type(self).__name__
        if not values:
            raise ValueError(f"The variadic parameter of the {kind} operator must be a non-empty tuple of text.")
        for position, value in enumerate(values):
            if not isinstance(value, str):
                raise ValueError(
                    f"Type of value in position {position} for the {kind} operator must be str, got {type(value)}."
                )
        super().__init__(*values)


class In(_Membership):
    """The label has one of these values."""

    def accepts(self, value: str | None) -> bool:
        """Tell whether a machine with this value will do."""
        return value in self.values


class NotIn(_Membership):
    """The label has none of these values, or is absent."""

    def accepts(self, value: str | None) -> bool:
        """Tell whether a machine with this value will do."""
        return value not in self.values


class Exists(_Operator):
    """The label is there."""

    def __init__(self) -> None:
        super().__init__()

    def accepts(self, value: str | None) -> bool:
        """Tell whether a machine with this value will do."""
        return value is not None


class DoesNotExist(_Operator):
    """The label is absent."""

    def __init__(self) -> None:
        super().__init__()

    def accepts(self, value: str | None) -> bool:
        """Tell whether a machine with this value will do."""
        return value is None


class NodeLabelSchedulingStrategy:
    """Run on a machine with certain labels.

    Parameters
    ----------
    hard
        Conditions by the label's name: `In`, `NotIn`, `Exists` or `DoesNotExist`. All must hold.
    soft
        Conditions that need not hold; on one machine they change nothing.

    Raises
    ------
    ValueError
        Something else than a dict of text to conditions, or there are no conditions.
    """

    def __init__(self, hard: dict[str, Any], *, soft: dict[str, Any] | None = None) -> None:
        self.hard = _conditions("hard", hard)
        self.soft = _conditions("soft", soft)
        if not self.hard and not self.soft:
            raise ValueError("The `hard` and `soft` parameter of NodeLabelSchedulingStrategy cannot both be empty.")

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a machine with these labels satisfies the hard conditions."""
        return all(condition.accepts(labels.get(name)) for name, condition in self.hard.items())

    def __repr__(self) -> str:
        return f"NodeLabelSchedulingStrategy({self.hard!r}, soft={self.soft!r})"


def _conditions(which: str, conditions: Any) -> dict[str, _Operator]:
    if conditions is None:
        return {}
    if not isinstance(conditions, dict):
        raise ValueError(f"The {which} parameter must be a map of labels to conditions, got {type(conditions)}.")
    for label, condition in conditions.items():
        if not isinstance(label, str):
            raise ValueError(f"The map key of the {which} parameter must be of type str, got {label!r}.")
        if not isinstance(condition, _Operator):
            raise ValueError(
                f"The condition on {label!r} in the {which} parameter must be one of the `In`, `NotIn`, `Exists` or "
                f"`DoesNotExist` operators, got {condition!r}."
            )
    return dict(conditions)


SchedulingStrategyT = (
    str | PlacementGroupSchedulingStrategy | NodeAffinitySchedulingStrategy | NodeLabelSchedulingStrategy | None
)
"""What the option ``scheduling_strategy`` takes."""
