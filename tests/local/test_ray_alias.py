"""``sys.modules["ray"] = jupyter_ray``: what published libraries ask of ``ray`` beyond its public interface.

Each test is named after what the libraries do; they are Modin, stumpy, Daft, xgboost_ray, lightgbm_ray, dagster-ray,
smallpond and cosmos-xenna, which run here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
NAMED = """
import sys
import jupyter_ray
own = jupyter_ray.__version__, str(jupyter_ray)
sys.modules["ray"] = jupyter_ray
import ray
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in which this package stands for Ray."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, *filter(None, sys.path)])}
    environment.pop("RAY_IGNORE_UNHANDLED_ERRORS", None)
    text = NAMED + textwrap.dedent(program)
    ran = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran


def test_the_version_and_the_text_of_the_module_are_rays() -> None:
    """Libraries compare ``ray.__version__`` with the oldest Ray that they know; stumpy looks at ``str(ray)``."""
    ran = run(
        """
        @ray.remote
        def there():
            return ray.__version__, str(ray), ray.__name__

        for version, text, name in (there._function(), ray.get(there.remote())):
            assert tuple(map(int, version.split("."))) >= (2, 60, 0), version
            assert text.startswith("<module 'ray'") and "jupyter_ray" in text, text
            assert name == "jupyter_ray"
        assert own[0] == "0.1.0" and own[1].startswith("<module 'jupyter_ray' from"), own
        del sys.modules["ray"]
        assert (jupyter_ray.__version__, str(jupyter_ray)) == own
        """
    )
    assert "Error" not in ran.stderr


def test_the_version_that_init_tells_is_the_modules() -> None:
    run(
        """
        with ray.init(num_cpus=1, logging_level="ERROR") as context:
            assert context.ray_version == ray.__version__ == "2.60.0", context
        """
    )


def test_whether_a_module_is_there_can_be_asked() -> None:
    """By ``importlib.util.find_spec("ray.tune")``, as transformers does, and by importing it."""
    run(
        """
        from importlib.util import find_spec
        there = [name for name in ("ray", "ray.util.queue", "ray.exceptions") if find_spec(name) is None]
        assert there == [], there
        for name in ("ray.tune", "ray.nothing", "ray.data.dataset", "jupyter_ray.tune", "jupyter_ray.data"):
            assert find_spec(name) is None, name
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                told = str(error)
            assert ("No module named 'ray.nothing'" == told) if name == "ray.nothing" else "not offered" in told, told
        """
    )


def test_what_libraries_import_at_their_top_and_do_not_use() -> None:
    """Modin imports ``from_pandas_refs``, xgboost_ray asks Ray Train for a session, dagster-ray sets Ray Data up."""
    run(
        """
        from ray.data import Dataset, from_pandas_refs
        from ray.train._internal.session import get_session
        import ray.data

        assert get_session() is None
        assert not isinstance([], Dataset)
        options = ray.data.DatasetContext.get_current().execution_options
        options.resource_limits = ray.data.ExecutionResources.for_limits(cpu=1)
        assert ray.data.DataContext.get_current().execution_options.resource_limits.cpu == 1
        refused = (lambda: from_pandas_refs([]), NotImplementedError), (lambda: ray.data.range(3), AttributeError)
        for use, kind in refused:
            try:
                use()
            except kind as error:
                assert "ray.data is not offered" in str(error), error
            else:
                raise AssertionError(kind)
        """
    )


def test_modules_that_are_packages_in_ray_or_have_an_old_name() -> None:
    run(
        """
        import ray.cloudpickle.cloudpickle, ray.cloudpickle.compat, ray.util.accelerators.accelerators
        from ray.experimental.dynamic_resources import set_resource
        from ray.experimental.multiprocessing import Pool
        from ray.experimental.queue import Empty, Queue
        from ray.runtime_env.runtime_env import RuntimeEnv

        assert ray.cloudpickle.cloudpickle.dumps is ray.cloudpickle.dumps
        assert ray.util.accelerators.accelerators.NVIDIA_TESLA_V100 == "V100"
        assert (Pool, Empty, RuntimeEnv) == (
            ray.util.multiprocessing.Pool, ray.util.queue.Empty, ray.runtime_env.RuntimeEnv
        )
        try:
            set_resource("a", 1)
        except DeprecationWarning:
            pass
        else:
            raise AssertionError
        """
    )


def test_rays_inside_can_be_imported_beside_what_is_used() -> None:
    """Tests of programs do that at their top; what they call of it says what it is."""
    run(
        """
        from ray._private import gcs_utils
        from ray._private.runtime_env import virtualenv_utils
        from ray._private.gc_collect_manager import PythonGCThread
        from ray._private.services import find_node_ids
        from ray._private.utils import check_oversized_function
        from ray._private.worker import connect
        from ray._raylet import RESOURCE_UNIT_SCALING, GlobalStateAccessor, PythonFunctionDescriptor
        from ray.experimental.internal_kv import internal_kv_get_gcs_client
        from ray.core.generated.gcs_pb2 import ActorTableData
        from ray.util.client import num_connected_contexts, ray as client
        from ray.util.client.ray_client_helpers import connect_to_client_or_not
        from ray.util.state.common import GetLogOptions
        import ray.core.generated.common_pb2 as messages
        import ray.dashboard.consts

        assert RESOURCE_UNIT_SCALING == 10_000
        assert (client.is_connected(), num_connected_contexts()) == (False, 0)
        with connect_to_client_or_not(False):
            pass
        refused = [gcs_utils.GcsChannel, virtualenv_utils.is_in_virtualenv, ActorTableData, messages.Address]
        refused += [connect, check_oversized_function, GlobalStateAccessor, find_node_ids, internal_kv_get_gcs_client]
        for use in (*refused, PythonFunctionDescriptor, GetLogOptions, connect_to_client_or_not(True).__enter__):
            try:
                use()
            except NotImplementedError as error:
                assert "not offered" in str(error), error
            else:
                raise AssertionError(use)
        """
    )


def test_rays_inside() -> None:
    """Which process this is, where actors are, what each machine has, and requests for machines."""
    ran = run(
        """
        import logging, warnings
        from ray import logger
        from ray._private.client_mode_hook import is_client_mode_enabled
        from ray._private.services import get_node_ip_address
        from ray._private.state import actors
        from ray.autoscaler.sdk import request_resources

        assert isinstance(logger, logging.Logger)
        assert is_client_mode_enabled is False
        assert ray._private.worker.global_worker.mode is None
        ray.init(num_cpus=2, logging_level="ERROR")

        @ray.remote
        class Counter:
            def mode(self):
                return ray._private.worker.global_worker.mode == ray.WORKER_MODE

            async def waits(self):
                ray._private.worker.blocking_get_inside_async_warned = True
                return ray.get(ray.put(1))

        counter = Counter.options(name="here").remote()
        assert ray.get(counter.mode.remote())
        assert ray._private.worker.global_worker.mode == ray.SCRIPT_MODE
        assert isinstance(ray.get_runtime_context(), ray.runtime_context.RuntimeContext)
        row = actors(counter._actor_id.hex())
        assert row["Address"]["NodeID"] == ray.get_runtime_context().get_node_id()
        assert (row["Name"], row["ActorClassName"], row["State"]) == ("here", "Counter", "ALIVE")
        assert row["Address"]["IPAddress"] == get_node_ip_address()
        assert actors() == {counter._actor_id.hex(): row}
        assert actors("0" * 32) == {}
        state = ray._private.state.state
        assert state.actor_table(counter._actor_id.hex()) == row
        assert (state.node_table(), state.job_table()[0]["IsDead"]) == (ray.nodes(), False)
        group = ray.util.placement_group([{"CPU": 1}], name="mine")
        assert state.placement_group_table(group.id)["name"] == "mine"
        assert state.get_placement_group_by_name("mine", "")["placement_group_id"] == group.id.hex()
        ray.util.remove_placement_group(group)
        free = ray._private.state.available_resources_per_node()
        assert list(free) == [ray.nodes()[0]["NodeID"]]
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            assert ray.state.nodes() == ray.nodes()
            assert ray.worker.global_worker.mode == ray.SCRIPT_MODE
        assert [str(each.message)[:9] for each in warned] == ["ray.state", "ray.worke"], warned
        request_resources(bundles=[{"CPU": 100}])
        request_resources(num_cpus=1)
        assert ray.get(Counter.remote().waits.remote()) == 1
        try:
            import ray._private.internal
        except ModuleNotFoundError as error:
            assert "not offered" in str(error)
        """
    )
    assert "blocking" not in ran.stderr


def test_the_name_of_a_function_can_be_set() -> None:
    """As smallpond does, for its logs."""
    run(
        """
        @ray.remote
        def add(a, b):
            return a + b

        add._function_name = "a task"
        assert repr(add) == "<RemoteFunction a task>"
        assert ray.get(add.remote(1, 2)) == 3
        """
    )


def test_errors_that_nobody_looks_at_can_be_silenced_later() -> None:
    """Modin sets the variable after ``init``, as Ray permits."""
    ran = run(
        """
        import io, os, sys, time
        ray.init(num_cpus=1)
        told = sys.stderr = io.StringIO()

        @ray.remote
        def fail(text):
            raise ValueError(text)

        fail.remote("loud")
        while "ValueError: loud" not in told.getvalue():
            time.sleep(0.01)
        os.environ["RAY_IGNORE_UNHANDLED_ERRORS"] = "1"
        fail.remote("quiet")
        ray.get(ray.remote(len).remote([]))
        ray.shutdown()
        print(told.getvalue(), file=sys.__stderr__)
        """
    )
    assert "ValueError: loud" in ran.stderr
    assert "quiet" not in ran.stderr
