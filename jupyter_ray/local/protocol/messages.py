"""Every message between a client (driver or worker) and the runtime, and nothing else.

A task's description has two parts. `TaskSpec` is what the runtime reads in order to decide; `TaskSpec.body` is an
encoded `Body` between the caller and the worker, which the runtime passes on unread. Identifiers are plain ``bytes``;
amounts are parts of 1/10,000 (see `jupyter_ray.resources`). In lists of counted ids, 28 bytes are an object and 16 an
actor.

Counting. The runtime knows, for each process, how many times it granted a reference to it: when the process made it
(`Submit`, `Put`, `CreateActor`), and each time a message to it carries a value or arguments that contain the
reference. A process that has no Python object left for a reference says `Drop` with the number of grants it has seen;
a grant that is on its way meanwhile keeps the object alive.

Streams. The stream itself is the object `return_id(task, 1)`: ready (with None, or the error of a lost worker) when
the task has ended. Item number i, from 1, is `return_id(task, i + 1)`. Each new item that a `StreamState` announces
to the stream's holder is one grant of that item to it.
"""

from __future__ import annotations

from typing import Any, Literal, Union

import msgspec

from jupyter_ray.events import AnyEvent

DYNAMIC = -1
STREAMING = -2
RAISED = "task error"
"""The first item of the pickled tuple that carries what a task raised."""
EXITED = "Worker exits with an exit code"
"""How a report of a task begins that ended its process by ``sys.exit``: the words of Ray's tables."""


class Message(msgspec.Struct, array_like=True, frozen=True):
    """What all messages have in common: they are immutable, and arrays on the wire."""


class Payload(Message, frozen=True):
    """One serialized value: a pickle stream and the buffers beside it.

    Attributes
    ----------
    data
        The pickle stream (protocol 5); empty if `segment` is set.
    buffers
        Out-of-band buffers, in order; empty if `segment` is set.
    segment
        Name of a file in the session's shared-memory folder that holds stream and buffers, or "".
    layout
        For a segment: offset and length of the stream, then of each buffer, in bytes.
    size
        Bytes in all.
    is_error
        The value is an exception to raise.
    contained
        Ids of the objects and actors that the value refers to, one for each occurrence.
    """

    data: bytes = b""
    buffers: list[bytes] = []
    segment: str = ""
    layout: list[int] = []
    size: int = 0
    is_error: bool = False
    contained: list[bytes] = []


ABSENT = Payload(size=-1)
"""Stands for the value of an argument that was lost, or failed, after its task had been made ready."""


class Body(Message, frozen=True):
    """What a worker needs in order to run a task, beside its dependencies' values.

    `args` holds the pickled pair ``(args, kwargs)``, in which `Argument(i)` stands for dependency i; None: no
    arguments. `retry_on` is a pickled tuple of exception classes; `writable` and `inout` are as the user wrote them.
    """

    function: str = ""
    method: str = ""
    args: Payload | None = None
    retry_on: bytes = b""
    writable: bool | list[str | int] | None = None
    inout: list[str | int] | None = None
    backpressure: int = -1
    per_yield: int = 1
    max_calls: int = 0
    """The worker leaves after this many calls of the function; 0: never."""
    group: str = ""
    """The placement group (hex) that the task runs in, "" for none."""
    capture: bool = False
    """What the task starts runs in its placement group too."""


class TaskSpec(Message, frozen=True):
    """A task, as the scheduler sees it. `num_returns` may be `DYNAMIC` or `STREAMING`."""

    task: bytes
    kind: Literal["task", "method", "actor"]
    name: str
    body: bytes
    definition: str = ""
    dependencies: list[bytes] = []
    contained: list[bytes] = []
    segment: str = ""
    num_returns: int = 1
    demand: dict[str, int] = {}
    parent: bytes | None = None
    cell: str | None = None
    site: str | None = None
    max_retries: int = 0
    retry_exceptions: bool = False
    max_calls: int = 0
    env: str = ""
    """The runtime environment as canonical JSON, "" for none; workers are shared only within one."""
    group: str | None = None
    """Placement group (hex), or None."""
    bundle: int = -1
    actor: bytes | None = None
    concurrency_group: str = ""
    segment_size: int = 0
    listed: bool = True
    """Whether tables of tasks tell of it."""


class ActorSpec(Message, frozen=True):
    """An actor to make. Its constructor is `creation` (kind ``"actor"``), whose demand it holds while it lives."""

    actor: bytes
    creation: TaskSpec
    class_name: str
    handle: bytes
    placement: dict[str, int] = {}
    """What must be free for the actor to be placed; at least its demand."""
    name: str = ""
    namespace: str = ""
    get_if_exists: bool = False
    detached: bool = False
    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int = 1
    is_async: bool = False
    concurrency_groups: dict[str, int] = {}
    ordered: bool = True
    """Calls of one caller start in the order in which they were made, even when one waits for an argument."""
    generator_cap: int = -1
    """Items of all its streams together that may be unread; not positive: any number."""
    qualname: str = ""
    """The class's name, with the functions that it was made in; "" where only `class_name` is known."""


# --- client to runtime -------------------------------------------------------------------------------------------


class Hello(Message, frozen=True, tag=1):
    """The first message of a connection. `client` has 16 bytes; for a worker it is the id the runtime gave it."""

    kind: Literal["driver", "worker"]
    client: bytes
    pid: int


class Bind(Message, frozen=True, tag=2):
    """Bind the runtime to resources and to the driver's surroundings; answered by `Answer` with a `dict`."""

    request: int
    resources: dict[str, int]
    gpus: list[str]
    namespace: str
    sys_path: list[str]
    cwd: str
    environ: dict[str, str]
    env: str = ""
    store_limit: int = 0
    job: bytes = b""
    node: bytes = b""
    """The ids that the driver's process context shows; workers get the same in their setup."""


class Export(Message, frozen=True, tag=3):
    """Ship a function or class: `blob` is its pickle. A later export of the same definition replaces it."""

    definition: str
    version: int
    name: str
    blob: bytes
    contained: list[bytes] = []


class Submit(Message, frozen=True, tag=4):
    """Start a task or call a method. The sender holds the return values.

    With `direct` set, the sender has brought the call to that worker itself; or else the worker tells of it, since it
    is about to speak of the task: then `caller` is who brought it. The runtime hears it from one of them, or from both.
    """

    spec: TaskSpec
    direct: bytes = b""
    caller: bytes = b""


class CreateActor(Message, frozen=True, tag=5):
    """Make an actor.

    With a name the runtime answers `Answer`: ``{"actor", "handle", "created"}``; else `request` is 0.
    """

    request: int
    spec: ActorSpec


class Get(Message, frozen=True, tag=6):
    """Ask for values; answered by `Reply` when all are there, at the first error, or when the time is up.

    The time is `timeout` seconds; None: never.
    `task` is the task that blocks meanwhile, None if nothing blocks. `returned` are tasks that this worker had been
    handed in advance and gives back, since it is about to block.
    """

    request: int
    ids: list[bytes]
    timeout: float | None = None
    task: bytes | None = None
    returned: list[bytes] = []


class Wait(Message, frozen=True, tag=7):
    """Ask which of `ids` are ready; answered by `Reply` (without values) once `count` are.

    Or after `timeout` seconds.
    """

    request: int
    ids: list[bytes]
    count: int
    timeout: float | None = None
    task: bytes | None = None
    returned: list[bytes] = []


class AwaitRoom(Message, frozen=True, tag=8):
    """Answered by `Reply` when few enough of the sender's calls of `actor` are unfinished: the brake on a flood."""

    request: int
    actor: bytes
    task: bytes | None = None
    returned: list[bytes] = []


class Abandon(Message, frozen=True, tag=9):
    """The answer to `request` is not wanted any more."""

    request: int


class Put(Message, frozen=True, tag=10):
    """Store a value. The sender holds it."""

    object: bytes
    payload: Payload


class Drop(Message, frozen=True, tag=11):
    """The sender has no reference left: pairs of a counted id and the number of grants that it has seen."""

    counts: list[tuple[bytes, int]]


class Cancel(Message, frozen=True, tag=12):
    """Cancel the task that makes `object`."""

    object: bytes
    force: bool
    recursive: bool


class Kill(Message, frozen=True, tag=13):
    """End an actor at once."""

    actor: bytes
    no_restart: bool


class Query(Message, frozen=True, tag=14):
    """Ask for something that the runtime knows; answered by `Answer`. The names are in `server_queries`."""

    request: int
    what: str
    arguments: dict[str, Any] = {}


class Subscribe(Message, frozen=True, tag=15):
    """Send the log of events from its beginning, then every event; with `on` False, stop."""

    on: bool
    logs_only: bool = False
    """Send only what tasks print: all that a script needs."""
    condensed: bool = False
    """Tell bursts of quick calls by their number (`TasksRan`): all that a picture needs."""


class Done(Message, frozen=True, tag=16):
    """A task ended. `returns` has one payload per return value (a single error payload if `failed`).

    `seconds` is how long user code ran. `retry` tells that the error is one that the task may be retried for.
    `exiting`: the process leaves by itself after this message (`exit_actor`, `max_calls`).
    """

    task: bytes
    returns: list[Payload]
    failed: bool = False
    cancelled: bool = False
    retry: bool = False
    exiting: bool = False
    seconds: float = 0.0
    error: str = ""
    """One line for people, if `failed`."""


class Item(Message, frozen=True, tag=17):
    """A streaming task yielded its item number `index`, counted from 1."""

    task: bytes
    index: int
    payload: Payload


class Returned(Message, frozen=True, tag=18):
    """The worker gives back tasks that it had been handed in advance and has not begun."""

    tasks: list[bytes]


class Log(Message, frozen=True, tag=19):
    """What a task wrote."""

    stream: Literal["stdout", "stderr"]
    text: str
    name: str
    task: bytes | None = None
    actor: bytes | None = None
    cell: str | None = None


class Shutdown(Message, frozen=True, tag=20):
    """End the session."""


class CreateGroup(Message, frozen=True, tag=22):
    """Reserve a placement group; `bundles` in parts. Its tasks wait until that is done."""

    group: str
    bundles: list[dict[str, int]]
    strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]
    name: str = ""
    detached: bool = False


class RemoveGroup(Message, frozen=True, tag=23):
    """Give a placement group back: its actors end and its tasks fail."""

    group: str


class GroupReady(Message, frozen=True, tag=55):
    """Make `object` of `payload` when the group is reserved, or of an error when it is removed before."""

    group: str
    object: bytes
    payload: Payload


class AwaitSpace(Message, frozen=True, tag=24):
    """The sender wants to write `size` bytes of `segment`; answered by `Answer` when there is room.

    Its value tells where: True is shared memory, ``"disk"`` the folder of spilled values.
    """

    request: int
    size: int
    segment: str = ""


class Consumed(Message, frozen=True, tag=21):
    """The holder of a stream took items up to `index`, or (`index` -1) will take no more."""

    task: bytes
    index: int


class Leave(Message, frozen=True, tag=33):
    """The actor that says this ends by itself when the calls that run have ended: it wants no more."""

    reason: str
    failed: bool = False
    """It ends with an exit code other than 0, which is no death on purpose: it may be made again."""


class Named(Message, frozen=True, tag=56):
    """An actor says what its instance calls itself: its ``repr``, where its class defines one."""

    text: str


class Lost(Message, frozen=True, tag=25):
    """The sender cannot read `segments`, for `reason`; it asks for the objects again after this.

    `task` has not begun because of that, and is given back: it begins again when its arguments are there.
    """

    segments: list[str]
    reason: str
    task: bytes | None = None


class Ran(Message, frozen=True, tag=28):
    """The sender brought a call to `worker` itself, and `done` came back: the whole life of a quick task."""

    spec: TaskSpec
    worker: bytes
    done: Done


class Report(Message, frozen=True, tag=29):
    """The end of a call that the sender has brought itself, and has told the runtime of before that."""

    done: Done


class Unlease(Message, frozen=True, tag=30):
    """The sender needs `worker` no more, which was leased to it (`Route`)."""

    worker: bytes


class Claimed(Message, frozen=True, tag=26):
    """The sender has renamed the spare file `spare` to `segment`, and writes `size` bytes into it.

    With `segment` "", there was no such file any more.
    """

    spare: str
    segment: str
    size: int


class Seen(Message, frozen=True, tag=31):
    """The sender has shown so many characters of what tasks printed."""

    text: int


class Unwritten(Message, frozen=True, tag=27):
    """The sender could not write `segment`, for which there was room."""

    segment: str


ClientMessage = Union[  # noqa: UP007 - one name a line reads better
    Hello,
    Bind,
    Export,
    Submit,
    CreateActor,
    Get,
    Wait,
    AwaitRoom,
    Abandon,
    Put,
    Drop,
    Cancel,
    Kill,
    Query,
    Subscribe,
    Done,
    Item,
    Returned,
    Log,
    Shutdown,
    Consumed,
    CreateGroup,
    RemoveGroup,
    GroupReady,
    AwaitSpace,
    Leave,
    Named,
    Lost,
    Ran,
    Report,
    Unlease,
    Claimed,
    Unwritten,
    Seen,
]


# --- runtime to client -------------------------------------------------------------------------------------------


class Reply(Message, frozen=True, tag=40):
    """The answer to `Get`, `Wait` or `AwaitRoom`.

    `ready` are the ids that are ready; for `Get`, `values` stand beside them. `complete` is False when the time was
    up.
    """

    request: int
    ready: list[bytes] = []
    values: list[Payload] = []
    complete: bool = True


class Answer(Message, frozen=True, tag=41):
    """The answer to `Bind`, `CreateActor` or `Query`.

    With `error` set (an exception's name), `value` is its message.
    """

    request: int
    value: Any = None
    error: str = ""


class Function(Message, frozen=True):
    """A shipped definition."""

    definition: str
    version: int
    blob: bytes


class Execute(Message, frozen=True, tag=42):
    """Run a task: now if the worker is idle, else after those it already has.

    `values` are the dependencies' values, in order.
    `functions` are the definitions that this worker has not seen in this version. `caller` is the client that
    submitted it.
    """

    task: bytes
    kind: Literal["task", "method", "actor"]
    name: str
    body: bytes
    definition: str
    values: list[Payload]
    num_returns: int
    functions: list[Function] = []
    held: dict[str, int] = {}
    gpus: list[str] = []
    parent: bytes | None = None
    cell: str | None = None
    attempt: int = 0
    actor: bytes | None = None
    concurrency_group: str = ""
    contained: list[bytes] = []
    """Counted ids in the arguments, which this worker now holds: those in `body`.

    Those of `values` are in the values.
    """
    retries_left: bool = False
    spec: ActorSpec | None = None
    """For a constructor: the actor to become."""
    restarts: int = 0
    dependencies: list[bytes] = []
    """The ids of the objects whose `values` stand beside them; empty if all values are in the message."""


class Interrupt(Message, frozen=True, tag=43):
    """Cancel a task on this worker: drop it if it has not begun, else interrupt it."""

    task: bytes


class Recall(Message, frozen=True, tag=44):
    """Give back (`Returned`) whatever has not begun."""


class Exit(Message, frozen=True, tag=45):
    """Leave, after what is running and queued."""

    reason: str


class Events(Message, frozen=True, tag=46):
    """A batch of the log, in order."""

    events: list[AnyEvent]


class StreamState(Message, frozen=True, tag=48):
    """What a stream's holder must know: items up to `items` exist; `ended` tells that there will be no more.

    `value` is that of the last item, if it is small.
    """

    task: bytes
    items: int
    ended: bool
    value: Payload | None = None


class Consume(Message, frozen=True, tag=49):
    """To the worker of a stream: its holder took items up to `index`, or (-1) nobody wants more."""

    task: bytes
    index: int


class Route(Message, frozen=True, tag=52):
    """A way to call without the runtime: `worker` takes calls at its own socket.

    It is the actor's, if `actor` is set; valid if `after` is the last call of it that the client has sent the usual
    way. Else the worker is leased to the client, for plain tasks with this environment and demand.
    """

    worker: bytes
    actor: bytes | None = None
    after: bytes = b""
    env: str = ""
    demand: dict[str, int] = {}


class Unroute(Message, frozen=True, tag=53):
    """Somebody else needs the resources of `worker`, which was leased: give it back (`Unlease`)."""

    worker: bytes


class Spare(Message, frozen=True, tag=50):
    """To the process that wrote `segment`, which was freed: its file may be written into again."""

    segment: str
    size: int


class Forget(Message, frozen=True, tag=51):
    """To the process that wrote `segments`: their files are not in memory any more."""

    segments: list[str]


class Collect(Message, frozen=True, tag=54):
    """Shared memory gets short: collect garbage, since cycles of Python objects may hold references."""


ServerMessage = Union[  # noqa: UP007
    Reply,
    Answer,
    Execute,
    Interrupt,
    Recall,
    Exit,
    Events,
    StreamState,
    Consume,
    Spare,
    Forget,
    Collect,
    Route,
    Unroute,
]


# --- caller and worker, without the runtime ----------------------------------------------------------------------


class Call(Message, frozen=True, tag=60):
    """Run a task. `version` is that of its definition, 0 for a method; `values` are those of its dependencies."""

    spec: TaskSpec
    version: int = 0
    values: list[Payload] = []


class Elsewhere(Message, frozen=True, tag=61):
    """The runtime knows what became of the task: ask there. Otherwise `Done` answers a `Call`."""

    task: bytes


DirectMessage = Hello | Call
DirectReply = Done | Elsewhere
