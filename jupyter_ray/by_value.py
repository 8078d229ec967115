"""The program's own functions and classes, in the processes that a task starts with multiprocessing.

multiprocessing sends them by name, to be found in ``__main__``. That is the program where it is at home; a worker has
none of it there. So they go by value, out of a worker and out of the processes that got some so.

And what stands for an object of a `multiprocessing.Manager` goes with the key that opens the manager. By itself it
leaves that to the key of the process, which one has got from its parent: a worker has another parent than the program.
"""

from __future__ import annotations

import io
import sys
import types
from typing import Any

_MANAGERS = ("multiprocessing.managers", "multiprocess.managers")


def send_definitions() -> None:
    """Have multiprocessing send the functions and classes of ``__main__`` by value."""
    import multiprocessing.reduction as sending

    pickler: Any = sending.ForkingPickler
    pickler.reducer_override = _reduce


def _reduce(pickler: Any, value: Any) -> Any:
    if isinstance(value, proxies()):
        return with_key(value)
    if not (isinstance(value, types.FunctionType | type) and value.__module__ == "__main__"):
        return NotImplemented
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            return with_key(obj) if isinstance(obj, proxies()) else super().reducer_override(obj)

    with io.BytesIO() as file:
        Pickler(file).dump(value)
        return load_definition, (file.getvalue(),)


def proxies() -> tuple[type, ...]:
    """Return the base classes of what stands for an object of a manager, where anybody has imported them."""
    found = (getattr(sys.modules.get(name), "BaseProxy", None) for name in _MANAGERS)
    return tuple(each for each in found if each is not None)


def with_key(proxy: Any) -> Any:
    """Return how what stands for an object of a manager is pickled."""
    make, arguments, *others = proxy.__reduce__()
    if make.__module__ not in _MANAGERS or len(arguments) != 4:  # A class of the program's has its own way.
        return (make, arguments, *others)
    *which, options = arguments
    return make, (*which, {**options, "authkey": bytes(proxy._authkey)})


def load_definition(data: bytes) -> Any:
    """Return a function or class that came by value; what is sent back goes so, too."""
    import cloudpickle

    send_definitions()
    return cloudpickle.loads(data)
