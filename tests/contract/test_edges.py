"""The edges of the interface: what is refused, and with which words, where programs look for them."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import abc
import functools
import os
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.events import LogLines
from jupyter_ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    RaySystemError,
    TaskUnschedulableError,
)
from jupyter_ray.runtime_env import RuntimeEnv, RuntimeEnvConfig
from jupyter_ray.util import placement_group, remove_placement_group
from jupyter_ray.util.scheduling_strategies import (
    In,
    NodeAffinitySchedulingStrategy,
    NotIn,
    PlacementGroupSchedulingStrategy,
)
from tests.contract.helpers import Log, eventually

pytestmark = pytest.mark.usefixtures("cluster")


@ray.remote(num_cpus=0)
class Mortal:
    def pid(self) -> int:
        return os.getpid()

    def crash(self) -> None:
        os._exit(3)


def test_the_error_of_a_dead_actor_tells_what_is_known_of_it() -> None:
    actor: Any = Mortal.options(name="mortal", namespace="edges").remote()
    pid = ray.get(actor.pid.remote())
    with pytest.raises(ActorDiedError, match="The actor died unexpectedly before finishing this task") as caught:
        ray.get(actor.crash.remote())
    told = dict(line.strip().split(": ", 1) for line in str(caught.value).splitlines() if line.startswith("\t"))
    told.pop("ip", None)  # There is one machine only, or the cluster names it.
    assert told == {
        "class_name": "Mortal",
        "actor_id": actor._actor_id.hex(),
        "pid": str(pid),
        "name": "mortal",
        "namespace": "edges",
    }


def test_the_error_of_a_call_that_was_lost_says_that_it_may_have_run() -> None:
    actor: Any = Mortal.options(max_restarts=1).remote()
    with pytest.raises(ActorUnavailableError, match="is unavailable") as caught:
        ray.get(actor.crash.remote())
    assert "The task may or may not have been executed on the actor" in str(caught.value)


def test_what_is_neither_function_nor_class_is_refused() -> None:
    for nothing in (3, "f", None):
        with pytest.raises(AssertionError, match="must be applied either with no arguments and no parentheses"):
            ray.remote(nothing)  # type: ignore[call-overload]


def test_an_abstract_class_is_refused_where_it_is_made_remote() -> None:
    class Unfinished(abc.ABC):
        @abc.abstractmethod
        def run(self) -> None: ...

    with pytest.raises(TypeError, match="Can't instantiate abstract class"):
        ray.remote(Unfinished)


def test_an_unknown_option_is_called_one_of_functions_and_of_actors() -> None:
    with pytest.raises(ValueError, match="Invalid option keyword num_cpu for remote functions"):
        ray.remote(num_cpu=1)(len)
    with pytest.raises(ValueError, match="Invalid option keyword max_restarts for remote functions"):
        ray.remote(max_restarts=1)(len)


def test_an_unknown_option_of_a_method_is_a_wrong_argument_of_the_call() -> None:
    actor: Any = Mortal.remote()
    for call in (actor.pid.options, functools.partial(actor.pid._remote, args=())):
        with pytest.raises(TypeError, match=r"unexpected keyword argument 'num_retruns'.*'num_returns'"):
            call(num_retruns=2)
    with pytest.raises(AssertionError, match=r"Unexpected keyword argument to @ray\.method"):
        ray.method(num_retruns=2)


def test_a_number_of_values_is_no_text() -> None:
    actor: Any = Mortal.remote()
    for options in (ray.remote(os.getpid).options, actor.pid.options):
        with pytest.raises(TypeError, match="'num_returns' only accepts"):
            options(num_returns="many")
        with pytest.raises(ValueError, match="num_returns must be >= 0"):
            options(num_returns=-1)


def test_conditions_on_labels_are_checked_where_they_are_written() -> None:
    with pytest.raises(ValueError, match="parameter of the In operator must be a non-empty tuple"):
        In()
    with pytest.raises(ValueError, match="Type of value in position 1 for the NotIn operator must be str"):
        NotIn("a", 3)  # type: ignore[arg-type]
    assert In("a", "b").values == ["a", "b"]


def test_what_can_never_run_is_called_not_schedulable() -> None:
    nowhere = NodeAffinitySchedulingStrategy("ab" * 28, soft=False)
    node = "The node specified via NodeAffinitySchedulingStrategy doesn't exist"
    with pytest.raises(TaskUnschedulableError, match=f"The task is not schedulable: {node}"):
        ray.get(ray.remote(os.getpid).options(scheduling_strategy=nowhere).remote())
    with pytest.raises(ActorUnschedulableError, match=f"The actor is not schedulable: {node}"):
        ray.get(Mortal.options(scheduling_strategy=nowhere).remote().pid.remote())


def test_the_words_about_placement_groups() -> None:
    for wrong in ([], [3], [{"CPU": "a"}]):
        with pytest.raises(ValueError, match="Bundles must be a non-empty list of resource dictionaries"):
            placement_group(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Invalid placement group strategy FAR"):
        placement_group([{"CPU": 1}], strategy="FAR")
    group = placement_group([{"CPU": 1}], name="words")
    with pytest.raises(RaySystemError, match="name 'words' already exists"):
        placement_group([{"CPU": 1}], name="words")
    strategy = PlacementGroupSchedulingStrategy(group)
    with pytest.raises(ValueError, match="Placement groups should be specified via the scheduling_strategy option"):
        ray.remote(os.getpid).options(placement_group=group, scheduling_strategy=strategy)
    with pytest.raises(ValueError, match="If placement group is not set, the value of bundle index must be -1"):
        ray.remote(os.getpid).options(placement_group_bundle_index=1).remote()
    remove_placement_group(group)


def test_a_runtime_environment_is_checked_where_it_is_written(caplog: pytest.LogCaptureFixture) -> None:
    for written in ({"working_dir": "/no/such/folder"}, {"py_modules": [__file__, "/no/such/module"]}):
        with pytest.raises(ValueError, match="not a valid path"):
            RuntimeEnv(**written)
    assert "no_such_setting" not in RuntimeEnv(config={"no_such_setting": 1})["config"]
    assert "no_such_setting" in caplog.text
    with pytest.raises(
        ValueError, match="'pip' field, 'uv' field, and 'conda' field of runtime_env cannot be specified"
    ):
        RuntimeEnv(pip=["one"], uv=["other"])
    with pytest.raises(ValueError, match="The 'image_uri' field currently cannot be used together with other fields"):
        RuntimeEnv(image_uri="one", pip=["other"])
    with pytest.raises(TypeError, match="eager_install must be a boolean"):
        RuntimeEnv(config={"eager_install": 3})
    with pytest.raises(TypeError, match="log_files must be a list of strings or None"):
        RuntimeEnvConfig(log_files=3)  # type: ignore[arg-type]
    config = RuntimeEnv(config={"setup_timeout_seconds": 3})["config"]
    assert config == {"setup_timeout_seconds": 3, "eager_install": True, "log_files": []}


@ray.remote
def finds_no_file() -> None:
    raise FileNotFoundError("no \udc80 here")


@ray.remote
class WithoutFile:
    def __init__(self) -> None:
        raise FileNotFoundError("no \udc80 here")

    def call(self) -> None: ...


@pytest.mark.local_only("such an error kills a worker of Ray")
def test_an_error_s_text_need_not_be_text() -> None:
    """As that of a file whose name is of another encoding."""
    with pytest.raises(FileNotFoundError, match=r"no .* here"):
        ray.get(finds_no_file.remote())
    with pytest.raises(ray.exceptions.ActorDiedError, match=r"no .* here"):
        ray.get(WithoutFile.remote().call.remote())


@pytest.mark.local_only("what is printed of such an error is Ray's own")
def test_an_error_that_nobody_saw_need_not_be_text() -> None:
    with Log() as log:
        refs = [finds_no_file.remote()]
        ray.wait(refs)
        refs.clear()
        actor = WithoutFile.remote()
        told = eventually(lambda: [each for each in log.find(LogLines) if "Unhandled error" in each.text][1:])
        assert "no ? here" in told[0].text
        del actor
    assert ray.get(ray.remote(lambda: 1).remote()) == 1
