"""What a process is that user code forks from a worker: no worker any more, and without a session.

It has the worker's memory, and none of its threads. Its parent goes on with the connection: two that spoke on it would
answer each other's calls.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import NoReturn

from jupyter_ray.by_value import send_definitions
from jupyter_ray.engine import refs, registry
from jupyter_ray.engine.base import Engine
from jupyter_ray.engine.shell_watch import when_imported
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.local.client.client import Client
from jupyter_ray.local.worker.output import Output

_is_fork = False


def prepare(client: Client, output: Output) -> None:
    """Have the processes that user code forks from this one begin without its connection."""

    def in_child() -> None:
        global _is_fork
        _is_fork = True
        client.abandon_in_fork()
        output.disown()
        refs._default_counter = None
        registry._engine = None
        registry.set_starter(_refuse)
        for number, usual in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
            if str(getattr(signal.getsignal(number), "__module__", "")).startswith("jupyter_ray."):
                signal.signal(number, usual)

    os.register_at_fork(after_in_child=in_child)
    when_imported("multiprocessing.reduction", send_definitions)


def end_if_forked(error: BaseException | None = None) -> None:
    """End a forked process whose call returned, or raised `error`, as Python ends a program."""
    if _is_fork:
        _end(error)


def _end(error: BaseException | None) -> NoReturn:
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _refuse() -> Engine:
    raise RaySystemError(
        "This process was forked from a worker (by multiprocessing or os.fork), and has no connection to the runtime. "
        "Use what the function was given, and return the results to the worker; or start a task instead of a process."
    )
