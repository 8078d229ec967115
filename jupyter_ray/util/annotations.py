"""``PublicAPI``, ``DeveloperAPI``, ``Deprecated``: how stable something is. Source: Ray's ``ray.util.annotations``.

Libraries on top of Ray mark their functions and classes with them; the mark is told in the docstring too.
"""

from __future__ import annotations

import enum
import functools
import inspect
import textwrap
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from jupyter_ray.deprecation import RayDeprecationWarning

T = TypeVar("T")


class AnnotationType(enum.Enum):
    """What a mark says."""

    PUBLIC_API = "PublicAPI"
    DEVELOPER_API = "DeveloperAPI"
    DEPRECATED = "Deprecated"
    UNKNOWN = "Unknown"


def PublicAPI(*args: Any, stability: str = "stable", api_group: str = "Others") -> Any:
    """Mark what users may rely on; bare, or with a `stability` of ``"stable"``, ``"beta"`` or ``"alpha"``."""
    assert stability in ("stable", "beta", "alpha"), stability
    note = "" if stability == "stable" else f"**PublicAPI ({stability}):** This may change before it becomes stable."

    def mark(target: T) -> T:
        _tell(target, note)
        return _annotate(target, AnnotationType.PUBLIC_API, api_group)

    return _apply(args, mark)


def DeveloperAPI(*args: Any, api_group: str = "Others") -> Any:
    """Mark what authors of libraries may use, and what may change."""

    def mark(target: T) -> T:
        _tell(target, "**DeveloperAPI:** This may change from one minor release to the next.")
        return _annotate(target, AnnotationType.DEVELOPER_API, api_group)

    return _apply(args, mark)


def Deprecated(*args: Any, message: str = "", warning: bool = False, **unknown: Any) -> Any:
    """Mark what will go; with `warning`, calling it or making an instance says so, with `message`."""
    if unknown:
        raise ValueError(f"Unknown kwargs: {unknown.keys()}")

    def mark(target: T) -> T:
        note = textwrap.indent(f"**DEPRECATED**: This may be removed in a future release.\n{message}".rstrip(), "    ")
        _tell(target, f".. warning::\n\n{note}")
        _annotate(target, AnnotationType.DEPRECATED, "Others")
        return _warning(target, message) if warning else target

    return _apply(args, mark)


def _apply(args: tuple[Any, ...], mark: Callable[[Any], Any]) -> Any:
    return mark(args[0]) if len(args) == 1 and callable(args[0]) else mark


def _annotate(target: T, kind: AnnotationType, group: str) -> T:
    if hasattr(target, "__name__"):
        marked: Any = target
        marked._annotated = marked.__name__
        marked._annotated_type = kind
        marked._annotated_api_group = group
    return target


def _is_annotated(target: Any) -> bool:
    """Tell whether it has a mark of its own, and not that of what it is derived from."""
    return bool(getattr(target, "_annotated", None) == target.__name__)


def _get_annotation_type(target: Any) -> str | None:
    """Return what its mark says, or None if it has none."""
    if not _is_annotated(target):
        return None
    kind: AnnotationType = target._annotated_type
    return kind.value


def _tell(target: Any, note: str) -> None:
    """Append a note to a docstring, indented as it is."""
    doc = (target.__doc__ or "").rstrip()
    if note:
        lines = [line for line in doc.splitlines() if line]
        indent = lines[1][: len(lines[1]) - len(lines[1].lstrip())] if len(lines) > 1 else ""
        target.__doc__ = f"{doc}\n\n{textwrap.indent(note, indent)}\n{indent}"


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


__all__ = ["AnnotationType", "Deprecated", "DeveloperAPI", "PublicAPI", "RayDeprecationWarning"]
