"""Ray's errors as those of `jupyter_ray.exceptions`, and what a task raised on its way there.

In the worker, `raised` makes of a user's exception the error that `get` will raise: a `RayTaskError` that is an
instance of the exception's own class too, with the user's frames only. Ray wraps that once more; `translated` takes it
out again. Whoever reads the reference with Ray itself gets an error that is an instance of the user's class as well.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Sequence
from typing import Any, cast

import ray

from jupyter_ray import exceptions as ours
from jupyter_ray.exceptions import RayError, RayTaskError, UnserializableException
from jupyter_ray.ids import TaskID
from jupyter_ray.local.serialization.errors import format_remote, one_line, unserializable
from jupyter_ray.portable_errors import without_what_does_not_pickle

_CHAIN = 20
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]*)", line \d+, in ')
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_MADE = re.compile(
    r"(?:ray::)?(?P<function>[^\n]+?)\(\)(?:\x1b\[39m)? \(pid=(?P<pid>\d+), ip=(?P<ip>[^,)]*)"
    r"(?:, actor_id=(?P<actor>[^)]*))?"
)
"""How Ray begins the text of a task's error."""

_FAILED_ARGUMENT = "At least one of the input arguments for this task could not be computed:"
_LONG = 10_000
"""Characters of a chain of failed arguments past which its text grows no more."""

ended: dict[str, str] = {}
"""The tasks and actors that were ended since their placement groups were removed; their groups."""

_INTERNAL = ("ray/_raylet.pyx", "ray/_private/", "ray/actor.py", "ray/util/tracing", _OURS)


def raised(error: BaseException, function: str, ip: str, actor: str | None, hint: str = "") -> BaseException:
    """Return what a task raises in the place of the user's `error`.

    Parameters
    ----------
    error
        The exception.
    function
        The task's name.
    ip
        The machine.
    actor
        For a method: id and ``repr`` of the instance.
    hint
        What to add to the text: the remedy.
    """
    text = format_remote(error) + hint
    cause = error.cause if isinstance(error, RayTaskError) and error.cause is not None else error
    whole = RayTaskError(function, text, cause, pid=os.getpid(), ip=ip, actor=actor)
    whole._chain = _chain_of(cause)
    found = whole.as_instanceof_cause()
    try:
        dumped = ray.cloudpickle.dumps(found)
    except Exception as broken:  # The exception holds something that cannot travel: the rest does, or its text.
        try:
            whole.cause = without_what_does_not_pickle(cause, ray.cloudpickle.dumps)
            found = whole.as_instanceof_cause()
            dumped = ray.cloudpickle.dumps(found)
        except Exception:
            said = unserializable(cause, broken, text)
            return RayTaskError(function, text, said, pid=os.getpid(), ip=ip, actor=actor)
    try:
        pickle.loads(dumped)
    except Exception as broken:
        return UnserializableException(
            f"{whole}\n\n(The exception's own class could not be rebuilt: {one_line(broken)}. "
            "Give it a __reduce__, or pass all arguments of its __init__ to super().__init__.)"
        )
    found.__cause__ = None  # Ray would print it once more.
    return found


def _chain_of(error: BaseException) -> tuple[BaseException, ...]:
    chain: list[BaseException] = []
    each = error.__cause__
    while each is not None and len(chain) < _CHAIN:
        try:
            pickle.loads(ray.cloudpickle.dumps(each))
        except Exception:
            break
        chain.append(each)
        each = each.__cause__
    return tuple(chain)


def translated(error: BaseException, refs: Sequence[Any] = ()) -> BaseException:
    """Return one of Ray's errors as one of ours; anything else is returned as it is.

    Parameters
    ----------
    error
        The error.
    refs
        What was asked for: Ray does not always say whose error it is.
    """
    native = ray.exceptions
    if not isinstance(error, native.RayError):
        return error
    if isinstance(error, native.RayTaskError):
        return _of_task(error)
    if isinstance(error, native.TaskCancelledError):
        return _of_cancelled(error, refs)
    if isinstance(error, native.RayActorError):
        return _of_actor(error)
    known: Any = getattr(ours, type(error).__name__, None)
    if not (isinstance(known, type) and issubclass(known, RayError)):
        known = next(found for kind in type(error).__mro__ if (found := getattr(ours, kind.__name__, None)))
    if issubclass(known, ours.ObjectLostError):
        lost = known(error.object_ref_hex, owner_address=error.owner_address, call_site=error.call_site)
        if issubclass(known, ours.ObjectReconstructionFailedError):
            lost.reason, lost.reason_message = error.reason, error.reason_message
        return cast(RayError, lost.saying(str(error)))
    if known is UnserializableException:
        return UnserializableException(getattr(error, "_original_stack_trace", str(error)))
    if issubclass(known, ours.RaySystemError):  # Its text says so itself.
        return cast(RayError, known(error.client_exc, error.traceback_str))
    text = str(error)
    return cast(RayError, known(getattr(error, "error_message", text)).saying(text))


def _of_cancelled(error: Any, refs: Sequence[Any]) -> RayError:
    task = None if error.task_id is None else error.task_id.hex()
    if ended and task is None:
        task = next((found for ref in refs if (found := ref.task_id().hex()) in ended), None)
    if task in ended:
        return ours.TaskPlacementGroupRemoved(
            f"The placement group {ended[task]} of the task {task} was removed before it was made."
        )
    return ours.TaskCancelledError(TaskID.from_hex(task) if task else None, error.error_message)


def _of_actor(error: Any) -> RayError:
    if error.actor_id in ended:
        return ours.ActorPlacementGroupRemoved(
            f"The placement group {ended[error.actor_id]} of the actor {error.actor_id} was removed before it was made."
        )
    text = _actor_text(error)
    if isinstance(error, ray.exceptions.ActorUnavailableError):
        if "exit_actor()" not in text:
            return ours.ActorUnavailableError(text, error.actor_id).saying(text)
        text = f"The actor {error.actor_id} is dead: it left by exit_actor(). {text}"  # It will never be available.
    elif not isinstance(error, ray.exceptions.ActorDiedError):
        return ours.RayActorError(error.actor_id, text, error.actor_init_failed, error.preempted)
    return ours.ActorDiedError(text, error.actor_id, error.actor_init_failed)


def _of_task(error: Any) -> BaseException:
    text = _COLOUR.sub("", str(error))
    cause = error.cause
    while isinstance(cause, ray.exceptions.RayTaskError):
        cause = cause.cause
    if isinstance(cause, RayError):
        # Of the tasks that had it as an argument's value, Ray keeps the text only.
        return _passed_on([_head(part) for part in text.split(_FAILED_ARGUMENT)[:-1]], cause)
    if isinstance(cause, ray.exceptions.RayError):
        cause = translated(cause)
    head, _, rest = user_frames(text).partition("\n")
    told = f"Traceback (most recent call last):\n{rest}" if _MADE.match(head) else f"{head}\n{rest}"
    return _whole(_MADE.search(text), told, cause).as_instanceof_cause()


def _head(text: str) -> re.Match[str] | None:
    """Return where `text` last names a task."""
    return _MADE.search(text, max(text.rfind("ray::"), 0))


def _passed_on(heads: list[re.Match[str] | None], error: RayError) -> BaseException:
    """Return what tasks that had `error` as an argument's value give: their own errors of the same cause."""
    cause = error.cause if isinstance(error, RayTaskError) and error.cause is not None else error
    for head in reversed(heads):
        kind = RayTaskError if isinstance(error, RayTaskError) else type(error)
        text = f"  {_FAILED_ARGUMENT}\n{kind.__module__}.{kind.__name__}: {error}"
        if len(text) > _LONG:
            break
        error = _whole(head, f"Traceback (most recent call last):\n{text}", cause)
    return error.as_instanceof_cause() if isinstance(error, RayTaskError) else error


def _whole(made: re.Match[str] | None, text: str, cause: BaseException | None) -> RayTaskError:
    """Return the error of the task that `made` names."""
    return RayTaskError(
        made["function"] if made else "task",
        text,
        cause,
        pid=int(made["pid"]) if made else 0,
        ip=made["ip"] if made else "?",
        actor=made["actor"] if made else None,
    )


def _actor_text(error: Any) -> str:
    text = str(error)
    if "User requested to exit the actor" in text and "exit_actor()" not in text:  # Ray has two texts for that.
        text += " It left by exit_actor()."
    return user_frames(text) if error.actor_init_failed else text


def user_frames(text: str) -> str:
    """Return a traceback without the frames of Ray's and of this package's machinery."""
    text = _COLOUR.sub("", text)
    kept: list[str] = []
    hidden = False
    for line in text.splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            hidden = any(part in frame["file"] for part in _INTERNAL)
        elif hidden and not line.startswith("    "):
            hidden = False
        if not hidden:
            kept.append(line)
    return "\n".join(kept)
