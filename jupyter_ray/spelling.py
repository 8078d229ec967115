"""What a name that is not there may have been meant to be."""

from __future__ import annotations

from collections.abc import Iterable

_NOW = {
    "num_return_vals": "num_returns",
    "max_reconstructions": "max_restarts",
    "redis_address": "address",
    "include_webui": "include_dashboard",
    "webui_host": "dashboard_host",
    "num_workers": "num_cpus",
}
"""Options of older versions of Ray, and what they are called now: some are far from it."""

_GONE = frozenset({
    "start_ray_local", "start_workers_from_local_scheduler", "num_local_schedulers", "num_redis_shards", "use_raylet",
    "redis_max_memory", "redis_max_clients", "driver_mode", "huge_pages", "lru_evict", "use_pickle", "is_direct_call",
    "checkpoint_interval",
})  # fmt: skip


def meant(name: str, valid: Iterable[str]) -> str:
    """Return a sentence that names the valid name nearest to `name`, with a space before it, or ``""``."""
    if name.startswith("_"):  # Asked for by Python and by displays, not by a user.
        return ""
    import difflib

    others = [one for one in valid if one != name and not one.startswith("__")]
    if name in _GONE and name not in valid:
        return f" {name} was an option of older versions of Ray: leave it out."
    now = _NOW.get(name)
    near = [now] if now in others else difflib.get_close_matches(name, others, 1)
    return f" Did you mean {near[0]!r}?" if near else ""


def no_option(name: str, valid: Iterable[str], where: str) -> str:
    """Return the message for an option that is not one of the `valid` ones; `where` says of what."""
    return f"Invalid option keyword {name}{where}.{meant_option(name, valid)}"


def meant_option(name: str, valid: Iterable[str]) -> str:
    """Return what follows the name of an option that is not one of the `valid` ones: those, and the nearest."""
    return f"{meant(name, valid)} Valid ones are {list(valid)}."
