"""Of Ray's inside, what libraries for Ray Core take from there: a few functions that have public ones beside them."""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = (
    "async_compat", "auto_init_hook", "client_mode_hook", "inspect_util", "internal_api", "label_utils", "profiling",
    "ray_constants", "ray_microbenchmark_helpers", "services", "state", "test_utils", "utils", "worker",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    from jupyter_ray.not_offered import absent

    raise absent(__name__, name)
