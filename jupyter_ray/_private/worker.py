"""``ray._private.worker``: what kind of process this is, and where its session is. Public: `RuntimeContext`."""

from __future__ import annotations

import logging
from typing import Any

from jupyter_ray.api.constants import LOCAL_MODE as LOCAL_MODE
from jupyter_ray.api.constants import SCRIPT_MODE as SCRIPT_MODE
from jupyter_ray.api.constants import WORKER_MODE as WORKER_MODE
from jupyter_ray.api.runtime_context import get_runtime_context
from jupyter_ray.api.session import RayContext as RayContext
from jupyter_ray.api.session import is_initialized

BaseContext = RayContext
blocking_get_inside_async_warned = False
"""Who sets it is not warned of `get` in a coroutine of an actor."""

logger = logging.getLogger("jupyter_ray")


class _Nobody:
    """A process without a session."""

    mode = None

    def __repr__(self) -> str:
        return "Worker(no session)"


class _Node:
    """The machine that the session runs on."""

    @property
    def gcs_address(self) -> str:
        """The address of the session."""
        return get_runtime_context().gcs_address

    address = gcs_address


def get_dashboard_url() -> str:
    """Return the address of Ray's web page: there is none."""
    return ""


def __getattr__(name: str) -> Any:
    if name == "global_worker":
        return get_runtime_context().worker if is_initialized() else _Nobody()
    if name == "_global_node":
        return _Node() if is_initialized() else None
    from jupyter_ray.not_offered import absent

    raise absent(__name__, name)
