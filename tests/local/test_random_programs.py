"""Random programs with faults against the real runtime: each value is right or missing for a reason, and nothing stays.

The scheduler alone has such programs in `tests/unit/test_scheduler_stateful.py`. Here threads call at once, values
are written and spilled, processes die and files vanish. A seed draws the same actions each time, not their timing.
"""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import contextlib
import gc
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray import config, exceptions
from jupyter_ray.engine import registry
from jupyter_ray.util import state
from tests.contract.helpers import PATIENCE, eventually

MIB = 1024**2
ACTIONS = 25
THREADS = 3


@ray.remote
def value(number: int, size: int, *arguments: Any) -> Any:
    assert not any(isinstance(each, ray.ObjectRef) for each in arguments)
    return np.full(size, number, dtype=np.uint8)


@ray.remote
def slow(number: int, size: int, *arguments: Any) -> Any:
    time.sleep(0.05)
    return np.full(size, number, dtype=np.uint8)


@ray.remote
def references(number: int, size: int) -> list[Any]:
    return [value.remote(number, size), ray.put(1)]


@ray.remote
def nested(number: int, size: int, *arguments: Any) -> Any:
    return ray.get(ray.get(references.remote(number, size))[0])


@ray.remote
def stream(number: int, size: int, count: int) -> Iterator[Any]:
    for _ in range(count):
        yield np.full(size, number, dtype=np.uint8)


@ray.remote
class Keeper:
    def __init__(self, *arguments: Any) -> None:
        self.kept: list[Any] = []

    def value(self, number: int, size: int, *arguments: Any) -> Any:
        return np.full(size, number, dtype=np.uint8)

    def keep(self, number: int, size: int, *arguments: Any) -> Any:
        self.kept = kept = [ray.put(1), value.remote(number, size)]
        got = ray.get(kept[1])  # Not self.kept, which calls in the actor's other threads replace.
        assert got.size == size, f"{got.size} here, not {size}"
        assert (got == number).all(), f"{got[0]} here, not {number}"
        return got

    def die(self) -> None:
        os._exit(1)


WITHOUT_ARGUMENTS = {exceptions.RayActorError}
"""What the calls of an actor raise whose constructor lacked an argument."""

Expected = tuple[Any, int, int]
"""A reference, and the number and the size of the array that it must lead to."""


class Program:
    """Draws actions and does them, in several threads on the same references and actors.

    Parameters
    ----------
    faults
        Of its methods, those that break something.
    """

    def __init__(self, seed: str, faults: list[str]) -> None:
        self.seed, self.faults = seed, faults
        self.known: list[Expected] = []
        self.actors: list[Any] = []
        self.errors: set[type[BaseException]] = set()
        """Which may come instead of a value, since something has been broken."""

    def run(self, thread: int) -> None:
        draw = random.Random(f"{self.seed} {thread}")
        kinds = {"call": 6, "call_actor": 6, "check_some": 6, "wait": 3, "forget": 4, "make": 2, "put": 2, "read": 2}
        for _ in range(ACTIONS):
            [kind] = draw.choices([*kinds, *self.faults], [*kinds.values(), *[1] * len(self.faults)])
            getattr(self, kind)(draw)

    def some(self, draw: random.Random, most: int) -> list[Expected]:
        known = list(self.known)
        return draw.sample(known, min(len(known), draw.randint(0, most)))

    def shape(self, draw: random.Random) -> tuple[int, int]:
        return draw.randrange(250), draw.choice([1, 1000, 200_000, 2 * MIB])

    def call(self, draw: random.Random) -> None:
        shape, arguments = self.shape(draw), [ref for ref, *_ in self.some(draw, 2)]
        function = draw.choice([value, value, slow, nested]).options(num_cpus=draw.choice([0.5, 1]))
        self.known.append((function.remote(*shape, *arguments), *shape))

    def make(self, draw: random.Random) -> None:
        options = {"max_concurrency": draw.choice([1, 3]), "max_restarts": draw.choice([0, 2])}
        arguments = [ref for ref, *_ in self.some(draw, 1)]
        self.actors[:-3] = []
        self.actors.append(Keeper.options(num_cpus=0, **options).remote(*arguments))

    def call_actor(self, draw: random.Random) -> None:
        if actors := list(self.actors):
            actor, shape = draw.choice(actors), self.shape(draw)
            method = draw.choice([actor.value, actor.value, actor.keep])
            self.known.append((method.remote(*shape, *[ref for ref, *_ in self.some(draw, 2)]), *shape))

    def put(self, draw: random.Random) -> None:
        number, size = self.shape(draw)
        self.known.append((ray.put(np.full(size, number, dtype=np.uint8)), number, size))

    def read(self, draw: random.Random) -> None:
        shape, count = self.shape(draw), draw.randrange(5)
        made = stream.options(num_returns="streaming").remote(*shape, count)
        for _ in range(draw.randint(0, count)):
            item = next(made, None)
            assert item is not None or self.errors, "it ended too soon"
            if item is None:
                break
            self.known.append((item, *shape))

    def check_some(self, draw: random.Random) -> None:
        for each in self.some(draw, 3):
            self.check(*each)

    def check(self, ref: Any, number: int, size: int) -> None:
        try:
            got = ray.get(ref, timeout=PATIENCE)
        except exceptions.GetTimeoutError:
            pytest.fail(f"nothing came: {ray.why(ref)}")
        except exceptions.RayError as error:
            cause = error.cause if isinstance(error, exceptions.RayTaskError) else error
            if not isinstance(cause, tuple(self.errors)):
                raise
        else:
            assert got.size == size
            assert (got == number).all()

    def wait(self, draw: random.Random) -> None:
        refs = list({ref for ref, *_ in self.some(draw, 8)})
        if refs:
            count = draw.randint(1, len(refs))
            ready, rest = ray.wait(refs, num_returns=count, timeout=PATIENCE)
            assert len(ready) == count, f"nothing came: {ray.why(rest[0])}"
            assert len(rest) == len(refs) - count

    def forget(self, draw: random.Random) -> None:
        for each in self.some(draw, 4):
            with contextlib.suppress(ValueError):  # Another thread has.
                self.known.remove(each)

    # --- faults ---

    def cancel(self, draw: random.Random) -> None:
        self.errors |= {exceptions.TaskCancelledError, *WITHOUT_ARGUMENTS}
        for ref, *_ in self.some(draw, 1):
            with contextlib.suppress(ValueError):  # What `put` stored has no task.
                ray.cancel(ref)

    def kill(self, draw: random.Random) -> None:
        self.errors |= {exceptions.RayActorError}
        for actor in draw.sample(actors := list(self.actors), min(1, len(actors))):
            if draw.random() < 0.3:
                actor.die.remote()
            else:
                ray.kill(actor, no_restart=draw.random() < 0.5)

    def crash(self, draw: random.Random) -> None:
        self.errors |= {exceptions.RayActorError, exceptions.WorkerCrashedError}
        workers = [each.pid for each in state.list_workers() if each.worker_type == "WORKER" and each.is_alive]
        for pid in draw.sample(workers, min(1, len(workers))):
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()

    def lose(self, draw: random.Random) -> None:
        self.errors |= {exceptions.ObjectLostError, *WITHOUT_ARGUMENTS}
        engine = registry.current()
        assert engine is not None
        for file in config.shared_memory_folder(engine.process.session).iterdir():
            if draw.random() < 0.5:
                file.unlink(missing_ok=True)


FAULTS = ["cancel", "kill", "crash", "lose"]


@pytest.mark.parametrize("faults", [[], *[[fault] for fault in FAULTS], FAULTS], ids=lambda faults: "-".join(faults))
def test_a_random_program(faults: list[str]) -> None:
    ray.init(num_cpus=2, object_store_memory=16 * MIB, log_to_driver=False, logging_level="ERROR")
    try:
        program = Program("-".join(faults), faults)
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(program.run, range(THREADS)))
        while program.known:
            program.check(*program.known.pop())
        program.actors.clear()
        del threads
        gc.collect()
        eventually(
            lambda: not [each for each in state.list_tasks(limit=10_000) if each.state not in ("FINISHED", "FAILED")]
        )
        eventually(lambda: all(each.state == "DEAD" for each in state.list_actors(limit=10_000)))
        eventually(lambda: ray.available_resources() == ray.cluster_resources())
        eventually(lambda: not state.list_objects())
    finally:
        ray.shutdown()
