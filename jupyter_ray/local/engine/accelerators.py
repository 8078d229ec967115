"""The accelerators of this machine: how many of a kind there are, what they are called, and of which make they are.

What `init` declares counts, as far as the variable of the kind, such as ``CUDA_VISIBLE_DEVICES``, allows; else what is
found: GPUs by NVML, other kinds by the files of their drivers. Source: Ray.
"""

from __future__ import annotations

import glob
import json
import math
import os
import re
from collections.abc import Mapping

from jupyter_ray.resources import GPU, VISIBLE

_FILES = {"TPU": r"accel\d+", "NPU": r"davinci\d+", "MBLT": r"aries\d+|regulus-npu.*"}
"""The files in ``/dev`` of one device each."""
_TENSTORRENT = "tenstorrent"
"""The folder in ``/dev`` with a file for each of those."""
_NEURON_LIST = "/opt/aws/neuron/bin/neuron-ls"
_PATIENCE = 10.0
"""Seconds that the driver's own program has."""
_NONE = ("NoDevFiles", "-1")
"""What stands for no device in a variable."""


def find(declared: Mapping[str, float]) -> tuple[dict[str, float], dict[str, list[str]], list[str]]:
    """Return how many accelerators of each kind there are, their ids, and the names for ``accelerator_type=``.

    Raises
    ------
    ValueError
        More of a kind are declared than its variable names (as in Ray).
    """
    models = [] if declared.get(GPU) == 0 else _gpu_models()
    found = {GPU: len(models), **found_devices()}
    ids: dict[str, list[str]] = {}
    for kind in VISIBLE:
        if kind in declared:
            ids[kind] = _declared(kind, declared[kind])
        elif found.get(kind):
            ids[kind] = named(kind, found[kind])
    ids = {kind: each for kind, each in ids.items() if each}
    counts = {kind: declared.get(kind, float(len(each))) for kind, each in ids.items()}
    return counts, ids, _types(ids, models)


def named(kind: str, found: int) -> list[str]:
    """Return the ids of so many devices that were found: those that the kind's variable names, else all."""
    visible = _visible(kind)
    return [str(index) for index in range(found)] if visible is None else visible[:found]


def _visible(kind: str) -> list[str] | None:
    """Return the ids that the kind's variable names; None where it is not set."""
    text = os.environ.get(VISIBLE[kind])
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if kind == "FURIOSA":  # Also "npu:3", and "npu:3:0-3" for a part of that.
        words = [word.removeprefix("npu:").partition(":")[0] for word in words]
    return [word for word in words if word and word not in _NONE]


def _declared(kind: str, count: float) -> list[str]:
    """Return ids for what `init` declares; there may be more than there are devices, for tests."""
    whole = math.ceil(count)
    visible = _visible(kind)
    if visible is None:
        return [str(index) for index in range(whole)]
    if len(visible) < whole:
        raise ValueError(
            f"init() is to start with {count:g} {kind}, and {VISIBLE[kind]} contains {visible}, which are fewer. "
            "Unset it, or ask for less."
        )
    return visible[:whole]


def _types(ids: Mapping[str, list[str]], models: list[str]) -> list[str]:
    """Return the names for ``accelerator_type=`` of what is there."""
    gpus = ids.get(GPU, [])
    used = [models[int(each)] for each in gpus if each.isdigit() and int(each) < len(models)]
    if not used and gpus:  # CUDA_VISIBLE_DEVICES names them by UUID.
        used = models
    types = [kind for model in used for kind in accelerator_types(model)]
    if "neuron_cores" in ids:
        types.append("aws-neuron-core")
    generation = re.fullmatch(r"(?:v|tpu)(\d+[a-zA-Z]*)-\d+", os.environ.get("TPU_ACCELERATOR_TYPE", ""))
    if "TPU" in ids and generation is not None:
        types.append(f"TPU-V{generation[1].upper()}")
    return types


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


def found_devices() -> dict[str, int]:
    """Return how many devices of other kinds than GPUs have files here."""
    try:
        files = os.listdir("/dev")
    except OSError:
        return {}
    counts = {kind: len(re.findall(rf"^(?:{name})$", "\n".join(files), re.M)) for kind, name in _FILES.items()}
    if _TENSTORRENT in files:
        counts["TTNPU"] = len(glob.glob(f"/dev/{_TENSTORRENT}/*"))
    if any(each.startswith("neuron") for each in files):
        counts["neuron_cores"] = _neuron_cores()
    return counts


def _neuron_cores() -> int:
    """Return the number of cores that the driver's own program lists; 0 without it."""
    import subprocess

    try:
        listed = subprocess.run([_NEURON_LIST, "--json-output"], capture_output=True, timeout=_PATIENCE, check=True)
        return sum(int(device["nc_count"]) for device in json.loads(listed.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return 0
