"""Ray's names that are not offered here: for each, why, and what to use instead.

A program for Ray that needs one of them should hear that in one sentence, whether it asks for an attribute
(``ray.data``), imports a module (``import ray.data``) or a name from one (``from ray import data``).
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from jupyter_ray.spelling import meant

_PACKAGE = __name__.partition(".")[0] + "."

_LIBRARY = (
    "a library on top of Ray, and comes with Ray: import it from ray itself. A session on a cluster, "
    "ray.init(address=...), shares that cluster with it"
)
_GRAPHS = (
    "for graphs that are built first and run later: call .remote(), which starts a call once its arguments are there"
)
_CLIENT = "Ray's own way to a cluster: ray.init(address='ray://host:10001') goes there"
_PYTHON = "for other languages than Python"
_DASHBOARD = "Ray's web page: the side panel, %ray and ray.util.state show what runs here"
_INSIDE = (
    "internal to Ray. Of what programs use of it, ray.util.get_node_ip_address(), ray.get_runtime_context(), "
    "ray.nodes() and ray.util.state are public; a value is freed with its last reference"
)
_TENSORS = "for transfers between GPUs: references carry tensors through shared memory here"
_ITERATORS = "deprecated in Ray: generator tasks, ray.util.ActorPool or ray.util.multiprocessing.Pool do that"
_OWN_PRODUCT = "a bridge to another product, and comes with Ray: import it from ray itself"
_DEBUGGER = "a debugger over the network: ray.util.pdb.set_trace() and breakpoint() say what works here"
_OF_A_CLUSTER = "for tests of Ray's own servers, of clusters and clouds: none of that is here"
_OLDER = "a name of older versions of Ray: "
_WAS_INSIDE = _OLDER + _INSIDE

_WHY = {
    **dict.fromkeys(
        ("data", "train", "tune", "serve", "rllib", "llm", "air", "workflow", "job_submission"), _LIBRARY
    ),
    **dict.fromkeys(("dag", "experimental.channel", "experimental.compiled_dag_ref"), _GRAPHS),
    "experimental.collective": _GRAPHS,
    **dict.fromkeys(("client", "ClientBuilder", "client_builder"), _CLIENT),
    **dict.fromkeys(("util.client", "util.client_connect", "util.connect", "util.disconnect"), _CLIENT),
    **dict.fromkeys(("java_function", "java_actor_class", "cpp_function", "cross_language"), _PYTHON),
    **dict.fromkeys(("dashboard", "widgets"), _DASHBOARD),
    **dict.fromkeys(("_private", "_common", "_config", "core", "internal"), _INSIDE),
    **dict.fromkeys(("ray_constants", "services", "serialization", "log"), _INSIDE),
    **dict.fromkeys(("AUTO_INIT_APIS", "NON_AUTO_INIT_APIS", "SPILL_WORKER_MODE", "RESTORE_WORKER_MODE"), _INSIDE),
    **dict.fromkeys(("util.timer", "util.common", "util.serialization_addons", "experimental.util"), _INSIDE),
    **dict.fromkeys(("experimental.job", "experimental.gradio_utils", "experimental.tf_utils"), _LIBRARY),
    **dict.fromkeys(("util.dask", "util.spark", "util.horovod", "util.lightgbm", "util.xgboost"), _OWN_PRODUCT),
    **dict.fromkeys(("util.rpdb", "util.ray_debugpy", "util.debugpy"), _DEBUGGER),
    "autoscaler": "for clusters that grow: ray.init(num_cpus=..., resources=...) says what this machine has",
    "scripts": "the command line of Ray: ray.init() starts a session, and %ray tells of it",
    "util.collective": "for groups of GPUs on several machines: import it from ray itself, in a session on a cluster",
    "util.tpu": "for slices of TPUs on several machines",
    "util.tracing": "for OpenTelemetry: ray.timeline() writes what ran when",
    "util.check_open_ports": "for clusters that can be reached from outside: no port is opened here",
    "util.state.state_cli": "the command line of Ray: ray.util.state has the same, as functions",
    "experimental.shuffle": "an example of Ray's: tasks with num_returns=N are what it consists of",
    **dict.fromkeys(("util.iter", "util.iter_metrics"), _ITERATORS),
    **dict.fromkeys(
        ("util.sgd", "experimental.sgd"), f"{_OLDER}its successor is ray.train, a library on top of Ray"
    ),
    "experimental.sandbox": "for containers: import it from ray itself, in a session on a cluster",
    **dict.fromkeys((f"experimental.{name}" for name in (
        "rdt", "RDTManager", "TensorTransportManager", "TensorTransportMetadata", "CommunicatorMetadata",
        "register_tensor_transport", "wait_tensor_freed", "set_target_for_ref", "set_target_device_for_ref",
        "register_nixl_memory", "deregister_nixl_memory", "register_nixl_memory_pool", "set_nixl_cuda_stream",
    )), _TENSORS),
    "experimental.dynamic_resources": f"{_OLDER}ray.init(resources=...) says what there is",
    "experimental.queue": f"{_OLDER}ray.util.queue",
    "experimental.multiprocessing": f"{_OLDER}ray.util.multiprocessing",
    **dict.fromkeys(("experimental.ActorPool", "experimental.actor_pool"), f"{_OLDER}ray.util.ActorPool"),
    "experimental.MultiprocessingPool": f"{_OLDER}ray.util.multiprocessing",
    "experimental.joblib": f"{_OLDER}ray.util.joblib",
    "experimental.async_api": f"{_OLDER}`await` a reference, or ref.future() for concurrent.futures",
    "experimental.signal": f"{_OLDER}an actor, or a ray.util.queue.Queue, carries a signal",
    "experimental.ui": f"{_OLDER}ray.timeline(filename=...)",
    "experimental.no_return": f"{_OLDER}the option num_returns=0",
    **dict.fromkeys(("experimental.get", "experimental.wait", "experimental.api"), f"{_OLDER}ray.get() and ray.wait()"),
    **dict.fromkeys(("experimental.parallel", "experimental.iter"), f"{_OLDER}ray.util.ActorPool or generator tasks"),
    "experimental.serve": f"{_OLDER}ray.serve, a library on top of Ray",
    **dict.fromkeys(("experimental.streaming", "streaming"), f"{_OLDER}generator tasks, and actors that take turns"),
    **dict.fromkeys(("dataframe", "util.pandas"), f"{_OLDER}pandas on Ray is the package Modin now"),
    "experimental.array": f"{_OLDER}arrays in pieces are a list of references to numpy arrays",
    **dict.fromkeys(("connect", "disconnect"), f"{_OLDER}ray.init() and ray.shutdown()"),
    "select": f"{_OLDER}ray.wait()",
    "global_state": f"{_OLDER}ray.nodes(), ray.cluster_resources(), ray.timeline() and ray.util.state",
    **dict.fromkeys(("tasks", "task_info"), f"{_OLDER}ray.util.state.list_tasks()"),
    "object_transfer_timeline": f"{_OLDER}ray.timeline()",
    "show_in_webui": f"{_OLDER}what a task prints is shown",
    "PYTHON_MODE": f"{_OLDER}to debug a task, call the plain function",
    "SILENT_MODE": f"{_OLDER}ray.init(log_to_driver=False)",
    "worker": f"{_OLDER}errors are in ray.exceptions, and ray.get_runtime_context() tells where code runs",
    **dict.fromkeys(("utils", "gcs_utils", "signature", "profiling", "function_manager", "parameter"), _WAS_INSIDE),
    **dict.fromkeys(("node", "state", "local_scheduler", "plasma", "ray_logging", "resource_spec"), _WAS_INSIDE),
    "exceptions.RayTimeoutError": f"{_OLDER}ray.exceptions.GetTimeoutError",
    "exceptions.RayWorkerError": f"{_OLDER}ray.exceptions.WorkerCrashedError",
    "exceptions.RayletError": f"{_OLDER}ray.exceptions.LocalRayletDiedError",
    "exceptions.RayConnectionError": f"{_OLDER}ConnectionError",
    "exceptions.UnreconstructableError": f"{_OLDER}ray.exceptions.ObjectLostError",
    "actor.Checkpointable": f"{_OLDER}an actor with max_restarts=N runs __init__ again, which reads what methods saved",
    "jobs": f"{_OLDER}ray.util.state.list_jobs()",
    "actors": f"{_OLDER}ray.util.state.list_actors()",
    "objects": f"{_OLDER}ray.util.state.list_objects()",
    **dict.fromkeys(
        ("errors", "error_info"), f"{_OLDER}ray.util.state.list_tasks(filters=[('state', '=', 'FAILED')], detail=True)"
    ),
    "client_table": f"{_OLDER}ray.nodes()",
    "get_resource_ids": f"{_OLDER}ray.get_runtime_context().get_assigned_resources()",
    "get_webui_url": f"{_OLDER}there is no web page; the side panel and %ray show what runs",
    "get_dashboard_url": f"{_OLDER}there is no web page; the side panel and %ray show what runs",
    "profile": f"{_OLDER}ray.timeline()",
    "register_custom_serializer": f"{_OLDER}ray.util.register_serializer()",
    "util.register_custom_serializer": f"{_OLDER}ray.util.register_serializer()",
    **dict.fromkeys((f"{home}.{name}" for home in ("util", "experimental") for name in (
        "named_actors", "get_actor", "register_actor",
    )), f"{_OLDER}ray.get_actor(), and the option name= of an actor"),
}  # fmt: skip

_IN_PART = ("_private", "_common", "autoscaler")
"""Packages of which a few names are offered; each other one is not for the same reason."""


def why_absent(module: str, name: str = "") -> str | None:
    """Return why Ray's name is not there, in one sentence, or None if Ray has none such either.

    Parameters
    ----------
    module
        Full name of a module of this package, ``"jupyter_ray.util"``, or of one that would be in it.
    name
        What is missing in it, if it is not the module itself.
    """
    dotted = f"{module}.{name}".removesuffix(".").removeprefix(_PACKAGE)
    package = dotted.partition(".")[0]
    why = _WHY.get(package if package in _IN_PART else dotted)
    return None if why is None else f"ray.{dotted} is not offered. It is {why} (docs/ray-api.md lists what is offered)."


def absent(module: str, name: str) -> AttributeError:
    """Return the error of a module that has no such attribute."""
    plain = f"module {module!r} has no attribute {name!r}"
    why = why_absent(module, name)
    if why is not None:
        return AttributeError(f"{plain}: {why}", name=name)
    hint = meant(name, dir(sys.modules[module])) if module in sys.modules else ""
    return AttributeError(f"{plain}.{hint}" if hint else plain, name=name)


def refusing(module: str, name: str, why: str) -> type:
    """Return what stands for a name that can be imported and not used: calling it raises a NotImplementedError."""

    def refuse(cls: type, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"{module}.{name}: {why}")

    return type(name, (), {"__new__": refuse, "__module__": module, "__doc__": why})


def unusable(module: str, name: str, names: tuple[str, ...]) -> type:
    """Return what stands for one of `names`, which tests import beside others that they use; see `refusing`.

    Raises
    ------
    AttributeError
        The module has no such name.
    """
    if name not in names:
        raise absent(module, name)
    return refusing(f"ray.{module.removeprefix(_PACKAGE)}", name, f"{name} is not offered. It is {_OF_A_CLUSTER}.")


def refuse(module: str) -> None:
    """Raise a ModuleNotFoundError if it is one of Ray's that is not offered."""
    why = why_absent(module)
    if why is not None:
        # Named by Ray's name: `from jupyter_ray import data` would hide an error of the name that it asked for.
        raise ModuleNotFoundError(why, name=f"ray.{module.removeprefix(_PACKAGE)}")
