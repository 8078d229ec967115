"""Resources: what is held, lent, given back, asked for in vain; GPUs; the runtime context."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import atexit
import concurrent.futures
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.events import LogLines
from tests.contract.helpers import PATIENCE, Log, eventually, is_running

pytestmark = pytest.mark.local_only(
    "the tests choose resources at init; a cluster's resources are given (see tests/cluster)"
)


def free(name: str) -> float:
    """Return how much of a resource is free."""
    return ray.available_resources().get(name, 0)


def test_what_waits_for_an_actors_end_is_told(start: Callable[..., Any]) -> None:
    @ray.remote(num_cpus=1)
    class Keeper:
        def hold(self) -> int:
            return 1

    start(num_cpus=1)
    keeper = Keeper.remote()
    late = Keeper.remote().hold.remote()
    with Log() as log:
        [told] = eventually(lambda: log.find(LogLines, stream="stderr", name="jupyter_ray"))
    assert "waits for CPU: 1" in told.text
    assert "the actor Keeper holds CPU: 1" in told.text
    assert told.origin == "(jupyter_ray) "
    del keeper
    assert ray.get(late, timeout=PATIENCE) == 1


def test_a_task_whose_cpu_is_needed_by_what_several_futures_wait_for_is_told(start: Callable[..., Any]) -> None:
    """It may want one of them, or have something else to do: that is not known."""

    @ray.remote
    def child() -> int:
        return 1

    @ray.remote(max_retries=0)
    def parent() -> None:
        concurrent.futures.wait([child.remote().future()])

    start(num_cpus=1)
    ref = parent.remote()
    with Log() as log:
        [told] = eventually(lambda: log.find(LogLines, stream="stderr", name="jupyter_ray"))
    assert "child" in told.text
    assert "A task that awaits a result, or waits for its future, keeps its CPUs" in told.text
    ray.cancel(ref, force=True)


def test_the_only_machine_is_the_head_and_the_environment_has_the_last_word(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 3, "disk": 1}')
    start(num_cpus=2, resources={"disk": 5, "net": 2})
    total = ray.cluster_resources()
    assert {name: total[name] for name in ("CPU", "disk", "net")} == {"CPU": 3.0, "disk": 1.0, "net": 2.0}
    assert total["node:__internal_head__"] == 1.0
    ray.shutdown()
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", "many")
    with pytest.raises(ValueError, match="RAY_OVERRIDE_RESOURCES is to be a JSON object"):
        start()


@pytest.mark.local_only("resources were declared when the nodes were started")
@pytest.mark.parametrize("parts", [{"num_cpus": 0.5}, {"num_gpus": 1.5}, {"resources": {"disk": 0.1}}])
def test_what_there_is_comes_in_whole_numbers(start: Callable[..., Any], parts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be whole numbers"):
        start(**parts)
    assert not ray.is_initialized()
    start(num_cpus=2.0)
    assert ray.cluster_resources()["CPU"] == 2.0


def test_a_gpu_task_finds_a_process_that_has_run_nothing(start: Callable[..., Any]) -> None:
    start(num_cpus=1, num_gpus=1)

    @ray.remote
    def process() -> int:
        return os.getpid()

    for _ in range(3):
        assert ray.get(process.remote()) != ray.get(process.options(num_gpus=1).remote())


def test_what_there_is(start: Callable[..., Any]) -> None:
    start(num_cpus=3, num_gpus=2, resources={"disk": 5})
    total = ray.cluster_resources()
    assert {name: total[name] for name in ("CPU", "GPU", "disk")} == {"CPU": 3.0, "GPU": 2.0, "disk": 5.0}
    assert total["memory"] > 0
    assert total["object_store_memory"] > 0
    [node] = ray.nodes()
    assert node["Alive"] is True
    assert node["NodeID"] == ray.get_runtime_context().get_node_id()
    assert node["Resources"]["CPU"] == 3.0
    assert {"NodeManagerAddress", "Labels"} <= node.keys()


def test_resources_are_held_and_given_back(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=4, num_gpus=1, resources={"disk": 2})
    gate = tmp_path / "gate"

    @ray.remote(num_cpus=2, num_gpus=0.5, resources={"disk": 2})
    def hold() -> None:
        while not gate.exists():
            time.sleep(0.01)

    ref = hold.remote()
    eventually(lambda: free("CPU") == 2)
    assert free("GPU") == 0.5
    assert "disk" not in ray.available_resources()
    gate.touch()
    ray.get(ref)
    eventually(lambda: (free("CPU"), free("GPU"), free("disk")) == (4, 1, 2))


def test_fractions_fill_a_cpu_exactly(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=1)
    gate = tmp_path / "gate"

    @ray.remote(num_cpus=0.1)
    def hold(n: int) -> int:
        (tmp_path / str(n)).touch()
        while not gate.exists():
            time.sleep(0.01)
        return n

    refs = [hold.remote(n) for n in range(11)]
    eventually(lambda: len(list(tmp_path.iterdir())) == 10)
    assert "CPU" not in ray.available_resources()
    gate.touch()
    assert ray.get(refs) == list(range(11))


def test_actors_hold_what_they_ask_for(start: Callable[..., Any]) -> None:
    start(num_cpus=4, num_gpus=1)

    @ray.remote
    class Plain:
        def held(self) -> dict[str, float]:
            return ray.get_runtime_context().get_assigned_resources()

    plain = [Plain.remote() for _ in range(6)]  # More than CPUs: they hold none.
    assert ray.get([actor.held.remote() for actor in plain]) == [{}] * 6
    eventually(lambda: free("CPU") == 4)
    big = Plain.options(num_cpus=2, num_gpus=1).remote()
    assert ray.get(big.held.remote()) == {"CPU": 2.0, "GPU": 1.0}
    assert free("CPU") == 2
    del big
    eventually(lambda: (free("CPU"), free("GPU")) == (4, 1))


def test_a_crash_gives_resources_back(start: Callable[..., Any]) -> None:
    start(num_cpus=1, num_gpus=1)

    @ray.remote(num_gpus=1, max_retries=0)
    def crash() -> None:
        os._exit(1)

    with pytest.raises(exceptions.WorkerCrashedError):
        ray.get(crash.remote(), timeout=30)
    eventually(lambda: (free("CPU"), free("GPU")) == (1, 1))


def test_a_demand_that_can_never_be_met(start: Callable[..., Any]) -> None:
    start(num_cpus=2, num_gpus=1, resources={"disk": 1})

    @ray.remote
    def f() -> int:
        return 1

    @ray.remote
    class A:
        pass

    for options in ({"num_cpus": 3}, {"num_gpus": 2}, {"resources": {"disk": 2}}, {"resources": {"absent": 1}}):
        with pytest.raises(exceptions.TaskUnschedulableError, match=r"CPU|GPU|disk|absent"):
            f.options(**options).remote()
        with pytest.raises(exceptions.ActorUnschedulableError, match=r"CPU|GPU|disk|absent"):
            A.options(**options).remote()
    assert ray.get(f.remote()) == 1


def test_a_wait_that_can_never_end_is_refused(start: Callable[..., Any]) -> None:
    start(num_cpus=2, num_gpus=1)

    @ray.remote(num_gpus=1)
    def inner() -> int:
        return 1

    @ray.remote(num_gpus=1)
    def outer() -> int:
        return ray.get(inner.remote())

    told = r"outer \(\w+\) holds GPU: 1 and waits for inner \(\w+\), which needs CPU: 1, GPU: 1"
    with pytest.raises(exceptions.ResourceDeadlockError, match=told):
        ray.get(outer.remote(), timeout=60)
    eventually(lambda: free("GPU") == 1)


def test_a_circle_of_calls_is_refused(start: Callable[..., Any], tmp_path: Path) -> None:
    start(num_cpus=4)

    class Calls:
        def itself(self, handles: list[Any]) -> int:
            return ray.get(handles[0].one.remote())

        def through_a_task(self, handles: list[Any]) -> int:
            return ray.get(through.remote(handles))

        def other(self, handles: list[Any], began: str, wait_for: str) -> int:
            Path(began).touch()
            eventually(lambda: os.path.exists(wait_for))
            return ray.get(handles[0].one.remote())

        def in_time(self, handles: list[Any]) -> int:
            with pytest.raises(exceptions.GetTimeoutError):
                ray.get(handles[0].one.remote(), timeout=0.1)
            return 2

        def one(self) -> int:
            return 1

    class Makes:
        def __init__(self, maker: list[Any] = []) -> None:  # noqa: B006
            self.found = ray.get(maker[0].one.remote()) if maker else 0

        def make(self) -> int:
            return ray.get(ray.remote(Makes).remote([ray.get_runtime_context().current_actor]).one.remote())

        def one(self) -> int:
            return 1

    @ray.remote
    def through(handles: list[Any]) -> int:
        return ray.get(handles[0].one.remote())

    actor, partner = (ray.remote(Calls).remote() for _ in range(2))
    for method in (actor.itself, actor.through_a_task):
        with pytest.raises(exceptions.ResourceDeadlockError, match="whose turn at the actor Calls comes after"):
            ray.get(method.remote([actor]), timeout=60)
    made = ray.remote(Makes).remote()
    with pytest.raises(exceptions.ActorDiedError, match=r"Makes\.__init__ .* waits for Makes\.one .* after that of"):
        ray.get(made.make.remote(), timeout=60)
    names = [str(tmp_path / name) for name in ("first", "second")]
    both = [actor.other.remote([partner], *names), partner.other.remote([actor], *reversed(names))]
    with pytest.raises(exceptions.ResourceDeadlockError, match=r"Calls\.other .* waits for Calls\.one"):
        ray.get(both, timeout=60)
    assert ray.get(actor.in_time.remote([actor]), timeout=60) == 2
    assert ray.get(actor.itself.remote([partner]), timeout=60) == 1


def test_a_call_of_another_concurrency_group_is_no_circle(start: Callable[..., Any]) -> None:
    start(num_cpus=4)

    @ray.remote
    def slow() -> int:
        time.sleep(0.5)  # The work of an argument that is not there when the call is made.
        return 3

    class Groups:
        @ray.method(concurrency_group="io")
        def pass_on(self, value: int) -> int:
            return value

        def wait(self) -> int:
            return ray.get(ray.get_runtime_context().current_actor.pass_on.remote(slow.remote()))

    actor = ray.remote(num_cpus=1, concurrency_groups={"io": 1})(Groups).remote()
    assert ray.get(actor.wait.remote(), timeout=60) == 3


@pytest.mark.parametrize("what", ["task", "actor"])
def test_a_gpu_is_free_when_the_process_that_had_it_has_ended(
    start: Callable[..., Any], tmp_path: Path, what: str
) -> None:
    """What it has in the GPU's memory is there until then; a library may send its last words at the exit."""
    start(num_cpus=2, num_gpus=1)
    go = tmp_path / "go"

    def linger() -> int:
        atexit.register(eventually, go.exists)
        return os.getpid()

    @ray.remote
    class Lingers:
        def begin(self) -> int:
            return linger()

    if what == "task":
        pid = ray.get(ray.remote(linger).options(num_gpus=1).remote())
    else:
        actor = Lingers.options(num_gpus=1).remote()
        pid = ray.get(actor.begin.remote())
        del actor
    later = ray.remote(is_running).options(num_gpus=1).remote(pid)
    said = ray.why(later)
    assert f"process {pid}, which is ending, has GPU: 1" in said or "the actor Lingers holds GPU: 1" in said
    assert ray.get(ray.remote(is_running).remote(pid)), "whoever wants no GPU does not wait"
    go.touch()
    assert not ray.get(later, timeout=PATIENCE)


def test_gpu_ids(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    start(num_cpus=4, num_gpus=3)
    gate = tmp_path / "gate"

    @ray.remote
    def ids(name: str = "") -> tuple[Any, ...]:
        if name:
            (tmp_path / name).touch()
            while not gate.exists():
                time.sleep(0.01)
        context = ray.get_runtime_context()
        return ray.get_gpu_ids(), context.get_accelerator_ids()["GPU"], os.environ.get("CUDA_VISIBLE_DEVICES")

    @ray.remote(num_gpus=1)
    class Actor:
        def ids(self) -> tuple[Any, ...]:
            return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")

    assert ray.get_gpu_ids() == []
    assert ray.get(ids.remote())[:2] == ([], [])
    two, one = ids.options(num_gpus=2).remote("a"), ids.options(num_gpus=1).remote("b")
    eventually(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    gate.touch()
    found = ray.get([two, one])
    assert sorted(found[0][0] + found[1][0]) == [0, 1, 2]
    for numbers, texts, variable in found:
        assert texts == [str(number) for number in numbers]
        assert variable == ",".join(texts)
    halves = ray.get([ids.options(num_gpus=0.5).remote() for _ in range(2)])
    assert all(len(each[0]) == 1 for each in halves)
    actor = Actor.remote()
    first = ray.get(actor.ids.remote())
    assert first == ray.get(actor.ids.remote())
    assert first[1] == str(first[0][0])


def test_gpu_ids_of_a_preset_variable(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    start(num_cpus=2, num_gpus=2)

    @ray.remote(num_gpus=2)
    def ids() -> tuple[Any, ...]:
        return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")

    assert ray.get(ids.remote()) == (["3", "5"], "3,5")


@pytest.mark.local_only("the nodes of the tests' cluster have no accelerators but GPUs")
def test_other_accelerators_have_ids_too(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each kind in the variable that its libraries read; the next task of the process finds that as it was."""
    kinds = {
        "TPU": "TPU_VISIBLE_CHIPS",
        "neuron_cores": "NEURON_RT_VISIBLE_CORES",
        "HPU": "HABANA_VISIBLE_MODULES",
        "NPU": "ASCEND_RT_VISIBLE_DEVICES",
        "RBLN": "RBLN_DEVICES",
        "FURIOSA": "FURIOSA_DEVICES",
        "MBLT": "QBRUNTIME_VISIBLE_DEVICES",
        "TTNPU": "TT_VISIBLE_DEVICES",
    }
    for variable in (*kinds.values(), "TPU_HOST_BOUNDS", "RAY_EXPERIMENTAL_NOSET_NEURON_RT_VISIBLE_CORES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HABANA_VISIBLE_MODULES", "5,7")
    monkeypatch.setenv("RAY_EXPERIMENTAL_NOSET_RBLN_RT_VISIBLE_DEVICES", "1")
    start(num_cpus=1, resources=dict.fromkeys(kinds, 2))

    @ray.remote
    def found(kind: str) -> tuple[list[str], str | None, str | None]:
        ids = ray.get_runtime_context().get_accelerator_ids()
        assert ids.keys() == {*kinds, "GPU"}
        assert all(not each for other, each in ids.items() if other != kind)
        return ids[kind], os.environ.get(kinds[kind]), os.environ.get("TPU_HOST_BOUNDS")

    @ray.remote(resources={"neuron_cores": 2})
    class Keeper:
        def found(self) -> tuple[list[str], str | None]:
            ids = ray.get_runtime_context().get_accelerator_ids()["neuron_cores"]
            return ids, os.environ.get("NEURON_RT_VISIBLE_CORES")

    shown = {kind: ray.get(found.options(resources={kind: 2}).remote(kind)) for kind in kinds}
    assert shown.pop("HPU") == (["5", "7"], "5,7", None), "what the driver's variable names"
    assert shown.pop("FURIOSA") == (["0", "1"], "npu:0,npu:1", None)
    assert shown.pop("TPU") == (["0", "1"], "0,1", "1,1,1")
    assert shown.pop("RBLN") == (["0", "1"], None, None), "it was not to be set"
    assert shown == dict.fromkeys(shown, (["0", "1"], "0,1", None))
    assert ray.get(found.options(resources={"NPU": 0.5}).remote("NPU")) == (["0"], "0", None)
    assert ray.get(found.remote("NPU")) == ([], None, None), "as it was before"
    assert ray.get(found.remote("HPU")) == ([], "5,7", None)
    keeper = Keeper.remote()
    assert ray.get(keeper.found.remote()) == (["0", "1"], "0,1")
    assert "neuron_cores" not in ray.available_resources()
    assert ray.cluster_resources()["accelerator_type:aws-neuron-core"] == 1
    for amount in (0.5, 1.5):
        with pytest.raises(ValueError, match="neuron_cores resource quantity must be whole numbers"):
            found.options(resources={"neuron_cores": amount})
    with pytest.raises(ValueError, match="not a supported chip configuration"):
        found.options(resources={"TPU": 3})
    ray.shutdown()
    with pytest.raises(ValueError, match=r"3 HPU.* HABANA_VISIBLE_MODULES contains \['5', '7'\]"):
        start(resources={"HPU": 3})


def test_the_runtime_context(start: Callable[..., Any]) -> None:
    start(namespace="contract")

    def describe() -> dict[str, Any]:
        context = ray.get_runtime_context()
        return {
            "job": context.get_job_id(),
            "node": context.get_node_id(),
            "worker": context.get_worker_id(),
            "task": context.get_task_id(),
            "name": context.get_task_name(),
            "function": context.get_task_function_name(),
            "actor": context.get_actor_id(),
            "actor_name": context.get_actor_name(),
            "namespace": context.namespace,
        }

    @ray.remote
    class Actor:
        def describe(self) -> dict[str, Any]:
            return describe()

        def me(self) -> Any:
            return ray.get_runtime_context().current_actor

    driver = describe()
    ref = ray.remote(describe).options(name="mine").remote()
    task = ray.get(ref)
    actor = Actor.options(name="someone").remote()
    method_ref = actor.describe.remote()
    method = ray.get(method_ref)
    for each in (task, method):
        assert (each["job"], each["node"], each["namespace"]) == (driver["job"], driver["node"], "contract")
        assert each["worker"] != driver["worker"]
    assert (driver["task"], driver["name"], driver["actor"]) == (None, None, None)
    assert (task["task"], task["name"], task["actor"]) == (ref.task_id().hex(), "mine", None)
    here = f"{__name__}.test_the_runtime_context.<locals>"
    assert (task["function"], method["function"]) == (f"{here}.describe", f"{here}.Actor.describe")
    assert method["task"] == method_ref.task_id().hex()
    assert (method["actor"], method["actor_name"]) == (actor._actor_id.hex(), "someone")
    assert ray.get(actor.me.remote()) == actor


def test_whether_this_is_a_worker_and_where_it_runs(start: Callable[..., Any]) -> None:
    """Programs ask it of ``get_runtime_context().worker``, though that is the inside of Ray."""
    start(namespace="contract")

    def describe() -> list[Any]:
        context = ray.get_runtime_context()
        worker = context.worker
        assert worker.worker_id.hex() == context.get_worker_id()
        assert (worker.current_job_id.hex(), worker.namespace) == (context.get_job_id(), "contract")
        with pytest.raises(AttributeError, match=r"core_worker.*internal to Ray; of that, mode"):
            worker.core_worker  # noqa: B018
        return [worker.mode == ray.WORKER_MODE, worker.actor_id.hex(), worker.node_ip_address]

    @ray.remote
    class Actor:
        def describe(self) -> list[Any]:
            return describe()

    nobody, address = ray.ActorID.nil().hex(), ray.nodes()[0]["NodeManagerAddress"]
    assert describe() == [False, nobody, address]
    assert ray.get(ray.remote(describe).remote()) == [True, nobody, address]
    actor = Actor.remote()
    assert ray.get(actor.describe.remote()) == [True, actor._actor_id.hex(), address]


def test_threads_of_a_task_belong_to_it(start: Callable[..., Any]) -> None:
    start()

    @ray.remote
    def f() -> Any:
        import threading

        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(ray.get_runtime_context().get_task_id()))
        thread.start()
        thread.join()
        return found[0], ray.get_runtime_context().get_task_id()

    inside, own = ray.get(f.remote())
    assert inside == own


def test_a_task_whose_threads_wait_one_after_the_other_ends(start: Callable[..., Any]) -> None:
    """The first one has the CPU back, and has ended; what the second one waits for needs it."""
    start(num_cpus=1)

    @ray.remote
    def leaf(n: int) -> int:
        return n

    @ray.remote
    def branch() -> list[int]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda n: ray.get(leaf.remote(n)), range(2)))

    assert ray.get(branch.remote(), timeout=PATIENCE) == [0, 1]


def test_streams_that_wait_for_readers_which_need_their_cpus(start: Callable[..., Any]) -> None:
    """Each has made as much as it may, and holds the CPU that its reader, or what that calls, waits for."""
    start(num_cpus=2)

    @ray.remote(num_returns="streaming", _generator_backpressure_num_objects=1)
    def produce(count: int) -> Any:
        yield from range(count)

    @ray.remote
    def double(value: int) -> int:
        return 2 * value

    @ray.remote
    def read(count: int) -> int:
        return sum(ray.get(ref) for ref in produce.remote(count))

    assert ray.get([read.remote(20) for _ in range(4)], timeout=PATIENCE) == [190] * 4
    for stream in [produce.remote(5) for _ in range(2)]:
        assert [ray.get(double.remote(ref), timeout=PATIENCE) for ref in stream] == [0, 2, 4, 6, 8]


def test_openmp_gets_the_cpus_of_the_task(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    start(num_cpus=4)

    @ray.remote
    def threads() -> str | None:
        return os.environ.get("OMP_NUM_THREADS")

    assert ray.get(threads.remote()) == "1"
    assert ray.get(threads.options(num_cpus=3).remote()) == "3"


def test_each_task_of_a_burst_knows_what_it_holds(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that its worker got in advance, behind a short one."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    start(num_cpus=4, resources={"slot": 4})

    @ray.remote(num_cpus=2, resources={"slot": 1})
    def known() -> tuple[dict[str, float], str | None]:
        return ray.get_runtime_context().get_assigned_resources(), os.environ.get("OMP_NUM_THREADS")

    for _ in range(3):
        found = ray.get([known.remote() for _ in range(50)])
        assert found == [({"CPU": 2.0, "slot": 1.0}, "2")] * 50


@pytest.mark.local_only("the nodes of the tests' cluster have no accelerators but GPUs")
def test_each_task_of_a_burst_has_its_own_device(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NEURON_RT_VISIBLE_CORES", "RAY_EXPERIMENTAL_NOSET_NEURON_RT_VISIBLE_CORES"):
        monkeypatch.delenv(variable, raising=False)
    start(num_cpus=2, resources={"neuron_cores": 2})

    @ray.remote(resources={"neuron_cores": 1})
    def core() -> tuple[list[str], str | None, float, float]:
        begun = time.monotonic()
        ids = ray.get_runtime_context().get_accelerator_ids()["neuron_cores"]
        return ids, os.environ.get("NEURON_RT_VISIBLE_CORES"), begun, time.monotonic()

    ray.get([core.remote() for _ in range(10)])
    uses: dict[str, list[tuple[float, float]]] = {"0": [], "1": []}
    for ids, variable, begun, ended in ray.get([core.remote() for _ in range(50)]):
        assert ids == [variable]
        uses[ids[0]].append((begun, ended))
    for spans in map(sorted, uses.values()):
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
