"""The session: its start and end, and who is told what is printed in it.

One session per process. `lock` guards its start and end, so that several threads may use the package first at the
same time.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import importlib
import logging
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from jupyter_ray import config
from jupyter_ray._version import RAY_VERSION, __version__
from jupyter_ray.alias import stands_for_ray
from jupyter_ray.api import logs
from jupyter_ray.api.init_options import init_options, wants_post_mortem
from jupyter_ray.api.job_config import JobConfig
from jupyter_ray.engine import log_format, registry
from jupyter_ray.engine.base import Engine, InitOptions
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.interrupts import shielded

_log = logging.getLogger("jupyter_ray")
lock = threading.RLock()
_printer: logs.LogPrinter | None = logs.print_lines
_earlier: logs.LogPrinter | None = None
_told = logs.Told()
_stop_printing: Callable[[], None] | None = None
_warm = False
_owner = 0
# A forked child has no session, and not the thread that held the lock.
os.register_at_fork(after_in_child=lambda: globals().update(lock=threading.RLock(), _stop_printing=None, _warm=False))

_FORMAT = "%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s"

_GIVEN_AS = {"memory": "_memory"}
"""How `init` calls an option, where that differs."""

_RESOURCES = ("num_cpus", "num_gpus", "resources", "memory", "object_store_memory")


class NotStartedError(RaySystemError, ConnectionError, RuntimeError):
    """No session runs. Ray raises the first of these, the second in the state API, and the third in `timeline`."""

    def __init__(self) -> None:
        super().__init__("Ray has not been started yet. You can start Ray with 'ray.init()'.")

    def __reduce__(self) -> tuple[Any, ...]:
        return NotStartedError, ()


@dataclasses.dataclass(slots=True)
class RayContext(Mapping[str, Any]):
    """What `init` returns: facts about the session. As a context manager it ends the session at its exit.

    Source: Ray's ``RayContext``; reading it as a mapping (of `address_info`) is deprecated there and works here.
    """

    address_info: dict[str, Any]
    dashboard_url: str = ""
    python_version: str = dataclasses.field(default_factory=platform.python_version)
    ray_version: str = dataclasses.field(default_factory=lambda: RAY_VERSION if stands_for_ray() else __version__)
    ray_commit: str = ""

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def disconnect(self) -> None:
        """End the session."""
        shutdown()

    def __enter__(self) -> RayContext:
        return self

    def __exit__(self, *error: object) -> None:
        shutdown()

    def __repr__(self) -> str:
        return (
            f"RayContext(dashboard_url={self.dashboard_url!r}, python_version={self.python_version!r}, "
            f"ray_version={self.ray_version!r}, address={self.address_info.get('address')!r})"
        )


def begin(
    address: str | None,
    *,
    num_cpus: float | None,
    num_gpus: float | None,
    resources: dict[str, float] | None,
    labels: dict[str, str] | None,
    object_store_memory: int | None,
    ignore_reinit_error: bool,
    job_config: JobConfig | None,
    configure_logging: bool,
    logging_level: int | str,
    logging_format: str | None,
    logging_config: Any,
    log_to_driver: bool | None,
    namespace: str | None,
    runtime_env: dict[str, Any] | None,
    object_spilling_directory: str | None,
    others: Mapping[str, Any],
) -> RayContext:
    """Start a session, or join a cluster: what `init` does, and says. Its defaults are those of `init`.

    Parameters
    ----------
    address, num_cpus, num_gpus, resources, labels, object_store_memory, ignore_reinit_error, job_config, \
    configure_logging, logging_level, logging_format, logging_config, log_to_driver, namespace, runtime_env, \
    object_spilling_directory
        Those of `init`.
    others
        Its further keywords.
    """
    if not isinstance(address, str | None):
        raise TypeError(f"address must be a string, got {type(address)}.")
    if job_config and not hasattr(job_config, "ray_namespace"):
        raise TypeError(f"job_config must be a JobConfig, got {type(job_config)}.")
    submitted = JobConfig.of_environment()
    job = job_config or submitted
    runtime_env = submitted.joined(runtime_env)
    if (hook := os.environ.get("RAY_RUNTIME_ENV_HOOK")) and not others.get("_skip_env_hook"):
        runtime_env = _named(hook)(runtime_env)
    options = init_options(
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        resources=resources,
        memory=others.get("_memory"),
        object_store_memory=object_store_memory,
        namespace=namespace if namespace is not None else job.ray_namespace,
        runtime_env=runtime_env if runtime_env else job.runtime_env,
        log_to_driver=os.environ.get("RAY_LOG_TO_DRIVER", "1") != "0" if log_to_driver is None else log_to_driver,
        logging_config=logging_config,
        spill_directory=object_spilling_directory,
        system_config=others.get("_system_config"),
        temp_dir=others.get("_temp_dir"),
        actor_lifetime=job.default_actor_lifetime,
        metadata=job.metadata,
        code_search_path=job.code_search_path,
        labels=labels,
        node_name=others.get("_node_name"),
    )
    with lock:
        running = _running(ignore_reinit_error)
        if running is not None:
            return _context(running)
        if configure_logging:
            with shielded():
                if options.logging is not None:
                    log_format.apply(options.logging)
                _configure_logging(logging_level, logging_format)
        if address in (None, "", "auto") and (named := os.environ.get("RAY_ADDRESS")):
            if not address:
                options = _without_resources(options, named)
            address = named
        here = _runtime_here(address, options)
        if here is not None:
            asked = {_GIVEN_AS.get(name, name): value for name, value in _asked(options).items()}
            others_asked = {name: others.get(name) for name in ("_system_config", "_node_name")}
            asked |= {"labels": labels, "object_spilling_directory": object_spilling_directory, **others_asked}
            _check_joinable(address, asked)
            address = here
        if configure_logging and options.logging is None and _is_local(address):  # On a cluster, Ray itself does that.
            with shielded():
                log_format.give_handler(logging.getLogger("ray"), logging_format or _FORMAT, logging_level)
        try:
            return _context(_start(address or None, options))
        except BaseException:  # An interrupt right after the start, in most cases.
            shutdown()
            raise


def _running(ignore: bool) -> Engine | None:
    """Return the engine of the session that runs already, None if none does.

    Raises
    ------
    RuntimeError
        One does, and that is not to `ignore`.
    """
    engine = registry.current()
    if engine is None:
        return None
    if not engine.alive:  # Its runtime died. What is left of it must not stand in the way of a new one.
        shutdown()
        return None
    if not ignore:
        raise RuntimeError(
            "Maybe you called ray.init twice by accident? This error can be suppressed by passing in "
            "'ignore_reinit_error=True' or by calling 'ray.shutdown()' prior to 'ray.init()'."
        )
    with shielded():
        _log.info("Calling init() again after it has already been called.")
    return engine


def _runtime_here(address: str | None, options: InitOptions) -> str | None:
    """Return the address of the local runtime of another driver that `address` means, if it means one.

    ``"auto"`` is the newest one that lives, and a Ray cluster if there is none.
    """
    if address is not None and address.startswith(config.LOCAL_ADDRESS):
        return address
    return registry.find(options.temp_dir) if address == "auto" else None


def _is_local(address: str | None) -> bool:
    return address in (None, "", "local") or str(address).startswith(config.LOCAL_ADDRESS)


def _check_joinable(address: str | None, asked: dict[str, Any]) -> None:
    """Raise a ValueError if something is asked for that only the driver can say which starts a runtime."""
    given = [name for name, value in asked.items() if value not in (None, {})]
    if given:
        raise ValueError(
            f"When connecting to an existing cluster, {' and '.join(given)} must not be provided: "
            f"init(address={address!r}) joins a runtime, whose options were given by the driver that started it."
        )


def _start(address: str | None, options: InitOptions) -> Engine:
    global _owner, _warm
    if _is_local(address):
        engine = registry.start("local", options, None if address == "local" else address)
    else:
        if asked := _asked(options):
            raise ValueError(
                f"init(address={address!r}) joins a cluster, whose resources were given when its nodes were started: "
                f"leave {', '.join(f'{name}=' for name in asked)} out."
            )
        from jupyter_ray.engine import addresses  # A session of this machine's own does without.

        addresses.check_reachable(str(address))
        addresses.load_engine()
        engine = registry.start("ray", options, address)
    _warm = False  # Bound now, if it was warm.
    if _owner != os.getpid():
        _owner = os.getpid()
        atexit.register(_at_exit)
    if registry.current() is not engine:
        registry.set_current(engine)
    if os.environ.get("RAY_DEBUG") == "legacy":
        from jupyter_ray.api import debugger

        debugger.install()
    if wants_post_mortem(None if engine.name == "ray" else options.runtime_env):
        with shielded():
            _log.warning(
                "RAY_DEBUG_POST_MORTEM=1 has no effect here: no debugger reaches a task that failed. Its error has the "
                "remote traceback; to look into it, call the plain function in this process, under a debugger."
            )
    logs.be_plain(options.logging is not None)
    if options.log_to_driver:
        _start_printing(engine)
    with shielded():
        _log.info("A session has started: %s.", engine.name)
    return engine


def _named(path: str) -> Any:
    """Return what a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _without_resources(options: InitOptions, address: str) -> InitOptions:
    """Return the options of a program for one machine that runs unchanged on the cluster in the environment."""
    asked = _asked(options)
    if not asked or address == "local":
        return options
    named = ", ".join(f"{name}={value}" for name, value in asked.items())
    with shielded():
        _log.info("RAY_ADDRESS=%s: %s is left out, since a cluster's resources are given.", address, named)
    return msgspec.structs.replace(options, **dict.fromkeys(asked))


def _asked(options: InitOptions) -> dict[str, Any]:
    """Return what was asked for that a machine has and a cluster is given."""
    values = {name: getattr(options, name) for name in _RESOURCES}
    return {name: value for name, value in values.items() if value is not None}


def shutdown(*, wait_for_processes: bool = False, _exiting_interpreter: bool = False) -> None:
    """End the session and all its processes; references and handles of it are dead afterwards. Idempotent.

    When it returns, the processes are gone, whatever `wait_for_processes` says.

    Notes
    -----
    Source: Ray's ``ray.shutdown``. In a task or actor it does nothing: the session belongs to the driver.
    """
    global _warm
    with lock:
        engine = registry.current()
        if engine is not None:
            if not engine.process.is_driver:
                return
            try:
                engine.shutdown()
            except KeyboardInterrupt:
                if not engine.alive:  # Else it came first: nothing has ended, and who calls again ends it.
                    _forget_session()
                raise
            except BaseException:
                _forget_session()
                raise
            _forget_session()
        elif _warm:
            _warm = False
            registry.cool("local")


def _forget_session() -> None:
    global _told
    _end_printing()
    _told = logs.Told()
    registry.set_current(None)


def is_initialized() -> bool:
    """Tell whether a session runs in this process."""
    return registry.current() is not None


def warm_up() -> None:
    """Start the local runtime's processes in the background, bound to nothing yet. `init` or the first use binds them.

    What ``%load_ext`` calls. Returns at once; idempotent.
    """
    global _warm
    with lock:
        if registry.current() is None:
            _warm = True
            registry.warm("local")


def set_log_printer(printer: logs.LogPrinter | None, earlier: logs.LogPrinter | None = None) -> Callable[[], None]:
    """Say who shows what tasks print; None: nobody here, since something else reads the events.

    Parameters
    ----------
    printer, earlier
        Called with a list of `LogLines` in a thread of the engine. It takes effect at once, also for a running session:
        `earlier` gets what a printer before has shown of that.

    Returns
    -------
    callable
        Puts the printer back that was there before.
    """
    global _printer, _earlier
    before, earlier_before = _printer, _earlier
    with lock:
        _printer, _earlier = printer, earlier
        engine = registry.current()
        if engine is not None and engine.process.is_driver and (_stop_printing is not None or before is None):
            _end_printing()
            _start_printing(engine)
    return lambda: (set_log_printer(before, earlier_before), None)[1]


def session_engine() -> Engine:
    """Return the engine of the running session, without starting one.

    Raises
    ------
    NotStartedError
        None runs.
    """
    engine = registry.current()
    if engine is None:
        raise NotStartedError
    return engine


def _start_printing(engine: Engine) -> None:
    global _stop_printing
    if _printer is not None:
        _stop_printing = engine.subscribe(logs.listener(_printer, _told, _earlier), logs_only=True)


def _end_printing() -> None:
    global _stop_printing
    if _stop_printing is not None:
        with contextlib.suppress(RaySystemError, OSError):
            _stop_printing()
        _stop_printing = None
        logs.print_rest()


def _at_exit() -> None:
    if os.getpid() == _owner:  # Not in a forked child, whose parent goes on.
        shutdown(_exiting_interpreter=True)
        registry.set_starter(_too_late)


def _too_late() -> Engine:
    """Start no session for what a program still does when the interpreter has begun to end, in a ``__del__`` say."""
    raise NotStartedError


def _context(engine: Engine) -> RayContext:
    process = engine.process
    return RayContext(
        address_info={
            "node_ip_address": "127.0.0.1",
            "address": engine.address,
            "gcs_address": engine.address,
            "node_id": process.node.hex(),
            "session_dir": str(config.session_folder(process.session)),
            "session_name": process.session,
            "namespace": process.namespace,
            # Ray's keys of what is not here: no port is opened, and there is no web page.
            **dict.fromkeys(("webui_url", "object_store_address", "raylet_socket_name"), ""),
            **dict.fromkeys(("metrics_export_port", "dashboard_agent_listen_port"), 0),
            "redis_address": None,
        }
    )


def _configure_logging(level: int | str, form: str | None) -> None:
    """Set the package's logger up; a script that has no handlers gets one, as in Ray, a notebook does not."""
    _log.setLevel(log_format.as_level(level))
    is_script = _printer is logs.print_lines and not _in_kernel() and not _log.hasHandlers()
    if form is not None or is_script:
        log_format.give_handler(_log, form or _FORMAT)


def _in_kernel() -> bool:
    """Tell whether this process is a notebook's kernel, also before the extension is loaded whole."""
    kernelapp = sys.modules.get("ipykernel.kernelapp")
    return kernelapp is not None and bool(kernelapp.IPKernelApp.initialized())
