"""The warning for what is deprecated. Source: Ray's ``RayDeprecationWarning``."""

from __future__ import annotations

import sys
import warnings


class RayDeprecationWarning(DeprecationWarning):
    """Shown for what `jupyter_ray.util.annotations.Deprecated` marks, and for names that Ray deprecates."""


if not sys.warnoptions:  # Once for each module that uses what is deprecated.
    warnings.filterwarnings("module", category=RayDeprecationWarning)


def deprecated(text: str) -> None:
    """Warn of what the program does."""
    warnings.warn(text, RayDeprecationWarning, stacklevel=program_level())


def program_level() -> int:
    """Return the `stacklevel` with which our caller's warning names the line of the program, not one of ours.

    Python shows a warning once for each line: one of ours would stand for all lines of the program.
    """
    package = __name__.partition(".")[0]
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None:
        importing = "importlib._bootstrap" in frame.f_code.co_filename  # `warn` passes over these.
        if not importing and frame.f_globals.get("__name__", "").partition(".")[0] != package:
            break
        frame, level = frame.f_back, level + (not importing)
    return level
