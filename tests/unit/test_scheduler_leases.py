"""What becomes of a lease that its client does not give back: it is stopped, or keeps the interpreter."""

from __future__ import annotations

import pytest

from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler.direct import RECALL_SECONDS
from jupyter_ray.local.scheduler.stimuli import Outdated, WorkerLost
from jupyter_ray.local.scheduler.why import why
from jupyter_ray.resources import PARTS
from tests.unit.test_scheduler import CPU, DRIVER, VALUE, Session


@pytest.fixture
def session() -> Session:
    """The driver has a lease of the only CPU, and a call waits for that."""
    session = Session(CPU=1)
    session.say(DRIVER, m.Export("quick", 1, "quick", b""))
    for request in range(50, 60):
        task = session.submit("quick", definition="quick")
        session.get(task, request)
        session.finish(task, seconds=0.0001)
        if session.of(m.Route):
            break
    session.sent.clear()
    return session


def lease_of(session: Session) -> bytes:
    [worker] = session.scheduler.state.leases
    return worker


def test_a_client_is_asked_first(session: Session) -> None:
    worker = lease_of(session)
    other = session.submit("other")
    assert [each.worker for each in session.of(m.Unroute, DRIVER)] == [worker]
    told = why(session.scheduler.state, {"id": return_id(other, 1), "now": session.now})
    assert "which is kept for quick calls of process" in told
    session.let_pass(RECALL_SECONDS - 0.1)
    assert not session.of(m.Shut)
    session.say(DRIVER, m.Unlease(worker))
    assert session.running() == ["other"]
    session.let_pass(2)
    assert not session.of(m.Shut)


def test_the_worker_itself_gives_back_what_its_client_does_not(session: Session) -> None:
    worker = lease_of(session)
    session.submit("other")
    session.let_pass(RECALL_SECONDS + 0.1)
    assert len(session.of(m.Shut, worker)) == 1
    assert session.running() == []
    session.let_pass(1)
    assert len(session.of(m.Shut, worker)) == 1, "it is asked once"
    session.say(worker, m.Unlease(worker))
    assert session.running() == ["other"]
    assert session.asked_to_leave == [worker], "whoever knows its socket could come late"
    session.say(DRIVER, m.Unlease(worker))  # The client goes on.
    assert session.running() == ["other"]
    assert session.scheduler.state.ledger.free["CPU"] == 0


def test_a_call_that_the_worker_has_keeps_what_it_holds(session: Session) -> None:
    worker = lease_of(session)
    session.submit("other")
    session.let_pass(RECALL_SECONDS + 0.1)
    spec = m.TaskSpec(task=DRIVER + b"12345678", kind="task", name="lasts", body=b"", definition="quick", demand=CPU)
    session.say(worker, m.Submit(spec, worker, DRIVER))
    session.say(worker, m.Unlease(worker))
    assert session.running() == ["lasts"]
    assert not session.asked_to_leave
    session.say(DRIVER, m.Unlease(worker))
    session.say(worker, m.Done(spec.task, (VALUE,)))
    assert session.running() == ["other"]
    assert session.scheduler.state.workers[worker].shut
    task = next(task for task in session.scheduler.state.tasks)
    session.finish(task)
    for request in range(70, 80):
        task = session.submit("quick", definition="quick")
        session.get(task, request)
        session.finish(task, seconds=0.0001)
    assert worker not in session.scheduler.state.leases, "it takes no direct calls any more"


def test_who_was_sent_a_function_by_others_hears_of_its_version_and_of_a_new_one() -> None:
    session = Session(CPU=3)
    session.say(DRIVER, m.Export("quick", 1, "quick", b""))
    session.say(DRIVER, m.Export("brief", 7, "brief", b""))
    outer = session.worker_of(session.submit("outer"))

    def call_by_turns(definition: str) -> None:
        for _ in range(5):
            task = session.submit(definition, outer, definition=definition)
            session.get(task, session.serial, outer)
            session.finish(task, seconds=0.0001)

    call_by_turns("quick")
    call_by_turns("brief")
    worker = lease_of(session)
    told = [(each.worker, each.definition, each.version) for each in session.of(m.Route, outer)]
    assert told == [(worker, "quick", 1), (worker, "brief", 7)], "once each, one lease for both"
    session.say(outer, m.Export("own", 1, "own", b""))
    session.say(DRIVER, m.Export("other", 2, "other", b""))
    assert not session.of(m.Unroute)
    session.say(DRIVER, m.Export("brief", 8, "brief", b""))
    assert [each.worker for each in session.of(m.Unroute, outer)] == [worker]
    session.say(outer, m.Unlease(worker))
    call_by_turns("brief")
    assert (session.of(m.Route, outer)[-1].definition, session.of(m.Route, outer)[-1].version) == ("brief", 8)


def test_a_worker_that_dies_as_it_is_asked_frees_what_it_held(session: Session) -> None:
    worker = lease_of(session)
    session.submit("other")
    session.let_pass(RECALL_SECONDS + 0.1)
    session.happen(WorkerLost(worker, "it crashed"))
    assert session.running() == ["other"]
    session.say(DRIVER, m.Unlease(worker))
    assert session.scheduler.state.ledger.free["CPU"] == 0
    assert session.scheduler.state.ledger.total["CPU"] == PARTS


def test_what_is_leased_is_asked_back_when_its_modules_have_changed(session: Session) -> None:
    worker = lease_of(session)
    session.happen(Outdated([worker]))
    assert [each.worker for each in session.of(m.Unroute, DRIVER)] == [worker]
    session.say(DRIVER, m.Unlease(worker))
    assert session.asked_to_leave == [worker]
    assert session.worker_of(session.submit("other")) != worker
