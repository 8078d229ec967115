"""A second driver that joins a running runtime: other processes, as another notebook's kernel is one."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import config
from jupyter_ray.engine import registry
from jupyter_ray.util import state
from tests.contract.helpers import eventually, is_running
from tests.local.drivers import Driver, DriverError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for sessions where no other runtime of this user is; empty again at the end."""
    folder = Path("/tmp") / f"jr-{os.getpid()}-{tmp_path.name[-12:]}"
    folder.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    try:
        yield folder
        eventually(lambda: not list(folder.iterdir()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def address(root: Path) -> Iterator[str]:
    """This process is the first driver, with two CPUs."""
    try:
        yield ray.init(num_cpus=2, namespace="shared", log_to_driver=False).address_info["address"]
    finally:
        ray.shutdown()


@pytest.fixture
def guest(address: str) -> Iterator[Driver]:
    """A driver that has joined, in the namespace of the first one."""
    with Driver() as driver:
        driver.do(f"ray.init({address!r}, namespace='shared')")
        yield driver


def raises_actor_died(ref: Any) -> bool:
    try:
        ray.get(ref, timeout=30)
    except ray.exceptions.ActorDiedError:
        return True
    return False


def left() -> bool:
    """Whether the runtime has noticed that the only guest is gone."""
    return [job.status for job in state.list_jobs()] == ["RUNNING", "SUCCEEDED"]


def free() -> float:
    return ray.available_resources().get("CPU", 0.0)


# --- joining -----------------------------------------------------------------------------------------------------


def test_the_address_says_where_the_runtime_is(address: str, root: Path) -> None:
    context = ray.get_runtime_context()
    assert address == f"unix:{root}/jupyter_ray-{os.getuid()}-{context.get_session_name()}/runtime.sock"
    assert context.gcs_address == address


def test_a_guest_runs_tasks_of_its_own(guest: Driver, address: str) -> None:
    guest.do("@ray.remote\ndef double(x): return 2 * x")
    assert guest.ask("ray.get([double.remote(each) for each in range(50)])") == [2 * each for each in range(50)]
    assert guest.ask("ray.get_runtime_context().gcs_address") == address
    assert guest.ask("ray.cluster_resources()") == ray.cluster_resources()
    assert guest.ask("ray.nodes()[0]['NodeID']") == ray.nodes()[0]["NodeID"]
    assert guest.ask("ray.get_runtime_context().get_session_name()") == ray.get_runtime_context().get_session_name()


@pytest.mark.parametrize("how", ["init", "RAY_ADDRESS"])
def test_auto_finds_the_newest(how: str, address: str, root: Path) -> None:
    stale = root / f"jupyter_ray-{os.getuid()}-0123456789ab"
    stale.mkdir(0o700)
    (stale / "runtime.json").write_text("{}")
    (stale / "runtime.sock").write_text("nobody listens")
    os.utime(stale / "runtime.json", (time.time() + 100,) * 2)
    try:
        environ: dict[str, Any] = {"RAY_ADDRESS": "auto"} if how == "RAY_ADDRESS" else {}
        with Driver(**environ) as driver:
            driver.do("ray.init('auto')" if how == "init" else "ray.init()")
            assert driver.ask("ray.get_runtime_context().gcs_address") == address
    finally:
        for each in stale.iterdir():
            each.unlink()
        stale.rmdir()


def test_auto_takes_the_newest_of_two_and_its_folder_may_be_named(address: str, root: Path, tmp_path: Path) -> None:
    with Driver() as second, Driver() as third, Driver() as fourth:
        second.do("second = ray.init(num_cpus=1).address_info['address']")
        newest = second.ask("second")
        third.do("ray.init('auto')")
        assert third.ask("ray.get_runtime_context().gcs_address") == newest != address
        elsewhere = Path(f"/tmp/jre-{os.getpid()}")
        elsewhere.mkdir()
        second.do(f"ray.shutdown(); there = ray.init(num_cpus=1, _temp_dir={str(elsewhere)!r}).address_info['address']")
        fourth.do(f"ray.init('auto', _temp_dir={str(elsewhere)!r})")
        assert fourth.ask("ray.get_runtime_context().gcs_address") == second.ask("there")
        fourth.do("ray.shutdown(); ray.init('auto')")
        assert fourth.ask("ray.get_runtime_context().gcs_address") == address
    eventually(lambda: not list(elsewhere.iterdir()))
    elsewhere.rmdir()


def test_init_without_an_address_starts_another_runtime(address: str) -> None:
    with Driver() as other:
        other.do("ray.init(num_cpus=3)")
        assert other.ask("ray.get_runtime_context().gcs_address") != address
        assert other.ask("ray.cluster_resources()['CPU']") == 3


def test_auto_does_not_find_what_nobody_has_bound(root: Path) -> None:
    with Driver() as warm, Driver() as other:
        warm.do("from jupyter_ray.api import session; session.warm_up(); from jupyter_ray.engine import registry")
        eventually(lambda: list(root.iterdir()))
        other.do("from jupyter_ray.engine import addresses; addresses._nodes_here = lambda: []")  # Nor a cluster's.
        with pytest.raises(DriverError, match=r"^ConnectionError.*no runtime of yours.*init\(\)"):
            other.do("ray.init('auto')")
        assert not other.ask("ray.is_initialized()")


@pytest.mark.parametrize(
    "options",
    ["num_cpus=1", "num_gpus=0", "resources={'a': 1}", "object_store_memory=2**21", "labels={'a': 'b'}",
     "object_spilling_directory='/tmp/x'", "_system_config={'a': 1}", "_memory=2**30", "_node_name='here'"],
)  # fmt: skip
def test_what_only_the_first_can_set(options: str, address: str) -> None:
    name = options.partition("=")[0]
    for where in (address, "auto"):
        with pytest.raises(ValueError, match=f"When connecting to an existing cluster, {name} must not be provided"):
            _second_init(where, options)


def _second_init(address: str, options: str) -> None:
    """Ask for it in this process, which has a session of its own meanwhile put aside."""
    engine = registry.current()
    registry._engine = None
    try:
        eval(f"ray.init({address!r}, {options})")
    finally:
        registry._engine = engine


def test_nobody_is_there(address: str, root: Path) -> None:
    with Driver() as driver:
        for wrong in ("unix:/nowhere/runtime.sock", f"unix:{root}/jupyter_ray-{os.getuid()}-00/runtime.sock", "unix:"):
            with pytest.raises(DriverError, match=r"^ConnectionError: Could not find any running Ray instance.*'auto'"):
                driver.do(f"ray.init({wrong!r})")
        driver.do("ray.init('auto')")


def test_a_folder_that_others_may_enter_is_not_joined(address: str) -> None:
    folder = Path(address.removeprefix("unix:")).parent
    folder.chmod(0o755)
    try:
        with Driver() as driver, pytest.raises(DriverError, match=r"^ConnectionError.*you alone may enter"):
            driver.do(f"ray.init({address!r})")
    finally:
        folder.chmod(0o700)


def test_another_version_is_refused(address: str) -> None:
    mark = Path(address.removeprefix("unix:")).with_name("runtime.json")
    text = mark.read_text()
    mark.write_text(re.sub(r'"python": "[^"]*"', '"python": "2.7"', text))
    try:
        with Driver() as driver, pytest.raises(DriverError, match=r"^RuntimeError: Version mismatch: .*Python 2\.7"):
            driver.do(f"ray.init({address!r})")
    finally:
        mark.write_text(text)


# --- a job of its own --------------------------------------------------------------------------------------------


def test_a_guest_has_job_namespace_and_surroundings_of_its_own(address: str, tmp_path: Path) -> None:
    (tmp_path / "module_of_the_guest.py").write_text("WHO = 'guest'")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("text")

    @ray.remote
    def look() -> dict[str, Any]:
        import sys

        context = ray.get_runtime_context()
        there = any("module_of_the_guest.py" in os.listdir(each) for each in sys.path if os.path.isdir(each))
        return {
            "job": context.get_job_id(),
            "namespace": context.namespace,
            "cwd": os.getcwd(),
            "variable": os.environ.get("OF_THE_GUEST"),
            "env": os.environ.get("FROM_ENV"),
            "module": there,
            "pid": os.getpid(),
        }

    mine = ray.get([look.remote() for _ in range(4)])
    with Driver(
        tmp_path, OF_THE_GUEST="yes", PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', os.getcwd())}"
    ) as guest:
        guest.do(f"ray.init({address!r}, runtime_env={{'env_vars': {{'FROM_ENV': 'env'}}}})")
        guest.do(
            "@ray.remote\ndef look():\n"
            "    import module_of_the_guest\n"
            "    context = ray.get_runtime_context()\n"
            "    inner = ray.get(inside.remote()) if context.get_task_name() == 'look' else None\n"
            "    return dict(job=context.get_job_id(), namespace=context.namespace, cwd=os.getcwd(), pid=os.getpid(),\n"
            "        variable=os.environ.get('OF_THE_GUEST'), env=os.environ.get('FROM_ENV'),\n"
            "        module=module_of_the_guest.WHO, inner=inner, string=context.get_runtime_env_string())\n"
            "@ray.remote\ndef inside():\n"
            "    return [ray.get_runtime_context().get_job_id(), os.environ.get('FROM_ENV'), os.getcwd()]\n"
        )
        theirs = guest.ask("ray.get([look.remote() for _ in range(4)])")
        job = guest.ask("ray.get_runtime_context().get_job_id()")
        namespace = guest.ask("ray.get_runtime_context().namespace")
    assert {each["job"] for each in mine} == {ray.get_runtime_context().get_job_id()} != {job}
    assert {each["namespace"] for each in mine} == {"shared"}
    for each in theirs:
        assert each["job"] == job
        assert each["namespace"] == namespace != "shared"
        assert each["cwd"] == str(tmp_path)
        assert (each["variable"], each["env"], each["module"]) == ("yes", "env", "guest")
        assert each["inner"] == [job, "env", str(tmp_path)]
        assert job not in each["string"]
    assert all(each["variable"] is None and each["env"] is None and not each["module"] for each in mine)
    assert not {each["pid"] for each in mine} & {each["pid"] for each in theirs}
    again = ray.get([look.remote() for _ in range(4)])
    assert not {each["pid"] for each in again} & {each["pid"] for each in theirs}


def test_a_working_directory_is_copied_and_removed(guest: Driver, address: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    guest.do(
        f"@ray.remote(runtime_env={{'working_dir': {str(tmp_path)!r}}})\n"
        "def read():\n    return [open('file').read(), os.getcwd()]"
    )
    text, where = guest.ask("ray.get(read.remote())")
    folder = Path(address.removeprefix("unix:")).parent
    assert text == "text"
    assert Path(where).is_relative_to(folder)
    assert list(folder.glob("guest-*"))
    guest.do("ray.shutdown()")
    eventually(lambda: not list(folder.glob("guest-*")))


def test_each_driver_s_tasks_follow_its_own_search_path(guest: Driver, tmp_path: Path) -> None:
    (tmp_path / "of_the_guest.py").write_text("TEXT = 'mine'\n")

    @ray.remote
    def load() -> str:
        import of_the_guest  # type: ignore[import-not-found]

        return str(of_the_guest.TEXT)

    guest.do("@ray.remote\ndef load():\n    import of_the_guest\n    return of_the_guest.TEXT")
    guest.do("ray.get(ray.remote(os.getpid).remote())")  # It has a worker.
    guest.do(f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
    assert guest.ask("ray.get(load.remote())") == "mine"
    with pytest.raises(ModuleNotFoundError):
        ray.get(load.remote())


def test_named_actors_are_found_by_namespace(guest: Driver, address: str) -> None:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.value = 0

        def add(self, more: int = 1) -> int:
            self.value += more
            return self.value

    counter: Any = Counter.options(name="counter").remote()
    assert ray.get(counter.add.remote()) == 1
    assert guest.ask("ray.get(ray.get_actor('counter').add.remote())") == 2
    guest.do("counter = ray.get_actor('counter')")
    assert guest.ask("[ray.get(counter.add.remote()) for _ in range(300)][-1]") == 302
    assert ray.get(counter.add.remote()) == 303
    with Driver() as other:
        other.do(f"ray.init({address!r})")
        with pytest.raises(DriverError, match=r"^ValueError: Failed to look up actor"):
            other.do("ray.get_actor('counter')")
        assert other.ask("ray.get(ray.get_actor('counter', namespace='shared').add.remote())") == 304
        with pytest.raises(DriverError, match=r"^ActorAlreadyExistsError|^ValueError"):
            guest.do("ray.remote(dict).options(name='counter').remote()")
        assert other.ask("ray.util.list_named_actors(all_namespaces=True)") == [
            {"name": "counter", "namespace": "shared"}
        ]


def test_references_travel_by_a_named_actor(guest: Driver) -> None:
    @ray.remote
    class Box:
        def __init__(self) -> None:
            self.kept: list[Any] = []

        def put(self, *refs: Any) -> None:
            self.kept.append(refs[0])

        def take(self) -> Any:
            return self.kept[0]

        def take_last(self) -> Any:
            return self.kept.pop()

    box: Any = Box.options(name="box").remote()
    import numpy as np

    ref = ray.put(np.arange(1_000_000))
    ray.get(box.put.remote([ref]))
    del ref
    assert guest.ask("int(ray.get(ray.get(ray.get_actor('box').take.remote())[0]).sum())") == 499999500000
    guest.do(
        "import numpy as np\n@ray.remote\nclass Mine:\n    def ping(self): return 'pong'\n"
        "box = ray.get_actor('box'); mine = Mine.remote(); value = ray.put(np.ones(500_000))"
    )
    guest.do("ray.get(box.put.remote([mine, value]))")

    mine, value = ray.get(box.take_last.remote())
    assert ray.get(mine.ping.remote()) == "pong"
    assert ray.get(value).sum() == 500_000
    guest.kill()
    eventually(lambda: raises_actor_died(mine.ping.remote()))
    assert ray.get(value).sum() == 500_000, "whoever holds it keeps it"


def test_definitions_are_each_drivers_own(guest: Driver) -> None:
    @ray.remote
    def version() -> str:
        return "first"

    guest.do("@ray.remote\ndef version(): return 'guest'")
    assert ray.get(version.remote()) == "first"
    assert guest.ask("ray.get(version.remote())") == "guest"
    guest.do("@ray.remote\ndef version(): return 'guest again'")
    assert guest.ask("ray.get(version.remote())") == "guest again"
    assert ray.get(version.remote()) == "first"


# --- the end of a guest ------------------------------------------------------------------------------------------

_WORK = """
@ray.remote
def child(folder, name):
    open(f"{folder}/{name}-{os.getpid()}", "w").close()
    time.sleep(600)
@ray.remote(num_cpus=0.5)
def parent(folder, name):
    open(f"{folder}/{name}-{os.getpid()}", "w").close()
    ray.get(child.options(num_cpus=0.25).remote(folder, name + "-child"))
@ray.remote(num_cpus=0.25)
class Actor:
    def __init__(self, folder, name):
        open(f"{folder}/{name}-{os.getpid()}", "w").close()
        self.refs = [child.options(num_cpus=0.25).remote(folder, name + "-child")]
    def stay(self): time.sleep(600)
    def pid(self): return os.getpid()
"""


def pids(folder: Path) -> set[int]:
    return {int(each.name.rpartition("-")[2]) for each in folder.iterdir()}


@pytest.mark.parametrize("how", ["shutdown", "exit", "kill -9"])
def test_what_a_guest_made_ends_with_it(how: str, address: str, tmp_path: Path) -> None:
    before = state.list_objects(limit=1000)
    with Driver() as guest:
        guest.do(f"ray.init({address!r}, namespace='shared')")
        guest.do("import numpy as np\n" + _WORK)
        guest.do(f"folder = {str(tmp_path)!r}; running = parent.remote(folder, 'task')")
        guest.do("actor = Actor.options(name='of the guest').remote(folder, 'actor'); call = actor.stay.remote()")
        guest.do("large = ray.put(np.ones(2_000_000)); queued = [child.options(num_cpus=2).remote(folder, 'q')] * 3")
        guest.do("group = ray.util.placement_group([{'CPU': 0.25}]); ray.get(group.ready())")
        eventually(lambda: len(pids(tmp_path)) == 4)
        assert free() < 1.01
        segments = list(config.shared_memory_folder(ray.get_runtime_context().get_session_name()).iterdir())
        assert segments
        if how == "shutdown":
            guest.do("ray.shutdown()")
        elif how == "exit":
            guest.close()
        else:
            guest.kill()
        began = time.monotonic()
        eventually(lambda: free() == 2)
        eventually(lambda: not any(map(is_running, pids(tmp_path))))
        assert time.monotonic() - began < 5, "at once"
        with pytest.raises(ValueError, match="Failed to look up actor"):
            ray.get_actor("of the guest")
        eventually(lambda: len(state.list_objects(limit=1000)) == len(before))
        shm = config.shared_memory_folder(ray.get_runtime_context().get_session_name())
        eventually(lambda: not [each for each in shm.iterdir() if not each.name.startswith("spare-")])
        assert not [each for each in tmp_path.iterdir() if each.name.startswith("q-")], "queued tasks never began"
        assert [group["state"] for group in ray.util.placement_group_table().values()] == ["REMOVED"]
        if how == "shutdown":
            assert not guest.ask("ray.is_initialized()")
            guest.do(f"ray.init({address!r}); assert ray.get(ray.remote(len).remote('ab')) == 2")
    assert ray.get(ray.remote(len).remote("abc")) == 3, "the first driver goes on"


def test_a_detached_actor_outlives_its_guest_and_serves_a_later_one(address: str, tmp_path: Path) -> None:
    with Driver() as guest:
        guest.do(f"ray.init({address!r}, namespace='shared')")
        guest.do(
            "@ray.remote\ndef square(x): return x * x\n"
            "@ray.remote(num_cpus=0, max_restarts=1)\nclass Kept:\n"
            "    def __init__(self): self.kept = []\n"
            "    def add(self, x):\n        self.kept.append(ray.get(square.remote(x)))\n        return self.kept\n"
            "    def pid(self): return os.getpid()\n"
            "kept = Kept.options(name='kept', lifetime='detached').remote(); assert ray.get(kept.add.remote(2)) == [4]"
        )
        guest.do("group = ray.util.placement_group([{'CPU': 0.5}], lifetime='detached', name='kept group')")
        guest.do("ray.get(group.ready())")
        guest.kill()
    eventually(left)
    with Driver() as later:
        later.do(f"ray.init({address!r}, namespace='shared'); kept = ray.get_actor('kept')")
        assert later.ask("ray.get(kept.add.remote(3))") == [4, 9], "its tasks still run, of the definitions it had"
        assert ray.get(ray.get_actor("kept").add.remote(4)) == [4, 9, 16]
        pid = later.ask("ray.get(kept.pid.remote())")
        os.kill(pid, 9)
        assert eventually(lambda: _retried(later)) == [25], "it is made again from its definition"
        later.do("ray.util.remove_placement_group(ray.util.get_placement_group('kept group'))")
        later.do("ray.kill(kept)")
        eventually(lambda: free() == 2)
    with pytest.raises(ValueError, match="kept"):
        ray.get_actor("kept")


def _retried(driver: Driver) -> Any:
    try:
        return driver.ask("ray.get(kept.add.remote(5))")
    except DriverError:  # Its process is being made.
        return None


def test_the_first_drivers_calls_to_an_actor_of_a_guest_fail_when_it_goes(address: str) -> None:
    with Driver() as guest:
        guest.do(f"ray.init({address!r}, namespace='shared')")
        guest.do("@ray.remote(num_cpus=0)\nclass Slow:\n    def wait(self): time.sleep(600)\n    def ping(self): pass")
        guest.do("slow = Slow.options(name='slow').remote(); ray.get(slow.ping.remote())")
        slow = ray.get_actor("slow")
        waiting = [slow.wait.remote() for _ in range(3)]
        guest.kill()
        for ref in waiting:
            with pytest.raises(ray.exceptions.ActorDiedError, match="joined the runtime is gone"):
                ray.get(ref, timeout=30)


@pytest.mark.parametrize("task", ["running", "queued"])
def test_who_waits_for_a_task_of_a_guest_that_goes_hears_why_it_was_cancelled(task: str, address: str) -> None:
    @ray.remote(num_cpus=0)
    class Box:
        def put(self, refs: list[Any]) -> None:
            self.refs = refs

        def take(self) -> list[Any]:
            return self.refs

    box: Any = Box.options(name="box").remote()
    with Driver() as guest:
        guest.do(f"ray.init({address!r}, namespace='shared'); box = ray.get_actor('box')")
        guest.do("@ray.remote(num_cpus=2)\ndef sleep(): time.sleep(600)\nrunning = sleep.remote()")
        guest.do(f"queued = sleep.remote(); ray.get(box.put.remote([{task}]))")
        eventually(lambda: free() == 0)
        [ref] = ray.get(box.take.remote())
        guest.kill()
        with pytest.raises(ray.exceptions.TaskCancelledError, match="cancelled: its job has ended: the driver that"):
            ray.get(ref, timeout=30)


def test_calls_of_a_guest_to_an_actor_of_another_driver_are_no_more_than_one(address: str) -> None:
    @ray.remote(num_cpus=0)
    class Slow:
        def __init__(self) -> None:
            self.calls = 0

        def wait(self, path: str) -> None:
            self.calls += 1
            while not os.path.exists(path):
                time.sleep(0.01)

        def count(self) -> int:
            return self.calls

    slow: Any = Slow.options(name="slow").remote()
    path = f"/tmp/jr-go-on-{os.getpid()}"
    with Driver() as guest:
        guest.do(f"ray.init({address!r}, namespace='shared'); slow = ray.get_actor('slow')")
        guest.do(f"calls = [slow.wait.remote({path!r}) for _ in range(5)]")
        eventually(lambda: state.list_tasks(filters=[("name", "=", "Slow.wait"), ("state", "=", "RUNNING")]))
        guest.kill()
        eventually(left)
    Path(path).touch()
    try:
        assert ray.get(slow.count.remote(), timeout=30) == 1
    finally:
        os.unlink(path)


def test_two_guests_at_once_end_apart(address: str, tmp_path: Path) -> None:
    with Driver() as first, Driver() as second:
        for name, guest in (("first", first), ("second", second)):
            guest.do(f"ray.init({address!r})")
            guest.do(_WORK)
            guest.do(f"running = parent.remote({str(tmp_path)!r}, {name!r})")
            guest.do("@ray.remote(num_cpus=0.1)\ndef add(a, b): return a + b")
        eventually(lambda: len(pids(tmp_path)) == 4)
        first.kill()
        mine = {int(each.name.rpartition("-")[2]) for each in tmp_path.iterdir() if each.name.startswith("first")}
        eventually(lambda: not any(map(is_running, mine)))
        assert all(map(is_running, pids(tmp_path) - mine))
        assert second.ask("ray.get([add.remote(1, each) for each in range(100)])[-1]") == 100
    eventually(lambda: free() == 2)


def test_guests_come_and_go_while_the_first_driver_works(address: str) -> None:
    @ray.remote(num_cpus=0.5)
    def step(x: int) -> int:
        return x + 1

    workers = set(registry.current().statistics()["worker_pids"])  # type: ignore[union-attr]
    with Driver() as guest:
        for _ in range(5):
            guest.do(f"ray.init({address!r})")
            guest.do("@ray.remote(num_cpus=0.5)\ndef f(x): return x\nassert ray.get([f.remote(i) for i in range(20)])")
            assert ray.get([step.remote(each) for each in range(20)]) == list(range(1, 21))
            guest.do("ray.shutdown()")
    eventually(lambda: len(registry.current().statistics()["worker_pids"]) <= len(workers) + 2)  # type: ignore[union-attr]


# --- the end of the first driver ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["shutdown", "kill -9", "the runtime is killed"])
def test_the_end_of_the_first_driver_is_told_at_once(how: str, root: Path) -> None:
    with Driver() as first, Driver() as guest:
        first.do("address = ray.init(num_cpus=1).address_info['address']")
        guest.do(f"ray.init({first.ask('address')!r})")
        guest.do("@ray.remote(num_cpus=0)\ndef wait(): time.sleep(600)\nref = wait.remote()")
        guest.begin("ray.get(ref)")
        if how == "shutdown":
            first.do("ray.shutdown()")
        elif how == "kill -9":
            first.kill()
        else:
            os.kill(_runtime_of(root), 9)
        began = time.monotonic()
        with pytest.raises(
            DriverError, match=r"^RaySystemError: System error: The session has.*driver.*started it.*ray\.init"
        ):
            guest.finish()
        with pytest.raises(DriverError, match=r"^RaySystemError"):
            guest.do("ray.put(1)")
        assert time.monotonic() - began < 10
        guest.do("ray.shutdown(); ray.init(num_cpus=1)")
        assert guest.ask("ray.get(ray.remote(len).remote('abc'))") == 3
        guest.do("ray.shutdown()")


def test_who_joins_a_runtime_that_ends_meanwhile_hears_it(root: Path) -> None:
    with Driver() as first, Driver() as guest:
        first.do("address = ray.init(num_cpus=1).address_info['address']")
        address = first.ask("address")
        os.kill(_runtime_of(root), signal.SIGSTOP)

        def connections() -> int:
            return Path("/proc/net/unix").read_text().count(address.removeprefix("unix:"))

        before = connections()
        guest.begin(f"ray.init({address!r})")
        eventually(lambda: connections() > before)
        os.kill(_runtime_of(root), signal.SIGKILL)
        with pytest.raises(DriverError, match=r"^(NotStartedError|ConnectionError): .*"):
            guest.finish()
        guest.do("ray.init(num_cpus=1); assert ray.get(ray.remote(len).remote('abc')) == 3")


def _runtime_of(root: Path) -> int:
    [mark] = root.glob("*/runtime.json")
    return int(json.loads(mark.read_text())["pid"])


def test_init_again_after_the_end_needs_no_shutdown(root: Path) -> None:
    with Driver() as first, Driver() as guest:
        first.do("address = ray.init(num_cpus=1).address_info['address']")
        guest.do(f"ray.init({first.ask('address')!r})")
        first.do("ray.shutdown()")
        began = time.monotonic()
        with pytest.raises(DriverError, match=r"^RaySystemError"):
            guest.do("while True: ray.get(ray.put(1)); time.sleep(0.01)")
        assert time.monotonic() - began < 5
        guest.do("ray.init(num_cpus=1); assert ray.get(ray.remote(len).remote('abc')) == 3")


# --- what each is told -------------------------------------------------------------------------------------------


def test_what_tasks_print_goes_to_their_driver_alone(root: Path) -> None:
    with Driver() as first, Driver() as guest:
        first.do("address = ray.init(num_cpus=2, namespace='n').address_info['address']")
        guest.do(f"ray.init({first.ask('address')!r}, namespace='n')")
        for name, driver in (("first", first), ("guest", guest)):
            driver.do(
                f"@ray.remote(num_cpus=0)\ndef say(): print('{name} says it')\n"
                f"@ray.remote(num_cpus=0)\ndef fail(): raise KeyError('{name} failed')\n"
                f"@ray.remote(num_cpus=0)\nclass Sayer:\n    def say(self, text): print(text, 'at {name}')\n"
                f"sayer = Sayer.options(name='{name}').remote()"
            )
            driver.do("ray.get(say.remote()); ref = fail.remote(); ray.wait([ref]); del ref")
        guest.do("ray.get(ray.get_actor('first').say.remote('guest asks'))")
        first.do("ray.get(ray.get_actor('guest').say.remote('first asks'))")
        eventually(lambda: "guest failed" in guest.output() and "first failed" in first.output())
        for mine, other, driver in (("first", "guest", first), ("guest", "first", guest)):
            said = driver.output()
            assert f"{mine} says it" in said
            assert f"{mine} asks at {other}" in said, "a call's output goes to who has called"
            assert f"{other} says it" not in said
            assert f"{other} asks" not in said
            assert f"{other} failed" not in said
        with pytest.raises(DriverError, match=r"^NameError"):
            guest.do("undefined")
        guest.do("ray.shutdown()")
        first.do("ray.get(say.remote())")
        first.do("ray.shutdown()")


def test_a_driver_that_is_stopped_holds_up_nobody(address: str) -> None:
    """It is sent nothing that would be kept for it without bound, and what the others print is not braked."""
    with Driver() as guest:
        guest.do(f"ray.init({address!r})")
        guest.do(
            "@ray.remote(num_cpus=1)\ndef flood():\n"
            "    for _ in range(20_000): print('x' * 1000)\nrunning = flood.remote()"
        )
        guest.process.send_signal(19)
        try:

            @ray.remote(num_cpus=1)
            def chat(number: int) -> int:
                print("y" * 1000)
                return number

            with_lines = registry.current().subscribe(lambda events: None, logs_only=True)  # type: ignore[union-attr]
            for number in range(300):
                assert ray.get(chat.remote(number), timeout=60) == number
            with_lines()
        finally:
            guest.process.send_signal(18)


def test_tables_and_resources_from_both_sides(guest: Driver, address: str) -> None:
    guest.do("@ray.remote(num_cpus=2)\ndef hold(path):\n    while not os.path.exists(path): time.sleep(0.01)")
    path = f"/tmp/jr-hold-{os.getpid()}"
    guest.do(f"held = hold.remote({path!r})")
    try:
        eventually(lambda: free() == 0)
        assert guest.ask("ray.available_resources().get('CPU', 0)") == 0

        @ray.remote
        def wait_for_cpu() -> int:
            return 1

        ref = wait_for_cpu.remote()
        expected = r"wait_for_cpu .*waits for CPU: 1 .*hold \(\w+\) of another driver \(.*holds CPU: 2"
        assert re.search(expected, ray.why(ref))
        mine, theirs = ray.get_runtime_context().get_job_id(), guest.ask("ray.get_runtime_context().get_job_id()")
        from_there = "[(row.job_id, row.status, row.driver_info['pid']) for row in state.list_jobs(detail=True)]"
        guest.do("from jupyter_ray.util import state")
        rows: list[Any] = state.list_jobs(detail=True)
        jobs = [(row.job_id, row.status, row.driver_info["pid"]) for row in rows]
        assert jobs == [(mine, "RUNNING", str(os.getpid())), (theirs, "RUNNING", str(guest.pid))]
        assert guest.ask(from_there) == [list(each) for each in jobs]
        tasks = sorted((row.name, row.job_id) for row in state.list_tasks(detail=True))
        assert tasks == [("hold", theirs), ("wait_for_cpu", mine)]
        assert [row.name for row in state.list_tasks(filters=[("job_id", "=", theirs)])] == ["hold"]
        assert guest.ask("sorted((row.name, row.job_id) for row in state.list_tasks(detail=True))") == [
            list(each) for each in tasks
        ]
        drivers = [row.pid for row in state.list_workers(detail=True) if row.worker_type == "DRIVER"]
        assert drivers == [os.getpid(), guest.pid]
        assert guest.ask("[each['NodeID'] for each in ray.nodes()]") == [each["NodeID"] for each in ray.nodes()]
    finally:
        Path(path).touch()
    assert ray.get(ref, timeout=60) == 1
    os.unlink(path)
    names = {each.get("name") for each in ray.timeline() or ()}
    assert any("hold" in str(each) for each in names)
    assert any("wait_for_cpu" in str(each) for each in guest.ask("[each.get('name') for each in ray.timeline()]"))
    guest.do("ray.get(held)")


def test_a_deadlock_between_drivers_is_seen(guest: Driver) -> None:
    """A task of each keeps what the task that it waits for needs: neither driver sees that alone."""
    ray.shutdown()
    guest.do("ray.shutdown()")
    address = ray.init(num_cpus=4, resources={"a": 1, "b": 1}, log_to_driver=False).address_info["address"]
    path = Path(f"/tmp/jr-dead-{os.getpid()}")
    guest.do(f"ray.init({address!r})")
    guest.do(
        "@ray.remote(num_cpus=0, resources={'a': 1})\ndef need_a(): return 1\n"
        "@ray.remote(num_cpus=0, resources={'b': 1})\ndef hold_b(path):\n"
        "    open(path + '-b', 'w').close()\n"
        "    while not os.path.exists(path + '-a'): time.sleep(0.01)\n"
        "    return ray.get(need_a.remote())\n"
        f"ref = hold_b.remote({str(path)!r})"
    )

    @ray.remote(num_cpus=0, resources={"b": 1})
    def need_b() -> int:
        return 1

    @ray.remote(num_cpus=0, resources={"a": 1})
    def hold_a(path: str) -> int:
        open(path + "-a", "w").close()
        while not os.path.exists(path + "-b"):
            time.sleep(0.01)
        return ray.get(need_b.remote())

    ref = hold_a.remote(str(path))
    failed = []
    try:
        ray.get(ref, timeout=60)
    except ray.exceptions.RayTaskError as error:
        failed.append(str(error))
    try:
        guest.do("ray.get(ref, timeout=60)")
    except DriverError as error:
        failed.append(str(error))
    for each in ("-a", "-b"):
        path.with_name(path.name + each).unlink()
    assert len(failed) == 1, "one of them is told, the other goes on"
    assert "ResourceDeadlockError" in failed[0]
