"""The code that calls run: functions and classes out of the library, or fetched where it has let go of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_ray.exceptions import RuntimeEnvSetupError
from jupyter_ray.local.engine.local import LocalEngine
from jupyter_ray.local.library import UnknownDefinitionError
from jupyter_ray.local.protocol.messages import Body, Execute
from jupyter_ray.local.serialization.errors import one_line
from jupyter_ray.local.worker.running import Function


class Code:
    """The functions and classes of one worker.

    Parameters
    ----------
    engine
        Has the library, and fetches what is not in it.
    version
        Returns which version of its function the caller of a task means, at the least; 0: the one that is here.

    Attributes
    ----------
    unfit
        Why nothing can run here, if the environment's own function failed.
    is_used_up
        A function was called as often as it may be in one process (`max_calls`).
    """

    def __init__(self, engine: LocalEngine, version: Callable[[bytes], int]) -> None:
        self._engine = engine
        self._library = engine.library
        self._version = version
        self._calls: dict[str, int] = {}
        """How often each function was called here that may not be called without end."""
        self.unfit: RuntimeEnvSetupError | None = None
        self.is_used_up = False

    def function(self, execute: Execute, body: Body) -> Function:
        """Return the function that a task runs."""
        definition = execute.definition
        self._library.install(execute.functions)
        version = self._version(execute.task)
        if self._library.version(definition) < version:
            self._engine.fetch(definition, version)
        if body.max_calls:
            self._calls[definition] = self._calls.get(definition, 0) + 1
            self.is_used_up = self.is_used_up or self._calls[definition] >= body.max_calls
        function: Function = self._load(definition, "The remote function")
        return function

    def actor_class(self, execute: Execute, name: str) -> Any:
        """Return the class that a constructor is to make an instance of; errors call it `name`."""
        self._library.install(execute.functions)
        return self._load(execute.definition, f"The actor with name {name}")

    def _load(self, definition: str, what: str) -> Any:
        if self.unfit is not None:
            raise self.unfit
        try:
            if definition not in self._library:  # It was let go of: the runtime does not send it again by itself.
                self._engine.definition(definition)
            return self._library.resolve(definition)
        except UnknownDefinitionError:
            raise
        except Exception as error:
            raise RuntimeError(
                f"{what} failed to import on the worker: {one_line(error)}. A module that it uses may be missing, or "
                "was found in a folder that is not on sys.path any more."
            ) from error

    def __repr__(self) -> str:
        return f"<Code: {self._library!r}>"
