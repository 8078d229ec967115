"""Ray's ``ray.util.multiprocessing``."""

from __future__ import annotations

from jupyter_ray.util.multiprocessing.pool import AsyncResult, IMapIterator, Pool, TimeoutError

__all__ = ["AsyncResult", "IMapIterator", "Pool", "TimeoutError"]
