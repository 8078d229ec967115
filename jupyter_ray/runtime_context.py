"""Ray's ``ray.runtime_context``."""

from __future__ import annotations

from jupyter_ray.api.runtime_context import RuntimeContext, get_runtime_context

__all__ = ["RuntimeContext", "get_runtime_context"]
