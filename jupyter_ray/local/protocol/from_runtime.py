"""What the runtime says to a client."""

from typing import Any, Literal, Union

from jupyter_ray.events import AnyEvent
from jupyter_ray.local.protocol.calls import ActorSpec, Message, Payload, SearchPath


class Reply(Message, frozen=True, tag=40):
    """The answer to `Get`, `Wait`, `AwaitRoom` or `AwaitRead`.

    `ready` are the ids that are ready; for `Get`, `values` stand beside them. `complete` is False when the time was
    up. `refused` tells that it would never have been answered: one of `values` says why, and is no object's value.
    `at_hand` are small values of what a `Wait` found ready, which a program mostly gets next.
    """

    request: int
    ready: list[bytes] = []
    values: list[Payload] = []
    complete: bool = True
    refused: bool = False
    at_hand: tuple[tuple[bytes, Payload], ...] = ()


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
    values: tuple[Payload, ...]
    num_returns: int
    functions: list[Function] = []
    held: dict[str, int] = {}
    devices: dict[str, list[str]] = {}
    parent: bytes | None = None
    cell: str | None = None
    attempt: int = 0
    actor: bytes | None = None
    concurrency_group: str = ""
    contained: tuple[bytes, ...] = ()
    """Counted ids in the arguments, which this worker now holds: those in `body`.

    Those of `values` are in the values.
    """
    retries_left: bool = False
    spec: ActorSpec | None = None
    """For a constructor: the actor to become."""
    restarts: int = 0
    dependencies: tuple[bytes, ...] = ()
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
    """A batch of the log, in order.

    It was sent since the client has `asked` so often for the log from its beginning; `again`: it had happened before.
    """

    events: list[AnyEvent]
    asked: int = 0
    again: bool = False


class StreamState(Message, frozen=True, tag=48):
    """What a stream's holder must know: items up to `items` exist; `ended` tells that there will be no more.

    Each item has a message of its own, which grants it; the end has another one. `value` is that of the item, if it is
    small.
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
    way. Else the worker is leased to the client, for plain tasks with this environment and demand; `version` is the
    newest of `definition`, which a client that was sent the function by others does not know.
    """

    worker: bytes
    actor: bytes | None = None
    after: bytes = b""
    env: str = ""
    demand: dict[str, int] = {}
    definition: str = ""
    version: int = 0


class Unroute(Message, frozen=True, tag=53):
    """Give `worker`, which was leased, back (`Unlease`): others need its resources, or a function has changed."""

    worker: bytes


class Shut(Message, frozen=True, tag=62):
    """To a leased worker, whose client does not give it back: take no more calls at your own socket.

    It tells of the calls that it has, and then says `Unlease` itself.
    """


class Spare(Message, frozen=True, tag=50):
    """To the process that wrote `segment`, which was freed: its file may be written into again."""

    segment: str
    size: int


class Forget(Message, frozen=True, tag=51):
    """To the process that wrote `segments`: their files are not in memory any more."""

    segments: list[str]


class Undefine(Message, frozen=True, tag=65):
    """Nobody can ask for these definitions any more: what is kept of them can go."""

    definitions: list[str]


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
    Undefine,
    Collect,
    Route,
    Unroute,
    Shut,
    SearchPath,
]
