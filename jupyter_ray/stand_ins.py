"""What of Ray's libraries and inside must be there so that programs for Ray Core can be imported.

Libraries import ``ray.data`` at their top, and use it only where somebody works with Ray's libraries too; tests of
programs import Ray's inside beside what they use of it. Only who makes this package stand for Ray (``alias.py``) finds
these names. Each says, when it is called, that it is not offered.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

from jupyter_ray.not_offered import refusing, why_absent

_PACKAGE = __name__.partition(".")[0]
_REFUSING = {"ray.data": ("Dataset", "from_arrow_refs", "from_pandas_refs")}
_PARENTS = ("ray.data", "ray.train", "ray.train._internal")

_TREES = (
    *("ray.core", "ray.dashboard", "ray.util.client", "ray.autoscaler._private", "ray.autoscaler.v2"),
    *(f"ray._private.{name}" for name in (
        "accelerators", "arrow_serialization", "async_utils", "authentication", "authentication_test_utils",
        "collections_utils", "compat", "conftest_utils", "custom_types", "dict", "event", "external_storage",
        "function_manager", "gc_collect_manager", "gcs_pubsub", "gcs_utils", "grpc_utils", "log", "log_monitor",
        "logging_utils", "memory_monitor", "metrics_agent", "node", "object_ref_generator", "parameter", "path_utils",
        "process_watcher", "prometheus_exporter", "protobuf_compat", "ray_logging", "ray_perf",
        "resource_and_label_spec", "resource_isolation_config", "runtime_env", "serialization",
        "state_api_test_utils", "telemetry", "tensor_serialization_utils", "thirdparty", "workers",
    )),
    *(f"ray._common.{name}" for name in (
        "deprecation", "filters", "formatters", "logging_constants", "observability", "pydantic_compat",
        "ray_option_utils", "runtime_env_package", "runtime_env_uri", "serialization", "tls_utils", "usage",
    )),
)  # fmt: skip
"""Modules of Ray's inside, with all that is below them: which names they have is not known here."""


def module(name: str) -> types.ModuleType | None:
    """Return a module by Ray's name that holds what programs import of it, or None if it is none of those."""
    inside = is_inside(name)
    if not inside and name not in _PARENTS and name not in _WORKING:
        return None
    made = types.ModuleType(name, "Not offered: it is there so that programs which import it can be imported.")
    if inside or name in _PARENTS:
        made.__path__ = []
    why = why_absent(_PACKAGE, name.partition(".")[2]) or why_absent(_PACKAGE, name.split(".")[1]) or ""

    def absent(attribute: str) -> Any:
        if inside and not attribute.startswith("__"):
            return made.__dict__.setdefault(attribute, _Refusing(attribute, (refusing(name, attribute, why),), {}))
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}: {why}", name=attribute)

    made.__dict__.update({each: refusing(name, each, why) for each in _REFUSING.get(name, ())})
    made.__dict__.update(_WORKING.get(name, {}), __getattr__=absent)
    return made


def is_inside(name: str) -> bool:
    """Tell whether a module, by Ray's name, is of Ray's inside."""
    return any(name == tree or name.startswith(f"{tree}.") for tree in _TREES)


class _Refusing(type):
    """What is the class of names of Ray's inside: they may be classes, modules or enumerations, and have names, too."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}", name=name)
        return _Refusing(f"{cls.__name__}.{name}", (cls,), {})


@contextlib.contextmanager
def _directly(connect_to_client: bool) -> Iterator[None]:
    """Do what a block says in this session; a program that wants Ray Client between is told that there is none."""
    if connect_to_client:
        raise NotImplementedError("Tests through Ray Client are not offered: there is no server of it here.")
    yield


def _no_session() -> None:
    """Return the session of Ray Train that this process is part of: none."""


class _Settings(types.SimpleNamespace):
    """Settings of Ray Data, which may be written and which nobody reads: dagster-ray writes them in each process."""

    @classmethod
    def for_limits(cls, **limits: Any) -> _Settings:
        """Return limits of resources."""
        return cls(**limits)

    @classmethod
    def get_current(cls) -> _Settings:
        """Return the settings of this process."""
        return _current


_current = _Settings(execution_options=_Settings())

_WORKING: dict[str, dict[str, Any]] = {
    "ray.data": {"DataContext": _Settings, "DatasetContext": _Settings, "ExecutionResources": _Settings},
    # What xgboost_ray and lightgbm_ray ask in each process, to learn whether Ray Tune started it.
    "ray.train._internal.session": {"get_session": _no_session},
    # What libraries ask, to learn whether they speak through Ray Client.
    "ray.util.client": {"ray": types.SimpleNamespace(is_connected=lambda: False), "num_connected_contexts": lambda: 0},
    "ray.util.client.ray_client_helpers": {"connect_to_client_or_not": _directly},
}
