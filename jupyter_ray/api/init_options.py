"""What `init` was asked for, checked: each wrong value is an error here, before anything starts."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jupyter_ray.api.constants import LoggingConfig
from jupyter_ray.engine import log_format
from jupyter_ray.engine.base import InitOptions
from jupyter_ray.environments import check_runtime_env
from jupyter_ray.labels import wrong_key, wrong_value


def init_options(
    *,
    num_cpus: Any,
    num_gpus: Any,
    resources: Any,
    memory: Any,
    object_store_memory: Any,
    namespace: Any,
    runtime_env: Any,
    log_to_driver: bool,
    logging_config: Any,
    spill_directory: Any,
    system_config: Any,
    temp_dir: Any,
    actor_lifetime: str,
    metadata: dict[str, str] | None,
    code_search_path: Sequence[str],
    labels: Any,
    node_name: Any,
) -> InitOptions:
    """Return the record of what `init` was asked for.

    Raises
    ------
    TypeError, ValueError
        A value is of the wrong type, or out of range.
    """
    return InitOptions(
        num_cpus=_whole("num_cpus", num_cpus),
        num_gpus=_whole("num_gpus", num_gpus),
        resources=_custom(resources),
        memory=None if memory is None else int(_amount("_memory", memory)),
        object_store_memory=_bytes(object_store_memory),
        namespace=_namespace(namespace),
        runtime_env=_environment(runtime_env),
        log_to_driver=bool(log_to_driver),
        logging=_logging(logging_config),
        spill_directories=_spill_directories(spill_directory, system_config),
        disk_share=_disk_share(system_config),
        temp_dir=_folder(temp_dir),
        spills=_spills(system_config),
        memory_share=_memory_share(system_config),
        memory_retries=_setting(system_config, "task_oom_retries", -1, int),
        task_limit=_task_limit(system_config),
        farewell_seconds=max(0.0, _setting(system_config, "actor_graceful_shutdown_timeout_ms", 30_000.0, float) / 1e3),
        garbage_seconds=max(0.0, _setting(system_config, "local_gc_interval_s", 0.0, float)),
        detached_actors=actor_lifetime == "detached",
        metadata=dict(metadata or {}),
        code_folders=[os.path.abspath(folder) for folder in code_search_path],
        labels=_labels(labels),
        node_name=str(node_name or ""),
    )


_DEFAULT = {
    "CPU": "num_cpus",
    "GPU": "num_gpus",
    "memory": "_memory",
    "object_store_memory": "object_store_memory",
}


_MOST = 9 * 10**14
"""What 64 bits can count in parts of 1/10000."""
_MOST_GPUS = 10_000
"""Each has an id."""


def _amount(name: str, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {type(value)}.")
    if value < 0:
        raise ValueError(f"{name} cannot be negative, got {value}.")
    most = _MOST_GPUS if name == "num_gpus" else _MOST
    if not value <= most:  # Nor is what is no number.
        raise ValueError(f"{name} is at most {most:,}, got {value}.")
    return value


def _whole(name: str, value: Any) -> Any:
    amount = _amount(name, value)
    if amount is not None and amount != int(amount):
        raise ValueError(
            f"{name} is {value}: amounts that a machine has must be whole numbers (a task may ask for a part)."
        )
    return amount


def _custom(resources: Any) -> dict[str, float] | None:
    if resources is None:
        return None
    if not isinstance(resources, dict):
        raise TypeError(f"resources must be a dict of names and numbers, got {type(resources)}.")
    for name, value in resources.items():
        if name in _DEFAULT:  # An AssertionError, as in Ray.
            raise AssertionError(
                f"`{name}` cannot be a custom resource because it is one of the default resources: use "
                f"`{_DEFAULT[name]}` instead."
            )
        _whole(f"resources[{name!r}]", value)
    return dict(resources)


def _bytes(value: Any) -> int | None:
    if value is None:
        return None
    if int(_amount("object_store_memory", value)) < 1024**2:
        raise ValueError(f"object_store_memory must be at least 1 MiB (in bytes), got {value}.")
    return int(value)


def _namespace(namespace: Any) -> str:
    if namespace is None:
        return str(uuid.uuid4())  # Anonymous: nobody else's names are found, and nobody finds ours.
    if not isinstance(namespace, str):
        raise TypeError(f"namespace must be a string, got {type(namespace)}.")
    if not namespace:
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
    return namespace


def _labels(labels: Any) -> dict[str, str]:
    if labels is None:
        return {}
    if not isinstance(labels, dict):
        raise TypeError(f"labels must be a dict of names and values, got {type(labels)}.")
    for name, value in labels.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"labels must map text to text, got {name!r}: {value!r}.")
        if wrong := wrong_key(name) or wrong_value(value):
            raise ValueError(wrong)
        if name == "ray.io/node-id":
            raise ValueError("The labels' 'ray.io/node-id' is the machine's identifier: it cannot be chosen.")
    return dict(labels)


def _logging(config: Any) -> str | None:
    if config is None and (encoding := os.environ.get("RAY_LOGGING_CONFIG_ENCODING")):
        config = LoggingConfig(encoding=encoding)
    if config is None:
        return None
    if not isinstance(config, LoggingConfig):
        raise TypeError(f"logging_config must be a LoggingConfig, got {type(config)}.")
    return log_format.dump(config.encoding, config.log_level, config.additional_log_standard_attrs)


_FILE_SYSTEMS = ("filesystem", "mock_distributed_fs", "unstable_fs", "slow_fs")
"""Ray's words for where to spill to that are a folder; the last three are those of Ray's own tests."""


def _spill_directories(directory: Any, system_config: Any) -> list[str]:
    """Return the folders to spill to; of Ray's internal configuration, this is what programs set."""
    if directory is not None and not isinstance(directory, str):
        raise TypeError(f"object_spilling_directory must be a path as a string, got {type(directory)}.")
    directory = directory or _said(system_config, "object_spilling_directory")
    config = _said(system_config, "object_spilling_config")
    if directory or not config:
        return [directory] if directory else []
    spilling = json.loads(config)
    if spilling.get("type") not in _FILE_SYSTEMS:
        raise ValueError(f"Values are spilled to a filesystem, not to {spilling.get('type')!r}.")
    parameters = {"directory_path": None, "buffer_size": None, **spilling.get("params", {})}
    directories = parameters.pop("directory_path")
    buffer_size = parameters.pop("buffer_size")
    if buffer_size is not None and not isinstance(buffer_size, int):
        raise ValueError(f"buffer_size in object_spilling_config must be an integer, got {buffer_size!r}.")
    if parameters:
        raise ValueError(f"object_spilling_config has unknown parameters: {', '.join(parameters)}.")
    directories = [directories] if isinstance(directories, str) else directories or []
    if not isinstance(directories, list) or not all(isinstance(each, str) for each in directories):
        raise TypeError(f"directory_path must be a path as a string, or a list of them, got {directories!r}.")
    return directories


def _folder(temp_dir: Any) -> str | None:
    if temp_dir is not None and not os.path.isabs(temp_dir):
        raise ValueError(f"_temp_dir must be an absolute path or None, got {temp_dir!r}.")
    return None if temp_dir is None else str(temp_dir)


def _spills(system_config: Any) -> bool:
    """Tell whether values in memory may go to disk: Ray's internal configuration can forbid it."""
    return str(_said(system_config, "automatic_object_spilling_enabled", True)).lower() not in ("false", "0")


def _disk_share(system_config: Any) -> float:
    """Return the share of a disk above which no value goes there; 1: it may be filled."""
    return min(1.0, _setting(system_config, "local_fs_capacity_threshold", 1.0, float))


def _memory_share(system_config: Any) -> float:
    """Return above which share of the memory in use a worker is ended; 0: none is."""
    share = _setting(system_config, "memory_usage_threshold", InitOptions().memory_share, float)
    if not 0 < share <= 1:
        raise ValueError(f"memory_usage_threshold must be above 0 and at most 1, got {share}.")
    return share if _setting(system_config, "memory_monitor_refresh_ms", 1.0, float) else 0.0


def wants_post_mortem(runtime_env: dict[str, Any] | None) -> bool:
    """Tell whether failed tasks are to wait for a debugger: the variable is the driver's, or that of all tasks."""
    of_tasks = (runtime_env or {}).get("env_vars") or {}
    return "1" in (os.environ.get("RAY_DEBUG_POST_MORTEM"), of_tasks.get("RAY_DEBUG_POST_MORTEM"))


def _task_limit(system_config: Any) -> int:
    """Return of how many tasks the state API tells at most; negative: of all that are known."""
    if _setting(system_config, "task_events_report_interval_ms", 1.0, float) == 0:
        return 0
    return _setting(system_config, "task_events_max_num_task_in_gcs", -1, int)


def _said(system_config: Any, name: str, default: Any = None) -> Any:
    """Return what Ray's internal configuration says, or the environment."""
    value = os.environ.get(f"RAY_{name}", default)
    return system_config.get(name, value) if isinstance(system_config, dict) else value


N = TypeVar("N", int, float)


def _setting(system_config: Any, name: str, default: N, kind: Callable[[Any], N]) -> N:
    """Return a number of Ray's internal configuration."""
    try:
        return kind(_said(system_config, name, default))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a number: {error}.") from error


def _environment(runtime_env: Any) -> dict[str, Any] | None:
    if runtime_env is not None and not isinstance(runtime_env, dict):
        raise TypeError(f"runtime_env must be a dict, got {type(runtime_env)}.")
    if wrong := check_runtime_env("runtime_env", runtime_env):
        raise ValueError(wrong)
    return dict(runtime_env) if runtime_env else None
