"""The warning for what is deprecated. Source: Ray's ``RayDeprecationWarning``."""

from __future__ import annotations

import sys
import warnings


class RayDeprecationWarning(DeprecationWarning):
    """Shown for what `jupyter_ray.util.annotations.Deprecated` marks, and for names that Ray deprecates."""


if not sys.warnoptions:  # Once for each module that uses what is deprecated.
    warnings.filterwarnings("module", category=RayDeprecationWarning)


def deprecated(text: str, level: int = 1) -> None:
    """Warn; `level` says whose line is named: 1 is the caller of the function that calls this one."""
    warnings.warn(text, RayDeprecationWarning, stacklevel=level + 2)
