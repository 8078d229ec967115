"""``ray._private.client_mode_hook``: whether calls go through Ray Client. A session's calls are the same here in any case."""

from __future__ import annotations


def is_client_mode_enabled() -> bool:
    """Tell whether this process speaks to its session through Ray Client: never, as its programs see it."""
    return False


client_mode_should_convert = is_client_mode_enabled
