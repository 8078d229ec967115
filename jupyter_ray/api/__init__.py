"""Ray Core's interface, on whatever engine runs. Validates what users write, and hands it to the engine's port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_ray.engine import registry

if TYPE_CHECKING:
    from jupyter_ray.engine.base import Engine


def _start() -> Engine:
    from jupyter_ray.api.init import start_at_first_use

    return start_at_first_use()


registry.set_starter(_start)
