"""Ray's ``ray.job_config``."""

from __future__ import annotations

from jupyter_ray.api.constants import LoggingConfig
from jupyter_ray.api.job_config import JobConfig

__all__ = ["JobConfig", "LoggingConfig"]
