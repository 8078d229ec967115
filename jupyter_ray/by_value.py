"""The program's own functions and classes, in the processes that a task starts with multiprocessing.

multiprocessing sends them by name, to be found in ``__main__``. That is the program where it is at home; a worker has
none of it there. So they go by value, out of a worker and out of the processes that got some so.
"""

from __future__ import annotations

import types
from typing import Any


def send_definitions() -> None:
    """Have multiprocessing send the functions and classes of ``__main__`` by value."""
    import multiprocessing.reduction as sending

    pickler: Any = sending.ForkingPickler
    pickler.reducer_override = _reduce


def _reduce(pickler: Any, value: Any) -> Any:
    if not (isinstance(value, types.FunctionType | type) and value.__module__ == "__main__"):
        return NotImplemented
    import cloudpickle

    return load_definition, (cloudpickle.dumps(value),)


def load_definition(data: bytes) -> Any:
    """Return a function or class that came by value; what is sent back goes so, too."""
    import cloudpickle

    send_definitions()
    return cloudpickle.loads(data)
