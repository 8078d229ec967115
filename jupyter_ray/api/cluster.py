"""What there is and what is free: resources, nodes, and the GPUs of the running task."""

from __future__ import annotations

import logging
from typing import Any

from jupyter_ray.api.session import session_engine
from jupyter_ray.engine import registry
from jupyter_ray.engine.context import current_task
from jupyter_ray.interrupts import shielded
from jupyter_ray.resources import GPU

_log = logging.getLogger("jupyter_ray")
_warned = False


def cluster_resources() -> dict[str, float]:
    """Return all resources of the session, used or not, by name: ``CPU``, ``GPU``, ``memory`` (bytes) and custom ones.

    Raises
    ------
    RaySystemError
        No session runs.

    Notes
    -----
    Source: Ray's ``ray.cluster_resources``.
    """
    return session_engine().total_resources()


def available_resources() -> dict[str, float]:
    """Return the resources that are free now; one that is fully used is absent.

    Raises
    ------
    RaySystemError
        No session runs.

    Notes
    -----
    Source: Ray's ``ray.available_resources``.
    """
    return session_engine().available_resources()


def nodes() -> list[dict[str, Any]]:
    """Return one row per machine, with Ray's keys: ``NodeID``, ``Alive``, ``Resources``, ``Labels`` and others.

    Raises
    ------
    RaySystemError
        No session runs.

    Notes
    -----
    Source: Ray's ``ray.nodes``.
    """
    return session_engine().nodes()


def assigned_devices() -> dict[str, list[str]]:
    """Return the ids, as text, of the accelerators that the running task or actor holds, by kind."""
    task = current_task()
    engine = registry.current() or registry.required()
    return task.devices if task is not None and task.devices else engine.process.devices


def get_gpu_ids() -> list[int] | list[str]:
    """Return the ids of the GPUs that the running task or actor holds.

    Returns
    -------
    list of int or str
        Numbers, or the names that ``CUDA_VISIBLE_DEVICES`` had in the driver if it was set; empty without GPUs, and in
        the driver.

    Notes
    -----
    Source: Ray's ``ray.get_gpu_ids``.
    """
    global _warned
    process = (registry.current() or registry.required()).process
    if process.is_driver:
        if not _warned:
            _warned = True
            with shielded():
                _log.warning("`ray.get_gpu_ids()` will always return the empty list when called from the driver.")
        return []
    gpus = list(assigned_devices().get(GPU, ()))
    if process.preset_gpus or not all(gpu.isdigit() for gpu in gpus):
        return gpus
    return [int(gpu) for gpu in gpus]
