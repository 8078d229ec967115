"""Everything that the scheduler knows of one session: the records by id, and who waits in which order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable

import msgspec

from jupyter_ray.local.protocol.messages import Query
from jupyter_ray.local.scheduler.digests import ActorDigest, History, TaskDigest, WorkerDigest
from jupyter_ray.local.scheduler.ledger import Allocation, Ledger
from jupyter_ray.local.scheduler.records import (
    ActorRecord,
    ClientRecord,
    FunctionRecord,
    GroupRecord,
    JobRecord,
    Lease,
    LineageRecord,
    ObjectRecord,
    ReadyClass,
    RequestRecord,
    TaskRecord,
    UnseenError,
    WorkerRecord,
)
from jupyter_ray.local.scheduler.room import Memory
from jupyter_ray.local.scheduler.states import ENDED, TaskState


class State(msgspec.Struct, eq=False):
    """Everything the scheduler knows."""

    ledger: Ledger = msgspec.field(default_factory=Ledger)
    memory: Memory = msgspec.field(default_factory=Memory)
    memory_retries: int = -1
    """How often a task that was ended for want of memory is tried again at most; negative: as often as any."""
    task_limit: int = -1
    """Of so many tasks the tables tell at most; negative: of all that are known."""
    pid: int = 0
    """The runtime's process, for the events."""
    unstarted: int = 0
    """Workers that ended before they began, since the last one that did begin."""
    job: bytes = b""
    """The first driver's."""
    jobs: dict[bytes, JobRecord] = msgspec.field(default_factory=dict)
    started: float = 0.0
    """When it was bound; 0: it is not."""
    node: str = ""
    env: str = ""
    clients: dict[bytes, ClientRecord] = msgspec.field(default_factory=dict)
    workers: dict[bytes, WorkerRecord] = msgspec.field(default_factory=dict)
    tasks: dict[bytes, TaskRecord] = msgspec.field(default_factory=dict)
    actors: dict[bytes, ActorRecord] = msgspec.field(default_factory=dict)
    names: dict[tuple[str, str], bytes] = msgspec.field(default_factory=dict)
    objects: dict[bytes, ObjectRecord] = msgspec.field(default_factory=dict)
    segments: dict[str, dict[bytes, None]] = msgspec.field(default_factory=dict)
    """The objects whose value is in a file; an error may be the value of several."""
    lineage: dict[bytes, LineageRecord] = msgspec.field(default_factory=dict)
    """By task; the oldest comes first."""
    lineage_bytes: int = 0
    lineage_limit: int = 0
    keepers: dict[TaskRecord, None] = msgspec.field(default_factory=dict)
    """Tasks that kept what others may need when they began to wait; some of them wait no more."""
    looked: float = 0.0
    """When it was last looked whether they wait for ever."""
    vain: dict[RequestRecord, float] = msgspec.field(default_factory=dict)
    """What was found to be waited for in vain at the last look, and since when."""
    awaiting: dict[RequestRecord, None] = msgspec.field(default_factory=dict)
    """What tasks await without being blocked; the oldest comes first."""
    recovering: set[bytes] = msgspec.field(default_factory=set)
    """Tasks that are run again for results that were lost."""
    groups: dict[str, GroupRecord] = msgspec.field(default_factory=dict)
    """Placement groups, removed ones included, for the table."""
    pending_groups: list[GroupRecord] = msgspec.field(default_factory=list)
    removed_groups: deque[str] = msgspec.field(default_factory=deque)
    functions: dict[str, FunctionRecord] = msgspec.field(default_factory=dict)
    awaited: dict[str, list[tuple[ClientRecord, Query]]] = msgspec.field(default_factory=dict)
    """Who asked for versions of definitions that are still to come: the direct calls that run them were quicker."""
    ready: dict[Hashable, ReadyClass] = msgspec.field(default_factory=dict)
    """Tasks that wait for resources, by class."""
    order: list[ReadyClass] = msgspec.field(default_factory=list)
    """The same classes, in the order in which they are served."""
    serial: int = 0  # Tells classes of tasks, and versions of definitions, apart.
    unread: dict[bytes, tuple[ActorRecord, bytes]] = msgspec.field(default_factory=dict)
    """Streams that have ended, of actors with a `generator_cap`: the actor that counts their items, and who reads."""
    later: list[tuple[float, TaskRecord]] = msgspec.field(default_factory=list)
    """Tasks that pause before another attempt, each with the time at which the pause ends: see `pauses`."""
    resuming: deque[RequestRecord] = msgspec.field(default_factory=deque)
    idle: dict[str, list[WorkerRecord]] = msgspec.field(default_factory=dict)
    """Pooled workers that have nothing to do, by environment; the last one worked last."""
    ended: dict[TaskState, int] = msgspec.field(default_factory=lambda: dict.fromkeys(ENDED, 0))
    """How many tasks came to each of the last states."""
    history: History = msgspec.field(default_factory=History)
    attempts: OrderedDict[bytes, deque[TaskDigest]] = msgspec.field(default_factory=OrderedDict)
    """Attempts of tasks that failed and were made again, by task; bounded as `history`, and for each task."""
    attempts_kept: int = 0
    """How many those are."""
    gone_actors: OrderedDict[bytes, ActorDigest] = msgspec.field(default_factory=OrderedDict)
    gone_workers: OrderedDict[bytes, WorkerDigest] = msgspec.field(default_factory=OrderedDict)
    """As `history`, of actors and of workers."""
    pairs: dict[bytes, dict[bytes, bytes]] = msgspec.field(default_factory=dict)
    """What programs keep by key, by name space."""
    next_worker: int = 0
    leases: dict[bytes, Lease] = msgspec.field(default_factory=dict)
    """By worker."""
    ending: dict[bytes, list[Allocation]] = msgspec.field(default_factory=dict)
    """By worker that is to end: devices that its process may still use."""
    adopted: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    """Direct calls that a worker told of and their caller did not yet: task to caller."""
    unseen: dict[bytes, UnseenError] = msgspec.field(default_factory=dict)
    """What tasks raised and nobody has got yet, by task."""
    tells_unseen: bool = True

    def guest(self, job: bytes) -> str:
        """Return the job of a driver that joined (hex); "" of the first one's."""
        return "" if job == self.job else job.hex()

    def __repr__(self) -> str:
        return f"<State: {len(self.tasks)} tasks, {len(self.actors)} actors, {len(self.workers)} workers>"
