"""All processes of a session are killed at once, and nobody of it is left to tidy up: the next session does."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jupyter_ray import config
from tests.contract.helpers import eventually
from tests.local.drivers import PATIENCE, Driver

pytestmark = pytest.mark.skipif(not config.IN_MEMORY.is_dir(), reason="this system has no such folder in memory")


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder for sessions whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="jr-") as folder:
        yield Path(folder)


def test_the_next_session_removes_what_is_left(root: Path) -> None:
    driver = Driver(RAY_TMPDIR=str(root))
    driver.do("import jupyter_ray as ray\nray.init(num_cpus=1)\nkept = ray.put(bytes(10_000_000))")
    driver.do("ray.get(ray.remote(lambda value: len(value)).remote(kept))")
    everybody = [driver.process.pid, *(each.pid for each in psutil.Process(driver.process.pid).children(True))]
    assert len(everybody) > 3
    for number in (signal.SIGSTOP, signal.SIGKILL):  # None must see another one's end.
        for pid in everybody:
            os.kill(pid, number)
    driver.process.wait(PATIENCE)
    (left,) = root.iterdir()
    memory = config.IN_MEMORY / f"{left.name}-shm"
    assert list(memory.iterdir())
    long_ago = time.time() - 3600
    os.utime(left, (long_ago, long_ago))

    following = Driver(RAY_TMPDIR=str(root))
    try:
        following.do("import jupyter_ray as ray\nray.init(num_cpus=1)")
        assert eventually(lambda: not left.exists() and not memory.exists(), PATIENCE)
        assert following.ask("ray.get(ray.remote(lambda: 'alive').remote())") == "alive"
    finally:
        following.close()
        driver.close()
