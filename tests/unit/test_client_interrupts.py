"""An interrupt of the main thread, wherever it comes, leaves nothing counted that nobody refers to."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_ray.config import RESERVE_FROM
from jupyter_ray.engine import refs, travel
from jupyter_ray.engine.base import Definition
from jupyter_ray.engine.context import ProcessContext
from jupyter_ray.engine.refs import ActorRef, ObjectRef
from jupyter_ray.ids import return_id
from jupyter_ray.local.client.client import Client
from jupyter_ray.local.engine.local import LocalEngine
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.serialization import values
from jupyter_ray.local.store.segments import SegmentStore
from jupyter_ray.options import ActorOptions, MethodOptions, TaskOptions
from tests.contract.helpers import eventually
from tests.fake_runtime import FakeRuntime
from tests.interrupting import interrupted, with_interrupt_pending

PROCESS = ProcessContext(job=b"j" * 4, node=b"n" * 28, worker=b"w" * 28, is_driver=True, namespace="ns", session="test")
INNER = b"i" * 28


def f(x: object = None) -> None: ...


class Session:
    """A client and its engine, and a runtime that counts as the real one does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[bytes, str] = {}
        """The file of each object that has one."""
        self.granted: dict[bytes, int] = {}
        self.inner = 0
        self.runtime = FakeRuntime()
        self.client = Client(self.runtime.connection, SegmentStore(folder, b"c" * 16))
        self.engine = LocalEngine(self.client, PROCESS)
        self.engine.total = {"CPU": 20_000}
        self.function, self.cls = Definition(value=f, name="f"), Definition(value=Session, name="C", is_class=True)
        self.runtime.reactions = {
            m.Hello: lambda message: None,
            m.Export: self.exported,
            m.Abandon: lambda message: None,
            m.Consumed: lambda message: None,
            m.Kill: lambda message: None,
            m.Put: self.put,
            m.Unwritten: self.unwritten,
            m.AwaitSpace: lambda message: self.runtime.say(m.Answer(message.request, True)),
            m.Submit: self.submitted,
            m.CreateActor: self.created,
            m.Get: self.asked,
            m.Drop: self.dropped,
        }
        self.client.start(m.Hello("driver", b"c" * 16, 1))

    def grant(self, counted: bytes) -> None:
        self.granted[counted] = self.granted.get(counted, 0) + 1

    def exported(self, message: m.Export) -> None:
        if message.granted:
            self.grant(message.definition.encode())

    def put(self, message: m.Put) -> None:
        self.grant(message.object)
        if message.payload.segment:
            self.files[message.object] = message.payload.segment

    def unwritten(self, message: m.Unwritten) -> None:
        if message.segment not in self.files.values():
            (self.folder / message.segment).unlink(missing_ok=True)

    def submitted(self, message: m.Submit) -> None:
        if message.spec.segment:
            (self.folder / message.spec.segment).unlink()
        self.grant(return_id(message.spec.task, 1))
        if message.spec.num_returns == m.STREAMING:
            task = message.spec.task
            for index in (2, 3, 4):
                self.grant(return_id(task, index))
            announced = [m.StreamState(task, index, False) for index in (1, 2, 3)]
            self.runtime.say(*announced, m.StreamState(task, 3, True))

    def created(self, message: m.CreateActor) -> None:
        self.grant(message.spec.actor)
        if message.request:
            answer = {"actor": message.spec.actor, "handle": b"", "created": True}
            self.runtime.say(m.Answer(message.request, answer))

    def asked(self, message: m.Get) -> None:
        self.grant(INNER)
        stored = values.dumps([ObjectRef(INNER)])
        self.runtime.say(m.Reply(message.request, message.ids, [m.Payload(stored.data, contained=(INNER,))]))

    def dropped(self, message: m.Drop) -> None:
        for counted, grants in message.counts:
            left = self.granted.get(counted, 0) - grants
            self.granted[counted] = left
            if left <= 0:
                del self.granted[counted]
                if counted in self.files:
                    (self.folder / self.files.pop(counted)).unlink()

    def submit(self, *args: Any, **options: Any) -> Any:
        return self.engine.submit(self.function, args, {}, TaskOptions(**options))

    def create_actor(self, **options: Any) -> ActorRef:
        written = ActorOptions(**options)
        return self.engine.create_actor(self.cls, [], {}, written, is_async=False, handle=b"")[0]

    def holds_nothing(self) -> bool:
        """But for the definitions, which live."""
        client = self.client
        held = {each.id.encode(): 1 for each in (self.function, self.cls) if each.held is not None}
        kept = client.references._table.keys() - held or len(client._requests) or len(client.streams)
        return self.granted == held and not (kept or any(self.folder.iterdir()))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path)
    yield session
    refs.set_counter(None)
    session.client.close()
    session.runtime.close()


def _put_in_put(session: Session) -> Any:
    return session.engine.put([session.engine.put(1)])


def _put_after_put(session: Session) -> Any:
    """Before it asks for room it tells what is not needed any more."""
    session.engine.put(1)
    return session.engine.put(b"x" * RESERVE_FROM)


def _future(session: Session) -> Any:
    return session.submit()[0].future().result(30)


def _ship(session: Session) -> Any:
    session.function = Definition(value=f, name="f")  # The one before is let go of.
    return session.submit()


def _call(session: Session) -> Any:
    return session.engine.call(session.create_actor(), "m", [[session.engine.put(1)]], {}, MethodOptions())


CALLS: dict[str, Callable[[Session], Any]] = {
    "put": _put_in_put,
    "put a file": lambda session: session.engine.put(b"x" * 200_000),
    "put a large file": _put_after_put,
    "submit": lambda session: session.submit([session.engine.put(1)]),
    "ship": _ship,
    "submit a file": lambda session: session.submit(b"x" * 200_000),
    "get": lambda session: session.engine.get(session.submit(), None),
    "future": _future,
    "actor": lambda session: session.create_actor(),
    "named": lambda session: session.create_actor(name="n", get_if_exists=True),
    "call": _call,
    "stream": lambda session: list(session.submit(num_returns="streaming")),
    "unread": lambda session: next(session.submit(num_returns="streaming", generator_backpressure=1)),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_anywhere_in_a_call_leaves_nothing_counted(session: Session, name: str) -> None:
    act = functools.partial(CALLS[name], session)
    act()  # What is made once is there then: definitions, plans, threads.
    gc.collect()
    eventually(session.holds_nothing)
    places = 0
    for where in interrupted(act):
        places += 1
        assert eventually(session.holds_nothing), where
    assert places > 20


def test_what_is_pickled_by_hand_counts_after_an_interrupt(session: Session) -> None:
    """Also while somebody keeps its traceback, as a notebook does."""
    ref = session.engine.put(1)
    kept: list[KeyboardInterrupt] = []

    def act() -> None:
        try:
            values.dumps([ref])
        except KeyboardInterrupt as error:
            kept.append(error)
            raise

    for where in interrupted(act):
        assert not travel.collect(b"by hand"), where


@pytest.mark.parametrize("kind", ["object", "actor", "stream", "value"])
def test_an_interrupt_does_not_stop_a_finalizer(session: Session, kind: str) -> None:
    """It comes where Python code begins: in a finalizer that was one, it was swallowed, and the count stayed."""
    held: list[Any] = []
    if kind == "object":
        held.append(session.engine.put(1))
    elif kind == "actor":
        held.append(session.create_actor())
    elif kind == "stream":
        held.append(session.submit(num_returns="streaming"))
        eventually(lambda: len(session.granted) == 5)  # With the definition.
    else:
        held.extend(session.submit())
        session.engine.get(held, None)
    with pytest.raises(KeyboardInterrupt):
        with_interrupt_pending(held.clear)
    assert not held
    eventually(session.holds_nothing)
