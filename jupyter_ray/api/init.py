"""``init``, the start at first use, and a head start for the runtime.

The runtime is another interpreter, which takes longer to import what it needs than this one does. So this module
imports next to nothing, and has it started before anything else: both import at the same time.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jupyter_ray.engine import registry

if TYPE_CHECKING:
    from jupyter_ray.api.job_config import JobConfig
    from jupyter_ray.api.session import RayContext
    from jupyter_ray.engine.base import Engine

_UNHEEDED = frozenset({
    "local_mode", "include_dashboard", "dashboard_host", "dashboard_port", "enable_resource_isolation", "cgroup_path",
    "system_reserved_cpu", "system_reserved_memory", "proxy_server_url",
})  # fmt: skip
"""Parameters that no session knows of."""
_IGNORED = ("enable_object_reconstruction", "log_style")


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: dict[str, float] | None = None,
    labels: dict[str, str] | None = None,
    object_store_memory: int | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    include_dashboard: bool | None = None,
    dashboard_host: str = "127.0.0.1",
    dashboard_port: int | None = None,
    job_config: JobConfig | None = None,
    configure_logging: bool = True,
    logging_level: int | str = "info",
    logging_format: str | None = None,
    logging_config: Any = None,
    log_to_driver: bool | None = None,
    namespace: str | None = None,
    runtime_env: dict[str, Any] | None = None,
    enable_resource_isolation: bool = False,
    cgroup_path: str | None = None,
    system_reserved_cpu: float | None = None,
    system_reserved_memory: int | None = None,
    proxy_server_url: str | None = None,
    object_spilling_directory: str | None = None,
    **others: Any,
) -> RayContext:
    """Start a session, or join that of another driver or a cluster.

    Parameters
    ----------
    address
        None or ``"local"``: start a runtime on this machine. ``"unix:..."``: join the runtime of another notebook or
        script of this user, by what ``address_info["address"]`` is there. ``"auto"``: join the newest of those or, if
        there is none, a running Ray cluster. ``"host:port"``: join a Ray cluster of which this machine is a node.
        ``"ray://host:10001"``: join a Ray cluster from any machine, through Ray Client. The environment variable
        ``RAY_ADDRESS`` stands in for None and for ``"auto"``. See docs/engines.md.
    num_cpus, num_gpus
        How many to use; None: all that this machine has. More GPUs than it has may be declared, for tests.
    resources
        Custom resources, by name.
    labels
        Labels of this machine, by name.
    object_store_memory
        Limit of the shared memory, in bytes.
    namespace
        Where named actors of this session are found; None: a namespace that no other session has.
    runtime_env
        For all tasks and actors: ``env_vars``, ``working_dir``, ``py_modules``.
    ignore_reinit_error
        Do not raise if a session is running already.
    log_to_driver
        Whether to print here what tasks print; None: yes, unless the environment variable ``RAY_LOG_TO_DRIVER`` is 0.
    configure_logging, logging_level, logging_format
        For the logger ``jupyter_ray``.
    logging_config
        A `LoggingConfig`: for the root loggers of this process and of the workers.
    local_mode
        No longer offered (as in Ray).
    object_spilling_directory
        The folder for values that have no room in memory; None: the folder of temporary files.
    job_config
        A `JobConfig`, for settings that the other parameters leave open.
    include_dashboard, dashboard_host, dashboard_port, proxy_server_url
        Accepted: there is no dashboard.
    enable_resource_isolation, cgroup_path, system_reserved_cpu, system_reserved_memory
        Accepted, without effect.
    **others
        Ray's further keywords that begin with ``_``. ``_temp_dir`` names the folder in which the session's folder
        is made; ``_memory`` and ``_node_name`` are honoured too, and others have no effect.

    Returns
    -------
    RayContext
        Facts about the session.

    Raises
    ------
    RuntimeError
        A session runs already, a keyword is unknown, or `local_mode` was asked for.
    ConnectionError
        Nobody answers at `address`.
    ValueError
        When joining: an option is given that only the driver that starts the runtime or cluster can set.

    Notes
    -----
    Source: Ray's ``ray.init``.
    """
    if local_mode:
        raise RuntimeError(
            "`local_mode` is no longer supported. To debug a task, call the plain function, "
            "or set a breakpoint in it with num_cpus=1."
        )
    if others.pop("allow_multiple", False) and not str(address or "").startswith("ray://"):
        raise RuntimeError("`allow_multiple` is for connections through Ray Client, `ray://...`. Leave it out.")
    settings = others.get("_system_config")
    if settings is not None and not isinstance(settings, dict):
        raise TypeError(f"The _system_config must be a dict, got {type(settings)}.")
    unknown = [name for name in others if name not in _IGNORED and not name.startswith("_")]
    if unknown:
        from jupyter_ray.spelling import meant

        valid = ("address", *_defaults(), "_memory", "_temp_dir", "_node_name")
        hint = "".join(meant(name, valid) for name in unknown)
        raise RuntimeError(f"Unknown keyword argument(s): {', '.join(unknown)}{hint and '.'}{hint}")
    with _head_start(address, others.get("_temp_dir")):
        from jupyter_ray.api import session

        begun = session.begin(
            address,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            resources=resources,
            labels=labels,
            object_store_memory=object_store_memory,
            ignore_reinit_error=ignore_reinit_error,
            job_config=job_config,
            configure_logging=configure_logging,
            logging_level=logging_level,
            logging_format=logging_format,
            logging_config=logging_config,
            log_to_driver=log_to_driver,
            namespace=namespace,
            runtime_env=runtime_env,
            object_spilling_directory=object_spilling_directory,
            others=others,
        )
    _await_notebook()
    return begun


def start_at_first_use() -> Engine:
    """Return the engine, after what `init()` does if none runs; RaySystemError where the environment forbids that."""
    from jupyter_ray.api import session

    with session.lock:
        engine = registry.current() or _first_engine()
    _await_notebook()
    return engine


def _first_engine() -> Engine:
    from jupyter_ray.api import session

    if _in_worker_of_ray():
        from jupyter_ray.engine.base import InitOptions

        engine = registry.start("ray", InitOptions(), "worker")
        registry.set_current(engine)
        return engine
    if os.environ.get("RAY_ENABLE_AUTO_CONNECT", "") == "0":
        from jupyter_ray.exceptions import RaySystemError

        raise RaySystemError(
            "Ray has not been started yet. You can start Ray with 'ray.init()'. "
            "(RAY_ENABLE_AUTO_CONNECT=0 switches the start at first use off.)"
        )
    told: dict[str, Any] = {name: value for name, value in _defaults().items() if name not in _UNHEEDED}
    with _head_start(None, None):
        session.begin(None, **told, others={})
    return session.session_engine()


def _defaults() -> dict[str, Any]:
    return init.__kwdefaults__ or {}


def _await_notebook() -> None:
    """Wait for a notebook that is still being loaded: it is to show this session from its beginning.

    Never with the session's lock in hand, which that needs.
    """
    from jupyter_ray.engine.context import current_cell

    current_cell()


def _in_worker_of_ray() -> bool:
    """Tell whether Ray runs this process as a worker: what uses this package in a library's task is in its session."""
    native = sys.modules.get("ray")
    worker = getattr(getattr(getattr(native, "_private", None), "worker", None), "global_worker", None)
    return worker is not None and getattr(worker, "mode", None) == getattr(native, "WORKER_MODE", 1)


@contextlib.contextmanager
def _head_start(address: str | None, folder: object) -> Iterator[None]:
    """Have a local runtime started, if that is what is asked for; end it if nothing comes of it."""
    local = address == "local" or not (address or os.environ.get("RAY_ADDRESS"))
    begun = local and folder is None and registry.current() is None
    try:
        begun = begun and registry.warm("local", wait=True)
        yield
    except BaseException:
        if begun:
            registry.cool("local")
        raise
