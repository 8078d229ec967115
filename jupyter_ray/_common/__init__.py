"""Ray's ``ray._common``: of it, what people who write programs for Ray take into their own tests."""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = ("constants", "network_utils", "ray_constants", "retry", "signature", "test_utils", "utils")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    from jupyter_ray.not_offered import absent

    raise absent(__name__, name)
