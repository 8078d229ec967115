"""``ray._private.services``: what libraries and tests take from there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from jupyter_ray._common.network_utils import get_localhost_ip as get_localhost_ip
from jupyter_ray.not_offered import unusable
from jupyter_ray.util import get_node_instance_id as get_node_instance_id
from jupyter_ray.util import get_node_ip_address as get_node_ip_address

_found = importlib.util.find_spec(__name__.partition(".")[0])
RAY_PATH = str(Path(_found.origin).parent) if _found is not None and _found.origin else ""
"""The folder of this package."""

_OF_SERVERS = (
    "ConsolePopen", "ProcessInfo", "build_cpp_worker_command", "build_java_worker_command",
    "canonicalize_bootstrap_address", "canonicalize_bootstrap_address_or_die", "create_redis_client",
    "determine_plasma_store_config", "extract_ip_port", "find_bootstrap_address", "find_gcs_addresses",
    "find_node_ids", "get_address", "get_node", "get_node_to_connect_for_driver", "get_node_with_retry",
    "get_ray_address_from_environment", "get_ray_jars_dir", "get_webui_url_from_internal_kv",
    "propagate_jemalloc_env_var", "remaining_processes_alive", "resolve_ip_for_localhost", "serialize_config",
    "start_api_server", "start_gcs_server", "start_log_monitor", "start_monitor", "start_ray_client_server",
    "start_ray_process", "start_raylet", "start_reaper", "wait_for_node",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, _OF_SERVERS)
