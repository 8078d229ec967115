"""The errors that users meet. Names and inheritance are Ray's (``ray.exceptions``, 2.60).

An error raised in a task arrives as an instance of `RayTaskError` *and* of its own class: see
`RayTaskError.as_instanceof_cause`. Each message says what happened, who is at fault, and what to do.
"""

from __future__ import annotations

import contextlib
import logging
import re
import types
from typing import Any

_LOGGER = logging.getLogger(__name__)


class RayError(Exception):
    """The base of all errors of this package."""

    @property
    def error_message(self) -> str:
        """The message, under the name that Ray gives it."""
        return str(self)


_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):$", re.MULTILINE)


class RayTaskError(RayError):
    """A task raised an error.

    Parameters
    ----------
    function_name
        The task's name.
    traceback_str
        The remote traceback, as text.
    cause
        The error that the task raised; a plain `RayError` that says why, if it could not be pickled.
    proctitle
        The title of the worker's process.
    pid, ip
        The worker's process and machine.
    actor
        ``Class(id)`` and ``repr`` of the instance, for methods.
    """

    def __init__(
        self,
        function_name: str,
        traceback_str: str,
        cause: BaseException | None = None,
        proctitle: str | None = None,
        pid: int = 0,
        ip: str = "127.0.0.1",
        *,
        actor: str | None = None,
    ) -> None:
        if isinstance(cause, RayTaskError):  # The error of another task, passed on: what matters is the first one.
            first: BaseException | None = cause.cause
            cause = first
        Exception.__init__(self, function_name, traceback_str, cause)  # Not the next class of a dual error.
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.proctitle = proctitle or f"ray::{function_name}"
        self.cause: BaseException | None = cause
        self.pid = pid
        self.ip = ip
        self.actor = actor
        self._chain: tuple[BaseException, ...] = ()
        """What the cause was raised from, and so on: pickling an exception drops that, so its sender notes it here."""

    def as_instanceof_cause(self) -> RayTaskError:
        """Return an error that is a `RayTaskError` and an instance of the cause's class; `self` if that cannot be."""
        cause = self.cause
        if cause is None or isinstance(cause, _OF_THE_PROCESS) or isinstance(self, type(cause)):
            return self
        try:
            return self.make_dual_exception_instance()
        except Exception as error:  # A class that cannot be subclassed or made this way: the plain error says it all.
            _LOGGER.warning(
                "%s cannot be subclassed, or not be made again from its arguments (%s). This exception is raised as "
                "RayTaskError only. You can use `ray_task_error.cause` to access the user exception.",
                type(cause).__qualname__,
                error,
            )
            return self

    def make_dual_exception_instance(self) -> RayTaskError:
        """As `as_instanceof_cause`; what the class of the cause raises is passed on."""
        cause = self.cause
        assert cause is not None
        error: RayTaskError = _dual_class(type(cause))(self, cause)
        error.__cause__ = cause.__cause__
        error.__suppress_context__ = True
        return error

    def __str__(self) -> str:
        actor = f", actor_id={self.actor}" if self.actor else ""
        process = f"pid={self.pid}, ip={self.ip}{actor}" if self.pid else "it did not begin"
        where = f"ray::{self.function_name}() ({process})"
        text = self.traceback_str.rstrip()
        named = _TRACEBACK.sub(lambda _: where, text)
        return f"{where}\n{text}" if named == text else named

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_task_error, (
            self.function_name,
            self.traceback_str,
            self.cause,
            self.pid,
            self.ip,
            self.actor,
            self._chain,
        )


def _rebuild_task_error(
    function_name: str,
    traceback_str: str,
    cause: BaseException | None,
    pid: int,
    ip: str,
    actor: str | None,
    chain: tuple[BaseException, ...] = (),
) -> RayTaskError:
    last = cause
    for each in chain:
        if last is not None:
            last.__cause__ = each
        last = each
    error = RayTaskError(function_name, traceback_str, cause, pid=pid, ip=ip, actor=actor)
    error._chain = chain
    return error


_OF_THE_PROCESS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""An interrupt or an exit of the task must not look like one of this process."""

_dual_classes: dict[type[BaseException], type[RayTaskError]] = {}


def _dual_class(kind: type[BaseException]) -> Any:
    """Return the class that is `RayTaskError` and `kind` at once."""
    if kind in _dual_classes:
        return _dual_classes[kind]

    def __new__(cls: Any, *given: BaseException) -> Any:
        cause = given[-1]  # Given alone where Ray itself makes an error that is an instance of this class.
        for args in (cause.args, ()):  # An ExceptionGroup, for one, insists on its arguments.
            with contextlib.suppress(TypeError):
                return kind.__new__(cls, *args)
        return Exception.__new__(cls)  # MemoryError's own gives out objects of one size only.

    def __init__(self: Any, error: RayTaskError, cause: BaseException) -> None:
        RayTaskError.__init__(
            self, error.function_name, error.traceback_str, cause, pid=error.pid, ip=error.ip, actor=error.actor
        )
        self._chain = error._chain
        native: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")
        with contextlib.suppress(Exception):
            native.__init__(self, *cause.args)
        self.args = cause.args  # Handlers read them, as they would of the cause.
        for name, value in vars(cause).items():  # Before a default of its class, which __getattr__ would not pass.
            self.__dict__.setdefault(name, value)
        for name in _native_fields(kind):  # `errno` of an OSError and its like live in C, out of reach of __getattr__.
            with contextlib.suppress(AttributeError, TypeError):
                setattr(self, name, getattr(cause, name))

    def __getattr__(self: Any, name: str) -> Any:
        if name.startswith("__") or name == "cause":
            raise AttributeError(name)
        return getattr(self.cause, name)

    def __reduce__(self: Any) -> tuple[Any, ...]:
        return _rebuild_dual, (RayTaskError.__reduce__(self)[1],)

    body = {
        "__new__": __new__,
        "__init__": __init__,
        "__getattr__": __getattr__,
        "__reduce__": __reduce__,
        "__str__": RayTaskError.__str__,
        "__module__": RayTaskError.__module__,
    }
    name = f"RayTaskError({kind.__name__})"
    dual = type(name, (RayTaskError, kind), {**body, "__qualname__": name})
    _dual_classes[kind] = dual
    return dual


def _native_fields(kind: type[BaseException]) -> list[str]:
    """Return the names of what a built-in exception keeps in C, such as `errno`."""
    native = (types.MemberDescriptorType, types.GetSetDescriptorType)
    return [
        name
        for base in kind.__mro__
        if base not in (BaseException, Exception, object)
        for name, field in vars(base).items()
        if isinstance(field, native) and not name.startswith("__")
    ]


def _rebuild_dual(state: tuple[Any, ...]) -> RayTaskError:
    return _rebuild_task_error(*state).as_instanceof_cause()


class TaskCancelledError(RayError):
    """The task was cancelled."""

    def __init__(self, task: str | None = None, error_message: str | None = None) -> None:
        super().__init__(task, error_message)
        self.task_id = task
        self._message = error_message

    def __str__(self) -> str:
        if self._message:
            return self._message
        return f"Task {self.task_id} was cancelled." if self.task_id else "This task or its actor was cancelled."


class GetTimeoutError(RayError, TimeoutError):
    """`get` waited for longer than its timeout."""


class RaySystemError(RayError):
    """The runtime itself is at fault, or is not running."""


class LocalRayletDiedError(RayError):
    """The runtime process died."""


class NodeDiedError(RayError):
    """A machine was lost."""


class WorkerCrashedError(RayError):
    """The process that ran the task ended."""

    @classmethod
    def because(cls, name: str, reason: str, attempts: int = 1) -> WorkerCrashedError:
        """Return the error of the task `name`."""
        tried = f" It was tried {attempts} times." if attempts > 1 else ""
        return cls(
            f"The worker died unexpectedly while executing this task, {name}: {reason}.{tried} "
            "Look at what the task printed last; max_retries=N lets it be tried again."
        )

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "The worker died unexpectedly while executing this task."


class OutOfMemoryError(RayError):
    """The task's process was ended because memory ran out."""


class RayActorError(RayError):
    """An actor cannot answer: it is dead, or is being restarted.

    Attributes
    ----------
    actor_init_failed
        Whether the constructor raised.
    """

    def __init__(self, message: str = "The actor died.", actor_id: str | None = None, actor_init_failed: bool = False):
        super().__init__(message, actor_id, actor_init_failed)
        self.message = message
        self.actor_id = actor_id
        self.actor_init_failed = actor_init_failed
        self.preempted = False

    @property
    def error_msg(self) -> str:
        """The message, under the name that Ray gives it."""
        return self.message

    def __str__(self) -> str:
        return self.message


class ActorDiedError(RayActorError):
    """The actor is dead for good."""

    @classmethod
    def because(cls, reason: str, label: str, actor: str | None, *, init_failed: bool = False) -> ActorDiedError:
        """Return the error of a call of the dead actor `label` (its class) with the id `actor`.

        `reason` goes on from "The actor is dead because".
        """
        whom = f"{label} ({actor})" if actor else label
        message = f"The actor died before it finished this call: {whom}. The actor is dead because {reason}."
        return cls(message, actor, init_failed)


class ActorUnavailableError(RayActorError):
    """The actor cannot answer now; it is being restarted."""


class ObjectLostError(RayError):
    """A value is gone."""


class ObjectFetchTimedOutError(ObjectLostError):
    """A value could not be fetched in time."""


class OwnerDiedError(ObjectLostError):
    """The process that made the value is gone."""


class ObjectReconstructionFailedError(ObjectLostError):
    """A lost value could not be computed again."""


class ObjectReconstructionFailedMaxAttemptsExceededError(ObjectReconstructionFailedError):
    """A lost value could not be computed again: its task was tried too often."""


class ObjectReconstructionFailedLineageEvictedError(ObjectReconstructionFailedError):
    """A lost value could not be computed again: its task is no longer known."""


class ObjectFreedError(ObjectLostError):
    """The value was freed by hand."""


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """A reference outlived its object."""


class ObjectStoreFullError(RayError):
    """Shared memory is full."""


class OutOfDiskError(ObjectStoreFullError):
    """Shared memory is full, and so is the disk to which values are moved from there."""


class PendingCallsLimitExceeded(RayError):
    """More calls wait than `max_pending_calls` allows."""


class RuntimeEnvSetupError(RayError):
    """A runtime environment could not be set up."""


class TaskUnschedulableError(RayError):
    """This machine can never meet the task's demand."""


class ActorUnschedulableError(RayError):
    """This machine can never meet the actor's demand."""


class ResourceDeadlockError(RayError):
    """A cycle of tasks hold what the others wait for. Ray has no such error: it hangs."""


class TaskPlacementGroupRemoved(RayError):
    """The placement group of the task was removed."""


class ActorPlacementGroupRemoved(RayError):
    """The placement group of the actor was removed."""


class ActorAlreadyExistsError(ValueError, RayError):
    """The name is taken by a living actor."""


class ActorHandleNotFoundError(ValueError, RayError):
    """The handle belongs to no actor of this session."""


class UnserializableException(RayError):
    """The task raised an error that cannot be pickled; the message holds its text."""


class UserCodeException(RayError):
    """User code that the runtime calls raised an error."""


class AsyncioActorExit(RayError):
    """Raised by `exit_actor` inside an async actor."""


class ObjectRefStreamEndOfStreamError(RayError):
    """A stream has no more items."""


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A generator yielded other items when it was run again."""


class PlasmaObjectNotAvailable(RayError):
    """A value was not in shared memory within the time given."""


class OufOfBandObjectRefSerializationException(RayError):
    """A reference was pickled by hand where that is forbidden; the spelling is Ray's."""


# Errors of what is not offered here: other languages, compiled graphs, clusters. Programs name them to catch them.


class CrossLanguageError(RayError):
    """A task of another language raised an error."""


class RpcError(RayError):
    """A connection inside a cluster failed."""


class AuthenticationError(RayError):
    """A cluster refused the client."""


class RayChannelError(RaySystemError):
    """A channel of a compiled graph failed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A channel of a compiled graph was not ready in time."""


class RayCgraphCapacityExceeded(RaySystemError):
    """A compiled graph has too many results that nobody took."""


class RayDirectTransportError(RaySystemError):
    """A tensor could not be moved directly."""
