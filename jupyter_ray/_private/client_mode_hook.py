"""``ray._private.client_mode_hook``: whether calls go through Ray Client. Programs need not know that here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

from jupyter_ray._private.auto_init_hook import wrap_auto_init
from jupyter_ray.not_offered import unusable

P = ParamSpec("P")
R = TypeVar("R")

is_client_mode_enabled = False
is_client_mode_enabled_by_default = False


def client_mode_should_convert() -> bool:
    """Tell whether this process speaks to its session through Ray Client."""
    return False


def client_mode_hook(func: Callable[P, R]) -> Callable[P, R]:
    """Return a function that starts a session first if none runs; how that is reached, the session knows."""
    return wrap_auto_init(func)


@contextlib.contextmanager
def disable_client_hook() -> Iterator[None]:
    """Within this, calls do not go through Ray Client by this module: they never do."""
    yield


_OF_CLIENTS = ("client_mode_convert_actor", "client_mode_convert_function", "client_mode_wrap", "enable_client_mode")


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, _OF_CLIENTS)
