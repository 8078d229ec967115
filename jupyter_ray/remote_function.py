"""Ray's ``ray.remote_function``."""

from __future__ import annotations

from jupyter_ray.api.remote import RemoteFunction

__all__ = ["RemoteFunction"]
