"""The devices of a process that is to end: nobody else has them before it has ended."""

from __future__ import annotations

import pytest

from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler.stimuli import WorkerLost
from jupyter_ray.resources import PARTS
from tests.unit.test_scheduler import DRIVER, Session
from tests.unit.test_scheduler_starts import Slow

BOTH = {"CPU": PARTS, "GPU": PARTS}


@pytest.mark.parametrize("exiting", [True, False])
def test_a_gpu_is_free_when_the_process_that_used_it_has_ended(exiting: bool) -> None:
    session = Session(CPU=1, GPU=1)
    session.lingers = True
    first = session.submit("first", demand=BOTH)
    worker = session.worker_of(first)
    second = session.submit("second", demand=BOTH)
    third = session.submit("third")
    session.finish(first, exiting=exiting)
    assert session.asked_to_leave == [worker]
    assert session.running() == ["third"], "the CPU is free at once"
    session.finish(third)
    assert session.running() == []
    session.happen(WorkerLost(worker, "it left"))
    assert session.running() == ["second"]
    assert not session.scheduler.state.ending
    session.finish(second)


def test_so_it_is_with_an_actor_that_is_killed() -> None:
    session = Session(CPU=2, GPU=1)
    session.lingers = True
    actor = session.actor(demand={"GPU": PARTS})
    record = session.scheduler.state.actors[actor].worker
    assert record is not None
    worker = record.id
    session.submit("waiting", demand=BOTH)
    session.say(DRIVER, m.Kill(actor, True))
    assert session.killed == [worker]
    assert session.running() == []
    session.happen(WorkerLost(worker, "killed"))
    assert session.running() == ["waiting"]


def test_half_of_it_that_another_has_stays_with_that() -> None:
    session = Session(CPU=2, GPU=1)
    session.lingers = True
    half = {"CPU": PARTS, "GPU": PARTS // 2}
    first, second = (session.submit(name, demand=half) for name in ("first", "second"))
    worker = session.worker_of(first)
    third = session.submit("third", demand=half)
    session.finish(first)
    assert session.running() == ["second"]
    session.happen(WorkerLost(worker, "it left"))
    assert session.running() == ["second", "third"]
    session.finish(second)
    session.finish(third)


def test_who_waits_for_it_does_not_wait_in_vain_() -> None:
    session = Session(CPU=2, GPU=1)
    session.lingers = True
    first = session.submit("first", demand=BOTH)
    worker = session.worker_of(first)
    outer = session.submit("outer")
    waiter = session.worker_of(outer)
    inner = session.submit("inner", waiter, demand=BOTH, parent=outer)
    session.get(inner, 5, waiter, task=outer)
    session.finish(first)
    session.let_pass(20)
    assert not session.of(m.Reply, waiter), "the process ends, and then there is a GPU"
    session.happen(WorkerLost(worker, "it left"))
    assert session.running() == ["inner"]


def test_a_removed_group_leaves_its_gpu_to_the_process_that_used_it() -> None:
    session = Session(CPU=2, GPU=1)
    session.lingers = True
    session.say(DRIVER, m.CreateGroup("one", [BOTH], "PACK"))
    task = session.submit("in it", demand=BOTH, group="one")
    worker = session.worker_of(task)
    session.say(DRIVER, m.CreateGroup("two", [BOTH], "PACK"))
    session.say(DRIVER, m.RemoveGroup("one"))
    ledger = session.scheduler.state.ledger
    assert ledger.free == {"CPU": 2 * PARTS, "GPU": 0}
    session.happen(WorkerLost(worker, "killed"))
    assert ledger.free == {"CPU": PARTS, "GPU": 0}, "the other group has it now"
    session.say(DRIVER, m.RemoveGroup("two"))
    assert ledger.free == {"CPU": 2 * PARTS, "GPU": PARTS}


def test_a_gpu_whose_task_is_cancelled_before_its_process_has_begun_is_free() -> None:
    """The process goes on to the pool, and may live as long as the session."""
    session = Slow(CPU=2, GPU=1)
    first = session.submit("first", demand=BOTH)
    assert session.starting
    session.say(DRIVER, m.Cancel(return_id(first, 1), False, True))
    assert not session.scheduler.state.ending
    assert session.scheduler.state.ledger.free == {"CPU": 2 * PARTS, "GPU": PARTS}
    while session.starting:
        session.begin()
    session.submit("second", demand=BOTH)
    assert session.running() == ["second"]
