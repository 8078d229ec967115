"""Ray's ``ray._private.utils``: of it, the small things that programs and their tests use."""

from __future__ import annotations

import contextlib
import getpass
import importlib
import logging
import os
import platform
import re
import sys
import threading
from pathlib import Path
from typing import IO, Any

from jupyter_ray._common.utils import binary_to_hex as binary_to_hex
from jupyter_ray._common.utils import decode as decode
from jupyter_ray._common.utils import get_system_memory
from jupyter_ray._common.utils import hex_to_binary as hex_to_binary
from jupyter_ray._private.listening import publish
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.ids import JobID, TaskID, WorkerID
from jupyter_ray.not_offered import unusable

_log = logging.getLogger(__name__)
_IN_A_GROUP = re.compile(r"(.+)_group_(?:\d+_)?[0-9a-zA-Z]+")
_ACTOR_STATES = ("DEPENDENCIES_UNREADY", "PENDING_CREATION", "ALIVE", "RESTARTING", "DEAD")


def binary_to_object_ref(binary_object_ref: bytes) -> ObjectRef[Any]:
    """Return the reference with these bytes."""
    return ObjectRef(binary_object_ref)


def binary_to_task_id(binary_task_id: bytes) -> TaskID:
    """Return the identifier with these bytes."""
    return TaskID(binary_task_id)


def ensure_str(s: str | bytes, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Return text as it is, and bytes as text."""
    if isinstance(s, str):
        return s
    if not isinstance(s, bytes):
        raise TypeError(f"This is neither text nor bytes: {s!r}.")
    return s.decode(encoding, errors)


def get_num_cpus(override_docker_cpu_warning: bool = False, truncate: bool = True) -> float:
    """Return how many CPUs this process may use. The arguments are Ray's, and of no effect."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def get_used_memory() -> int:
    """Return how many bytes of the machine's memory are in use."""
    import psutil

    memory = psutil.virtual_memory()
    return memory.total - memory.available


def estimate_available_memory() -> int:
    """Return how many bytes of memory are free for programs."""
    return get_system_memory() - get_used_memory()


def get_shared_memory_bytes() -> int:
    """Return the size of the file system for shared memory."""
    found = os.statvfs("/dev/shm")
    return found.f_bsize * found.f_blocks


def get_directory_size_bytes(path: str | Path = ".") -> int:
    """Return how many bytes the files in a folder have, and in those below it."""
    return sum(each.stat().st_size for each in Path(path).rglob("*") if each.is_file() and not each.is_symlink())


def get_user() -> str:
    """Return the name of whoever runs this; "" if nobody knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def get_entrypoint_name() -> str:
    """Return the command that started this program."""
    interactive = bool(getattr(sys, "ps1", sys.flags.interactive))
    return f"(interactive_shell) {sys.executable}" if interactive else " ".join([sys.executable, *sys.argv])


def get_current_node_cpu_model_name() -> str | None:
    """Return what the machine's processor is called; None where nobody knows."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or None


def split_address(address: str) -> tuple[str, str]:
    """Return what stands before ``://`` in an address, and what after it.

    Raises
    ------
    ValueError
        There is none in it.
    """
    scheme, found, rest = address.partition("://")
    if not found:
        raise ValueError(f"There is no '://' in the address {address!r}.")
    return scheme, rest


def parse_pg_formatted_resources_to_original(pg_formatted_resources: dict[str, float]) -> dict[str, float]:
    """Return resources by their own names, where Ray has named some after a placement group: ``CPU_group_0_<id>``."""
    found: dict[str, float] = {}
    for name, amount in pg_formatted_resources.items():
        of_group = _IN_A_GROUP.fullmatch(name)
        own = of_group[1] if of_group else name
        if not (of_group and own == "bundle"):
            found[own] = amount
    return found


def try_import_each_module(module_names_to_import: list[str]) -> None:
    """Import modules; one that cannot be imported is told in the log."""
    for name in module_names_to_import:
        try:
            importlib.import_module(name)
        except ImportError:
            _log.exception("The module %s cannot be imported.", name)


def is_main_thread() -> bool:
    """Tell whether this is the process's main thread."""
    return threading.current_thread() is threading.main_thread()


def update_envs(env_vars: dict[str, str]) -> None:
    """Set environment variables; ``${NAME}`` in one stands for what that is now."""
    for name, value in env_vars.items():
        os.environ[name] = os.path.expandvars(value)


def validate_namespace(namespace: Any) -> None:
    """Refuse what is no namespace of named actors."""
    if namespace is not None and not isinstance(namespace, str):
        raise TypeError("namespace must be None or a string.")
    if namespace == "":
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')


def validate_actor_state_name(actor_state_name: str | None) -> None:
    """Refuse what is no state of an actor; None is no state at all."""
    if actor_state_name is not None and actor_state_name not in _ACTOR_STATES:
        named = ", ".join(f'"{each}"' for each in _ACTOR_STATES)
        raise ValueError(f'"{actor_state_name}" is not a valid actor state name, it must be one of: {named}')


def compute_driver_id_from_job(job_id: JobID) -> WorkerID:
    """Return the identifier that Ray gives the driver of a job: the job's, and ones."""
    return WorkerID(job_id.binary().ljust(WorkerID.size(), b"\xff"))


def compute_job_id_from_driver(driver_id: WorkerID) -> JobID:
    """Return the job that a driver with such an identifier has."""
    return JobID(driver_id.binary()[: JobID.size()])


def is_in_test() -> bool:
    """Tell whether pytest runs this."""
    return any(name.startswith("PYTEST_CURRENT_TEST") for name in os.environ)


def open_log(path: str, unbuffered: bool = False, **kwargs: Any) -> IO[Any]:
    """Open a file for what a process says: a line at a time, to be read while it is written, or byte by byte."""
    if unbuffered:
        return open(path, "ab", buffering=0)
    how: dict[str, Any] = {"mode": "a", "encoding": "utf-8", "errors": "replace", "buffering": 1, **kwargs}
    opened: IO[Any] = open(path, **how)  # noqa: SIM115
    return opened


def try_to_symlink(symlink_path: str, target_path: str) -> None:
    """Have a link lead to a folder, in the place of one that is there; where it cannot, nothing is said."""
    link = Path(symlink_path).expanduser()
    with contextlib.suppress(OSError):
        if link.is_symlink():
            link.unlink()
        link.symlink_to(Path(target_path).expanduser())


def publish_error_to_driver(error_type: str, message: str, gcs_client: Any = None, job_id: Any = None) -> None:
    """Tell stderr, and what `init_error_pubsub` returned, of an error of that type. No server is asked."""
    publish(error_type, message, job_id)


def push_error_to_driver(worker: Any, error_type: str, message: str, job_id: Any = None) -> None:
    """Tell of an error as `publish_error_to_driver` does."""
    publish(error_type, message, job_id)


_OF_SERVERS = (
    "DeferSigint", "Unbuffered", "_get_docker_cpus", "check_oversized_function", "check_version_info",
    "compute_version_info", "detect_fate_sharing_support", "detect_fate_sharing_support_linux",
    "detect_fate_sharing_support_win32", "format_error_message", "get_all_node_info_until_retrieved",
    "get_cgroup_mem_stats", "get_cgroup_used_memory", "get_conda_bin_executable", "get_conda_env_dir",
    "get_dashboard_dependency_error", "get_master_wheel_url", "get_ray_client_dependency_error", "get_ray_doc_version",
    "get_release_wheel_url", "get_runtime_env_info", "get_visible_accelerator_ids", "get_wheel_filename",
    "internal_kv_get_with_retry", "internal_kv_list_with_retry", "internal_kv_put_with_retry", "parse_metadata_json",
    "parse_resources_json", "parse_runtime_env_for_task_or_actor", "read_ray_address",
    "remove_ray_internal_flags_from_env", "reset_visible_accelerator_env_vars", "resolve_object_store_memory",
    "set_kill_child_on_death_win32", "set_kill_on_parent_death_linux", "set_omp_num_threads_if_unset",
    "set_sigterm_handler", "set_visible_accelerator_ids", "validate_socket_filepath", "write_ray_address",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, _OF_SERVERS)
