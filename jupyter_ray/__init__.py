"""Interactive parallel computing in Jupyter, with Ray's programming model.

``import jupyter_ray as ray`` is a drop-in for Ray Core. ``%load_ext jupyter_ray`` adds magics and the live side panel.

Every name is imported at its first use, so that importing this package costs next to nothing.
"""

from __future__ import annotations

import sys as _sys
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING, Any

from jupyter_ray._version import RAY_VERSION as _RAY_VERSION
from jupyter_ray._version import __version__

__commit__ = ""  # Ray's names what it was built from; reports print it beside the version.

if TYPE_CHECKING:
    from jupyter_ray import (
        actor,
        cloudpickle,
        exceptions,
        experimental,
        job_config,
        remote_function,
        runtime_context,
        runtime_env,
        types,
        util,
    )
    from jupyter_ray.api.actors import ActorClass
    from jupyter_ray.api.calls import cancel, get, get_actor, kill, put, why
    from jupyter_ray.api.cluster import available_resources, cluster_resources, get_gpu_ids, nodes
    from jupyter_ray.api.constants import LOCAL_MODE, SCRIPT_MODE, WORKER_MODE, Language, LoggingConfig
    from jupyter_ray.api.handles import ActorHandle
    from jupyter_ray.api.init import init
    from jupyter_ray.api.methods import method
    from jupyter_ray.api.remote import RemoteFunction, remote
    from jupyter_ray.api.runtime_context import get_runtime_context
    from jupyter_ray.api.session import is_initialized, shutdown, warm_up
    from jupyter_ray.api.timeline import timeline
    from jupyter_ray.api.waiting import wait
    from jupyter_ray.engine.refs import ObjectRef
    from jupyter_ray.engine.streams import DynamicObjectRefGenerator, ObjectRefGenerator
    from jupyter_ray.ids import (
        ActorClassID,
        ActorID,
        FunctionID,
        JobID,
        NodeID,
        PlacementGroupID,
        TaskID,
        UniqueID,
        WorkerID,
    )

    ObjectID = ObjectRef

_HOMES = {
    "api.actors": ("ActorClass",),
    "api.calls": ("cancel", "get", "get_actor", "kill", "put", "why"),
    "api.cluster": ("available_resources", "cluster_resources", "get_gpu_ids", "nodes"),
    "api.constants": ("LOCAL_MODE", "SCRIPT_MODE", "WORKER_MODE", "Language", "LoggingConfig", "logger"),
    "api.handles": ("ActorHandle",),
    "api.init": ("init",),
    "api.methods": ("method",),
    "api.remote": ("RemoteFunction", "remote"),
    "api.runtime_context": ("get_runtime_context",),
    "api.session": ("is_initialized", "shutdown", "warm_up"),
    "api.timeline": ("timeline",),
    "api.waiting": ("wait",),
    "engine.refs": ("ObjectRef",),
    "engine.streams": ("DynamicObjectRefGenerator", "ObjectRefGenerator"),
    "ids": (
        "ActorClassID", "ActorID", "ClusterID", "FunctionID", "JobID", "NodeID", "PlacementGroupID", "TaskID",
        "UniqueID", "WorkerID",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = frozenset(
    {
        "_common",
        "_private",
        "_raylet",
        "actor",
        "autoscaler",
        "cloudpickle",
        "cluster_utils",
        "exceptions",
        "experimental",
        "job_config",
        "remote_function",
        "runtime_context",
        "runtime_env",
        "types",
        "util",
    }
)

__all__ = [
    "LOCAL_MODE",
    "SCRIPT_MODE",
    "WORKER_MODE",
    "ActorClass",
    "ActorClassID",
    "ActorHandle",
    "ActorID",
    "ClusterID",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "JobID",
    "Language",
    "LoggingConfig",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroupID",
    "RemoteFunction",
    "TaskID",
    "UniqueID",
    "WorkerID",
    "__version__",
    "actor",
    "available_resources",
    "cancel",
    "cloudpickle",
    "cluster_resources",
    "exceptions",
    "experimental",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "job_config",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "remote_function",
    "runtime_context",
    "runtime_env",
    "shutdown",
    "timeline",
    "types",
    "util",
    "wait",
    "warm_up",
    "why",
]


class _Absent:
    """The last of Python's finders: refuses, in one sentence, those of Ray's modules that are not offered."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> Any:
        """Find what ``from ray._private import node`` looks for here; raise for another of Ray's modules."""
        if not fullname.startswith("jupyter_ray."):
            return None
        if _sys.modules.get("ray") is _sys.modules.get(__name__):
            from jupyter_ray.alias import stand_in

            found = stand_in(fullname)
            if found is not None:
                return found
        if not _only_asked():
            from jupyter_ray.not_offered import refuse

            refuse(fullname)
        return None


class _AsRay:
    """The first of Python's finders: where ``sys.modules["ray"]`` is this package, so are its modules Ray's."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> Any:
        """Find a module of this package by Ray's name."""
        if not fullname.startswith("ray.") or _sys.modules.get("ray") is not _sys.modules.get(__name__):
            return None
        from jupyter_ray.alias import spec

        try:
            return spec(fullname)
        except ModuleNotFoundError as error:
            if error.name == f"jupyter_{fullname}" or _only_asked():
                return None  # and Python says: No module named 'ray.…'
            raise


def _only_asked() -> bool:
    """Tell whether the finder that calls this was called by ``importlib.util.find_spec``, which only asks."""
    return _sys._getframe(3).f_globals.get("__name__") == "importlib.util"


class _Package(_ModuleType):
    """This module. As ``ray`` it says so: libraries compare its version with Ray's, and stumpy looks at its text."""

    @property
    def __version__(self) -> str:
        own: str = self.__dict__["__version__"]
        return _RAY_VERSION if _sys.modules.get("ray") is self else own

    def __repr__(self) -> str:
        text = super().__repr__()
        return text.replace("'jupyter_ray'", "'ray' (jupyter_ray)") if _sys.modules.get("ray") is self else text

    def __reduce__(self) -> Any:  # picklers know modules by their exact type
        from importlib import import_module

        return import_module, (self.__name__,)


_sys.meta_path.append(_Absent)
_sys.meta_path.insert(0, _AsRay)
_sys.modules[__name__].__class__ = _Package


_ready_to_end = False


def __getattr__(name: str) -> Any:
    import importlib

    global _ready_to_end
    if not _ready_to_end:
        import atexit

        _ready_to_end = True
        atexit.register(_keep_names)

    if name in _MODULES:
        return importlib.import_module(f"jupyter_ray.{name}")
    if name in ("state", "worker"):
        from jupyter_ray.deprecation import deprecated

        deprecated(
            f"ray.{name} is private in Ray, too: ray.nodes, ray.util.state and ray.get_runtime_context are public."
        )
        return importlib.import_module(f"jupyter_ray._private.{name}")
    home = "engine.refs" if name == "ObjectID" else _HOME_OF.get(name)
    if home is None:
        if _sys._getframe(1).f_code.co_name == "_handle_fromlist":
            raise AttributeError(name)  # `from jupyter_ray import` asks for a name before it looks for a module.
        from jupyter_ray.not_offered import absent

        raise absent(__name__, name)
    value = getattr(importlib.import_module(f"jupyter_ray.{home}"), "ObjectRef" if name == "ObjectID" else name)
    globals()[name] = value
    return value


def _keep_names() -> None:
    """Have names at hand: when the interpreter has begun to end, a program's ``__del__`` cannot import any more."""
    if "jupyter_ray.api.session" in _sys.modules:  # There was a session; these are small beside that.
        import jupyter_ray.api.calls
        import jupyter_ray.api.waiting
        import jupyter_ray.exceptions  # noqa: F401 - an attribute of this package from now on
    for home, names in _HOMES.items():
        module = _sys.modules.get(f"jupyter_ray.{home}")
        globals().update({name: getattr(module, name) for name in names if module is not None})


def __dir__() -> list[str]:
    return __all__


def load_ipython_extension(ipython: Any) -> None:
    """Load the notebook extension: magics, output, panel. What ``%load_ext jupyter_ray`` calls."""
    from jupyter_ray.ipython import extension

    extension.load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Unload the notebook extension. What ``%unload_ext jupyter_ray`` calls."""
    from jupyter_ray.ipython import extension

    extension.unload_ipython_extension(ipython)
