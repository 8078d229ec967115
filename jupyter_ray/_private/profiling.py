"""Ray's ``ray._private.profiling``: named spans of time, which `ray.timeline` shows if ``RAY_PROFILING`` is set."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from types import TracebackType
from typing import Any

from jupyter_ray.engine import registry
from jupyter_ray.engine.base import Engine
from jupyter_ray.not_offered import unusable

PROFILING_ENABLED = "RAY_PROFILING" in os.environ
NULL_LOG_SPAN = contextlib.nullcontext()
"""A span that nobody records."""


def profile(event_type: str, extra_data: dict[str, str] | None = None) -> contextlib.AbstractContextManager[None]:
    """Have `timeline` show how long something took: ``with profile("load"): ...``, in the driver or in a task.

    Parameters
    ----------
    event_type
        What it is called.
    extra_data
        What else the timeline shows of it; ``"name"`` is the text on its box, and ``"cname"`` the box's colour.

    Returns
    -------
    context manager
        It records nothing where ``RAY_PROFILING`` was not set when this module was imported, or without a session.

    Notes
    -----
    Source: Ray's ``ray._private.profiling.profile``.
    """
    engine = registry.current()
    if not PROFILING_ENABLED or engine is None:
        return NULL_LOG_SPAN
    return _Span(engine, event_type, extra_data or {})


class _Span(contextlib.AbstractContextManager[None]):
    def __init__(self, engine: Engine, name: str, extra: dict[str, str]) -> None:
        self._engine = engine
        self._name = name
        self._extra = extra

    def __enter__(self) -> None:
        self._since = time.time()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        until = time.time()
        extra = {str(key): str(value) for key, value in self._extra.items()}
        if error is not None:
            extra |= {"type": str(kind), "value": str(error), "traceback": "".join(traceback.format_exception(error))}
        self._engine.note_span(str(self._name), self._since, until, extra)


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, ("ChromeTracingCompleteEvent", "ChromeTracingMetadataEvent", "chrome_tracing_dump"))
