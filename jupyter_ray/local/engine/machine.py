"""What this machine has: CPUs, accelerators, memory, as `init` finds them."""

from __future__ import annotations

import json
import math
import os
import socket
from typing import Any

from jupyter_ray.config import RESERVE_FROM, shared_memory_folder
from jupyter_ray.engine.base import InitOptions
from jupyter_ray.engine.context import ProcessContext
from jupyter_ray.local import cgroups
from jupyter_ray.local.engine import accelerators
from jupyter_ray.resources import CPU, GPU, MEMORY, OBJECT_STORE, Demand, to_parts

NODE_ADDRESS = "127.0.0.1"
_ACCELERATOR = "accelerator_type:"
_LABELS = {
    "ray.io/node-group": "RAY_NODE_TYPE_NAME",
    "ray.io/market-type": "RAY_NODE_MARKET_TYPE",
    "ray.io/availability-region": "RAY_NODE_REGION",
    "ray.io/availability-zone": "RAY_NODE_ZONE",
}
"""The variables that set a machine's labels. Source: Ray."""
HEAD_NODE = "node:__internal_head__"
"""The resource by which Ray's programs find the head of a cluster; the only machine is that too."""
_STORE_SHARE = 0.3
"""The share of memory that the object store may take (Ray's figure)."""
_STORE_MOST = 200 * 10**9
"""The bytes that the object store takes at most where nobody says how many (Ray's figure)."""
_FREE_SHARE = 0.9
"""The share of what is free in the folder of shared memory."""


def cpus() -> int:
    """Return the CPUs that this process may use: its affinity, cut by the quota of its container or control group."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        count = os.cpu_count() or 1
    quota = cgroups.cpus()
    return count if quota is None else min(count, max(1, math.ceil(quota)))


def memory() -> int:
    """Return the bytes of memory that this process may use."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    group = cgroups.memory()
    return total if group is None else min(total, group[0])


def _shared_memory() -> int:
    """Return the bytes that the store may take of the folder that it is in: containers often have a small one."""
    folder = os.statvfs(shared_memory_folder("x").parent)
    return max(int(folder.f_bavail * folder.f_frsize * _FREE_SHARE), RESERVE_FROM)


def _store(total: int) -> int:
    """Return the bytes that the object store takes of so many where `init` says nothing."""
    share = _variable("RAY_DEFAULT_OBJECT_STORE_MEMORY_PROPORTION", _STORE_SHARE)
    if not 0 < share <= 1:
        raise ValueError(f"RAY_DEFAULT_OBJECT_STORE_MEMORY_PROPORTION must be above 0 and at most 1, got {share}.")
    most = int(_variable("RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES", _STORE_MOST))
    if most < RESERVE_FROM:
        raise ValueError(f"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES must be at least {RESERVE_FROM}, got {most}.")
    return min(int(total * share), _shared_memory(), most)


def _variable(name: str, default: float) -> float:
    text = os.environ.get(name)
    try:
        return default if text is None else float(text)
    except ValueError as error:
        raise ValueError(f"{name} must be a number, and it is {text!r}.") from error


def _overridden() -> dict[str, float]:
    """Return the resources of ``RAY_OVERRIDE_RESOURCES``, a JSON object, which win over those of `init` (as in Ray)."""
    text = os.environ.get("RAY_OVERRIDE_RESOURCES")
    if not text:
        return {}
    try:
        return {str(name): float(amount) for name, amount in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f'RAY_OVERRIDE_RESOURCES is to be a JSON object of numbers, as {{"CPU": 4}}, and it is {text!r}.'
        ) from error


def resources(options: InitOptions) -> tuple[Demand, dict[str, list[str]], int]:
    """Return what the runtime is bound to: resources in parts, the ids of devices, and the store's limit in bytes.

    Raises
    ------
    ValueError
        More accelerators are declared than the variable of their kind names.
    """
    total = memory()
    store = options.object_store_memory or _store(total)
    declared = {**(options.resources or {}), **_overridden()}
    if options.num_gpus is not None:
        declared.setdefault(GPU, options.num_gpus)
    counts, devices, kinds = accelerators.find(declared)
    amounts: dict[str, float] = {
        CPU: cpus() if options.num_cpus is None else options.num_cpus,
        MEMORY: options.memory or max(total - store, 0),
        OBJECT_STORE: store,
        f"node:{NODE_ADDRESS}": 1.0,
        HEAD_NODE: 1.0,
        **{f"{_ACCELERATOR}{kind}": 1.0 for kind in kinds},
        **counts,
        **declared,
    }
    return {name: to_parts(amount) for name, amount in amounts.items() if amount}, devices, store


def node_row(process: ProcessContext, amounts: dict[str, float], alive: bool, *, started: float) -> dict[str, Any]:
    """Return the row of this machine for ``nodes()``, with Ray's keys, and with when the session began there."""
    return {
        "NodeID": process.node.hex(),
        "Alive": alive,
        "NodeManagerAddress": NODE_ADDRESS,
        "NodeManagerHostname": socket.gethostname(),
        "NodeManagerPort": 0,
        "ObjectManagerPort": 0,
        "ObjectStoreSocketName": "",
        "RayletSocketName": "",
        "MetricsExportPort": 0,
        "NodeName": process.node_name or NODE_ADDRESS,
        "RuntimeEnvAgentPort": 0,
        "MetricsAgentPort": 0,
        "DashboardAgentListenPort": 0,
        "DeathReason": 0,
        "DeathReasonMessage": "",
        "alive": alive,
        "Resources": amounts,
        "Labels": node_labels(process),
        "StartTimeMs": int(started * 1000),
    }


def default_labels(demand: Demand) -> dict[str, str]:
    """Return the labels that this machine has by itself: its accelerator, of what it has, and what variables say."""
    kinds = [name.removeprefix(_ACCELERATOR) for name in demand if name.startswith(_ACCELERATOR)]
    labels = {"ray.io/accelerator-type": kinds[0]} if kinds else {}
    return labels | {label: text for label, name in _LABELS.items() if (text := os.environ.get(name))}


def node_labels(process: ProcessContext) -> dict[str, str]:
    """Return the labels of this machine, and its id."""
    return {**process.labels, "ray.io/node-id": process.node.hex()}
