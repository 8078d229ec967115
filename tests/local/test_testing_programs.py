"""Programs that tests run as drivers of their own, and a session that no driver of a test has started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jupyter_ray as ray
from jupyter_ray._common.test_utils import run_string_as_driver, wait_for_condition
from jupyter_ray._private.test_utils import (
    run_string_as_driver_nonblocking,
    run_string_as_driver_stdout_stderr,
    wait_for_pid_to_exit,
)
from jupyter_ray.cluster_utils import Cluster

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs find this package; no session runs yet."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray.shutdown()


def test_a_program_tells_what_it_printed() -> None:
    both = "import sys\nprint('a', __name__, flush=True)\nprint('b', file=sys.stderr)"
    assert run_string_as_driver(both) == "a __main__\nb\n"
    assert run_string_as_driver_stdout_stderr(both) == ("a __main__\n", "b\n")


def test_a_program_is_a_driver() -> None:
    program = """
import jupyter_ray as ray
ray.init(num_cpus=1, logging_level="ERROR")

class Point:
    x = 7

@ray.remote
def f(point):
    return point.x

print(ray.get(f.remote(Point())))
"""
    assert run_string_as_driver(program, timeout=PATIENCE) == "7\n"


def test_a_program_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run_string_as_driver("print('so far', flush=True)\nraise SystemExit(3)")
    assert (caught.value.returncode, caught.value.output) == (3, b"so far\n")
    assert "so far" in capfd.readouterr().err
    with pytest.raises(subprocess.CalledProcessError):
        run_string_as_driver_stdout_stderr("1 / 0")
    with pytest.raises(subprocess.TimeoutExpired):
        run_string_as_driver("import time; time.sleep(1000)", timeout=0.5)


def test_a_program_has_the_environment_that_it_is_given() -> None:
    script = "import os; print(os.environ.get('A'), 'HOME' in os.environ)"
    assert run_string_as_driver(script, env={"A": "1"}) == "1 False\n"


def test_a_program_may_go_on_beside_the_test() -> None:
    process = run_string_as_driver_nonblocking("import time; print('there', flush=True); time.sleep(1000)")
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    process.kill()
    process.wait()
    wait_for_pid_to_exit(process.pid, timeout=PATIENCE)
    process.communicate()


def test_where_this_package_stands_for_ray_it_does_so_in_programs_too() -> None:
    program = """
import sys
import jupyter_ray
sys.modules["ray"] = jupyter_ray
from ray._common.test_utils import run_string_as_driver
from ray.cluster_utils import Cluster

print(run_string_as_driver("import ray; print(ray.__name__)"), end="")
cluster = Cluster(initialize_head=True, connect=True)
print(jupyter_ray.get(jupyter_ray.remote(lambda: __import__("ray").__name__).remote()))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout == "jupyter_ray\njupyter_ray\n", ran.stderr


def test_a_cluster_of_one_machine_outlives_its_drivers() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "resources": {"x": 1}, "redis_port": 1})
    try:
        node = cluster.head_node
        assert node is not None
        assert cluster.list_all_nodes() == [node]
        assert cluster.address == cluster.gcs_address == node.address
        with ray.init(address=cluster.address, namespace="n", log_to_driver=False):
            assert ray.cluster_resources()["CPU"] == 2
            assert ray.cluster_resources()["x"] == 1
            assert ray.cluster_resources()["object_store_memory"] == 150 * 1024**2
            kept = ray.put(1)
            ray.remote(Counter).options(name="kept", lifetime="detached").remote()
            assert ray.get(kept) == 1
        cluster.connect(namespace="n")
        assert ray.get(ray.get_actor("kept").add.remote()) == 1
        with pytest.raises(AssertionError, match="connected already"):
            cluster.connect()
        with pytest.raises(NotImplementedError, match="a second node cannot be added"):
            cluster.add_node(num_cpus=1)
        with pytest.raises(TypeError, match="unexpected keyword argument 'num_cpu'"):
            cluster.add_node(num_cpu=1)
        assert cluster.remaining_processes_alive()
        ray.shutdown()
    finally:
        cluster.shutdown()
    assert [cluster.list_all_nodes(), cluster.address] == [[], None]
    wait_for_condition(lambda: not os.path.exists(node.get_session_dir_path()), timeout=PATIENCE)
    cluster.shutdown()


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


def test_a_cluster_that_has_not_been_started() -> None:
    cluster = Cluster()
    assert (cluster.address, cluster.list_all_nodes()) == (None, [])
    with pytest.raises(AssertionError, match="add_node"):
        cluster.connect()
    with pytest.raises(RuntimeError, match="Cannot connect to uninitialized cluster"):
        Cluster(connect=True)
    with pytest.raises(ValueError, match="num_cpus"):
        cluster.add_node(num_cpus=-1)
    node = cluster.add_node()
    cluster.remove_node(node)
    assert cluster.list_all_nodes() == []
    with pytest.raises(ValueError, match="none of this cluster's"):
        cluster.remove_node(node)
    cluster.shutdown()


def test_this_process_without_a_session() -> None:
    from jupyter_ray._private.worker import global_worker

    assert (global_worker.connected, global_worker.mode, global_worker.node) == (False, None, None)
    with pytest.raises(AttributeError, match="no session runs"):
        global_worker.worker_id  # noqa: B018
    with pytest.raises(ray.exceptions.RaySystemError):
        global_worker.check_connected()
    ray.init(num_cpus=1, log_to_driver=False)
    assert (global_worker.connected, global_worker.mode) == (True, ray.SCRIPT_MODE)
    ray.shutdown()
    assert not global_worker.connected
