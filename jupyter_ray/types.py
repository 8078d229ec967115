"""Ray's ``ray.types``."""

from __future__ import annotations

from jupyter_ray.engine.refs import ObjectRef

__all__ = ["ObjectRef"]
