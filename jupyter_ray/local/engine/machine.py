"""What this machine has: CPUs, GPUs, memory, as `init` finds them."""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import re
import socket
from typing import Any

from jupyter_ray.config import RESERVE_FROM, shared_memory_folder
from jupyter_ray.engine.base import InitOptions
from jupyter_ray.engine.context import ProcessContext
from jupyter_ray.resources import CPU, GPU, MEMORY, Demand, to_parts

OBJECT_STORE = "object_store_memory"
NODE_ADDRESS = "127.0.0.1"
HEAD_NODE = "node:__internal_head__"
"""The resource by which Ray's programs find the head of a cluster; the only machine is that too."""
_STORE_SHARE = 0.3
"""The share of memory that the object store may take (Ray's figure)."""
_FREE_SHARE = 0.9
"""The share of what is free in the folder of shared memory."""


def cpus() -> int:
    """Return the CPUs that this process may use: its affinity, cut by a container's quota."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        count = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/cpu.max") as file:
        quota, period = file.read().split()
        if quota != "max":
            count = min(count, max(1, math.ceil(int(quota) / int(period))))
    return count


def memory() -> int:
    """Return the bytes of memory that this process may use."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.max") as file:
        total = min(total, int(file.read()))  # "max" is a ValueError
    return total


def _shared_memory() -> int:
    """Return the bytes that the store may take of the folder that it is in: containers often have a small one."""
    folder = os.statvfs(shared_memory_folder("x").parent)
    return max(int(folder.f_bavail * folder.f_frsize * _FREE_SHARE), RESERVE_FROM)


def gpus(found: list[str]) -> list[str]:
    """Return the ids of the GPUs: those that ``CUDA_VISIBLE_DEVICES`` names, else all that NVML found."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(len(found))]
    named = [each.strip() for each in visible.split(",") if each.strip() and each.strip() not in ("NoDevFiles", "-1")]
    return named[: len(found)]


def _gpu_models() -> list[str]:
    """Return the product name of each GPU that NVML finds."""
    if not (glob.glob("/dev/nvidia[0-9]*") or os.path.exists("/dev/dxg")):
        return []  # No driver: do not even import the binding.
    try:
        import pynvml

        pynvml.nvmlInit()
        try:
            names = [
                pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index))
                for index in range(pynvml.nvmlDeviceGetCount())
            ]
        finally:
            pynvml.nvmlShutdown()
    except Exception:  # The binding or the driver is absent or broken: a machine without GPUs.
        return []
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def accelerator_types(model: str) -> list[str]:
    """Return the names for ``accelerator_type=`` that a GPU's product name stands for.

    Those of the constants in ``util.accelerators``: ``"Tesla V100-SXM2-16GB"`` is a V100, and
    ``"NVIDIA A100-SXM4-80GB"`` an A100 and an A100-80G.
    """
    plain = re.sub(r"^(NVIDIA|Tesla)\s+", "", model.strip())
    found = re.search(r"\b[A-Z]{1,2}\d{1,4}[A-Z]{0,2}\b", plain)
    if found is None:
        return [re.sub(r"\s+", "-", plain)] if plain else []
    kind = found[0]
    size = re.search(r"\b(40|80)GB\b", plain) if kind == "A100" else None
    return [kind, f"{kind}-{size[1]}G"] if size else [kind]


def _declared_gpus(count: float) -> list[str]:
    """Return ids for GPUs that `init` declares; there may be more of them than there are devices, for tests.

    Raises
    ------
    ValueError
        ``CUDA_VISIBLE_DEVICES`` names fewer (as in Ray).
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    whole = math.ceil(count)
    if visible is None:
        return [str(index) for index in range(whole)]
    named = [each.strip() for each in visible.split(",") if each.strip()]
    if len(named) < whole:
        raise ValueError(
            f"init(num_gpus={count:g}) asks for more GPUs than CUDA_VISIBLE_DEVICES names: {named}. "
            "Unset it, or ask for less."
        )
    return named[:whole]


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


def resources(options: InitOptions) -> tuple[Demand, list[str], int]:
    """Return what the runtime is bound to: resources in parts, the ids of the GPUs, and the store's limit in bytes."""
    models = [] if options.num_gpus == 0 else _gpu_models()
    devices = gpus(models) if options.num_gpus is None else _declared_gpus(options.num_gpus)
    used = [models[int(each)] for each in devices if each.isdigit() and int(each) < len(models)]
    if not used and devices:  # CUDA_VISIBLE_DEVICES names them by UUID.
        used = models
    total = memory()
    store = options.object_store_memory or min(int(total * _STORE_SHARE), _shared_memory())
    amounts: dict[str, float] = {
        CPU: cpus() if options.num_cpus is None else options.num_cpus,
        GPU: len(devices) if options.num_gpus is None else options.num_gpus,
        MEMORY: options.memory or max(total - store, 0),
        OBJECT_STORE: store,
        f"node:{NODE_ADDRESS}": 1.0,
        HEAD_NODE: 1.0,
        **{f"accelerator_type:{kind}": 1.0 for model in used for kind in accelerator_types(model)},
        **(options.resources or {}),
        **_overridden(),
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
        "DeathReason": 0,
        "DeathReasonMessage": "",
        "alive": alive,
        "Resources": amounts,
        "Labels": node_labels(process),
        "StartTimeMs": int(started * 1000),
    }


def node_labels(process: ProcessContext) -> dict[str, str]:
    """Return the labels of this machine: what `init` said, and its id."""
    return {**process.labels, "ray.io/node-id": process.node.hex()}
