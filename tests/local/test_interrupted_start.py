"""Interrupts in the midst of `init` and `shutdown`: what had been begun is ended, and the next session starts."""

from __future__ import annotations

import threading

import pytest

import jupyter_ray as ray
from jupyter_ray.local import engine
from jupyter_ray.local.launcher import Runtime
from tests.contract.helpers import PATIENCE, eventually
from tests.interrupting import interrupted
from tests.leaks import Watch

# A runtime that an interrupt makes nobody's ends when its connection is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def is_gone(watch: Watch) -> bool:
    """No process, folder or descriptor of a session is left, and none of a session's threads."""
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("jupyter_ray")]
    return not threads and not watch.leftovers(PATIENCE)


def session() -> None:
    ray.init(num_cpus=1, num_gpus=0, log_to_driver=False)
    ray.shutdown()


@pytest.fixture(autouse=True)
def imported() -> None:
    """An interrupt in the midst of an import is none of ours."""
    ray.shutdown()
    session()


def test_an_interrupt_leaves_no_session_that_nobody_can_end(leak_watch: Watch) -> None:
    for where in interrupted(session, stride=97):
        ray.shutdown()  # Where the interrupt came before anything had ended, this ends it.
        assert eventually(lambda: is_gone(leak_watch)), where
    session()


def test_an_interrupt_leaves_no_folder_of_a_runtime_that_was_not_started(leak_watch: Watch) -> None:
    kept: list[Runtime] = []
    for where in interrupted(lambda: kept.append(Runtime()), stride=23):
        for runtime in kept:
            runtime.connection.close()
            runtime.end()
        kept.clear()
        assert eventually(lambda: is_gone(leak_watch)), where
    for runtime in kept:
        runtime.connection.close()
        runtime.end()


def test_a_warm_runtime_is_made_whole(leak_watch: Watch) -> None:
    for where in interrupted(lambda: engine.warm(wait=True), stride=23):
        engine.cool()  # It waits for what is being made.
        assert eventually(lambda: is_gone(leak_watch)), where
    engine.cool()
