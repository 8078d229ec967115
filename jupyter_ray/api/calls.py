"""``get``, ``put``, ``cancel``, ``kill``, ``get_actor``: checks of what the user gave, then the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

from jupyter_ray.api.handles import ActorHandle, weak_handle
from jupyter_ray.api.mistakes import checked_timeout, hint, warn_if_in_event_loop
from jupyter_ray.engine import registry
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.sites import readable
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.ids import return_id

T = TypeVar("T")


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
        timeout = None if timeout == -1 else checked_timeout(timeout)  # -1 means for ever, as in Ray.
    engine = registry.current() or registry.required()
    if timeout != 0:
        warn_if_in_event_loop("get", "`await` the reference, or asyncio.gather for several")
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
        For how long and where it has been running, or what it waits for: which argument, which resource and who holds
        it, which `get`; followed by why *that* has not finished, and so on to the end of the chain.

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
    return readable((registry.current() or registry.required()).why(counted))


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
