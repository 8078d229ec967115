"""Ray's ``ray._common.ray_constants``: of it, what is true here."""

from __future__ import annotations

DEFAULT_MAX_CONCURRENCY_ASYNC = 1000
"""So many calls of an actor with async methods run at once, if it does not say."""
