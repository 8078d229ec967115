"""Ray's ``ray._private.profiling``: named spans of time, which Ray shows in its timeline if ``RAY_PROFILING`` is set.

They are not shown here: `ray.timeline` has the tasks. Programs that name spans run.
"""

from __future__ import annotations

import contextlib
from typing import Any

from jupyter_ray.not_offered import unusable

PROFILING_ENABLED = False
NULL_LOG_SPAN = contextlib.nullcontext()
"""A span that nobody records."""


def profile(event_type: str, extra_data: dict[str, str] | None = None) -> contextlib.AbstractContextManager[None]:
    """Return a span that nobody records: ``with profile("load"): ...`` runs what is in it."""
    return NULL_LOG_SPAN


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, ("ChromeTracingCompleteEvent", "ChromeTracingMetadataEvent", "chrome_tracing_dump"))
