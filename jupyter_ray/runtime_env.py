"""Ray's ``ray.runtime_env``."""

from __future__ import annotations

from jupyter_ray.api.runtime_env import RuntimeEnv, RuntimeEnvConfig

__all__ = ["RuntimeEnv", "RuntimeEnvConfig"]
