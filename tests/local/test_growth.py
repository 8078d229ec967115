"""What a session does again and again leaves nothing of each time."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Iterator
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.engine import registry


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
