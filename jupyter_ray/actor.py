"""Ray's ``ray.actor``: the classes behind actors, and `exit_actor`."""

from __future__ import annotations

from typing import Any, TypeVar

from jupyter_ray.api.actors import ActorClass, ActorClassInheritanceException
from jupyter_ray.api.handles import ActorHandle, ActorMethod, exit_actor
from jupyter_ray.api.methods import method

T = TypeVar("T")

ActorProxy = ActorHandle[T] | type[T]
"""What a variable that has a handle may be annotated with: ``ActorProxy[Counter]``."""

__all__ = [
    "ActorClass",
    "ActorClassInheritanceException",
    "ActorHandle",
    "ActorMethod",
    "ActorProxy",
    "exit_actor",
    "method",
]


def __getattr__(name: str) -> Any:
    from jupyter_ray.not_offered import absent

    raise absent(__name__, name)
