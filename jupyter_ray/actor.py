"""Ray's ``ray.actor``: the classes behind actors, and `exit_actor`."""

from __future__ import annotations

from jupyter_ray.api.actors import ActorClass, ActorClassInheritanceException
from jupyter_ray.api.handles import ActorHandle, ActorMethod, exit_actor
from jupyter_ray.api.methods import method

__all__ = ["ActorClass", "ActorClassInheritanceException", "ActorHandle", "ActorMethod", "exit_actor", "method"]
