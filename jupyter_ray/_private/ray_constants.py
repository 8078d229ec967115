"""Ray's ``ray._private.ray_constants``: of it, what is true here: names, limits and defaults."""

from __future__ import annotations

import os
from typing import Any

from jupyter_ray import config
from jupyter_ray._common.utils import env_bool as env_bool
from jupyter_ray._common.utils import env_float as env_float
from jupyter_ray._common.utils import env_integer as env_integer
from jupyter_ray.not_offered import absent

CPU = "CPU"
GPU, TPU, HPU, NPU, NEURON_CORES = "GPU", "TPU", "HPU", "NPU", "neuron_cores"
DEFAULT_RESOURCES = {CPU, GPU, "memory", "object_store_memory"}

DEFAULT_TASK_MAX_RETRIES = 3
DEFAULT_MAX_CONCURRENCY_THREADED = 1
DEFAULT_ACTOR_METHOD_NUM_RETURN_VALS = 1
MIN_RESOURCE_GRANULARITY = 0.0001
DEFAULT_OBJECT_STORE_MEMORY_PROPORTION = 0.3
DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES = 200 * 10**9
FUNCTION_SIZE_WARN_THRESHOLD = config.CLOSURE_WARNING
FUNCTION_SIZE_ERROR_THRESHOLD = config.CLOSURE_LIMIT
ID_SIZE = 28
MAX_INT64_VALUE = 2**63 - 1

RAY_ADDRESS_ENVIRONMENT_VARIABLE = "RAY_ADDRESS"
RAY_RUNTIME_ENV_HOOK = "RAY_RUNTIME_ENV_HOOK"
RAY_WORKER_NICENESS = "RAY_worker_niceness"
RAY_DEFAULT_LABEL_KEYS_PREFIX = "ray.io/"
RAY_NAMESPACE_ENVIRONMENT_VARIABLE = "RAY_NAMESPACE"
RAY_RUNTIME_ENV_ENVIRONMENT_VARIABLE = "RAY_RUNTIME_ENV"
RAY_RUNTIME_ENV_IGNORE_GITIGNORE = "RAY_RUNTIME_ENV_IGNORE_GITIGNORE"
WORKER_PROCESS_SETUP_HOOK_ENV_VAR = "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR"
TESTING_NEVER_DEDUP_TOKEN = "__ray_testing_never_deduplicate__"
PROCESS_TYPE_WORKER = "worker"
WORKER_PROCESS_TYPE_IDLE_WORKER = "ray::IDLE"
IS_WINDOWS_OR_OSX = False

DEFAULT_ACTOR_CREATION_CPU_SIMPLE, DEFAULT_ACTOR_METHOD_CPU_SIMPLE = 0, 1
"""Of an actor that states no CPUs: those that it holds, and those that it wants of a machine."""
DEFAULT_ACTOR_CREATION_CPU_SPECIFIED, DEFAULT_ACTOR_METHOD_CPU_SPECIFIED = 1, 0
DEFAULT_RUNTIME_ENV_TIMEOUT_SECONDS = 600
OBJECT_STORE_MINIMUM_MEMORY_BYTES = 75 * 1024**2
DUPLICATE_REMOTE_FUNCTION_THRESHOLD = 100
MAX_APPLICATION_ERROR_LENGTH = 500
MAX_RESOURCE_QUANTITY = 1e14
CALL_STACK_LINE_DELIMITER = " | "
SESSION_LATEST = "session_latest"
LANGUAGE_WORKER_TYPES = ["python", "java", "cpp"]
LOG_PREFIX_ACTOR_NAME, LOG_PREFIX_JOB_ID, LOG_PREFIX_TASK_NAME = ":actor_name:", ":job_id:", ":task_name:"
LOGGER_LEVEL = "info"
LOGGER_LEVEL_CHOICES = ["debug", "info", "warning", "error", "critical"]
OBJECT_METADATA_TYPE_PYTHON, OBJECT_METADATA_TYPE_RAW = b"PYTHON", b"RAW"
OBJECT_METADATA_TYPE_CROSS_LANGUAGE, OBJECT_METADATA_TYPE_ACTOR_HANDLE = b"XLANG", b"ACTOR_HANDLE"
DEFAULT_DASHBOARD_IP, DEFAULT_DASHBOARD_PORT, DEFAULT_PORT = "127.0.0.1", 8265, 6379

DASHBOARD_AGENT_DIED_ERROR, DASHBOARD_DIED_ERROR = "dashboard_agent_died", "dashboard_died"
DETACHED_ACTOR_ANONYMOUS_NAMESPACE_ERROR = "detached_actor_anonymous_namespace"
EXCESS_QUEUEING_WARNING = "excess_queueing_warning"
LOG_MONITOR_DIED_ERROR, MONITOR_DIED_ERROR, RAYLET_DIED_ERROR = "log_monitor_died", "monitor_died", "raylet_died"
PICKLING_LARGE_OBJECT_PUSH_ERROR, PUT_RECONSTRUCTION_PUSH_ERROR = "pickling_large_object", "put_reconstruction"
REMOVED_NODE_ERROR, RESOURCE_DEADLOCK_ERROR = "node_removed", "resource_deadlock"
VERSION_MISMATCH_PUSH_ERROR, WAIT_FOR_FUNCTION_PUSH_ERROR = "version_mismatch", "wait_for_function"
WORKER_CRASH_PUSH_ERROR, WORKER_DIED_PUSH_ERROR = "worker_crash", "worker_died"
WORKER_POOL_LARGE_ERROR = "worker_pool_large"
"""Kinds of errors that Ray tells drivers of; here there is but one (`init_error_pubsub`)."""


# Of Ray's processes and servers: tests compare with what is not here.
RAY_OVERRIDE_DASHBOARD_URL, RAY_JOB_HEADERS = "RAY_OVERRIDE_DASHBOARD_URL", "RAY_JOB_HEADERS"
RESOURCES_ENVIRONMENT_VARIABLE, LABELS_ENVIRONMENT_VARIABLE = "RAY_OVERRIDE_RESOURCES", "RAY_OVERRIDE_LABELS"
GRPC_CPP_MAX_MESSAGE_SIZE = 512 * 1024**2
KV_NAMESPACE_FUNCTION_TABLE = b"fun"
LOGGER_FORMAT = "%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s"
PROCESS_TYPE_DASHBOARD, PROCESS_TYPE_LOG_MONITOR = "dashboard", "log_monitor"
PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET = "gcs_server", "raylet"
WORKER_PROCESS_TYPE_SPILL_WORKER, WORKER_PROCESS_TYPE_SPILL_WORKER_IDLE = (
    "ray::SPILL_SpillWorker",
    "ray::IDLE_SpillWorker",
)
WORKER_PROCESS_TYPE_SPILL_WORKER_DELETE = "ray::DELETE_SpillWorker"
WORKER_PROCESS_TYPE_RESTORE_WORKER = "ray::RESTORE_RestoreWorker"
WORKER_PROCESS_TYPE_RESTORE_WORKER_IDLE = "ray::IDLE_RestoreWorker"


def env_set_by_user(key: str) -> bool:
    """Tell whether an environment variable is set."""
    return key in os.environ


def __getattr__(name: str) -> Any:
    if name == "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS":
        return env_bool(name, default=False)
    raise absent(__name__, name)
