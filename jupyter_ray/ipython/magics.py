"""The magics' names: ``%%remote``, ``%remote`` and ``%ray``. What they do is in `commands`.

``%load_ext`` imports this module and must be quick, so it imports nothing of this package.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class

if TYPE_CHECKING:
    from jupyter_ray.ipython.commands import Commands


@magics_class
class RayMagics(Magics):
    """The magics of one shell.

    Parameters
    ----------
    shell
        The IPython shell.
    commands
        Returns what the magics do, once it is loaded.
    """

    def __init__(self, shell: Any, commands: Callable[[], Commands]) -> None:
        super().__init__(shell)
        self._commands = commands

    @line_cell_magic
    def remote(self, line: str, cell: str | None = None) -> Any:
        """Run a cell, or an expression, as a task; ``%%remote --help`` tells more."""
        return self._commands().remote(line, cell, sys._getframe(1))

    @line_magic
    def ray(self, line: str) -> None:
        """Control the runtime; ``%ray --help`` tells more."""
        self._commands().ray(line)
