"""``%load_ext jupyter_ray`` and ``%unload_ext jupyter_ray``.

Loading must return in under 100 ms, so nothing is started here but threads that rest: the runtime's process starts in
the background, and binds to its resources at the first use.
"""

from __future__ import annotations

import contextlib
from typing import Any

from jupyter_ray.ipython.magics import RayMagics
from jupyter_ray.ipython.notebook import Notebook

_ATTRIBUTE = "_jupyter_ray_notebook"


def load_ipython_extension(shell: Any) -> None:
    """Add the magics, the output, the errors and the panel's end to an IPython shell; again: nothing happens."""
    if getattr(shell, _ATTRIBUTE, None) is not None:
        return
    notebook = Notebook(shell)
    notebook.open()
    shell.register_magics(RayMagics(shell, notebook))
    shell.input_transformers_cleanup.append(_help_without_a_cell)
    setattr(shell, _ATTRIBUTE, notebook)


def _help_without_a_cell(lines: list[str]) -> list[str]:
    """Make ``%%remote --help`` work alone in a cell: IPython refuses a cell magic that has nothing below it."""
    first, rest = (lines[0] if lines else ""), lines[1:]
    is_help = first.startswith("%%remote ") and ("--help" in first.split() or "-h" in first.split())
    return [first[1:]] if is_help and not "".join(rest).strip() else lines


def unload_ipython_extension(shell: Any) -> None:
    """Take everything out of the shell again. A session in use goes on; a runtime that nobody has used ends."""
    notebook = getattr(shell, _ATTRIBUTE, None)
    if notebook is None:
        return
    setattr(shell, _ATTRIBUTE, None)
    notebook.close()
    with contextlib.suppress(ValueError):
        shell.input_transformers_cleanup.remove(_help_without_a_cell)
    magics = shell.magics_manager.magics
    for kind, names in (("line", ("remote", "ray")), ("cell", ("remote",))):
        for name in names:
            magics[kind].pop(name, None)
    shell.magics_manager.registry.pop(RayMagics.__name__, None)
