"""``%load_ext jupyter_ray`` and ``%unload_ext jupyter_ray``.

Loading must return in under 100 ms, so nothing is started here but threads that rest: the runtime's process starts in
the background, and binds to its resources at the first use.
"""

from __future__ import annotations

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
    setattr(shell, _ATTRIBUTE, notebook)


def unload_ipython_extension(shell: Any) -> None:
    """Take everything out of the shell again. A session in use goes on; a runtime that nobody has used ends."""
    notebook = getattr(shell, _ATTRIBUTE, None)
    if notebook is None:
        return
    setattr(shell, _ATTRIBUTE, None)
    notebook.close()
    magics = shell.magics_manager.magics
    for kind, names in (("line", ("remote", "ray")), ("cell", ("remote",))):
        for name in names:
            magics[kind].pop(name, None)
    shell.magics_manager.registry.pop(RayMagics.__name__, None)
