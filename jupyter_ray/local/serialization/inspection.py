"""Why a value cannot be pickled: the path to the culprit, in the words of the program.

Only called when pickling has failed. It walks the value as a reader would, pickling each part, down to the smallest
part that fails. Source of the idea: Ray's ``inspect_serializability``.
"""

from __future__ import annotations

import inspect
import itertools
import pickle
import types
from collections.abc import Iterator, Mapping
from typing import Any

from jupyter_ray.engine.refs import ActorRef, ObjectRef
from jupyter_ray.engine.travel import StaleReferenceError
from jupyter_ray.local.serialization import values
from jupyter_ray.local.serialization.depth import is_too_deep

_DEPTH = 12
_PARTS = 1000


def unpicklable(value: Any, error: BaseException, what: str, start: str) -> Exception:
    """Return the error to raise for a value that did not pickle.

    Parameters
    ----------
    value
        The value.
    error
        What the pickler said.
    what
        What it is, for the reader: ``the argument 'x' of f``.
    start
        How a path begins: ``x``.
    """
    if is_too_deep(error):  # Each part of it is too deep as well, and the path to the last one tells nothing.
        return TypeError(
            f"Could not serialize {what}, {_describe(value)}: it is nested too deeply for pickle, or refers to more of "
            "its kind without end. Keep its parts in a flat list, where they refer to each other by number."
        )
    path, culprit, reason = _descend(value, error, start)
    path = path.removeprefix(f"{start}, ")
    if isinstance(reason, StaleReferenceError):
        holder = f"{path}: " if path != start else ""
        return StaleReferenceError(reason, f"Could not serialize {what}: {holder}")
    where = f": {path} is {_describe(culprit)}" if path != start else f", {_describe(culprit)}"
    return TypeError(f"Could not serialize {what}{where} ({_first_line(reason)}). {_remedy(culprit) or _REMEDY}")


_REMEDY = "Leave it out, create it inside the task, or give its class a __reduce__."
_CONNECTION = "Open the connection inside the task."
_MODULE = "Write it into a module (a .py file) of your own, and import that."
_FILE = "Pass the path, and open the file inside the task."
_DATA = "Pass the arrays, and make it inside the task."
_CLIENT = "Make the client inside the task, or keep it in an actor."
_REMEDIES = {
    "tqdm": "Move the bar in the notebook, as results come (ray.wait); in tasks use jupyter_ray.experimental.tqdm_ray.",
    "ipywidgets": "It lives in the notebook: change it there, as results come (ray.wait).",
    "_io": _FILE,
    "h5py": _FILE,
    "sqlite3": _CONNECTION,
    "_duckdb": _CONNECTION,
    "duckdb": _CONNECTION,
    "psycopg": _CONNECTION,
    "psycopg2": _CONNECTION,
    "pymongo": _CONNECTION,
    "pymysql": _CONNECTION,
    "redis": _CONNECTION,
    "sqlalchemy.orm.decl_api": _MODULE,
    "sqlalchemy": _CONNECTION,
    "aiohttp": _CLIENT,
    "httpx": _CLIENT,
    "lightgbm": _DATA,
    "xgboost": _DATA,
    "numba": _MODULE,
    "torch.jit": "Save it with torch.jit.save to a file, and load it inside the task.",
    "_asyncio": "Await it, and pass what it returns.",
    "_contextvars": "Pass its value.",
}
"""What to do about classes of these packages and modules; what they consist of tells nobody anything."""


def _remedy(value: Any) -> str:
    """Return what to do about a part that people often pass, or ``""``."""
    if isinstance(value, types.GeneratorType):
        return "Pass list(...) of it."
    if isinstance(value, types.CoroutineType):
        return "Await it, and pass what it returns."
    for kind in type(value).__mro__:
        module = kind.__module__
        while module:
            if module in _REMEDIES:
                return _REMEDIES[module]
            module = module.rpartition(".")[0]
    return ""


def _descend(value: Any, error: BaseException, path: str) -> tuple[str, Any, BaseException]:
    seen: set[int] = set()
    for _ in range(_DEPTH):
        if isinstance(value, ObjectRef | ActorRef) or _refuses(value) or _remedy(value):
            break
        seen.add(id(value))
        for step, part in _parts(value):
            if id(part) in seen:
                continue
            found = _error_of(part)
            if found is not None:
                path, value, error = _join(path, step), part, found
                break
        else:
            break
    return path, value, error


def _join(path: str, step: str) -> str:
    if step[0] not in ".[":
        return f"{path}, {step}"
    return f"{path[:-1]}{step}'" if path.endswith("'") else path + step


def _error_of(value: Any) -> BaseException | None:
    try:
        values.dumps(value)
    except Exception as error:
        return error
    return None


def _refuses(value: Any) -> bool:
    """Tell whether it is the value's own class that does not let it be pickled, whatever its parts are."""
    ways = (getattr(type(value), name, None) for name in ("__getstate__", "__reduce__", "__reduce_ex__"))
    if any(isinstance(way, types.FunctionType) for way in ways):
        try:
            value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        except Exception:
            return True
    return False


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a value, each with the step that leads to it."""
    if isinstance(value, types.FunctionType):
        yield from _function_parts(value)
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
    elif isinstance(value, type):
        for name, part in list(vars(value).items())[:_PARTS]:
            if name not in ("__dict__", "__weakref__", "__doc__"):
                yield f".{name}", part
    elif isinstance(value, Mapping):
        for key, part in itertools.islice(value.items(), _PARTS):
            yield f"[{key!r:.60}]", part
    elif isinstance(value, list | tuple | set | frozenset):
        for number, part in enumerate(itertools.islice(value, _PARTS)):
            yield f"[{number}]", part
    else:
        yield from _attributes(value)


def _function_parts(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    name = function.__name__
    try:
        free = inspect.getclosurevars(function)
    except (TypeError, ValueError):
        return
    for key, part in free.nonlocals.items():
        yield f"the variable of its closure '{key}'", part
    for key, part in free.globals.items():
        yield f"the global variable '{key}'", part
    for number, part in enumerate(function.__defaults__ or ()):
        yield f"default value {number + 1} of {name}", part


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from ((f".{name}", part) for name, part in list(getattr(value, "__dict__", {}).items())[:_PARTS])
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                yield f".{name}", getattr(value, name)


def _describe(value: Any) -> str:
    kind = type(value)
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    return f"of type {module}{kind.__qualname__}"


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
