"""Errors as a notebook should show them: the user's code here, the remote traceback, nothing of the runtime's own.

IPython asks an exception for `_render_traceback_` before it makes a traceback itself. The errors of this package get
that method while the extension is loaded. Other errors that a user makes here (a wrong argument, an interrupt during
`get`) keep IPython's traceback, but for the frames inside this package: reading its source would take IPython longer
than the interrupt. Any other exception that comes out of this package is a bug in it, and shows where.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import linecache
import os
import re
import sys
import sysconfig
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jupyter_ray.config import LOCAL_ADDRESS
from jupyter_ray.engine import registry
from jupyter_ray.exceptions import RayError, RayTaskError

_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
_USERS = (KeyboardInterrupt, asyncio.CancelledError, TypeError, ValueError)
_FILE = re.compile(r'File "([^"]+)"')
_REFERENCE = re.compile(r"'(?:\w+\.)*ObjectRef'|(?:non-iterable|not|convert|to) (?:\w+\.)*ObjectRef\b")
"""How Python names what an operator, a loop or a conversion was given (on a cluster it is Ray's class)."""
_HOOK = "_render_traceback_"
_READ_ONLY = re.compile("read-only$|WRITEABLE flag")
"""How NumPy, and Cython, end what they say of an array that cannot be written to."""
_WAITS = ("get", "wait", "__await__", "__anext__")


def install(shell: Any) -> Callable[[], None]:
    """Make the errors of this package render in `shell`; return the undo."""

    def hook(error: RayError) -> list[str]:
        return render(shell, error)

    setattr(RayError, _HOOK, hook)
    formatter = shell.InteractiveTB
    full = formatter.structured_traceback

    def structured_traceback(kind: Any = None, error: Any = None, entry: Any = None, *args: Any, **named: Any) -> Any:
        if entry is not None and _is_users(error, entry) and _comes_from_here(entry):
            with _causes_cut(error):
                lines = full(kind, error, cut(entry), tb_offset=0)
            _keep_for_debugger(error, entry)
            lines = [with_cell_names(shell, line) for line in lines]  # What a pool's function did is told in its cause.
            return [*lines, *_hint(error), *_going_on(error, entry)]
        with _before_cut(error) as is_ours:
            lines = full(kind, error, entry, *args, **named)
        if is_ours:  # What they say tells of cells by the names of files.
            lines = [with_cell_names(shell, line) for line in lines]
        return [*lines, *_hint(error)]

    formatter.structured_traceback = structured_traceback
    # Errors of syntax have a renderer of their own, which asks nobody.
    syntax = shell.SyntaxTB
    full_syntax = syntax.structured_traceback

    def syntax_traceback(kind: Any, error: Any, *args: Any, **named: Any) -> Any:
        own = getattr(error, _HOOK, None)
        return own() if own is not None else full_syntax(kind, error, *args, **named)

    syntax.structured_traceback = syntax_traceback

    def undo() -> None:
        if formatter.__dict__.get("structured_traceback") is structured_traceback:
            del formatter.structured_traceback
        if syntax.__dict__.get("structured_traceback") is syntax_traceback:
            del syntax.structured_traceback
        if RayError.__dict__.get(_HOOK) is hook:
            delattr(RayError, _HOOK)

    return undo


def render(shell: Any, error: BaseException) -> list[str]:
    """Return the lines of a traceback: the user's frames here, and below them the remote ones."""
    entry = error.__traceback__
    if isinstance(error, RayTaskError):
        said = RayTaskError.__str__(error).splitlines()
        # Who raised it; a cause that nobody has raised stands above that.
        head = next((line for line in said if line.startswith("ray::")), said[0])
        lines = [*_local(shell, error, head), remote(shell, error)]
        lines += [*_hint(error.cause), *_found_here(error.cause), *_in_this_folder(error.cause)]
    else:
        lines = _local(shell, error, with_cell_names(shell, str(error)))
    _keep_for_debugger(error, entry)
    return lines


def remote(shell: Any, error: RayTaskError) -> str:
    """Return the remote traceback, in colour where the shell has colours."""
    return coloured(shell, with_cell_names(shell, error._plain.traceback_str.rstrip()))


def coloured(shell: Any, text: str) -> str:
    """Return a traceback in colour where the shell has colours."""
    if not has_colours(shell):
        return text
    try:
        import pygments  # type: ignore[import-untyped]
        from pygments import formatters, lexers
    except ImportError:
        return text
    shown = str(pygments.highlight(text, lexers.PythonTracebackLexer(), formatters.TerminalFormatter()))
    return shown.rstrip("\n").replace("\x1b[91m", "\x1b[31m")  # Bright red is too dim on JupyterLab's dark red.


def with_cell_names(shell: Any, text: str) -> str:
    """Return a traceback that calls what came from cells so, and not by the names of files that there are not."""
    return _FILE.sub(functools.partial(_cell_name, shell), text)


def _hint(error: Any) -> list[str]:
    """Return what to say of an error that a reference taken for its value has caused, or an array that is shared."""
    if isinstance(error, TypeError) and _REFERENCE.search(str(error)):
        return [
            "An ObjectRef stands for a value that is made elsewhere: ray.get(ref) returns the value. A call replaces "
            "references among its arguments (f.remote(ref), f.remote(*refs)) by their values, but not those in a list."
        ]
    is_pythons = isinstance(error, ValueError) and not isinstance(error, RayError)
    if is_pythons and registry.current() is not None and _READ_ONLY.search(str(error)):
        return ["Arrays that ray.get returns are read-only: tasks share their memory. Write to array.copy()."]
    return []


def _found_here(error: BaseException | None) -> list[str]:
    """Return what to say of a module that a task does not find, and the notebook does."""
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__
    name = "" if error is None else (error.name or "").partition(".")[0]
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name) if name else None
        if spec is not None and spec.origin is not None:
            engine = registry.current()
            if engine is not None and engine.address.startswith(LOCAL_ADDRESS):
                why = "it has imported it, and its folder is no longer on sys.path."
            else:
                why = (
                    "on a cluster, workers keep the sys.path that the session began with. Change it before the first "
                    "call, or end the session with %ray stop."
                )
            return [f"The notebook finds {name} ({spec.origin}): {why}"]
    return []


def _in_this_folder(error: BaseException | None) -> list[str]:
    """Return what to say of a file that a task does not find, and the notebook does: it has changed its folder."""
    name = error.filename if isinstance(error, FileNotFoundError) else None
    engine = registry.current()
    is_here = engine is not None and engine.address.startswith(LOCAL_ADDRESS)
    if is_here and isinstance(name, str) and not os.path.isabs(name) and os.path.exists(name):
        return [
            f"The notebook finds {name} in {os.getcwd()}. Tasks are in the folder where the session began, or that "
            "their runtime_env names: pass os.path.abspath(...)."
        ]
    return []


def _going_on(error: BaseException, entry: types.TracebackType | None) -> list[str]:
    """Return what an interrupt of `get` or `wait` leaves as it is: the stop button is thought to stop all."""
    if not isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
        return []
    while entry is not None:
        code = entry.tb_frame.f_code
        if code.co_filename.startswith(_PACKAGE) and code.co_name in _WAITS:
            return ["The waiting has ended; the tasks go on. %ray cancel ends all of them, ray.cancel(ref) one."]
        entry = entry.tb_next
    return []


def _cell_name(shell: Any, found: re.Match[str]) -> str:
    """Return ``File "Cell In[3]"`` where the file is what IPython made of a cell, as in its own tracebacks."""
    names: dict[str, int] = getattr(getattr(shell, "compile", None), "_filename_map", {})
    number = names.get(found.group(1))
    return f'File "Cell In[{number}]"' if number is not None else found.group(0)


def has_colours(shell: Any) -> bool:
    """Tell whether the user wants colours."""
    return str(getattr(shell, "colors", "")).lower() not in ("nocolor", "")


def in_one_line(shell: Any, error: BaseException) -> None:
    """Make an error, found before anything ran, render without a traceback: it would only show the magic's own code."""
    *before, last = traceback.format_exception_only(type(error), error)
    name, colon, message = last.partition(":")
    name = name.rpartition(".")[2]  # As above a traceback.
    if has_colours(shell):
        name = f"\x1b[31m{name}\x1b[39m"
    text = "".join([*before, name, colon, message]).rstrip()
    error._render_traceback_ = lambda: [text]  # type: ignore[attr-defined]


def _local(shell: Any, error: BaseException, message: str) -> list[str]:
    """Return the traceback in this process, cut down to the user's frames, with `message` at its end."""
    kind: type[Exception] = type(type(error).__name__, (Exception,), {"__module__": "builtins"})
    stand_in = kind(message)  # It has no cause and no context, which the remote traceback tells.
    lines: list[str] = shell.InteractiveTB.structured_traceback(kind, stand_in, cut(error.__traceback__), tb_offset=0)
    return lines


@contextlib.contextmanager
def _causes_cut(error: BaseException) -> Iterator[None]:
    """Leave of an error's cause only the user's frames; without any, the error's message says all there is.

    That is not so of what a pool's function has raised: its cause is the remote traceback.
    """
    cause = error.__cause__
    if cause is None:
        yield
        return
    entry = cause.__traceback__
    shown = cut(entry)
    if shown is None and not isinstance(cause, RayTaskError):
        error.__cause__ = None
    cause.__traceback__ = shown
    try:
        yield
    finally:  # For the debugger, and for whoever asks.
        cause.__traceback__ = entry
        error.__cause__ = cause


@contextlib.contextmanager
def _before_cut(error: BaseException | None) -> Iterator[bool]:
    """Leave only the user's frames of errors of ours that a user's one followed, in an ``except``; say if any did."""
    uncut: list[tuple[BaseException, types.TracebackType | None]] = []
    seen = {id(error)}
    each = error
    while each is not None:
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
        if each is None or id(each) in seen:  # A program may have made a ring of them.
            break
        seen.add(id(each))
        entry = each.__traceback__
        shown = cut(entry)
        if entry is None or shown is None or not _comes_from_here(entry):
            continue
        if isinstance(each, RayError) or _is_users(each, entry):
            uncut.append((each, entry))
            each.__traceback__ = shown
    try:
        yield bool(uncut)
    finally:  # For the debugger, and for whoever asks.
        for each, entry in uncut:
            each.__traceback__ = entry


def _keep_for_debugger(error: BaseException, entry: types.TracebackType | None) -> None:
    """Leave an error that has been shown with the frames that were shown: ``%debug`` begins in the user's last one."""
    shown = cut(entry)
    if entry is None or shown is None:
        return
    if error.__traceback__ is entry:
        BaseException.with_traceback(error, shown)
    if getattr(sys, "last_traceback", None) is entry:
        sys.last_traceback = shown


def is_ours(error: BaseException) -> bool:
    """Tell whether an error comes from this package, and is to be shown without its frames."""
    entry = error.__traceback__
    if isinstance(error, RayError):
        return True
    return entry is not None and _comes_from_here(entry) and _is_users(error, entry)


def _is_users(error: Any, entry: types.TracebackType) -> bool:
    """Tell whether an error is about what the user wrote: a misspelt attribute, or a second `init`, for two."""
    if isinstance(error, _USERS) or isinstance(error.__cause__, RayTaskError):  # The latter comes from a pool.
        return True
    while entry.tb_next is not None:
        entry = entry.tb_next
    code = entry.tb_frame.f_code
    if not code.co_filename.startswith(_PACKAGE) and not _is_library(code.co_filename):
        return True  # What it raises, as a signal's handler during `get` does, is no business of ours.
    if isinstance(error, AttributeError):
        return code.co_name == "__getattr__"
    return (
        isinstance(error, RuntimeError | ConnectionError)
        and code.co_filename.startswith(_PACKAGE)
        and linecache.getline(code.co_filename, entry.tb_lineno).lstrip().startswith("raise ")  # Not Python itself.
    )


def _comes_from_here(entry: types.TracebackType | None) -> bool:
    while entry is not None:
        if entry.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            return True
        entry = entry.tb_next
    return False


def cut(entry: types.TracebackType | None) -> types.TracebackType | None:
    """Return the traceback without the frames of IPython, of this package, and of what this package called."""
    kept: types.TracebackType | None = None
    for each in reversed(list(_user_entries(entry))):
        kept = types.TracebackType(kept, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return kept


def _user_entries(entry: types.TracebackType | None) -> Iterator[types.TracebackType]:
    inside = False
    while entry is not None:
        name = entry.tb_frame.f_code.co_filename
        if name.startswith(_PACKAGE) or f"{os.sep}cloudpickle{os.sep}" in name:
            inside = True
        elif is_shell(name):
            inside = False
        elif not (inside and _is_standard_library(name)):
            inside = False
            yield entry
        entry = entry.tb_next


def is_shell(name: str) -> bool:
    """Tell whether a source file is IPython's own."""
    return f"{os.sep}IPython{os.sep}" in name or f"{os.sep}ipykernel{os.sep}" in name


@functools.cache
def _library_folder() -> str:
    return sysconfig.get_paths()["stdlib"] + os.sep


def _is_library(name: str) -> bool:
    return _is_standard_library(name) or "site-packages" in name


def _is_standard_library(name: str) -> bool:
    return name.startswith(("<frozen ", _library_folder())) and "site-packages" not in name and name not in sys.path
