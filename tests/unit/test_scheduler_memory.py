"""Room in shared memory, step by step: promises, spares, what goes to disk, and what people are told."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_ray.config import GARBAGE_SECONDS, PROMISE_SECONDS, RESERVE_FROM, SPARE_SECONDS
from jupyter_ray.events import ObjectSpilled
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.protocol.names import ON_DISK
from jupyter_ray.local.scheduler import commands as c
from jupyter_ray.local.scheduler.core import Scheduler
from jupyter_ray.local.scheduler.invariants import validate
from jupyter_ray.local.scheduler.stimuli import ClientJoined, MemoryShort, Said, Spilled, Stimulus, Tick

DRIVER = b"driver----------"
OTHER = b"other-----------"
MIB = 1024**2


class Session:
    """A driver alone with a store of 16 MiB."""

    def __init__(self, limit: int = 16 * MIB) -> None:
        self.scheduler = Scheduler()
        self.now = 1_000.0
        self.commands: list[c.Command] = []
        self.messages: list[Any] = []
        self.serial = 0
        self.happen(ClientJoined(DRIVER))
        self.happen(ClientJoined(OTHER))
        self.say(m.Bind(0, {"CPU": 10_000}, {}, "", [], "/", {}, store_limit=limit))

    @property
    def memory(self) -> Any:
        return self.scheduler.state.memory

    def happen(self, stimulus: Stimulus) -> None:
        """Take a step; what it wants done is in `commands` and `messages` until the next one."""
        commands = self.scheduler.handle(stimulus, self.now)
        self.messages = [each.message for each in commands if isinstance(each, c.Send)]
        self.commands = [each for each in commands if not isinstance(each, c.Send | c.StartWorker)]
        validate(self.scheduler.state)

    def say(self, message: m.ClientMessage) -> None:
        self.happen(Said(DRIVER, [message]))

    def name(self) -> str:
        self.serial += 1
        return f"{DRIVER.hex()}-{self.serial}"

    def ask(self, size: int, client: bytes = DRIVER) -> str:
        name = self.name()
        self.happen(Said(client, [m.AwaitSpace(self.serial, size, name)]))
        return name

    def answers(self) -> list[object]:
        return [each.value for each in self.messages if isinstance(each, m.Answer)]

    def put(self, size: int, name: str = "") -> tuple[bytes, str]:
        name = name or self.name()
        self.serial += 1
        object_id = b"put-------------" + self.serial.to_bytes(8, "big") + b"\1\0\0\0"
        self.say(m.Put(object_id, m.Payload(segment=name, layout=(0, size), size=size)))
        return object_id, name

    def drop(self, object_id: bytes) -> None:
        self.say(m.Drop([(object_id, 1)]))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.happen(Tick())


@pytest.fixture
def session() -> Session:
    return Session()


def test_a_freed_file_is_offered_to_its_writer_and_removed_when_nobody_wants_it(session: Session) -> None:
    object_id, name = session.put(2 * MIB)
    session.drop(object_id)
    assert session.commands == [c.KeepSpare(name)]
    assert session.messages == [m.Spare(name, 2 * MIB)]
    assert session.scheduler.wants_tick
    session.wait(SPARE_SECONDS)
    assert session.commands == []
    session.wait(0.1)
    assert session.commands == [c.DropSpare(name)]
    assert session.messages == [m.Forget([name])]
    assert not session.scheduler.wants_tick


def test_a_spare_counts_and_becomes_a_value_again(session: Session) -> None:
    object_id, name = session.put(4 * MIB)
    session.drop(object_id)
    assert session.memory.spare_bytes == 4 * MIB
    again = session.name()
    session.say(m.Claimed(name, again, 4 * MIB))
    assert (session.memory.spare_bytes, session.memory.promised_bytes) == (0, 4 * MIB)
    second, _ = session.put(4 * MIB, again)
    assert (session.memory.promised_bytes, session.memory.used) == (0, 4 * MIB)
    session.drop(second)
    assert session.commands == [c.KeepSpare(again)]


def test_small_and_too_many_files_are_not_kept(session: Session) -> None:
    object_id, name = session.put(RESERVE_FROM - 1)
    session.drop(object_id)
    assert session.commands == [c.DiscardSegment(name)]
    objects = [session.put(3 * MIB) for _ in range(2)]
    for object_id, _ in objects:
        session.drop(object_id)
    assert session.commands == [c.DiscardSegment(objects[1][1])]
    assert session.memory.spare_bytes == 3 * MIB


def test_one_file_is_kept_however_large(session: Session) -> None:
    """So that what is as large again is written as fast; two would be more than half of the store."""
    small, _ = session.put(3 * MIB)
    large, name = session.put(6 * MIB)
    larger, other = session.put(5 * MIB)
    session.drop(small)
    session.drop(large)
    assert session.commands == [c.KeepSpare(name)]
    session.drop(larger)
    assert session.commands == [c.DiscardSegment(other)]
    again = session.name()
    session.say(m.Claimed(name, again, 6 * MIB))
    session.put(6 * MIB, again)
    assert session.memory.spare_bytes == 3 * MIB


def test_spares_go_first_when_room_is_wanted_or_memory_is_short(session: Session) -> None:
    object_id, name = session.put(4 * MIB)
    session.put(8 * MIB)
    session.drop(object_id)
    session.ask(8 * MIB)
    assert session.commands == [c.DropSpare(name)]
    assert session.messages == [m.Forget([name]), m.Answer(session.serial, True)]
    other = Session()
    object_id, name = other.put(4 * MIB)
    other.drop(object_id)
    other.happen(MemoryShort())
    assert other.commands == [c.DropSpare(name)]


def test_what_was_promised_counts_until_it_comes(session: Session) -> None:
    first = session.ask(10 * MIB)
    assert session.answers() == [True]
    session.ask(10 * MIB, OTHER)
    assert session.answers() == [], "the first one is being written"
    session.put(10 * MIB, first)
    assert session.commands == [c.SpillSegment(first)]
    session.happen(Spilled(first))
    assert session.answers() == [True]


def test_what_waits_for_room_itself_is_not_waited_for(session: Session) -> None:
    """A task with several large return values names them when all are written: none of them can be moved before."""
    first = session.ask(10 * MIB)
    session.ask(10 * MIB, OTHER)
    assert session.answers() == [], "the first one is being written"
    second = session.ask(10 * MIB)
    assert session.answers() == [ON_DISK, ON_DISK], "neither would have room before the first one is named"
    session.put(10 * MIB, first)
    session.put(10 * MIB, second)
    assert session.memory.used == 10 * MIB


def test_a_promise_ends_when_the_writer_fails_or_is_silent_for_long(session: Session) -> None:
    first = session.ask(10 * MIB)
    session.ask(10 * MIB, OTHER)
    session.say(m.Unwritten(first))
    assert session.commands == [c.DiscardSegment(first)]
    assert session.answers() == [True]
    session.ask(10 * MIB)
    session.wait(PROMISE_SECONDS)
    assert session.answers() == []
    session.wait(0.1)
    assert session.answers() == [True]


def test_a_file_that_is_named_stays(session: Session) -> None:
    """After an interrupt, a process may not know whether it has named it."""
    _, value = session.put(MIB)
    session.say(m.Unwritten(value))
    assert session.commands == []
    session.say(m.Submit(m.TaskSpec(task=b"t" * 24, kind="task", name="f", body=b"", segment="arguments")))
    session.say(m.Unwritten("arguments"))
    assert session.commands == []
    session.say(m.Unwritten("nobody's"))
    assert session.commands == [c.DiscardSegment("nobody's")]


def test_what_is_read_stays_and_the_new_value_goes_to_disk(session: Session) -> None:
    _, old = session.put(12 * MIB)
    new = session.ask(8 * MIB)
    assert session.commands == [c.SpillSegment(old)]
    session.happen(Spilled(old, "read"))
    assert session.answers() == [ON_DISK]
    object_id, _ = session.put(8 * MIB, new)
    assert session.memory.used == 12 * MIB
    session.drop(object_id)
    assert session.commands == [c.DiscardSegment(new)]
    session.now += 2  # By now nobody may be reading it.
    session.ask(8 * MIB)
    assert session.commands == [c.SpillSegment(old)]


def test_what_is_larger_than_the_store_goes_to_disk_and_nothing_moves_for_it(session: Session) -> None:
    session.put(12 * MIB)
    new = session.ask(17 * MIB)
    assert session.answers() == [ON_DISK]
    assert session.commands == []
    session.put(17 * MIB, new)
    assert session.memory.used == 12 * MIB


def test_the_writer_forgets_what_leaves_memory(session: Session) -> None:
    object_id, name = session.put(4 * MIB)
    session.drop(object_id)
    again = session.name()
    session.say(m.Claimed(name, again, 4 * MIB))
    session.put(4 * MIB, again)
    session.ask(14 * MIB)
    assert session.commands == [c.SpillSegment(again)]
    session.happen(Spilled(again))
    assert m.Forget([again]) in session.messages
    assert session.answers() == [True]


def test_a_value_that_was_freed_while_it_was_moved(session: Session) -> None:
    object_id, name = session.put(12 * MIB)
    session.ask(8 * MIB)
    session.drop(object_id)
    assert session.commands == [c.DiscardSegment(name)]
    assert session.answers() == []
    session.happen(Spilled(name))
    assert session.answers() == [True]
    assert session.memory.moving_bytes == 0
    assert not any(isinstance(each, ObjectSpilled) for each in session.scheduler.take_events())


def test_arguments_in_files_count_and_may_be_moved(session: Session) -> None:
    name = session.name()
    session.say(m.Submit(m.TaskSpec(task=b"t" * 24, kind="task", name="f", body=b"", segment=name, segment_size=MIB)))
    assert session.memory.used == MIB
    session.ask(16 * MIB)
    assert session.commands == [c.SpillSegment(name)]
    session.happen(Spilled(name))
    assert session.answers() == [True]
    session.say(m.Cancel(b"t" * 24 + b"\1\0\0\0", False, False))
    assert c.DiscardSegment(name) in session.commands


def test_a_refusal_says_what_holds_the_memory(session: Session) -> None:
    object_id, name = session.put(3 * MIB)
    arguments = session.name()
    spec = m.TaskSpec(task=b"t" * 24, kind="task", name="train", body=b"", segment=arguments, segment_size=2 * MIB)
    session.say(m.Submit(spec))
    session.ask(14 * MIB)
    session.happen(Spilled(name, "failed", "No space left on device"))
    (answer,) = session.messages
    assert answer.error == "ObjectStoreFullError"
    assert (
        f"In memory: {5 * MIB:,} bytes in 2 objects, the largest {object_id.hex()[:8]} of put() ({3 * MIB:,} bytes); "
        f"arguments of train ({2 * MIB:,} bytes)." in answer.value
    )
    assert "cannot be moved to disk: No space left on device." in str(session.answers()[0])
    session.ask(14 * MIB)
    session.happen(Spilled(name, "full", "No space left on device"))
    assert [each.error for each in session.messages] == ["OutOfDiskError"]


def test_garbage_is_looked_for_again_and_again_while_memory_is_short(session: Session) -> None:
    object_id, _ = session.put(13 * MIB)
    assert m.Collect() in session.messages
    session.wait(GARBAGE_SECONDS / 2)
    assert m.Collect() not in session.messages
    assert session.scheduler.wants_tick
    session.wait(GARBAGE_SECONDS)
    assert m.Collect() in session.messages
    session.drop(object_id)
    session.wait(SPARE_SECONDS + GARBAGE_SECONDS)
    assert m.Collect() not in session.messages
    assert not session.scheduler.wants_tick


def test_garbage_is_looked_for_when_a_value_has_to_make_room_and_once_more_when_it_is_time(session: Session) -> None:
    session.put(8 * MIB)
    assert m.Collect() not in session.messages, "half of the store is free"
    first = session.ask(9 * MIB)
    assert m.Collect() in session.messages
    session.say(m.Unwritten(first))
    session.put(8 * MIB)
    session.ask(9 * MIB)
    assert m.Collect() not in session.messages, "just now they did"
    assert session.scheduler.wants_tick
    session.wait(GARBAGE_SECONDS)
    assert m.Collect() in session.messages, "what became garbage meanwhile"
