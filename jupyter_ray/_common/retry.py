"""Ray's ``ray._common.retry``: a function that fails now and then is called again, after longer and longer pauses."""

from __future__ import annotations

import functools
import logging
import random
import re
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger(__name__)


def format_exception(exc: BaseException, include_cause: bool = False) -> str:
    """Return ``"Class: message"``, and that of what it was raised from after it if asked for."""
    text = "".join(traceback.format_exception_only(exc)).strip()
    if include_cause and exc.__cause__ is not None:
        text += f" {format_exception(exc.__cause__)}"
    return text


def matches_error(pattern: str, error_str: str) -> bool:
    """Tell whether a text contains a pattern, as it is or as a regular expression; one that is none matches nothing."""
    if pattern in error_str:
        return True
    try:
        return re.search(pattern, error_str) is not None
    except re.error:
        return False


def call_with_retry(
    f: Callable[..., R],
    description: str,
    match: Sequence[str] | None = None,
    max_attempts: int = 10,
    max_backoff_s: float = 32,
    *args: Any,
    **kwargs: Any,
) -> R:
    """Return what a function returns; call it again if it raises.

    Parameters
    ----------
    f
        The function.
    description
        What it does, for the log: "open the file".
    match
        Patterns of errors after which it is called again; None: after each.
    max_attempts
        How often it is called at most.
    max_backoff_s
        The longest pause between two calls, in seconds: they are random, and twice as long each time.
    *args, **kwargs
        Its arguments.

    Raises
    ------
    Exception
        The last call raised this, or one that does not match.
    """
    assert max_attempts > 0, f"`max_attempts` must be at least 1, got {max_attempts}."
    for attempt in range(max_attempts):
        try:
            return f(*args, **kwargs)
        except Exception as error:
            text = format_exception(error, include_cause=True)
            wanted = match is None or any(matches_error(pattern, text) for pattern in match)
            if not wanted or attempt + 1 == max_attempts:
                raise
            pause = random.random() * min(2**attempt, max_backoff_s)
            _log.debug("Could not %s (%s): once more in %.1f s, %d of %d.",
                       description, text, pause, attempt + 2, max_attempts)  # fmt: skip
            time.sleep(pause)
    raise AssertionError


def retry(
    description: str, match: Sequence[str] | None = None, max_attempts: int = 10, max_backoff_s: float = 32
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator whose functions are called by `call_with_retry`."""

    def decorate(f: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(f)
        def again(*args: P.args, **kwargs: P.kwargs) -> R:
            return call_with_retry(f, description, match, max_attempts, max_backoff_s, *args, **kwargs)

        return again

    return decorate
