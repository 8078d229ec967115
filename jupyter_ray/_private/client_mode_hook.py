"""``ray._private.client_mode_hook``: whether calls go through Ray Client. Programs need not know that here."""

from __future__ import annotations


def is_client_mode_enabled() -> bool:
    """Tell whether this process speaks to its session through Ray Client."""
    return False


client_mode_should_convert = is_client_mode_enabled
