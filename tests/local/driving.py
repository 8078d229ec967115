"""A random program that is one of several drivers of a runtime: `python -m tests.local.driving ADDRESS SEED FOLDER`.

What goes from driver to driver goes through the actor that the first one has named `exchange`. Whoever made something
may be gone at any time, so a value of another driver is right, or missing for a reason that names an end. What
must not be is written to the folder.
"""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.util import state
from jupyter_ray.util.placement_group import get_placement_group, placement_group, remove_placement_group
from jupyter_ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

PATIENCE = 60.0
LARGE = 300_000
KINDS = {
    **{"call": 8, "check": 8, "offer": 6, "take": 8, "race": 4, "actor": 3, "pass_on": 3, "stream": 2, "wait": 4},
    **{"cancel": 2, "kill": 1, "group": 2, "named_group": 1, "forget": 4, "put": 3, "look": 2, "again": 1, "alone": 2},
}
"""What a program does, and how often."""
ENDS = (
    exceptions.TaskCancelledError,
    exceptions.RayActorError,
    exceptions.WorkerCrashedError,
    exceptions.ObjectLostError,
    exceptions.TaskPlacementGroupRemoved,
    exceptions.ActorPlacementGroupRemoved,
)
"""What may come instead of a value, since somebody has ended or stopped something."""


@ray.remote(num_cpus=0.5)
def value(number: int, size: int, *arguments: Any) -> bytes:
    print(f"mark {ray.get_runtime_context().get_job_id()}")
    return bytes([number]) * size


@ray.remote(num_cpus=0.5)
def slow(number: int, size: int, *arguments: Any) -> bytes:
    time.sleep(0.1)
    return bytes([number]) * size


@ray.remote(num_cpus=0.5)
def nested(number: int, size: int, *arguments: Any) -> Any:
    return ray.get([value.remote(number, size), slow.remote(0, 1)])[0]


@ray.remote(num_cpus=0.5)
def borrowing(number: int, size: int, refs: list[Any]) -> Any:
    """Wait for what it was given, whatever becomes of that."""
    ray.wait(refs, num_returns=len(refs))
    return bytes([number]) * size


@ray.remote(num_cpus=0.5)
def items(number: int, size: int, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield bytes([number]) * size


@ray.remote(num_cpus=0)
class Keeper:
    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.calls = 0

    def count(self) -> int:
        self.calls += 1
        return self.calls

    def value(self, number: int, size: int, *arguments: Any) -> bytes:
        return bytes([number]) * size

    def nested(self, number: int, size: int, *arguments: Any) -> Any:
        self.kept[3:] = []
        self.kept.insert(0, ray.put(1))
        return ray.get(value.remote(number, size))

    def keep(self, refs: list[Any]) -> None:
        self.kept[3:] = []
        self.kept.insert(0, refs)


@ray.remote(num_cpus=0)
class Exchange:
    """Made by the first driver: holds what drivers have offered each other."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.offers: list[Any] = []

    def offer(self, entry: Any) -> None:
        self.offers.append(entry)
        if len(self.offers) > 12:
            del self.offers[self.draw.randrange(len(self.offers))]

    def take(self, most: int) -> list[Any]:
        return self.draw.sample(self.offers, min(most, len(self.offers)))

    def clear(self) -> None:
        self.offers.clear()


class Program:
    """Draws actions and does them."""

    def __init__(self, address: str, seed: str, folder: Path) -> None:
        self.address, self.folder = address, folder
        self.draw = random.Random(seed)
        self.known: list[tuple[Any, int, int]] = []
        self.actors: list[Any] = []
        self.doing = "join"
        self.joined = False
        """Not where an interrupt came between two sessions."""
        self.join()

    def join(self) -> None:
        ray.init(self.address, namespace="shared", logging_level="ERROR")
        self.exchange = ray.get_actor("exchange")
        job = ray.get_runtime_context().get_job_id()
        print(f"job {job}")
        self.joined = True

    def run(self, until: Path) -> None:
        """Go on until the file is there."""
        done = False
        while not done:
            try:
                done = until.exists()
                [kind] = self.draw.choices([*KINDS], [*KINDS.values()]) if self.joined else ["again"]
                self.doing = kind
                getattr(self, kind)()
            except KeyboardInterrupt:
                pass
            except ENDS as error:  # Where somebody may have ended what is used, that is looked at there.
                self.complain(f"{kind}: {error!r}")
        for each in self.known:
            with contextlib.suppress(KeyboardInterrupt):
                self.look_at(*each)

    def complain(self, text: str) -> None:
        place = self.folder / f"failed-{os.getpid()}"
        with place.open("a") as file:
            file.write(f"{text}\n{''.join(traceback.format_exc())}\n")

    def shape(self) -> tuple[int, int]:
        return self.draw.randrange(250), self.draw.choice([1, 1000, LARGE])

    def some(self, most: int) -> list[tuple[Any, int, int]]:
        return self.draw.sample(self.known, min(len(self.known), self.draw.randint(0, most)))

    def refs(self, most: int) -> list[Any]:
        return [each[0] for each in self.some(most)]

    def look_at(self, ref: Any, number: int, size: int, *, missing: bool = True) -> None:
        try:
            got = ray.get(ref, timeout=PATIENCE)
        except exceptions.GetTimeoutError:
            self.complain(f"nothing came: {ray.why(ref)}")
        except exceptions.RayError as error:
            cause = error.cause if isinstance(error, exceptions.RayTaskError) else error
            if not missing or not isinstance(cause, ENDS):
                self.complain(f"what is this: {error!r}")
        else:
            if got != bytes([number]) * size:
                self.complain(f"a wrong value: {number, size, got[:5]}")

    # --- what it does ---

    def call(self) -> None:
        shape = self.shape()
        if self.draw.random() < 0.2:
            ref = borrowing.remote(*shape, self.refs(2) or [ray.put(1)])
        else:
            ref = self.draw.choice([value, slow, nested]).remote(*shape, *self.refs(2))
        self.known.append((ref, *shape))

    def put(self) -> None:
        number, size = self.shape()
        self.known.append((ray.put(bytes([number]) * size), number, size))

    def actor(self) -> None:
        self.actors[2:] = []
        name = f"own {os.getpid()} {self.draw.randrange(10**9)}" if self.draw.random() < 0.5 else None
        restarts = self.draw.choice([0, 1])
        self.actors.insert(0, Keeper.options(name=name, max_restarts=restarts).remote())

    def alone(self) -> None:
        """One call after the other, which goes straight to a worker; nobody else has these references."""
        for _ in range(10):
            shape = self.shape()
            self.look_at(value.remote(*shape), *shape, missing=False)

    def race(self) -> None:
        """Ask for actors at the same time as others do."""
        number = self.draw.randrange(3)
        detached = {"lifetime": "detached"} if number else {}
        actor = Keeper.options(name=f"race {number}", get_if_exists=True, **detached).remote()
        self.use(actor)
        self.actors.append(actor)

    def use(self, actor: Any) -> None:
        shape = self.shape()
        way = self.draw.choice(["count", "value", "nested", "keep", "quick"])
        try:
            if way == "quick":
                counts = [ray.get(actor.count.remote(), timeout=PATIENCE) for _ in range(8)]
                if counts != sorted(counts):
                    self.complain(f"calls in a wrong order: {counts}")
            elif way == "count":
                counts = ray.get([actor.count.remote() for _ in range(8)], timeout=PATIENCE)
                if counts != sorted(counts):
                    self.complain(f"calls in a wrong order: {counts}")
            elif way == "keep":
                ray.get(actor.keep.remote(self.refs(2)), timeout=PATIENCE)
            else:
                self.known.append((getattr(actor, way).remote(*shape, *self.refs(1)), *shape))
        except exceptions.GetTimeoutError:
            self.complain(f"nothing came of {actor}: {ray.why(actor)}")
        except exceptions.RayActorError:
            pass

    def pass_on(self) -> None:
        if self.actors:
            self.use(self.draw.choice(self.actors))

    def offer(self) -> None:
        entry: Any
        if self.actors and self.draw.random() < 0.3:
            entry = ("actor", self.draw.choice(self.actors))
        else:
            entry = ("refs", self.some(3))
        ray.get(self.exchange.offer.remote(entry), timeout=PATIENCE)

    def take(self) -> None:
        for kind, found in ray.get(self.exchange.take.remote(2), timeout=PATIENCE):
            if kind == "actor":
                self.use(found)
                if self.draw.random() < 0.5:
                    self.actors.append(found)
                continue
            for each in found:
                if self.draw.random() < 0.5:
                    self.look_at(*each)
                if self.draw.random() < 0.5:
                    self.known.append(tuple(each))

    def check(self) -> None:
        for each in self.some(3):
            self.look_at(*each)

    def forget(self) -> None:
        for each in self.some(6):
            self.known.remove(each)
        self.known[40:] = []

    def wait(self) -> None:
        refs = list(dict.fromkeys(self.refs(6)))
        if refs:
            ready, rest = ray.wait(
                refs, num_returns=self.draw.randint(1, len(refs)), timeout=self.draw.choice([0, 0.05, PATIENCE])
            )
            if len(ready) + len(rest) != len(refs):
                self.complain("wait lost references")

    def stream(self) -> None:
        number, size = self.shape()
        made = items.options(_generator_backpressure_num_objects=self.draw.choice([-1, 2])).remote(number, size, 5)
        for _ in range(self.draw.randint(0, 5)):
            self.known.append((next(made), number, size))

    def cancel(self) -> None:
        for ref in self.refs(1):
            with contextlib.suppress(ValueError):  # What `put` stored has no task; a method cannot be forced.
                ray.cancel(ref, force=self.draw.random() < 0.3)

    def kill(self) -> None:
        if self.actors:
            ray.kill(self.draw.choice(self.actors), no_restart=self.draw.random() < 0.7)

    def group(self) -> None:
        made = placement_group([{"CPU": 0.01}])
        strategy = PlacementGroupSchedulingStrategy(made)
        shape = self.shape()
        self.known.append((value.options(num_cpus=0.01, scheduling_strategy=strategy).remote(*shape), *shape))
        if self.draw.random() < 0.5:
            self.look_at(*self.known[-1])
        if self.draw.random() < 0.7:
            remove_placement_group(made)

    def named_group(self) -> None:
        name, shape = f"group {self.draw.randrange(2)}", self.shape()
        try:
            found = get_placement_group(name)
        except ValueError:
            with contextlib.suppress(exceptions.RaySystemError):  # Another was quicker.
                placement_group([{"CPU": 0.01}], name=name, lifetime=self.draw.choice([None, "detached"]))
            return
        try:
            ref = value.options(num_cpus=0.01, scheduling_strategy=PlacementGroupSchedulingStrategy(found)).remote(
                *shape
            )
        except ValueError:  # It has gone.
            return
        self.known.append((ref, *shape))
        if self.draw.random() < 0.5:
            remove_placement_group(found)

    def look(self) -> None:
        assert state.list_jobs()
        assert state.list_tasks(limit=10)
        state.list_objects(limit=10)
        ray.util.list_named_actors(all_namespaces=True)
        for ref in self.refs(2):
            assert ray.why(ref)
        ray.available_resources()

    def again(self) -> None:
        """Leave, and join as another job."""
        self.joined = False
        self.known.clear()
        self.actors.clear()
        ray.shutdown()
        self.join()


def main() -> None:
    address, seed, folder = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    program = None
    try:
        program = Program(address, seed, Path(folder))
        (Path(folder) / f"joined-{os.getpid()}").touch()
        program.run(Path(folder) / "end")
    except BaseException:
        with (Path(folder) / f"failed-{os.getpid()}").open("a") as file:
            file.write(f"{program and program.doing}\n{traceback.format_exc()}")
        raise


if __name__ == "__main__":
    from tests.local import driving

    driving.main()
