"""Much of everything, one after the other: printed text, actors, objects. What a session keeps of it is bounded."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray import config
from jupyter_ray.engine import registry
from jupyter_ray.events import RuntimeReady
from jupyter_ray.local.protocol.names import is_spare
from tests.contract.helpers import Log, eventually, is_running

pytestmark = pytest.mark.usefixtures("no_leaks_after_test")

MIB = 1024**2
GIB = 1024**3
PLENTY = 200 * MIB
"""Bytes by which a process that has nothing to keep may grow."""


@ray.remote
def shout(size: int) -> str:
    """Print so many bytes, in lines of 1 KiB."""
    line = "x" * 1023
    for _ in range(size // 1024):
        print(line)
    return "done"


@ray.remote
def quick() -> int:
    return 1


@pytest.mark.local_only("there is no runtime process of this session's own")
@pytest.mark.slow
def test_a_task_that_prints_a_gigabyte_which_nobody_reads(start: Callable[..., Any]) -> None:
    start(num_cpus=2)
    with Log() as log:
        [ready] = eventually(lambda: log.find(RuntimeReady))
    runtime = psutil.Process(ready.pid)
    before = runtime.memory_info().rss
    ref = shout.remote(GIB)
    assert ray.get(quick.remote(), timeout=60) == 1
    assert ray.get(ref, timeout=110) == "done"
    assert runtime.memory_info().rss - before < PLENTY


@pytest.mark.slow
def test_a_task_that_prints_a_gigabyte_which_a_script_shows(tmp_path: Path) -> None:
    """All of it arrives; neither the script nor the runtime keeps it, though the reader is slower than the task."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import psutil, sys
            import jupyter_ray as ray

            ray.init(num_cpus=2)

            @ray.remote
            def shout(size):
                line = "x" * 1023
                for _ in range(size // 1024):
                    print(line)
                return "done"

            @ray.remote
            def quick():
                return 1

            ref = shout.remote(2**30)
            assert ray.get(quick.remote(), timeout=60) == 1
            assert ray.get(ref) == "done"
            family = [psutil.Process(), *psutil.Process().children(recursive=True)]
            print(max(each.memory_info().rss for each in family), file=sys.stderr)
            """
        )
    )
    command = [sys.executable, str(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as script:
        assert script.stdout is not None
        assert script.stderr is not None
        shown = 0
        while data := script.stdout.read(MIB):
            shown += data.count(b"x")
        assert int(script.stderr.read().split()[-1]) < 3 * PLENTY
    assert script.returncode == 0
    assert shown == 2**30 // 1024 * 1023


@pytest.mark.local_only("there is no runtime process of this session's own")
@pytest.mark.slow
def test_a_thousand_actors_in_turn(start: Callable[..., Any]) -> None:
    start(num_cpus=2)

    @ray.remote
    class Counter:
        def __init__(self, first: int) -> None:
            self.value = first

        def inc(self) -> tuple[int, int]:
            self.value += 1
            return self.value, os.getpid()

    with Log() as log:
        [ready] = eventually(lambda: log.find(RuntimeReady))
    family = [psutil.Process(), psutil.Process(ready.pid)]
    assert ray.get(quick.remote(), timeout=60) == 1
    descriptors = [each.num_fds() for each in family]
    pids: set[int] = set()
    for number in range(1000):
        counter = Counter.remote(number)
        value, pid = ray.get(counter.inc.remote(), timeout=60)
        assert value == number + 1
        pids.add(pid)
        del counter
    eventually(lambda: not any(map(is_running, pids)))
    eventually(lambda: all(each.num_fds() <= count + 4 for each, count in zip(family, descriptors, strict=True)))
    assert ray.get(quick.remote(), timeout=60) == 1


@pytest.mark.local_only("the store belongs to the nodes, and its size was set when they were started")
@pytest.mark.slow
def test_ten_thousand_objects_of_a_mebibyte_through_a_store_of_a_gibibyte(start: Callable[..., Any]) -> None:
    start(num_cpus=2, object_store_memory=GIB)
    engine = registry.current()
    assert engine is not None
    memory = config.shared_memory_folder(engine.process.session)
    disk = config.spill_folder(engine.process.session)

    @ray.remote
    def make(number: int) -> Any:
        return np.full(MIB, number % 251, dtype=np.uint8)

    @ray.remote
    def check(array: Any, number: int) -> bool:
        return bool(array[0] == array[-1] == number % 251) and bool((array[::4096] == number % 251).all())

    kept: list[Any] = []
    for begin in range(0, 10_000, 1_250):  # More than has room is alive at once: some go to disk and are read there.
        refs = [make.remote(number) for number in range(begin, begin + 1_250)]
        kept = refs
        assert all(ray.get([check.remote(ref, number) for number, ref in enumerate(refs, begin)], timeout=110))
        used = sum(each.stat().st_size for each in memory.iterdir())
        assert used <= GIB + 64 * MIB
    whole = ray.get(kept[-1])
    assert np.array_equal(whole, np.full(MIB, 9_999 % 251, dtype=np.uint8))
    del kept, refs, whole
    gc.collect()
    eventually(lambda: not [each for each in memory.iterdir() if not is_spare(each.name)])
    eventually(lambda: not disk.is_dir() or not list(disk.iterdir()))
