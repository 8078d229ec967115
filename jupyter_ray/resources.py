"""Amounts of resources, in fixed point.

One unit is 10,000 parts, as in Ray, so that ten tasks of ``num_cpus=0.1`` fill one CPU exactly. A `Demand` maps the
name of a resource to a number of parts; zero amounts are left out. Nothing but `from_parts` makes floats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

PARTS = 10_000
CPU = "CPU"
GPU = "GPU"
MEMORY = "memory"
DEVICES = (GPU, "HPU", "NPU", "TPU", "neuron_cores", "FURIOSA", "MBLT", "RBLN", "TTNPU")
"""Kinds of accelerators: of more than one only whole ones can be had. Ids are given to GPUs alone. Source: Ray."""

_INEXACT = 1e-6
"""What the product may lack because of how floats are stored: 0.57 is 5,700 parts."""

Demand = dict[str, int]


def to_parts(amount: float) -> int:
    """Return `amount` in whole parts of 1/10,000: what is less than one is left out. Source: Ray."""
    return math.floor(amount * PARTS + _INEXACT)


def from_parts(parts: int) -> float:
    """Return a number of parts as an amount for people; whole numbers stay exact."""
    return parts / PARTS


def demand(amounts: Mapping[str, float | None]) -> Demand:
    """Return `amounts` in parts, without the resources that are None or zero."""
    return {name: parts for name, value in amounts.items() if value and (parts := to_parts(value))}


def broken(name: str, value: float) -> str | None:
    """Return what is wrong with more than one device of a kind, and a part of another one."""
    if value <= 1 or value == int(value):
        return None
    return f"The quantity of resource {name} must be a whole number where it is more than 1, got {value}."


def amounts(parts: Mapping[str, int]) -> dict[str, float]:
    """Return a demand as amounts for people."""
    return {name: value / PARTS for name, value in parts.items()} if parts else {}


def describe(parts: Mapping[str, int]) -> str:
    """Return a demand as a short text, such as ``CPU: 1, GPU: 0.5``; ``nothing`` if it is empty."""
    return ", ".join(f"{name}: {value / PARTS:g}" for name, value in sorted(parts.items())) or "nothing"
