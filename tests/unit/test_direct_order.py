"""The call that is deferred for the short way, and what other threads send meanwhile."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jupyter_ray.engine.refs import ActorRef, ObjectRef
from jupyter_ray.ids import return_id
from jupyter_ray.local.client.direct import Deferred, Direct
from jupyter_ray.local.client.references import References
from jupyter_ray.local.client.routes import Route
from jupyter_ray.local.client.threads import Departures
from jupyter_ray.local.protocol import codec
from jupyter_ray.local.protocol import messages as m
from tests.contract.helpers import eventually

ACTOR = b"a" * 16
WORKER = b"w" * 16
LEASED = b"l" * 16


class Asker:
    """Sends as the client does; a `Submit` waits for the gate."""

    def __init__(self) -> None:
        self.references = References(
            lambda drops: None, Departures(lambda: None, 0), lambda object_id, callback, awaited=False: None
        )
        self.direct = Direct(self, Path())
        self.handle: object = None
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.sent: list[type] = []
        self.order: list[bytes] = []
        """The calls that were submitted."""
        self.channel = threading.RLock()

    def send(self, message: m.ClientMessage, *, soon: bool = True) -> None:
        self.direct.precede(message)
        self.send_if(lambda: True, message)

    def send_if(self, claim: Callable[[], object], message: m.ClientMessage) -> None:
        self.send_later(message, claim)

    def send_later(self, message: m.ClientMessage, claim: Callable[[], object] | None = None) -> bool:
        with self.channel:
            if claim is not None and claim() is None:
                return False
            if isinstance(message, m.Submit):
                self.reached.set()
                assert self.gate.wait(30)
                self.order.append(message.spec.task)
            self.sent.append(type(message))
            return True

    def push(self) -> None: ...

    def want(self, chore: str) -> None: ...


@pytest.fixture
def asker() -> Asker:
    asker = Asker()
    asker.handle = asker.references.reference(ACTOR, ActorRef, 1)
    asker.direct.routes.usable[ACTOR] = Route(WORKER, ACTOR)
    return asker


class Workers:
    """The worker's end of a route."""

    def __init__(self, asker: Asker) -> None:
        self.ours, self.end = socket.socketpair()
        route = asker.direct.routes.usable[ACTOR]
        route.connection = self.ours
        route.poll.register(self.ours, select.POLLIN)

    def answer(self, task: bytes) -> None:
        self.end.sendall(codec.encode(m.Done(task, (m.Payload(b"1"),), False)))


@pytest.fixture
def workers(asker: Asker) -> Iterator[Workers]:
    workers = Workers(asker)
    yield workers
    workers.ours.close()
    workers.end.close()


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def spec(task: bytes = b"t" * 24, actor: bytes | None = ACTOR) -> m.TaskSpec:
    return m.TaskSpec(task=task, kind="method" if actor else "task", name="f", body=b"", actor=actor)


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
    assert not asker.direct.deferred


def test_it_is_sent_once_if_what_is_sent_before_it_releases_it_too(asker: Asker) -> None:
    asker.gate.set()
    asker.direct.submit(spec(), ACTOR, 0)
    asker.send(m.Kill(ACTOR, True))
    assert asker.sent == [m.Submit, m.Kill]


@pytest.mark.parametrize("end", ["answer", "silence"])
def test_what_comes_of_a_call_is_said_after_the_call_is_told_of(asker: Asker, workers: Workers, end: str) -> None:
    call = spec()

    def call_by_turns() -> None:
        asker.direct.submit(call, ACTOR, 0)
        asker.direct.call(return_id(call.task, 1))

    caller = in_thread(call_by_turns)
    eventually(lambda: asker.direct.under_way)
    cancel = in_thread(asker.direct.tell)  # It stops at the gate, in the midst of it.
    assert asker.reached.wait(30)
    assert not asker.direct.under_way
    if end == "answer":
        workers.answer(call.task)
    caller.join(0.1)  # Time enough to overtake, and longer than an answer is waited for.
    asker.gate.set()
    caller.join(30)
    cancel.join(30)
    if end == "silence":
        assert asker.sent == [m.Submit]
        workers.answer(call.task)
    eventually(lambda: len(asker.sent) == 2)
    assert asker.sent == [m.Submit, m.Report]


def test_the_answer_to_another_call_is_nobody_s_value(asker: Asker, workers: Workers) -> None:
    call = spec()
    asker.gate.set()
    ref = asker.references.reference(return_id(call.task, 1), ObjectRef, 1)
    asker.direct.submit(call, ACTOR, 0)
    workers.answer(b"o" * 24)
    asker.direct.call(ref.binary())
    assert ref.binary() not in asker.references.payloads
    assert asker.sent == [m.Submit]  # The runtime is asked for it.
    assert ACTOR not in asker.direct.routes.usable


def test_a_handler_that_comes_while_another_thread_tells_does_not_wait_for_it(asker: Asker) -> None:
    route = asker.direct.routes.usable[ACTOR]
    call = spec()
    asker.direct.under_way[call.task] = call, route
    with asker.channel:  # It came while its thread was sending.
        other = in_thread(asker.direct.tell)
        asker.gate.set()
        asker.direct.tell()
        assert asker.sent == [m.Submit]
    other.join(30)
    assert asker.sent == [m.Submit]


CALL = spec()
RESULT = return_id(CALL.task, 1)
NAMING = [
    m.Get(1, [RESULT]),
    m.Wait(1, [RESULT], 1),
    m.Cancel(RESULT, False, True),
    m.Submit(m.TaskSpec(b"u" * 24, "task", "g", b"", "", (RESULT,))),
    m.Submit(m.TaskSpec(b"u" * 24, "task", "g", b"", "", (), (RESULT,))),
    m.Export("g", 1, "g", b"", [RESULT]),
    m.Put(b"p" * 28, m.Payload(b"1", contained=(RESULT,))),
    m.Item(b"s" * 24, 1, m.Payload(b"1", contained=(RESULT,))),
    m.Done(b"d" * 24, (m.Payload(b"1", contained=(RESULT,)),)),
]


@pytest.mark.parametrize("message", NAMING, ids=lambda message: type(message).__name__)
def test_what_names_a_call_under_way_is_said_after_the_call(
    asker: Asker, workers: Workers, message: m.ClientMessage
) -> None:
    asker.gate.set()

    def call_by_turns() -> None:
        asker.direct.submit(CALL, ACTOR, 0)
        asker.direct.call(RESULT)

    caller = in_thread(call_by_turns)
    eventually(lambda: asker.direct.under_way)
    asker.send(m.Get(2, [b"o" * 28]))
    asker.send(message)
    workers.answer(CALL.task)
    eventually(lambda: m.Report in asker.sent)
    caller.join(30)
    named = asker.sent[-3:]
    assert named == [m.Submit, type(message), m.Report]
    assert m.Ran not in asker.sent


def test_what_names_a_call_that_is_being_brought_waits_until_it_is_there(asker: Asker) -> None:
    asker.gate.set()
    asker.direct.submit(CALL, ACTOR, 0)
    assert asker.direct._take(RESULT) is not None
    asking = in_thread(lambda: asker.send(m.Get(1, [RESULT])))
    asking.join(0.1)
    assert asking.is_alive()
    asker.direct.routes.usable[ACTOR].bringing.release()
    asking.join(30)
    assert asker.sent == [m.Submit, m.Get]


def test_what_names_a_call_that_could_not_be_brought_is_said_after_the_call(asker: Asker) -> None:
    asker.gate.set()
    asker.direct.submit(CALL, ACTOR, 0)
    taken = asker.direct._take(RESULT)
    assert taken is not None
    call, route, _ = taken
    asking = in_thread(lambda: asker.send(m.Get(1, [RESULT])))
    asking.join(0.1)
    assert asker.direct._bring(call, route) is None  # There is no such socket.
    asking.join(30)
    assert asker.sent == [m.Submit, m.Get]
    assert not asker.direct.under_way
    assert not asker.direct.deferred


def test_a_call_that_could_not_be_brought_and_one_that_is_being_sent_are_both_sent_once(asker: Asker) -> None:
    asker.direct.submit(CALL, ACTOR, 0)
    taken = asker.direct._take(RESULT)
    assert taken is not None
    other = spec(b"u" * 24, actor=None)
    asker.direct.deferred.append(Deferred(other, 0, Route(LEASED, "key"), 0, None))
    sending = in_thread(asker.direct.release)
    assert asker.reached.wait(30)
    assert asker.direct._bring(*taken[:2]) is None
    asker.gate.set()
    sending.join(30)
    asker.direct.release()
    assert asker.order == [other.task, CALL.task]


def test_the_end_of_a_call_is_said_before_what_another_thread_says_of_it(asker: Asker, workers: Workers) -> None:
    """It must not find the call gone before that is said."""
    asking: list[threading.Thread] = []
    later = asker.send_later

    def send_later(message: m.ClientMessage, claim: Callable[[], object] | None = None) -> bool:
        if isinstance(message, m.Ran):
            asking.append(in_thread(lambda: asker.send(m.Get(1, [RESULT]))))
            asking[0].join(0.1)
        return later(message, claim)

    asker.gate.set()
    asker.send_later = send_later  # type: ignore[method-assign]
    workers.answer(CALL.task)
    asker.direct.submit(CALL, ACTOR, 0)
    asker.direct.call(RESULT)
    asking[0].join(30)
    assert asker.sent in ([m.Submit, m.Get, m.Report], [m.Ran, m.Get])


def test_the_actor_is_held_while_its_call_is_under_way(asker: Asker) -> None:
    asker.direct.submit(CALL, ACTOR, 0)
    asker.handle = None
    taken = asker.direct._take(RESULT)
    assert taken is not None
    asker.references.flush()
    assert asker.references.is_granted(ACTOR)


def test_a_call_does_not_go_the_short_way_when_its_actor_was_just_let_go(asker: Asker) -> None:
    asker.gate.set()
    asker.direct.submit(CALL, ACTOR, 0)
    asker.handle = None
    asker.references.flush()  # The runtime is about to hear of it.
    asker.direct.call(RESULT)
    assert asker.sent == [m.Submit]


def test_the_last_call_of_an_actor_is_the_last(asker: Asker) -> None:
    """One that was deferred is sent before it."""
    asker.gate.set()
    asker.direct.submit(CALL, ACTOR, 0)
    asker.direct.submit(spec(b"u" * 24), ACTOR, 0)
    assert asker.order == [b"t" * 24, b"u" * 24]
    asker.direct.offered(m.Route(WORKER, ACTOR, b"t" * 24))
    assert ACTOR not in asker.direct
    asker.direct.offered(m.Route(WORKER, ACTOR, b"u" * 24))
    assert ACTOR in asker.direct


def test_a_lease_is_given_back_once(asker: Asker) -> None:
    """Another thread has done that between the look for leases and the look at this one."""
    asker.direct.offered(m.Route(LEASED, env="", demand={"CPU": 10_000}, definition="f", version=1))
    (route,) = (route for route in asker.direct.routes.usable.values() if route.leased)
    route.used = 100
    busy = route.busy

    class Busy:
        def acquire(self, blocking: bool = True) -> bool:
            if asker.sent == []:
                route.busy = busy
                asker.direct.withdrawn(m.Unroute(LEASED))
            return busy.acquire(blocking)

        def release(self) -> None:
            busy.release()

    route.busy = Busy()  # type: ignore[assignment]
    asker.direct.tidy()
    assert asker.sent == [m.Unlease]
    assert not busy.locked()
