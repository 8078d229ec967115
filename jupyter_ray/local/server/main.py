"""The entry of the runtime process.

The driver starts it with one argument, a JSON object: ``session``, ``root`` (where the session's folder is),
``listen_fd`` (the listening socket), ``sys_path``, and ``driver_pid`` for people who look at the list of processes. It
ends when the driver's connection closes, and takes everything with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator


def main() -> None:
    """Run the runtime until its driver is gone."""
    arguments = json.loads(sys.argv[1])
    sys.path[:] = arguments["sys_path"]
    # Jupyter interrupts process groups, terminals sessions: neither is meant for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    from jupyter_ray.config import session_folder

    with _without("dill"):
        from jupyter_ray.local.server import template

    session_folder(arguments["session"], arguments["root"])
    listener = socket.socket(fileno=arguments["listen_fd"])
    template.prepare(arguments["session"], closing=(listener.fileno(),))

    from jupyter_ray.local.server.processes import Processes
    from jupyter_ray.local.server.server import Server

    loop_type = _loop_type()
    processes = Processes(arguments["session"])
    processes.warm()
    loop = loop_type()
    asyncio.set_event_loop(loop)
    server = Server(loop, arguments["session"], processes)
    # Records are freed by reference counting; the collector only has to find rare cycles.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()
    try:
        loop.run_until_complete(server.serve(listener))
    finally:
        server.close()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        # No finalizers: nothing in this process may outlive its driver for a join.
        os._exit(0)


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Have imports do without a module: multiprocess takes pickle where dill is missing, in half the time."""
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


def _loop_type() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # Not built for this platform: slower, but the same.
        return asyncio.new_event_loop
    return uvloop.new_event_loop
