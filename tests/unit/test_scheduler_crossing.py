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
from tests.unit.test_scheduler_stateful import DRIVER, SETTINGS, SchedulerMachine
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
        self.prompt = True
        super().teardown()


TestCrossing = pytest.mark.timeout(900)(CrossingMachine.TestCase)
TestCrossing.settings = SETTINGS
