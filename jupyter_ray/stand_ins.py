"""What of Ray's libraries must be there so that libraries for Ray Core can be imported: ``ray.data`` for Modin.

They import these names at their top, and use them only where somebody works with Ray's libraries too. Only who makes
this package stand for Ray (``alias.py``) finds them. Each says, when it is called, that it is not offered.
"""

from __future__ import annotations

import types
from typing import Any, NoReturn

from jupyter_ray.not_offered import refusing, why_absent

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
    why = why_absent(_PACKAGE, name.split(".")[1]) or ""

    def absent(attribute: str) -> NoReturn:
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}: {why}", name=attribute)

    made.__dict__.update({each: refusing(name, each, why) for each in _REFUSING.get(name, ())})
    made.__dict__.update(_WORKING.get(name, {}), __getattr__=absent)
    return made


def _no_session() -> None:
    """Return the session of Ray Train that this process is part of: none."""


class _Settings(types.SimpleNamespace):
    """Settings of Ray Data, which may be written and which nobody reads: dagster-ray writes them in each process."""

    @classmethod
    def for_limits(cls, **limits: Any) -> _Settings:
        """Return limits of resources."""
        return cls(**limits)

    @classmethod
    def get_current(cls) -> _Settings:
        """Return the settings of this process."""
        return _current


_current = _Settings(execution_options=_Settings())

_WORKING: dict[str, dict[str, Any]] = {
    "ray.data": {"DataContext": _Settings, "DatasetContext": _Settings, "ExecutionResources": _Settings},
    # What xgboost_ray and lightgbm_ray ask in each process, to learn whether Ray Tune started it.
    "ray.train._internal.session": {"get_session": _no_session},
}
