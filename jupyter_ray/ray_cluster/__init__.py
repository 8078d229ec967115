"""The engine on a real Ray cluster: the port of `engine.base`, on the package ``ray``.

``ray`` is imported when the engine starts, and nowhere else: the rest of the package works without it.
"""

from __future__ import annotations

import os

# How often a waiting `get` looks whether the user has interrupted it, in milliseconds. Ray reads it when imported.
os.environ.setdefault("RAY_get_check_signal_interval_milliseconds", "50")
