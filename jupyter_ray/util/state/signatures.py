"""The signatures of Ray's ``ray.util.state``: what only a cluster needs is taken, and has no effect."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

Filters = Sequence[tuple[str, str, Any]]
DEFAULT_LIMIT = 100
DEFAULT_RPC_TIMEOUT = 30

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class _Lists(Protocol[T]):
    def __call__(
        self,
        address: str | None = None,
        filters: Filters | None = None,
        limit: int = DEFAULT_LIMIT,
        timeout: int = DEFAULT_RPC_TIMEOUT,
        detail: bool = False,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> list[T]: ...


class _Gets(Protocol[T_co]):
    def __call__(
        self, id: Any, address: str | None = None, timeout: int = DEFAULT_RPC_TIMEOUT, _explain: bool = False
    ) -> T_co: ...


class _Summarizes(Protocol):
    def __call__(
        self,
        address: str | None = None,
        timeout: int = DEFAULT_RPC_TIMEOUT,
        raise_on_missing_output: bool = True,
        _explain: bool = False,
    ) -> dict[str, Any]: ...


def _named(function: Any, like: Callable[..., Any], signature: type) -> Any:
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(function, name, getattr(like, name))
    written = inspect.signature(signature.__call__)
    function.__signature__ = written.replace(parameters=list(written.parameters.values())[1:])
    return function


def lists(find: Callable[[Filters | None, int, bool], list[T]]) -> _Lists[T]:
    """Give a function that lists rows the signature of Ray's ``list_*``."""

    def listed(
        address: Any = None, filters: Any = None, limit: int = DEFAULT_LIMIT,
        timeout: Any = DEFAULT_RPC_TIMEOUT, detail: bool = False,
        raise_on_missing_output: Any = True, _explain: Any = False,
    ) -> list[T]:  # fmt: skip
        return find(filters, limit, detail)

    made: _Lists[T] = _named(listed, find, _Lists)
    return made


def gets(find: Callable[[Any], T]) -> _Gets[T]:
    """Give a function that finds a row the signature of Ray's ``get_*``."""

    def got(id: Any, address: Any = None, timeout: Any = DEFAULT_RPC_TIMEOUT, _explain: Any = False) -> T:
        return find(id)

    made: _Gets[T] = _named(got, find, _Gets)
    return made


def summarizes(count: Callable[[], dict[str, Any]]) -> _Summarizes:
    """Give a function that counts rows the signature of Ray's ``summarize_*``."""

    def summarized(
        address: Any = None,
        timeout: Any = DEFAULT_RPC_TIMEOUT,
        raise_on_missing_output: Any = True,
        _explain: Any = False,
    ) -> dict[str, Any]:
        return count()

    made: _Summarizes = _named(summarized, count, _Summarizes)
    return made
