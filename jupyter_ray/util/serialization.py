"""Ray's ``ray.util.serialization``."""

from __future__ import annotations

from jupyter_ray.util.helpers import deregister_serializer, register_serializer

__all__ = ["StandaloneSerializationContext", "deregister_serializer", "register_serializer"]


class StandaloneSerializationContext:
    """``with StandaloneSerializationContext():`` values can be pickled without a session, as they can here anyway."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *raised: object) -> None:
        pass
