"""Calls that a caller has brought to a worker itself: both may tell of one, in any order, and after much else."""

from __future__ import annotations

import pytest

from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler.states import TaskState
from tests.unit.test_scheduler import DRIVER, VALUE, Session


def call(actor: bytes | None, number: int = 1, **spec: object) -> m.TaskSpec:
    task = b"direct----------" + number.to_bytes(8, "big")
    kind = "task" if actor is None else "method"
    return m.TaskSpec(task, kind, "direct", b"", **{"actor": actor, **spec})  # type: ignore[arg-type]


def actor_and_worker(session: Session) -> tuple[bytes, bytes]:
    actor = session.actor()
    worker = session.scheduler.state.actors[actor].worker
    assert worker is not None
    return actor, worker.id


@pytest.mark.parametrize("driver_first", [True, False])
def test_a_call_is_told_of_twice_and_counts_once(driver_first: bool) -> None:
    session = Session(CPU=1)
    actor, worker = actor_and_worker(session)
    spec = call(actor)
    told = [(DRIVER, m.Submit(spec, worker)), (worker, m.Submit(spec, worker, DRIVER))]
    for client, message in told if driver_first else reversed(told):
        session.say(client, message)
    state = session.scheduler.state
    assert session.running() == ["direct"]
    assert state.clients[DRIVER].holds[return_id(spec.task)] == 1
    session.say(worker, m.Done(spec.task, (VALUE,)))
    session.say(DRIVER, m.Drop([(return_id(spec.task), 1)]))
    assert not state.objects
    assert not state.adopted


def test_the_process_of_a_killed_actor_tells_of_a_call_that_has_failed() -> None:
    session = Session(CPU=1)
    actor, worker = actor_and_worker(session)
    spec = call(actor)
    session.lingers = True
    session.say(DRIVER, m.Submit(spec, worker))
    session.say(DRIVER, m.Kill(actor, True))
    session.say(worker, m.Submit(spec, worker, DRIVER))  # It was on its way.
    state = session.scheduler.state
    assert state.clients[DRIVER].holds[return_id(spec.task)] == 1
    assert not state.adopted
    session.say(DRIVER, m.Drop([(return_id(spec.task), 1)]))
    assert return_id(spec.task) not in state.objects


def test_a_child_that_its_worker_told_of_before_its_parent_was_known_is_cancelled_with_it() -> None:
    session = Session(CPU=2)
    (actor, worker), (other, elsewhere) = actor_and_worker(session), actor_and_worker(session)
    parent, child = call(actor, 1), call(other, 2, parent=call(actor, 1).task)
    session.say(elsewhere, m.Submit(child, elsewhere, worker))
    session.say(DRIVER, m.Submit(parent, worker))
    session.say(worker, m.Submit(child, elsewhere))
    session.say(DRIVER, m.Cancel(return_id(parent.task), False, True))
    assert session.scheduler.state.tasks[child.task].state is TaskState.RUNNING
    assert [each.task for each in session.of(m.Interrupt, elsewhere)] == [child.task]
    assert [each.task for each in session.of(m.Interrupt, worker)] == [parent.task]
