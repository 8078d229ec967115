"""``ray._private.worker``: what kind of process this is, and where its session is. Public: `RuntimeContext`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, NoReturn

from jupyter_ray.api.calls import cancel as cancel
from jupyter_ray.api.calls import get as get
from jupyter_ray.api.calls import get_actor as get_actor
from jupyter_ray.api.calls import kill as kill
from jupyter_ray.api.calls import put as put
from jupyter_ray.api.cluster import get_gpu_ids as get_gpu_ids
from jupyter_ray.api.cluster import nodes
from jupyter_ray.api.constants import LOCAL_MODE as LOCAL_MODE
from jupyter_ray.api.constants import SCRIPT_MODE as SCRIPT_MODE
from jupyter_ray.api.constants import WORKER_MODE as WORKER_MODE
from jupyter_ray.api.init import init as init
from jupyter_ray.api.remote import remote as remote
from jupyter_ray.api.runtime_context import get_runtime_context
from jupyter_ray.api.session import RayContext as RayContext
from jupyter_ray.api.session import is_initialized, session_engine
from jupyter_ray.api.session import shutdown as shutdown
from jupyter_ray.api.waiting import wait as wait
from jupyter_ray.engine.context import ProcessContext, current_task, in_event_loop
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.ids import ActorID, JobID, NodeID, PlacementGroupID, TaskID, WorkerID
from jupyter_ray.not_offered import unusable

BaseContext = RayContext
blocking_get_inside_async_warned = False
"""Who sets it is not warned of `get` in a coroutine of an actor."""

_unhandled_error_handler: Callable[[BaseException], object] | None = None
"""Who sets it gets the errors that nobody looks at, and they are not printed."""

RESTORE_WORKER_MODE, SPILL_WORKER_MODE = 3, 2
RAY_JOB_CONFIG_JSON_ENV_VAR = "RAY_JOB_CONFIG_JSON_ENV_VAR"
logger = logging.getLogger("jupyter_ray")

_OF_SERVERS = (
    "_changeproctitle", "_make_remote", "_maybe_modify_runtime_env", "_post_init_hooks", "_remove_protocol_from_url",
    "_should_ignore_worker_log_prefix", "_wait_generators_bulk", "connect", "custom_excepthook", "disconnect",
    "filter_autoscaler_events", "get_resource_ids", "global_worker_stdstream_dispatcher", "hide_tqdm",
    "listen_error_messages", "print_to_stdstream", "print_worker_logs", "process_tqdm", "restore_tqdm",
    "stderr_deduplicator", "stdout_deduplicator", "time_string", "with_connect_or_shutdown_lock",
)  # fmt: skip


class _Node:
    """The machine that the session runs on, as this process knows it."""

    head = True

    @property
    def gcs_address(self) -> str:
        """The address of the session."""
        return get_runtime_context().gcs_address

    address = gcs_address

    @property
    def node_id(self) -> str:
        """The machine's identifier, in hex digits."""
        return get_runtime_context().get_node_id()

    unique_id = node_id

    @property
    def node_ip_address(self) -> str:
        """The machine's address."""
        found: str = nodes()[0]["NodeManagerAddress"]
        return found

    @property
    def node_labels(self) -> dict[str, str]:
        """The machine's labels."""
        return get_runtime_context().get_node_labels()

    @property
    def session_name(self) -> str:
        """The name of the session."""
        return get_runtime_context().get_session_name()

    def is_head(self) -> bool:
        """Tell whether it is the first machine: there is no other."""
        return True

    def get_session_dir_path(self) -> str:
        """Return the session's folder."""
        return os.path.dirname(self.gcs_address.removeprefix("unix:"))

    def get_temp_dir_path(self) -> str:
        """Return the folder in which the session's is."""
        return get_runtime_context().get_temp_dir()


class _CoreWorker:
    """What programs ask Ray's native part of: identifiers, which `RuntimeContext` has too, and references."""

    def get_worker_id(self) -> WorkerID:
        """Return the identifier of this process."""
        return WorkerID(_process().worker)

    def get_current_job_id(self) -> JobID:
        """Return the identifier of the job."""
        return JobID(_process().job)

    def get_current_node_id(self) -> NodeID:
        """Return the identifier of the machine."""
        return NodeID(_process().node)

    def get_actor_id(self) -> ActorID:
        """Return the identifier of the actor that this process is, or nil."""
        actor = _process().actor
        return ActorID.nil() if actor is None else ActorID(actor)

    def get_actor_name(self) -> str:
        """Return the name of the actor that this process is, or ""."""
        return _process().actor_name or ""

    def get_current_task_id(self) -> TaskID:
        """Return the identifier of the task that runs, or nil."""
        task = current_task()
        return TaskID.nil() if task is None else TaskID(task.task)

    def get_current_task_name(self) -> str:
        """Return the name of the task that runs, or ""."""
        task = current_task()
        return "" if task is None else task.name

    def get_current_task_attempt_number(self) -> int:
        """Return which attempt of the task runs, from 0."""
        task = current_task()
        return 0 if task is None else task.attempt

    def get_placement_group_id(self) -> PlacementGroupID:
        """Return the identifier of the placement group that this runs in, or nil."""
        group = get_runtime_context().get_placement_group_id()
        return PlacementGroupID.nil() if group is None else PlacementGroupID.from_hex(group)

    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Tell whether what this starts runs in that group, too."""
        return get_runtime_context().should_capture_child_tasks_in_placement_group

    def current_actor_is_asyncio(self) -> bool:
        """Tell whether this runs in the event loop of an actor."""
        return _process().actor is not None and in_event_loop()

    def get_all_reference_counts(self) -> dict[bytes, dict[str, int]]:
        """Return of each object (its hexadecimal digits) how often this process and its calls refer to it.

        ``local`` is 1 where this process has the reference, and 0 where it does not (Ray: how many copies of it);
        ``submitted`` tells how often calls of it name the object that have not ended.
        """
        counts = session_engine().reference_counts()
        return {
            each.hex().encode(): {"local": local, "submitted": submitted} for each, (local, submitted) in counts.items()
        }

    def get_memory_store_size(self) -> int:
        """Return to how many objects this process refers. Source: Ray counts small values that it keeps."""
        return sum(local for local, _ in session_engine().reference_counts().values())

    def object_exists(self, ref: ObjectRef[Any], memory_store_only: bool = False) -> bool:
        """Tell whether a value is there. `memory_store_only` has no effect: there is one store."""
        ready, _ = wait([ref], timeout=0, fetch_local=False)
        if not ready:  # Of what nobody has made Ray must not be asked where it is: that ends the process.
            return False
        ((_, size, _),) = session_engine().locations([ref])
        return size is not None

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"'CoreWorker' object has no attribute {name!r}: it is internal to Ray.", name=name)


class _ThisProcess:
    """This process, whether a session runs in it or not. Source: Ray's ``global_worker``."""

    core_worker = _CoreWorker()

    @property
    def connected(self) -> bool:
        """Whether a session runs."""
        return is_initialized()

    @property
    def mode(self) -> int | None:
        """`SCRIPT_MODE` or `WORKER_MODE`; None without a session."""
        return get_runtime_context().worker.mode if is_initialized() else None

    @property
    def node(self) -> _Node | None:
        """The machine; None without a session."""
        return _Node() if is_initialized() else None

    @property
    def current_task_id(self) -> TaskID:
        """The identifier of the task that runs, or nil."""
        return self.core_worker.get_current_task_id()

    @property
    def current_task_name(self) -> str:
        """The name of the task that runs, or ""."""
        return self.core_worker.get_current_task_name()

    @property
    def current_node_labels(self) -> dict[str, str]:
        """The machine's labels."""
        return get_runtime_context().get_node_labels()

    @property
    def placement_group_id(self) -> PlacementGroupID:
        """The identifier of the placement group that this runs in, or nil."""
        return self.core_worker.get_placement_group_id()

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether what this starts runs in that group, too."""
        return self.core_worker.should_capture_child_tasks_in_placement_group()

    @property
    def runtime_env(self) -> str:
        """The runtime environment in force, as JSON."""
        return get_runtime_context().get_runtime_env_string()

    @property
    def is_canceled(self) -> bool:
        """Whether somebody has cancelled the task that runs."""
        return get_runtime_context().is_canceled()

    def check_connected(self) -> None:
        """Raise an error if no session runs."""
        session_engine()

    def put_object(self, value: Any) -> Any:
        """Store a value; see `ray.put`."""
        return put(value)

    def __getattr__(self, name: str) -> Any:
        if not is_initialized():
            raise AttributeError(f"'Worker' object has no attribute {name!r}: no session runs.", name=name)
        return getattr(get_runtime_context().worker, name)

    def __repr__(self) -> str:
        return "Worker(no session)" if not is_initialized() else repr(get_runtime_context().worker)


Worker = _ThisProcess
global_worker = Worker()


def _process() -> ProcessContext:
    return session_engine().process


def _mode(worker: Worker = global_worker) -> int | None:
    """Return what kind of process this is; None without a session."""
    return worker.mode


def get_dashboard_url() -> str:
    """Return the address of Ray's web page: there is none."""
    return ""


def __getattr__(name: str) -> Any:
    if name == "_global_node":
        return _Node() if is_initialized() else None
    return unusable(__name__, name, _OF_SERVERS)
