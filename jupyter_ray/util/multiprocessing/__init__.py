"""Ray's ``ray.util.multiprocessing``."""

from __future__ import annotations

from multiprocessing import JoinableQueue

from jupyter_ray.util.multiprocessing.pool import AsyncResult, IMapIterator, Pool, TimeoutError

__all__ = ["AsyncResult", "IMapIterator", "JoinableQueue", "Pool", "TimeoutError"]
