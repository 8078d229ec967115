"""The worker template: a copy of the runtime from before it had threads, connections or state.

multiprocess would start its forkserver as one more interpreter, which imports everything again. A fork of the runtime,
made when what both need is imported, shares the memory of that, and imports what only workers need while the runtime
imports what only it needs. From then on it is multiprocess's own forkserver; should it ever die, multiprocess starts
the next one in its usual way.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import socket
import types
import warnings
from collections.abc import Callable
from typing import Any

import multiprocess.forkserver
import multiprocess.reduction
import multiprocess.resource_tracker
from setproctitle import setproctitle

from jupyter_ray.config import remove_folders, session_folder
from jupyter_ray.local.protocol import codec
from jupyter_ray.local.server import descendants
from jupyter_ray.local.transport import peer_pid

_LISTENING = 512

SHARED = (
    "concurrent.futures.thread", "jupyter_ray.engine.context", "jupyter_ray.local.cgroups",
    "jupyter_ray.local.client.routes", "jupyter_ray.local.search_path", "jupyter_ray.local.serialization.errors",
    "jupyter_ray.local.serialization.values", "jupyter_ray.local.store.payloads", "jupyter_ray.local.store.segments",
    "jupyter_ray.local.transport", "jupyter_ray.local.turns", "jupyter_ray.local.vigil",
    "jupyter_ray.local.worker.entry",
)  # fmt: skip
"""What both the runtime and workers import, with all that it imports itself."""

WORKERS = "jupyter_ray.local.worker.main"
_FOR_TASKS = ("hashlib", "random", "shutil", "tempfile", "zipfile")
"""What tasks are likely to import: a fork of the template has it."""


def prepare(session: str, *, closing: tuple[int, ...]) -> None:
    """Fork the template from this process, which must have one thread and no event loop yet.

    Parameters
    ----------
    session
        In its folder is the template's socket, and leaves with it.
    closing
        Descriptors that the template must not hold.
    """
    for name in SHARED:
        importlib.import_module(name)
    server = multiprocess.forkserver._forkserver
    server.set_forkserver_preload([WORKERS])  # For the one after this.
    # multiprocess would start one more process to watch semaphores that we do not use.
    multiprocess.resource_tracker._resource_tracker._fd = os.open(os.devnull, os.O_WRONLY)
    if hasattr(server, "_forkserver_authkey"):
        return  # Python 3.14: both ends prove who they are. multiprocess starts it, at the first worker.
    address = str(session_folder(session) / "template.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen(_LISTENING)
        alive, held = os.pipe()  # It ends when nobody holds the other end any more.
        gc.freeze()  # What is shared stays shared: the collector writes into what it looks at.
        forked = os.fork()
        if forked == 0:
            for descriptor in (held, *closing):
                os.close(descriptor)
            _serve(session, listener.detach(), alive)
    os.close(alive)
    server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = address, held, forked


def _prepare() -> None:
    """Make ready what workers need and the runtime does not, while it goes on."""
    for name in (WORKERS, *_FOR_TASKS):
        importlib.import_module(name)
    codec.of_runtime()
    gc.freeze()


def _serve(session: str, listener: int, alive: int) -> None:
    code = 1
    try:
        setproctitle("ray::template")
        _prepare()
        descendants.adopt()
        warnings.filterwarnings("ignore", "forkserver: waitpid returned unexpected pid")  # Whom it has adopted.
        # By its name there alone: tasks may use what has the name elsewhere.
        asked = types.SimpleNamespace(**vars(multiprocess.reduction) | {"recvfds": _received_by(os.getppid())})
        multiprocess.forkserver.reduction = asked
        multiprocess.forkserver.main(listener, alive, None)
    except SystemExit:  # The runtime is gone.
        descendants.end()
        remove_folders(session)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()  # Into the runtime's log.
    finally:
        os._exit(code)


def _received_by(runtime: int) -> Callable[[socket.socket, int], list[int]]:
    """Return multiprocess's `recvfds` for its forkserver, which a wrong message would end, and all workers with it.

    Whoever is not the runtime, as far as the system tells, is sent away without a word: it might say nothing for ever.
    """

    def receive(peer: socket.socket, count: int) -> list[int]:
        if peer_pid(peer) not in (None, runtime):
            raise OSError(errno.ECONNABORTED, "not the runtime")  # The one that the forkserver goes on after.
        try:
            descriptors: list[int] = multiprocess.reduction.recvfds(peer, count)
        except Exception as error:
            raise OSError(errno.ECONNABORTED, "no order to start a worker") from error
        return descriptors

    return receive


def start(child: Any) -> None:
    """Start a process of multiprocess's by the template, or by another one if this one is gone.

    multiprocess asks the kernel for its template's end, and never starts another one if that was collected: by us,
    where it ended in the midst of its start, when nobody knows its process id yet.
    """
    try:
        child.start()
    except ChildProcessError:
        server = multiprocess.forkserver._forkserver
        with server._lock, contextlib.suppress(OSError):
            server._forkserver_pid = server._forkserver_address = None
            os.close(server._forkserver_alive_fd)
        child.start()


def pid() -> int | None:
    """Return the template's process id; None: there is none yet."""
    found: int | None = multiprocess.forkserver._forkserver._forkserver_pid
    return found
