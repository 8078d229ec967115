"""What a notebook or script defines, found by its name in a worker: `pickle`, `torch.save` and joblib look there.

They write ``__main__.Net`` for a class of the notebook's, and its ``__main__`` is another process's. So what has come
here by value can be had of this one's by its name, as long as somebody uses it.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

from cloudpickle import cloudpickle

_known: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def install() -> None:
    """Let the module ``__main__`` of this process have what has come."""
    vars(sys.modules["__main__"])["__getattr__"] = _find


def note(value: Any) -> None:
    """A function or class has come that stands at the top level of its module."""
    if value.__module__ == "__main__":
        _known[value.__name__] = value


def is_top_level(value: Any) -> bool:
    """Tell whether a function or class is one that ``__main__`` may have under its name."""
    return bool(value.__module__ == "__main__" and value.__qualname__ == value.__name__)


def set_function_state(function: Any, state: Any) -> None:
    """Complete a function that has come, and note it."""
    cloudpickle._function_setstate(function, state)
    note(function)


def _find(name: str) -> Any:
    found = _known.get(name)
    if found is None:
        raise AttributeError(f"module '__main__' has no attribute {name!r}")
    return found
