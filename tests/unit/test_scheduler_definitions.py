"""How long the runtime keeps a shipped definition: as long as somebody can ask for it, among random programs."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler.invariants import validate
from tests.unit.test_scheduler import DRIVER as CALLER
from tests.unit.test_scheduler import Session
from tests.unit.test_scheduler_stateful import DRIVER, SchedulerMachine, TestScheduler

F, G, H = "f" * 32, "9" * 32, "h" * 32


@pytest.fixture
def session() -> Session:
    session = Session(CPU=2)
    session.say(CALLER, m.Export(F, 1, "f", b"code"))
    return session


def forget(session: Session, *definitions: str, client: bytes = CALLER) -> None:
    """Those let go of it that hold it."""
    session.say(client, m.Drop([(each.encode(), 1) for each in definitions]))


def test_it_goes_with_the_last_who_has_it(session: Session) -> None:
    forget(session, F)
    assert F not in session.scheduler.state.functions


def test_a_call_keeps_it_until_it_has_ended(session: Session) -> None:
    tasks = [session.submit("f", definition=F) for _ in range(3)]
    forget(session, F)
    assert session.running() == ["f", "f"]
    session.finish(tasks[0])
    session.finish(tasks[1])
    assert session.of(m.Execute)[-1].task == tasks[2], "it can still be sent"
    session.finish(tasks[2])
    assert F not in session.scheduler.state.functions


def test_a_call_runs_what_its_function_was_when_it_was_made(session: Session) -> None:
    first = [session.submit("first", definition=F) for _ in range(4)]
    session.say(CALLER, m.Export(F, 2, "f", b"newer code", granted=False))
    second = session.submit("second", definition=F)
    session.say(CALLER, m.Export(F, 3, "f", b"newest code", granted=False))
    third = session.submit("third", definition=F)
    forget(session, F)
    for task in [*first, second, third]:
        session.finish(task)
    codes: dict[bytes, dict[str, bytes]] = {}
    ran = {}
    for worker, sent in session.sent:
        if isinstance(sent, m.Execute):
            codes.setdefault(worker, {}).update((each.definition, each.blob) for each in sent.functions)
            ran[sent.task] = codes[worker][sent.definition]
    assert [ran[task] for task in [*first, second, third]] == [b"code"] * 4 + [b"newer code", b"newest code"]
    assert not session.scheduler.state.functions


def test_a_worker_that_was_sent_it_is_told(session: Session) -> None:
    task = session.submit("f", definition=F)
    worker = session.worker_of(task)
    forget(session, F)
    assert not session.of(m.Undefine)
    session.finish(task)
    assert [each.definitions for each in session.of(m.Undefine, worker)] == [[F]]
    assert len(session.of(m.Undefine)) == 1, "the others do not know it"


def test_a_value_that_contains_it_keeps_it(session: Session) -> None:
    made = b"o" * 28
    session.say(CALLER, m.Put(made, m.Payload(data=b"", size=1, contained=(F.encode(),))))
    forget(session, F)
    assert F in session.scheduler.state.functions
    session.say(CALLER, m.Get(50, [made]))
    session.say(CALLER, m.Drop([(made, 1)]))
    assert F in session.scheduler.state.functions, "who has got the value has it again"
    forget(session, F)
    assert F not in session.scheduler.state.functions


def test_a_process_that_was_handed_it_keeps_it(session: Session) -> None:
    task = session.submit("keeps", contained=[F.encode()])
    worker = session.worker_of(task)
    forget(session, F)
    session.finish(task)
    assert F in session.scheduler.state.functions
    session.say(worker, m.Submit(m.TaskSpec(task=worker + b"12345678", kind="task", name="f", body=b"", definition=F)))
    assert session.of(m.Execute)[-1].functions == [m.Function(F, 1, b"code")]
    forget(session, F, client=worker)
    assert F in session.scheduler.state.functions
    session.finish(worker + b"12345678")
    assert F not in session.scheduler.state.functions


def test_what_its_code_refers_to_stays_with_it(session: Session) -> None:
    session.say(CALLER, m.Export(G, 1, "g", b"code", [], [F]))
    forget(session, F)
    assert F in session.scheduler.state.functions
    session.say(CALLER, m.Export(G, 2, "g", b"other code", [], [], granted=False))
    assert F not in session.scheduler.state.functions
    assert G in session.scheduler.state.functions


def test_it_may_be_referred_to_before_it_comes(session: Session) -> None:
    session.say(CALLER, m.Export(G, 1, "g", b"code", [], [H]))
    session.say(CALLER, m.Query(50, "definition", {"definition": H}))
    assert session.of(m.Answer)[-1].value is None
    session.say(CALLER, m.Export(H, 1, "h", b"code"))
    forget(session, H)
    session.say(CALLER, m.Query(51, "definition", {"definition": H}))
    assert session.of(m.Answer)[-1].value == {"version": 1, "blob": b"code"}
    forget(session, G)
    assert session.scheduler.state.functions.keys() == {F}


def test_functions_that_call_each_other_go_together(session: Session) -> None:
    session.say(CALLER, m.Export(G, 1, "g", b"code", [], [H, F]))
    session.say(CALLER, m.Export(H, 1, "h", b"code", [], [G]))
    task = session.submit("h", definition=H)
    forget(session, F, G, H)
    assert session.scheduler.state.functions.keys() == {F, G, H}
    session.finish(task)
    assert not session.scheduler.state.functions


def test_of_a_result_in_a_file_the_function_is_kept_to_make_it_again(session: Session) -> None:
    task = session.submit("f", definition=F, max_retries=1)
    value = m.Payload(segment="file", layout=(0, 100), size=100)
    session.say(session.worker_of(task), m.Done(task, (value,)))
    forget(session, F)
    assert F in session.scheduler.state.functions
    session.say(CALLER, m.Drop([(return_id(task), 1)]))
    assert F not in session.scheduler.state.functions


def test_an_actor_that_may_restart_keeps_its_class(session: Session) -> None:
    actor = session.actor(definition=F)
    forget(session, F)
    assert F in session.scheduler.state.functions
    session.say(CALLER, m.Kill(actor, True))
    assert F not in session.scheduler.state.functions


def test_the_table_still_names_the_function_of_a_call_that_has_ended(session: Session) -> None:
    task = session.submit("called", definition=F)
    session.finish(task)
    forget(session, F)
    session.say(CALLER, m.Query(50, "table", {"table": "tasks", "limit": 1, "id": task.hex(), "filters": []}))
    [row] = session.of(m.Answer)[-1].value["rows"]
    assert (row["name"], row["func_or_class_name"]) == ("called", "f")


def test_ids_that_are_none_end_nothing(session: Session) -> None:
    strange = [b"", b"\xff\xfe", b"x" * 31]
    session.say(CALLER, m.Drop([(each, 1) for each in strange]))
    task = session.submit("strange", contained=tuple(strange))
    session.say(CALLER, m.Export(G, 1, "g", b"code", strange, ["\xff", ""]))
    session.finish(task)
    forget(session, F, G)
    session.say(session.worker_of(task), m.Drop([(each, 1) for each in strange]))
    assert not session.scheduler.state.functions


class DefinitionMachine(SchedulerMachine):
    """As the machine that this is one of, with definitions that are shipped, handed on, changed and let go of."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[str, int] = {}
        self.known: dict[bytes, dict[str, bytes]] = {}
        """What each worker was sent."""
        self.called: dict[bytes, bytes] = {}
        """What each call is to run: what its function was when it was made."""

    def receive(self, client: bytes, message: m.ServerMessage) -> None:
        known = self.known.setdefault(client, {})
        if isinstance(message, m.Execute):
            known.update((each.definition, each.blob) for each in message.functions)
            if message.task in self.called:
                assert known.get(message.definition) == self.called[message.task]
        elif isinstance(message, m.Undefine):
            for each in message.definitions:
                del known[each]  # Only who has it is told.
            for task in self.workers[client].tasks if client in self.workers else ():
                assert task.definition not in message.definitions, "it is needed"
        super().receive(client, message)

    def grants_of(self, client: bytes) -> dict[bytes, int]:
        return self.driver_grants if client == DRIVER else self.workers[client].grants

    def held(self, client: bytes) -> list[str]:
        return [each.decode() for each in self.grants_of(client) if len(each) == 32]

    def draw_client(self, data: st.DataObject) -> bytes:
        working = [each.id for each in self.workers.values() if each.tasks and not each.leaving]
        return data.draw(st.sampled_from([DRIVER, *working]))

    def draw_held(self, data: st.DataObject, client: bytes) -> list[str]:
        held = self.held(client)
        return data.draw(st.lists(st.sampled_from(held), max_size=2, unique=True)) if held else []

    @rule(data=st.data())
    def ship(self, data: st.DataObject) -> None:
        client = self.draw_client(data)
        refers = self.draw_held(data, client)
        self.serial += 1
        key = f"{self.serial:032}"
        self.versions[key] = 1
        self.grants_of(client)[key.encode()] = 1
        self.say(client, m.Export(key, 1, "f", self.code(key), [], refers))

    def code(self, key: str) -> bytes:
        return f"{key} {self.versions[key]}".encode()

    @rule(data=st.data())
    def ship_again(self, data: st.DataObject) -> None:
        """Whoever holds it may stand for the one that has made it."""
        client = self.draw_client(data)
        for key in self.draw_held(data, client)[:1]:
            self.versions[key] += 1
            refers = [each for each in self.draw_held(data, client) if each != key]
            self.say(client, m.Export(key, self.versions[key], "f", self.code(key), [], refers, granted=False))

    @rule(data=st.data(), retries=st.integers(0, 1))
    def call(self, data: st.DataObject, retries: int) -> None:
        client = self.draw_client(data)
        for key in self.draw_held(data, client)[:1]:
            contained = tuple(each.encode() for each in self.draw_held(data, client))
            demand = {"CPU": 10_000}
            spec = {"definition": key, "contained": contained, "max_retries": retries, "demand": demand}
            self.called[self.coming(client)] = self.code(key)
            self.new_task(client, spec)

    @rule(data=st.data(), restarts=st.integers(0, 2))
    def create_actor_of(self, data: st.DataObject, restarts: int) -> None:
        for key in self.draw_held(data, DRIVER)[:1]:
            self.called[b"creation--------" + (self.serial + 1).to_bytes(8, "big")] = self.code(key)
            self.make_actor(restarts, 1, 0, (), key)

    def coming(self, client: bytes) -> bytes:
        """Return the id of the next task that a client makes."""
        return client[:16].ljust(16, b"-") + (self.serial + 1).to_bytes(8, "big")

    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        self.serial += 1
        made = b"definitions-in--" + self.serial.to_bytes(8, "big") + b"\0\0\0\0"
        contained = tuple(each.encode() for each in self.draw_held(data, DRIVER))
        self.driver_grants[made] = 1
        self.objects.append(made)
        self.say(DRIVER, m.Put(made, m.Payload(data=b"", size=1, contained=contained)))

    @precondition(lambda self: self.versions)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        client = self.draw_client(data)
        for key in self.draw_held(data, client):
            self.say(client, m.Drop([(key.encode(), self.grants_of(client).pop(key.encode()))]))

    @invariant()
    def what_is_held_is_there(self) -> None:
        for client in (DRIVER, *self.workers):
            for key in self.held(client):
                record = self.scheduler.state.functions.get(key)
                assert record is not None
                assert record.version == self.versions[key]

    def teardown(self) -> None:
        """In the end nothing is left but what something keeps that is left."""
        super().teardown()
        for client in (DRIVER, *self.workers):
            for key in self.held(client):
                self.say(client, m.Drop([(key.encode(), self.grants_of(client).pop(key.encode()))]))
        validate(self.scheduler.state)
        state = self.scheduler.state
        if not (
            state.tasks
            or state.objects
            or state.lineage
            or any(not each.spec.detached for each in state.actors.values())
        ):
            assert not state.functions.keys() & self.versions.keys()


TestDefinitions = pytest.mark.timeout(900)(DefinitionMachine.TestCase)
TestDefinitions.settings = TestScheduler.settings
del TestScheduler
