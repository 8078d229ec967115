"""``get_runtime_context``: what this code runs in."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any, NoReturn

from jupyter_ray import config
from jupyter_ray.api.cluster import assigned_devices
from jupyter_ray.api.constants import SCRIPT_MODE, WORKER_MODE
from jupyter_ray.api.handles import ActorHandle, current_handle
from jupyter_ray.api.runtime_env import RuntimeEnv
from jupyter_ray.deprecation import deprecated
from jupyter_ray.engine import registry
from jupyter_ray.engine.base import Engine
from jupyter_ray.engine.context import ProcessContext, current_task, in_event_loop
from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.ids import ActorID, JobID, NodeID, PlacementGroupID, TaskID
from jupyter_ray.interrupts import shielded
from jupyter_ray.resources import VISIBLE

_log = logging.getLogger("jupyter_ray")
_Ids = dict[str, list[str]]


def get_runtime_context() -> RuntimeContext:
    """Return what this code runs in: ids, names, resources. Starts a session if none runs.

    Where sessions are not started by themselves (``RAY_ENABLE_AUTO_CONNECT=0``) the context can be had all the same;
    what it is asked then raises a RuntimeError, unless it is None in a driver.

    Notes
    -----
    Source: Ray's ``ray.get_runtime_context``.
    """
    with contextlib.suppress(RaySystemError):
        registry.required()
    return RuntimeContext()


class NotInitializedError(RuntimeError, AssertionError):
    """There is no session, so that this cannot be told. Ray raises the one or the other."""


class RuntimeContext:
    """Facts about the running task, actor and process. Source: Ray's ``RuntimeContext``."""

    @property
    def _engine(self) -> Engine:
        return self._started("This")

    def _started(self, what: str) -> Engine:
        engine = registry.current()
        if engine is None:
            raise NotInitializedError(
                f"{what} is not available because Ray has not been initialized: call init() first."
            )
        return engine

    @property
    def _process(self) -> ProcessContext:
        return self._engine.process

    def _task(self, asked: str) -> TaskContext | None:
        task = current_task()
        if task is None and (registry.current() is None or self._process.is_driver):
            with shielded():
                _log.warning("%s() is only available in a task or an actor; in the driver it is None.", asked)
        return task

    def get_job_id(self) -> str:
        """Return the id of the session, as hexadecimal digits."""
        return self._started("Job ID").process.job.hex()

    def get_node_id(self) -> str:
        """Return the id of the machine, as hexadecimal digits."""
        return self._started("Node ID").process.node.hex()

    def get_worker_id(self) -> str:
        """Return the id of this process, as hexadecimal digits."""
        return self._started("Worker ID").process.worker.hex()

    def get_task_id(self) -> str | None:
        """Return the id of the running task, as hexadecimal digits; None in the driver."""
        task = self._task("get_task_id")
        return None if task is None else task.task.hex()

    def get_task_name(self) -> str | None:
        """Return the name of the running task: the option `name`, or that of the function; None in the driver."""
        task = self._task("get_task_name")
        return None if task is None else task.name

    def get_task_function_name(self) -> str | None:
        """Return module and qualified name of the function that the task runs; None in the driver."""
        task = self._task("get_task_function_name")
        return None if task is None else task.full_name()

    def get_actor_id(self) -> str | None:
        """Return the id of the actor that runs this, as hexadecimal digits; None outside of one."""
        self._task("get_actor_id")
        engine = registry.current()
        return None if engine is None or engine.process.actor is None else engine.process.actor.hex()

    def get_actor_name(self) -> str | None:
        """Return the name of the actor that runs this, empty if it has none; None outside of one."""
        self._task("get_actor_name")
        engine = registry.current()
        return None if engine is None or engine.process.actor is None else engine.process.actor_name or ""

    @property
    def namespace(self) -> str:
        """The namespace of named actors."""
        return self._process.namespace

    @property
    def current_actor(self) -> ActorHandle[Any]:
        """A weak handle of the actor that runs this; RuntimeError outside of one."""
        return current_handle()

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether the actor that runs this was restarted; AssertionError outside of one (as in Ray)."""
        if self._process.actor is None:
            raise AssertionError("This method is only available in an actor.")
        return self._process.restarts > 0

    def get_assigned_resources(self) -> dict[str, float]:
        """Return the amounts that the running task or actor holds."""
        task = current_task()
        held = task.held if task is not None and task.actor is None else self._process.held
        return dict(held)

    def get_accelerator_ids(self) -> _Ids:
        """Return the ids, as text, of the accelerators held, by their kind; in the driver there are none."""
        held = {} if self._process.is_driver else assigned_devices()
        return {kind: list(held.get(kind, ())) for kind in VISIBLE}

    def is_canceled(self) -> bool:
        """Tell whether `cancel` was called for the running task.

        Raises
        ------
        RuntimeError
            In the driver, and in an async actor (there the coroutine is cancelled).
        """
        task = current_task()
        if task is None:
            raise RuntimeError("is_canceled() is only available in a task or in a method of an actor.")
        if in_event_loop():
            raise RuntimeError(
                "This method is not supported in an async actor. There a cancel raises asyncio.CancelledError."
            )
        return task.cancelled or self._engine.is_cancelled(task.task)

    def get_session_name(self) -> str:
        """Return the name of the session."""
        return self._started("Session name").process.session

    @property
    def gcs_address(self) -> str:
        """The address of the session."""
        return self._engine.address

    def get_dashboard_url(self) -> str:
        """Return an empty text: the panel needs no server."""
        return ""

    def get_temp_dir(self) -> str:
        """Return the session's folder."""
        return str(config.session_folder(self._started("Temp directory").process.session))

    def get_placement_group_id(self) -> str | None:
        """Return the placement group (hex) that this runs in; None without one."""
        task = current_task()
        return (task.group if task is not None else "") or self._process.group or None

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether tasks started here run in the placement group of this one."""
        task = current_task()
        return self._process.capture if task is None else task.capture

    @property
    def runtime_env(self) -> RuntimeEnv:
        """The runtime environment in force."""
        task = current_task()
        fields = (task.runtime_env if task is not None else None) or self._process.runtime_env
        return RuntimeEnv(_validate=False, **(fields or {}))

    def get_runtime_env_string(self) -> str:
        """Return the runtime environment in force as JSON."""
        return json.dumps(self.runtime_env, sort_keys=True)

    def get_node_labels(self) -> dict[str, str]:
        """Return the labels of the machine."""
        labels: dict[str, str] = self._engine.nodes()[0]["Labels"]
        return labels

    @property
    def worker(self) -> Worker:
        """What programs ask of Ray's own record of this process: its mode, its address."""
        return Worker(self._engine)

    @property
    def job_id(self) -> JobID:
        """Deprecated: use `get_job_id`."""
        _deprecated("job_id")
        return JobID(self._process.job)

    @property
    def node_id(self) -> NodeID:
        """Deprecated: use `get_node_id`."""
        _deprecated("node_id")
        return NodeID(self._process.node)

    @property
    def task_id(self) -> TaskID:
        """Deprecated: use `get_task_id`."""
        _deprecated("task_id")
        task = current_task()
        return TaskID.nil() if task is None else TaskID(task.task)

    @property
    def actor_id(self) -> ActorID | None:
        """Deprecated: use `get_actor_id`."""
        _deprecated("actor_id")
        actor = self._process.actor
        return None if actor is None else ActorID(actor)

    @property
    def current_placement_group_id(self) -> PlacementGroupID:
        """Deprecated: use `get_placement_group_id`."""
        _deprecated("placement_group_id", "current_placement_group_id")
        group = self.get_placement_group_id()
        return PlacementGroupID.nil() if group is None else PlacementGroupID.from_hex(group)

    def get_resource_ids(self) -> _Ids:
        """Deprecated: use `get_accelerator_ids`."""
        _deprecated("accelerator_ids", "get_resource_ids()")
        return self.get_accelerator_ids()

    def get(self) -> dict[str, Any]:
        """Return the ids in a dict. Deprecated: use the methods."""
        context: dict[str, Any] = {
            "job_id": JobID(self._process.job),
            "node_id": NodeID(self._process.node),
            "namespace": self.namespace,
        }
        task = current_task()
        if task is not None:
            context["task_id"] = TaskID(task.task)
        if self._process.actor is not None:
            context["actor_id"] = ActorID(self._process.actor)
        return context

    def __repr__(self) -> str:
        task = current_task()
        where = "driver" if task is None else f"task {task.name} {task.task.hex()}"
        return f"<RuntimeContext {where}, namespace {self.namespace!r}>"


class Worker:
    """This process. Of Ray's ``Worker``, which is its inside, what programs take from it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        process = engine.process
        self.mode = SCRIPT_MODE if process.is_driver else WORKER_MODE
        self.worker_id = process.worker
        self.current_job_id = JobID(process.job)
        self.current_node_id = NodeID(process.node)
        self.actor_id = ActorID.nil() if process.actor is None else ActorID(process.actor)
        self.namespace = process.namespace

    @property
    def node_ip_address(self) -> str:
        """The address of the machine."""
        mine = self.current_node_id.hex()
        address: str = next(node["NodeManagerAddress"] for node in self._engine.nodes() if node["NodeID"] == mine)
        return address

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"'Worker' object has no attribute {name!r}: it is internal to Ray; of that, mode, worker_id, actor_id, "
            "namespace, current_job_id, current_node_id and node_ip_address are offered."
        )


def _deprecated(name: str, old: str = "") -> None:
    deprecated(f"Use get_{name}() instead of {old or name}.")
