"""A call that one thread waits for, and that others get, wait for, pass on or cancel meanwhile."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from tests.contract.helpers import eventually


@ray.remote
def sleeps(seconds: float = 0) -> int:
    time.sleep(seconds)
    return 7


@ray.remote
def passed(value: int) -> int:
    return value


@ray.remote
def opened(refs: list[Any]) -> int:
    found: int = ray.get(refs[0])
    return found


@ray.remote
class Sleeper:
    def sleeps(self, seconds: float = 0) -> int:
        time.sleep(seconds)
        return 7


def by_turns(call: Callable[..., Any]) -> None:
    """Call and wait until the calls take the shortest way that there is."""
    for _ in range(8):
        assert ray.get(call()) == 7


def after_a_moment(use: Callable[[Any], Any], ref: Any) -> Any:
    """Use a result while the thread that made the call waits for it, and before the runtime hears of it anyway."""
    time.sleep(0.002)
    return use(ref)


def ready(ref: Any) -> int:
    there, _ = ray.wait([ref], timeout=30)
    assert there == [ref]
    found: int = ray.get(there[0])
    return found


USES: dict[str, Callable[[Any], Any]] = {
    "get": ray.get,
    "wait": ready,
    "future": lambda ref: ref.future().result(30),
    "argument": lambda ref: ray.get(passed.remote(ref)),
    "contained": lambda ref: ray.get(opened.remote([ref])),
    "put": lambda ref: ray.get(ray.get(ray.put([ref]))[0]),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", ["task", "method"])
def test_another_thread_uses_what_a_thread_waits_for(cluster: Any, use: str, kind: str) -> None:
    actor = Sleeper.remote()
    call: Callable[..., Any] = sleeps.remote if kind == "task" else actor.sleeps.remote
    for _ in range(5):
        by_turns(call)
        ref = call(0.02)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(after_a_moment, USES[use], ref)
            assert ray.get(ref) == 7
            assert other.result(30) == 7


@pytest.mark.parametrize("kind", ["task", "method"])
def test_another_thread_cancels_what_a_thread_waits_for(cluster: Any, kind: str) -> None:
    actor = Sleeper.remote()
    call: Callable[..., Any] = sleeps.remote if kind == "task" else actor.sleeps.remote
    by_turns(call)
    ref = call(3)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(after_a_moment, ray.cancel, ref)
        with pytest.raises(ray.exceptions.TaskCancelledError):
            ray.get(ref)
        other.result(30)


@ray.remote
class Looping:
    async def quick(self) -> int:
        return 7

    async def busy_in_a_moment(self, begun: Path) -> int:
        def keep() -> None:
            begun.touch()
            time.sleep(0.4)

        asyncio.get_running_loop().call_later(0.05, keep)
        return 7

    async def forever(self) -> None:
        await asyncio.sleep(1000)


def test_a_call_is_cancelled_that_a_busy_event_loop_has_yet_to_take(cluster: Any, tmp_path: Path) -> None:
    actor = Looping.remote()
    by_turns(actor.quick.remote)
    assert ray.get(actor.busy_in_a_moment.remote(tmp_path / "begun")) == 7
    eventually((tmp_path / "begun").exists)
    ref = actor.forever.remote()
    cancel = threading.Timer(0.1, ray.cancel, (ref,))
    cancel.start()
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref, timeout=30)
    cancel.join()


def test_a_call_that_is_waited_for_outlives_the_last_handle(cluster: Any) -> None:
    for moment in range(6):
        actor = Sleeper.remote()
        by_turns(actor.sleeps.remote)
        ref = actor.sleeps.remote(0.1)
        del actor
        time.sleep(0.0003 * moment)
        assert ray.get(ref) == 7
