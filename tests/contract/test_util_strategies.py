"""``ray.util.scheduling_strategies`` and ``ray.util.accelerators``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import ActorUnschedulableError, TaskUnschedulableError
from jupyter_ray.ids import NodeID
from jupyter_ray.util import accelerators
from jupyter_ray.util.annotations import RayDeprecationWarning
from jupyter_ray.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
)

NODE = "ray.io/node-id"


@ray.remote
def where() -> str:
    return ray.get_runtime_context().get_node_id()


@ray.remote
class Somewhere:
    def where(self) -> str:
        return ray.get_runtime_context().get_node_id()


def nodes() -> list[str]:
    """Return the machines that have CPUs."""
    return [node["NodeID"] for node in ray.nodes() if node["Resources"].get("CPU")]


def node() -> str:
    return nodes()[0]


def absent() -> str:
    return NodeID.from_random().hex()


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: "DEFAULT", nodes),
        (lambda: "SPREAD", nodes),
        (lambda: NodeAffinitySchedulingStrategy(node(), soft=False), lambda: [node()]),
        (lambda: NodeAffinitySchedulingStrategy(NodeID.from_hex(node()), soft=False), lambda: [node()]),
        (lambda: NodeAffinitySchedulingStrategy(absent(), soft=True), nodes),
        (lambda: NodeLabelSchedulingStrategy({NODE: In(node(), absent())}), lambda: [node()]),
        (lambda: NodeLabelSchedulingStrategy({NODE: Exists(), "gpu": DoesNotExist(), "zone": NotIn("a")}), nodes),
        (lambda: NodeLabelSchedulingStrategy({}, soft={"gpu": Exists()}), nodes),
    ],
)
def test_what_the_machines_can_satisfy(make: Callable[[], Any], allowed: Callable[[], list[str]]) -> None:
    strategy = make()
    assert ray.get(where.options(scheduling_strategy=strategy).remote()) in allowed()
    actor: Any = Somewhere.options(scheduling_strategy=strategy).remote()  # type: ignore[attr-defined]
    assert ray.get(actor.where.remote()) in allowed()


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    "make",
    [
        lambda: NodeAffinitySchedulingStrategy(absent(), soft=False),
        lambda: NodeLabelSchedulingStrategy({NODE: NotIn(*nodes())}),
        lambda: NodeLabelSchedulingStrategy({"gpu": In("A100")}),
    ],
)
def test_what_it_never_can(make: Callable[[], Any]) -> None:
    strategy = make()
    with pytest.raises(TaskUnschedulableError):
        where.options(scheduling_strategy=strategy).remote()
    with pytest.raises(ActorUnschedulableError):
        Somewhere.options(scheduling_strategy=strategy).remote()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: NodeLabelSchedulingStrategy({}), "cannot both be empty"),
        (
            lambda: NodeLabelSchedulingStrategy({"a": "b"}),
            "must be one of the `In`, `NotIn`, `Exists` or `DoesNotExist`",
        ),
        (lambda: NodeLabelSchedulingStrategy({1: Exists()}), "key of the hard parameter must be of type str"),  # type: ignore[dict-item]
        (lambda: NodeLabelSchedulingStrategy({}, soft=["a"]), "soft parameter must be a map"),  # type: ignore[arg-type]
        (lambda: NodeLabelSchedulingStrategy({"a": In(1)}), "position 0 for the In operator must be str"),  # type: ignore[arg-type]
        (lambda: NodeLabelSchedulingStrategy({"a": NotIn()}), "parameter of the NotIn operator must be a non-empty"),
        (lambda: NodeAffinitySchedulingStrategy(absent(), soft=False, _spill_on_unavailable=True), "set soft to True"),
        (lambda: NodeAffinitySchedulingStrategy(absent(), soft=True, _fail_on_unavailable=True), "Set soft to False"),
        (lambda: NodeAffinitySchedulingStrategy("the second one", soft=False), "Invalid node_id 'the second one'"),
        (lambda: NodeAffinitySchedulingStrategy(NodeID.nil(), soft=True), "Invalid node_id"),
    ],
)
def test_what_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.local_only("the nodes declare no accelerator")
def test_kinds_of_accelerators(start: Callable[..., Any]) -> None:
    start(resources={f"accelerator_type:{accelerators.NVIDIA_TESLA_V100}": 1})
    assert ray.get(where.options(accelerator_type=accelerators.NVIDIA_TESLA_V100).remote()) == node()
    with pytest.raises(TaskUnschedulableError, match="A100"):
        where.options(accelerator_type=accelerators.NVIDIA_A100).remote()


def test_names_of_accelerators() -> None:
    constants = {name for name in dir(accelerators) if name[0].isupper()} - {"TYPE_CHECKING", "RayDeprecationWarning"}
    assert constants <= set(accelerators.__all__)
    assert all(isinstance(getattr(accelerators, name), str) for name in constants)
    with pytest.warns(RayDeprecationWarning, match="write NVIDIA_A100"):
        assert accelerators.NVIDIA_TESLA_A100 == accelerators.NVIDIA_A100
    with pytest.raises(AttributeError, match="has no attribute 'NVIDIA_TESLA_T5'"):
        accelerators.NVIDIA_TESLA_T5  # noqa: B018
