"""Errors as a notebook should show them: the user's code here, the remote traceback, nothing of the runtime's own.

IPython asks an exception for `_render_traceback_` before it makes a traceback itself. The errors of this package get
that method while the extension is loaded.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jupyter_ray.exceptions import RayError, RayTaskError

_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
_HOOK = "_render_traceback_"


def install(shell: Any) -> Callable[[], None]:
    """Make the errors of this package render in `shell`; return the undo."""

    def hook(error: RayError) -> list[str]:
        return render(shell, error)

    setattr(RayError, _HOOK, hook)

    def undo() -> None:
        if RayError.__dict__.get(_HOOK) is hook:
            delattr(RayError, _HOOK)

    return undo


def render(shell: Any, error: BaseException) -> list[str]:
    """Return the lines of a traceback: the user's frames here, and below them the remote ones."""
    if not isinstance(error, RayTaskError):
        return _local(shell, error, str(error))
    head, _, _ = RayTaskError.__str__(error).partition("\n")
    return [*_local(shell, error, head), remote(shell, error)]


def remote(shell: Any, error: RayTaskError) -> str:
    """Return the remote traceback, in colour where the shell has colours."""
    text = error.traceback_str.rstrip()
    if not has_colours(shell):
        return text
    try:
        import pygments  # type: ignore[import-untyped]
        from pygments import formatters, lexers
    except ImportError:
        return text
    return str(pygments.highlight(text, lexers.PythonTracebackLexer(), formatters.TerminalFormatter())).rstrip("\n")


def has_colours(shell: Any) -> bool:
    """Tell whether the user wants colours."""
    return str(getattr(shell, "colors", "")).lower() not in ("nocolor", "")


def in_one_line(shell: Any, error: BaseException) -> None:
    """Make an error, found before anything ran, render without a traceback: it would only show the magic's own code."""
    if isinstance(error, SyntaxError):
        text = "".join(shell.SyntaxTB.structured_traceback(type(error), error, []))
    else:
        name = type(error).__name__
        if has_colours(shell):
            name = f"\x1b[31m{name}\x1b[39m"
        text = f"{name}: {error}"
    error._render_traceback_ = lambda: [text]  # type: ignore[attr-defined]


def _local(shell: Any, error: BaseException, message: str) -> list[str]:
    """Return the traceback in this process, cut down to the user's frames, with `message` at its end."""
    kind: type[Exception] = type(type(error).__name__, (Exception,), {"__module__": "builtins"})
    stand_in = kind(message)  # It has no cause and no context, which the remote traceback tells.
    lines: list[str] = shell.InteractiveTB.structured_traceback(kind, stand_in, _cut(error.__traceback__), tb_offset=0)
    return lines


def _cut(traceback: types.TracebackType | None) -> types.TracebackType | None:
    """Return the traceback without the frames of IPython, of this package, and of what this package called."""
    kept: types.TracebackType | None = None
    for each in reversed(list(_user_entries(traceback))):
        kept = types.TracebackType(kept, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return kept


def _user_entries(traceback: types.TracebackType | None) -> Iterator[types.TracebackType]:
    inside = False
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if name.startswith(_PACKAGE):
            inside = True
        elif is_shell(name):
            inside = False
        elif not (inside and _is_standard_library(name)):
            inside = False
            yield traceback
        traceback = traceback.tb_next


def is_shell(name: str) -> bool:
    """Tell whether a source file is IPython's own."""
    return f"{os.sep}IPython{os.sep}" in name or f"{os.sep}ipykernel{os.sep}" in name


@functools.cache
def _library_folder() -> str:
    return sysconfig.get_paths()["stdlib"] + os.sep


def _is_standard_library(name: str) -> bool:
    return name.startswith(("<frozen ", _library_folder())) and "site-packages" not in name and name not in sys.path
