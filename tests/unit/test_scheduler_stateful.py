"""The scheduler against random programs: whatever happens in whatever order, the invariants hold."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler import actors, crowd, placement
from jupyter_ray.local.scheduler import commands as c
from jupyter_ray.local.scheduler.core import Scheduler
from jupyter_ray.local.scheduler.invariants import validate
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import TaskState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.local.scheduler.stimuli import (
    TOGETHER,
    ClientJoined,
    MemoryShort,
    RequestExpired,
    Said,
    SegmentsLost,
    Spilled,
    Stimulus,
    Tick,
    WorkerJoined,
    WorkerLost,
)

DRIVER = b"driver----------"
VALUE = m.Payload(data=b"N.", size=2)
LARGE = 4 * 1024**2
"""Bytes of a value in a file: three fill the small store, two lineages its quarter."""
ERROR = m.Payload(data=b"error", size=5, is_error=True)
DEMANDS = [{"CPU": 10_000}, {"CPU": 20_000}, {"CPU": 5_000}, {"CPU": 10_000, "GPU": 10_000}, {"GPU": 5_000}, {}]


def woken(state: State, now: float) -> list[object]:
    """Look again at what waits, and return what that changes, but for what waits for its time or is only hastened."""
    step = Step(state, now=now)
    waiting = {task.id: task for queue in state.order for task in queue.tasks if task.state is TaskState.READY}
    groups = list(state.pending_groups)
    if not crowd.waits(state):
        with mock.patch.object(placement, "_hand_in_advance"):
            placement.place(step)
    for actor in list(state.actors.values()):
        actors.pump(step, actor)
    gone = [task for task in waiting.values() if task.state is not TaskState.READY]
    reserved = [group for group in groups if group not in state.pending_groups]
    return [*gone, *reserved, *step.commands, *step.agenda]


class FakeWorker:
    """A worker process as the scheduler sees it: it runs its tasks in order, and may block."""

    def __init__(self, worker: bytes) -> None:
        self.id = worker
        self.tasks: deque[m.Execute] = deque()
        self.blocked: int | None = None
        """The request that its main thread waits for."""
        self.others: set[int] = set()
        """Those that other threads wait for."""
        self.made: dict[bytes, int] = {}
        """Items of each stream."""
        self.actor = False
        self.leaving = False
        self.grants: dict[bytes, int] = {}


class SchedulerMachine(RuleBasedStateMachine):
    """Drivers, workers and deaths, at random."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler()
        self.now = 1_000.0
        self.starting: list[bytes] = []
        self.workers: dict[bytes, FakeWorker] = {}
        self.driver_grants: dict[bytes, int] = {}
        self.objects: list[bytes] = []
        self.actors: list[bytes] = []
        self.serial = 0
        self.request = 0
        self.driver_requests: set[int] = set()
        self.replies: list[m.Reply] = []
        self.files: set[str] = set()
        """Segments that were written, and are neither discarded nor lost."""
        self.spilling: list[c.SpillSegment] = []
        self.routes: list[m.Route] = []
        """That the driver may use."""
        self.spares: set[str] = set()
        """Files that hold no value."""
        self.offered: dict[str, bytes] = {}
        """To whom those were offered."""
        self.asked: dict[int, tuple[bytes, str]] = {}
        """Who waits for room, and for which segment."""
        self.writing: list[tuple[bytes, str]] = []
        self.streams: dict[bytes, int] = {}
        """How many items of each have been announced to its holder."""
        self.timers: list[RequestExpired] = []
        self.gathered: list[m.ClientMessage] | None = None
        """What is to be said together."""

    # --- the outside world ------------------------------------------------------------------------------------

    def happen(self, stimulus: Stimulus) -> None:
        self.now += 0.01
        for command in self.scheduler.handle(stimulus, self.now):
            if isinstance(command, c.StartWorker):
                self.starting.append(command.worker)
            elif isinstance(command, c.StopWorker):
                if command.worker in self.starting:
                    self.starting.remove(command.worker)
                    self.happen(WorkerLost(command.worker, "stopped"))
                elif command.kill:
                    self.workers.pop(command.worker, None)
                    self.happen(WorkerLost(command.worker, "killed"))
                elif command.worker in self.workers:
                    self.workers[command.worker].leaving = True
            elif isinstance(command, c.DiscardSegment):
                self.files.discard(command.segment)
            elif isinstance(command, c.KeepSpare):
                assert command.segment in self.files
                self.files.discard(command.segment)
                self.spares.add(command.segment)
            elif isinstance(command, c.DropSpare):
                self.spares.remove(command.segment)
                self.offered.pop(command.segment, None)
            elif isinstance(command, c.SpillSegment):
                self.spilling.append(command)
            elif isinstance(command, c.SetTimer):
                self.timers.append(RequestExpired(command.client, command.request))
            elif isinstance(command, c.Send):
                self.receive(command.client, command.message)
        seqs = [event.seq for event in self.scheduler.take_events()]
        assert seqs == sorted(seqs)

    def receive(self, client: bytes, message: m.ServerMessage) -> None:
        if client != DRIVER and client not in self.workers:
            return  # It was killed while this was on its way.
        grants = self.driver_grants if client == DRIVER else self.workers[client].grants
        counted: list[bytes] = []
        if isinstance(message, m.Answer) and message.request in self.asked:
            waiting = self.asked.pop(message.request)
            if not message.error:
                self.writing.append(waiting)
        elif isinstance(message, m.Spare):
            self.offered[message.segment] = client
        elif isinstance(message, m.Forget):
            for segment in message.segments:
                self.offered.pop(segment, None)
        if isinstance(message, m.Reply):
            counted = [each for value in message.values for each in value.contained]
            if client == DRIVER:
                assert message.request in self.driver_requests
                self.driver_requests.discard(message.request)
                self.replies.append(message)
            else:
                worker = self.workers[client]
                worker.others.discard(message.request)
                if worker.blocked == message.request:  # Else it gave up waiting while the answer was on its way.
                    worker.blocked = None
        elif isinstance(message, m.Route):
            self.routes.append(message)
        elif isinstance(message, m.Shut):  # The driver finds that out as it uses the route, and gives it back in vain.
            self.routes = [route for route in self.routes if route.worker != client]
            self.happen(Said(client, [m.Unlease(client)]))
            self.happen(Said(DRIVER, [m.Unlease(client)]))
        elif isinstance(message, m.StreamState):
            counted = self.items_came(client, message)
        elif isinstance(message, m.Execute):
            counted = [*message.contained, *(each for value in message.values for each in value.contained)]
            worker = self.workers[client]
            worker.tasks.append(message)
            worker.actor = worker.actor or message.kind == "actor"
            worker.made[message.task] = 0
            if (worker.blocked is not None or worker.others) and message.kind == "task" and len(worker.tasks) > 1:
                worker.tasks.pop()
                self.say(client, m.Returned([message.task]))
        elif isinstance(message, m.Recall):
            worker = self.workers[client]
            given = [task.task for task in list(worker.tasks)[1:]]
            for _ in given:
                worker.tasks.pop()
            self.say(client, m.Returned(given))
        elif isinstance(message, m.Interrupt):
            worker = self.workers[client]
            for task in worker.tasks:
                if task.task == message.task:
                    if task is worker.tasks[0]:
                        self.say(client, m.Interrupted(message.task))
                    worker.tasks.remove(task)
                    if worker.blocked is not None and not worker.actor:
                        self.say(client, m.Abandon(worker.blocked))
                        worker.blocked = None
                    self.say(client, m.Done(task.task, (), cancelled=True))
                    break
        for each in counted:
            grants[each] = grants.get(each, 0) + 1

    def items_came(self, client: bytes, message: m.StreamState) -> list[bytes]:
        """Return what a client is granted as its stream goes on."""
        known = self.streams.get(message.task, 0)
        self.streams[message.task] = max(known, message.items)
        return [return_id(message.task, index + 1) for index in range(known + 1, message.items + 1)]

    def say(self, client: bytes, message: m.ClientMessage) -> None:
        if self.gathered is not None and type(message) in TOGETHER:
            self.gathered.append(message)
            return
        if self.gathered:
            gathered, self.gathered = self.gathered, []
            self.happen(Said(client, gathered))
        self.happen(Said(client, [message]))

    @contextlib.contextmanager
    def together(self, client: bytes) -> Iterator[None]:
        """Say at once, at the end, what may be taken together."""
        self.gathered = []
        yield
        gathered, self.gathered = self.gathered, None
        self.happen(Said(client, gathered))

    def large(self, contained: list[bytes] | None = None, *, is_error: bool = False) -> m.Payload:
        name = self.new_name([DRIVER, *self.workers][self.serial % (1 + len(self.workers))])
        self.files.add(name)
        return m.Payload(
            segment=name, layout=(0, LARGE), size=LARGE, contained=tuple(contained or ()), is_error=is_error
        )

    def new_name(self, writer: bytes) -> str:
        self.serial += 1
        return f"{writer.hex()}-{self.serial}"

    def end(self, worker: FakeWorker, done: m.Done) -> None:
        """A worker ends its first task, or gives it back if an argument is not there."""
        task = worker.tasks.popleft()
        if task.kind == "task" and m.ABSENT in task.values:
            for payload in done.returns:
                self.files.discard(payload.segment)
            self.say(worker.id, m.Lost([], "", task.task))
        else:
            self.say(worker.id, done)

    def new_task(self, submitter: bytes, spec: dict[str, Any]) -> bytes:
        self.serial += 1
        task = submitter[:16].ljust(16, b"-") + self.serial.to_bytes(8, "big")
        grants = self.driver_grants if submitter == DRIVER else self.workers[submitter].grants
        for index in range(1, spec.get("num_returns", 1) + 1):
            object_id = return_id(task, index)
            grants[object_id] = 1
            self.objects.append(object_id)
        self.say(submitter, m.Submit(m.TaskSpec(task=task, name="f", body=b"", **{"kind": "task", **spec})))
        return task

    # --- rules ------------------------------------------------------------------------------------------------

    @initialize(cpus=st.integers(1, 3), gpus=st.integers(0, 2), limit=st.sampled_from([0, 3 * LARGE, 16 * LARGE]))
    def bind(self, cpus: int, gpus: int, limit: int) -> None:
        self.happen(ClientJoined(DRIVER))
        resources = {"CPU": cpus * 10_000, **({"GPU": gpus * 10_000} if gpus else {})}
        names = [str(index) for index in range(gpus)]
        self.say(DRIVER, m.Bind(1, resources, {"GPU": names}, "", [], "/", {}, store_limit=limit))

    @rule(
        demand=st.sampled_from(DEMANDS),
        data=st.data(),
        retries=st.integers(0, 1),
        num_returns=st.integers(0, 2),
        large=st.booleans(),
    )
    def submit(self, demand: dict[str, int], data: st.DataObject, retries: int, num_returns: int, large: bool) -> None:
        held = [each for each in self.driver_grants if len(each) == 28]
        deps = data.draw(st.lists(st.sampled_from(held), max_size=2)) if held else []
        handles = [each for each in self.driver_grants if len(each) == 16]
        contained = data.draw(st.lists(st.sampled_from(handles + held), max_size=2)) if handles + held else []
        spec = {
            "demand": demand,
            "dependencies": deps,
            "contained": contained,
            "max_retries": retries,
            "num_returns": num_returns,
            "segment": self.large().segment if large else "",
            "segment_size": 3 * LARGE // 8 if large else 0,
        }
        self.new_task(DRIVER, spec)

    @rule(data=st.data(), count=st.integers(2, 4), retries=st.integers(0, 1))
    def submit_together(self, data: st.DataObject, count: int, retries: int) -> None:
        """A burst, in which later calls take what earlier ones make."""
        actors: list[bytes | None] = [each for each in self.driver_grants if len(each) == 16]
        demands = data.draw(st.lists(st.sampled_from(DEMANDS), min_size=count, max_size=count))
        called = data.draw(st.lists(st.sampled_from([None, *actors]), min_size=count, max_size=count))
        chained = data.draw(st.booleans())
        made: list[bytes] = []
        self.say(DRIVER, m.Export("burst", 1, "burst", b""))
        self.scheduler.state.functions["burst"].learn(0.0001)  # Workers are handed several.
        with self.together(DRIVER):
            for demand, actor in zip(demands, called, strict=True):
                spec: dict[str, Any] = {"max_retries": retries, "dependencies": made[-1:] if chained else []}
                if actor is None:
                    spec |= {"definition": "burst", "demand": demand}
                else:
                    spec |= {"kind": "method", "actor": actor, "contained": [actor]}
                    self.forget_route(spec)
                made.append(return_id(self.new_task(DRIVER, spec), 1))

    @precondition(lambda self: any(len(w.tasks) > 1 and w.blocked is None for w in self.workers.values()))
    @rule(data=st.data(), outcomes=st.lists(st.sampled_from(["ok", "error", "retry"]), min_size=2, max_size=3))
    def finish_together(self, data: st.DataObject, outcomes: list[str]) -> None:
        able = [w for w in self.workers.values() if len(w.tasks) > 1 and w.blocked is None]
        worker = data.draw(st.sampled_from(able))
        with self.together(worker.id):
            for outcome in outcomes[: len(worker.tasks)]:
                task, failed = worker.tasks[0], outcome != "ok"
                values = [ERROR] if failed else (VALUE,) * max(0, task.num_returns)
                self.end(
                    worker, m.Done(task.task, tuple(values), failed=failed, retry=outcome == "retry", seconds=0.0001)
                )

    @rule(large=st.booleans())
    def put(self, large: bool) -> None:
        self.serial += 1
        object_id = b"put-------------" + self.serial.to_bytes(8, "big") + b"\0\0\0\0"
        self.driver_grants[object_id] = 1
        self.say(DRIVER, m.Put(object_id, self.large() if large else VALUE))

    @precondition(lambda self: self.scheduler.state.segments)
    @rule(data=st.data(), all_of_them=st.booleans())
    def lose(self, data: st.DataObject, all_of_them: bool) -> None:
        """Somebody cleans up what is not his."""
        there = sorted(self.scheduler.state.segments)
        lost = there if all_of_them else [data.draw(st.sampled_from(there))]
        self.files.difference_update(lost)
        self.happen(SegmentsLost(dict.fromkeys(lost, "it is gone")))
        assert not set(lost) & set(self.scheduler.state.segments)

    @precondition(lambda self: any(w.tasks and w.blocked is None and not w.actor for w in self.workers.values()))
    @rule(data=st.data(), intact=st.booleans())
    def cannot_read(self, data: st.DataObject, intact: bool) -> None:
        """A worker gives its task back, although others can read (`intact`) what it cannot."""
        able = [w for w in self.workers.values() if w.tasks and w.blocked is None and not w.actor]
        worker = data.draw(st.sampled_from(able))
        there = sorted(self.scheduler.state.segments)
        segments = [data.draw(st.sampled_from(there))] if intact and there else ["replaced"]
        self.say(worker.id, m.Lost(segments, "too many open files", worker.tasks.popleft().task))

    @precondition(lambda self: self.spilling)
    @rule(data=st.data(), outcome=st.sampled_from(["moved", "read", "full", "failed", "gone"]))
    def spilled(self, data: st.DataObject, outcome: Literal["moved", "read", "full", "failed", "gone"]) -> None:
        segment = self.spilling.pop(data.draw(st.integers(0, len(self.spilling) - 1))).segment
        if outcome == "gone":
            if segment not in self.scheduler.state.segments:
                return self.happen(Spilled(segment, "moved"))
            self.files.discard(segment)
            self.happen(SegmentsLost({segment: "it is gone"}))
        self.happen(Spilled(segment, outcome, "the disk is full"))

    @rule(data=st.data(), size=st.sampled_from([LARGE, 3 * LARGE, 20 * LARGE]))
    def ask_for_room(self, data: st.DataObject, size: int) -> None:
        client = data.draw(st.sampled_from([DRIVER, *self.workers]))
        self.request += 1
        self.asked[self.request] = (client, self.new_name(client))
        self.say(client, m.AwaitSpace(self.request, size, self.asked[self.request][1]))

    @precondition(lambda self: self.offered)
    @rule(data=st.data(), gone=st.booleans())
    def claim(self, data: st.DataObject, gone: bool) -> None:
        spare = data.draw(st.sampled_from(sorted(self.offered)))
        client = self.offered.pop(spare)
        self.spares.remove(spare)
        name = "" if gone else self.new_name(client)
        if name:
            self.writing.append((client, name))
        self.say(client, m.Claimed(spare, name, LARGE if name else 0))

    @precondition(lambda self: self.writing)
    @rule(data=st.data(), fails=st.booleans())
    def write(self, data: st.DataObject, fails: bool) -> None:
        client, name = self.writing.pop(data.draw(st.integers(0, len(self.writing) - 1)))
        if client != DRIVER and client not in self.workers:
            return
        if fails:
            self.say(client, m.Unwritten(name))
        else:
            self.files.add(name)
            self.serial += 1
            object_id = b"put-------------" + self.serial.to_bytes(8, "big") + b"\0\0\0\0"
            grants = self.driver_grants if client == DRIVER else self.workers[client].grants
            grants[object_id] = 1
            self.say(client, m.Put(object_id, m.Payload(segment=name, layout=(0, LARGE), size=LARGE)))

    @rule()
    def memory_is_short(self) -> None:
        self.happen(MemoryShort())
        assert not self.spares

    @rule(
        data=st.data(),
        restarts=st.integers(0, 1),
        concurrency=st.integers(1, 2),
        cpus=st.sampled_from([0, 10_000]),
        groups=st.sampled_from([{}, {"io": 1}]),
    )
    def create_actor(
        self, data: st.DataObject, restarts: int, concurrency: int, cpus: int, groups: dict[str, int]
    ) -> None:
        held = [each for each in self.driver_grants if len(each) == 28]
        dependencies = data.draw(st.lists(st.sampled_from(held), max_size=2)) if held else []
        self.make_actor(restarts, concurrency, cpus, tuple(dependencies), groups=groups)

    def make_actor(
        self,
        restarts: int,
        concurrency: int,
        cpus: int,
        dependencies: tuple[bytes, ...] = (),
        definition: str = "",
        groups: dict[str, int] | None = None,
    ) -> None:
        self.serial += 1
        actor = b"actor---" + self.serial.to_bytes(8, "big")
        demand = {"CPU": cpus} if cpus else {}
        task = b"creation--------" + self.serial.to_bytes(8, "big")
        creation = m.TaskSpec(
            task=task,
            kind="actor",
            name="A",
            body=b"",
            demand=demand,
            actor=actor,
            num_returns=0,
            dependencies=dependencies,
            definition=definition,
        )
        self.driver_grants[actor] = 1
        self.actors.append(actor)
        spec = m.ActorSpec(
            actor=actor,
            creation=creation,
            class_name="A",
            handle=b"",
            placement={"CPU": 10_000},
            max_restarts=restarts,
            max_concurrency=concurrency,
            concurrency_groups=groups or {},
        )
        self.say(DRIVER, m.CreateActor(0, spec))

    @precondition(lambda self: any(len(each) == 16 for each in self.driver_grants))
    @rule(data=st.data(), retries=st.integers(0, 1), group=st.sampled_from(["", "io"]))
    def call(self, data: st.DataObject, retries: int, group: str) -> None:
        actor = data.draw(st.sampled_from([each for each in self.driver_grants if len(each) == 16]))
        held = [each for each in self.driver_grants if len(each) == 28]
        deps = data.draw(st.lists(st.sampled_from(held), max_size=1)) if held else []
        spec = {"kind": "method", "actor": actor, "dependencies": deps, "contained": [actor], "max_retries": retries}
        self.forget_route(spec)
        self.new_task(DRIVER, spec | {"concurrency_group": group})

    @rule(demand=st.sampled_from([{"CPU": 10_000}, {}]), actor=st.booleans(), data=st.data())
    def call_by_turns(self, demand: dict[str, int], actor: bool, data: st.DataObject) -> None:
        """A program that waits for each call is shown the way to the worker."""
        spec: dict[str, Any] = {"definition": "quick", "demand": demand}
        if actor:
            self.make_actor(data.draw(st.integers(0, 1)), 1, 0)
            spec = {"kind": "method", "actor": self.actors[-1]}
            self.workers_join(len(self.starting))
            for worker in [w for w in self.workers.values() if w.tasks and w.tasks[0].actor == self.actors[-1]]:
                self.end(worker, m.Done(worker.tasks[0].task, ()))
        self.say(DRIVER, m.Export("quick", 1, "quick", b""))
        for _ in range(4):
            self.forget_route(spec)
            task = self.new_task(DRIVER, spec)
            self.request += 1
            self.driver_requests.add(self.request)
            self.say(DRIVER, m.Get(self.request, [return_id(task, 1)]))
            self.workers_join(len(self.starting))
            holder = [w for w in self.workers.values() if w.tasks and w.tasks[0].task == task and w.blocked is None]
            if not holder:
                return
            self.end(holder[0], m.Done(task, (VALUE,), seconds=0.0001))

    def forget_route(self, spec: dict[str, Any]) -> None:
        """Who calls an actor the usual way may not overtake that."""
        self.routes = [route for route in self.routes if route.actor is None or route.actor != spec.get("actor")]

    @precondition(lambda self: self.routes)
    @rule(data=st.data(), how=st.sampled_from(["quick", "quick", "lasts", "told first", "told later", "back"]))
    def use_route(self, data: st.DataObject, how: str) -> None:
        route = data.draw(st.sampled_from(self.routes))
        if how == "back" and route.actor is None:
            self.routes.remove(route)
            self.say(DRIVER, m.Unlease(route.worker))
            return
        self.serial += 1
        task = DRIVER + self.serial.to_bytes(8, "big")
        self.driver_grants[return_id(task, 1)] = 1
        self.objects.append(return_id(task, 1))
        method = route.actor is not None
        spec = m.TaskSpec(
            task=task,
            kind="method" if method else "task",
            name="f",
            body=b"",
            definition="" if method else "quick",
            demand={} if method else route.demand,
            actor=route.actor,
            dependencies=tuple(data.draw(st.lists(st.sampled_from(self.held_and_ready()), max_size=2)))
            if self.held_and_ready()
            else (),
        )
        if how in ("quick", "back"):
            self.say(DRIVER, m.Ran(spec, route.worker, m.Done(task, (VALUE,), seconds=0.0001)))
            return
        self.routes.remove(route)
        worker = self.workers.get(route.worker)
        if worker is not None:
            worker.tasks.append(
                m.Execute(task, spec.kind, "f", b"", spec.definition, (), 1, held=spec.demand, actor=spec.actor)
            )
        if worker is not None and how == "told first":
            self.say(worker.id, m.Submit(spec, worker.id, DRIVER))
        if how != "told later":
            self.say(DRIVER, m.Submit(spec, route.worker))
            return
        self.say(DRIVER, m.Submit(spec, route.worker))
        if route.worker in self.workers:
            self.say(route.worker, m.Submit(spec, route.worker, DRIVER))

    def held_and_ready(self) -> list[bytes]:
        """Return objects that the driver holds and may have got the value of."""
        objects = self.scheduler.state.objects
        return [
            each
            for each in self.driver_grants
            if each in objects and (got := objects[each].payload) and not got.is_error
        ]

    @precondition(lambda self: self.driver_grants)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        counted = data.draw(st.sampled_from(list(self.driver_grants)))
        self.say(DRIVER, m.Drop([(counted, self.driver_grants.pop(counted))]))

    @precondition(lambda self: any(len(each) == 28 for each in self.driver_grants))
    @rule(data=st.data(), timeout=st.sampled_from([None, 0.0, 1.0]), waits=st.booleans())
    def ask(self, data: st.DataObject, timeout: float | None, waits: bool) -> None:
        held = [each for each in self.driver_grants if len(each) == 28]
        ids = data.draw(st.lists(st.sampled_from(held), min_size=1, max_size=3, unique=True))
        self.request += 1
        self.driver_requests.add(self.request)
        if waits:
            self.say(DRIVER, m.Wait(self.request, ids, len(ids), timeout))
        else:
            self.say(DRIVER, m.Get(self.request, ids, timeout))

    @precondition(lambda self: self.driver_requests)
    @rule(data=st.data(), expires=st.booleans())
    def stop_asking(self, data: st.DataObject, expires: bool) -> None:
        request = data.draw(st.sampled_from(sorted(self.driver_requests)))
        if expires:
            self.happen(RequestExpired(DRIVER, request))
            assert request not in self.driver_requests
        else:
            self.driver_requests.discard(request)
            self.say(DRIVER, m.Abandon(request))

    @rule(counts=st.integers(1, 4))
    def some_workers_join(self, counts: int) -> None:
        self.workers_join(counts)

    def workers_join(self, counts: int) -> None:
        for _ in range(min(counts, len(self.starting))):
            worker = self.starting.pop(0)
            self.workers[worker] = FakeWorker(worker)
            self.happen(WorkerJoined(worker, 1))

    @precondition(lambda self: any(w.tasks and w.blocked is None for w in self.workers.values()))
    @rule(
        data=st.data(),
        outcome=st.sampled_from(["ok", "ok", "ok", "error", "retry", "exit"]),
        handle=st.booleans(),
        large=st.booleans(),
    )
    def finish(self, data: st.DataObject, outcome: str, handle: bool, large: bool) -> None:
        busy = [w for w in self.workers.values() if w.tasks and w.blocked is None]
        worker = data.draw(st.sampled_from(busy))
        contained = data.draw(st.lists(st.sampled_from(list(worker.grants)), max_size=1)) if worker.grants else []
        seconds = data.draw(st.sampled_from([0.0001, 1.0]))
        # Only now: a draw may end the run, and what is done by then must be whole.
        task = worker.tasks[0]
        failed = outcome in ("error", "retry")
        refers = contained if handle else []
        values = [VALUE, m.Payload(data=b"N.", size=2, contained=tuple(refers))]
        if large and not failed and task.num_returns > 0:
            values[task.num_returns - 1] = self.large(refers)
        self.end(
            worker,
            m.Done(
                task.task,
                (self.large(is_error=True) if large and task.kind != "actor" else ERROR,)
                if failed
                else tuple(values[: max(0, task.num_returns)]),
                failed=failed,
                retry=outcome == "retry",
                exiting=outcome == "exit",
                seconds=seconds,
            ),
        )

    @precondition(lambda self: any(w.tasks and w.blocked is None and not w.actor for w in self.workers.values()))
    @rule(data=st.data(), nested=st.booleans(), timeout=st.sampled_from([None, 1.0]))
    def block(self, data: st.DataObject, nested: bool, timeout: float | None) -> None:
        able = [w for w in self.workers.values() if w.tasks and w.blocked is None and not w.actor]
        worker = data.draw(st.sampled_from(able))
        task = worker.tasks[0]
        if nested or not worker.grants:
            child = self.new_task(worker.id, {"demand": {"CPU": 10_000}, "parent": task.task})
            ids = [return_id(child, 1)]
        else:
            ids = [data.draw(st.sampled_from([each for each in worker.grants if len(each) == 28] or [b"x" * 28]))]
        if not worker.tasks or worker.tasks[0] is not task or worker.id not in self.workers:
            return
        given = [each.task for each in list(worker.tasks)[1:]]
        for _ in given:
            worker.tasks.pop()
        self.request += 1
        worker.blocked = self.request
        self.say(worker.id, m.Get(self.request, ids, timeout, task.task, given))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_drops(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(list(self.workers.values())))
        if worker.grants:
            counted = data.draw(st.sampled_from(list(worker.grants)))
            self.say(worker.id, m.Drop([(counted, worker.grants.pop(counted))]))

    @precondition(lambda self: self.workers or self.starting)
    @rule(data=st.data())
    def worker_dies(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([*self.workers, *self.starting]))
        self.workers.pop(worker, None)
        if worker in self.starting:
            self.starting.remove(worker)
        self.happen(WorkerLost(worker, "it died"))

    @precondition(lambda self: any(w.leaving and not w.tasks for w in self.workers.values()))
    @rule()
    def leavers_leave(self) -> None:
        for worker in [w for w in self.workers.values() if w.leaving and not w.tasks]:
            del self.workers[worker.id]
            self.happen(WorkerLost(worker.id, "left"))

    @precondition(lambda self: self.objects)
    @rule(data=st.data(), force=st.booleans(), recursive=st.booleans())
    def cancel(self, data: st.DataObject, force: bool, recursive: bool) -> None:
        self.say(DRIVER, m.Cancel(data.draw(st.sampled_from(self.objects)), force, recursive))

    @precondition(lambda self: self.actors)
    @rule(data=st.data(), no_restart=st.booleans())
    def kill(self, data: st.DataObject, no_restart: bool) -> None:
        self.say(DRIVER, m.Kill(data.draw(st.sampled_from(self.actors)), no_restart))

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def time_is_up(self, data: st.DataObject) -> None:
        self.happen(self.timers.pop(data.draw(st.integers(0, len(self.timers) - 1))))

    @rule(seconds=st.sampled_from([0.1, 10.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.happen(Tick())

    @invariant()
    def holds(self) -> None:
        validate(self.scheduler.state)

    @invariant()
    def what_can_go_on_does(self) -> None:
        """Nothing waits that another look would find able to go on: whoever makes that possible has it looked for."""
        assert woken(self.scheduler.state, self.now) == []

    @invariant()
    def files_are_those_that_somebody_needs(self) -> None:
        state = self.scheduler.state
        specs = [*(task.spec for task in state.tasks.values()), *(kept.spec for kept in state.lineage.values())]
        assert self.files == {*state.segments, *(spec.segment for spec in specs if spec.segment)}

    @invariant()
    def spares_are_offered(self) -> None:
        assert self.spares == set(self.scheduler.state.memory.spares) == set(self.offered)

    @invariant()
    def who_waits_for_room_has_a_reason(self) -> None:
        """Something moves to disk, or somebody is about to write."""
        memory = self.scheduler.state.memory
        assert not memory.waiting or memory.moving or memory.promised

    def teardown(self) -> None:
        """Everything that can end does; only what an actor or a blocked GPU task keeps may be waited for."""
        for counted in list(self.driver_grants):
            self.say(DRIVER, m.Drop([(counted, self.driver_grants.pop(counted))]))
        for _ in range(400):
            while self.routes:
                self.say(DRIVER, m.Unlease(self.routes.pop().worker))
            self.workers_join(len(self.starting))
            ready = [w for w in self.workers.values() if w.blocked is None and (w.tasks or w.leaving)]
            if not ready and not self.starting and not self.scheduler.state.later:
                break
            for fake in ready:
                if fake.id in self.workers and fake.tasks and fake.blocked is None:
                    task = fake.tasks[0]
                    self.end(fake, m.Done(task.task, (VALUE,) * max(0, task.num_returns)))
                elif fake.leaving and not fake.tasks and fake.id in self.workers:
                    del self.workers[fake.id]
                    self.happen(WorkerLost(fake.id, "left"))
            self.now += 1
            self.happen(Tick())
            while self.timers:
                self.happen(self.timers.pop())
            validate(self.scheduler.state)
        state = self.scheduler.state
        kept = any(actor.allocation is not None and actor.allocation.held for actor in state.actors.values())
        gpu = any("GPU" in task.spec.demand for task in state.tasks.values())
        assert kept or gpu or not state.tasks, list(state.tasks.values())


# The same programs each time, so that a red suite means a change; JUPYTER_RAY_FUZZ=1000 looks for new ones.
FUZZ = int(os.environ.get("JUPYTER_RAY_FUZZ", "0"))
SETTINGS = settings(
    max_examples=FUZZ or 40,
    stateful_step_count=40,
    deadline=None,
    derandomize=not FUZZ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestScheduler = pytest.mark.timeout(900)(SchedulerMachine.TestCase)
TestScheduler.settings = SETTINGS
