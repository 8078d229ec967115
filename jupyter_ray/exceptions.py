"""The errors that users meet. Names and inheritance are Ray's (``ray.exceptions``, 2.60).

An error raised in a task arrives as an instance of `RayTaskError` *and* of its own class: see
`RayTaskError.as_instanceof_cause`. Each message says what happened, who is at fault, and what to do.
"""

from __future__ import annotations

from typing import Any

from jupyter_ray.ids import TaskID
from jupyter_ray.task_errors import RayError as RayError
from jupyter_ray.task_errors import RayTaskError as RayTaskError
from jupyter_ray.task_errors import UnserializableException as UnserializableException


class TaskCancelledError(RayError):
    """The task was cancelled."""

    def __init__(self, task_id: TaskID | None = None, error_message: str | None = None) -> None:
        super().__init__(task_id, error_message)
        self.task_id = task_id
        self.error_message = error_message

    def _told(self) -> str:
        which = f"Task: {self.task_id} was cancelled." if self.task_id else ""
        return " ".join(filter(None, (which, self.error_message))) or "This task or its actor was cancelled."


def is_cancel(error: BaseException) -> bool:
    """Tell whether an error says that a task was cancelled: that one, or another that it passed through."""
    return isinstance(error.cause if isinstance(error, RayTaskError) else error, TaskCancelledError)


class GetTimeoutError(RayError, TimeoutError):
    """`get` waited for longer than its timeout."""


class RaySystemError(RayError):
    """The runtime itself is at fault, or is not running: `client_exc` says how, `traceback_str` where, if known."""

    def __init__(self, client_exc: Any = "", traceback_str: str | None = None) -> None:
        super().__init__(*((client_exc,) if traceback_str is None else (client_exc, traceback_str)))
        self.client_exc = client_exc
        self.traceback_str = traceback_str

    def _told(self) -> str:
        where = f"\ntraceback: {self.traceback_str}" if self.traceback_str else ""
        return f"System error: {self.client_exc}{where}"


class LocalRayletDiedError(RayError):
    """The runtime process died."""

    def _told(self) -> str:
        return super()._told() or "The task's local raylet died."


class _Told(RayError):
    """An error that is its `message`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NodeDiedError(_Told):
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

    def _told(self) -> str:
        return super()._told() or "The worker died unexpectedly while executing this task."


class OutOfMemoryError(_Told):
    """The task's process was ended because memory ran out."""


class RayActorError(RayError):
    """An actor cannot answer: it is dead, or is being restarted.

    Parameters
    ----------
    actor_id
        In hexadecimal digits.
    error_msg
        What happened.
    actor_init_failed
        Whether the constructor raised.
    preempted
        Whether its machine was taken away.
    """

    BASE_ERROR_MSG = "The actor experienced an error before finishing this task."

    def __init__(
        self,
        actor_id: str | None = None,
        error_msg: str = BASE_ERROR_MSG,
        actor_init_failed: bool = False,
        preempted: bool = False,
    ) -> None:
        super().__init__(actor_id, error_msg, actor_init_failed, preempted)
        self.actor_id = actor_id
        self.error_msg = error_msg
        self.actor_init_failed = actor_init_failed
        self.preempted = preempted

    def _told(self) -> str:
        return self.error_msg


class ActorDiedError(RayActorError):
    """The actor is dead for good: `cause` says why, as text or as what its constructor raised."""

    BASE_ERROR_MSG = "The actor died unexpectedly before finishing this task."

    def __init__(
        self,
        cause: str | RayTaskError | None = None,
        actor_id: str | None = None,
        actor_init_failed: bool = False,
    ) -> None:
        if isinstance(cause, RayTaskError):  # Of the constructor.
            actor_id = actor_id or cause._actor_id
            cause = f"The actor died because of an error raised in its creation task, {cause}"
            actor_init_failed = True
        super().__init__(actor_id, cause or self.BASE_ERROR_MSG, actor_init_failed)
        self.args = (self.error_msg, actor_id, actor_init_failed)

    @classmethod
    def from_task_error(cls, task_error: RayTaskError) -> ActorDiedError:
        """Return the error of an actor whose constructor raised."""
        return cls(task_error)

    @classmethod
    def because(cls, reason: str, actor: str | None, *, init_failed: bool = False, **told: Any) -> ActorDiedError:
        """Return the error of a call of the dead actor with the id `actor`.

        `reason` goes on from "The actor is dead because"; `told` is what is known of it: its class, process and name.
        """
        known = {"class_name": told.pop("class_name", ""), "actor_id": actor, **told}
        lines = "".join(f"\n\t{name}: {value}" for name, value in known.items() if value)
        return cls(f"{cls.BASE_ERROR_MSG}{lines}\nThe actor is dead because {reason}.", actor, init_failed)


class ActorUnavailableError(RayActorError):
    """The actor cannot answer now: `error_message` says why; mostly it is being restarted."""

    def __init__(self, error_message: str, actor_id: bytes | str | None = None) -> None:
        known = actor_id.hex() if isinstance(actor_id, bytes) else actor_id
        super().__init__(
            known,
            f"The actor {known} is unavailable: {error_message}. Whether it has executed the task is not known: "
            "the task may or may not have been executed on the actor.",
        )
        self.args = (error_message, actor_id)


class ObjectLostError(RayError):
    """A value is gone.

    Parameters
    ----------
    object_ref_hex
        Which, in hexadecimal digits.
    owner_address, call_site
        Who made it, and where; not known here.
    message
        What happened, and what to do.
    """

    def __init__(
        self, object_ref_hex: str = "", owner_address: Any = None, call_site: str = "", message: str = ""
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site, message)
        self.object_ref_hex = object_ref_hex
        self.owner_address = owner_address
        self.call_site = call_site.replace("|", "\n  ")  # As Ray divides the lines of a stack.
        self.message = message

    @property
    def _why(self) -> str:
        """What has happened, where nobody has said more."""
        return f"The value of the object {self.object_ref_hex} was lost: no copy of it is left."

    def _told(self) -> str:
        made = f" The ObjectRef was created at: {self.call_site}" if self.call_site else ""
        return self.message or f"Failed to retrieve object {self.object_ref_hex}.{made}\n\n{self._why}"


class UnknownObjectError(ObjectLostError, ValueError):
    """There is no such object: its reference is nil, was made by hand, or is of an earlier session.

    Ray raises a `ValueError` where it can tell, and waits for ever where it cannot.
    """


class ObjectFetchTimedOutError(ObjectLostError):
    """A value could not be fetched in time."""

    _why = "It could not be fetched in time: the fetch timed out, for no locations of it were found."


class OwnerDiedError(ObjectLostError):
    """The process that made the value is gone."""

    _why = "The object's owner has exited: the process that called `.remote()` or `put()` for it."


class ObjectReconstructionFailedError(ObjectLostError):
    """A lost value could not be computed again: `reason_message` says why.

    Parameters
    ----------
    reason
        Ray's number of it; not known here.
    reason_message
        It in words.
    """

    def __init__(
        self,
        object_ref_hex: str = "",
        reason: int | None = None,
        reason_message: str | None = None,
        owner_address: Any = None,
        call_site: str = "",
        message: str = "",
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site, message)
        self.args = (object_ref_hex, reason, reason_message, owner_address, call_site, message)
        self.reason = reason
        self.reason_message = reason_message or message or "It is not known why."

    @property
    def _why(self) -> str:
        return f"[{self.reason or 'UNKNOWN'}] The object cannot be reconstructed: {self.reason_message}"


class ObjectReconstructionFailedMaxAttemptsExceededError(ObjectReconstructionFailedError):
    """A lost value could not be computed again: its task was tried too often."""


class ObjectReconstructionFailedLineageEvictedError(ObjectReconstructionFailedError):
    """A lost value could not be computed again: its task is no longer known."""


class ObjectFreedError(ObjectLostError):
    """The value was freed by hand."""

    _why = "It was manually freed, by `free`: call that only once nobody needs the value."


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """A reference outlived its object."""

    _why = "It has already been deleted by the counting of references, though there was one."


class ObjectStoreFullError(RayError):
    """Shared memory is full."""

    def _told(self) -> str:
        return super()._told() or "The local object store is full of objects that are in use."


class OutOfDiskError(ObjectStoreFullError):
    """Shared memory is full, and so is the disk to which values are moved from there."""

    def _told(self) -> str:
        return RayError._told(self) or "The local object store is full, and so is the local disk."


class PendingCallsLimitExceeded(RayError):
    """More calls wait than `max_pending_calls` allows."""


class _Message(RayError):
    """An error that is its message."""

    def __init__(self, error_message: str | None = None) -> None:
        super().__init__(*([] if error_message is None else [error_message]))
        self.error_message = error_message


class RuntimeEnvSetupError(_Message):
    """A runtime environment could not be set up."""

    def _told(self) -> str:
        return "\n".join(filter(None, ("Failed to set up runtime environment.", self.error_message)))


class TaskUnschedulableError(_Message):
    """This machine can never meet the task's demand."""

    def _told(self) -> str:
        return f"The task is not schedulable: {self.error_message}"


class ActorUnschedulableError(_Message):
    """This machine can never meet the actor's demand."""

    def _told(self) -> str:
        return f"The actor is not schedulable: {self.error_message}"


class ResourceDeadlockError(RayError):
    """A cycle of tasks hold what the others wait for. Ray has no such error: it hangs."""


class TaskPlacementGroupRemoved(RayError):
    """The placement group of the task was removed."""

    def _told(self) -> str:
        return super()._told() or "The placement group corresponding to this task was removed."


class ActorPlacementGroupRemoved(ActorUnschedulableError):
    """The placement group of the actor was removed before it was made there. Ray raises the base of this then."""

    def _told(self) -> str:
        return super()._told() if self.args else "The placement group corresponding to this Actor was removed."


class _Named(ValueError, RayError):
    """A name or a handle is at fault."""

    def __init__(self, error_message: str) -> None:
        super().__init__(error_message)
        self.error_message = error_message


class ActorAlreadyExistsError(_Named):
    """The name is taken by a living actor."""


class ActorHandleNotFoundError(_Named):
    """The handle belongs to no actor of this session."""


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


class RpcError(_Told):
    """A connection inside a cluster failed."""

    def __init__(self, message: str, rpc_code: int | None = None) -> None:
        super().__init__(message)
        self.rpc_code = rpc_code


class AuthenticationError(_Told):
    """A cluster refused the client."""


class RayChannelError(RaySystemError):
    """A channel of a compiled graph failed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A channel of a compiled graph was not ready in time."""


class RayCgraphCapacityExceeded(RaySystemError):
    """A compiled graph has too many results that nobody took."""


class RayDirectTransportError(RaySystemError):
    """A tensor could not be moved directly."""


RAY_EXCEPTION_TYPES = [kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, RayError)]
"""All of them. Source: Ray."""


def __getattr__(name: str) -> Any:
    from jupyter_ray.not_offered import absent

    raise absent(__name__, name)
