"""``PublicAPI``, ``DeveloperAPI``, ``Deprecated``: how stable something is. Source: Ray's ``ray.util.annotations``.

Libraries on top of Ray mark their functions and classes with them.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class RayDeprecationWarning(DeprecationWarning):
    """Shown for what `Deprecated` marks with ``warning=True``."""


def PublicAPI(*args: Any, stability: str = "stable", api_group: str = "Others") -> Any:
    """Mark what users may rely on; bare, or with a `stability` of ``"stable"``, ``"beta"`` or ``"alpha"``."""
    if stability not in ("stable", "beta", "alpha"):
        raise ValueError(f"stability must be 'stable', 'beta' or 'alpha', got {stability!r}.")
    return _apply(args, lambda target: _annotate(target, "PublicAPI"))


def DeveloperAPI(*args: Any, api_group: str = "Others") -> Any:
    """Mark what authors of libraries may use, and what may change."""
    return _apply(args, lambda target: _annotate(target, "DeveloperAPI"))


def Deprecated(*args: Any, message: str = "", warning: bool = False) -> Any:
    """Mark what will go; with `warning`, calling it or making an instance says so, with `message`."""

    def mark(target: T) -> T:
        _annotate(target, "Deprecated")
        target.__doc__ = f"{target.__doc__ or ''}\n\n**DEPRECATED**: {message or 'it will go.'}".strip()
        return _warning(target, message) if warning else target

    return _apply(args, mark)


def _apply(args: tuple[Any, ...], mark: Callable[[Any], Any]) -> Any:
    return mark(args[0]) if len(args) == 1 and callable(args[0]) else mark


def _annotate(target: Any, kind: str) -> Any:
    target._annotated = getattr(target, "__name__", "")
    target._annotated_type = kind
    return target


def _warning(target: Any, message: str) -> Any:
    called = target.__init__ if inspect.isclass(target) else target
    text = f"{target.__name__} is deprecated. {message}".strip()

    @functools.wraps(called)
    def warn(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(text, RayDeprecationWarning, stacklevel=2)
        return called(*args, **kwargs)

    if not inspect.isclass(target):
        return warn
    setattr(target, "__init__", warn)  # noqa: B010 - a class by any type checker's reckoning has no such field
    return target


__all__ = ["Deprecated", "DeveloperAPI", "PublicAPI", "RayDeprecationWarning"]
