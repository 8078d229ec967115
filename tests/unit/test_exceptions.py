"""Errors: that of a task is a `RayTaskError` and an instance of its own class."""

from __future__ import annotations

import builtins
import copy
import gc
import pickle
import re
import sys
import weakref
from typing import Any

import pytest

from jupyter_ray import exceptions
from jupyter_ray.exceptions import RayError, RayTaskError
from jupyter_ray.ids import TaskID


class Custom(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def describe(self) -> str:
        return f"code {self.code}"


class NeedsTwo(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.total = a + b


class Final(Exception):
    def __init_subclass__(cls) -> None:
        raise TypeError("final")


def dual(cause: BaseException | None, text: str = "Traceback: boom") -> RayTaskError:
    return RayTaskError("f", text, cause, pid=7, actor=None).as_instanceof_cause()


@pytest.mark.parametrize(
    "cause",
    [
        KeyError("k"),
        FileNotFoundError(2, "no such file", "x.txt"),
        UnicodeDecodeError("utf-8", b"abc", 0, 1, "bad"),
        Custom(3),
        exceptions.GetTimeoutError("late"),
        exceptions.TaskCancelledError(TaskID.from_random()),
        exceptions.WorkerCrashedError(),
        exceptions.ActorDiedError("gone", "ab"),
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_an_error_is_of_both_classes_also_after_pickling(cause: Exception) -> None:
    error = dual(cause)
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert isinstance(each, RayTaskError)
        assert isinstance(each, type(cause))
        assert type(each).__name__ == f"RayTaskError({type(cause).__name__})"
        assert [(type(arg), arg.args) for arg in each.args] == [(type(cause), cause.args)]
        assert each.args == (each.cause,)
        assert isinstance(each.cause, type(cause))
        assert str(each) == "ray::f() (pid=7, ip=127.0.0.1)\nTraceback: boom"


def test_attributes_and_methods_of_the_original_are_there() -> None:
    error: Any = dual(Custom(3))
    assert error.code == 3
    assert error.describe() == "code 3"
    with pytest.raises(AttributeError):
        error.absent  # noqa: B018
    os_error: Any = dual(FileNotFoundError(2, "no such file", "x.txt"))
    assert (os_error.errno, os_error.strerror, os_error.filename) == (2, "no such file", "x.txt")
    late: Any = dual(StopIteration(5))
    assert late.value == 5


def test_a_class_with_other_arguments_still_becomes_dual() -> None:
    error: Any = dual(NeedsTwo(1, 2))
    assert isinstance(error, NeedsTwo)
    assert error.total == 3


if sys.version_info >= (3, 11):

    def test_a_group_keeps_its_errors() -> None:
        group = builtins.ExceptionGroup("two", [ValueError(1), KeyError(2)])
        error: Any = dual(group)
        assert isinstance(error, builtins.ExceptionGroup)
        assert [type(each) for each in error.exceptions] == [ValueError, KeyError]


@pytest.mark.parametrize("cause", [None, Final(), KeyboardInterrupt(), SystemExit(1), Exception("plain")], ids=repr)
def test_what_cannot_be_dual_is_a_plain_task_error(cause: BaseException | None) -> None:
    error = dual(cause)
    assert type(error) is RayTaskError
    assert error.cause is cause


def test_an_error_whose_class_is_final_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert type(dual(Final())) is RayTaskError
    assert "This exception is raised as RayTaskError only" in caplog.text
    with pytest.raises(TypeError, match="final"):
        RayTaskError("f", "text", Final()).make_dual_exception_instance()


def test_an_error_passed_on_by_another_task_keeps_its_class() -> None:
    outer = RayTaskError("g", "outer", dual(KeyError("k"))).as_instanceof_cause()
    assert isinstance(outer, KeyError)
    assert type(outer).__name__ == "RayTaskError(KeyError)"
    assert outer.function_name == "g"


def test_the_chain_of_causes_is_kept() -> None:
    cause = KeyError("k")
    cause.__cause__ = ValueError("first")
    assert isinstance(dual(cause).__cause__, ValueError)


def test_the_actor_is_named() -> None:
    error = RayTaskError("A.m", "text", None, pid=7, actor="01, repr=<A>")
    named = RayTaskError("A.m", "text", None, pid=7, actor_id="01", actor_repr="<A>")
    both = RayTaskError("A.m", "text", KeyError("k"), actor="01, repr=<A>").as_instanceof_cause()
    for each in (error, named, both, *pickle.loads(pickle.dumps([error, both]))):
        assert each.actor_repr == "<A>"
        assert "actor_id=01, repr=<A>" in str(each)
    assert RayTaskError("f", "text").actor_repr is None
    assert exceptions.ActorDiedError(error).actor_id == "01"


def test_a_title_that_was_given_is_shown_and_kept() -> None:
    error = RayTaskError("f", "Traceback (most recent call last):\n  x", None, proctitle="mine", pid=7)
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert each.proctitle == "mine"
        assert str(each).startswith("mine() (pid=7, ")


class Gone(Exception):
    ip = "nowhere"

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid

    @property
    def function_name(self) -> str:
        return "its own"


def test_what_an_error_has_is_not_hidden_by_what_its_task_has() -> None:
    error: Any
    for error in (dual(Gone(99)), pickle.loads(pickle.dumps(dual(Gone(99))))):
        assert Gone in type(error).__mro__
        assert (error.pid, error.ip, error.function_name) == (99, "nowhere", "its own")
        assert error.proctitle == "ray::f"
        assert str(error) == "ray::f() (pid=7, ip=127.0.0.1)\nTraceback: boom"


def test_what_is_told_is_there_under_the_names_that_ray_gives_it() -> None:
    assert exceptions.OutOfMemoryError("no room").message == "no room"
    assert exceptions.NodeDiedError("lost").message == "lost"
    refused = exceptions.RpcError("refused", rpc_code=3)
    assert (refused.message, refused.rpc_code) == ("refused", 3)
    lost = exceptions.ObjectReconstructionFailedError("ab", message="gone for good")
    assert (lost.reason_message, lost.reason) == ("gone for good", None)
    assert {exceptions.RayTaskError, exceptions.OutOfMemoryError} < set(exceptions.RAY_EXCEPTION_TYPES)


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (exceptions.GetTimeoutError, (RayError, TimeoutError)),
        (exceptions.ActorDiedError, (exceptions.RayActorError,)),
        (exceptions.ActorUnavailableError, (exceptions.RayActorError,)),
        (exceptions.ActorAlreadyExistsError, (ValueError, RayError)),
        (exceptions.ActorHandleNotFoundError, (ValueError, RayError)),
        (exceptions.OwnerDiedError, (exceptions.ObjectLostError,)),
        (exceptions.ObjectReconstructionFailedError, (exceptions.ObjectLostError,)),
        (exceptions.ObjectFetchTimedOutError, (exceptions.ObjectLostError,)),
        (exceptions.ObjectFreedError, (exceptions.ObjectLostError,)),
        (exceptions.ReferenceCountingAssertionError, (exceptions.ObjectLostError,)),
    ],
)
def test_the_family_tree_is_rays(error: type[Exception], bases: tuple[type[Exception], ...]) -> None:
    assert all(issubclass(error, base) for base in bases)


NAMES = """
RayError RayTaskError TaskCancelledError WorkerCrashedError RayActorError ActorDiedError ActorUnavailableError
GetTimeoutError RaySystemError ObjectLostError ObjectStoreFullError PendingCallsLimitExceeded RuntimeEnvSetupError
TaskUnschedulableError ActorUnschedulableError ActorAlreadyExistsError ActorHandleNotFoundError
UnserializableException AsyncioActorExit OwnerDiedError ObjectReconstructionFailedError ObjectFetchTimedOutError
ObjectFreedError ReferenceCountingAssertionError OutOfDiskError OutOfMemoryError TaskPlacementGroupRemoved
ActorPlacementGroupRemoved ObjectRefStreamEndOfStreamError StreamingGeneratorReplayInconsistentError UserCodeException
NodeDiedError LocalRayletDiedError PlasmaObjectNotAvailable OufOfBandObjectRefSerializationException
ResourceDeadlockError
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_every_error_is_a_ray_error_that_pickles_and_has_a_message(name: str) -> None:
    kind = getattr(exceptions, name)
    assert issubclass(kind, RayError)
    error = kind("f", "why") if kind in (RayTaskError, exceptions.RayActorError) else kind("why")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == str(error)
    assert "why" in str(error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (exceptions.TaskCancelledError(None, "too late"), "^too late$"),
        (exceptions.TaskCancelledError(TaskID.nil(), "too late"), "^Task: TaskID.* was cancelled. too late$"),
        (
            exceptions.ActorUnavailableError("it restarts", b"\xab" * 16),
            "^The actor (ab){16} is unavailable: it res.* may",
        ),
        (
            exceptions.ObjectLostError("ab", None, "f.py:1|g.py:2"),
            "(?s)^Failed to retrieve object ab.*f.py:1\n  g.py:2",
        ),
        (exceptions.OwnerDiedError("ab", None, ""), "(?s)^Failed to retrieve object ab.*owner has exited"),
        (exceptions.ObjectFreedError("ab", None, ""), "(?s)^Failed to retrieve object ab.*manually freed"),
        (exceptions.ObjectFetchTimedOutError("ab", None, ""), "(?s)^Failed to retrieve object ab.*timed out"),
        (exceptions.ReferenceCountingAssertionError("ab", None, ""), "(?s)^Failed to retrieve object ab.*deleted by"),
        (
            exceptions.ObjectReconstructionFailedError("ab", None, "why not", b"", "f.py:1"),
            "(?s)^Failed to retrieve object ab.*f.py:1.*UNKNOWN.*cannot be reconstructed: why not",
        ),
        (exceptions.TaskPlacementGroupRemoved(), "^The placement group corresponding to this task was removed"),
        (exceptions.ActorPlacementGroupRemoved(), "^The placement group corresponding to this Actor was removed"),
        (exceptions.LocalRayletDiedError(), "local raylet died"),
        (exceptions.ObjectStoreFullError(), "object store is full"),
        (exceptions.OutOfDiskError(), "object store is full, and .* disk"),
        (exceptions.RuntimeEnvSetupError(), "^Failed to set up runtime environment.$"),
        (exceptions.RuntimeEnvSetupError("why"), "^Failed to set up runtime environment.\nwhy$"),
        (
            exceptions.UnserializableException("Traceback"),
            "(?s)^Failed to deserialize exception.*exception:\nTraceback$",
        ),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, RayError) else None,
)
def test_what_is_made_by_hand_says_what_rays_would_also_after_pickling(error: RayError, words: str) -> None:
    for each in (error, pickle.loads(pickle.dumps(error)), copy.deepcopy(error), RayError.from_bytes(error.to_bytes())):
        assert type(each) is type(error)
        assert re.search(words, str(each))


@pytest.mark.parametrize(
    "name",
    [
        "TaskCancelledError",
        "RuntimeEnvSetupError",
        "TaskUnschedulableError",
        "ActorUnschedulableError",
        "ActorAlreadyExistsError",
        "ActorHandleNotFoundError",
    ],
)
def test_an_error_that_was_given_a_message_has_it(name: str) -> None:
    error = getattr(exceptions, name)(error_message="why")
    assert (error.error_message, "why" in str(error)) == ("why", True)


def test_a_class_of_the_users_may_have_attributes_of_these_names() -> None:
    class Mine(RayError):
        def __init__(self, error_message: str) -> None:
            self.error_message = error_message

    assert Mine("why").error_message == str(Mine("why")) == "why"


def test_an_error_whose_class_cannot_make_it_again_is_told_of() -> None:
    back = RayError.from_bytes(NotMadeAgain(1).to_bytes())
    assert isinstance(back, exceptions.UnserializableException)
    assert "NotMadeAgain: it is 1" in str(back)


class NotMadeAgain(RayError):
    def __init__(self, number: int) -> None:
        super().__init__(f"it is {number}")

    def __reduce__(self) -> tuple[Any, ...]:
        return NotMadeAgain, ()


def test_an_actors_error_says_whether_the_constructor_failed() -> None:
    error = exceptions.ActorDiedError("no", "ab", True)
    back = pickle.loads(pickle.dumps(error))
    assert (back.actor_init_failed, back.actor_id, str(back), back.error_msg) == (True, "ab", "no", "no")


def test_classes_of_errors_are_not_kept_for_ever() -> None:
    """A notebook that runs a cell again defines its class again; each was kept, with what its methods refer to."""
    made: list[weakref.ref[type]] = []
    for _ in range(1_000):
        kind = type("MyError", (ValueError,), {})
        assert isinstance(RayTaskError("f", "text", kind("x")).as_instanceof_cause(), kind)
        made.append(weakref.ref(kind))
    del kind
    gc.collect()
    assert sum(ref() is not None for ref in made) < 300
