"""What a client, driver or worker, says to the runtime."""

from typing import Any, Literal, Union

from jupyter_ray.local.protocol.calls import ActorSpec, Message, Payload, SearchPath, TaskSpec


class Hello(Message, frozen=True, tag=1):
    """The first message of a connection. `client` has 16 bytes; for a worker it is the id the runtime gave it.

    A guest is a driver that joins a runtime which another one has started and bound.
    """

    kind: Literal["driver", "worker", "guest"]
    client: bytes
    pid: int


class Bind(Message, frozen=True, tag=2):
    """Bind the runtime to resources and to the driver's surroundings; answered by `Answer` with a `dict`."""

    request: int
    resources: dict[str, int]
    devices: dict[str, list[str]]
    namespace: str
    sys_path: list[str]
    cwd: str
    environ: dict[str, str]
    env: str = ""
    store_limit: int = 0
    spills: bool = True
    memory_share: float = 0.0
    memory_retries: int = -1
    """How often a task that was ended for want of memory is tried again at most; negative: as often as any."""
    farewell_seconds: float = 0.0
    """So long may the process of an actor take to leave; 0: ever."""
    garbage_seconds: float = 0.0
    """All processes collect garbage every so many seconds; 0: where memory is short."""
    task_limit: int = -1
    """Of so many tasks the tables tell at most; negative: of all that are known."""
    job: bytes = b""
    node: bytes = b""
    """The ids that the driver's process context shows; workers get the same in their setup."""
    entrypoint: str = ""
    metadata: dict[str, str] = {}


class Join(Message, frozen=True, tag=59):
    """A guest tells of its job and its surroundings; answered by `Answer` with a `dict`, as `Bind`.

    `told` is what the runtime adds to that.
    """

    request: int
    job: bytes
    namespace: str
    sys_path: list[str]
    cwd: str
    environ: dict[str, str]
    env: str = ""
    entrypoint: str = ""
    metadata: dict[str, str] = {}
    told: dict[str, Any] = {}


class Export(Message, frozen=True, tag=3):
    """Ship a function or class: `blob` is its pickle. A later export of the same definition replaces it.

    `contained` are objects and actors in its code, `refers` the definitions that it refers to, itself left out.
    `granted`: the sender holds the definition from now on; it has held it before else.
    """

    definition: str
    version: int
    name: str
    blob: bytes
    contained: list[bytes] = []
    refers: list[str] = []
    granted: bool = True


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
    `task` is the task that blocks meanwhile, b"" if none does but a thread of a driver, None if nothing blocks.
    `returned` are tasks that this worker had been handed in advance and gives back, since it is about to block.
    `awaiter` is, in the same way, the task that awaits the values in an event loop, or through a future.
    `site` is where a task blocks, in words.
    """

    request: int
    ids: list[bytes]
    timeout: float | None = None
    task: bytes | None = None
    returned: list[bytes] = []
    awaiter: bytes | None = None
    site: str = ""


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
    site: str = ""


class AwaitRoom(Message, frozen=True, tag=8):
    """Answered by `Reply` when few enough of the sender's calls of `actor` are unfinished: the brake on a flood."""

    request: int
    actor: bytes
    task: bytes | None = None
    returned: list[bytes] = []


class AwaitRead(Message, frozen=True, tag=58):
    """Answered by `Reply` when the stream that `task` makes was read up to `index`, or nobody reads on."""

    request: int
    task: bytes
    index: int


class Abandon(Message, frozen=True, tag=9):
    """The answer to `request` is not wanted any more."""

    request: int


class Put(Message, frozen=True, tag=10):
    """Store a value. The sender holds it."""

    object: bytes
    payload: Payload
    site: str = ""
    """The line and the function that called `put`, where that is recorded."""


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
    """Ask for something that the runtime knows; answered by `Answer`. The names are in `scheduler.queries`."""

    request: int
    what: str
    arguments: dict[str, Any] = {}


class Subscribe(Message, frozen=True, tag=15):
    """Send the log of events from its beginning, then every event; with `on` False, stop.

    With the number `asked` of the subscription before, the beginning is left out: nobody new listens.
    """

    on: bool
    logs_only: bool = False
    """Send only what tasks print: all that a script needs."""
    condensed: bool = False
    """Tell bursts of quick calls by their number (`TasksRan`): all that a picture needs."""
    asked: int = 0
    """How often the client has asked for the log from its beginning: the events that follow say so."""


class Done(Message, frozen=True, tag=16):
    """A task ended. `returns` has one payload per return value (a single error payload if `failed`).

    `seconds` is how long user code ran. `retry` tells that the error is one that the task may be retried for.
    `exiting`: the process leaves by itself after this message (`exit_actor`, `max_calls`, a cancel in the midst of an
    import, and `sys.exit`, which counts as `crashed`).
    """

    task: bytes
    returns: tuple[Payload, ...]
    failed: bool = False
    cancelled: bool = False
    retry: bool = False
    exiting: bool = False
    seconds: float = 0.0
    error: str = ""
    """One line for people, if `failed`, and below it the traceback."""
    crashed: bool = False


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
    attempt: int | None = None


class Span(Message, frozen=True, tag=67):
    """A span of time that the program has named, in Unix seconds."""

    name: str
    since: float
    until: float
    extra: dict[str, str]
    task: bytes | None = None


class Shutdown(Message, frozen=True, tag=20):
    """End the session."""


class CreateGroup(Message, frozen=True, tag=22):
    """Reserve a placement group; `bundles` in parts. Its tasks wait until that is done.

    `lacks` says which labels it wants that this machine does not have; then it waits for ever.
    """

    group: str
    bundles: list[dict[str, int]]
    strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]
    name: str = ""
    detached: bool = False
    lacks: str = ""


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


class Interrupted(Message, frozen=True, tag=57):
    """A cancel has reached `task`: what it starts from now on is not meant by it."""

    task: bytes


class Named(Message, frozen=True, tag=56):
    """An actor says what its instance calls itself: its ``repr``, where its class defines one."""

    text: str


class Loaded(Message, frozen=True, tag=63):
    """A call has loaded modules from files of the user's: their paths, and when each was changed (ns; 0: since)."""

    files: list[tuple[str, int]]


class CellBegan(Message, frozen=True, tag=64):
    """The first call of a notebook cell follows: it runs where no older versions of changed modules are loaded."""


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
    """The sender needs `worker` no more, which was leased to it (`Route`); or is that worker itself (`Shut`)."""

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
    """The sender could not write `segment`, for which there was room, or has written it and named it to nobody.

    It may have named it after all: then this means nothing.
    """

    segment: str


ClientMessage = Union[  # noqa: UP007 - one name a line reads better
    Hello,
    Bind,
    Join,
    Export,
    Submit,
    CreateActor,
    Get,
    Wait,
    AwaitRoom,
    AwaitRead,
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
    Span,
    Shutdown,
    Consumed,
    CreateGroup,
    RemoveGroup,
    GroupReady,
    AwaitSpace,
    Leave,
    Interrupted,
    Named,
    Loaded,
    CellBegan,
    Lost,
    Ran,
    Report,
    Unlease,
    Claimed,
    Unwritten,
    Seen,
    SearchPath,
]
