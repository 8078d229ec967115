"""Ray's ``ray.experimental``: of it, progress bars, where objects are, and values by key (``internal_kv``)."""

from __future__ import annotations

from jupyter_ray.experimental.locations import get_local_object_locations, get_object_locations

__all__ = ["get_local_object_locations", "get_object_locations"]


def __getattr__(name: str) -> object:
    import importlib

    if name in ("internal_kv", "tqdm_ray"):
        return importlib.import_module(f"jupyter_ray.experimental.{name}")
    raise AttributeError(f"module 'jupyter_ray.experimental' has no attribute {name!r}")
