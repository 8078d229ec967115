"""What a session does again and again leaves nothing of each time."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Iterator
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray._common.test_utils import wait_for_condition
from jupyter_ray.engine import registry
from jupyter_ray.local.client import direct


@pytest.fixture
def session() -> Iterator[Any]:
    ray.init(num_cpus=1, log_to_driver=False)
    yield registry.current()
    ray.shutdown()


def test_nobody_waits_for_a_future_that_was_cancelled(session: Any) -> None:
    """Each was kept, here and in the runtime, until its reference had its value."""

    @ray.remote
    class Gate:
        async def opens(self) -> int:
            import asyncio

            await asyncio.Event().wait()
            return 1

    never = Gate.remote().opens.remote()  # type: ignore[attr-defined]
    before = len(session.client._requests)
    futures = [never.future() for _ in range(100)]
    with pytest.raises(concurrent.futures.TimeoutError):
        futures[0].result(0)
    assert len(session.client._requests) == before + 100
    assert all(future.cancel() for future in futures)
    assert len(session.client._requests) == before


@pytest.mark.parametrize("killed", [False, True])
def test_no_way_is_kept_to_actors_that_nobody_here_can_call(session: Any, killed: bool) -> None:
    """They took up all ways that a process may have: from the sixty-fourth on, calls of others went by the runtime."""

    @ray.remote
    class Actor:
        def answer(self) -> int:
            return 1

    routes = session.client.direct.routes
    for _ in range(3):
        actor = Actor.remote()  # type: ignore[attr-defined]
        while not routes._kept:
            assert ray.get(actor.answer.remote()) == 1
        if killed:
            ray.kill(actor)
        del actor
        wait_for_condition(lambda: not routes.usable and not routes._kept)


def test_actors_that_others_keep_are_forgotten_too(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handle that `get_actor` returns counts nothing, so nobody hears of its end."""
    monkeypatch.setattr(direct, "_ACTORS", 2)

    @ray.remote
    class Actor:
        def answer(self) -> int:
            return 1

    kept = [Actor.options(name=f"a{number}").remote() for number in range(5)]  # type: ignore[attr-defined]
    for _ in range(3):
        for number in range(5):
            assert ray.get(ray.get_actor(f"a{number}").answer.remote()) == 1
            assert len(session.client.direct._last) <= 2
            assert len(session.client._calls) <= 2
    for number in range(5):
        ray.kill(ray.get_actor(f"a{number}"))
    del kept
    assert len(session.client.direct._last) <= 2


def test_cells_that_have_made_calls_are_forgotten(session: Any) -> None:
    calls = session.client.direct
    for number in range(3 * direct._CELLS):
        calls.go_on(f"cell {number}")
    assert len(calls.cells) <= direct._CELLS
    assert f"cell {3 * direct._CELLS - 1}" in calls.cells


def test_a_worker_counts_no_calls_of_functions_that_may_be_called_without_end(session: Any) -> None:
    """It kept a number for each that it had ever run, and each run of a cell makes another one."""

    def counted() -> int:
        import gc

        codes = [each for each in gc.get_objects() if type(each).__module__ == "jupyter_ray.local.worker.code"]
        assert len(codes) == 1
        return len(codes[0]._calls)

    assert [ray.get(ray.remote(counted).remote()) for _ in range(3)] == [0, 0, 0]


def test_a_session_adds_nothing_to_what_is_done_in_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing takes back what `os.register_at_fork` was given: each session's stayed for ever."""
    ray.init(num_cpus=1, log_to_driver=False)
    ray.shutdown()
    registered: list[Any] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hooks: registered.append(hooks))
    for _ in range(2):
        ray.init(num_cpus=1, log_to_driver=False)
        ray.shutdown()
    assert not registered
