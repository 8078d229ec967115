"""A task's exception on its way to whoever calls `get`.

It arrives as a `RayTaskError` with the remote traceback as text, and with the exception itself as cause. The cause is
a pickle inside the pickle: where its class cannot be rebuilt, the rest still arrives, as an `UnserializableException`
with the text.
"""

from __future__ import annotations

import os
import pickle
import traceback
from types import TracebackType
from typing import Any

import cloudpickle

from jupyter_ray.exceptions import RayError, RayTaskError, UnserializableException
from jupyter_ray.local.protocol.messages import FAILED_ARGUMENT, RAISED
from jupyter_ray.local.serialization import values
from jupyter_ray.local.serialization.values import Serialized, SerializedError
from jupyter_ray.portable_errors import portable, without_what_does_not_pickle

_NOT_THE_USERS = (
    os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), ""),
    os.path.join(os.path.dirname(cloudpickle.__file__), ""),
)
"""Where the files are whose frames tell a user nothing."""

_TOLD = 4_000
"""So many characters of a traceback are remembered in the state of a task: of a longer one both ends."""


def format_remote(error: BaseException) -> str:
    """Return the traceback of `error` as text, with the user's frames only."""
    summary = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
    _keep_user_frames(summary, error)
    return "".join(summary.format())


def _keep_user_frames(summary: traceback.TracebackException, error: BaseException) -> None:
    seen: set[int] = set()
    queue: list[tuple[traceback.TracebackException | None, BaseException | None]] = [(summary, error)]
    while queue:
        each, of = queue.pop()
        if each is None or of is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.stack[:] = [frame for frame in each.stack if not frame.filename.startswith(_NOT_THE_USERS)]
        if isinstance(of, RayTaskError):
            each.__cause__ = each.__context__ = None  # Its text tells of them.
        queue += [(each.__cause__, of.__cause__), (each.__context__, of.__context__)]
        queue += zip(getattr(each, "exceptions", None) or (), getattr(of, "exceptions", ()), strict=False)
        cause = of.__cause__
        if cause is not None and cause.__cause__ is None and str(cause) in str(of) and not _has_user_frames(cause):
            each.__cause__ = None  # Only what the pickler said, which the error quotes.


def _has_user_frames(error: BaseException) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(not frame.f_code.co_filename.startswith(_NOT_THE_USERS) for frame, _ in frames)


def one_line(error: BaseException) -> str:
    """Return `error` in one line; of one that has come through other tasks, what was raised first."""
    if isinstance(error, RayTaskError) and error.cause is not None:
        error = error.cause
    lines = traceback.format_exception_only(type(error), error)
    return lines[-1].strip()[:300] if lines else type(error).__name__


def for_the_runtime(error: BaseException, text: str) -> str:
    """Return what the runtime is told of an error: its one line, and below it its traceback, `text`."""
    if len(text) > _TOLD:
        text = f"{text[: _TOLD // 2]} … {text[-_TOLD // 2 :]}"
    told = f"{one_line(error)}\n{text}"
    return told.encode(errors="replace").decode()  # It may hold what is no text, such as a file's name.


def dump_error(
    error: BaseException, function: str, actor: str | None = None, hint: str = "", *, text: str = ""
) -> Serialized:
    """Return what a task raised as a value that raises it at `get`.

    Parameters
    ----------
    error
        The exception.
    function
        The task's name.
    actor
        For a method: class, id and ``repr`` of the instance.
    hint
        What to add to the text: the remedy.
    text
        The traceback, if it is known.
    """
    text = (text or format_remote(error)) + hint
    cause = error.cause if isinstance(error, RayTaskError) and error.cause is not None else error
    pickled = _dump_cause(cause, text)
    state = (function, text, pickled.data, os.getpid(), actor)
    return SerializedError(pickle.dumps((RAISED, *state), values.PROTOCOL), [], pickled.contained, pickled.definitions)


def _dump_cause(cause: BaseException, text: str) -> Serialized:
    """Return the pickled cause, without what does not pickle of it; one that does not come back is still sent."""
    try:
        return values.code_dumps(_stripped(cause))
    except Exception as error:
        try:
            return values.code_dumps(_stripped(without_what_does_not_pickle(cause, values.code_dumps)))
        except Exception:
            return values.code_dumps(unserializable(cause, error, text))


def unserializable(cause: BaseException, error: BaseException, text: str) -> RayError:
    """Return what stands for the exception `cause`, which does not pickle because of `error`."""
    kind = f"{type(cause).__module__}.{type(cause).__qualname__}"
    return RayError(f"The exception {kind} isn't serializable: {one_line(error)}\nIts traceback:\n{text}")


class _stripped:
    """Pickles as the exception with its chain of causes, which plain pickling drops."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        error, cause = self.error, self.error.__cause__
        itself = portable(error)
        if cause is None or cause is error:
            return _same, (itself,)
        try:
            values.loads(values.code_dumps(_stripped(cause)).data)  # It must not take the error with it.
        except Exception:
            return _same, (itself,)
        return _chained, (itself, _stripped(cause))


def _same(error: BaseException) -> BaseException:
    return error


def _chained(error: BaseException, cause: BaseException) -> BaseException:
    BaseException.__setattr__(error, "__cause__", cause)  # A frozen dataclass refuses to be told so.
    return error


def load_error(data: values.Buffer, buffers: Any = ()) -> BaseException:
    """Return the exception to raise for an error value: a dual one where that can be.

    Never fails: what cannot be rebuilt becomes an `UnserializableException` with the text.
    """
    try:
        loaded = values.loads(data, buffers)
    except Exception as error:
        return UnserializableException(f"An error came that cannot be unpickled here: {one_line(error)}")
    if isinstance(loaded, BaseException):
        return loaded.as_instanceof_cause() if isinstance(loaded, RayTaskError) else loaded
    if not (isinstance(loaded, tuple) and loaded and loaded[0] == RAISED):
        return RayError(f"A value came as an error that is none: {type(loaded).__name__}")
    _, function, text, pickled, pid, actor = loaded
    if pickled is None:
        return RayTaskError(function, text, None, pid=pid, actor=actor)
    try:
        cause = values.loads(pickled)
        if not isinstance(cause, BaseException):
            raise TypeError(f"it unpickled as a {type(cause).__name__}")
    except Exception as error:
        whole = RayTaskError(function, text, None, pid=pid, actor=actor)
        hint = (
            f"\n\n(The exception's own class could not be rebuilt: {one_line(error)}. "
            "Give it a __reduce__, or pass all arguments of its __init__ to super().__init__.)"
        )
        cause = UnserializableException(f"{whole}{hint}")
        if FAILED_ARGUMENT not in text[: 2 * len(FAILED_ARGUMENT)]:
            return cause
        text = f"{text.rstrip()}{hint}"  # Of a task that was to get it, which failed like any other (as in Ray).
    return RayTaskError(function, text, cause, pid=pid, actor=actor).as_instanceof_cause()


def without_traceback(error: BaseException) -> BaseException:
    """Drop the frames that an exception keeps alive, and with them the task's variables."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        trace: TracebackType | None = each.__traceback__
        if trace is not None:
            BaseException.__setattr__(each, "__traceback__", None)  # Its class may refuse (frozen dataclasses do).
        each = each.__context__
    return error
