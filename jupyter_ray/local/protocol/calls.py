"""What a call is: its description, its arguments and its values, as messages carry them."""

from typing import Literal

import msgspec

DYNAMIC = -1
STREAMING = -2
RAISED = "task error"
"""The first item of the pickled tuple that carries what a task raised."""
FAILED_ARGUMENT = "At least one of the input arguments for this task could not be computed:"
"""How the traceback of a task begins that did not, since what it was to get had failed."""
EXITED = "Worker exits with an exit code"
"""What is told of a process that ended by itself: the words of Ray's tables."""


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False):
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
    is_cancel
        The exception says that a task was cancelled.
    """

    data: bytes = b""
    buffers: tuple[bytes, ...] = ()
    segment: str = ""
    layout: tuple[int, ...] = ()
    size: int = 0
    is_error: bool = False
    contained: tuple[bytes, ...] = ()
    is_cancel: bool = False


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
    dependencies: tuple[bytes, ...] = ()
    contained: tuple[bytes, ...] = ()
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
    labels: str = ""
    """Label selector and fallback strategy, as JSON, for the tables; "" if there are none."""


class ActorSpec(Message, frozen=True):
    """An actor to make. Its constructor is `creation` (kind ``"actor"``), whose demand it holds while it lives."""

    actor: bytes
    creation: TaskSpec
    class_name: str
    handle: bytes
    placement: dict[str, int] = {}
    """What the machine, or a bundle, must have for the actor to be placed; at least its demand. It need not be free."""
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


class SearchPath(Message, frozen=True, tag=66):
    """A driver's program has changed its `sys.path`. The runtime passes it on to the driver's workers."""

    before: list[str]
    after: list[str]
