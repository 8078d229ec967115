"""Amounts of resources, in fixed point.

One unit is 10,000 parts, as in Ray, so that ten tasks of ``num_cpus=0.1`` fill one CPU exactly. A `Demand` maps the
name of a resource to a number of parts; zero amounts are left out. Only what people see is floats: `amounts`.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping

PARTS = 10_000
CPU = "CPU"
GPU = "GPU"
OBJECT_STORE = "object_store_memory"
MEMORY = "memory"
VISIBLE = {
    GPU: "CUDA_VISIBLE_DEVICES",
    "HPU": "HABANA_VISIBLE_MODULES",
    "NPU": "ASCEND_RT_VISIBLE_DEVICES",
    "TPU": "TPU_VISIBLE_CHIPS",
    "neuron_cores": "NEURON_RT_VISIBLE_CORES",
    "FURIOSA": "FURIOSA_DEVICES",
    "MBLT": "QBRUNTIME_VISIBLE_DEVICES",
    "RBLN": "RBLN_DEVICES",
    "TTNPU": "TT_VISIBLE_DEVICES",
}
"""The kinds of accelerators, each with the variable that says which ones a process may use. Source: Ray.

They are devices with ids: of more than one only whole ones can be had.
"""

_SHARED = (GPU, "NPU")
"""Of these a part may be had too."""
_CHIPS = (1, 2, 4, 8)
"""So many of a host's TPU chips can work together."""

_INEXACT = 1e-6
"""What the product may lack because of how floats are stored: 0.57 is 5,700 parts."""

Demand = dict[str, int]


def to_parts(amount: float) -> int:
    """Return `amount` in whole parts of 1/10,000: what is less than one is left out. Source: Ray."""
    return math.floor(amount * PARTS + _INEXACT)


def demand(amounts: Mapping[str, float | None]) -> Demand:
    """Return `amounts` in parts, without the resources that are None or zero."""
    return {name: parts for name, value in amounts.items() if value and (parts := to_parts(value))}


def not_custom(names: Container[str]) -> str | None:
    """Return what is wrong with the names of custom resources if one of them has a keyword of its own."""
    if CPU in names or GPU in names:
        return "Use the 'num_cpus' and 'num_gpus' keyword instead of 'CPU' and 'GPU' in 'resources' keyword."
    if MEMORY in names or "object_store_memory" in names:
        return "The resources dictionary must not contain the key 'memory' or 'object_store_memory'."
    return None


def broken(name: str, value: float) -> str | None:
    """Return what is wrong with an amount of a kind of accelerators, such as one and a part of another one."""
    if name == "TPU":
        if value in _CHIPS:
            return None
        return (
            f"The number of requested 'TPU' is {value}, which is not a supported chip configuration. "
            f"Supported configs: {_CHIPS}."
        )
    if value == int(value):
        return None
    if name in VISIBLE and name not in _SHARED:
        return f"The {name} resource quantity must be whole numbers, and {value} is not."
    if value <= 1:
        return None
    return f"The quantity of resource {name} must be a whole number where it is more than 1, got {value}."


_ONE_CPU = {CPU: PARTS}


def amounts(parts: Mapping[str, int]) -> dict[str, float]:
    """Return a demand as amounts for people."""
    if parts == _ONE_CPU:  # As of most tasks.
        return {CPU: 1.0}
    return {name: value / PARTS for name, value in parts.items()} if parts else {}


def describe(parts: Mapping[str, int]) -> str:
    """Return a demand as a short text, such as ``CPU: 1, GPU: 0.5``; ``nothing`` if it is empty."""
    return ", ".join(f"{name}: {value / PARTS:g}" for name, value in sorted(parts.items())) or "nothing"
