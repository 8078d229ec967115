"""Ray's ``ray.util``: built on the public interface only. Names are imported at their first use."""

# No `from __future__ import annotations` here: that would be what `ray.util.annotations` means.
from typing import TYPE_CHECKING, Any

from jupyter_ray.not_offered import absent as _absent

# Not lazy: the function has the name of its module, and must be what `ray.util.placement_group` means.
from jupyter_ray.util.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

if TYPE_CHECKING:
    from jupyter_ray.util import (
        accelerators,
        annotations,
        debug,
        metrics,
        multiprocessing,
        pdb,
        queue,
        scheduling_strategies,
        serialization,
        state,
    )
    from jupyter_ray.util.actor_pool import ActorPool
    from jupyter_ray.util.check_serialize import inspect_serializability
    from jupyter_ray.util.helpers import (
        as_completed,
        deregister_serializer,
        disable_log_once_globally,
        enable_periodic_logging,
        get_node_instance_id,
        get_node_ip_address,
        list_named_actors,
        log_once,
        map_unordered,
        register_serializer,
    )

_HELPERS = (
    "as_completed",
    "deregister_serializer",
    "disable_log_once_globally",
    "enable_periodic_logging",
    "get_node_instance_id",
    "get_node_ip_address",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "register_serializer",
)
_MODULES = frozenset(
    {
        "accelerators",
        "actor_pool",
        "annotations",
        "check_serialize",
        "debug",
        "joblib",
        "metrics",
        "multiprocessing",
        "pdb",
        "queue",
        "scheduling_strategies",
        "serialization",
        "state",
    }
)
_HOME_OF = {
    "ActorPool": "actor_pool",
    "inspect_serializability": "check_serialize",
    **dict.fromkeys(_HELPERS, "helpers"),
}

__all__ = [
    "ActorPool",
    "PlacementGroup",
    "accelerators",
    "annotations",
    "as_completed",
    "debug",
    "deregister_serializer",
    "disable_log_once_globally",
    "enable_periodic_logging",
    "get_current_placement_group",
    "get_node_instance_id",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "metrics",
    "multiprocessing",
    "pdb",
    "placement_group",
    "placement_group_table",
    "queue",
    "register_serializer",
    "remove_placement_group",
    "scheduling_strategies",
    "serialization",
    "state",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"jupyter_ray.util.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise _absent(__name__, name)
    return getattr(importlib.import_module(f"jupyter_ray.util.{home}"), name)


def __dir__() -> list[str]:
    return __all__
