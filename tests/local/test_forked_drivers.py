"""A driver that forks: its child has no session, and takes nothing of the parent's with it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_WARM = """
import os, sys, threading
import jupyter_ray as ray
from jupyter_ray.api import session

session.warm_up()
for thread in threading.enumerate():
    if thread.name == "jupyter_ray warm-up":  # What it is just importing a child could not.
        thread.join()
child = os.fork()
if child == 0 and sys.argv[1] == "ends":
    sys.exit(0)
ray.init(num_cpus=1, log_to_driver=False)
print(ray.get(ray.remote(lambda: 2).remote()), flush=True)
ray.shutdown()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""

_LOCKED = """
import os, signal, threading
from jupyter_ray.api import logs, progress, session

manager = progress.instance()
with logs._lock, manager.lock, session.lock:
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        other = threading.Thread(target=lambda: [logs.print_rest(), session.shutdown()])
        other.start()
        other.join()
        os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("done")
"""


def _run(program: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "RAY_ADDRESS": ""},
    )
    return done.stdout.split()


@pytest.mark.parametrize(("child", "printed"), [("ends", ["2"]), ("starts a session", ["2", "2"])])
def test_a_runtime_that_was_warmed_up_stays_the_parents(child: str, printed: list[str]) -> None:
    """A child that ended removed its folder; one that began a session had it bound before the parent."""
    assert _run(_WARM, child) == printed


def test_a_lock_that_was_held_at_the_fork_is_free_in_the_child() -> None:
    assert _run(_LOCKED) == ["done"]
