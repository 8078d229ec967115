"""Ray's ``ray.util.debug``."""

from __future__ import annotations

from jupyter_ray.util.helpers import (
    disable_log_once_globally,
    enable_periodic_logging,
    log_once,
    reset_log_once,
)

__all__ = ["disable_log_once_globally", "enable_periodic_logging", "log_once", "reset_log_once"]
