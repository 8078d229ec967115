"""Exception groups, as of ``asyncio.TaskGroup``, that errors of tasks are in.

IPython prints a group as Python does, to stderr, with the frames of all that was between: its own, and this package's.
Here they are shown as other errors are. Groups that have nothing of this package are left to IPython.
"""

from __future__ import annotations

import builtins
import contextlib
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

from jupyter_ray.exceptions import RayError
from jupyter_ray.ipython import tracebacks

_GROUP: Any = getattr(builtins, "BaseExceptionGroup", ())  # None before Python 3.11.


def install(shell: Any) -> Callable[[], None]:
    """Make groups with errors of tasks render in `shell`; return the undo."""
    full = shell.showtraceback

    def showtraceback(exc_tuple: Any = None, *args: Any, **named: Any) -> Any:
        try:
            kind, error, _ = shell._get_exc_info(exc_tuple)
        except (ValueError, AttributeError):  # There is no error, or it is another IPython.
            error = None
        parts = list(_parts(error))
        if not any(isinstance(each, _GROUP) for each in parts) or not any(map(tracebacks.is_ours, parts)):
            return full(exc_tuple, *args, **named)
        if isinstance(error, RayError):
            lines = tracebacks.render(shell, error)
        else:
            with _cut(parts):
                text = "".join(traceback.format_exception(error))
            lines = tracebacks.coloured(shell, tracebacks.with_cell_names(shell, text)).splitlines()
        return shell._showtraceback(kind, error, lines)

    shell.showtraceback = showtraceback

    def undo() -> None:
        if shell.__dict__.get("showtraceback") is showtraceback:
            del shell.showtraceback

    return undo


def _parts(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, those that it groups, and those that they come from."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, _GROUP):
            waiting += each.exceptions
        waiting += (each.__cause__, each.__context__)


@contextlib.contextmanager
def _cut(parts: list[BaseException]) -> Iterator[None]:
    """Leave only the user's frames of errors."""
    uncut: list[tuple[BaseException, types.TracebackType | None]] = []
    for each in parts:
        uncut.append((each, each.__traceback__))
        each.__traceback__ = tracebacks.cut(each.__traceback__)
    try:
        yield
    finally:  # For the debugger, and for whoever asks.
        for each, entry in uncut:
            each.__traceback__ = entry
