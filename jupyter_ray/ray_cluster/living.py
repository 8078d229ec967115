"""What is asked of a session whose connection is gone: it is said in one sentence, whatever Ray would say or do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

_Method = TypeVar("_Method", bound=Callable[..., Any])


def while_alive(method: _Method) -> _Method:
    """Have a method of an engine say that the session has ended, where it has."""

    @functools.wraps(method)
    def asked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.alive:
            raise self.dead()
        return method(self, *args, **kwargs)

    return cast("_Method", asked)
