"""The first steps of a forked process on its way to be a worker. The runtime names them; `worker.main` goes on."""

from __future__ import annotations

import sys

import msgspec
import multiprocess
import multiprocess.forkserver

from jupyter_ray.local.worker.setup import WorkerSetup

_MULTIPROCESS = {name: module for name, module in sys.modules.items() if name.split(".")[0] == multiprocess.__name__}
"""Its modules. A worker looks through nothing and takes nothing apart: that would cost it memory of its own."""


def run_worker(setup: bytes) -> None:
    """Be a worker, as an encoded `WorkerSetup` says; does not return."""
    from jupyter_ray.local.worker.main import main  # The template has imported it; the runtime does without.

    for name in _MULTIPROCESS:  # User code that imports it has a new one: ours lacks dill, and forbids children.
        sys.modules.pop(name, None)
    main(msgspec.msgpack.decode(setup, type=WorkerSetup))
