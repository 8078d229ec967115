"""What of Ray's libraries must be there so that libraries for Ray Core can be imported: ``ray.data`` for Modin, and so on.

They import these names at their top, and use them only where somebody works with Ray's libraries too. Only who makes this
package stand for Ray (``alias.py``) finds them. Each says, when it is called, that it is not offered.
"""

from __future__ import annotations

import types
from typing import Any, NoReturn

from jupyter_ray.not_offered import why_absent

_PACKAGE = __name__.partition(".")[0]
_REFUSING = {"ray.data": ("Dataset", "from_arrow_refs", "from_pandas_refs")}
_PARENTS = ("ray.data", "ray.train", "ray.train._internal")


def module(name: str) -> types.ModuleType | None:
    """Return a module by Ray's name that holds what libraries import of it, or None if it is none of those."""
    if name not in _PARENTS and name not in _WORKING:
        return None
    made = types.ModuleType(name, "Not offered: it is there so that libraries which import it can be imported.")
    if name in _PARENTS:
        made.__path__ = []
    made.__dict__.update({each: _refusing(name, each) for each in _REFUSING.get(name, ())}, **_WORKING.get(name, {}))
    return made


def _refusing(module: str, name: str) -> type:
    why = why_absent(module.replace("ray", _PACKAGE, 1)) or f"{module} is not offered."

    def refuse(cls: type, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"{module}.{name}: {why}")

    return type(name, (), {"__new__": refuse, "__module__": module, "__doc__": why})


def _no_session() -> None:
    """Return the session of Ray Train that this process is part of: none."""


# What xgboost_ray and lightgbm_ray ask in each process, to learn whether Ray Tune started it.
_WORKING: dict[str, dict[str, Any]] = {"ray.train._internal.session": {"get_session": _no_session}}
