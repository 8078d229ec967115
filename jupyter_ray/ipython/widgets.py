"""Output widgets: what tasks print and display while one is open (``with out: ray.get(ref)``) is there when it closes.

The page gives a widget what comes for its cell until the widget closes. What comes later is the cell's, or nobody's if
the click of a button has asked for it. So what has come is shown before a widget opens or closes, as at a cell's end.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from jupyter_ray.engine.shell_watch import when_imported

_MODULE = "ipywidgets.widgets.widget_output"


def install(settle: Callable[[], None]) -> Callable[[], None]:
    """Have `settle` called before an output widget opens, and before it closes; return the undo."""
    originals: dict[str, Any] = {}
    undone = False

    def patch() -> None:
        kind = sys.modules[_MODULE].Output
        for name in () if undone else ("__enter__", "__exit__"):
            originals[name] = getattr(kind, name)
            setattr(kind, name, settled(originals[name]))

    def settled(original: Any) -> Any:
        @functools.wraps(original)
        def call(*args: Any) -> Any:
            settle()
            return original(*args)

        return call

    def undo() -> None:
        nonlocal undone
        undone = True
        for name, original in originals.items():
            setattr(sys.modules[_MODULE].Output, name, original)

    when_imported(_MODULE, patch)
    return undo
