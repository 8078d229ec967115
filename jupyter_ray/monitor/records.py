"""What the model is made of: plain mutable records, one for each row of the panel.

Records hold the dicts and lists of the events that they were made from, which nobody changes.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from jupyter_ray.events import HolderKind, TaskKind

TaskState = Literal["waiting", "pending", "running", "blocked", "finished", "failed", "cancelled"]
ActorState = Literal["pending", "starting", "alive", "restarting", "dead"]
WorkerState = Literal["starting", "idle", "busy", "actor", "blocked", "dead"]
RuntimeState = Literal["absent", "starting", "warm", "ready", "stopped", "dead"]
Amounts = dict[str, float]
GroupKey = tuple[str | None, str, str, str | None]
"""Site, name, kind, and the parent group's id."""

OTHER: Final = "other"
"""The id of the catch-all group."""

TASK_STATES: Final[tuple[TaskState, ...]] = (
    "waiting",
    "pending",
    "running",
    "blocked",
    "finished",
    "failed",
    "cancelled",
)
ENDED: Final[frozenset[str]] = frozenset({"finished", "failed", "cancelled"})
STARTED: Final[frozenset[str]] = frozenset({"running", "blocked"})
ALIVE: Final[tuple[TaskState, ...]] = ("waiting", "pending", "running", "blocked")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much the model keeps."""

    tasks: int = 2_000
    """Rows of tasks, unless more than that run at once."""
    groups: int = 500
    """Groups, beside the catch-all."""
    dead_actors: int = 200
    objects: int = 200_000
    """Objects whose producing task is known. The oldest are forgotten first."""
    nodes: int = 50
    """Machines of a cluster with rows of their own; what the others have is one more row of each kind."""
    links: int = 64
    """Ids in one list of a row: dependencies, waits, holders."""
    text: int = 400
    """Characters of one error or name."""


class Runtime(msgspec.Struct, kw_only=True, eq=False):
    """The state of the runtime as a whole."""

    state: RuntimeState = "absent"
    engine: str = "local"
    message: str = ""
    pid: int | None = None
    since: float | None = None
    dropped: int = 0


class Record(msgspec.Struct, kw_only=True, eq=False):
    """What has an id and a row in the panel."""

    id: str
    sent: bool = False
    """The panel has a row with this id."""


class Group(Record, kw_only=True, eq=False):
    """The calls made at one place in the source by the calls of one other group."""

    name: str
    kind: TaskKind
    site: str | None
    parent: Group | None
    cell: str | None
    first: float
    last: float
    counts: dict[str, int]
    actor: str | None = None
    folded: int = 0
    deps: dict[str, None] = {}
    demand: Amounts = {}
    """The last demand seen, shared by the rows that demand the same: a million equal dicts are one."""

    @property
    def alive(self) -> int:
        """The number of its tasks that have not ended."""
        return sum(self.counts[state] for state in ALIVE)


class Holder(msgspec.Struct, kw_only=True, eq=False):
    """Someone who has handles of an actor."""

    kind: HolderKind
    label: str
    count: int = 0


class Actor(Record, kw_only=True, eq=False):
    """An actor; `task` is its constructor's task."""

    name: str | None
    class_name: str
    task: str
    parent: str | None
    created: float
    state: ActorState = "pending"
    queue: int = 0
    running: int = 0
    finished: int = 0
    worker: str | None = None
    pid: int | None = None
    held: Amounts = {}
    gpus: list[str] = []
    node: str | None = None
    restarts: int = 0
    holders: dict[str, Holder] = {}
    error: str | None = None
    """What went wrong, where it is dead for that."""
    reason: str | None = None
    """Why it ended, where nothing went wrong."""

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.name or self.class_name


class Worker(Record, kw_only=True, eq=False):
    """A worker process."""

    pid: int | None
    started: float
    state: WorkerState = "idle"
    task: str | None = None
    actor: str | None = None
    node: str | None = None


class Task(Record, kw_only=True, eq=False, gc=False):
    """One call. None stands for an empty collection, because there may be a million of these.

    Nothing that it refers to refers back to it, so the garbage collector need not look at it.
    """

    name: str
    kind: TaskKind
    state: TaskState
    group: Group
    parent: str | None
    actor: str | None
    cell: str | None
    demand: Amounts
    submitted: float
    owner: Actor | None = None
    """The record of `actor`, for a method of an actor that was known when the call was made."""
    deps: list[str] | None = None
    waits_for: list[str] | None = None
    granted: Amounts | None = None
    """What it was given when it started; it holds that less what it lent."""
    lent: Amounts | None = None
    gpus: list[str] | None = None
    worker: str | None = None
    node: str | None = None
    """The machine of the cluster that it runs on, or ran on."""
    attempt: int = 0
    error: str | None = None
    started: float | None = None
    ended: float | None = None
    children: int = 0
    """Tasks that it submitted and that have not ended."""
    shown: bool = False
    filed: bool = False
    """It stands in one of the queues of rows that may go."""

    @property
    def held(self) -> Amounts:
        """What it holds now."""
        granted, lent = self.granted, self.lent
        if not granted or not lent:
            return granted or {}
        return {kind: left for kind, amount in granted.items() if (left := amount - lent.get(kind, 0.0)) > 1e-9}


class Dirty:
    """What changed since the last message, and which rows that the panel has are gone."""

    __slots__ = (
        "actors",
        "gone_actors",
        "gone_groups",
        "gone_tasks",
        "gone_workers",
        "groups",
        "resources",
        "runtime",
        "tasks",
        "workers",
    )

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.groups: dict[str, Group] = {}
        self.actors: dict[str, Actor] = {}
        self.workers: dict[str, Worker] = {}
        self.gone_tasks: dict[str, bool] = {}
        self.gone_groups: dict[str, bool] = {}
        self.gone_actors: dict[str, bool] = {}
        self.gone_workers: dict[str, bool] = {}
        self.runtime = False
        self.resources = False

    def __bool__(self) -> bool:
        return bool(
            self.tasks
            or self.groups
            or self.runtime
            or self.resources
            or self.actors
            or self.workers
            or self.gone_tasks
            or self.gone_groups
            or self.gone_actors
            or self.gone_workers
        )
