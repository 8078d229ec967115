"""The names under which programs know the interface: modules, their members, and what identifiers can do."""

from __future__ import annotations

import importlib
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.util.state import list_nodes

MODULES = {
    "": "ActorClassID ActorID ClusterID DynamicObjectRefGenerator FunctionID JobID LOCAL_MODE Language LoggingConfig "
    "NodeID ObjectID ObjectRef ObjectRefGenerator PlacementGroupID SCRIPT_MODE TaskID UniqueID WORKER_MODE WorkerID "
    "__version__ _raylet actor available_resources cancel cloudpickle cluster_resources exceptions get get_actor "
    "get_gpu_ids get_runtime_context init is_initialized kill method nodes put remote "
    "remote_function runtime_context runtime_env shutdown timeline types util wait",
    "_raylet": "ActorID DynamicObjectRefGenerator JobID NodeID ObjectID ObjectRef ObjectRefGenerator "
    "ObjectRefStreamEndOfStreamError TaskID WorkerID",
    "actor": "ActorClass ActorHandle ActorMethod exit_actor method",
    "cloudpickle": "CloudPickler Pickler dump dumps dumps_debug load loads register_pickle_by_value",
    "exceptions": "ActorAlreadyExistsError ActorDiedError ActorHandleNotFoundError ActorPlacementGroupRemoved "
    "ActorUnavailableError ActorUnschedulableError AsyncioActorExit AuthenticationError CrossLanguageError "
    "GetTimeoutError LocalRayletDiedError NodeDiedError ObjectFetchTimedOutError ObjectFreedError ObjectLostError "
    "ObjectReconstructionFailedError ObjectReconstructionFailedLineageEvictedError "
    "ObjectReconstructionFailedMaxAttemptsExceededError ObjectRefStreamEndOfStreamError ObjectStoreFullError "
    "OufOfBandObjectRefSerializationException OutOfDiskError OutOfMemoryError OwnerDiedError "
    "PendingCallsLimitExceeded PlasmaObjectNotAvailable RayActorError RayCgraphCapacityExceeded RayChannelError "
    "RayChannelTimeoutError RayDirectTransportError RayError RaySystemError RayTaskError "
    "ReferenceCountingAssertionError RpcError RuntimeEnvSetupError StreamingGeneratorReplayInconsistentError "
    "TaskCancelledError TaskPlacementGroupRemoved TaskUnschedulableError UnserializableException UserCodeException "
    "WorkerCrashedError",
    "experimental": "get_local_object_locations get_object_locations internal_kv tqdm_ray",
    "experimental.internal_kv": "_internal_kv_del _internal_kv_exists _internal_kv_get _internal_kv_initialized "
    "_internal_kv_list _internal_kv_put",
    "experimental.tqdm_ray": "instance safe_print tqdm",
    "job_config": "JobConfig LoggingConfig",
    "remote_function": "RemoteFunction",
    "runtime_context": "RuntimeContext get_runtime_context",
    "runtime_env": "RuntimeEnv RuntimeEnvConfig",
    "types": "ObjectRef",
    "util": "ActorPool PlacementGroup accelerators actor_pool annotations as_completed check_serialize debug "
    "deregister_serializer "
    "disable_log_once_globally enable_periodic_logging get_current_placement_group get_node_ip_address "
    "get_placement_group inspect_serializability list_named_actors log_once map_unordered metrics multiprocessing "
    "placement_group placement_group_table queue register_serializer remove_placement_group scheduling_strategies "
    "serialization state",
    "util.actor_pool": "ActorPool",
    "util.annotations": "AnnotationType Deprecated DeveloperAPI PublicAPI RayDeprecationWarning",
    "util.check_serialize": "inspect_serializability",
    "util.debug": "disable_log_once_globally enable_periodic_logging log_once reset_log_once",
    "util.joblib": "register_ray",
    "util.joblib.ray_backend": "RayBackend",
    "util.metrics": "Counter Gauge Histogram",
    "util.multiprocessing": "Pool TimeoutError",
    "util.multiprocessing.pool": "AsyncResult IMapIterator Pool TimeoutError",
    "util.placement_group": "PlacementGroup get_current_placement_group get_placement_group placement_group "
    "placement_group_table remove_placement_group",
    "util.queue": "Empty Full Queue",
    "util.scheduling_strategies": "DoesNotExist Exists In NodeAffinitySchedulingStrategy NodeLabelSchedulingStrategy "
    "NotIn PlacementGroupSchedulingStrategy",
    "util.serialization": "deregister_serializer register_serializer",
    "util.state.common": "ActorState ClusterEventState JobState NodeState ObjectState PlacementGroupState "
    "RuntimeEnvState TaskState WorkerState",
    "util.state.exception": "RayStateApiException ServerUnavailable",
    "util.state": "get_actor get_log get_task list_actors list_cluster_events list_jobs list_logs list_nodes "
    "list_objects list_placement_groups list_runtime_envs list_tasks list_workers summarize_actors summarize_objects "
    "summarize_tasks",
}


@pytest.mark.parametrize("module", MODULES)
def test_what_programs_import(module: str) -> None:
    found = importlib.import_module(f"jupyter_ray.{module}".rstrip("."))
    assert not [name for name in MODULES[module].split() if not hasattr(found, name)]


@pytest.mark.parametrize(
    "kind",
    [
        ray.ActorClassID, ray.ActorID, ray.ClusterID, ray.FunctionID, ray.JobID, ray.NodeID, ray.ObjectRef,
        ray.PlacementGroupID, ray.TaskID, ray.UniqueID, ray.WorkerID,
    ],
)  # fmt: skip
def test_identifiers(kind: Any) -> None:
    one = kind.from_random()
    assert one == kind.from_hex(one.hex()) == kind(bytes(one)) == pickle.loads(pickle.dumps(one))
    assert hash(one) == hash(kind(one.binary()))
    assert len(one.binary()) == kind.size()
    assert not one.is_nil()
    assert kind.nil().is_nil()
    assert one != kind.from_random()
    assert one.hex() in repr(one)
    with pytest.raises(ValueError, match="needs to have length"):
        kind(b"short")
    with pytest.raises(TypeError):
        kind("x" * kind.size())


def test_ids_of_jobs_and_objects(cluster: Any) -> None:
    assert ray.JobID.from_int(7).int() == 7
    with pytest.raises(AssertionError, match="Maximum JobID"):
        ray.JobID.from_int(2**32)
    ref = ray.put(1)
    assert ray.ObjectRef.from_binary(ref.binary()) == ref
    assert ref.job_id().hex() == ray.get_runtime_context().get_job_id()

    @ray.remote
    def ids() -> Any:
        context = ray.get_runtime_context()
        return context.get_task_id(), ray.put(1).job_id(), context.get_node_labels()

    made = ids.remote()
    task, job, labels = ray.get(made)
    assert (task, job) == (made.task_id().hex(), ref.job_id())
    assert labels in [row["Labels"] for row in ray.nodes()]


def test_what_init_returns_is_a_mapping(start: Callable[..., Any]) -> None:
    context = start(num_cpus=1)
    assert dict(context) == context.address_info
    for key in ("webui_url", "redis_address", "object_store_address", "raylet_socket_name", "metrics_export_port"):
        assert not context.address_info[key]
    assert context["node_id"] == ray.nodes()[0]["NodeID"]
    assert context.get("nothing") is None
    assert ray.get_runtime_context().gcs_address == context["gcs_address"] == context["address"]
    assert context["node_id"] in [node.node_id for node in list_nodes(address=context["address"])]
    assert "session_dir" in context


def test_a_runtime_environment_by_its_fields() -> None:
    environment = ray.runtime_env.RuntimeEnv(env_vars={"A": "1"}, working_dir="/tmp")
    assert environment.env_vars() == {"A": "1"}
    assert environment.has_working_dir()
    assert environment.working_dir() == "/tmp"
    assert environment.py_modules() == []
    assert ray.runtime_env.RuntimeEnv.deserialize(environment.serialize()) == environment.to_dict()


def test_how_loggers_may_write() -> None:
    assert ray.LoggingConfig(additional_log_standard_attrs=["name", "process"]).encoding == "TEXT"
    with pytest.raises(ValueError, match="encoding"):
        ray.LoggingConfig(encoding="YAML")
    with pytest.raises(ValueError, match="colour"):
        ray.LoggingConfig(additional_log_standard_attrs=["colour"])


def test_annotations() -> None:
    annotations = ray.util.annotations

    @annotations.PublicAPI(stability="beta")
    def public() -> int:
        return 1

    @annotations.DeveloperAPI
    class Developer:
        pass

    @annotations.Deprecated(message="Use public().", warning=True)
    def old(number: int) -> int:
        return number

    assert public() == 1
    assert isinstance(Developer(), Developer)
    with pytest.warns(annotations.RayDeprecationWarning, match=r"old is deprecated\. Use public\(\)"):
        assert old(2) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        annotations.Deprecated(Developer)()
    assert "may change" in public.__doc__
    assert "Use public()." in old.__doc__
    assert old._annotated_type is annotations.AnnotationType.DEPRECATED
    with pytest.raises(AssertionError, match="no"):
        annotations.PublicAPI(stability="no")


def test_identifiers_know_their_session_and_come_from_bytes(start: Callable[..., Any]) -> None:
    start()

    @ray.remote
    class Actor:
        def ping(self) -> None: ...

    @ray.remote
    def jobs() -> list[Any]:
        context = ray.get_runtime_context()
        actor = Actor.remote()  # type: ignore[attr-defined]
        task = ray.TaskID.from_hex(str(context.get_task_id()))
        call = actor.ping.remote()
        assert call.task_id().actor_id() == actor._actor_id != task.actor_id()
        found = [ray.JobID.from_hex(context.get_job_id()), task.job_id(), call.job_id(), ray.put(1).job_id()]
        return [*found, actor._actor_id.job_id]

    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    assert ray.get(jobs.remote()) == [job] * 5
    for kind in (ray.TaskID, ray.JobID, ray.ActorID, ray.NodeID, ray.ObjectID):
        assert kind.from_binary(kind.nil().binary()) == kind.nil()


def test_identifiers_that_are_made_of_others() -> None:
    job = ray.JobID.from_int(7)
    driver = ray.TaskID.for_driver_task(job)
    actor = ray.ActorID.of(job, driver, 1)
    assert actor == ray.ActorID.of(job, driver, 1) != ray.ActorID.of(job, driver, 2)
    call = ray.TaskID.for_actor_task(job, driver, 1, actor)
    assert call != ray.TaskID.for_actor_task(job, driver, 2, actor)
    assert call.actor_id() == ray.TaskID.for_actor_creation_task(actor).actor_id() == actor
    plain = ray.TaskID.for_normal_task(job, driver, 1)
    assert plain.actor_id() == driver.actor_id() != actor
    assert ray.PlacementGroupID.of(job) != ray.PlacementGroupID.of(job)
    for task in (driver, call, plain, ray.TaskID.for_fake_task(job)):
        assert task.job_id() == actor.job_id == job
    assert ray.ObjectRef(call.binary() + bytes(4)).job_id() == job
    with pytest.raises(ValueError, match="nil"):
        ray.TaskID.nil().job_id()
    with pytest.raises(ValueError, match="nil"):
        _ = ray.ActorID.nil().job_id


def test_the_options_that_were_written_can_be_read() -> None:
    @ray.remote(num_cpus=0.5, max_retries=2)
    def task() -> None: ...

    @ray.remote(max_restarts=1)
    class Actor: ...

    written: Any = Actor
    assert task._default_options == {"num_cpus": 0.5, "max_retries": 2}
    assert written._default_options == {"max_restarts": 1}
