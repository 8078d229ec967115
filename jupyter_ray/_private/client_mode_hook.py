"""``ray._private.client_mode_hook``: whether calls go through Ray Client. Programs need not know that here."""

from __future__ import annotations

is_client_mode_enabled = False
is_client_mode_enabled_by_default = False


def client_mode_should_convert() -> bool:
    """Tell whether this process speaks to its session through Ray Client."""
    return False
