"""The worker template: a copy of the runtime from before it had threads, connections or state.

multiprocess would start its forkserver as one more interpreter, which imports everything again. A fork of the runtime,
made when all modules are there, is ready in a few milliseconds, and both share the memory of what they imported. From
then on it is multiprocess's own forkserver; should it ever die, multiprocess starts the next one in its usual way.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
from pathlib import Path

import multiprocess.forkserver
import multiprocess.resource_tracker
from setproctitle import setproctitle

_LISTENING = 512


def prepare(folder: Path, preload: str, *, closing: tuple[int, ...]) -> None:
    """Fork the template from this process, which must have one thread and no event loop yet.

    Parameters
    ----------
    folder
        Of the session: the template's socket goes there, and leaves with it.
    preload
        The module that workers run; imported already.
    closing
        Descriptors that the template must not hold.
    """
    server = multiprocess.forkserver._forkserver
    server.set_forkserver_preload([preload])  # For the one after this.
    # multiprocess would start one more process to watch semaphores that we do not use.
    multiprocess.resource_tracker._resource_tracker._fd = os.open(os.devnull, os.O_WRONLY)
    if hasattr(server, "_forkserver_authkey"):
        return  # Python 3.14: both ends prove who they are. multiprocess starts it, at the first worker.
    address = str(folder / "template.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen(_LISTENING)
        alive, held = os.pipe()  # It ends when nobody holds the other end any more.
        gc.collect()
        gc.freeze()  # What is shared stays shared: the collector writes into what it looks at.
        pid = os.fork()
        if pid == 0:
            for descriptor in (held, *closing):
                os.close(descriptor)
            _serve(listener.detach(), alive)
    os.close(alive)
    server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = address, held, pid


def _serve(listener: int, alive: int) -> None:
    code = 1
    try:
        setproctitle("ray::template")
        multiprocess.forkserver.main(listener, alive, None)
    except SystemExit:
        code = 0
    finally:
        os._exit(code)


def kill() -> None:
    """End the template at once."""
    pid = multiprocess.forkserver._forkserver._forkserver_pid
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
