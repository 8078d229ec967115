"""The process that starts the workers, when it has ended."""

from __future__ import annotations

import os
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
