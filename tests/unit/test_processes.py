"""The processes of the workers, between their start and what the runtime is told of it."""

from __future__ import annotations

import queue
import subprocess
import sys
import textwrap

import multiprocess.forkserver
import pytest

from jupyter_ray.local.server import template
from jupyter_ray.local.server.processes import Processes


def test_a_worker_that_has_joined_ends_at_once_though_nobody_has_said_yet_that_it_was_started() -> None:
    processes = Processes.__new__(Processes)  # Without a template: nothing is started here.
    processes._children, processes._condemned, processes._pids = {}, set(), {}
    worker = b"w" * 16
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        processes.joined(worker, process.pid)
        processes.kill(worker)
        assert process.wait(60) == -9
    assert worker in processes._condemned, "and again, when it is told"


def test_a_session_that_ends_before_its_workers_began_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its template is gone then, and multiprocess would start another one, which nobody ends."""
    started: list[object] = []
    monkeypatch.setattr(multiprocess.forkserver, "ensure_running", lambda: None)
    monkeypatch.setattr(template, "start", started.append)
    processes = Processes.__new__(Processes)
    processes._orders, processes._closed = queue.SimpleQueue(), True
    processes._orders.put((b"w" * 16, b""))
    processes._orders.put(None)
    processes._spawn()
    assert not started


def test_what_is_started_in_the_midst_of_the_end_is_ended_too() -> None:
    program = """
        import subprocess
        from jupyter_ray.local.server import descendants

        found = descendants._descendants
        looks = []

        def look(pid):
            every = found(pid)
            looks.append(every)
            if len(looks) in (1, 2, 3):
                subprocess.Popen(["sleep", "600"])
            return every

        descendants._descendants = look
        descendants.PATIENCE_SECONDS = 600
        subprocess.Popen(["sleep", "600"])
        descendants.end()
        print(len(set().union(*looks)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "4\n", done.stderr
