"""The call that is deferred for the short way, and what other threads send meanwhile."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_ray.ids import return_id
from jupyter_ray.local.client.direct import Direct
from jupyter_ray.local.client.references import References
from jupyter_ray.local.client.routes import Route
from jupyter_ray.local.client.threads import Departures
from jupyter_ray.local.protocol import codec
from jupyter_ray.local.protocol import messages as m
from tests.contract.helpers import eventually

ACTOR = b"a" * 16
WORKER = b"w" * 16


class Asker:
    """Sends as the client does; a `Submit` waits for the gate."""

    def __init__(self) -> None:
        self.references = References(
            lambda drops: None, Departures(lambda: None, 0), lambda object_id, callback, awaited=False: None
        )
        self.direct = Direct(self, Path())
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.sent: list[type] = []

    def send(self, message: m.ClientMessage, *, soon: bool = True) -> None:
        if self.direct._deferred:
            self.direct.release()
        if isinstance(message, m.Submit):
            self.reached.set()
            assert self.gate.wait(30)
        self.sent.append(type(message))

    def send_later(self, message: m.ClientMessage) -> None:
        self.send(message)

    def flush(self) -> None: ...

    def want(self, chore: str) -> None: ...


@pytest.fixture
def asker() -> Asker:
    asker = Asker()
    asker.direct._routes[ACTOR] = Route(WORKER, ACTOR)
    return asker


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def spec() -> m.TaskSpec:
    return m.TaskSpec(task=b"t" * 24, kind="method", name="f", body=b"", actor=ACTOR)


@pytest.mark.parametrize("what", ["drop", "get", "kill"])
def test_nothing_overtakes_it_while_another_thread_sends_it(asker: Asker, what: str) -> None:
    call = spec()
    asker.direct.submit(call, ACTOR, 0)
    housekeeper = in_thread(asker.direct.release)
    assert asker.reached.wait(30)

    def go_on() -> None:
        if what == "drop":
            asker.direct.dropped([(ACTOR, 1)])
            asker.send(m.Drop([(ACTOR, 1)]))
        elif what == "get":
            asker.direct.call(return_id(call.task, 1))
            asker.send(m.Get(1, [return_id(call.task, 1)]))
        else:
            asker.send(m.Kill(ACTOR, True))

    other = in_thread(go_on)
    other.join(0.1)  # Time enough to overtake.
    asker.gate.set()
    housekeeper.join(30)
    other.join(30)
    assert asker.sent[0] is m.Submit
    assert len(asker.sent) == 2
    assert not asker.direct._deferred


def test_it_is_sent_once_if_what_is_sent_before_it_releases_it_too(asker: Asker) -> None:
    asker.gate.set()
    asker.direct.submit(spec(), ACTOR, 0)
    asker.send(m.Kill(ACTOR, True))
    assert asker.sent == [m.Submit, m.Kill]


@pytest.mark.parametrize("end", ["answer", "silence"])
def test_what_comes_of_a_call_is_said_after_the_call_is_told_of(asker: Asker, end: str) -> None:
    route = asker.direct._routes[ACTOR]
    ours, workers = socket.socketpair()
    route.connection = ours
    route.poll.register(ours, select.POLLIN)
    call = spec()

    def call_by_turns() -> None:
        asker.direct.submit(call, ACTOR, 0)
        asker.direct.call(return_id(call.task, 1))

    caller = in_thread(call_by_turns)
    eventually(lambda: asker.direct._under_way)
    cancel = in_thread(asker.direct.tell)  # It stops at the gate, in the midst of it.
    assert asker.reached.wait(30)
    assert not asker.direct._under_way
    if end == "answer":
        workers.sendall(codec.encode(m.Done(call.task, (m.Payload(b"1"),), False)))
    caller.join(0.1)  # Time enough to overtake, and longer than an answer is waited for.
    asker.gate.set()
    caller.join(30)
    cancel.join(30)
    if end == "silence":
        assert asker.sent == [m.Submit]
        workers.sendall(codec.encode(m.Done(call.task, (m.Payload(b"1"),), False)))
    eventually(lambda: len(asker.sent) == 2)
    assert asker.sent == [m.Submit, m.Report]
    ours.close()
    workers.close()


def test_a_handler_that_comes_while_another_thread_tells_does_not_wait_for_it(asker: Asker) -> None:
    route = asker.direct._routes[ACTOR]
    call = spec()
    asker.direct._under_way[call.task] = call, route
    other = in_thread(asker.direct.tell)
    assert asker.reached.wait(30)
    asker.direct.tell()
    assert asker.sent == []
    asker.gate.set()
    other.join(30)
    assert asker.sent == [m.Submit]
