"""The port: what an engine offers to the API above it.

The local engine and the Ray engine implement `Engine`, and pass the same contract suite (``tests/contract``). The API
layer turns Ray's call syntax into these calls; it validates options and signatures, so an engine may trust them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from jupyter_ray.engine.context import ProcessContext
from jupyter_ray.engine.refs import ActorRef, DefinitionRef, ObjectRef
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.events import AnyEvent
from jupyter_ray.options import ActorOptions, MethodOptions, TaskOptions


class NoOwnerError(TypeError):
    """Nobody holds such an object, and nothing is known that makes it. A `TypeError`, as in Ray."""


class Definition(msgspec.Struct, eq=False):
    """A remote function or class, as its decorator saw it.

    Attributes
    ----------
    value
        The function or class; None in a process that got the definition by its id.
    name
        Its qualified name.
    id
        Names the definition everywhere. Redefining (running the cell again) makes a new one.
    is_class
        Whether it is an actor's class.
    shipped
        What the engine knows of it that has shipped it: that goes when the definition does.
    held
        The engine's reference to it: while that lives, whoever gets the definition's id can have its code.
    """

    value: Any
    name: str
    module: str = ""
    is_class: bool = False
    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    shipped: Any = None
    held: DefinitionRef | None = None


class NamedActor(msgspec.Struct, frozen=True, kw_only=True):
    """What `get_actor` finds. `handle` is what the API layer stored with the actor when it made it."""

    actor: bytes
    handle: bytes


class InitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `init` was asked for. None means: detect."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: dict[str, float] | None = None
    memory: float | None = None
    object_store_memory: int | None = None
    namespace: str | None = None
    runtime_env: dict[str, Any] | None = None
    log_to_driver: bool = True
    logging: str | None = None
    """What `log_format.dump` returned."""
    spill_directories: list[str] = []
    """Where values go that have no room in memory, by turns; empty: to the session's folder."""
    disk_share: float = 1.0
    """Of a disk, no more than this share is filled with them."""
    temp_dir: str | None = None
    """Where the session's folder is made; None: where temporary files are."""
    spills: bool = True
    """Values in memory may be moved to disk; else only new ones go there, where they have no room."""
    memory_share: float = 0.95
    """A worker is ended when more than this share of the machine's memory is in use (Ray's figure); 0: never."""
    memory_retries: int = -1
    """How often a task that was ended for want of memory is tried again at most; negative: as often as any."""
    farewell_seconds: float = 30.0
    """So long may the process of an actor take to leave, its ``__ray_shutdown__`` included (Ray's figure); 0: ever."""
    garbage_seconds: float = 0.0
    """All processes collect garbage every so many seconds; 0: where memory is short."""
    task_limit: int = -1
    """Of so many tasks the state API tells at most; negative: of all that are known."""
    detached_actors: bool = False
    """Actors that do not say are detached."""
    metadata: dict[str, str] = {}
    code_folders: list[str] = []
    """Whose modules workers can import too."""
    labels: dict[str, str] = {}
    node_name: str = ""


EventListener = Callable[[list[AnyEvent]], None]


class Engine(Protocol):
    """One running session, seen from one process (a driver, or a worker)."""

    name: str
    process: ProcessContext

    @property
    def address(self) -> str:
        """Where the session answers: what `init` and the state API take."""
        ...

    def submit(
        self, definition: Definition, args: Sequence[Any], kwargs: dict[str, Any], options: TaskOptions
    ) -> list[ObjectRef[Any]] | ObjectRefGenerator:
        """Start a task; return one reference per return value, or a generator where `num_returns` is ``"streaming"``.

        Raises
        ------
        TypeError
            An argument cannot be pickled; the message names it.
        TaskUnschedulableError
            The machine can never meet the demand.
        """

    def create_actor(
        self,
        definition: Definition,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        options: ActorOptions,
        *,
        is_async: bool,
        handle: bytes,
    ) -> tuple[ActorRef, bool]:
        """Start an actor. `handle` is stored for `get_actor`.

        Returns
        -------
        (ActorRef, bool)
            The reference, and whether the actor is new (False: `get_if_exists` found one).

        Raises
        ------
        ActorAlreadyExistsError
            The name is taken (a ValueError).
        """

    def call(
        self, actor: ActorRef, method: str, args: Sequence[Any], kwargs: dict[str, Any], options: MethodOptions
    ) -> list[ObjectRef[Any]] | ObjectRefGenerator:
        """Call a method; as `submit`. `options` are complete: the actor's defaults are merged in."""

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Return the values in the order of `refs`; raise the first error that comes.

        Raises
        ------
        GetTimeoutError
            `timeout` seconds went by; 0 means now.
        """

    def put(self, value: Any) -> ObjectRef[Any]:
        """Store a snapshot of `value`."""

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> list[bytes]:
        """Wait until `num_returns` of `refs` are ready or `timeout` went by; return the ids of ready ones.

        At most `num_returns`.
        """

    def cancel(self, object_id: bytes, *, force: bool, recursive: bool) -> None:
        """Cancel the task that makes the object; nothing if it has ended, or if `put` made the object.

        NoOwnerError: there is no such object. ValueError: force on an actor's call.
        """

    def kill(self, actor: ActorRef, *, no_restart: bool) -> None:
        """End an actor at once."""

    def get_actor(self, name: str, namespace: str | None) -> NamedActor | None:
        """Find a living actor by its name; None if there is none."""

    def list_named_actors(self, all_namespaces: bool) -> list[tuple[str, str]]:
        """Return (namespace, name) of the living named actors."""

    def create_placement_group(
        self,
        bundles: list[dict[str, float]],
        strategy: str,
        name: str,
        *,
        detached: bool,
        labels: list[dict[str, str]] | None,
        alike: str,
    ) -> str:
        """Ask for a placement group of `bundles`, in amounts; return its id (hex) at once.

        `labels` has a selector for each bundle, of the machine that it is put on. `alike` is a label that those
        machines have, all with the same value.
        """

    def placement_group_ready(self, group: str, value: Any) -> ObjectRef[Any]:
        """Return a reference to `value` that is ready when the group is reserved, and raises when it is removed."""

    def remove_placement_group(self, group: str) -> None:
        """Give a placement group back, with all that runs in it; idempotent."""

    def placement_groups(self) -> list[dict[str, Any]]:
        """Return a row for each placement group, with Ray's keys."""

    def total_resources(self) -> dict[str, float]:
        """Return all resources, in amounts."""

    def available_resources(self) -> dict[str, float]:
        """Return what is free; a fully used resource is absent, as in Ray."""

    def nodes(self) -> list[dict[str, Any]]:
        """Return one row per machine, with Ray's keys."""

    def jobs(self) -> list[dict[str, Any]]:
        """Return a row for each driver's job that is known: our own at least.

        Its keys: ``job_id`` (hex), ``entrypoint``, ``runtime_env``, ``metadata``, ``pid`` (0: not known), ``started``
        and ``ended`` in Unix seconds (0: not yet).
        """

    def is_cancelled(self, task: bytes) -> bool:
        """Tell whether a cancel was asked for the running task."""

    def subscribe(
        self, listener: EventListener, *, logs_only: bool = False, condensed: bool = False
    ) -> Callable[[], None]:
        """Send every event from the beginning of the log to `listener`, from a thread of the engine.

        With `logs_only`, what tasks print is enough; with `condensed`, bursts of quick calls may be told by their
        number (`TasksRan`). Return the undo.
        """

    def flush_events(self) -> None:
        """Return when the listeners have had every event of what happened before this call."""

    def why(self, counted: bytes) -> str:
        """Explain in plain sentences why an object is not ready, or what an actor is doing."""

    def definition(self, key: str) -> Any:
        """Return a function or class that was shipped, by its definition's id; None if it is not known."""

    def table(
        self, what: str, *, limit: int, filters: Sequence[tuple[str, str, Any]] = (), id: str | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return rows of ``"tasks"``, ``"actors"``, ``"objects"`` or ``"workers"``, with Ray's columns.

        Parameters
        ----------
        what
            The table.
        limit
            At most so many rows.
        filters
            ``(column, "=" or "!=", value)``, which must all hold; values compare as text, without regard to case.
        id
            Only the row with this id (hex).

        Returns
        -------
        (list of dict, bool)
            The rows, and whether there are more.
        """

    def summary(self, what: str, by: Sequence[str]) -> list[tuple[list[str], int, int]]:
        """Return, for all rows of a table that agree in the columns `by`: their values, number, and size in bytes."""

    def locations(self, refs: Sequence[ObjectRef[Any]]) -> list[tuple[list[str], int | None, bool]]:
        """Return of each object the nodes (hex) that have it, its size in bytes, and whether it is on disk.

        Of one that is not there yet: no node, and None.
        """

    def reference_counts(self) -> dict[bytes, tuple[int, int]]:
        """Return of each object (its id) how many references this process has, and how many of its calls name it.

        Those are calls that have not ended.
        """

    def pairs(self, operation: str, key: bytes, *, space: bytes, value: bytes = b"", flag: bool = False) -> Any:
        """Get, put or delete what is kept under a key of a name space, for all processes of the session.

        Parameters
        ----------
        operation
            ``"get"`` (the value or None), ``"list"`` (the keys that begin with `key`), ``"put"`` (whether a value was
            there; it is replaced with `flag`), ``"delete"`` (how many there were; with `flag` of all such keys).
        """

    def note_span(self, name: str, since: float, until: float, extra: dict[str, str]) -> None:
        """Have `timeline` show a span of time that the program has named, in Unix seconds; nothing if all is over."""

    def collect_garbage(self) -> None:
        """Have all processes of the session collect garbage soon."""

    def statistics(self) -> dict[str, Any]:
        """Return counts of the session: tasks, actors, objects, workers, bytes."""

    def shutdown(self) -> None:
        """End the session and all its processes; idempotent."""

    @property
    def alive(self) -> bool:
        """Whether the session can still be used."""
