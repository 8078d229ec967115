"""What the scheduler knows: plain records, changed only by `transitions` and its helpers.

Every record knows its neighbours by reference (a task its worker, an object its waiting requests), so that a step
follows links and never searches. `session_state.State` owns them all by id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Literal

import msgspec

from jupyter_ray.local.protocol.messages import ActorSpec, Payload, TaskSpec
from jupyter_ray.local.scheduler.ledger import Allocation, Ledger
from jupyter_ray.local.scheduler.states import ActorState, GroupState, TaskState, WorkerState
from jupyter_ray.resources import Demand


class JobRecord(msgspec.Struct, eq=False):
    """A driver's job: the first one's, whose runtime it is, or that of one that joined."""

    id: bytes
    driver: bytes
    pid: int
    namespace: str
    env: str
    entrypoint: str
    metadata: dict[str, str]
    started: float
    ended: float = 0.0
    """0: not yet."""


class FunctionRecord(msgspec.Struct, eq=False):
    """A shipped definition, or one that somebody has named before it came: of that the version is 0.

    Calls that were made before it was changed run what it was: that has a record of its own then, with another id.

    Attributes
    ----------
    key
        What workers know it by that are sent it with a call: another one for each version that is kept.
    """

    id: str
    version: int = 0
    name: str = ""
    blob: bytes = b""
    contained: list[bytes] = []
    """The objects and actors in its code."""
    refers: list[str] = []
    """Other definitions that its code refers to."""
    holders: int = 0
    pins: int = 0
    """By values that contain it, by definitions that refer to it, and by results that it may have to make again."""
    key: str = ""
    calls: int = 0
    """That have not ended, and actors that may restart."""
    seconds: float | None = None
    """Smoothed duration of a task."""

    def __post_init__(self) -> None:
        """The first version is known by the definition's own id."""
        self.key = self.key or self.id

    def learn(self, seconds: float) -> None:
        """Note how long a task took; nothing is told of a definition that has not come."""
        if self.version:
            self.seconds = seconds if self.seconds is None else 0.8 * self.seconds + 0.2 * seconds


class TaskRecord(msgspec.Struct, eq=False):
    """A task that has not ended."""

    id: bytes
    spec: TaskSpec
    client: ClientRecord
    hex: str
    """Its id as the events tell it."""
    depth: int = 0
    state: TaskState = TaskState.WAITING
    missing: int = 0
    """Arguments that are not there yet."""
    worker: WorkerRecord | None = None
    allocation: Allocation | None = None
    lent: Demand | None = None
    attempt: int = 0
    spared: int = 0
    """Attempts that do not count: see `WorkerLost.spared`."""
    retry_reason: str = ""
    since: float = 0.0
    """When it came into its state, in Unix seconds."""
    made: float = 0.0
    begun: float = 0.0
    """When its last attempt began; 0: none did."""
    cancel_asked: bool = False
    force_asked: bool = False
    reaching: bool = False
    """A cancel that means its children too is on the way to its process: what it starts till then is cancelled."""
    children: set[bytes] | None = None
    blocking: int = 0
    """Requests of this task that are not answered."""
    actor: ActorRecord | None = None
    function: FunctionRecord | None = None  # What it runs, or the class of the actor that it makes.
    enqueued: bool = False
    """It is in its actor's queue. Taking it out from the middle would cost a search, so a queue may hold more."""
    items: int = 0
    """Items yielded so far, for a stream."""
    read: int = 0
    """Items that the holder of its stream took; -1: nobody wants more."""
    story: tuple[str, ...] = ()  # Its last stimuli.

    @property
    def may_retry(self) -> bool:
        """Whether it may be tried once more."""
        return self.spec.max_retries < 0 or self.attempt - self.spared < self.spec.max_retries

    def add_child(self, task: bytes) -> None:
        """Note a task that this one has submitted."""
        self.children = self.children or set()
        self.children.add(task)

    def __repr__(self) -> str:
        return f"<Task {self.spec.name} {self.spec.task.hex()[:8]}: {self.state.value}>"


class ClientRecord(msgspec.Struct, eq=False):
    """A process that is connected: a driver, or a worker (the same id as its `WorkerRecord`)."""

    id: bytes
    is_driver: bool
    job: bytes = b""
    pid: int = 0  # Of a driver.
    holds: dict[bytes, int] = msgspec.field(default_factory=dict)
    """Grants, by counted id."""
    requests: dict[int, RequestRecord] = msgspec.field(default_factory=dict)
    created_actors: set[bytes] = msgspec.field(default_factory=set)
    connected: bool = True
    single: bytes = b""
    """The call that it made last, if it has not waited for anything since."""
    streak: int = 0
    """How many calls in a row it waited for before it made the next: such a client is shown the way (`direct`)."""

    def __repr__(self) -> str:
        return f"<Client {self.id.hex()[-8:]}: {len(self.holds)} holds, {len(self.requests)} requests>"


class WorkerRecord(msgspec.Struct, eq=False):
    """A worker process, from the wish for it to its end."""

    id: bytes
    env: str
    state: WorkerState = WorkerState.STARTING
    pid: int = 0
    tasks: dict[bytes, TaskRecord] = msgspec.field(default_factory=dict)
    """Tasks on it, in the order in which it was handed them; for a pooled worker only the first may have begun."""
    actor: ActorRecord | None = None
    queue: ReadyClass | None = None
    """The class of tasks that it runs now."""
    functions: dict[str, int] = msgspec.field(default_factory=dict)
    """Versions of the definitions that it was sent."""
    started: float = 0.0  # When it was asked for.
    joined: float = 0.0
    given: float = 0.0
    """When it was given its actor, or the first of its tasks in a row."""
    idle_since: float = 0.0
    recalled: bool = False
    shut: bool = False
    """It takes no calls at its own socket any more."""
    runs: int = 0
    outdated: bool = False  # Modules that it has loaded are others now: it ends as soon as it has nothing to do.
    doomed: str = ""
    """Why we ended it, if we did."""
    exit_type: str = ""
    """Ray's word for that, if it is another than for most."""
    retired: bool = False
    """We let it go because it was not needed: what it made stays."""
    orderly: bool = False
    """An actor that ended by itself, with ``exit_actor`` or ``sys.exit``: the tasks that it began go on (as in Ray)."""

    def __repr__(self) -> str:
        return f"<Worker {self.id.hex()[-8:]} pid {self.pid}: {self.state.value}, {len(self.tasks)} tasks>"


class Lease(msgspec.Struct, eq=False):
    """A pooled worker that a client uses for tasks like the first; `told` are the functions whose versions it knows."""

    worker: WorkerRecord
    client: ClientRecord
    allocation: Allocation
    first: TaskSpec
    recalled: float = 0.0
    """Since when the client has been asked to give it back; 0: it has not."""
    told: set[str] = msgspec.field(default_factory=set)

    def __repr__(self) -> str:
        return f"<Lease of {self.worker!r} to {self.client!r}{', recalled' if self.recalled else ''}>"


class ActorRecord(msgspec.Struct, eq=False):
    """An actor, alive or to be; kept after its death as long as somebody may ask."""

    spec: ActorSpec
    creator: ClientRecord
    function: FunctionRecord | None = None  # Its class.
    state: ActorState = ActorState.PENDING
    worker: WorkerRecord | None = None
    allocation: Allocation | None = None
    queues: dict[bytes, deque[TaskRecord]] = msgspec.field(default_factory=dict)
    """Calls not handed over, by caller (see `lane`); callers take turns in the order of this dict."""
    queued: int = 0
    unfinished: dict[bytes, int] = msgspec.field(default_factory=dict)
    """Calls not ended, by caller."""
    calls: dict[bytes, TaskRecord] = msgspec.field(default_factory=dict)
    """All calls that have not ended."""
    handed: dict[bytes, TaskRecord] = msgspec.field(default_factory=dict)
    """Those that its worker has, in order."""
    load: dict[str, int] = msgspec.field(default_factory=dict)
    """How many those are, by concurrency group, if it has such."""
    ahead: dict[bytes, TaskRecord] = msgspec.field(default_factory=dict)
    """Those of them that have not begun, since it runs as many as it can."""
    room: list[RequestRecord] = msgspec.field(default_factory=list)
    """Callers with very many unfinished calls, which wait until they have fewer before they make more."""
    seconds: float | None = None
    """Smoothed duration of a call."""
    holders: int = 0
    """Grants and pins of its handle."""
    leaving: str = ""
    """Why it is about to end, if it is; it will not be restarted."""
    restarts: int = 0
    brief: int = 0
    """How many processes of it, one after the other, have ended soon, though nobody had asked for that."""
    last_pid: int = 0
    """Of the process that it had, once that has ended."""
    death: Payload | None = None
    death_reason: str = ""
    untold: bool = False
    """Its process died, which nobody wanted, and nobody has heard of it."""
    lived: bool = False
    """A constructor of it has returned once."""
    repr_name: str = ""
    """What its instance calls itself, where its class says how."""
    shown: dict[str, tuple[bytes | None, str]] = msgspec.field(default_factory=dict)
    """Who the events say holds a handle: holder to (client, None for an object; kind)."""
    groups: tuple[str, ...] = ()
    """Placement groups that it made and that end with its process, since it is detached."""
    concurrency: int = 1
    """Calls that it can run at once."""

    def __post_init__(self) -> None:
        """Work out what follows from the specification."""
        self.concurrency = self.spec.max_concurrency + sum(self.spec.concurrency_groups.values())

    @property
    def id(self) -> bytes:
        """The actor's id."""
        return self.spec.actor

    @property
    def label(self) -> str:
        """What people call it."""
        return self.spec.name or self.spec.class_name

    def lane(self, task: TaskRecord) -> bytes:
        """Return the queue of a call: its caller's, for its concurrency group: a full one delays no other's calls."""
        caller = task.client.id
        return caller + task.spec.concurrency_group.encode() if self.spec.concurrency_groups else caller

    def __repr__(self) -> str:
        return f"<Actor {self.label} {self.id.hex()[:8]}: {self.state.value}, {self.queued} queued>"


class ObjectRecord(msgspec.Struct, eq=False):
    """An object that somebody may still ask for."""

    id: bytes
    payload: Payload | None = None
    holders: int = 0
    """Grants of all clients together."""
    pins: int = 0
    """Tasks that need it, and objects that contain it."""
    waiters: tuple[RequestRecord, ...] = ()
    dependents: list[TaskRecord] | None = None
    pending: bool = False
    """A task is to make it."""
    fate: Literal["", "error", "stream", "once", "method", "evicted"] = ""
    """Why it could not be computed again, if it lives in a file and its task's lineage is not kept."""
    site: str = ""  # Where `put` was called for it, if that is known.
    asked: bool = False  # By a `get` that was answered with the error of another object before this one was there.

    def await_by(self, request: RequestRecord) -> None:
        """Note a request that the value is to be told to."""
        self.waiters += (request,)  # There is hardly ever another one.

    def needed_by(self, task: TaskRecord) -> None:
        """Note a task that the value is to be told to, once for each argument that it is."""
        if self.dependents is None:
            self.dependents = []
        self.dependents.append(task)

    def __repr__(self) -> str:
        state = "ready" if self.payload is not None else "pending"
        return f"<Object {self.id.hex()[:8]}: {state}, {self.holders} held, {self.pins} pinned>"


class LineageRecord(msgspec.Struct, eq=False):
    """How to run a task again that has ended: kept while a result of it lives in a file that might get lost."""

    spec: TaskSpec
    client: ClientRecord
    depth: int
    attempt: int
    size: int
    """Bytes that this keeps: the submission, its arguments, and what `pins` names."""
    live: set[bytes]
    """Results that live in files."""
    parents: list[LineageRecord] = msgspec.field(default_factory=list)
    """Of arguments that may be freed meanwhile, since they can be computed again."""
    pins: list[bytes] = msgspec.field(default_factory=list)
    """Small arguments, whose values are kept."""
    users: int = 0
    """Lineages that name this one as a parent."""

    def __repr__(self) -> str:
        return f"<Lineage of {self.spec.name}: {len(self.live)} live, {self.users} users, {self.size:,} bytes>"


class RequestRecord(msgspec.Struct, eq=False):
    """A `get`, a `wait`, a wait for room in an actor's queue or for a stream's reader, that is not answered."""

    client: ClientRecord
    id: int
    kind: Literal["get", "wait", "room", "read"]
    ids: list[bytes]
    remaining: int
    task: TaskRecord | None = None
    actor: ActorRecord | None = None
    complete: bool = True
    count: int = 0
    """For `wait`: how many must be ready; for a stream: up to which item it must have been read."""
    pinned: list[ObjectRecord] = msgspec.field(default_factory=list)
    """Objects that must outlive their references, for this answer."""
    expires: bool = False
    error: Payload | None = None
    """What to answer for the first object that is not there, if that will never come."""
    done: bool = False
    """Satisfied, and perhaps waiting for its task's CPUs."""
    awaiter: TaskRecord | None = None
    """The task that awaits the answer and does not block."""
    since: float = 0.0
    """When the wait began; 0: nobody waits, somebody wants to hear of it."""
    call: TaskRecord | None = None
    """The one call that its client waits for, which may be worth a route: see `direct`."""
    site: str = ""
    """Where its task blocks, in words."""

    def __repr__(self) -> str:
        return f"<Request {self.kind} {self.id} of {self.client.id.hex()[-8:]}: {self.remaining} to come>"


class GroupRecord(msgspec.Struct, eq=False):
    """A placement group: bundles of resources that are reserved together."""

    id: str
    name: str
    strategy: str
    demands: list[Demand]
    creator: ClientRecord
    detached: bool = False
    made: float = 0.0
    seconds: float | None = None  # How long it waited, when it is reserved.
    lacks: str = ""  # Which labels it wants that this machine does not have.
    state: GroupState = GroupState.PENDING
    reserved: list[Allocation] = msgspec.field(default_factory=list)
    """What it holds of the machine's ledger, by bundle."""
    bundles: list[Ledger] = msgspec.field(default_factory=list)
    """The same, as ledgers for its tasks."""
    ready: dict[bytes, Payload] = msgspec.field(default_factory=dict)
    """Objects that are to be made when it is reserved."""

    def __repr__(self) -> str:
        return f"<Group {self.name or self.id[:8]}: {self.state.value}, {len(self.demands)} bundles>"


class ReadyClass(msgspec.Struct, eq=False):
    """Tasks that are alike to the scheduler: same depth, environment and demand.

    The deepest come first: a blocked parent waits for a child, so this bounds the number of blocked processes.
    """

    key: Hashable
    rank: tuple[int, int]
    """Minus the depth, then the age."""
    env: str
    demand: Demand
    group: str | None = None
    bundle: int = -1
    crowded: bool = False
    """Tasks of one function, set apart since very many of them were blocked: see `crowd`."""
    tasks: deque[TaskRecord] = msgspec.field(default_factory=deque)
    workers: dict[WorkerRecord, None] = msgspec.field(default_factory=dict)
    """Workers that run one of them now."""

    def __repr__(self) -> str:
        return f"<Class depth {-self.rank[0]}, {self.demand}: {len(self.tasks)} ready, on {len(self.workers)} workers>"


class UnseenError(msgspec.Struct, frozen=True, eq=False):
    """What a task raised and nobody has got; `returns` objects lead to it. `lost`: that actor's process took it."""

    payload: Payload
    label: str
    pid: int
    cell: str | None
    returns: int
    job: bytes
    lost: ActorRecord | None = None
