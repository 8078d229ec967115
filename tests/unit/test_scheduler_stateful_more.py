"""More random programs for the scheduler: threads of tasks, streams, and placement groups among all the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler.starved import Starved
from jupyter_ray.local.scheduler.states import ActorState, GroupState
from jupyter_ray.local.scheduler.stimuli import AwaitedLong
from tests.unit.test_scheduler_stateful import DRIVER, ERROR, SETTINGS, VALUE, FakeWorker, SchedulerMachine

BUNDLES = [[{"CPU": 10_000}], [{"CPU": 5_000}, {"CPU": 5_000, "GPU": 10_000}], [{"CPU": 40_000}]]


class MoreMachine(SchedulerMachine):
    """The same world, and what else happens there."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[str, int] = {}
        """The number of bundles of each."""

    def busy(self) -> list[FakeWorker]:
        return [worker for worker in self.workers.values() if worker.tasks]

    # --- threads of tasks -------------------------------------------------------------------------------------

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), timeout=st.sampled_from([None, None, 1.0]), nested=st.booleans())
    def another_thread_waits(self, data: st.DataObject, timeout: float | None, nested: bool) -> None:
        worker = data.draw(st.sampled_from(self.busy()))
        task = worker.tasks[0]
        held = [each for each in worker.grants if len(each) == 28]
        awaited = data.draw(st.sampled_from(held)) if held else b""
        if nested or not held:
            demand = {"CPU": 10_000}
            awaited = return_id(self.new_task(worker.id, {"demand": demand, "parent": task.task}), 1)
        if worker.id not in self.workers or not worker.tasks or worker.tasks[0] is not task:
            return
        plain = [] if worker.actor else [each.task for each in list(worker.tasks)[1:]]
        for _ in plain:
            worker.tasks.pop()
        self.request += 1
        worker.others.add(self.request)
        self.say(worker.id, m.Get(self.request, [awaited], timeout, task.task, plain))

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), demand=st.sampled_from([{"CPU": 10_000}, {"GPU": 10_000}, {"CPU": 40_000}]))
    def a_coroutine_awaits(self, data: st.DataObject, demand: dict[str, int]) -> None:
        worker = data.draw(st.sampled_from(self.busy()))
        task = worker.tasks[0]
        awaited = return_id(self.new_task(worker.id, {"demand": demand, "parent": task.task}), 1)
        if worker.id in self.workers:
            self.request += 1
            worker.others.add(self.request)
            self.say(worker.id, m.Get(self.request, [awaited], awaiter=task.task))

    @rule()
    def it_has_been_awaited_for_long(self) -> None:
        self.now += 6
        Starved().suspects(self.scheduler.state, self.now)
        self.happen(AwaitedLong())

    @precondition(lambda self: any(worker.others for worker in self.workers.values()))
    @rule(data=st.data())
    def a_thread_stops_waiting(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([each for each in self.workers.values() if each.others]))
        request = data.draw(st.sampled_from(sorted(worker.others)))
        worker.others.discard(request)
        self.say(worker.id, m.Abandon(request))

    @precondition(lambda self: any(each for worker in self.workers.values() for each in worker.grants))
    @rule(data=st.data(), asks=st.booleans())
    def a_worker_calls_an_actor(self, data: st.DataObject, asks: bool) -> None:
        able = [w for w in self.workers.values() if any(len(each) == 16 for each in w.grants)]
        if not able:
            return
        worker = data.draw(st.sampled_from(able))
        actor = data.draw(st.sampled_from([each for each in worker.grants if len(each) == 16]))
        parent = worker.tasks[0].task if worker.tasks else None
        if asks and parent is not None:
            self.request += 1
            worker.others.add(self.request)
            self.say(worker.id, m.AwaitRoom(self.request, actor, parent))
        else:
            self.new_task(worker.id, {"kind": "method", "actor": actor, "contained": [actor], "parent": parent})

    # --- streams ----------------------------------------------------------------------------------------------

    @rule(data=st.data(), retries=st.integers(0, 1), method=st.booleans())
    def submit_stream(self, data: st.DataObject, retries: int, method: bool) -> None:
        spec: dict[str, Any] = {"num_returns": m.STREAMING, "max_retries": retries, "demand": {"CPU": 10_000}}
        handles = [each for each in self.driver_grants if len(each) == 16]
        if method and handles:
            actor = data.draw(st.sampled_from(handles))
            spec |= {"kind": "method", "actor": actor, "contained": [actor], "demand": {}}
            self.forget_route(spec)
        task = self.new_task(DRIVER, spec)
        self.driver_grants[return_id(task, 1)] = 1  # It tells the end.
        self.objects.append(return_id(task, 1))
        self.streams[task] = self.streams.get(task, 0)

    @precondition(lambda self: any(w.tasks[0].num_returns == m.STREAMING for w in self.busy()))
    @rule(data=st.data(), count=st.integers(1, 3), large=st.booleans(), failed=st.booleans())
    def an_item_comes(self, data: st.DataObject, count: int, large: bool, failed: bool) -> None:
        worker = data.draw(st.sampled_from([w for w in self.busy() if w.tasks[0].num_returns == m.STREAMING]))
        task = worker.tasks[0].task
        for _ in range(count):
            if worker.id not in self.workers or not worker.tasks or worker.tasks[0].task != task:
                return
            worker.made[task] += 1
            payload = self.large() if large else ERROR if failed else VALUE
            self.say(worker.id, m.Item(task, worker.made[task], payload))

    def making(self) -> list[FakeWorker]:
        free = [w for w in self.busy() if w.blocked is None and not w.actor]
        return [w for w in free if w.tasks[0].num_returns == m.STREAMING]

    @precondition(lambda self: self.making())
    @rule(data=st.data(), ahead=st.integers(0, 1))
    def a_stream_waits_for_its_reader(self, data: st.DataObject, ahead: int) -> None:
        worker = data.draw(st.sampled_from(self.making()))
        task = worker.tasks[0].task
        given = [each.task for each in list(worker.tasks)[1:]]
        for _ in given:
            worker.tasks.pop()
        if given:
            self.say(worker.id, m.Returned(given))
        self.request += 1
        worker.blocked = self.request
        self.say(worker.id, m.AwaitRead(self.request, task, worker.made[task] - ahead))

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), closes=st.booleans())
    def read_a_stream(self, data: st.DataObject, closes: bool) -> None:
        task = data.draw(st.sampled_from(sorted(self.streams)))
        self.say(DRIVER, m.Consumed(task, -1 if closes else self.streams[task]))
        if closes:
            del self.streams[task]

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), timeout=st.sampled_from([None, 1.0]))
    def await_an_item(self, data: st.DataObject, timeout: float | None) -> None:
        task = data.draw(st.sampled_from(sorted(self.streams)))
        self.request += 1
        self.driver_requests.add(self.request)
        item = return_id(task, self.streams[task] + 2)
        self.say(DRIVER, m.Wait(self.request, [item, return_id(task, 1)], 1, timeout))

    # --- placement groups -------------------------------------------------------------------------------------

    @rule(bundles=st.sampled_from(BUNDLES), strategy=st.sampled_from(["PACK", "STRICT_SPREAD"]), awaited=st.booleans())
    def make_group(self, bundles: list[dict[str, int]], strategy: Any, awaited: bool) -> None:
        self.serial += 1
        group = f"group{self.serial}"
        self.groups[group] = len(bundles)
        self.say(DRIVER, m.CreateGroup(group, bundles, strategy))
        if awaited:
            object_id = b"ready-----------" + self.serial.to_bytes(8, "big") + b"\0\0\0\0"
            self.driver_grants[object_id] = 1
            self.say(DRIVER, m.GroupReady(group, object_id, VALUE))

    @precondition(lambda self: self.groups)
    @rule(data=st.data())
    def remove_group(self, data: st.DataObject) -> None:
        group = data.draw(st.sampled_from(sorted(self.groups)))
        del self.groups[group]
        self.say(DRIVER, m.RemoveGroup(group))

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), retries=st.integers(0, 1), half=st.booleans())
    def submit_to_group(self, data: st.DataObject, retries: int, half: bool) -> None:
        group = data.draw(st.sampled_from(sorted(self.groups)))
        bundle = data.draw(st.integers(-1, self.groups[group] - 1))
        demand = {"CPU": 5_000 if half else 10_000}
        self.new_task(DRIVER, {"demand": demand, "group": group, "bundle": bundle, "max_retries": retries})

    # --- the end ----------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """When nobody holds anything, nothing is left."""
        for group in list(self.groups):
            self.say(DRIVER, m.RemoveGroup(group))
        for task in list(self.streams):
            self.say(DRIVER, m.Consumed(task, -1))
        super().teardown()
        while self.routes:
            self.say(DRIVER, m.Unlease(self.routes.pop().worker))
        for worker in list(self.workers.values()):
            for request in list(worker.others):
                self.say(worker.id, m.Abandon(request))
            self.say(worker.id, m.Drop(list(worker.grants.items())))
        for request in sorted(self.driver_requests):
            self.say(DRIVER, m.Abandon(request))
        self.say(DRIVER, m.Drop(list(self.driver_grants.items())))
        self.holds()
        state = self.scheduler.state
        assert all(group.state is GroupState.REMOVED for group in state.groups.values())
        if not state.tasks and all(actor.state is ActorState.DEAD for actor in state.actors.values()):
            kept = {record.id for record in state.objects.values() if record.pins}
            assert not kept, f"{kept} are pinned by nothing"
            assert not state.objects, state.objects
            assert not state.lineage
            assert state.ledger.free == state.ledger.total


TestMore = pytest.mark.timeout(900)(MoreMachine.TestCase)
TestMore.settings = SETTINGS
