"""``get``, ``put``, ``wait``, ``cancel``, ``kill``, ``get_actor``: checks of what the user gave, then the engine."""

from __future__ import annotations

import logging
import operator
import sys
import time
from collections.abc import Sequence
from typing import Any, TypeVar, overload

from jupyter_ray.api.handles import ActorHandle, weak_handle
from jupyter_ray.api.mistakes import hint
from jupyter_ray.engine import registry
from jupyter_ray.engine.base import Engine
from jupyter_ray.engine.context import current_task
from jupyter_ray.engine.refs import ObjectRef, ids_of
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.ids import NIL_OBJECT, return_id
from jupyter_ray.interrupts import shielded

T = TypeVar("T")
Waitable = ObjectRef[Any] | ObjectRefGenerator

_log = logging.getLogger("jupyter_ray")

_FEW = 8
"""So many references are looked for in a list one by one."""
_STREAM_POLL = 0.01
"""Seconds between two looks at a stream in `wait`: its next item has no reference yet that could be waited for."""


@overload
def get(object_refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...
@overload
def get(object_refs: Sequence[ObjectRef[Any]], *, timeout: float | None = None) -> list[Any]: ...


def get(object_refs: Any, *, timeout: float | None = None, _use_object_store: bool = False) -> Any:
    """Wait for values and return them.

    While a task waits here it lends its CPUs, and holds them again before this returns; it keeps its GPUs.

    Parameters
    ----------
    object_refs
        One reference, or a list of them; order and duplicates are kept.
    timeout
        Seconds; 0: what is there now; None: for ever.

    Returns
    -------
    object or list
        The value, or the list of values. Arrays are read-only views of shared memory.

    Raises
    ------
    GetTimeoutError
        The time was up. It is a `TimeoutError` too.
    RayTaskError
        The task raised: this error is also an instance of the error's own class. Other subclasses of `RayError` say
        that the system failed. The first error is raised without waiting for the rest.
    ValueError, TypeError
        This is no reference and no list of references, or one to no object: nil, or made by hand.

    Notes
    -----
    Source: Ray's ``ray.get``.
    """
    if isinstance(object_refs, ObjectRef):
        refs: list[ObjectRef[Any]] = [object_refs]
        single = True
    elif isinstance(object_refs, ObjectRefGenerator):
        return object_refs
    elif isinstance(object_refs, list):
        refs = object_refs
        single = False
        for ref in refs:
            if not isinstance(ref, ObjectRef):
                raise TypeError(
                    f"Attempting to call `get` on the value {ref!r}, which is not an ray.ObjectRef.{hint(ref)}"
                )
    else:
        raise ValueError(
            f"Invalid type of object refs, {type(object_refs)}, is given. 'object_refs' must either be an ObjectRef or "
            f"a list of ObjectRefs.{hint(object_refs)}"
        )
    if timeout is not None:
        timeout = None if timeout == -1 else _checked(timeout)  # -1 means for ever, as in Ray.
    engine = registry.current() or registry.required()
    if timeout != 0:
        _warn_if_in_event_loop("get", "`await` the reference, or asyncio.gather for several")
    values = engine.get(refs, timeout)
    return values[0] if single else values


def put(value: T, *, _owner: Any = None, _tensor_transport: Any = None) -> ObjectRef[T]:
    """Store a snapshot of `value` and return a reference to it.

    Raises
    ------
    TypeError
        `value` is a reference already, or cannot be pickled.
    ObjectStoreFullError
        There is no room for it.
    ValueError
        An `_owner` is named, which Ray took once.

    Notes
    -----
    Source: Ray's ``ray.put``.
    """
    if _owner is not None:
        raise ValueError("put() takes no `_owner` any more. To keep a value alive, let that actor hold its reference.")
    if isinstance(value, ObjectRef):
        raise TypeError(
            "Calling 'put' on an ray.ObjectRef is not allowed. If you really want to do this, you can wrap the "
            "ray.ObjectRef in a list and call 'put' on it."
        )
    engine = registry.current() or registry.required()
    return engine.put(value)


def wait(
    ray_waitables: list[Any], *, num_returns: int = 1, timeout: float | None = None, fetch_local: bool = True
) -> tuple[list[Any], list[Any]]:
    """Wait until some of the references are ready.

    Parameters
    ----------
    ray_waitables
        A list of different references or generators. A failed task counts as ready; a generator is, when its next item
        is there.
    num_returns
        How many to wait for.
    timeout
        Seconds; None: for ever.
    fetch_local
        On one machine: of no effect.

    Returns
    -------
    (list, list)
        Those that are ready, at most `num_returns`, and the rest; each in the order given.

    Raises
    ------
    TypeError
        This is no list of references, or `num_returns` is no int.
    ValueError
        There are duplicates or a nil reference, `num_returns` is below 1 or above their number, or `timeout` is
        negative.

    Notes
    -----
    Source: Ray's ``ray.wait``.
    """
    wanted = "wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator"
    if isinstance(ray_waitables, ObjectRef | ObjectRefGenerator):
        raise TypeError(f"{wanted}, got a single {type(ray_waitables).__name__}.{hint(ray_waitables, 'wait')}")
    if not isinstance(ray_waitables, list):
        raise TypeError(f"{wanted}, got {type(ray_waitables)}.{hint(ray_waitables, 'wait')}")
    if timeout is not None:
        timeout = _checked(timeout)
    ids = _ids_left_over(ray_waitables)
    streams = False
    if ids is None:
        kinds = set(map(type, ray_waitables))
        for kind in kinds:
            if not issubclass(kind, ObjectRef | ObjectRefGenerator):
                raise TypeError(f"{wanted}, got list containing {kind}")
        streams = any(issubclass(kind, ObjectRefGenerator) for kind in kinds)
        ids = [] if streams else ids_of(ray_waitables)
        different = set(ids or ray_waitables)
        if len(different) != len(ray_waitables):
            raise ValueError("Wait requires a list of unique ray_waitables.")
        if NIL_OBJECT in different or (
            streams and any(each.is_nil() for each in ray_waitables if isinstance(each, ObjectRef))
        ):
            raise ValueError("A reference that is nil refers to nothing: it cannot be waited for.")
    engine = registry.current() or registry.required()
    if not ray_waitables:
        return [], []
    try:
        num_returns = operator.index(num_returns)
    except TypeError:
        if not isinstance(num_returns, float):
            raise TypeError(f"num_returns must be an int, got {num_returns!r}.") from None
        if num_returns <= len(ray_waitables):
            num_returns = int(num_returns)  # As in Ray: half of them, for one.
    if num_returns <= 0:
        raise ValueError(f"Invalid number of objects to return {num_returns}.")
    if num_returns > len(ray_waitables):
        raise ValueError("num_returns cannot be greater than the number of ray_waitables provided to ray.wait.")
    if timeout != 0:
        _warn_if_in_event_loop("wait", "`await` asyncio.wait(...)")
    if streams:
        return _wait_with_streams(engine, ray_waitables, num_returns, timeout, fetch_local)
    return _split(ray_waitables, ids, engine.wait(ray_waitables, num_returns, timeout, fetch_local))


_left_over: list[bytes] = []
"""The ids of the rest that the last `wait` returned: with that, most programs wait again."""
_MOST_LEFT_OVER = 20_000


def _ids_left_over(refs: list[Any]) -> list[bytes] | None:
    """Return the ids of `refs` if they are what the last `wait` has left: they need no further look."""
    if len(refs) != len(_left_over) or not refs:
        return None
    try:
        ids = ids_of(refs)
    except AttributeError:
        return None
    return ids if ids == _left_over else None


def _split(refs: list[Any], ids: list[bytes], ready: list[bytes]) -> tuple[list[Any], list[Any]]:
    """Return those of `refs` that are ready, and the rest, each in order. `ids` are theirs, and are used up."""
    global _left_over
    if len(ready) > _FEW:
        _left_over = []
        those = set(ready)
        return [ref for ref in refs if ref.binary() in those], [ref for ref in refs if ref.binary() not in those]
    positions = sorted(map(ids.index, ready))
    rest = refs.copy()
    for position in reversed(positions):
        del rest[position], ids[position]
    _left_over = ids if len(ids) <= _MOST_LEFT_OVER else []
    return [refs[position] for position in positions], rest


def _wait_with_streams(
    engine: Engine, items: list[Waitable], count: int, timeout: float | None, fetch_local: bool
) -> tuple[list[Waitable], list[Waitable]]:
    end = None if timeout is None else time.monotonic() + timeout
    refs = [item for item in items if isinstance(item, ObjectRef)]
    pause = 0.001
    while True:
        done = set(engine.wait(refs, len(refs), 0, fetch_local)) if refs else set()
        ready: list[Waitable] = []
        for item in items:
            is_ready = item.binary() in done if isinstance(item, ObjectRef) else _would_return(item)
            if is_ready and len(ready) < count:
                ready.append(item)
        left = None if end is None else end - time.monotonic()
        if len(ready) >= count or (left is not None and left <= 0):
            return ready, [item for item in items if item not in ready]
        # Blocking in the engine lends this task's CPUs meanwhile, which a sleep would not.
        awaited = [ref for ref in refs if ref.binary() not in done]
        streams = [item for item in items if isinstance(item, ObjectRefGenerator)]
        awaited += [stream.completed() for stream in streams if not _would_return(stream)]
        pause = min(pause * 2, _STREAM_POLL)
        engine.wait(awaited, 1, pause if left is None else min(pause, left), fetch_local)


def _would_return(stream: ObjectRefGenerator) -> bool:
    """Tell whether `next` would return at once, or end the iteration."""
    return stream.next_ready() or stream.is_finished()


def cancel(ray_waitable: Any, *, force: bool = False, recursive: bool = True) -> None:
    """Cancel a task: one that has not begun never runs, a running one is interrupted; `get` raises.

    Parameters
    ----------
    ray_waitable
        A reference to a return value, or the generator, of the task.
    force
        Kill the process that runs the task.
    recursive
        Cancel the tasks that it started too.

    Raises
    ------
    TypeError
        This is no reference, or one to an object that does not exist in this session.
    ValueError
        `force` on the call of an actor's method: use `kill`.

    Notes
    -----
    Source: Ray's ``ray.cancel``. A task that has ended is left alone, and so is what `put` stored.
    """
    engine = registry.current() or registry.required()
    if isinstance(ray_waitable, ObjectRefGenerator):
        object_id = return_id(ray_waitable.task_id().binary(), 1)
    elif isinstance(ray_waitable, ObjectRef):
        object_id = ray_waitable.binary()
    else:
        kind = type(ray_waitable)
        raise TypeError(f"ray.cancel() only supported for object refs. For actors, try ray.kill(). Got: {kind}.")
    engine.cancel(object_id, force=bool(force), recursive=bool(recursive))


def why(ref_or_actor: Any) -> str:
    """Say in plain sentences why a task has not finished, or what an actor is doing.

    Parameters
    ----------
    ref_or_actor
        A reference, a generator, or an actor's handle.

    Returns
    -------
    str
        Since when and where it runs, or what it waits for: which argument, which resource and who holds it, which
        `get`; followed by why *that* has not finished, and so on to the end of the chain.

    Raises
    ------
    TypeError
        This is neither a reference nor a handle.
    """
    if isinstance(ref_or_actor, ObjectRefGenerator):
        counted = return_id(ref_or_actor.task_id().binary(), 1)
    elif isinstance(ref_or_actor, ObjectRef):
        counted = ref_or_actor.binary()
    elif isinstance(ref_or_actor, ActorHandle):
        counted = ref_or_actor._ray_ref.binary()
    else:
        raise TypeError(f"why() explains an ObjectRef or an actor's handle, not {type(ref_or_actor).__name__}.")
    return (registry.current() or registry.required()).why(counted)


def kill(actor: Any, *, no_restart: bool = True) -> None:
    """End an actor at once, without its exit handlers. Calls in flight and later ones raise `RayActorError`.

    Parameters
    ----------
    actor
        A handle.
    no_restart
        False: a crash, after which `max_restarts` applies.

    Raises
    ------
    ValueError
        This is no handle.

    Notes
    -----
    Source: Ray's ``ray.kill``.
    """
    engine = registry.current() or registry.required()
    if not isinstance(actor, ActorHandle):
        raise ValueError(f"ray.kill() only supported for actors. For tasks, try ray.cancel(). Got: {type(actor)}.")
    engine.kill(actor._ray_ref, no_restart=bool(no_restart))


def get_actor(name: str, namespace: str | None = None) -> ActorHandle[Any]:
    """Find a living actor by its name.

    Parameters
    ----------
    name
        As in the actor's options.
    namespace
        None: that of the session.

    Returns
    -------
    ActorHandle
        A weak one: it does not keep the actor alive.

    Raises
    ------
    ValueError
        There is none, or the name is empty.
    TypeError
        The name is not a string.

    Notes
    -----
    Source: Ray's ``ray.get_actor``.
    """
    if not name:
        raise ValueError("Please supply a non-empty value to get_actor")
    if not isinstance(name, str):
        raise TypeError(f"The name of an actor is a string, got {type(name)}.")
    if namespace is not None and not isinstance(namespace, str):
        raise TypeError(f"namespace must be None or a string, got {type(namespace)}.")
    if namespace == "":
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
    found = (registry.current() or registry.required()).get_actor(name, namespace)
    if found is None:
        raise ValueError(
            f"Failed to look up actor with name '{name}'. It may never have been made under this name, may have died, "
            "or may live in another namespace: pass namespace=..., or the same namespace to init()."
        )
    return weak_handle(found.actor, found.handle)


def _checked(timeout: float) -> float:
    try:
        possible = timeout >= 0
    except TypeError as error:
        raise TypeError(f"The 'timeout' argument must be a number of seconds, or None, got {timeout!r}.") from error
    if not possible:
        raise ValueError(f"The 'timeout' argument must be nonnegative. Received {timeout}")
    return timeout


_warned: set[str] = set()


def _warn_if_in_event_loop(what: str, instead: str) -> None:
    """Warn, once, about blocking the event loop of an async actor (a notebook's own loop idles anyway)."""
    task = current_task()
    if task is None or task.actor is None or what in _warned or "asyncio" not in sys.modules:
        return
    import asyncio

    if asyncio._get_running_loop() is not None:
        _warned.add(what)
        if getattr(sys.modules.get("jupyter_ray._private.worker"), "blocking_get_inside_async_warned", False):
            return  # Who knows it says so: Daft, for one.
        with shielded():
            _log.warning(
                "Using blocking ray.%s inside an async actor. This blocks its event loop, and so all its calls. "
                "Please %s.",
                what,
                instead,
            )
