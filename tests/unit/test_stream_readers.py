"""Several threads, or event loops, that read one stream: each item goes to one of them, and nobody takes a lost race
for the end of the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from jupyter_ray.exceptions import GetTimeoutError
from jupyter_ray.local.client.references import References
from jupyter_ray.local.client.streams import Stream, StreamState
from jupyter_ray.local.client.threads import Departures
from jupyter_ray.local.protocol import messages as m

TASK = b"t" * 24


class Owner:
    """A client that says nothing."""

    def __init__(self) -> None:
        self.departures = Departures(lambda: None, 0)
        self.references = References(
            lambda drops: None, self.departures, lambda object_id, callback, awaited=False: None
        )

    def send(self, message: m.ClientMessage, *, soon: bool = True) -> None: ...

    def ask(
        self, make: Callable[[int, bytes | None], m.ClientMessage], blocks: bool, until: float | None = None
    ) -> object: ...

    def want(self, chore: str) -> None: ...

    def attention(self) -> None: ...

    def get(self, ids: Sequence[bytes], timeout: float | None) -> list[object]:
        return []

    def check_alive(self) -> None: ...


class Shared(Stream):
    """A stream whose items another reader takes, whenever this one has heard of them."""

    stolen = 0

    def _take(self) -> object:  # type: ignore[override]
        if self._state.coming and Shared.stolen < 2:
            Shared.stolen += 1
            super()._take()
        return super()._take()


@pytest.fixture
def stream() -> Shared:
    Shared.stolen = 0
    owner = Owner()
    stream = Shared(StreamState(TASK), owner, lambda task, index, soon=True: None, 0)
    stream._state.update(m.StreamState(TASK, 1, False), owner.references)
    return stream


def test_a_thread_goes_on_waiting_if_another_has_taken_the_item(stream: Shared) -> None:
    with pytest.raises(GetTimeoutError):
        stream.next(0.1)
    assert Shared.stolen == 1
    stream._state.fail()
    assert stream.next(None) is None


def test_a_coroutine_goes_on_waiting_if_another_thread_has_taken_the_item(stream: Shared) -> None:
    async def read() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.next_async(), 0.1)
        assert stream._state.listeners == []  # Who stops waiting leaves nothing behind.
        stream._state.fail()
        assert await stream.next_async() is None

    asyncio.run(read())
    assert Shared.stolen == 1
