"""The processes of the workers, between their start and what the runtime is told of it."""

from __future__ import annotations

import subprocess

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
