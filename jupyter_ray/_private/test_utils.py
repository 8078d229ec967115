"""Ray's ``ray._private.test_utils``: what people who write programs for Ray use in their own tests.

What is only for tests of Ray itself, of its servers, of clusters and clouds, can be imported and not used.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psutil

from jupyter_ray._common.drivers import TIMEOUT as DEFAULT_DRIVER_TIMEOUT_SECONDS
from jupyter_ray._common.drivers import run as _run
from jupyter_ray._common.drivers import start as _start
from jupyter_ray._common.network_utils import build_address as build_address
from jupyter_ray._common.network_utils import find_free_port
from jupyter_ray._common.network_utils import parse_address as parse_address
from jupyter_ray._common.test_utils import Semaphore as Semaphore
from jupyter_ray._common.test_utils import SignalActor as SignalActor
from jupyter_ray._common.test_utils import run_string_as_driver as run_string_as_driver
from jupyter_ray._common.utils import get_or_create_event_loop as get_or_create_event_loop
from jupyter_ray._common.waiting import async_wait_for_condition as async_wait_for_condition
from jupyter_ray._common.waiting import attempts, wait_for_condition
from jupyter_ray._private.internal_api import memory_summary as memory_summary
from jupyter_ray._private.listening import ErrorSubscriber, LogSubscriber, taken
from jupyter_ray.api.calls import get, kill, put
from jupyter_ray.api.cluster import available_resources, cluster_resources
from jupyter_ray.api.remote import remote
from jupyter_ray.not_offered import unusable
from jupyter_ray.util.placement_group import placement_group_table, remove_placement_group
from jupyter_ray.util.queue import Empty as Empty
from jupyter_ray.util.queue import Queue as Queue
from jupyter_ray.util.state import get_actor, list_actors

EXE_SUFFIX = ""
KILLED_DRIVER_DRAIN_TIMEOUT_SECONDS = 10
get_current_unused_port = find_free_port
_STORE = "object_store_memory"


def run_string_as_driver_stdout_stderr(
    driver_script: str,
    env: dict[str, str] | None = None,
    encode: str = "utf-8",
    timeout: float | None = DEFAULT_DRIVER_TIMEOUT_SECONDS,
) -> tuple[str, str]:
    """Run a program as `run_string_as_driver` does; return what it printed to stdout, and what to stderr."""
    return _run(driver_script, env, encode, timeout, subprocess.PIPE)


def run_string_as_driver_nonblocking(driver_script: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a program as a driver of its own, and return its process, which has pipes for its output."""
    return _start(driver_script, env, "utf-8", subprocess.PIPE)


def wait_for_assertion(
    assertion_predictor: Callable[..., Any],
    timeout: float = 10,
    retry_interval_ms: float = 100,
    raise_exceptions: bool = False,
    **kwargs: Any,
) -> None:
    """Return as soon as a function returns, whose assertions hold then; raise its last error when the time is up."""
    for pause in attempts(timeout, retry_interval_ms):
        try:
            assertion_predictor(**kwargs)
            return
        except Exception as error:
            if raise_exceptions and not isinstance(error, AssertionError):
                raise
        time.sleep(pause)
    assertion_predictor(**kwargs)


def wait_until_succeeded_without_exception(
    func: Callable[..., Any],
    exceptions: tuple[type[BaseException], ...],
    *args: Any,
    timeout_ms: int = 1000,
    retry_interval_ms: int = 100,
    raise_last_ex: bool = False,
) -> bool:
    """Call a function until it raises none of some exceptions; return whether it came to that in time."""
    last: BaseException | None = None
    for pause in attempts(timeout_ms / 1000, retry_interval_ms):
        try:
            func(*args)
        except exceptions as error:
            last = error
            time.sleep(pause)
        else:
            return True
    if raise_last_ex and last is not None:
        raise TimeoutError(f"Timed out while testing {func}.") from last
    return False


def wait_for_pid_to_exit(pid: int, timeout: float = 20) -> None:
    """Return as soon as there is no such process; a TimeoutError after `timeout` seconds."""
    for pause in attempts(timeout, 100):
        if not _pid_alive(pid):
            return
        time.sleep(pause)
    raise TimeoutError(f"Timed out while waiting for process {pid} to exit.")


def wait_for_children_of_pid(pid: int, num_children: int = 1, timeout: float = 20) -> None:
    """Return as soon as a process has so many children; a TimeoutError after `timeout` seconds."""
    there: list[psutil.Process] = []
    for pause in attempts(timeout, 100):
        there = psutil.Process(pid).children()
        if len(there) >= num_children:
            return
        time.sleep(pause)
    raise TimeoutError(f"Process {pid} has {len(there)} children, not {num_children}, after {timeout} s.")


def wait_for_children_of_pid_to_exit(pid: int, timeout: float = 20) -> None:
    """Return as soon as the present children of a process have ended; a TimeoutError after `timeout` seconds."""
    children = psutil.Process(pid).children()
    _, alive = psutil.wait_procs(children, timeout=timeout)
    if alive:
        raise TimeoutError(f"Children of process {pid} have not ended after {timeout} s: {alive}.")


def _pid_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended, and that nobody has asked for, does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill_actor_and_wait_for_failure(actor: Any, timeout: float = 10, retry_interval_ms: float = 100) -> None:
    """Kill an actor's process, from which it may restart; return when that is known."""
    name = actor._actor_id.hex()
    before = _restarts(name)
    kill(actor, no_restart=False)
    wait_for_condition(lambda: _state(name) == "DEAD" or _restarts(name) > before, timeout, retry_interval_ms)


def _row(actor: str) -> Any:
    found = get_actor(actor)
    if found is None:
        raise ValueError(f"There is no actor {actor}.")
    return found


def _state(actor: str) -> str:
    return str(_row(actor).state)


def _restarts(actor: str) -> int:
    return int(_row(actor).num_restarts or 0)


def wait_for_num_actors(num_actors: int, state: str | None = None, timeout: float = 10) -> None:
    """Return as soon as there are so many actors, or more, in that state; a TimeoutError after `timeout` seconds."""
    filters = [("state", "=", state)] if state else None
    for pause in attempts(timeout, 100):
        if len(list_actors(filters=filters, limit=10_000)) >= num_actors:
            return
        time.sleep(pause)
    raise TimeoutError(f"Timed out while waiting for {num_actors} actors.")


def convert_actor_state(state: Any) -> str:
    """Return the name of an actor's state: they are told by their names here."""
    return str(state) if state else ""


def get_actor_node_id(actor_handle: Any) -> str:
    """Return the identifier (hex) of the machine that an actor runs on."""

    def of(actor: Any) -> str:
        from jupyter_ray.api.runtime_context import get_runtime_context

        return get_runtime_context().get_node_id()

    found: str = get(actor_handle.__ray_call__.remote(of))
    return found


def object_memory_usage() -> float:
    """Return how many bytes of the object store are in use."""
    return cluster_resources()[_STORE] - available_resources().get(_STORE, 0.0)


@remote
def _given(value: Any) -> Any:
    return value


def put_object(obj: Any, use_ray_put: bool) -> Any:
    """Return a reference to a value: made by `put`, or by a task."""
    return put(obj) if use_ray_put else _given.remote(obj)


def is_placement_group_removed(pg: Any) -> bool:
    """Tell whether a placement group has been removed."""
    table = placement_group_table(pg)
    return table.get("state") == "REMOVED"


def placement_group_assert_no_leak(pgs_created: Iterable[Any]) -> None:
    """Remove placement groups; return once all that they had is free again."""
    for group in pgs_created:
        remove_placement_group(group)
    wait_for_condition(no_resource_leaks_excluding_node_resources)
    left = [name for name in cluster_resources() if "_group_" in name]
    assert not left, f"resources of placement groups that were removed: {left}"


def no_resource_leaks_excluding_node_resources() -> bool:
    """Tell whether nothing is in use; what names a machine does not count."""
    whole, free = cluster_resources(), available_resources()
    return all(free.get(name) == amount for name, amount in whole.items() if not name.startswith("node:"))


def get_other_nodes(cluster: Any, exclude_head: bool = False) -> list[Any]:
    """Return the machines of a `Cluster` besides the one that this driver is connected to: none."""
    return []


def get_non_head_nodes(cluster: Any) -> list[Any]:
    """Return the machines of a `Cluster` besides its head: none."""
    return []


def generate_system_config_map(**kwargs: Any) -> dict[str, Any]:
    """Return the keyword of `init` for settings of Ray's inside."""
    return {"_system_config": kwargs}


def same_elements(elems_a: Iterable[Any], elems_b: Iterable[Any]) -> bool:
    """Tell whether two collections hold the same, in any order; it need not be hashable."""
    left = list(elems_b)
    for each in elems_a:
        if each not in left:
            return False
        left.remove(each)
    return not left


def recursive_fnmatch(dirpath: str, pattern: str) -> list[str]:
    """Return the files below a folder whose names match a pattern."""
    return [
        os.path.join(folder, name) for folder, _, names in os.walk(dirpath) for name in fnmatch.filter(names, pattern)
    ]


@contextlib.contextmanager
def chdir(d: str) -> Iterator[None]:
    """Be in another folder for the time of a block."""
    before = os.getcwd()
    os.chdir(d)
    try:
        yield
    finally:
        os.chdir(before)


def get_gpu_visible_devices_env_var() -> str:
    """Return the environment variable that says which GPUs a process sees."""
    return "CUDA_VISIBLE_DEVICES"


def client_test_enabled() -> bool:
    """Tell whether tests are to go through Ray Client: no."""
    return False


def external_redis_test_enabled() -> bool:
    """Tell whether tests are to use a Redis of their own: no."""
    return False


def persistent_gcs_test_enabled() -> bool:
    """Tell whether tests are to keep a cluster's state beyond its end: no."""
    return False


rocksdb_gcs_test_enabled = sandbox_test_enabled = persistent_gcs_test_enabled


# --- what tasks print, and which processes died ---


def init_log_pubsub() -> LogSubscriber:
    """Return what listens to what tasks print from now on."""
    return LogSubscriber()


def init_error_pubsub() -> ErrorSubscriber:
    """Return what listens to the deaths of processes from now on."""
    return ErrorSubscriber()


def get_log_data(
    subscriber: LogSubscriber,
    num: float = 1e6,
    timeout: float = 20,
    job_id: Any = None,
    matcher: Callable[[str], bool] | None = None,
) -> list[dict[str, Any]]:
    """Return up to `num` rows of what was printed: of a job, and with a line that `matcher` is true of."""
    job = job_id if job_id is None or isinstance(job_id, str) else job_id.hex()

    def wanted(row: dict[str, Any]) -> bool:
        return (job is None or row["job"] == job) and (matcher is None or any(map(matcher, row["lines"])))

    return taken(subscriber.poll, num, timeout, wanted)


def get_log_batch(
    subscriber: LogSubscriber,
    num: int,
    timeout: float = 20,
    job_id: Any = None,
    matcher: Callable[[str], bool] | None = None,
) -> list[dict[str, Any]]:
    """Return up to `num` rows of what was printed; see `get_log_data`."""
    return get_log_data(subscriber, num, timeout, job_id, matcher)


def get_log_message(
    subscriber: LogSubscriber,
    num: float = 1e6,
    timeout: float = 20,
    job_id: Any = None,
    matcher: Callable[[str], bool] | None = None,
) -> list[list[str]]:
    """Return the lines of up to `num` rows; see `get_log_data`."""
    return [row["lines"] for row in get_log_data(subscriber, num, timeout, job_id, matcher)]


def get_log_sources(
    subscriber: LogSubscriber,
    num: float = 1e6,
    timeout: float = 20,
    job_id: Any = None,
    matcher: Callable[[str], bool] | None = None,
) -> set[str]:
    """Return the process identifiers, as text, of up to `num` rows; see `get_log_data`."""
    return {row["pid"] for row in get_log_data(subscriber, num, timeout, job_id, matcher)}


def get_error_message(
    subscriber: ErrorSubscriber, num: float = 1e6, error_type: str | None = None, timeout: float = 20
) -> list[dict[str, Any]]:
    """Return up to `num` errors, of that type if one is given."""
    return taken(lambda left: subscriber.poll(left)[1], num, timeout, lambda row: error_type in (None, row["type"]))


def check_spilled_mb(
    address: Any, spilled: int | list[int] | None = None, restored: int | None = None, fallback: int | None = None
) -> None:
    """Wait until so many MiB have been moved to disk (one of several numbers), and so many are there from the start.

    None: nothing. `restored` has no effect: a value on disk is read from there.
    """
    wanted = [spilled] if isinstance(spilled, int) else spilled

    def is_so() -> bool:
        told = memory_summary(stats_only=True)
        moved = re.search(r"^Spilled (\d+) MiB", told, re.MULTILINE)
        there = re.search(r"^Plasma filesystem mmap usage: (\d+) MiB", told, re.MULTILINE)
        right = int(moved[1]) in wanted if moved and wanted else bool(moved) == bool(wanted)
        return right and (there is None if not fallback else there is not None and int(there[1]) == fallback)

    wait_for_condition(is_so, timeout=10, retry_interval_ms=200)


_OF_A_CLUSTER = (
    "BatchQueue", "EC2InstanceTerminator", "EC2InstanceTerminatorWithGracePeriod", "MetricSamplePattern",
    "NodeKillerBase", "PrometheusTimeseries", "REDIS_EXECUTABLE", "RPC_FAILURE_MAP", "RPC_FAILURE_TYPES",
    "RayletKiller", "ResourceKillerActor", "WorkerKillerActor", "auth_token_grpc_metadata", "check_call_ray",
    "check_call_subprocess", "check_local_files_gced", "external_ray_cluster_activity_hook1",
    "external_ray_cluster_activity_hook2", "external_ray_cluster_activity_hook3",
    "external_ray_cluster_activity_hook4", "external_ray_cluster_activity_hook5", "fetch_prometheus",
    "fetch_prometheus_metric_timeseries", "fetch_prometheus_metrics", "fetch_prometheus_timeseries",
    "fetch_raw_prometheus", "format_web_url", "generate_runtime_env_dict", "get_and_run_resource_killer",
    "get_dashboard_agent_address", "get_gcs_memory_used", "get_load_metrics_report", "get_metric_check_condition",
    "get_node_stats", "get_redis_cli", "get_resource_usage", "get_system_metric_for_component", "get_test_config_path",
    "job_hook", "kill_process_by_name", "kill_processes", "kill_raylet", "load_test_config",
    "make_global_state_accessor", "mock_accelerator_detection", "mock_no_accelerators", "monitor_memory_usage",
    "raw_metric_timeseries", "redis_replicas", "redis_sentinel_replicas", "request_with_auth_token",
    "reset_autoscaler_v2_enabled_cache", "safe_write_to_results_json", "set_setup_func", "setup_tls",
    "start_redis_instance", "start_redis_sentinel_instance", "teardown_tls", "wait_for_aggregator_agent",
    "wait_for_aggregator_agent_if_enabled", "wait_for_dashboard_agent_available", "wait_until_server_available",
    "wandb_setup_api_key_hook",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, _OF_A_CLUSTER)
