"""Ray's ``ray.experimental``: of it, progress bars, where objects are, and values by key (``internal_kv``)."""

from __future__ import annotations

from typing import NoReturn

from jupyter_ray.experimental.locations import get_local_object_locations, get_object_locations
from jupyter_ray.not_offered import absent as _absent

__all__ = ["get_local_object_locations", "get_object_locations", "set_resource"]


def set_resource(resource_name: str, capacity: float, node_id: str | None = None) -> NoReturn:
    """Raise a DeprecationWarning (as in Ray): what there is was said by `init`."""
    raise DeprecationWarning(
        f"The amount of {resource_name} cannot be changed any more while a session runs. Say it to "
        "init(resources=...), and reserve a part of it with a placement group."
    )


def __getattr__(name: str) -> object:
    import importlib

    if name in ("internal_kv", "tqdm_ray"):
        return importlib.import_module(f"jupyter_ray.experimental.{name}")
    raise _absent(__name__, name)
