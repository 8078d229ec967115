"""The scheduler and tasks that await results without being blocked."""

import pytest

from jupyter_ray.exceptions import ResourceDeadlockError
from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler.starved import Starved
from jupyter_ray.local.scheduler.stimuli import AwaitedLong
from jupyter_ray.resources import PARTS
from tests.unit.test_scheduler import DRIVER, VALUE, Session

GPU = {"GPU": PARTS}


def look(session: Session, seconds: float) -> bool:
    """Let time pass and look as the server does; tell whether there was a suspicion."""
    told, suspected = Starved(), False
    for _ in range(round(10 * seconds)):
        session.let_pass(0.1)
        if told.suspects(session.scheduler.state, session.now):
            suspected = True
            session.happen(AwaitedLong())
    return suspected


def awaiting(session: Session) -> tuple[bytes, bytes, bytes]:
    """Return an actor with a GPU that awaits, with request 11, a task that needs one, its worker, and that task."""
    actor = session.actor(demand=GPU)
    method = session.submit("method", kind="method", actor=actor, demand={})
    worker = session.worker_of(method)
    leaf = session.submit("leaf", worker, parent=method, demand=GPU)
    session.get(leaf, 11, worker, awaiter=method)
    return actor, worker, leaf


def test_what_its_own_actor_holds_is_refused_after_a_while() -> None:
    session = Session(CPU=2, GPU=1)
    awaiting(session)
    assert not look(session, 2.9), "it may have a time limit of its own"
    assert look(session, 1)
    assert not session.of(m.Reply), "it has not been in vain for long"
    look(session, 4)
    assert isinstance(session.error_of(11), ResourceDeadlockError)
    assert session.of(m.Reply)[-1].refused, "nobody may take that for the object's value"
    assert not look(session, 2), "nothing is awaited any more"


def test_what_a_running_task_gives_back_is_waited_for() -> None:
    session = Session(CPU=3, GPU=2)
    other = session.submit("other", demand=GPU)
    _, worker, _ = awaiting(session)
    session.happen(AwaitedLong())
    assert not look(session, 60)
    assert not session.of(m.Reply, worker)
    session.finish(other)
    assert "leaf" in session.running()


def test_what_another_actor_holds_is_waited_for() -> None:
    """Whoever has its handle may let go of it."""
    session = Session(CPU=3, GPU=2)
    other = session.actor(demand=GPU)
    _, worker, _ = awaiting(session)
    assert look(session, 60), "it is looked closely"
    assert not session.of(m.Reply, worker)
    session.say(DRIVER, m.Drop([(other, 1)]))
    assert "leaf" in session.running()


def test_the_one_that_closes_the_circle_is_refused_and_not_who_waits_for_it() -> None:
    session = Session(CPU=2, GPU=1)
    actor = session.actor(demand=GPU)
    method = session.submit("method", kind="method", actor=actor, demand={})
    reader = session.actor()
    reads = session.submit("reads", kind="method", actor=reader, demand={})
    session.get(method, 21, session.worker_of(reads), awaiter=reads)
    leaf = session.submit("leaf", session.worker_of(method), parent=method, demand=GPU)
    session.get(leaf, 11, session.worker_of(method), awaiter=method)
    assert look(session, 7)
    assert [reply.request for reply in session.of(m.Reply) if reply.refused] == [11]


def test_what_is_awaited_is_refused_before_what_blocks() -> None:
    """The task that awaits may go on without it; the one that is blocked cannot."""
    session = Session(CPU=2, GPU=1, disk=1)
    actor = session.actor(demand=GPU)
    method = session.submit("method", kind="method", actor=actor, demand={})
    worker = session.worker_of(method)
    middle = session.submit("middle", worker, parent=method, demand={"disk": PARTS})
    leaf = session.submit("leaf", session.worker_of(middle), parent=middle, demand=GPU)
    session.get(leaf, 21, session.worker_of(middle), task=middle)
    session.get(middle, 11, worker, awaiter=method)
    assert not session.of(m.Reply, worker)
    assert look(session, 7)
    assert [reply.request for reply in session.of(m.Reply) if reply.refused] == [11]
    assert session.scheduler.state.clients[session.worker_of(middle)].requests, "the actor may still go"


@pytest.mark.parametrize("how", ["abandoned", "ended", "lost"])
def test_who_awaits_no_more_is_forgotten(how: str) -> None:
    session = Session(CPU=2, GPU=1)
    actor, worker, _ = awaiting(session)
    state = session.scheduler.state
    assert len(state.awaiting) == 1
    if how == "abandoned":
        session.say(worker, m.Abandon(11))
    elif how == "ended":
        [method] = [task for task in state.tasks.values() if task.spec.name == "method"]
        session.say(worker, m.Done(method.id, (VALUE,)))
        assert not look(session, 60), "a coroutine in the background is no task that waits"
        return
    else:
        session.say(DRIVER, m.Kill(actor, no_restart=True))
    assert not state.awaiting
    assert not look(session, 60)


def test_a_group_that_needs_what_its_waiter_keeps() -> None:
    session = Session(CPU=2, GPU=1)
    holder = session.submit("holder", demand=GPU)
    worker = session.worker_of(holder)
    group = m.CreateGroup("g" * 32, [GPU], "PACK")
    session.say(worker, group)
    ready = return_id(b"ready".ljust(24, b"-"), 1)
    session.say(worker, m.GroupReady(group.group, ready, VALUE))
    session.say(worker, m.Get(11, [ready], task=holder))
    look(session, 4)
    error = session.error_of(11)
    assert isinstance(error, ResourceDeadlockError)
    assert "waits for the placement group gggggggg, which needs GPU: 1" in str(error)


def test_why_tells_what_is_awaited() -> None:
    session = Session(CPU=2, GPU=1)
    _, _, leaf = awaiting(session)
    [method] = [task for task in session.scheduler.state.tasks.values() if task.spec.name == "method"]
    session.say(DRIVER, m.Query(99, "why", {"id": return_id(method.id, 1)}))
    told = session.of(m.Answer)[-1].value
    assert f"and awaits the result of leaf ({leaf.hex()[:8]})" in told
    assert "waits for GPU: 1" in told


@pytest.mark.parametrize(("marks", "refused"), [({"task": b""}, True), ({"awaiter": b""}, True), ({}, False)])
def test_a_driver_that_waits_for_a_call_whose_argument_its_actor_keeps_from_running(
    marks: dict[str, bytes], refused: bool
) -> None:
    """Who only wants to hear of the end, such as a line that shows a task, goes on waiting."""
    session = Session(CPU=2, GPU=1)
    actor = session.actor(demand=GPU)
    leaf = session.submit("leaf", demand=GPU)
    call = session.submit("call", kind="method", actor=actor, demand={}, dependencies=(return_id(leaf, 1),))
    session.get(call, 11, DRIVER, **marks)
    assert not look(session, 2.9)
    assert look(session, 6) is refused
    assert [reply.request for reply in session.of(m.Reply) if reply.refused] == [11] * refused


def test_what_is_on_lease_comes_back() -> None:
    session = Session(CPU=2, GPU=1)
    actor = session.actor(demand={"CPU": PARTS})
    method = session.submit("method", kind="method", actor=actor, demand={})
    worker = session.worker_of(method)
    session.say(DRIVER, m.Export("f", 1, "f", b"code"))
    for number in range(1, 4):
        quick = session.submit("quick", definition="f")
        session.get(quick, number)
        session.finish(quick, seconds=1e-5)
    assert session.scheduler.state.leases
    leaf = session.submit("leaf", worker, parent=method, demand={"CPU": PARTS})
    session.get(leaf, 21, worker, task=method)
    look(session, 10)
    assert not session.of(m.Reply, worker)


def test_it_is_looked_less_often_where_there_was_nothing() -> None:
    session = Session(CPU=3, GPU=2)
    session.actor(demand=GPU)
    _, worker, _ = awaiting(session)
    told = Starved()
    session.now += 6
    looks = [seconds for seconds in range(60) if told.suspects(session.scheduler.state, session.now + seconds)]
    assert looks == [0, 1, 3, 7, 15, 23, 31, 39, 47, 55]
    session.say(worker, m.Abandon(11))
    assert not told.suspects(session.scheduler.state, session.now + 60)


@pytest.mark.parametrize("blocks", [False, True])
def test_calls_that_take_all_the_room_of_their_actor_and_wait_for_one_without(blocks: bool) -> None:
    session = Session(CPU=2)
    actor = session.actor(max_concurrency=2)
    outer = session.submit("outer", kind="method", actor=actor, demand={})
    worker = session.worker_of(outer)
    inner = session.submit("inner", worker, parent=outer, kind="method", actor=actor, demand={})
    last = session.submit("last", worker, parent=inner, kind="method", actor=actor, demand={})
    for request, awaited, task in ((11, inner, outer), (12, last, inner)):
        session.get(awaited, request, worker, **({"task": task} if blocks else {"awaiter": task}))
    session.get(outer, 1, task=b"")
    look(session, 8)
    assert [reply.request for reply in session.of(m.Reply) if reply.refused] == [12]
    assert "the actor A runs 2 calls at once, and those wait" in str(session.error_of(12))


def test_calls_that_leave_room_at_their_actor_are_left_alone() -> None:
    session = Session(CPU=2)
    actor = session.actor(max_concurrency=2)
    outer, other = (session.submit(name, kind="method", actor=actor, demand={}) for name in ("outer", "other"))
    worker = session.worker_of(outer)
    last = session.submit("last", worker, parent=outer, kind="method", actor=actor, demand={})
    session.get(last, 11, worker, awaiter=outer)
    session.get(outer, 1, task=b"")
    look(session, 20)
    assert not session.of(m.Reply)
    session.finish(other)
    session.finish(last)
    assert [reply.request for reply in session.of(m.Reply)] == [11]
