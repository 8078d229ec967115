"""Tasks that wait and hold their CPUs: of which one thread goes on, and streams that wait for their readers."""

from __future__ import annotations

import pytest

from jupyter_ray.exceptions import ResourceDeadlockError
from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler.stimuli import Tick
from jupyter_ray.resources import PARTS
from tests.unit.test_scheduler import DRIVER, VALUE, Session


def halfway(**resources: int) -> tuple[Session, bytes, bytes, bytes]:
    """Return a session, a task that goes on with one thread and waits with another, its worker, and what for."""
    session = Session(**resources)
    outer = session.submit("outer", demand={name: amount * PARTS for name, amount in resources.items()})
    worker = session.worker_of(outer)
    first = session.submit("first", worker, parent=outer, demand={"CPU": PARTS} if "CPU" in resources else {})
    second = session.submit("second", worker, parent=outer, demand=dict.fromkeys(resources, PARTS))
    session.get(first, 11, worker, task=outer)
    session.get(second, 12, worker, task=outer)
    session.finish(first)
    assert [reply.request for reply in session.of(m.Reply, worker)] == [11]
    assert session.running() == ["outer"], "the call of its first thread has returned: it has its CPU back"
    return session, outer, worker, second


def later(session: Session, seconds: float) -> None:
    session.now += seconds
    session.happen(Tick())


def test_it_lends_its_cpu_again_after_a_moment() -> None:
    session, outer, worker, second = halfway(CPU=1)
    assert session.scheduler.wants_tick
    later(session, 0.1)
    assert session.running() == ["outer"]
    later(session, 0.2)
    assert session.running() == ["second"]
    session.finish(second)
    assert session.running() == ["outer"]
    assert [reply.request for reply in session.of(m.Reply, worker)] == [11, 12]
    session.finish(outer)
    assert session.scheduler.state.ledger.free == {"CPU": PARTS}


def test_it_keeps_it_where_nothing_waits() -> None:
    session = Session(CPU=2)
    outer = session.submit("outer")
    worker = session.worker_of(outer)
    first, second = (session.submit(name, worker, parent=outer) for name in ("first", "second"))
    session.get(first, 11, worker, task=outer)
    session.get(second, 12, worker, task=outer)
    session.finish(first)
    later(session, 10.0)
    assert session.running() == ["outer", "second"]


def test_what_it_keeps_may_be_what_the_other_thread_waits_for() -> None:
    session, _, _, _ = halfway(GPU=1)
    session.let_pass(5)
    assert isinstance(session.error_of(12), ResourceDeadlockError)


def test_the_wait_that_closes_a_circle_is_the_one_that_is_refused() -> None:
    """A method waits for a task, and with another thread for its own actor."""
    session = Session(CPU=1)
    actor = session.actor()
    method = session.submit("method", kind="method", actor=actor, demand={})
    worker = session.worker_of(method)
    slow = session.submit("slow", worker, parent=method)
    own = session.submit("own", worker, parent=method, kind="method", actor=actor, demand={})
    session.get(slow, 11, worker, task=method)
    session.get(own, 12, worker, task=method)
    session.let_pass(5)
    assert isinstance(session.error_of(12), ResourceDeadlockError)
    session.finish(slow)
    assert [reply.request for reply in session.of(m.Reply, worker)] == [12, 11]


@pytest.mark.parametrize("cpus", [1, 2])
def test_what_a_thread_of_an_earlier_attempt_waits_for_is_no_wait_of_the_next(cpus: int) -> None:
    session = Session(CPU=cpus)
    outer = session.submit("outer", max_retries=2)
    worker = session.worker_of(outer)
    inner = session.submit("inner", worker, demand={})
    session.get(inner, 11, worker, task=outer)
    ahead = session.submit("ahead", demand={"CPU": cpus * PARTS})
    session.say(worker, m.Done(outer, (VALUE,), failed=True, retry=True, error="it raised"))
    session.finish(inner)
    assert [reply.request for reply in session.of(m.Reply, worker)] == [11]
    session.finish(ahead)
    assert session.running() == ["outer"]
    again = session.worker_of(outer)
    session.get(session.submit("more", again, parent=outer), 12, again, task=outer)
    assert session.running() == ["more"]


def test_why_tells_what_the_other_thread_waits_for() -> None:
    session, outer, _, second = halfway(CPU=1)
    session.say(DRIVER, m.Query(99, "why", {"id": return_id(outer, 1)}))
    told = session.of(m.Answer)[-1].value
    assert "a thread of it waits in get() or wait(): the result of second" in told
    assert f"second ({second.hex()[:8]}) waits for CPU: 1" in told


def stream_and_reader(session: Session) -> tuple[bytes, bytes, bytes, bytes]:
    """Return a task that reads a stream of its own, its worker, the stream, and the worker of that."""
    reader = session.submit("reader")
    worker = session.worker_of(reader)
    stream = session.submit("stream", worker, parent=reader, num_returns=m.STREAMING)
    session.say(worker, m.Wait(11, [return_id(stream, 2), return_id(stream, 1)], 1, None, reader))
    return reader, worker, stream, session.worker_of(stream)


def test_a_stream_that_waits_for_its_reader_lends_the_reader_its_cpu() -> None:
    session = Session(CPU=1)
    reader, worker, stream, maker = stream_and_reader(session)
    session.say(maker, m.Item(stream, 1, VALUE))
    assert session.running() == ["stream"], "its reader has what it waited for, and no CPU"
    session.say(maker, m.AwaitRead(21, stream, 1))
    assert session.running() == ["reader"]
    assert [reply.request for reply in session.of(m.Reply, worker)] == [11]
    session.say(worker, m.Consumed(stream, 1))
    assert not session.of(m.Reply, maker), "it needs the CPU for the next item"
    session.say(worker, m.Wait(12, [return_id(stream, 3), return_id(stream, 1)], 1, None, reader))
    assert session.running() == ["stream"]
    assert [reply.request for reply in session.of(m.Reply, maker)] == [21]
    session.say(maker, m.Done(stream, ()))
    session.finish(reader)
    assert session.scheduler.state.ledger.free == {"CPU": PARTS}


def test_a_stream_that_waits_keeps_its_cpu_where_nobody_needs_it() -> None:
    session = Session(CPU=1)
    stream = session.submit("stream", num_returns=m.STREAMING)
    maker = session.worker_of(stream)
    session.say(maker, m.Item(stream, 1, VALUE))
    session.say(maker, m.AwaitRead(21, stream, 1))
    later(session, 10.0)
    assert session.running() == ["stream"]
    session.say(DRIVER, m.Query(99, "why", {"id": return_id(stream, 1)}))
    assert "waits for its reader (10.0 s so far)" in session.of(m.Answer)[-1].value
    session.submit("other")
    later(session, 0.3)
    assert session.running() == ["other"], "its reader may wait for that"
    session.say(DRIVER, m.Consumed(stream, -1))
    assert session.running() == ["other"]


def test_who_reads_no_more_lets_a_stream_go_on() -> None:
    session = Session(CPU=1)
    stream = session.submit("stream", num_returns=m.STREAMING)
    maker = session.worker_of(stream)
    session.say(maker, m.AwaitRead(21, stream, 1))
    session.say(DRIVER, m.Consumed(stream, -1))
    session.say(maker, m.AwaitRead(22, stream, 2))
    assert [reply.request for reply in session.of(m.Reply, maker)] == [21, 22]
