"""``%load_ext jupyter_ray`` and ``%unload_ext jupyter_ray``.

Loading returns at once: the shell gets the magics' names, and a thread imports and opens the rest. Whatever needs the
rest waits for it: a magic, the first task, and the next cell, which therefore finds everything in its place.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jupyter_ray.engine import context
from jupyter_ray.interrupts import Flag
from jupyter_ray.ipython import completions, interrupts, signatures
from jupyter_ray.ipython.magics import RayMagics

if TYPE_CHECKING:
    from jupyter_ray.ipython.commands import Commands
    from jupyter_ray.ipython.notebook import Notebook

_ATTRIBUTE = "_jupyter_ray_extension"


class Extension(threading.Thread):
    """What is loaded into one shell; the thread makes the slow part.

    Parameters
    ----------
    shell
        The IPython shell.
    """

    def __init__(self, shell: Any) -> None:
        super().__init__(name="jupyter_ray load", daemon=True)
        self.shell = shell
        self._commands: Commands | None = None
        self._notebook: Notebook | None = None
        self._error: BaseException | None = None
        self._loaded = Flag()  # An interrupted `join` takes the thread for ended.
        kernel = getattr(shell, "kernel", None)
        self._undo_interrupts = interrupts.install(kernel)  # Only the main thread may.
        self._request: dict[str, Any] | None = getattr(kernel, "get_parent", lambda: None)()  # Its thread cannot tell.
        shell.register_magics(RayMagics(shell, self.commands))
        shell.input_transformers_cleanup.append(_help_without_a_cell)
        self._undo_completions = completions.install(shell, self.commands)
        self._undo_signatures = signatures.install(shell)
        shell.events.register("pre_run_cell", self._wait_once)
        shell.events.register("pre_run_cell", self._begin_cell)
        shell.events.register("post_run_cell", self._end_cell)
        self._undo_display = _before_display(shell.displayhook, self._show_output)
        self.start()
        self._cell_source = context.set_cell_source(self._current_cell)  # Who asks it waits for the thread.

    def run(self) -> None:
        """Import and open the rest."""
        try:
            from jupyter_ray.ipython.commands import Commands
            from jupyter_ray.ipython.notebook import Notebook

            notebook = Notebook(self.shell, self._request)
            notebook.open()
            self._notebook = notebook
            self._commands = Commands(self.shell, notebook)
        except BaseException as error:
            self._error = error
        finally:
            self._loaded.set()

    def notebook(self) -> Notebook:
        """Return what was added to the shell, once it is there."""
        if threading.current_thread() is not self:
            self._loaded.wait()
        if self._notebook is None:
            raise RuntimeError(f"jupyter_ray could not be loaded: {self._error!r}") from self._error
        return self._notebook

    def commands(self) -> Commands:
        """Return what the magics do, once it is there."""
        self.notebook()
        assert self._commands is not None
        return self._commands

    def close(self) -> None:
        """Take everything out of the shell again. A session in use goes on; a runtime that nobody has used ends."""
        with contextlib.suppress(RuntimeError):
            self.notebook().close()
        self._stop_waiting()
        self.shell.events.unregister("pre_run_cell", self._begin_cell)
        self.shell.events.unregister("post_run_cell", self._end_cell)
        self._undo_display()
        self._undo_completions()
        self._undo_signatures()
        self._undo_interrupts()
        context.set_cell_source(self._cell_source)
        with contextlib.suppress(ValueError):
            self.shell.input_transformers_cleanup.remove(_help_without_a_cell)
        manager = self.shell.magics_manager
        for kind, names in (("line", ("remote", "ray")), ("cell", ("remote",))):
            for name in names:
                manager.magics[kind].pop(name, None)
        manager.registry.pop(RayMagics.__name__, None)

    def _current_cell(self) -> str | None:
        return self.notebook().cells.current()

    def _wait_once(self, _: Any) -> None:
        try:
            self._loaded.wait()
        except KeyboardInterrupt:
            interrupts.InsteadOfCell(self.shell)
            return
        self._stop_waiting()
        self.notebook()

    def _begin_cell(self, _: Any) -> None:
        if self._notebook is not None:
            self._notebook.begin_cell()

    def _show_output(self) -> None:
        """See that what the cell waited for has been printed before its value is shown, and before it ends."""
        if self._notebook is not None:
            self._notebook.show_output()

    def _end_cell(self, _: Any) -> None:
        if self._notebook is not None:
            self._notebook.end_cell()

    def _stop_waiting(self) -> None:
        with contextlib.suppress(ValueError):
            self.shell.events.unregister("pre_run_cell", self._wait_once)


def load_ipython_extension(shell: Any) -> None:
    """Add the magics, the output, the errors and the panel's end to an IPython shell; again: nothing happens."""
    if getattr(shell, _ATTRIBUTE, None) is None:
        setattr(shell, _ATTRIBUTE, Extension(shell))


def unload_ipython_extension(shell: Any) -> None:
    """Take everything out of the shell again. A session in use goes on; a runtime that nobody has used ends."""
    extension: Extension | None = getattr(shell, _ATTRIBUTE, None)
    if extension is not None:
        setattr(shell, _ATTRIBUTE, None)
        extension.close()


def _before_display(hook: Any, call: Callable[[], None]) -> Callable[[], None]:
    """Have `call` called before a cell's value is shown; return the undo."""
    begin = hook.start_displayhook

    def start() -> None:
        call()
        begin()

    def undo() -> None:
        if hook.__dict__.get("start_displayhook") is start:
            del hook.start_displayhook

    hook.start_displayhook = start
    return undo


def _help_without_a_cell(lines: list[str]) -> list[str]:
    """Make ``%%remote --help`` work alone in a cell: IPython refuses a cell magic that has nothing below it."""
    first, rest = (lines[0] if lines else ""), lines[1:]
    is_help = first.startswith("%%remote ") and ("--help" in first.split() or "-h" in first.split())
    return [first[1:]] if is_help and not "".join(rest).strip() else lines
