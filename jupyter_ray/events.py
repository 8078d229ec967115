"""The event vocabulary: every state change of a runtime is one frozen event.

The engine numbers the events and emits them in order; whoever folds them in that order knows the runtime's whole
state. `Event.seq` is gapless per runtime, `Event.at` is in Unix seconds. Identifiers are hex strings, so that an
event can be printed, stored and sent to a browser as it is. Amounts of resources are floats here (for people); the
ledger that they come from counts in fixed point.
"""

from typing import Literal, Union

import msgspec

TaskKind = Literal["task", "method", "actor"]
HolderKind = Literal["driver", "task", "actor", "object"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", array_like=True, gc=False):
    """What all events have in common."""

    seq: int = 0
    at: float = 0.0


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of a cluster: its id (hex), what a person calls it, and what it has in all."""

    id: str
    name: str
    resources: dict[str, float]


class RuntimeReady(Event, frozen=True, kw_only=True, tag="runtime_ready"):
    """The runtime was bound to its resources."""

    pid: int
    engine: str
    resources: dict[str, float]
    gpus: list[str]
    nodes: list[Node] = []
    """The machines of a cluster; none for a runtime on one machine."""


class NodesChanged(Event, frozen=True, kw_only=True, tag="nodes_changed"):
    """The cluster has these machines now."""

    nodes: list[Node]


class RuntimeStopped(Event, frozen=True, kw_only=True, tag="runtime_stopped"):
    """The runtime ended. `expected` is False when it died."""

    expected: bool
    message: str


class TaskSubmitted(Event, frozen=True, kw_only=True, tag="task_submitted"):
    """A call was made. `parent` is None for calls of the driver; `dependencies` are object ids (hex)."""

    task: str
    name: str
    kind: TaskKind
    parent: str | None
    dependencies: list[str]
    returns: list[str]
    demand: dict[str, float]
    actor: str | None = None
    cell: str | None = None
    site: str | None = None
    """Where the call stands: a stable text for one line of source, used to group calls."""


class TaskQueued(Event, frozen=True, kw_only=True, tag="task_queued"):
    """All arguments are there now; the task waits for resources, or in its actor's queue. Told if it had any."""

    task: str


class TaskStarted(Event, frozen=True, kw_only=True, tag="task_started"):
    """The task was handed to a worker. `held` is what it holds from now on."""

    task: str
    worker: str
    held: dict[str, float]
    gpus: list[str] = []
    attempt: int = 0


class TaskBlocked(Event, frozen=True, kw_only=True, tag="task_blocked"):
    """The task waits in `get` or `wait`. `lent` is what it released for that time."""

    task: str
    waits_for: list[str]
    """The ids (hex) of the objects that it waits for."""
    lent: dict[str, float]


class TaskUnblocked(Event, frozen=True, kw_only=True, tag="task_unblocked"):
    """The wait is over, and what was lent is held again."""

    task: str


class TaskFinished(Event, frozen=True, kw_only=True, tag="task_finished"):
    """The task returned."""

    task: str


class TasksRan(Event, frozen=True, kw_only=True, tag="tasks_ran"):
    """So many calls of one place were made, ran and returned, the first one at `since`, the last one before `at`.

    It stands for their events in a condensed stream; `returns` are their values that are still held.
    """

    name: str
    kind: TaskKind
    parent: str | None
    returns: list[str]
    demand: dict[str, float]
    count: int
    since: float
    actor: str | None = None
    cell: str | None = None
    site: str | None = None


class TaskFailed(Event, frozen=True, kw_only=True, tag="task_failed"):
    """The task will not run again; `error` is one line."""

    task: str
    error: str


class TaskCancelled(Event, frozen=True, kw_only=True, tag="task_cancelled"):
    """The task was cancelled before it ended."""

    task: str


class TaskRetried(Event, frozen=True, kw_only=True, tag="task_retried"):
    """An attempt ended and the task waits for its next one. `attempt` is the number of the next attempt, from 0."""

    task: str
    attempt: int
    reason: str


class ActorCreated(Event, frozen=True, kw_only=True, tag="actor_created"):
    """An actor was asked for. `task` is the id of its constructor's task, `name` its registered name."""

    actor: str
    class_name: str
    name: str | None
    task: str
    parent: str | None


class ActorAlive(Event, frozen=True, kw_only=True, tag="actor_alive"):
    """The constructor returned. `held` is what the actor holds until it ends."""

    actor: str
    worker: str
    pid: int
    held: dict[str, float]
    gpus: list[str] = []


class ActorRestarted(Event, frozen=True, kw_only=True, tag="actor_restarted"):
    """The actor's process was lost and is made anew."""

    actor: str
    restarts: int
    reason: str


class ActorDied(Event, frozen=True, kw_only=True, tag="actor_died"):
    """The actor is gone for good. `expected`: as somebody asked, or since nobody could call it any more."""

    actor: str
    reason: str
    expected: bool = False


class HandlePassed(Event, frozen=True, kw_only=True, tag="handle_passed"):
    """`holder` has one more handle of `actor`."""

    actor: str
    holder: str
    holder_kind: HolderKind
    label: str


class HandleDropped(Event, frozen=True, kw_only=True, tag="handle_dropped"):
    """`holder` has no handle of `actor` any more."""

    actor: str
    holder: str


class ObjectSealed(Event, frozen=True, kw_only=True, tag="object_sealed"):
    """An object has its value. `size` is in bytes."""

    object: str
    size: int
    task: str | None = None


class ObjectFreed(Event, frozen=True, kw_only=True, tag="object_freed"):
    """The last reference to an object went."""

    object: str


class ObjectsFreed(Event, frozen=True, kw_only=True, tag="objects_freed"):
    """The last references to several objects went."""

    objects: list[str]


class ObjectSpilled(Event, frozen=True, kw_only=True, tag="object_spilled"):
    """An object went from shared memory to disk."""

    object: str
    size: int


class WorkerStarted(Event, frozen=True, kw_only=True, tag="worker_started"):
    """A worker process is up, on one of a cluster's nodes."""

    worker: str
    pid: int
    node: str | None = None


class WorkerDied(Event, frozen=True, kw_only=True, tag="worker_died"):
    """A worker process ended."""

    worker: str
    reason: str
    expected: bool


class Span(Event, frozen=True, kw_only=True, tag="span"):
    """A span of time that a program has named. `worker` is "" for a driver; `extra` is what the program says of it."""

    name: str
    since: float
    until: float
    worker: str
    extra: dict[str, str]
    task: str | None = None


UNHANDLED = "Unhandled error (suppress with 'RAY_IGNORE_UNHANDLED_ERRORS=1'): "
"""How the lines begin that tell of an error which nobody has looked at."""

DISPLAYED = '{"__magic_token__":"__jupyter_ray_display__"'
"""How a line begins that is a part of what a task displays (`jupyter_ray.engine.displays`)."""


class LogLines(Event, frozen=True, kw_only=True, tag="log_lines"):
    """What a task wrote. `text` may hold many lines and keeps its line ends."""

    stream: Literal["stdout", "stderr"]
    text: str
    name: str
    pid: int
    task: str | None = None
    actor: str | None = None
    cell: str | None = None
    attempt: int | None = None
    """Which attempt of the task, from 0; None where nobody knows."""
    job: str = ""
    """Of a driver that has joined the runtime, whose tasks wrote it; "" is the one that started it."""

    @property
    def origin(self) -> str:
        """What stands before each line: the name and the process, or the name alone where the runtime speaks."""
        return f"({self.name} pid={self.pid}) " if self.pid else f"({self.name}) "


AnyEvent = Union[  # noqa: UP007 - one name a line reads better
    RuntimeReady,
    NodesChanged,
    RuntimeStopped,
    TaskSubmitted,
    TaskQueued,
    TaskStarted,
    TaskBlocked,
    TaskUnblocked,
    TaskFinished,
    TasksRan,
    TaskFailed,
    TaskCancelled,
    TaskRetried,
    ActorCreated,
    ActorAlive,
    ActorRestarted,
    ActorDied,
    HandlePassed,
    HandleDropped,
    ObjectSealed,
    ObjectFreed,
    ObjectsFreed,
    ObjectSpilled,
    WorkerStarted,
    WorkerDied,
    LogLines,
    Span,
]
