"""Ray's ``ray._private.ray_constants``: of it, what is true here: names, limits and defaults."""

from __future__ import annotations

import os
from typing import Any

from jupyter_ray import config
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
TESTING_NEVER_DEDUP_TOKEN = "__ray_testing_never_deduplicate__"
WORKER_DIED_PUSH_ERROR = "worker_died"
PROCESS_TYPE_WORKER = "worker"
IS_WINDOWS_OR_OSX = False


def env_set_by_user(key: str) -> bool:
    """Tell whether an environment variable is set."""
    return key in os.environ


def __getattr__(name: str) -> Any:
    raise absent(__name__, name)
