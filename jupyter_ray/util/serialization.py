"""Ray's ``ray.util.serialization``."""

from __future__ import annotations

from jupyter_ray.util.helpers import deregister_serializer, register_serializer

__all__ = ["deregister_serializer", "register_serializer"]
