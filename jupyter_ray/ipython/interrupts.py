"""What the interrupt button ends: a top-level ``await ref``, and a cell that waits to begin.

While a cell awaits, the kernel's event loop sleeps in ``select``, and Python runs its signal handlers only when the
loop wakes. With the loop's own wake-up socket as `signal.set_wakeup_fd` the signal itself wakes it; ipykernel then
cancels the cell's task.
"""

from __future__ import annotations

import ast
import contextlib
import signal
import threading
from collections.abc import Callable
from typing import Any


def install(kernel: Any) -> Callable[[], None]:
    """Let signals wake the kernel's event loop; return the undo. Does nothing where that cannot be."""
    if kernel is None or threading.current_thread() is not threading.main_thread():
        return lambda: None
    try:
        loop = kernel.io_loop.asyncio_loop
        number = loop._csock.fileno()  # Private, and absent in other loops.
        before = signal.set_wakeup_fd(number, warn_on_full_buffer=False)
    except (AttributeError, ValueError, OSError):
        return lambda: None
    if before not in (-1, number):  # Somebody else wants to be woken; that must go on.
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        return lambda: None

    def undo() -> None:
        with contextlib.suppress(ValueError, OSError):  # Not in the main thread, or the loop is closed.
            if signal.set_wakeup_fd(before) != number:
                signal.set_wakeup_fd(before)

    return undo


class InsteadOfCell:
    """A cell that was interrupted before its code began raises that instead of running.

    IPython takes an interrupt in a ``pre_run_cell`` function for an error of that, shows it, and runs the cell.

    Parameters
    ----------
    shell
        The IPython shell, which is about to run the cell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        shell.ast_transformers.append(self)
        shell.events.register("post_run_cell", self._undo)  # Of a cell that does not compile, too.

    def visit(self, tree: ast.Module) -> ast.Module:
        """Return the cell with `raise KeyboardInterrupt` in the place of its statements."""
        raised = ast.Raise(exc=ast.Name("KeyboardInterrupt", ast.Load()), cause=None)
        if tree.body:
            ast.copy_location(raised, tree.body[0])
        tree.body = [raised]
        return ast.fix_missing_locations(tree)

    def _undo(self, _: Any) -> None:
        self._shell.events.unregister("post_run_cell", self._undo)
        self._shell.ast_transformers.remove(self)
