"""How many processes start at once where many actors are made, most of which hold nothing."""

from __future__ import annotations

from typing import Any

from jupyter_ray.config import IDLE_WORKER_SECONDS
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler import commands as c
from jupyter_ray.local.scheduler.invariants import validate
from jupyter_ray.local.scheduler.stimuli import WorkerJoined, WorkerLost
from tests.unit.test_scheduler import CPU, DRIVER, Session


class Slow(Session):
    """A session whose processes begin when the test says so."""

    def __init__(self, **resources: int) -> None:
        self.starting: list[bytes] = []
        super().__init__(**resources)

    def happen(self, stimulus: Any) -> None:
        self.now += 0.001
        for command in self.scheduler.handle(stimulus, self.now):
            if isinstance(command, c.StartWorker):
                self.starting.append(command.worker)
            elif isinstance(command, c.Send):
                self.sent.append((command.client, command.message))
        validate(self.scheduler.state)

    def begin(self) -> None:
        """Let the oldest one begin."""
        self.happen(WorkerJoined(self.starting.pop(0), 100))

    def make(self) -> None:
        self.serial += 1
        number = self.serial.to_bytes(8, "big")
        creation = m.TaskSpec(
            task=b"creation--------" + number, kind="actor", name="A", body=b"", actor=b"actor---" + number,
            num_returns=0, demand={},
        )  # fmt: skip
        spec = m.ActorSpec(actor=b"actor---" + number, creation=creation, class_name="A", handle=b"", placement=CPU)
        self.say(DRIVER, m.CreateActor(0, spec))


def test_a_burst_of_actors_starts_few_processes_at_once() -> None:
    session = Slow(CPU=2)
    busy = [session.submit("busy") for _ in range(2)]
    while session.starting:
        session.begin()
    assert len(session.running()) == len(busy), "no CPU is free, and the actors want none"
    for _ in range(20):
        session.make()
    for made in range(20):
        assert 1 <= len(session.starting) <= 4, "those of two actors, and what the pool keeps ready"
        assert len([name for name in session.running() if name == "A"]) <= made
        session.begin()
    while session.starting:
        session.begin()
    assert len([name for name in session.running() if name == "A"]) == 20


def test_a_process_that_never_begins_makes_way_for_others() -> None:
    session = Slow(CPU=2)
    while session.starting:
        session.begin()
    for _ in range(20):
        session.make()
    session.happen(WorkerLost(session.starting.pop(0), "out of luck"))
    for _ in range(30):
        if session.starting:
            session.begin()
    assert len([name for name in session.running() if name == "A"]) == 19, "all but the one whose process it was"


def test_an_actor_starts_once_the_processes_of_tasks_have_begun() -> None:
    """Those that start for tasks count too, and tasks that hold no CPU lend none when they wait for the actor."""
    session = Slow(CPU=2)
    while session.starting:
        session.begin()
    tasks = [session.submit("idle", demand={}) for _ in range(6)]
    assert len(session.starting) == 4, "two ran on the processes that were there"
    session.make()
    for _ in range(4):
        session.begin()
    assert len([name for name in session.running() if name == "idle"]) == len(tasks)
    while session.starting:
        session.begin()
    assert "A" in session.running()


def test_blocked_tasks_that_hold_no_cpu_make_room_for_what_they_wait_for() -> None:
    """There is a bound on processes: with that many, what they have called starts when they wait for it."""
    session = Session(CPU=1)
    callers = [session.submit("caller", demand={}, definition=f"f{number}") for number in range(64)]
    workers = [session.worker_of(caller) for caller in callers]
    both = list(zip(callers, workers, strict=True))
    called = [session.submit("called", worker, demand={}, parent=caller) for caller, worker in both]
    assert "called" not in session.running()
    for number, (caller, worker) in enumerate(both):
        session.get(called[number], number, worker, task=caller)
    assert session.running() == ["called"] * len(called)


def test_of_an_environment_whose_workers_have_ended_nothing_is_kept() -> None:
    """A list for each was: a program may give each task another one."""
    session = Session(CPU=2)
    for number in range(20):
        session.finish(session.submit("f", env=f'{{"env_vars":{{"N":"{number}"}}}}'))
    state = session.scheduler.state
    assert len(state.idle) > 2
    session.let_pass(2 * IDLE_WORKER_SECONDS)
    for worker in [worker.id for worker in state.workers.values() if worker.doomed]:
        session.happen(WorkerLost(worker, "it left"))
    assert len(state.idle) <= len(state.workers) <= 2
