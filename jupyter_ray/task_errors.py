"""What a task raised, as its caller meets it: an error that is a `RayTaskError` and of its own class at once."""

from __future__ import annotations

import builtins
import contextlib
import functools
import logging
import os
import pickle
import re
import traceback
import types
from typing import Any, TypeVar

import cloudpickle

from jupyter_ray.portable_errors import portable

_LOGGER = logging.getLogger(__name__)

Self = TypeVar("Self", bound="RayError")


class RayError(Exception):
    """The base of all errors of this package.

    Most can be made by hand with the arguments that Ray's have, and say then what their class and these tell; what the
    runtime makes knows more, and brings the whole text: see `saying`.
    """

    _text = ""

    def saying(self: Self, text: str) -> Self:
        """Return this error with `text` as all that it says."""
        self._text = text
        return self

    def _told(self) -> str:
        """Return what an error says that was made by hand."""
        return super().__str__()

    def __str__(self) -> str:
        return self._text or self._told()

    def to_bytes(self) -> bytes:
        """Return the error as bytes; what it says goes beside it, in case that its class cannot be made again."""
        text = "".join(traceback.format_exception(self))
        return pickle.dumps((cloudpickle.dumps(portable(self)), text))

    @staticmethod
    def from_bytes(b: bytes) -> BaseException:
        """Return what `to_bytes` was called on, or an `UnserializableException` that tells of it."""
        pickled, text = pickle.loads(b)
        return _loaded(pickled, text)

    @staticmethod
    def from_ray_exception(ray_exception: Any) -> BaseException:
        """Return what Ray's message holds: it is a pickle, with the traceback as text."""
        return _loaded(ray_exception.serialized_exception, ray_exception.formatted_exception_string)


def _loaded(pickled: bytes, text: str) -> BaseException:
    try:
        error: BaseException = pickle.loads(pickled)
    except Exception:
        return UnserializableException(text)
    return error


class UnserializableException(RayError):
    """An error could not be made again from its pickle: the original traceback, as text, is what is left of it."""

    def __init__(self, original_stack_trace: str) -> None:
        super().__init__(original_stack_trace)
        self._original_stack_trace = original_stack_trace

    def _told(self) -> str:
        return (
            "Failed to deserialize exception. Its class could not make it again from its pickle. "
            f"Original exception:\n{self._original_stack_trace}"
        )


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
        The worker's process and machine; a `pid` of 0 says that there was none.
    actor_repr, actor_id
        Of the actor, for methods.
    actor
        Both of them, as the error tells them.
    """

    def __init__(
        self,
        function_name: str,
        traceback_str: str,
        cause: BaseException | None = None,
        proctitle: str | None = None,
        pid: int | None = None,
        ip: str | None = None,
        actor_repr: str | None = None,
        actor_id: str | None = None,
        *,
        actor: str | None = None,
    ) -> None:
        if isinstance(cause, RayTaskError):  # The error of another task, passed on: what matters is the first one.
            first: BaseException | None = cause.cause
            cause = first
        Exception.__init__(self, function_name, traceback_str, cause, proctitle, pid, ip)  # As Ray's `args`.
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.proctitle = proctitle or f"ray::{function_name}"
        self.cause: BaseException | None = cause
        self.pid = os.getpid() if pid is None else pid
        self.ip = ip or "127.0.0.1"
        if actor is not None:
            actor_id, _, of_actor = actor.partition(", repr=")
            actor_repr = of_actor or None
        self.actor_repr = actor_repr
        self._actor_id = actor_id
        self._chain: tuple[BaseException, ...] = ()
        """What the cause was raised from, and so on: pickling an exception drops that, so its sender notes it here."""

    @property
    def _plain(self) -> RayTaskError:
        """The error that is of its own class alone: all that it says is the task's, and not its cause's."""
        return self

    @property
    def _actor(self) -> str | None:
        return f"{self._actor_id}, repr={self.actor_repr}" if self.actor_repr else self._actor_id

    def as_instanceof_cause(self) -> RayTaskError:
        """Return an error that is a `RayTaskError` and an instance of the cause's class; `self` if that cannot be."""
        cause = self.cause
        if cause is None or _is_of_the_process(cause) or isinstance(self, type(cause)):
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
        kind: Any = type(cause)
        error: RayTaskError = _dual_class(kind)(self, cause)
        error.__cause__ = cause.__cause__
        error.__suppress_context__ = True
        return error

    def __str__(self) -> str:
        told = self._plain
        actor = f", actor_id={told._actor}" if told._actor else ""
        process = f"pid={told.pid}, ip={told.ip}{actor}" if told.pid else "it did not begin"
        where = f"{told.proctitle}() ({process})"
        text = told.traceback_str.rstrip()
        named = _TRACEBACK.sub(lambda _: where, text)
        return f"{where}\n{text}" if named == text else named

    def __reduce__(self) -> tuple[Any, ...]:
        told = self._plain
        return _rebuild_task_error, (
            told.function_name,
            told.traceback_str,
            None if told.cause is None else portable(told.cause),
            told.pid,
            told.ip,
            told._actor,
            tuple(map(portable, told._chain)),
            told.proctitle,
        )


def _rebuild_task_error(
    function_name: str,
    traceback_str: str,
    cause: BaseException | None,
    pid: int,
    ip: str,
    actor: str | None,
    chain: tuple[BaseException, ...] = (),
    title: str | None = None,
) -> RayTaskError:
    last = cause
    for each in chain:
        if last is not None:
            BaseException.__setattr__(last, "__cause__", each)
        last = each
    error = RayTaskError(function_name, traceback_str, cause, title, pid, ip, actor=actor)
    error._chain = chain
    return error


_GROUPS: Any = getattr(builtins, "BaseExceptionGroup", ())
"""Python 3.10 has none."""


def _is_of_the_process(cause: BaseException) -> bool:
    """Tell whether an error is an interrupt or an exit of the task, or has one in it: it must not look like ours."""
    inside = isinstance(cause, _GROUPS) and not isinstance(cause, Exception)
    return inside or isinstance(cause, KeyboardInterrupt | SystemExit)


@functools.lru_cache(maxsize=256)  # A notebook may define a class of errors again and again.
def _dual_class(kind: type[BaseException]) -> Any:
    """Return the class that is `RayTaskError` and `kind` at once."""

    def __new__(cls: Any, *given: BaseException) -> Any:
        cause: Any = given[-1]  # Given alone where Ray itself makes an error that is an instance of this class.
        native: Any = _laid_out_as(kind)
        if isinstance(cause, _GROUPS):  # A class with a __new__ of its own has other arguments than the groups' own.
            return native.__new__(cls, cause.message, cause.exceptions)
        for maker in (kind, native):
            for args in (cause.args, ()):
                with contextlib.suppress(TypeError):
                    made = maker.__new__(cls, *args)
                    if isinstance(made, cls):  # Some name the class that they make.
                        return made
        return Exception.__new__(cls)  # MemoryError's own gives out objects of one size only.

    def __init__(self: Any, error: RayTaskError, cause: BaseException) -> None:
        self.cause = cause
        self._plain_error = error
        own = {name: value for name, value in vars(error).items() if not hasattr(kind, name)}
        # What the task's and the cause's have alike is the cause's: psutil.NoSuchProcess has a `pid`, too.
        self.__dict__.update({**own, **vars(cause), **vars(self)})
        native: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")
        with contextlib.suppress(Exception):
            native.__init__(self, *cause.args)
        self.args = (cause,)  # As in Ray: the cause's own are `e.cause.args`.
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
        "_plain": property(lambda self: self._plain_error),
        "__setattr__": RayTaskError.__setattr__,  # The class of the cause may refuse, as a frozen dataclass does.
        "__str__": RayTaskError.__str__,
        "__module__": RayTaskError.__module__,
    }
    name = f"RayTaskError({kind.__name__})"
    return type(name, (RayTaskError, kind), {**body, "__qualname__": name})


def _laid_out_as(kind: type[BaseException]) -> type[BaseException]:
    """Return the built-in class whose instances look in memory like those of `kind`: it alone can make one.

    Of a class that is a `KeyError` and an `OSError` that is the latter, and Python would ask the former.
    """
    while kind.__module__ != "builtins":
        kind = kind.__base__  # type: ignore[assignment]
    return kind


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


for _kind in (RayError, RayTaskError, UnserializableException):  # Where users, and pickled errors, look for them.
    _kind.__module__ = "jupyter_ray.exceptions"
