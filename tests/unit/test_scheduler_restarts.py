"""The pauses of an actor whose processes end soon, one after the other: it must not keep the machine busy."""

from __future__ import annotations

import pytest

from jupyter_ray.exceptions import ActorDiedError
from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler import history
from jupyter_ray.local.scheduler.history import ATTEMPTS_KEPT
from jupyter_ray.local.scheduler.records import ActorRecord
from jupyter_ray.local.scheduler.states import ActorState
from jupyter_ray.local.scheduler.stimuli import WorkerLost
from jupyter_ray.local.scheduler.tables import table
from jupyter_ray.local.scheduler.transitions import STORY
from jupyter_ray.local.scheduler.why import why
from tests.unit.test_scheduler import DRIVER, Session


@pytest.fixture
def session() -> Session:
    return Session(CPU=1)


@pytest.fixture
def actor(session: Session) -> ActorRecord:
    """One that lives for some seconds already, and is restarted as often as it takes."""
    actor = session.scheduler.state.actors[session.actor(max_restarts=-1)]
    session.let_pass(5)
    return actor


def crash(session: Session, actor: ActorRecord, *, out_of_memory: bool = False) -> None:
    assert actor.worker is not None
    session.happen(WorkerLost(actor.worker.id, "it crashed", out_of_memory=out_of_memory))


def waits(actor: ActorRecord) -> bool:
    """Tell whether it waits for its time; else its constructor runs."""
    assert actor.state is (ActorState.RESTARTING if actor.worker is None else ActorState.STARTING)
    return actor.worker is None


def test_pauses_grow_while_constructors_crash(session: Session, actor: ActorRecord) -> None:
    crash(session, actor)
    assert not waits(actor), "it had lived"
    crash(session, actor)
    assert not waits(actor), "once may be bad luck"
    for pause in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0):
        crash(session, actor)
        session.let_pass(pause - 0.1)
        assert waits(actor)
        session.let_pass(0.1)
        assert not waits(actor)
    session.let_pass(1)
    crash(session, actor)
    assert not waits(actor), "it had run for a second: its next failure is the first again"


def test_while_no_process_begins_one_is_tried_each_second(session: Session, actor: ActorRecord) -> None:
    session.stillborn = "somebody kills what starts"
    while actor.worker is not None:  # The pool has some in store.
        crash(session, actor)
    session.let_pass(5)
    before = actor.restarts
    session.let_pass(20)
    assert 15 <= actor.restarts - before <= 20
    session.stillborn = ""
    session.let_pass(1)
    session.finish(actor.spec.creation.task)
    assert actor.state is ActorState.ALIVE


def test_who_restarts_an_actor_by_kill_waits_for_no_pause(session: Session, actor: ActorRecord) -> None:
    for _ in range(5):
        session.say(DRIVER, m.Kill(actor.id, False))
        assert not waits(actor)
        session.finish(actor.spec.creation.task)


def test_an_actor_that_ran_out_of_memory_pauses_for_a_second(session: Session, actor: ActorRecord) -> None:
    crash(session, actor, out_of_memory=True)
    session.let_pass(0.9)
    assert waits(actor)
    session.let_pass(0.1)
    assert not waits(actor)


def test_why_tells_of_the_pause(session: Session, actor: ActorRecord) -> None:
    for _ in range(3):
        crash(session, actor)
    call = session.submit("call", kind="method", actor=actor.id, demand={}, max_retries=-1)
    told = why(session.scheduler.state, {"id": return_id(call, 1), "now": session.now})
    assert told.endswith("A (63726561) is tried again in 0.1 s.")


def test_an_actor_that_is_killed_while_it_pauses_is_dead(session: Session, actor: ActorRecord) -> None:
    call = session.submit("call", kind="method", actor=actor.id, demand={}, max_retries=-1)
    for _ in range(3):
        crash(session, actor)
    assert waits(actor)
    session.say(DRIVER, m.Kill(actor.id, True))
    session.get(call, 7)
    assert isinstance(session.error_of(7), ActorDiedError)
    session.let_pass(2)
    assert actor.state is ActorState.DEAD
    assert not session.scheduler.state.later


def test_what_is_remembered_of_a_call_that_is_tried_again_without_end_is_bounded(
    session: Session, actor: ActorRecord
) -> None:
    """The table of its attempts grew by as many as it was tried, and each step took as long as all before it."""
    session.finish(actor.spec.creation.task)
    call = session.submit("call", kind="method", actor=actor.id, demand={}, max_retries=-1)
    tries = 2 * ATTEMPTS_KEPT
    for _ in range(tries):
        session.finish(call, failed=True, retry=True, error="ValueError: not yet")
    state = session.scheduler.state
    rows = table(state, {"table": "tasks", "limit": 1_000, "filters": [], "id": call.hex()})["rows"]
    assert [row["attempt_number"] for row in rows] == [*range(tries, tries - ATTEMPTS_KEPT - 1, -1)]
    assert len(state.tasks[call].story) <= STORY


def test_what_is_remembered_of_failed_attempts_is_bounded_for_all_tasks_together(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There were as many as for each task, times the tasks, each with its traceback."""
    monkeypatch.setattr(history, "KEPT", 10)
    attempts = session.scheduler.state.attempts
    for _ in range(8):
        task = session.submit("flaky", max_retries=3)
        for _ in range(2):
            session.finish(task, failed=True, retry=True, error="ValueError: not yet")
        session.finish(task)
        assert sum(map(len, attempts.values())) <= 10
    assert [len(each) for each in attempts.values()] == [2] * 5
    assert list(attempts)[-1] == task


def test_tasks_that_have_ended_share_what_is_kept_of_their_environment(session: Session) -> None:
    """Each kept a copy: of a hook that was pickled with a megabyte of data, ten thousand of them."""
    env = '{"worker_process_setup_hook":{"pickled":"' + "x" * 100_000 + '"}}'
    for number in range(20):
        session.finish(session.submit(f"f{number}", env=env.encode().decode()))
    kept = session.scheduler.state.history
    assert [each.env for each in kept.newest_first()] == [env] * 20
    assert len({id(each.env) for each in kept.newest_first()}) == 1


def test_a_task_that_waits_again_and_again_does_not_get_slower(session: Session) -> None:
    outer = session.submit("outer")
    worker = session.worker_of(outer)
    for request in range(1, STORY):
        inner = session.submit("inner", worker, parent=outer)
        session.get(inner, request, worker, task=outer)
        session.finish(inner)
    task = session.scheduler.state.tasks[outer]
    assert 0 < len(task.story) <= STORY
    assert task.story[-1] == "resumed"


@pytest.mark.parametrize("ready", [False, True], ids=["an argument is missing", "it is being made"])
def test_an_actor_that_is_killed_before_it_is_made_needs_its_arguments_no_more(session: Session, ready: bool) -> None:
    objects = session.scheduler.state.objects
    made = [session.submit(name) for name in ("first", "second")]
    session.finish(made[0])
    creation = m.TaskSpec(
        task=b"creation".ljust(24, b"-"),
        kind="actor",
        name="A",
        body=b"",
        actor=b"actor".ljust(16, b"-"),
        num_returns=0,
        demand={},
        dependencies=tuple(return_id(each, 1) for each in made),
    )
    session.say(
        DRIVER,
        m.CreateActor(0, m.ActorSpec(creation.actor or b"", creation, "A", handle=b"", placement=creation.demand)),
    )
    if ready:
        session.finish(made[1])
    session.say(DRIVER, m.Kill(creation.actor or b"", True))
    assert creation.task not in session.scheduler.state.tasks
    if not ready:
        session.finish(made[1])
    session.say(DRIVER, m.Drop([(each, 1) for each in creation.dependencies]))
    assert not objects


@pytest.mark.parametrize("dropped", ["before", "after"])
def test_a_detached_actor_that_is_dead_is_forgotten_with_its_last_handle(session: Session, dropped: str) -> None:
    actors = session.scheduler.state.actors
    actor = session.actor("name", detached=True)
    if dropped == "before":
        session.say(DRIVER, m.Drop([(actor, 1)]))
        assert actor in actors
    session.say(DRIVER, m.Kill(actor, True))
    if dropped == "after":
        session.say(DRIVER, m.Drop([(actor, 1)]))
    assert actor not in actors
    [row] = table(session.scheduler.state, {"table": "actors", "limit": 10, "filters": []})["rows"]
    assert row["state"] == "DEAD"
