"""The process that starts the workers, when it has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types

import multiprocess.forkserver
import pytest

from jupyter_ray.local.server import template


def test_another_template_is_started_where_the_end_of_the_last_one_was_collected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = multiprocess.forkserver.ForkServer()
    monkeypatch.setattr(multiprocess.forkserver, "_forkserver", server)
    server.set_forkserver_preload([])
    collected = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(collected, 0)
    alive, held = os.pipe()
    os.close(alive)
    server._forkserver_pid, server._forkserver_alive_fd, server._forkserver_address = collected, held, "gone"
    try:
        template.start(types.SimpleNamespace(start=server.ensure_running))
        assert template.pid() not in (None, collected)
        os.kill(template.pid() or 0, 0)
    finally:
        if server._forkserver_pid != collected:
            server._stop()


def modules_with(*names: str) -> set[str]:
    """Return what an interpreter has imported that has what is shared, and these modules."""
    program = (
        "import asyncio, importlib, json, sys\n"
        "from jupyter_ray.local.server import template\n"
        f"for name in (*template.SHARED, *{names!r}): importlib.import_module(name)\n"
        "print(json.dumps(list(sys.modules)))"
    )
    return set(json.loads(subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True).stdout))


def test_what_the_runtime_and_workers_both_import_is_shared() -> None:
    """Else both would have it in memory of their own."""
    shared = modules_with()
    runtime = modules_with("jupyter_ray.local.server.processes", "jupyter_ray.local.server.server")
    workers = modules_with(template.WORKERS)
    assert sorted(runtime & workers - shared) == []
    assert not {name for name in workers if name.startswith("jupyter_ray.local.scheduler")}
