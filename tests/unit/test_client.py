"""The client against a runtime that does what the test says."""

from __future__ import annotations

import asyncio
import gc
import queue
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_ray.config import ACTOR_BACKLOG
from jupyter_ray.engine import context, refs
from jupyter_ray.engine.base import Definition
from jupyter_ray.engine.context import ProcessContext
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.events import AnyEvent, LogLines, TaskFinished
from jupyter_ray.exceptions import (
    GetTimeoutError,
    ObjectLostError,
    RaySystemError,
    ResourceDeadlockError,
    TaskUnschedulableError,
)
from jupyter_ray.ids import return_id
from jupyter_ray.local.client import events
from jupyter_ray.local.client.client import Client
from jupyter_ray.local.client.threads import CallbackThread
from jupyter_ray.local.engine.local import LocalEngine
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler import errors
from jupyter_ray.local.serialization import values
from jupyter_ray.local.store.segments import SegmentStore
from jupyter_ray.options import MethodOptions, TaskOptions
from tests.contract.helpers import PATIENCE, eventually
from tests.fake_runtime import FakeRuntime, value_of

A, B = b"a" * 28, b"b" * 28
PROCESS = ProcessContext(job=b"j" * 4, node=b"n" * 28, worker=b"w" * 28, is_driver=True, namespace="ns", session="test")


class Session:
    """A client, its engine, and the runtime that a test plays."""

    def __init__(self, folder: Path) -> None:
        self.runtime = FakeRuntime()
        self.deaths: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.client = Client(self.runtime.connection, SegmentStore(folder, b"c" * 16), on_death=self.deaths.put)
        self.engine = LocalEngine(self.client, PROCESS)
        self.engine.total = {"CPU": 20_000}
        self.client.start(m.Hello("driver", b"c" * 16, 1))

    def in_thread(self, function: Any, *args: Any) -> queue.SimpleQueue[Any]:
        """Run `function` in a thread; return where its value or error will be."""
        result: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def run() -> None:
            try:
                result.put(function(*args))
            except BaseException as error:
                result.put(error)

        threading.Thread(target=run, daemon=True).start()
        return result

    def held(self, object_id: bytes) -> ObjectRef[Any]:
        """Return a reference that the runtime has granted."""
        return self.client.references.reference(object_id, ObjectRef, 1)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path)
    yield session
    refs.set_counter(None)
    session.client.close()
    session.runtime.close()


def test_get_asks_once_and_keeps_order(session: Session) -> None:
    one, two = session.held(A), session.held(B)
    result = session.in_thread(session.engine.get, [two, one, two], None)
    asked = session.runtime.expect(m.Get)
    assert asked.ids == [B, A]
    session.runtime.say(m.Reply(asked.request, [A, B], [value_of("a"), value_of("b")]))
    assert result.get(timeout=5) == ["b", "a", "b"]
    assert session.engine.get([one, two], None) == ["a", "b"]  # No request: the values are known here.


def test_values_are_new_each_time(session: Session) -> None:
    ref = session.engine.put([1])
    first, second = session.engine.get([ref], None)[0], session.engine.get([ref], None)[0]
    assert first == second == [1]
    assert first is not second


def test_the_time_is_up(session: Session) -> None:
    one, two = session.held(A), session.held(B)
    result = session.in_thread(session.engine.get, [one, two], 0)
    asked = session.runtime.expect(m.Get)
    assert (asked.timeout, asked.task) == (0, None)
    session.runtime.say(m.Reply(asked.request, [A], [value_of(1)], False))
    assert isinstance(result.get(timeout=5), GetTimeoutError)
    assert session.engine.get([one], 0) == [1]


def test_the_first_error_is_raised(session: Session) -> None:
    one, two = session.held(A), session.held(B)
    result = session.in_thread(session.engine.get, [one, two], None)
    asked = session.runtime.expect(m.Get)
    session.runtime.say(m.Reply(asked.request, [B], [errors.lost(B)]))
    assert isinstance(result.get(timeout=5), ObjectLostError)
    with pytest.raises(ObjectLostError):
        session.engine.get([two], None)


def test_a_refusal_is_no_value(session: Session) -> None:
    """Whoever asks again, when what closed the circle is gone, gets the value."""
    ref = session.held(A)
    result = session.in_thread(session.engine.get, [ref], None)
    asked = session.runtime.expect(m.Get)
    session.runtime.say(m.Reply(asked.request, [A], [errors.deadlock("a story")], refused=True))
    assert isinstance(result.get(timeout=5), ResourceDeadlockError)
    ready = session.in_thread(session.engine.wait, [ref], 1, None, True)
    session.runtime.say(m.Reply(session.runtime.expect(m.Wait).request, [A], refused=True))
    assert ready.get(timeout=5) == [A], "its get will say why"
    again = session.in_thread(session.engine.get, [ref], None)
    session.runtime.say(m.Reply(session.runtime.expect(m.Get).request, [A], [value_of(1)]))
    assert again.get(timeout=5) == [1]


def test_wait_needs_no_request_for_what_is_known(session: Session) -> None:
    ids = [bytes([number]) * 28 for number in range(3)]
    held = [session.held(each) for each in ids]
    result = session.in_thread(session.engine.wait, held, 1, None, True)
    asked = session.runtime.expect(m.Wait)
    assert (asked.ids, asked.count) == (ids, 1)
    session.runtime.say(m.Reply(asked.request, [ids[1], ids[2]]))
    assert result.get(timeout=5) == [ids[1]]
    assert session.engine.wait(held, 2, None, True) == [ids[1], ids[2]]


def test_what_came_with_the_answer_to_a_wait_is_not_asked_for(session: Session) -> None:
    held = [session.held(A), session.held(B)]
    result = session.in_thread(session.engine.wait, held, 1, None, True)
    asked = session.runtime.expect(m.Wait)
    session.runtime.say(m.Reply(asked.request, [A, B], at_hand=((B, value_of(7)),)))
    assert result.get(timeout=5) == [A]
    assert session.engine.get(held[1:], None) == [7]
    first = session.in_thread(session.engine.get, held, None)
    asked_again = session.runtime.expect(m.Get)
    assert asked_again.ids == [A]
    session.runtime.say(m.Reply(asked_again.request, [A], [value_of(1)]))
    assert first.get(timeout=5) == [1, 7]


# --- references ---


def test_the_last_reference_is_dropped_promptly(session: Session) -> None:
    ref = session.held(A)
    again: ObjectRef[Any] = session.held(A)
    assert again is ref is ObjectRef(A) is values.loads(values.dumps(ref).data)
    del ref
    session.client.references.flush()
    assert session.runtime.messages.get(timeout=5).kind == "driver"
    assert session.runtime.messages.empty()
    del again
    began = time.monotonic()
    assert session.runtime.expect(m.Drop).counts == [(A, 2)]
    assert time.monotonic() - began < 2  # 20 ms on a machine of one's own.


def test_a_reference_that_comes_back_before_its_end_was_told_keeps_its_grants(session: Session) -> None:
    ref = session.held(A)
    session.client.departures.stop()  # Nobody tells.
    del ref
    again: ObjectRef[Any] = ObjectRef(A)
    session.client.references.flush()
    assert session.client.references.is_granted(A)
    del again
    session.client.references.flush()
    assert len(session.client.references) == 0
    assert session.runtime.expect(m.Drop).counts == [(A, 1)]


def test_references_inside_a_value_live_with_it(session: Session) -> None:
    outer = session.held(A)
    result = session.in_thread(session.engine.get, [outer], None)
    asked = session.runtime.expect(m.Get)
    stored = values.dumps([ObjectRef(B)])
    session.runtime.say(m.Reply(asked.request, [A], [m.Payload(stored.data, contained=tuple(stored.contained))]))
    inner = result.get(timeout=5)[0][0]
    assert inner == ObjectRef(B)
    del inner
    session.client.references.flush()
    assert B in session.client.references._table  # The value is still here, and may be unpickled again.
    assert session.engine.get([outer], None)[0] == [ObjectRef(B)]
    del outer
    gc.collect()
    dropped: set[bytes] = set()
    while dropped != {A, B}:
        dropped |= {counted for counted, _ in session.runtime.expect_drop()}


def test_finalizers_may_run_anywhere(session: Session) -> None:
    """A finalizer inside the lock of the table must not hang."""
    ref = session.held(A)
    with session.client.references._lock:
        del ref
    assert session.runtime.expect(m.Drop).counts == [(A, 1)]


# --- futures ---


def test_futures(session: Session) -> None:
    ref, bad = session.held(A), session.held(B)
    futures = [ref.future(), bad.future()]
    for _ in futures:
        asked = session.runtime.expect(m.Get)
        assert asked.task is None
        payload = value_of(1) if asked.ids == [A] else errors.lost(B)
        session.runtime.say(m.Reply(asked.request, asked.ids, [payload]))
    assert futures[0].result(timeout=5) == 1
    assert isinstance(futures[1].exception(timeout=5), ObjectLostError)
    assert ref.future().result(timeout=5) == 1


def test_await(session: Session) -> None:
    async def main() -> Any:
        return await session.engine.put("x")

    assert asyncio.run(main()) == "x"


def test_a_value_that_does_not_unpickle(session: Session) -> None:
    ref = session.held(A)
    future = ref.future()
    asked = session.runtime.expect(m.Get)
    session.runtime.say(m.Reply(asked.request, [A], [m.Payload(data=b"nonsense")]))
    assert isinstance(future.exception(timeout=5), RaySystemError)


# --- interrupts and death ---


def test_an_interrupt_ends_a_get_at_once(session: Session) -> None:
    ref = session.held(A)
    main = threading.main_thread().ident or 0
    interrupted: list[float] = []

    def interrupt() -> None:
        session.runtime.expect(m.Get)
        interrupted.append(time.monotonic())
        signal.pthread_kill(main, signal.SIGINT)

    for _ in range(20):
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            session.engine.get([ref], None)
        assert time.monotonic() - interrupted[-1] < 2  # 0.1 on a machine of one's own.
        thread.join()
        session.runtime.expect(m.Abandon)
    assert len(session.client._requests) == 0


def test_the_runtime_dies(session: Session) -> None:
    ref = session.held(A)
    future = ref.future()
    result = session.in_thread(session.engine.get, [ref], None)
    session.runtime.expect(m.Get)
    session.runtime.expect(m.Get)
    session.runtime.close()
    assert session.deaths.get(timeout=5)
    for error in (result.get(timeout=5), future.exception(timeout=5)):
        assert isinstance(error, RaySystemError)
        assert "init()" in str(error)
    assert not session.engine.alive
    for use in (lambda: session.engine.put(1), lambda: session.engine.get([ref], None), ref.future().result):
        with pytest.raises(RaySystemError, match=r"init\(\)"):
            use()


def test_references_of_another_session(session: Session, tmp_path: Path) -> None:
    ref = session.engine.put(1)
    other = Session(tmp_path)
    try:
        with pytest.raises(RaySystemError, match="belongs to a session that has ended"):
            other.engine.get([ref], None)
    finally:
        other.client.close()
        other.runtime.close()


# --- calls ---


def f() -> None: ...


def test_a_call(session: Session) -> None:
    definition = Definition(value=f, name="f")
    options = TaskOptions(num_returns=2, num_cpus=0.5)
    ref = session.held(A)
    made = session.engine.submit(definition, [ref, 1], {}, options)
    assert isinstance(made, list)
    exported = session.runtime.expect(m.Export)
    assert exported.definition == definition.id
    spec = session.runtime.expect(m.Submit).spec
    assert spec.demand == {"CPU": 5000}
    assert spec.dependencies == (A,)
    assert [each.binary() for each in made] == [return_id(spec.task, 1), return_id(spec.task, 2)]
    assert spec.site is not None
    assert "test_client.py" in spec.site
    session.engine.submit(definition, [], {}, options)
    assert session.runtime.expect(m.Submit).spec.task != spec.task  # And no second export.


def test_a_demand_that_can_never_be_met(session: Session) -> None:
    with pytest.raises(TaskUnschedulableError, match=r"CPU: 3.*CPU: 2"):
        session.engine.submit(Definition(value=f, name="f"), [], {}, TaskOptions(num_cpus=3))


def test_a_flood_is_braked(session: Session) -> None:
    actor = refs.ActorRef(b"x" * 16)
    calls = ACTOR_BACKLOG // 2

    def flood() -> None:
        for _ in range(calls):
            session.engine.call(actor, "m", [], {}, MethodOptions())

    session.runtime.reactions[m.Submit] = lambda message: None
    result = session.in_thread(flood)
    room = session.runtime.expect(m.AwaitRoom)
    assert room.actor == actor.binary()
    assert result.empty()
    session.runtime.say(m.Reply(room.request))
    assert result.get(timeout=20) is None


def test_of_an_actor_that_is_let_go_of_nothing_is_counted_any_more(session: Session) -> None:
    actor = session.client.references.reference(b"x" * 16, refs.ActorRef, 1)
    session.engine.call(actor, "m", [], {}, MethodOptions())
    assert session.client._calls
    del actor
    session.runtime.expect(m.Submit)
    while (b"x" * 16, 1) not in session.runtime.expect_drop():
        pass
    assert not session.client._calls


def test_a_task_says_when_it_waits(session: Session) -> None:
    class Blocking:
        began = ended = 0

        def begin(self) -> None:
            self.began += 1

        def end(self) -> None:
            self.ended += 1

    session.client.blocking = blocking = Blocking()
    token = context.enter_task(TaskContext(task=b"t" * 24, name="f", function="f"), main=True)
    try:
        ref = session.held(A)

        def answer() -> m.Get:
            asked = session.runtime.expect(m.Get)
            session.runtime.say(m.Reply(asked.request, [A], [value_of(1)]))
            return asked

        asked = session.in_thread(answer)
        assert session.engine.get([ref], None) == [1]
        assert asked.get(timeout=5).task == b"t" * 24
        assert (blocking.began, blocking.ended) == (1, 1)
    finally:
        context.leave_task(token, main=True)


# --- streams and events ---


def bounded(session: Session, ahead: int) -> tuple[ObjectRefGenerator, bytes]:
    """Return a stream of which so many items may be unread, and its task."""
    options = TaskOptions(num_returns="streaming", generator_backpressure=ahead)
    stream = session.engine.submit(Definition(value=f, name="f"), [], {}, options)
    assert isinstance(stream, ObjectRefGenerator)
    session.runtime.expect(m.Export)
    return stream, session.runtime.expect(m.Submit).spec.task


def test_a_stream(session: Session) -> None:
    stream, task = bounded(session, 2)
    assert not stream.next_ready()
    assert stream._next_sync(0).is_nil()
    session.runtime.say(m.StreamState(task, 2, False), m.StreamState(task, 3, True))
    taken = [ref.binary() for ref in stream]
    assert taken == [return_id(task, index) for index in (2, 3, 4)]
    assert stream.is_finished()
    told = [0]
    while told[-1] < 3:
        told.append(session.runtime.expect(m.Consumed).index)
    assert told == sorted(set(told))


def test_how_far_a_stream_was_read_is_told_together(session: Session) -> None:
    stream, task = bounded(session, 100)
    session.runtime.say(m.StreamState(task, 100, False))
    for _ in range(99):
        next(stream)
    assert session.runtime.expect(m.Consumed).index > 1
    next(stream)  # Now its producer waits for just this, and hears at once of all.
    told = [0]
    while told[-1] < 100:
        told.append(session.runtime.expect(m.Consumed).index)
    assert len(told) < 50


def test_a_stream_that_is_dropped(session: Session) -> None:
    stream = session.engine.submit(Definition(value=f, name="f"), [], {}, TaskOptions(num_returns="streaming"))
    session.runtime.expect(m.Export)
    task = session.runtime.expect(m.Submit).spec.task
    session.runtime.say(m.StreamState(task, 2, False))
    first = next(stream)  # type: ignore[arg-type]
    assert first.binary() == return_id(task, 2)
    del stream
    assert session.runtime.expect(m.Consumed) == m.Consumed(task, -1)
    dropped: set[bytes] = set()
    while return_id(task, 3) not in dropped:
        dropped |= {counted for counted, _ in session.runtime.expect_drop()}
    assert return_id(task, 2) not in dropped


def test_what_is_announced_of_a_stream_that_is_dropped_is_let_go_of_one_by_one(session: Session) -> None:
    """It took the time of all items for each that was on its way: minutes, after some ten thousand."""
    stream, task = bounded(session, 0)
    session.runtime.say(*(m.StreamState(task, index, False) for index in (1, 2)))
    first = next(stream)
    del stream
    session.runtime.expect(m.Consumed)
    session.runtime.say(m.StreamState(task, 3, False), m.StreamState(task, 3, True))
    dropped: list[tuple[bytes, int]] = []
    while (return_id(task, 4), 1) not in dropped:
        dropped += session.runtime.expect_drop()
    assert {return_id(task, index): 1 for index in (3, 4)}.items() <= dict(dropped).items()
    del first
    while return_id(task, 2) not in dict(dropped):
        dropped += session.runtime.expect_drop()
    assert dict(dropped)[return_id(task, 2)] == 1, "it was granted once"


def test_every_listener_gets_every_event_once(session: Session) -> None:
    first: queue.SimpleQueue[int] = queue.SimpleQueue()
    second: queue.SimpleQueue[int] = queue.SimpleQueue()
    events: list[AnyEvent] = [TaskFinished(seq=number, task="t") for number in range(1, 4)]

    def into(numbers: queue.SimpleQueue[int]) -> Callable[[list[AnyEvent]], None]:
        return lambda batch: [numbers.put(event.seq) for event in batch].clear()  # type: ignore[func-returns-value]

    session.engine.subscribe(into(first))
    assert session.runtime.expect(m.Subscribe).asked == 1
    session.runtime.say(m.Events(events[:2], asked=1))
    assert [first.get(timeout=5) for _ in range(2)] == [1, 2]
    undo = session.engine.subscribe(into(second))
    assert session.runtime.expect(m.Subscribe).asked == 2
    session.runtime.say(m.Events(events[2:], asked=1), m.Events(events, asked=2, again=True))
    assert [second.get(timeout=5) for _ in range(3)] == [1, 2, 3]
    assert first.get(timeout=5) == 3
    undo()
    left = session.runtime.expect(m.Subscribe)
    assert (left.on, left.asked) == (True, 2)
    session.runtime.say(m.Events([TaskFinished(seq=4, task="t")], asked=2))
    assert first.get(timeout=5) == 4
    assert second.empty()


def test_what_a_task_printed_is_seen_before_its_result(session: Session) -> None:
    seen: list[str] = []

    def listen(batch: Any) -> None:
        time.sleep(0.05)
        seen.extend(event.text for event in batch)

    session.engine.subscribe(listen)
    session.runtime.expect(m.Subscribe)
    ref = session.held(A)
    result = session.in_thread(lambda: (session.engine.get([ref], None), list(seen)))
    asked = session.runtime.expect(m.Get)
    line = LogLines(seq=1, stream="stdout", text="hello", name="f", pid=1)
    session.runtime.say(m.Events([line], asked=1), m.Reply(asked.request, [A], [value_of(1)]))
    assert result.get(timeout=5) == ([1], ["hello"])


def test_a_stuck_listener_is_waited_for_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_PATIENCE_SECONDS", 0.1)
    stuck = threading.Event()
    waits: list[int] = []
    settle = CallbackThread.settle

    def count(thread: CallbackThread, job: int, limit: float) -> bool:
        waits.append(job)
        return settle(thread, job, limit)

    monkeypatch.setattr(CallbackThread, "settle", count)

    def listen(batch: Any) -> None:
        assert stuck.wait(30)

    session.engine.subscribe(listen)
    session.runtime.expect(m.Subscribe)
    ref = session.held(A)

    def ask(seq: int) -> None:
        session.client.references.forget(A)
        result = session.in_thread(lambda: session.engine.get([ref], None))
        asked = session.runtime.expect(m.Get)
        line = LogLines(seq=seq, stream="stdout", text="hello", name="f", pid=1)
        session.runtime.say(m.Events([line], asked=1), m.Reply(asked.request, [A], [value_of(1)]))
        assert result.get(timeout=30) == [1]

    ask(1)
    ask(2)
    assert len(waits) == 1, "nobody waits again for a listener that is stuck"
    stuck.set()
    eventually(lambda: session.client.events._thread.done >= 3)
    ask(3)
    assert len(waits) == 2


def test_a_callback_that_raises_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    class Callback:
        def __call__(self) -> None:
            raise ValueError("as it should")

    callback = Callback()
    there = weakref.ref(callback)
    thread = CallbackThread("test")
    thread.run(callback)
    assert thread.settle(1, PATIENCE)
    thread.stop()
    del callback
    assert "ValueError: as it should" in caplog.text
    assert there() is None
