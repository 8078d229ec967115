"""What is promised of faults and safety, where other tests do not show it."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.events import RuntimeReady
from jupyter_ray.util import ActorPool, state
from jupyter_ray.util.multiprocessing import Pool
from jupyter_ray.util.queue import Queue
from tests.contract.helpers import PATIENCE, Log, eventually


@pytest.mark.local_only("there is no runtime process of this session's own")
def test_a_killed_runtime_is_noticed_within_a_second(start: Callable[..., Any]) -> None:
    seconds = []
    for _ in range(3):  # The machine may be busy.
        start(num_cpus=1)
        ref = ray.remote(time.sleep).remote(1000)
        with Log() as log:
            [ready] = eventually(lambda: log.find(RuntimeReady))
            os.kill(ready.pid, signal.SIGKILL)
            began = time.monotonic()
            with pytest.raises(exceptions.RaySystemError):
                ray.get(ref, timeout=PATIENCE)
            seconds.append(time.monotonic() - began)
        ray.shutdown()
    assert min(seconds) < 1, seconds


@pytest.mark.local_only("the processes of a cluster listen on the network")
def test_no_part_of_the_api_opens_a_port(start: Callable[..., Any]) -> None:
    @ray.remote
    class Actor:
        async def double(self, value: int) -> int:
            return 2 * value

    @ray.remote
    def items() -> Iterator[Any]:
        yield np.zeros(1_000_000)
        yield ray.put(1)

    def ports(process: psutil.Process) -> set[Any]:
        return {each.laddr for each in process.net_connections(kind="inet")}

    before = ports(psutil.Process())
    start(num_cpus=2, object_store_memory=80 * 1024**2)
    actors = [Actor.remote() for _ in range(2)]
    queue = Queue()
    queue.put(1)
    with Pool(2) as pool:
        assert pool.map(abs, range(3)) == [0, 1, 2]
        assert list(ActorPool(actors).map(lambda actor, value: actor.double.remote(value), range(3))) == [0, 2, 4]
        assert len([ray.get(ref) for ref in items.remote()]) == 2
        kept = [ray.put(np.zeros(4_000_000)) for _ in range(4)]  # Some go to disk.
        assert queue.get() == 1
        assert state.list_actors()
        assert ray.timeline() is not None
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        assert len(family) >= 8
        assert [each.cmdline() for each in family[1:] if ports(each)] == []
        assert ports(family[0]) == before
    assert len(kept) == 4
