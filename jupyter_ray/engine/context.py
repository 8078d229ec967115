"""What runs in this thread: the task, its actor, and the notebook cell that asked for it.

A worker enters a `TaskContext` before it calls user code; a driver has none. The cell is an opaque token: the
notebook layer says through `set_cell_source` which cell runs now, tasks inherit it from the task that submits them,
and their output carries it back.
"""

from __future__ import annotations

import contextvars
import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from jupyter_ray.exceptions import AsyncioActorExit

if TYPE_CHECKING:
    from jupyter_ray.engine.task_context import TaskContext

THIS_NODE = "JUPYTER_RAY_NODE"
"""The environment variable that tells workers the name and the labels of the machine, as JSON."""

DETACHED_ACTORS = "JUPYTER_RAY_DETACHED_ACTORS"
"""The environment variable that tells workers that actors which do not say are detached."""


@dataclasses.dataclass(slots=True, kw_only=True)
class ProcessContext:
    """What this process is. A driver has no `worker`, a pooled worker no `actor`."""

    job: bytes
    node: bytes
    worker: bytes
    is_driver: bool
    namespace: str = ""
    session: str = ""
    actor: bytes | None = None
    actor_name: str | None = None
    actor_handle: bytes = b""
    creation: bytes | None = None
    """The task that made the actor that this process is: what its own threads start, where none of its calls did."""
    restarts: int = 0
    held: dict[str, float] = dataclasses.field(default_factory=dict)
    devices: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    runtime_env: dict[str, Any] | None = None
    group: str = ""
    """The placement group (hex) of the actor that this process is."""
    capture: bool = False
    leave: Callable[[str], None] | None = None
    """Of an actor: have the process end after the calls that run, for the reason given."""
    detached_actors: bool = False
    """Actors that do not say are detached."""
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    """Of the job; only the driver knows it."""
    node_name: str = ""
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    """What `init` calls this machine, and says of it."""
    guest: bool = False
    """A driver that has joined the runtime of another one, which goes on without it."""
    preset_gpus: bool = False
    """The driver had ``CUDA_VISIBLE_DEVICES`` set: ids of GPUs are its words, not numbers."""


_task: contextvars.ContextVar[TaskContext | None] = contextvars.ContextVar("jupyter_ray_task", default=None)
_main_task: TaskContext | None = None
_displays = False
_cell_source: Callable[[], str | None] = lambda: None  # noqa: E731


def current_task() -> TaskContext | None:
    """Return the task that runs in this thread or coroutine; threads that a task starts belong to the task."""
    return _task.get() or _main_task


def enter_task(context: TaskContext, *, main: bool) -> contextvars.Token[TaskContext | None]:
    """Make `context` the current task here; with `main`, of the threads that it starts too."""
    global _main_task
    if main:
        _main_task = context
    if context.cell is not None and not _displays:
        _watch_displays()
    return _task.set(context)


def _watch_displays() -> None:
    """Have what is displayed here reach the notebook, from the first task on that one of its cells has asked for."""
    global _displays
    _displays = True
    from jupyter_ray.engine.shell_watch import watch

    def cell_here() -> str | None:
        task = current_task()
        return None if task is None else task.cell

    watch(cell_here)


def leave_task(token: contextvars.Token[TaskContext | None], *, main: bool) -> None:
    """Undo `enter_task`."""
    global _main_task
    if main:
        if _displays and _main_task is not None and _main_task.actor is None:
            _forget_figures()
        _main_task = None
    _task.reset(token)


def _forget_figures() -> None:
    """Have the next task in this process not show the figures that this one has left open in Matplotlib's pyplot."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and "matplotlib_inline.backend_inline" in sys.modules and pyplot.get_fignums():
        pyplot.close("all")


def leave_actor(process: ProcessContext) -> NoReturn:
    """End the running call, and with it the actor that this process is: what `exit_actor` does."""
    task = current_task()
    if task is not None:
        task.exiting = True
    if process.leave is not None:
        process.leave("exit_actor() was called")
    if in_event_loop():
        raise AsyncioActorExit("The actor is about to leave: exit_actor() was called.")
    raise ActorExit(0)


def in_event_loop() -> bool:
    """Tell whether an event loop of asyncio runs in this thread."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def set_cell_source(source: Callable[[], str | None]) -> Callable[[], str | None]:
    """Say who knows which notebook cell runs now; return who knew it before."""
    global _cell_source
    before, _cell_source = _cell_source, source
    return before


def current_cell() -> str | None:
    """Return the cell that a call made now belongs to."""
    task = current_task()
    return _cell_source() if task is None else task.cell


class ActorExit(SystemExit):
    """Raised by `exit_actor`: ends the call that made it. The process leaves even where somebody catches it."""
