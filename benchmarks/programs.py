"""What runs in the workers: the same for all contenders, and in a module of its own, so that each can import it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any


def small() -> bytes:
    """The task that costs only its call."""
    return b"ok"


def count_up(items: int) -> Iterator[int]:
    for number in range(items):  # noqa: UP028  # Ray cannot run `yield from`.
        yield number


def identity(value: Any) -> Any:
    return value


def size(array: Any) -> int:
    return int(array.nbytes)


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


class Small:
    """The actor whose calls cost only themselves."""

    def small(self) -> bytes:
        return b"ok"

    def take(self, value: Any) -> bytes:
        return b"ok"


class AsyncSmall:
    async def small(self) -> bytes:
        return b"ok"

    async def take(self, value: Any) -> bytes:
        return b"ok"


class Client:
    """Calls from a process that is not the driver."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray
        self.task = ray.remote(small)
        self.array: Any = None

    def ready(self) -> bool:
        return True

    def tasks(self, count: int) -> int:
        self.ray.get([self.task.remote() for _ in range(count)])
        return count

    def calls(self, actors: list[Any], count: int) -> int:
        self.ray.get([actors[i % len(actors)].small.remote() for i in range(count)])
        return count

    def calls_with_argument(self, actor: Any, count: int) -> int:
        ref = self.ray.put(0)
        self.ray.get([actor.take.remote(ref) for _ in range(count)])
        return count

    def put_large(self, nbytes: int, count: int) -> int:
        if self.array is None:  # Once: new memory of this size costs more than all the copies of it.
            import numpy as np

            self.array = np.ones(nbytes, dtype=np.uint8)
        for _ in range(count):
            self.ray.put(self.array)
        return count
