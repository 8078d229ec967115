"""Hosts of actors: what Ray holds of an actor, with the user's instance inside."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import ray

from jupyter_ray.engine.own_class import know_itself
from jupyter_ray.exceptions import ActorDiedError
from jupyter_ray.local.serialization.errors import format_remote
from jupyter_ray.ray_cluster import shortcut
from jupyter_ray.ray_cluster.calls import storable
from jupyter_ray.ray_cluster.worker import Call, engine, run, stream


class Host:
    """What Ray holds of an actor: the user's instance, and the one method that calls its methods.

    Each class of the user's has a subclass of its own, with its name: that is what Ray's tools show.
    """

    instance: Any = None  # Also where Ray never calls the constructor: its argument failed.
    _marked = 0

    def __init__(self, header: bytes, *values: Any) -> None:
        self._coming: Any = None
        self._broken = ""
        call = Call(header, values, self)
        call.engine.become_actor(call)
        call.context.actor = call.engine.process.actor
        shortcut.take_names()
        failure: BaseException | None = None
        with call:
            try:
                kind = call.function()
                know_itself(kind)
                call.engine.observer.label_actor(kind)
                args, kwargs = call.prepare(kind)
                if inspect.iscoroutinefunction(kind.__init__):
                    self.instance = kind.__new__(kind, *args, **kwargs)
                    self._coming = self.instance.__init__(*args, **kwargs)
                else:
                    self.instance = kind(*args, **kwargs)
            except BaseException as error:
                failure = call.failed(error)
        if failure is not None:
            raise failure
        call.engine.observer.label_actor(kind, self.instance)

    @property
    def is_broken(self) -> bool:
        """Whether an ``async def __init__`` raised: it runs with the first call."""
        return bool(self._broken)

    def run(self, header: bytes | str, *values: Any) -> Any:
        """Call a method."""
        return run(header, values, self)

    def stream(self, header: bytes, *values: Any) -> Iterator[Any]:
        """Call a method that yields."""
        for item in stream(header, values, self):
            yield item
            del item

    def mark(self, calls: int) -> int:
        """Stand for the `calls` of a caller before this one; return how many that is with those of all (`flow`)."""
        self._marked += calls
        return self._marked

    def __repr__(self) -> str:
        return repr(self.instance)

    def __ray_shutdown__(self) -> None:
        """Let the user's instance take its leave. Source: Ray."""
        farewell = getattr(type(self.instance), "__ray_shutdown__", None)
        if farewell is not None:
            farewell(self.instance)
        engine().observer.flush()


class AsyncHost(Host):
    """As `Host`, for a class with coroutines: all its methods run in the event loop (as in Ray)."""

    async def _ready(self) -> None:
        if self._coming is not None:
            coming, self._coming = self._coming, None
            try:
                await coming
            except Exception as error:
                self._broken = (
                    "The actor died because of an error raised in its creation task, "
                    f"{type(self.instance).__name__}.__init__():\n{format_remote(error)}"
                )
        if self._broken:
            raise ActorDiedError(self._broken, ray.get_runtime_context().get_actor_id(), True)

    async def _begun(self, call: Call) -> Any:
        """Return what the method of a call returns, which may still have to be awaited, once the instance is there."""
        if self._coming is not None or self._broken:
            await self._ready()
        function = call.function()
        args, kwargs = call.prepare(function)
        return function(*args, **kwargs)

    async def run(self, header: bytes | str, *values: Any) -> Any:
        """Call a method."""
        with Call(header, values, self) as call:
            del values
            try:
                value = await self._begun(call)
                if inspect.isawaitable(value) and not isinstance(value, ray.ObjectRef):  # A reference stays one.
                    value = await value
                elif inspect.isasyncgen(value):
                    value = [item async for item in value]
                return call.returned(value)
            except BaseException as error:
                failure = call.failed(error)
        raise failure

    async def stream(self, header: bytes, *values: Any) -> Any:
        """Call a method that yields."""
        call = Call(header, values, self)
        del values
        failure: BaseException | None = None
        with call:
            try:
                value = await self._begun(call)
                if inspect.iscoroutine(value):
                    value = await value
                if isinstance(value, AsyncIterator):
                    async for item in value:
                        yield storable(item)
                else:
                    for item in value:
                        yield storable(item)
            except GeneratorExit:
                raise
            except BaseException as error:
                failure = call.failed(error)
        if failure is not None:
            raise failure


def host_class(name: str, module: str, is_async: bool) -> type:
    """Return the host of a user's class."""
    base = AsyncHost if is_async else Host
    return type(name.rpartition(".")[2], (base,), {"__module__": module, "__qualname__": name})
