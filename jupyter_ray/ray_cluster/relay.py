"""What runs in the cluster for a session through Ray Client: an actor that looks, listens and reads streams for it.

A client reaches the cluster through one port, and Ray lets it call tasks and actors there, and no more. The rest of
what the engine needs (Ray's state, the log channel, streaming generators) this actor does on its behalf.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from jupyter_ray.interrupts import Flag
from jupyter_ray.ray_cluster import cancelling, worker
from jupyter_ray.ray_cluster.calls import Plan
from jupyter_ray.ray_cluster.observer import Channel
from jupyter_ray.ray_cluster.state import State
from jupyter_ray.ray_cluster.submission import function_of, method_of

_PAUSE_SECONDS = 0.05


class Relay:
    """One session's.

    Parameters
    ----------
    job
        The session's id.
    node
        The node that its driver is on (hex).
    """

    def __init__(self, job: bytes, node: str) -> None:
        worker.engine()  # Definitions that pass through here are known by their versions.
        self._state = State(job, node)
        self._channel = Channel(job.hex())
        self._streams: dict[bytes, Any] = {}
        self._heard: deque[Any] = deque()
        self._come = Flag()
        threading.Thread(target=self._listen, name="jupyter_ray log lines", daemon=True).start()

    async def ask(self, what: str, options: Mapping[str, Any]) -> bytes:
        """Return what a method of `State` does, pickled.

        As one value: Ray Client's server, which hands it on, asks of all that a value holds whether it is a reference.
        With 2,000 tasks that kept it from everything else for seconds.
        """
        found = await asyncio.to_thread(getattr(self._state, what), **options)
        return await asyncio.to_thread(pickle.dumps, found)

    # --- the log channel ---

    def _listen(self) -> None:
        while True:
            messages = self._channel.poll()
            if messages is None:
                time.sleep(_PAUSE_SECONDS)
            elif messages:
                self._heard.extend(messages)
                self._come.set()

    async def hear(self, seconds: float) -> bytes:
        """Return the messages that have come, pickled as for `ask`; waits for one so long."""
        await asyncio.to_thread(self._come.wait, seconds)
        self._come.clear()
        return pickle.dumps([self._heard.popleft() for _ in range(len(self._heard))])

    async def wake(self) -> None:
        """End a `hear` that waits."""
        self._come.set()

    async def publish(self, lines: list[str]) -> None:
        """Send lines, after what was sent before."""
        await asyncio.to_thread(self._channel.publish, lines)

    def dump(self, holder: Sequence[Any]) -> bytes:
        """Return the one reference or handle as one pickles it by hand: it stays as long as this actor."""
        return bytes(ray.cloudpickle.dumps(holder[0]))

    def load(self, dumped: bytes) -> list[Any]:
        """Return what `dump` has pickled, in a list."""
        return [pickle.loads(dumped)]

    # --- streams ---

    async def open(self, actor: Sequence[Any], plan: Plan, header: bytes, values: Sequence[Any]) -> bytes:
        """Start a task that yields, or such a method of the one actor; return the id of the task."""
        called = method_of(actor[0], plan) if actor else function_of(True, **plan.defined)
        made = called.options(**plan.native).remote(header, *values)
        key = bytes(made._generator_ref.task_id().binary())
        self._streams[key] = made
        return key

    async def next(self, key: bytes) -> list[Any]:
        """Return the next reference, in a list; an empty one at the end."""
        try:
            return [await self._streams[key].__anext__()]
        except StopAsyncIteration:
            return []

    async def look(self, key: bytes) -> tuple[bool, bool]:
        """Tell whether the next reference is there, and whether there is none any more."""
        stream = self._streams[key]
        return bool(stream.next_ready()), bool(stream.is_finished())

    async def completed(self, key: bytes) -> list[Any]:
        """Return the reference that is ready when the task has ended, in a list."""
        return [self._streams[key].completed()]

    async def cancel(self, key: bytes, force: bool, recursive: bool) -> None:
        """Cancel the task of a stream."""
        cancelling.cancel(self._streams[key], force=force, recursive=recursive)

    async def close(self, keys: Sequence[bytes]) -> None:
        """Let streams go."""
        for key in keys:
            self._streams.pop(key, None)

    def __repr__(self) -> str:
        return f"<Relay: {len(self._streams)} streams>"
