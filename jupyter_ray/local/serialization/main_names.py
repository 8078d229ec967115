"""What a notebook or script defines, found by its name in a worker: `pickle`, `torch.save` and joblib look there.

They write ``__main__.Net`` for a class of the notebook's, and its ``__main__`` is another process's. So what has come
here by value can be had of this one's by its name, as long as somebody uses it.

And a function of the notebook's that comes back to it (a model's loss) is the notebook's own, unless it was defined
anew since: a copy would have globals of its own.
"""

from __future__ import annotations

import sys
import weakref
from types import CodeType, FunctionType
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


def function_reduced(reduced: Any, function: FunctionType) -> Any:
    """Return how a function at the top level is pickled, after what cloudpickle says of it."""
    make, arguments, state, *_, set_state = reduced
    if make is not cloudpickle._make_function or set_state is not cloudpickle._function_setstate:
        return reduced
    return _function, (function.__name__, *arguments), state, None, None, _set_function_state


def _function(name: str, code: CodeType, *others: Any) -> Any:
    own = _own(name)
    return own if own is not None and own.__code__ == code else cloudpickle._make_function(code, *others)


def _set_function_state(function: Any, state: Any) -> None:
    if function is not _own(function.__name__):
        cloudpickle._function_setstate(function, state)
        note(function)


def _own(name: str) -> FunctionType | None:
    """Return the function that this program has defined under a name."""
    found = vars(sys.modules["__main__"]).get(name)
    found = getattr(found, "_function", found)  # Of a remote function.
    return found if isinstance(found, FunctionType) and found.__module__ == "__main__" else None


def _find(name: str) -> Any:
    found = _known.get(name)
    if found is None:
        raise AttributeError(f"module '__main__' has no attribute {name!r}")
    return found
