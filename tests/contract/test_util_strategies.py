"""``ray.util.scheduling_strategies`` and ``ray.util.accelerators``, on one machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import ActorUnschedulableError, TaskUnschedulableError
from jupyter_ray.ids import NodeID
from jupyter_ray.util import accelerators
from jupyter_ray.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
    PlacementGroupSchedulingStrategy,
)

NODE = "ray.io/node-id"


@ray.remote
def where() -> str:
    return ray.get_runtime_context().get_node_id()


@ray.remote
class Somewhere:
    def where(self) -> str:
        return ray.get_runtime_context().get_node_id()


def node() -> str:
    return ray.nodes()[0]["NodeID"]


def absent() -> str:
    return NodeID.from_random().hex()


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    "make",
    [
        lambda: "DEFAULT",
        lambda: "SPREAD",
        lambda: NodeAffinitySchedulingStrategy(node(), soft=False),
        lambda: NodeAffinitySchedulingStrategy(NodeID.from_hex(node()), soft=False),
        lambda: NodeAffinitySchedulingStrategy(absent(), soft=True),
        lambda: NodeLabelSchedulingStrategy({NODE: In(node(), absent())}),
        lambda: NodeLabelSchedulingStrategy({NODE: Exists(), "gpu": DoesNotExist(), "zone": NotIn("a")}),
        lambda: NodeLabelSchedulingStrategy({}, soft={"gpu": Exists()}),
    ],
)
def test_what_this_machine_can_satisfy(make: Callable[[], Any]) -> None:
    strategy = make()
    assert ray.get(where.options(scheduling_strategy=strategy).remote()) == node()
    actor: Any = Somewhere.options(scheduling_strategy=strategy).remote()  # type: ignore[attr-defined]
    assert ray.get(actor.where.remote()) == node()


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    "make",
    [
        lambda: NodeAffinitySchedulingStrategy(absent(), soft=False),
        lambda: NodeLabelSchedulingStrategy({NODE: NotIn(node())}),
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
    ("make", "error"),
    [
        (lambda: NodeLabelSchedulingStrategy({}), ValueError),
        (lambda: NodeLabelSchedulingStrategy({"a": "b"}), TypeError),
        (lambda: NodeLabelSchedulingStrategy({1: Exists()}), TypeError),  # type: ignore[dict-item]
        (lambda: In(1), TypeError),  # type: ignore[arg-type]
        (lambda: PlacementGroupSchedulingStrategy(None), ValueError),
        (lambda: NodeAffinitySchedulingStrategy("", soft=False, _spill_on_unavailable=True), ValueError),
        (lambda: NodeAffinitySchedulingStrategy("", soft=True, _fail_on_unavailable=True), ValueError),
    ],
)
def test_what_is_refused(make: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


@pytest.mark.local_only("the nodes declare no accelerator")
def test_kinds_of_accelerators(start: Callable[..., Any]) -> None:
    start(resources={f"accelerator_type:{accelerators.NVIDIA_TESLA_V100}": 1})
    assert ray.get(where.options(accelerator_type=accelerators.NVIDIA_TESLA_V100).remote()) == node()
    with pytest.raises(TaskUnschedulableError, match="A100"):
        where.options(accelerator_type=accelerators.NVIDIA_A100).remote()
