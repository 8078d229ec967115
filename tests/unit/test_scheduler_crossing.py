"""Random programs again, in which what the runtime says takes its time: its messages cross those of the processes."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler.stimuli import RequestExpired
from tests.unit.test_scheduler_stateful import DRIVER, SETTINGS, FakeWorker, SchedulerMachine
from tests.unit.test_scheduler_stateful_more import MoreMachine


class CrossingMachine(MoreMachine):
    """The same world, with a queue of messages on their way to each process."""

    def __init__(self) -> None:
        super().__init__()
        self.mail: dict[bytes, deque[m.ServerMessage]] = {}
        self.prompt = False
        """Messages arrive at once."""
        self.last: dict[bytes, bytes] = {}
        """The driver's last call of each actor that went the usual way."""
        self.brought: dict[bytes, tuple[m.TaskSpec, m.Route]] = {}
        """Calls that the driver has brought to a worker itself, by task, and has not told of."""
        self.untold: dict[bytes, dict[bytes, m.TaskSpec]] = {}
        """Those that a worker has and has not told of."""

    def receive(self, client: bytes, message: m.ServerMessage) -> None:
        if self.prompt:
            self.arrive(client, message)
        elif client == DRIVER or client in self.workers:
            self.mail.setdefault(client, deque()).append(message)

    def arrive(self, client: bytes, message: m.ServerMessage) -> None:
        if isinstance(message, m.Reply) and client == DRIVER:
            self.driver_requests.add(message.request)  # Who gave up waiting is granted the same.
        if isinstance(message, m.Route) and message.actor is not None and self.last.get(message.actor) != message.after:
            return  # It was called again meanwhile.
        if isinstance(message, m.Spare) and message.segment not in self.spares:
            return  # The file is gone.
        super().receive(client, message)

    def items_came(self, client: bytes, message: m.StreamState) -> list[bytes]:
        if message.task not in self.streams:  # Its reader is gone.
            return [] if message.ended else [return_id(message.task, message.items + 1)]
        return super().items_came(client, message)

    def new_task(self, submitter: bytes, spec: dict[str, Any]) -> bytes:
        task = super().new_task(submitter, spec)
        if submitter == DRIVER and spec.get("kind") == "method":
            self.last[spec["actor"]] = task
        return task

    def say(self, client: bytes, message: m.ClientMessage) -> None:
        """Nothing that a worker says comes before the calls that were brought to it."""
        untold = self.untold.pop(client, {}) if client in self.workers else {}
        for spec in untold.values():
            super().say(client, m.Submit(spec, client, DRIVER))
        super().say(client, message)

    def end(self, worker: FakeWorker, done: m.Done) -> None:
        """A quick call that nobody has told of is answered to its caller."""
        untold = self.untold.get(worker.id, {})
        small = len(done.returns) == 1 and not (done.failed or done.exiting or done.returns[0].segment)
        if done.task not in untold or not small or done.returns[0].contained:
            super().end(worker, done)
            if done.task in self.brought:  # The caller is told to ask the runtime.
                self.driver_tells(done.task)
            return
        worker.tasks.popleft()
        del untold[done.task]
        if done.task not in self.brought:
            self.say(DRIVER, m.Report(done))
            return
        spec, route = self.brought.pop(done.task)
        self.say(DRIVER, m.Ran(spec, worker.id, done))
        if route.actor is None or self.last.get(route.actor) == route.after:
            self.routes.append(route)

    def driver_tells(self, task: bytes) -> None:
        spec, route = self.brought.pop(task)
        if spec.actor is not None:
            self.last[spec.actor] = task
        self.say(DRIVER, m.Submit(spec, route.worker))

    def on_the_way(self) -> list[bytes]:
        for client in [each for each in self.mail if each != DRIVER and each not in self.workers]:
            del self.mail[client]
        return [client for client, letters in self.mail.items() if letters]

    def let_arrive(self, client: bytes, count: int = 1_000_000) -> None:
        while count and client in self.on_the_way():
            self.arrive(client, self.mail[client].popleft())
            count -= 1

    # --- rules ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.on_the_way())
    @rule(data=st.data(), count=st.integers(1, 3))
    def some_arrive(self, data: st.DataObject, count: int) -> None:
        self.let_arrive(data.draw(st.sampled_from(self.on_the_way())), count)

    @rule()
    def all_arrive(self) -> None:
        while clients := self.on_the_way():
            self.let_arrive(clients[0])

    @rule(data=st.data(), actor=st.booleans())
    def bring_a_call(self, data: st.DataObject, actor: bool) -> None:
        if not self.routes:
            self.call_by_turns({} if actor else {"CPU": 10_000}, actor, data)
        there = [each for each in self.routes if each.worker in self.workers]
        if not there:
            return
        route = data.draw(st.sampled_from(there))
        self.routes.remove(route)  # Till it is over, and nothing else is under way.
        self.serial += 1
        task = DRIVER + self.serial.to_bytes(8, "big")
        self.driver_grants[return_id(task, 1)] = 1
        self.objects.append(return_id(task, 1))
        kind, named, demand = ("task", "quick", route.demand) if route.actor is None else ("method", "", {})
        spec = m.TaskSpec(task, kind, "f", b"", named, demand=demand, actor=route.actor)  # type: ignore[arg-type]
        self.brought[task] = spec, route
        self.untold.setdefault(route.worker, {})[task] = spec
        worker = self.workers[route.worker]
        worker.made[task] = 0
        worker.tasks.append(m.Execute(task, spec.kind, "f", b"", named, (), 1, held=demand, actor=spec.actor))

    @precondition(lambda self: self.brought)
    @rule(data=st.data())
    def it_lasts_or_its_worker_is_gone(self, data: st.DataObject) -> None:
        self.driver_tells(data.draw(st.sampled_from(sorted(self.brought))))

    @precondition(lambda self: any(worker in self.workers for worker in self.untold))
    @rule(data=st.data())
    def it_speaks(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([each for each in self.untold if each in self.workers]))
        self.say(worker, m.Named("text"))

    @rule(demand=st.sampled_from([{"CPU": 10_000}, {}]), actor=st.booleans(), data=st.data())
    def call_by_turns(self, demand: dict[str, int], actor: bool, data: st.DataObject) -> None:
        self.all_arrive()
        self.prompt = True
        SchedulerMachine.call_by_turns(self, demand, actor, data)
        self.prompt = False

    @precondition(lambda self: self.driver_requests)
    @rule(data=st.data(), expires=st.booleans())
    def stop_asking(self, data: st.DataObject, expires: bool) -> None:
        request = data.draw(st.sampled_from(sorted(self.driver_requests)))
        if expires:
            self.happen(RequestExpired(DRIVER, request))
        else:
            self.driver_requests.discard(request)
            self.say(DRIVER, m.Abandon(request))

    @precondition(lambda self: any(w.leaving and not w.tasks for w in self.workers.values()))
    @rule()
    def leavers_leave(self) -> None:
        """They have been told to after what they were given."""
        for worker in [each for each in self.workers.values() if each.leaving]:
            self.let_arrive(worker.id)
        SchedulerMachine.leavers_leave(self)

    @invariant()
    def spares_are_offered(self) -> None:
        assert self.spares == set(self.scheduler.state.memory.spares)

    def teardown(self) -> None:
        self.all_arrive()
        for task in sorted(self.brought):
            self.driver_tells(task)
        self.prompt = True
        super().teardown()


TestCrossing = pytest.mark.timeout(900)(CrossingMachine.TestCase)
TestCrossing.settings = SETTINGS
