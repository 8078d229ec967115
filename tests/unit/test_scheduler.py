"""Scenarios for the scheduler core: what it commands, step by step."""

from __future__ import annotations

import pickle
from typing import Any, TypeVar

import pytest

from jupyter_ray.exceptions import (
    ActorDiedError,
    OutOfMemoryError,
    ResourceDeadlockError,
    TaskCancelledError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
)
from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler import commands as c
from jupyter_ray.local.scheduler import requests
from jupyter_ray.local.scheduler.core import Scheduler
from jupyter_ray.local.scheduler.expendable import expendable
from jupyter_ray.local.scheduler.invariants import validate
from jupyter_ray.local.scheduler.starved import Starved
from jupyter_ray.local.scheduler.stimuli import ClientJoined, Said, Tick, WorkerJoined, WorkerLost
from jupyter_ray.resources import PARTS, Demand

DRIVER = b"driver----------"
VALUE = m.Payload(data=b"N.", size=2)
CPU = {"CPU": PARTS}
M = TypeVar("M", bound=m.Message)


class Session:
    """A scheduler with an obedient outside world: workers join at once, and nothing runs until a test says so."""

    def __init__(self, **resources: int) -> None:
        self.scheduler = Scheduler()
        self.sent: list[tuple[bytes, m.ServerMessage]] = []
        self.killed: list[bytes] = []
        self.asked_to_leave: list[bytes] = []
        self.now = 0.0
        self.serial = 0
        self.stillborn = ""
        """Why no worker begins; empty: they do."""
        self.lingers = False
        """Whether processes take their time to end."""
        self.happen(ClientJoined(DRIVER))
        parts = {name: amount * PARTS for name, amount in resources.items()}
        gpus = [str(index) for index in range(resources.get("GPU", 0))]
        self.say(DRIVER, m.Bind(1, parts, {"GPU": gpus}, "", [], "/", {}))

    def happen(self, stimulus: Any) -> None:
        self.now += 0.001
        for command in self.scheduler.handle(stimulus, self.now):
            if isinstance(command, c.StartWorker):
                self.happen(
                    WorkerLost(command.worker, self.stillborn) if self.stillborn else WorkerJoined(command.worker, 100)
                )
            elif isinstance(command, c.StopWorker):
                (self.killed if command.kill else self.asked_to_leave).append(command.worker)
                if not self.lingers:
                    self.happen(WorkerLost(command.worker, "stopped"))
            elif isinstance(command, c.Send):
                self.sent.append((command.client, command.message))
        if len(self.scheduler.state.tasks) < 200:  # It looks at everything each time.
            validate(self.scheduler.state)

    def say(self, client: bytes, message: m.ClientMessage) -> None:
        self.happen(Said(client, [message]))

    def let_pass(self, seconds: float) -> None:
        """Let time pass, with ticks where they are wanted."""
        for _ in range(round(10 * seconds)):
            self.now += 0.1
            if self.scheduler.wants_tick:
                self.happen(Tick())

    def submit(self, name: str, client: bytes = DRIVER, **spec: Any) -> bytes:
        self.serial += 1
        task = name.encode().ljust(16, b"-") + self.serial.to_bytes(8, "big")
        spec = {"kind": "task", "demand": CPU, **spec}
        self.say(client, m.Submit(m.TaskSpec(task=task, name=name, body=b"", **spec)))
        return task

    def actor(self, name: str = "", demand: Demand | None = None, definition: str = "", **options: Any) -> bytes:
        self.serial += 1
        actor = b"actor---" + self.serial.to_bytes(8, "big")
        task = b"creation--------" + self.serial.to_bytes(8, "big")
        creation = m.TaskSpec(
            task=task,
            kind="actor",
            name="A",
            body=b"",
            actor=actor,
            num_returns=0,
            demand=demand or {},
            definition=definition,
        )
        spec = m.ActorSpec(
            actor=actor, creation=creation, class_name="A", handle=b"", placement=CPU, name=name, **options
        )
        self.say(DRIVER, m.CreateActor(0, spec))
        self.finish(task)
        return actor

    def of(self, kind: type[M], client: bytes | None = None) -> list[M]:
        return [each for to, each in self.sent if isinstance(each, kind) and client in (None, to)]

    def worker_of(self, task: bytes) -> bytes:
        return next(to for to, each in reversed(self.sent) if isinstance(each, m.Execute) and each.task == task)

    def finish(self, task: bytes, **done: Any) -> None:
        self.say(self.worker_of(task), m.Done(task, (VALUE,), **done))

    def running(self) -> list[str]:
        return sorted(t.spec.name for t in self.scheduler.state.tasks.values() if t.state.value == "running")

    def get(self, made_by: bytes, request: int, client: bytes = DRIVER, **options: Any) -> None:
        self.say(client, m.Get(request, [return_id(made_by, 1)], **options))

    def error_of(self, request: int) -> BaseException:
        reply = next(each for each in self.of(m.Reply) if each.request == request)
        payload = next(value for value in reply.values if value.is_error)
        error: BaseException = pickle.loads(payload.data)
        return error


def test_a_blocked_task_lends_its_cpu_and_resumes_only_when_it_holds_it_again() -> None:
    session = Session(CPU=1)
    outer = session.submit("outer")
    worker = session.worker_of(outer)
    inner = session.submit("inner", worker, parent=outer)
    assert session.running() == ["outer"]
    session.get(inner, 7, worker, task=outer)
    assert session.running() == ["inner"]
    other = session.submit("other")
    session.finish(inner)
    assert session.running() == ["outer"], "the one whose wait is over comes before what is new"
    assert [reply.request for reply in session.of(m.Reply, worker)] == [7]
    session.finish(outer)
    assert session.running() == ["other"]
    session.finish(other)
    assert session.scheduler.state.ledger.free == {"CPU": PARTS}


def test_the_answer_waits_while_another_task_has_the_cpu() -> None:
    session = Session(CPU=1)
    quick = session.actor()
    outer = session.submit("outer")
    worker = session.worker_of(outer)
    slow = session.submit("slow")
    call = session.submit("call", worker, kind="method", actor=quick, demand={})
    session.get(call, 3, worker, task=outer)
    assert "slow" in session.running()
    session.finish(call)
    assert not session.of(m.Reply, worker)
    session.finish(slow)
    assert len(session.of(m.Reply, worker)) == 1


def test_small_plain_values_come_with_the_answer_to_a_wait() -> None:
    session = Session(CPU=8)
    tasks = {name: session.submit(name) for name in ("small", "large", "error", "late")}
    ids = [return_id(task, 1) for task in tasks.values()]
    small = m.Payload(data=b"I1\n.", size=4)
    large = m.Payload(data=b"x", size=100_000)
    failed = m.Payload(data=b"x", size=1, is_error=True)
    for name, payload in (("small", small), ("large", large), ("error", failed)):
        session.say(session.worker_of(tasks[name]), m.Done(tasks[name], (payload,), failed=payload is failed))
    session.say(DRIVER, m.Wait(5, ids, 3))
    [answer] = session.of(m.Reply)
    assert list(answer.ready) == ids[:3]
    assert answer.at_hand == ((ids[0], small),), "an error counts as seen by whoever gets it"
    session.say(DRIVER, m.Get(6, ids[:1]))
    assert session.of(m.Reply)[-1].at_hand == ()


def test_callers_of_an_actor_take_turns() -> None:
    session = Session(CPU=4)
    actor = session.actor()
    flooder = session.worker_of(session.submit("flooder", contained=(actor,)))
    calls = [session.submit(f"flood{index}", flooder, kind="method", actor=actor, demand={}) for index in range(100)]
    mine = session.submit("mine", kind="method", actor=actor, demand={})
    session.finish(calls[0], seconds=1.0)
    session.finish(calls[1], seconds=1.0)
    begun = [each.name for each in session.of(m.Execute) if each.kind == "method"]
    assert "mine" in begun[:4]
    session.finish(mine)


def test_a_flood_is_braked_until_calls_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "ACTOR_BACKLOG", 40)
    session = Session(CPU=2)
    actor = session.actor()
    calls = [session.submit("call", kind="method", actor=actor, demand={}) for _ in range(22)]
    session.say(DRIVER, m.AwaitRoom(9, actor))
    assert not session.of(m.Reply)
    session.finish(calls[0], seconds=1.0)
    assert not session.of(m.Reply)
    session.finish(calls[1], seconds=1.0)
    assert [reply.request for reply in session.of(m.Reply)] == [9]


def test_short_tasks_are_handed_over_in_advance_and_taken_back_from_behind_a_long_one() -> None:
    session = Session(CPU=2)
    session.say(DRIVER, m.Export("f", 1, "f", b"code"))
    first = session.submit("first", definition="f")
    session.finish(first, seconds=0.0001)
    tasks = [session.submit(f"t{index}", definition="f") for index in range(6)]
    handed = [session.worker_of(task) for task in tasks]
    assert len(set(handed)) == 2
    assert len(session.running()) == 2, "what is handed over in advance does not run"
    long, other = tasks[0], tasks[1]
    for task in tasks:
        if task is not long and session.worker_of(task) == session.worker_of(other):
            session.finish(task, seconds=0.0001)
    session.happen(Tick())
    worker = session.worker_of(long)
    assert session.of(m.Recall, worker)
    behind = [task for task in tasks if session.worker_of(task) == worker and task is not long]
    session.say(worker, m.Returned(behind))
    assert all(session.worker_of(task) != worker for task in behind[:1])


def test_a_gpu_that_a_waiter_keeps_is_a_deadlock_and_the_story_is_told() -> None:
    session = Session(CPU=2, GPU=1)
    need = {"CPU": PARTS, "GPU": PARTS}
    outer = session.submit("train", demand=need)
    worker = session.worker_of(outer)
    inner = session.submit("evaluate", worker, demand=need, parent=outer)
    session.get(inner, 4, worker, task=outer)
    session.let_pass(1.5)
    assert not session.of(m.Reply, worker), "for a moment it only waits"
    session.let_pass(3)
    error = session.error_of(4)
    assert isinstance(error, ResourceDeadlockError)
    assert "train" in str(error)
    assert "evaluate" in str(error)
    assert "GPU: 1" in str(error)


def test_a_gpu_that_somebody_will_give_back_is_no_deadlock() -> None:
    session = Session(CPU=2, GPU=2)
    need = {"CPU": PARTS, "GPU": PARTS}
    outer = session.submit("train", demand=need)
    other = session.submit("other", demand=need)
    worker = session.worker_of(outer)
    inner = session.submit("evaluate", worker, demand=need, parent=outer)
    session.get(inner, 4, worker, task=outer)
    session.let_pass(5)
    assert not session.of(m.Reply, worker)
    session.finish(other)
    assert "evaluate" in session.running()


def test_why_tells_of_many_holders_alike_in_one_line() -> None:
    session = Session(CPU=8)
    crowd = [session.submit("crowd") for _ in range(7)]
    alone = session.submit("alone")
    waiter = session.submit("waiter")
    assert len(session.running()) == 8
    session.say(DRIVER, m.Query(99, "why", {"id": return_id(waiter, 1)}))
    told = session.of(m.Answer)[-1].value
    ids = ", ".join(task.hex()[:8] for task in crowd[:5])
    assert f"7 × crowd ({ids}, ...) (running for 0.0 s) hold CPU: 1 each" in told
    assert f"alone ({alone.hex()[:8]}) (running for 0.0 s) holds CPU: 1." in told


def test_what_waits_for_an_actors_end_is_told_once_in_a_while() -> None:
    session = Session(CPU=1)
    told = Starved()
    first = session.actor("first", demand=CPU)
    session.submit("waiter", cell="its cell")
    state = session.scheduler.state
    assert told.to_tell(state, session.now + 1) == []
    [(task, text, cell)] = told.to_tell(state, session.now + 10)
    assert (task.spec.name, cell) == ("waiter", "its cell")
    assert "the actor first holds CPU: 1" in text
    assert told.to_tell(state, session.now + 20) == []
    session.say(DRIVER, m.Kill(first, no_restart=True))
    assert session.running() == ["waiter"]
    assert told.to_tell(state, session.now + 30) == []


def test_the_cell_that_waits_is_told_too() -> None:
    """It may be another one than that which has made the call."""
    session = Session(CPU=1)
    told, state = Starved(), session.scheduler.state
    session.actor("first", demand=CPU)
    waiter = session.submit("waiter", cell="its cell")
    assert [cell for _, _, cell in told.to_tell(state, session.now + 10)] == ["its cell"]
    session.now += 20
    session.get(waiter, 50, task=b"")
    assert told.to_tell(state, session.now + 1) == []
    [(_, text, cell)] = told.to_tell(state, session.now + 6)
    assert "the actor first holds CPU: 1" in text
    assert cell is None, "whatever cell runs"
    assert told.to_tell(state, session.now + 20) == []


def test_a_cell_that_waits_from_the_beginning_is_told_once() -> None:
    session = Session(CPU=1)
    told, state = Starved(), session.scheduler.state
    session.actor("first", demand=CPU)
    session.get(session.submit("waiter", cell="its cell"), 50, task=b"")
    assert [cell for _, _, cell in told.to_tell(state, session.now + 10)] == [None]
    assert told.to_tell(state, session.now + 20) == []


def test_what_waits_for_a_tasks_end_is_left_alone() -> None:
    session = Session(CPU=1)
    session.submit("runs")
    session.submit("waits", demand={"CPU": PARTS // 2})
    assert Starved().to_tell(session.scheduler.state, session.now + 100) == []


def test_what_can_never_start_fails_at_once() -> None:
    session = Session(CPU=2)
    task = session.submit("huge", demand={"CPU": 3 * PARTS})
    session.get(task, 5)
    error = session.error_of(5)
    assert isinstance(error, TaskUnschedulableError)
    assert "CPU: 3" in str(error)
    assert "CPU: 2" in str(error)


def test_the_last_handle_gone_ends_the_actor_after_its_queued_calls() -> None:
    session = Session(CPU=2)
    actor = session.actor()
    call = session.submit("call", kind="method", actor=actor, demand={})
    session.say(DRIVER, m.Drop([(actor, 1)]))
    assert not session.asked_to_leave
    session.finish(call)
    assert len(session.asked_to_leave) == 1
    assert actor not in session.scheduler.state.actors


def test_a_process_that_an_actor_takes_out_of_the_pool_is_made_up_for() -> None:
    session = Session(CPU=2)
    state = session.scheduler.state
    for made in range(1, 5):
        session.actor(f"a{made}")
        assert len(state.idle[""]) == 2
        assert len(state.workers) == 2 + made
    nested = session.submit("nested")
    session.finish(nested)
    assert len(state.workers) == 6


def test_a_handle_in_a_stored_object_keeps_the_actor() -> None:
    session = Session(CPU=2)
    actor = session.actor()
    box = b"box-------------" + b"\0" * 12
    session.say(DRIVER, m.Put(box, m.Payload(data=b"x", size=1, contained=(actor,))))
    session.say(DRIVER, m.Drop([(actor, 1)]))
    assert not session.asked_to_leave
    session.say(DRIVER, m.Drop([(box, 1)]))
    assert len(session.asked_to_leave) == 1


def test_a_lost_worker_retries_its_task_and_then_says_why_not() -> None:
    session = Session(CPU=1)
    task = session.submit("unlucky", max_retries=1)
    session.happen(WorkerLost(session.worker_of(task), "its process was ended by SIGKILL"))
    assert session.running() == ["unlucky"]
    session.happen(WorkerLost(session.worker_of(task), "its process was ended by SIGKILL"))
    session.get(task, 6)
    assert "SIGKILL" in str(session.error_of(6))
    assert "2 times" in str(session.error_of(6))


def test_a_task_fails_where_no_worker_begins_any_more() -> None:
    session = Session(CPU=1)
    session.happen(WorkerLost(session.worker_of(session.submit("first", max_retries=0)), "it crashed"))
    session.stillborn = "it could not be started: there is no such folder"
    for request, name in enumerate(("second", "third"), 6):
        session.get(session.submit(name, max_retries=5), request)
        assert "no such folder" in str(session.error_of(request))
    session.stillborn = ""
    fourth = session.submit("fourth")
    session.finish(fourth)
    session.get(fourth, 8)
    assert [reply.request for reply in session.of(m.Reply) if not reply.values[0].is_error] == [8]


def test_a_task_that_fails_again_pauses_before_it_is_tried_once_more() -> None:
    session = Session(CPU=1)
    task = session.submit("unlucky", max_retries=5)
    for pause in (0.0, 0.1, 0.2, 0.4):
        session.happen(WorkerLost(session.worker_of(task), "it crashed"))
        if pause:
            assert session.scheduler.wants_tick
            session.now += pause - 0.02
            session.happen(Tick())
            assert session.running() == []
            session.now += 0.02
            session.happen(Tick())
        assert session.running() == ["unlucky"]
    session.happen(WorkerLost(session.worker_of(task), "it crashed"))
    session.say(DRIVER, m.Cancel(return_id(task, 1), False, True))
    session.now += 10
    session.happen(Tick())
    assert session.running() == []
    assert not session.scheduler.state.later


def test_calls_of_a_dead_actor_fail_with_the_reason() -> None:
    session = Session(CPU=1)
    actor = session.actor(name="a")
    call = session.submit("call", kind="method", actor=actor, demand={})
    session.say(DRIVER, m.Kill(actor, True))
    late = session.submit("late", kind="method", actor=actor, demand={})
    for request, task in enumerate([call, late], start=20):
        session.get(task, request)
        error = session.error_of(request)
        assert isinstance(error, ActorDiedError)
        assert "`ray.kill`" in str(error)
    assert not session.scheduler.state.names


def test_a_restarted_actor_gets_the_calls_that_may_be_repeated() -> None:
    session = Session(CPU=1)
    actor = session.actor(max_restarts=1)
    creation = session.scheduler.state.actors[actor].spec.creation.task
    once = session.submit("once", kind="method", actor=actor, demand={})
    again = session.submit("again", kind="method", actor=actor, demand={}, max_retries=1)
    session.happen(WorkerLost(session.worker_of(once), "its process was ended by SIGKILL"))
    session.get(once, 30)
    assert "restarted" in str(session.error_of(30))
    session.finish(creation)
    session.finish(again)
    session.get(again, 31)
    assert any(reply.request == 31 and not reply.values[0].is_error for reply in session.of(m.Reply))


def test_the_deepest_ready_task_comes_first() -> None:
    session = Session(CPU=1)
    parent = session.submit("parent")
    worker = session.worker_of(parent)
    sibling = session.submit("sibling")
    child = session.submit("child", worker, parent=parent)
    session.get(child, 40, worker, task=parent)
    assert session.running() == ["child"]
    session.finish(child)
    session.finish(parent)
    assert session.running() == ["sibling"]
    session.finish(sibling)


def test_a_placement_group_reserves_all_bundles_or_none() -> None:
    session = Session(CPU=3)
    holder = session.submit("holder", demand={"CPU": 2 * PARTS})
    session.say(DRIVER, m.CreateGroup("g", [CPU, CPU], "PACK"))
    waiting = session.submit("inside", group="g", bundle=1)
    assert session.running() == ["holder"]
    assert session.scheduler.state.ledger.free["CPU"] == PARTS
    session.finish(holder)
    assert session.running() == ["inside"]
    assert session.scheduler.state.ledger.free["CPU"] == PARTS, "two are reserved, whatever runs in them"
    second = session.submit("second", group="g", bundle=1)
    other = session.submit("other", group="g", bundle=-1)
    assert session.running() == ["inside", "other"], "bundle 1 is taken, bundle 0 is free"
    session.finish(waiting)
    assert session.running() == ["other", "second"]
    session.say(DRIVER, m.RemoveGroup("g"))
    assert session.running() == []
    assert session.scheduler.state.ledger.free["CPU"] == 3 * PARTS
    session.get(second, 70)
    assert isinstance(session.error_of(70), TaskPlacementGroupRemoved)
    late = session.submit("late", group="g")
    session.get(late, 71)
    assert isinstance(session.error_of(71), TaskPlacementGroupRemoved)
    assert other


def test_a_task_that_fits_no_bundle_fails_at_once() -> None:
    session = Session(CPU=4)
    session.say(DRIVER, m.CreateGroup("g", [CPU, CPU], "PACK"))
    task = session.submit("big", group="g", demand={"CPU": 2 * PARTS})
    session.get(task, 72)
    assert isinstance(session.error_of(72), TaskUnschedulableError)


def test_strict_spread_waits_for_machines_that_are_not_there() -> None:
    session = Session(CPU=4)
    session.say(DRIVER, m.CreateGroup("g", [CPU, CPU], "STRICT_SPREAD"))
    assert session.scheduler.state.groups["g"].state.value == "PENDING"
    session.say(DRIVER, m.RemoveGroup("g"))
    assert not session.scheduler.state.pending_groups


def test_a_query_that_fails_is_answered_and_nothing_ends() -> None:
    session = Session(CPU=1)
    session.say(DRIVER, m.Query(80, "resources", {}))
    session.say(DRIVER, m.Query(81, "task", {"no": "task"}))
    good, bad = [message for _, message in session.sent if isinstance(message, m.Answer) and message.request >= 80]
    assert not good.error
    assert bad.error == "KeyError"
    assert "'task' failed" in bad.value


def test_nonsense_in_a_burst_takes_nothing_with_it_of_what_came_before() -> None:
    session = Session(CPU=1)
    actor = session.actor(max_concurrency=2)
    calls = [session.submit(name, kind="method", actor=actor, demand={}) for name in ("good", "bad")]
    worker = session.worker_of(calls[0])
    with pytest.raises(ValueError, match="bad is done with 0 of 1 return values"):
        session.happen(Said(worker, [m.Done(calls[0], (VALUE,)), m.Done(calls[1], ())]))
    assert list(session.scheduler.state.tasks) == calls[1:]
    session.get(calls[0], 9)
    assert session.of(m.Reply)[-1].values == [VALUE]


def test_whose_end_costs_least_goes_first_when_memory_runs_out() -> None:
    session = Session(CPU=8)
    idle = session.submit("idle")
    session.finish(idle)
    actor = session.scheduler.state.actors[session.actor()].worker
    restartable = session.scheduler.state.actors[session.actor(max_restarts=1)].worker
    once = session.submit("once", max_retries=0)
    older, newer = session.submit("older", max_retries=-1), session.submit("newer", max_retries=3)
    assert actor is not None
    assert restartable is not None
    workers = [session.worker_of(task) for task in (newer, older)] + [restartable.id, session.worker_of(once), actor.id]
    found = [each.id for each in expendable(session.scheduler.state)]
    assert found[-5:] == workers
    assert all(session.scheduler.state.workers[each].state.value == "idle" for each in found[:-5])


def test_how_often_a_task_is_tried_again_that_was_ended_for_want_of_memory() -> None:
    session = Session(CPU=1)
    session.scheduler.state.memory_retries = 1
    task = session.submit("task", max_retries=-1)
    session.happen(WorkerLost(session.worker_of(task), "too much", out_of_memory=True))
    assert session.running() == [], "it waits until memory may be free"
    session.now += 1
    session.happen(Tick())
    assert session.running() == ["task"]
    session.happen(WorkerLost(session.worker_of(task), "too much", out_of_memory=True))
    session.get(task, 9)
    assert isinstance(session.error_of(9), OutOfMemoryError)


def test_who_had_less_memory_than_another_is_tried_again_without_counting_it() -> None:
    session = Session(CPU=2)
    task, once = session.submit("task", max_retries=1), session.submit("once", max_retries=0)
    session.happen(WorkerLost(session.worker_of(once), "another had more", out_of_memory=True, spared=True))
    session.get(once, 8)
    assert isinstance(session.error_of(8), OutOfMemoryError)
    for spared in (True, True, False, True):
        session.happen(WorkerLost(session.worker_of(task), "too much", out_of_memory=True, spared=spared))
        session.now += 1
        session.happen(Tick())
        assert session.running() == ["task"]
    session.happen(WorkerLost(session.worker_of(task), "too much", out_of_memory=True))
    session.get(task, 9)
    assert isinstance(session.error_of(9), OutOfMemoryError)


def test_of_a_crowd_that_is_blocked_at_once_further_ones_begin_later_and_later() -> None:
    session = Session(CPU=1)
    slow = session.submit("slow", demand={})

    def running() -> list[bytes]:
        return [each.id for each in session.scheduler.state.tasks.values() if each.state.value == "running"]

    def begun() -> int:
        """Have all wait for the slow one that can begin, and return how many have begun."""
        while waits := [task for task in running() if task != slow]:
            session.get(slow, 1000, session.worker_of(waits[0]), task=waits[0])
        return sum(each.name == "waits" for each in session.of(m.Execute))

    waiting = [session.submit("waits", definition="w") for _ in range(30)]
    assert begun() == 16
    session.say(DRIVER, m.Query(90, "why", {"id": return_id(waiting[-1], 1), "now": session.now}))
    assert "16 other calls of its function are blocked" in session.of(m.Answer)[-1].value
    session.finish(session.submit("other", definition="o"))  # Others do not wait with them,
    session.finish(session.submit("deeper", session.worker_of(waiting[0]), parent=waiting[0], definition="w"))
    for count, pause in enumerate((1, 2, 4, 8, 10, 10), 17):
        assert session.scheduler.wants_tick
        session.now += pause - 0.5
        session.happen(Tick())
        assert begun() == count - 1
        session.now += 0.5
        session.happen(Tick())
        assert begun() == count
    session.finish(slow)
    while left := running():  # All go on, and the rest begins as soon as they are fewer.
        session.finish(left[0])
    assert not session.scheduler.state.tasks
    assert not session.scheduler.state.ready


def test_what_a_task_starts_before_its_cancel_has_reached_it_is_cancelled_with_it() -> None:
    session = Session(CPU=4)
    outer = session.submit("outer")
    worker = session.worker_of(outer)
    session.say(DRIVER, m.Cancel(return_id(outer, 1), False, True))
    early = session.submit("early", worker, parent=outer)
    assert session.running() == ["outer"]
    session.get(early, 7)
    assert isinstance(session.error_of(7), TaskCancelledError)
    session.say(worker, m.Interrupted(outer))
    session.submit("late", worker, parent=outer)
    session.say(worker, m.Done(outer, (), cancelled=True))
    assert session.running() == ["late"], "it is how the task cleans up"


def test_a_cancel_that_spares_children_spares_later_ones_too() -> None:
    session = Session(CPU=4)
    outer = session.submit("outer")
    session.say(DRIVER, m.Cancel(return_id(outer, 1), False, False))
    session.submit("child", session.worker_of(outer), parent=outer)
    assert session.running() == ["child", "outer"]


def test_an_actor_whose_constructor_waits_when_its_process_dies_is_made_again() -> None:
    session = Session(CPU=1)
    needed = session.submit("needed")
    actor = b"actor---12345678"
    creation = m.TaskSpec(task=b"c" * 24, kind="actor", name="A", body=b"", actor=actor, num_returns=0, demand={})
    spec = m.ActorSpec(actor=actor, creation=creation, class_name="A", handle=b"", placement={}, max_restarts=1)
    session.say(DRIVER, m.CreateActor(0, spec))
    worker = session.worker_of(creation.task)
    session.get(needed, 7, worker, task=creation.task)
    session.happen(WorkerLost(worker, "it died"))
    again = session.worker_of(creation.task)
    assert again != worker
    session.get(needed, 7, again, task=creation.task)
    session.finish(needed)
    assert [reply.request for reply in session.of(m.Reply, again)] == [7]
    session.say(again, m.Done(creation.task, ()))
    assert session.scheduler.state.actors[actor].state.value == "alive"


def test_an_item_that_was_waited_for_and_never_came_is_forgotten() -> None:
    session = Session(CPU=1)
    stream = session.submit("stream", num_returns=m.STREAMING)
    session.say(DRIVER, m.Wait(7, [return_id(stream, 2), return_id(stream, 1)], 1))
    session.say(DRIVER, m.Abandon(7))
    session.say(session.worker_of(stream), m.Done(stream, ()))
    session.say(DRIVER, m.Drop([(return_id(stream, 1), 1)]))
    assert not session.scheduler.state.objects


@pytest.mark.parametrize("begun", [True, False])
def test_a_call_that_was_cancelled_is_not_tried_again_when_its_actor_is_made_anew(begun: bool) -> None:
    session = Session(CPU=1)
    actor = session.actor(max_restarts=1)
    first = session.submit("first", kind="method", actor=actor, demand={}, max_retries=-1)
    session.finish(first, seconds=0.0001)  # They are short: the next ones are handed over together.
    calls = [session.submit(name, kind="method", actor=actor, demand={}, max_retries=-1) for name in ("one", "two")]
    cancelled, kept = calls if begun else reversed(calls)
    session.say(DRIVER, m.Cancel(return_id(cancelled, 1), False, True))
    session.get(cancelled, 7)
    session.happen(WorkerLost(session.worker_of(cancelled), "it died"))
    assert isinstance(session.error_of(7), TaskCancelledError)
    creation = session.scheduler.state.actors[actor].spec.creation.task
    session.say(session.worker_of(creation), m.Done(creation, ()))
    assert [each.id for each in session.scheduler.state.tasks.values()] == [kept]
    assert session.scheduler.state.tasks[kept].state.value == "running"
