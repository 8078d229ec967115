"""Parameters are those of Ray 2.60: names, order and defaults, as `inspect.signature` tells them there."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions, ids, util
from jupyter_ray.util.multiprocessing import Pool

SIGNATURES: list[tuple[Callable[..., Any], str]] = [
    (ray.get, "(object_refs, *, timeout=None, _use_object_store=False)"),
    (ray.put, "(value, *, _owner=None, _tensor_transport=None)"),
    (
        ray.wait,
        "(ray_waitables, *, num_returns=1, timeout=None, fetch_local=True)",
    ),
    (ray.cancel, "(ray_waitable, *, force=False, recursive=True)"),
    (ray.kill, "(actor, *, no_restart=True)"),
    (ray.get_actor, "(name, namespace=None)"),
    (ray.shutdown, "(*, wait_for_processes=False, _exiting_interpreter=False)"),
    (ray.JobID.from_int, "(value)"),
    (ids.TaskID.from_hex, "(hex_id)"),
    (ray.ObjectRef.from_binary, "(id_bytes)"),
    (util.as_completed, "(refs, *, chunk_size=10, yield_obj_refs=False, **waiting)"),
    (util.get_node_ip_address, "(address=None)"),
    (Pool.starmap_async, "(self, func, iterable, callback=None, error_callback=None, chunksize=None)"),
    (exceptions.TaskCancelledError, "(task_id=None, error_message=None)"),
    (exceptions.RaySystemError, "(client_exc='', traceback_str=None)"),
    (exceptions.ActorUnavailableError, "(error_message, actor_id=None)"),
    (ray.runtime_env.RuntimeEnvConfig, "(setup_timeout_seconds=600, eager_install=True, log_files=None)"),
]

INIT = """
address num_cpus num_gpus resources labels object_store_memory local_mode ignore_reinit_error include_dashboard
dashboard_host dashboard_port job_config configure_logging logging_level logging_format logging_config log_to_driver
namespace runtime_env enable_resource_isolation cgroup_path system_reserved_cpu system_reserved_memory proxy_server_url
"""


def _told(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


@pytest.mark.parametrize(("function", "wanted"), SIGNATURES, ids=lambda each: getattr(each, "__qualname__", ""))
def test_parameters(function: Callable[..., Any], wanted: str) -> None:
    assert _told(function) == wanted


def test_parameters_of_init() -> None:
    names = [
        name for name in inspect.signature(ray.init).parameters if name not in ("object_spilling_directory", "others")
    ]
    assert names == INIT.split()


def test_errors_are_made_as_in_ray() -> None:
    actor = exceptions.RayActorError("ab", "it is gone", True)
    assert (actor.actor_id, actor.error_msg, actor.actor_init_failed, actor.preempted) == (
        "ab",
        "it is gone",
        True,
        False,
    )
    assert str(exceptions.RayActorError()) == exceptions.RayActorError.BASE_ERROR_MSG
    task = exceptions.RayTaskError("A.__init__", "Traceback", ValueError("no"), "title", 7, "10.0.0.1", "<A>", "ab")
    assert "pid=7, ip=10.0.0.1, actor_id=ab, repr=<A>" in str(task)
    died = exceptions.ActorDiedError(task)
    assert died.actor_init_failed
    lost = exceptions.OwnerDiedError("cd", None, "here")
    system = exceptions.RaySystemError("what", "where")
    unavailable = exceptions.ActorUnavailableError("restarting", b"\xab")
    assert unavailable.actor_id == "ab"
    for error in (actor, died, lost, system, unavailable):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.args) == (type(error), str(error), error.args)
    assert (lost.object_ref_hex, lost.call_site) == ("cd", "here")
    assert str(system) == "System error: what\ntraceback: where"


def test_runtime_environments_and_logging() -> None:
    env = ray.runtime_env.RuntimeEnv(env_vars={"A": "1"}, pip=["x"], config=ray.runtime_env.RuntimeEnvConfig())
    assert (env.has_pip(), env.has_conda(), env.has_uv(), env.working_dir_uri()) == (True, False, False, None)
    env.set("working_dir", "/x")
    assert env.get("working_dir") == "/x"
    assert env.get("nothing", 3) == 3
    with pytest.raises(ValueError, match="no field"):
        env.set("py_module", 1)
    assert ray.runtime_env.RuntimeEnv.deserialize(env.serialize()) == env
    assert ray.runtime_env.RuntimeEnvConfig.default_config().to_dict()["setup_timeout_seconds"] == 600
    logging = ray.LoggingConfig(encoding="JSON", log_level="DEBUG")
    assert ray.LoggingConfig.from_dict({**logging.to_dict(), "later": 1}) == logging


def test_modules_of_the_state_api() -> None:
    from jupyter_ray.util.state import api, common

    assert api.list_tasks is util.state.list_tasks
    assert common.TaskState is util.state.TaskState
    assert inspect.signature(api.list_actors).parameters["limit"].default == common.DEFAULT_LIMIT == 100
