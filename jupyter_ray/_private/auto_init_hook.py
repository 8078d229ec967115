"""Ray's ``ray._private.auto_init_hook``: the start of a session at the first use."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from jupyter_ray.engine import registry
from jupyter_ray.not_offered import absent

P = ParamSpec("P")
R = TypeVar("R")

enable_auto_connect = os.environ.get("RAY_ENABLE_AUTO_CONNECT", "") != "0"


def auto_init_ray() -> None:
    """Start a session if none runs, unless ``RAY_ENABLE_AUTO_CONNECT`` is 0."""
    if os.environ.get("RAY_ENABLE_AUTO_CONNECT", "") != "0":
        registry.required()


def wrap_auto_init(fn: Callable[P, R]) -> Callable[P, R]:
    """Return a function that starts a session first if none runs."""

    @functools.wraps(fn)
    def started(*args: P.args, **kwargs: P.kwargs) -> R:
        auto_init_ray()
        return fn(*args, **kwargs)

    return started


def __getattr__(name: str) -> Any:
    raise absent(__name__, name)
