"""``ray.util.pdb``: the debugger, where there is a terminal. A task has none, and says so."""

from __future__ import annotations

import sys
from typing import Any

from jupyter_ray.api import debugger
from jupyter_ray.engine import registry


def set_trace(breakpoint_uuid: Any = None) -> None:
    """Stop in the debugger at the line of the call.

    Raises
    ------
    RuntimeError
        This is a task or an actor: its process has no terminal. ``PYTHONBREAKPOINT`` may name another debugger.

    Notes
    -----
    Source: Ray's ``ray.util.pdb.set_trace``.
    """
    engine = registry.current()
    if engine is not None and not engine.process.is_driver:
        sys.breakpointhook()
    else:
        debugger.stop(sys._getframe().f_back)
