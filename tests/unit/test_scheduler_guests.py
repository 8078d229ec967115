"""Drivers that join and leave, among random programs: nothing of them is left, and nobody else loses anything."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.protocol import names
from jupyter_ray.local.scheduler import jobs
from jupyter_ray.local.scheduler.invariants import validate
from jupyter_ray.local.scheduler.states import GroupState, TaskState
from jupyter_ray.local.scheduler.stimuli import ClientJoined, DriverLeft, Stimulus
from tests.unit.test_scheduler_stateful import DEMANDS, DRIVER, VALUE, SchedulerMachine, TestScheduler


@dataclasses.dataclass
class Guest:
    """A driver that has joined."""

    id: bytes
    job: bytes
    held: list[bytes] = dataclasses.field(default_factory=list)
    actors: list[bytes] = dataclasses.field(default_factory=list)

    @property
    def env(self) -> str:
        return names.environment_of(self.job.hex(), "")


class GuestMachine(SchedulerMachine):
    """As the machine that this is one of, with drivers that join and leave."""

    def __init__(self) -> None:
        super().__init__()
        self.guests: dict[bytes, Guest] = {}
        self._coming: deque[Stimulus] = deque()
        self._happens = False

    def happen(self, stimulus: Stimulus) -> None:
        """As the one that is refined; what follows from a stimulus comes after all commands of it, as in the server."""
        self._coming.append(stimulus)
        if self._happens:
            return
        self._happens = True
        try:
            while self._coming:
                super().happen(self._coming.popleft())
        finally:
            self._happens = False

    def new_task(self, submitter: bytes, spec: dict[str, Any]) -> bytes:
        """As the one that is refined: what a guest's worker submits is for workers of the guest."""
        worker = self.scheduler.state.workers.get(submitter)
        return super().new_task(submitter, {"env": "" if worker is None else worker.env, **spec})

    @precondition(lambda self: len(self.guests) < 2)
    @rule()
    def guest_joins(self) -> None:
        self.serial += 1
        guest = Guest(b"guest---" + self.serial.to_bytes(8, "big"), self.serial.to_bytes(4, "big"))
        self.guests[guest.id] = guest
        self.happen(ClientJoined(guest.id, self.serial))
        self.say(guest.id, m.Join(1, guest.job, "", [], "/", {}))

    def _task(self, guest: Guest, **spec: Any) -> bytes:
        self.serial += 1
        task = b"of-guest--------" + self.serial.to_bytes(8, "big")
        made = {"kind": "task", "env": guest.env, **spec}
        self.say(guest.id, m.Submit(m.TaskSpec(task=task, name="g", body=b"", **made)))
        guest.held.append(return_id(task, 1))
        return task

    @precondition(lambda self: self.guests)
    @rule(data=st.data(), demand=st.sampled_from(DEMANDS), retries=st.integers(0, 1))
    def guest_submits(self, data: st.DataObject, demand: dict[str, int], retries: int) -> None:
        guest = data.draw(st.sampled_from(list(self.guests.values())))
        deps = data.draw(st.lists(st.sampled_from(guest.held), max_size=2)) if guest.held else []
        self._task(guest, demand=demand, dependencies=deps, max_retries=retries)

    @precondition(lambda self: self.guests)
    @rule(data=st.data(), large=st.booleans())
    def guest_puts(self, data: st.DataObject, large: bool) -> None:
        guest = data.draw(st.sampled_from(list(self.guests.values())))
        self.serial += 1
        object_id = b"of-guest--------" + self.serial.to_bytes(8, "big") + b"\0\0\0\0"
        guest.held.append(object_id)
        self.say(guest.id, m.Put(object_id, self.large() if large else VALUE))

    @precondition(lambda self: self.guests)
    @rule(data=st.data(), restarts=st.integers(0, 1), cpus=st.sampled_from([0, 10_000]), detached=st.booleans())
    def guest_creates_actor(self, data: st.DataObject, restarts: int, cpus: int, detached: bool) -> None:
        guest = data.draw(st.sampled_from(list(self.guests.values())))
        self.serial += 1
        actor = b"g-actor-" + self.serial.to_bytes(8, "big")
        task = b"g-creation------" + self.serial.to_bytes(8, "big")
        demand = {"CPU": cpus} if cpus else {}
        creation = m.TaskSpec(
            task=task, kind="actor", name="G", body=b"", demand=demand, actor=actor, num_returns=0, env=guest.env
        )
        spec = m.ActorSpec(
            actor=actor,
            creation=creation,
            class_name="G",
            handle=b"",
            placement={"CPU": 10_000},
            max_restarts=restarts,
            detached=detached,
        )
        guest.actors.append(actor)
        self.actors.append(actor)
        self.say(guest.id, m.CreateActor(0, spec))

    @precondition(lambda self: self.guests and self.actors)
    @rule(data=st.data(), retries=st.integers(0, 1))
    def guest_calls(self, data: st.DataObject, retries: int) -> None:
        """It calls an actor of its own, or of anybody else: a handle may have travelled."""
        guest = data.draw(st.sampled_from(list(self.guests.values())))
        actor = data.draw(st.sampled_from(guest.actors or self.actors))
        self._task(guest, kind="method", actor=actor, contained=(actor,), max_retries=retries)

    @precondition(lambda self: self.guests)
    @rule(data=st.data())
    def driver_calls_actor_of_guest(self, data: st.DataObject) -> None:
        guest = data.draw(st.sampled_from(list(self.guests.values())))
        for actor in guest.actors[-1:]:
            self.new_task(DRIVER, {"kind": "method", "actor": actor, "contained": [actor]})

    @precondition(lambda self: self.guests)
    @rule(data=st.data(), detached=st.booleans())
    def guest_makes_group(self, data: st.DataObject, detached: bool) -> None:
        guest = data.draw(st.sampled_from(list(self.guests.values())))
        self.serial += 1
        group = f"group-{self.serial}"
        self.say(guest.id, m.CreateGroup(group, [{"CPU": 5_000}], "PACK", detached=detached))
        self._task(guest, demand={"CPU": 5_000}, group=group, bundle=-1)

    @precondition(lambda self: self.guests)
    @rule(data=st.data())
    def guest_asks(self, data: st.DataObject) -> None:
        guest = data.draw(st.sampled_from(list(self.guests.values())))
        if guest.held:
            self.request += 1
            self.say(guest.id, m.Get(self.request, [data.draw(st.sampled_from(guest.held))]))

    @precondition(lambda self: self.guests)
    @rule(data=st.data())
    def guest_leaves(self, data: st.DataObject) -> None:
        self._leave(self.guests.pop(data.draw(st.sampled_from(sorted(self.guests)))))

    def _leave(self, guest: Guest) -> None:
        state = self.scheduler.state
        others = {worker for worker in state.workers.values() if worker.env != guest.env}
        self.happen(DriverLeft(guest.id))
        validate(state)
        assert guest.id not in state.clients
        assert not any(guest.id in each.holds for each in state.clients.values())
        alone = not jobs.lives_on(state, guest.job)
        for task in state.tasks.values():
            if task.client.id == guest.id and task.spec.kind != "actor":
                assert task.spec.kind == "method", "a task ends at once"
                assert task.state not in (TaskState.WAITING, TaskState.READY)
        if alone:
            assert not [worker for worker in state.workers.values() if worker.env == guest.env]
            assert not any(task.client.job == guest.job and task.spec.kind == "task" for task in state.tasks.values())
        for group in state.groups.values():
            assert group.creator.id != guest.id or group.detached or group.state is GroupState.REMOVED
        assert others <= {*state.workers.values()}, "nobody else loses a process"

    def teardown(self) -> None:
        """All leave; then as without them, but for detached actors and groups."""
        for guest in list(self.guests.values()):
            self._leave(self.guests.pop(guest.id))
        for actor in list(self.scheduler.state.actors.values()):
            if actor.spec.detached:
                self.say(DRIVER, m.Kill(actor.id, True))
        for group in list(self.scheduler.state.groups.values()):
            self.say(DRIVER, m.RemoveGroup(group.id))
        super().teardown()
        assert not self.scheduler.state.tasks or not any(
            worker.env for worker in self.scheduler.state.workers.values()
        ), "of guests nothing is left"


TestGuests = pytest.mark.timeout(900)(GuestMachine.TestCase)
TestGuests.settings = TestScheduler.settings
del TestScheduler
