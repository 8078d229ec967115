"""Places in the program: where a call was made, and where a task waits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType

_PACKAGE = "jupyter_ray."
_SITES = 1024

Names = Callable[[str], str]
_names: Names | None = None


def call_site() -> str:
    """Return the line and the function of the program that makes this call, outside of this package."""
    frame = _outside(sys._getframe(3))  # What is nearer is ours.
    code, place = frame.f_code, frame.f_lasti
    known = _sites.get((id(code), place))
    if known is None:
        if len(_sites) >= _SITES:
            _sites.clear()
        known = _sites[id(code), place] = code, f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
    return known[1]


def waiting_site() -> str:
    """Return where the program waits, as a traceback says it; see `readable`."""
    frame = _outside(sys._getframe(3))
    return f'File "{frame.f_code.co_filename}", line {frame.f_lineno}, in {frame.f_code.co_name}'


def set_names(names: Names) -> Callable[[], None]:
    """Say who calls files in a text as people know them, such as the cells of a notebook; returns what undoes it."""
    global _names
    before, _names = _names, names

    def undo() -> None:
        global _names
        _names = before

    return undo


def readable(text: str) -> str:
    """Return a text in which files are called as people know them here."""
    return text if _names is None else _names(text)


def _outside(frame: FrameType) -> FrameType:
    while frame.f_globals.get("__name__", "").startswith(_PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
    return frame


_sites: dict[tuple[int, int], tuple[CodeType, str]] = {}
"""Texts of places, by code object and instruction: a loop makes the same call again and again."""
