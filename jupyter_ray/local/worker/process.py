"""What makes a forked process a worker: signals, surroundings, descriptors, and how it leaves.

A worker never outlives its runtime: the kernel kills it when its parent dies (Linux), and it ends itself when its
connection closes.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import io
import math
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from setproctitle import getproctitle, setproctitle, setthreadtitle

from jupyter_ray import alias
from jupyter_ray.config import remove_folders
from jupyter_ray.local.engine import accelerators, environment
from jupyter_ray.local.worker.setup import WorkerSetup
from jupyter_ray.local.worker.thread_pools import ThreadPools
from jupyter_ray.resources import CPU, PARTS, VISIBLE

_PR_SET_PDEATHSIG = 1
getproctitle()  # In the template: it finds the arguments by the environment, which a worker replaces.
_THREADS = "OMP_NUM_THREADS"
_NICENESS = "RAY_worker_niceness"
_UNSET_BY = {
    "MBLT": "MBLT_RT_VISIBLE_DEVICES",
    "RBLN": "RBLN_RT_VISIBLE_DEVICES",
    "TTNPU": "TENSTORRENT_VISIBLE_DEVICES",
}
"""How the variable of a kind is called in the name of the one that switches it off, where that differs."""
_CHIP_BOUNDS = {1: "1,1,1", 2: "1,2,1"}
"""How so many TPU chips of a host lie."""

EXECUTORS_SECONDS = 25.0
"""How long a process that leaves waits for executors of user code: less than an actor has for its end."""

THREADS_SECONDS = 5.0
"""How long it waits for other threads, which may be such as never end (in Ray it waits for ever)."""


def created(path: str | os.PathLike[str]) -> int:
    """Open a file to write to, for this user alone."""
    return os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, where the kernel offers that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def expendable() -> None:
    """Where memory runs out, the kernel shall end workers before anything else (as in Ray; Linux)."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def be_nice() -> None:
    """Let other processes go first, by as much as the environment says (Ray's ``RAY_worker_niceness``)."""
    with contextlib.suppress(ValueError, OSError):  # No number; or to go before others is not ours to ask.
        os.nice(int(os.environ.get(_NICENESS, "0")))


def lead_group() -> None:
    """Make this process the leader of a process group: the runtime ends what it starts together with it (as in Ray)."""
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)


def end_by_sigterm() -> NoReturn:
    """End this process by SIGTERM, as if nobody had caught it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(128 + signal.SIGTERM)


def dress(setup: WorkerSetup) -> dict[str, Any]:
    """Take over the driver's surroundings, then the runtime environment's; return the latter."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # The runtime ignores it, and what tasks start would inherit that.
    env = environment.decode(setup.env)
    _set_environ(setup.environ)
    os.environ.update({name: _expand(text, setup.environ) for name, text in env.get("env_vars", {}).items()})
    path = list(setup.sys_path)
    if "PYTHONPATH" in env.get("env_vars", {}):  # Python reads it when it starts, and a fork has started already.
        path[:0] = filter(None, os.environ["PYTHONPATH"].split(os.pathsep))
    folder, modules = environment.paths(env)
    path[:0] = modules
    if folder:
        path.insert(0, folder)
    sys.path[:] = path
    if os.environ.get(alias.VARIABLE):
        alias.stand_for_ray()
    with contextlib.suppress(OSError):  # The driver's folder may be gone by now: stay where we are.
        os.chdir(folder or setup.cwd)
    sys.argv = ["ray::worker"]
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.stdin = _NoTerminal(open(os.devnull, "rb"))  # noqa: SIM115 - it stays open
    if "PYTHONBREAKPOINT" not in os.environ:  # Else the user has a debugger that needs no terminal.
        sys.breakpointhook = _no_debugger
    return env


def _set_environ(environ: dict[str, str]) -> None:
    """Make the environment this one. Most of it is as the template's, and what is left alone costs no memory."""
    there = dict(os.environ)
    for name in there.keys() - environ.keys():
        del os.environ[name]
    for name, value in environ.items():
        if there.get(name) != value:
            os.environ[name] = value


class _NoTerminal(io.TextIOWrapper):
    """The standard input of a worker: at its end, and ``input()`` and debuggers are told why."""

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        if sys._getframe(1).f_globals.get("__name__") == "cmd":  # It takes the end for a command to quit, as pdb does.
            _no_debugger()
        raise EOFError(
            "A task has no terminal to read from: it runs in a worker process. Pass what it needs as an argument."
        )


def _no_debugger(*args: Any, **kwargs: Any) -> NoReturn:
    raise RuntimeError(
        "A debugger cannot stop here: a task runs in a worker process, which has no terminal. Call the plain "
        "function where there is one (`f._function(...)` of a remote function f), or set the environment variable "
        "PYTHONBREAKPOINT to a debugger that is reached over the network."
    )


def _expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace ``${NAME}`` by the driver's variable, or by nothing if there is none (as in Ray)."""
    return re.sub(r"\$\{(\w+)\}", lambda found: environ.get(found[1], ""), text)


_title = ""


def title(text: str) -> None:
    """Set the title that `ps` and `top` show for this process (as in Ray)."""
    global _title
    if text != _title:
        _title = text
        setproctitle(text.replace("\0", " "))  # Which C takes for the end, and refuses.
        if threading.current_thread() is not threading.main_thread():
            name_thread()


def name_thread() -> None:
    """Show this thread by its own name: it has its maker's, or the title that it has just given to the process."""
    setthreadtitle(threading.current_thread().name)


class Devices:
    """Keeps the environment variables right that libraries read for their threads and accelerators."""

    def __init__(self) -> None:
        self._sets_threads = _THREADS not in os.environ
        self._threads = 0
        self._pools = ThreadPools()
        self._devices: Mapping[str, list[str]] | None = None
        self._before: dict[str, str | None] = {}
        """What was set for the task before, with what had been there."""

    def give(self, held: Mapping[str, int], devices: Mapping[str, list[str]]) -> None:
        """Set what a task that holds this may use; called before user code. Source: Ray."""
        if self._sets_threads:
            threads = max(1, math.floor(held.get(CPU, 0) / PARTS))
            if threads != self._threads:
                before, self._threads = self._threads, threads
                os.environ[_THREADS] = str(threads)
                if before:
                    self._pools.resize(before, threads)
        if devices != self._devices:
            self._devices = devices
            self._show(devices)

    def _show(self, devices: Mapping[str, list[str]]) -> None:
        for variable, text in self._before.items():
            os.environ.pop(variable, None)
            if text is not None:
                os.environ[variable] = text
        self._before.clear()
        for kind in VISIBLE if _is_set("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO") else devices:
            for variable, text in visible(kind, devices.get(kind, [])).items():
                self._before[variable] = os.environ.get(variable)
                os.environ[variable] = text


def visible(kind: str, ids: list[str]) -> dict[str, str]:
    """Return the variables that show a process these devices and no other ones. Source: Ray."""
    variable = VISIBLE[kind]
    if _is_set(f"RAY_EXPERIMENTAL_NOSET_{_UNSET_BY.get(kind, variable)}"):
        return {}
    if kind == "TPU" and len(ids) == accelerators.found_devices().get(kind):
        return {}  # All of them, together: the libraries' own settings are for that.
    named = [f"npu:{each}" for each in ids] if kind == "FURIOSA" else ids
    shown = {variable: ",".join(named)}
    if kind == "TPU" and len(ids) in _CHIP_BOUNDS:
        shown |= {"TPU_CHIPS_PER_HOST_BOUNDS": _CHIP_BOUNDS[len(ids)], "TPU_HOST_BOUNDS": "1,1,1"}
    return shown


def _is_set(name: str) -> bool:
    return os.environ.get(name, "0").lower() in ("1", "true")


def end_with_runtime(session: str, address: str) -> None:
    """Leave at once: the runtime at that socket is gone, and what it left goes too; or it has only let us go."""
    if _is_gone(address):
        remove_folders(session)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # What user code has started, and this process with it.
    os._exit(1)


def _is_gone(address: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:  # It has no time just now.
            return False
    return False


def before_exit(flush: Callable[[], None]) -> None:
    """Have `flush` called when user code ends the process by ``os._exit`` or a signal: its last lines say why."""
    here, leave, kill = os.getpid(), os._exit, os.kill

    def say() -> None:
        if os.getpid() == here:  # Not in a process that user code forked.
            with contextlib.suppress(Exception):  # The runtime may be gone already.
                flush()

    def _exit(status: int) -> NoReturn:
        say()
        leave(status)

    def _kill(pid: int, signal: int, /) -> None:
        if pid == here:
            say()
        kill(pid, signal)

    os._exit, os.kill = _exit, _kill


def run_exit_handlers() -> None:
    """Let threads of user code end, then run what it registered with `atexit`: as Python does at a program's end."""
    _finish_threads()
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()


def _finish_threads() -> None:
    """Have executors end, and wait for threads that are no daemons: what they were given to do may be half done.

    Exit handlers wait for the processes of executors (concurrent.futures, loky), which end only when those have.
    """
    ending = threading.Thread(target=_end_executors, daemon=True)
    ending.start()
    ending.join(EXECUTORS_SECONDS)
    until = time.monotonic() + THREADS_SECONDS
    for thread in threading.enumerate():
        if not thread.daemon and thread not in (threading.main_thread(), threading.current_thread()):
            thread.join(max(0.0, until - time.monotonic()))


def _end_executors() -> None:
    for end in reversed(getattr(threading, "_threading_atexits", [])):  # Where executors register; private.
        try:
            end()
        except Exception:  # The next one is to end, too.
            import traceback

            traceback.print_exc()
