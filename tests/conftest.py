"""For every test: a leak fails.

After each module, and once more at the end of the session, no process that the tests started, no shared memory and no
session folder may remain. A folder of tests that shares a runtime or a server among its modules overrides
`no_leaks_after_module` with an empty fixture in its own conftest.py; the check at the end still applies.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import hypothesis
import pytest

from tests.cluster.nodes import Cluster, running_cluster
from tests.leaks import Watch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # As in a shell's background job; tests interrupt themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)

PATIENCE = 8.0
"""Seconds that processes get to end by themselves. A dead kernel's runtime must be gone after 3."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what is imported by now out of the collections of garbage that follow: half of this process's time."""
    hypothesis.find(hypothesis.strategies.none(), lambda _: True)  # Its first use looks at who refers to its objects.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def leak_watch() -> Iterator[Watch]:
    """Watch the whole session. Tests may ask it who is alive: `leak_watch.processes()`."""
    watch = Watch()
    yield watch
    _check(watch, "the test session")


@pytest.fixture(scope="session")
def ray_cluster(leak_watch: Watch) -> Iterator[Cluster]:
    """A small Ray cluster, started when the first test needs it and ended with the test session."""
    with running_cluster() as cluster:
        leak_watch.tolerated = cluster.pids()
        yield cluster
        leak_watch.tolerated = set()


@pytest.fixture(scope="module", autouse=True)
def no_leaks_after_module(leak_watch: Watch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail after the module that leaked. An autouse fixture is set up first, so it ends after the module's own."""
    yield
    _check(leak_watch, request.node.name)
    gc.freeze()  # As above: what the module has imported.


@pytest.fixture
def no_leaks_after_test(leak_watch: Watch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail at once after the test that leaked: for modules of faults, each of which is to leave nothing."""
    yield
    _check(leak_watch, request.node.name)


def _check(watch: Watch, who: str) -> None:
    left = watch.leftovers(PATIENCE)
    if left:
        watch.end()
        pytest.fail(f"{who} left behind:\n  " + "\n  ".join(left), pytrace=False)
