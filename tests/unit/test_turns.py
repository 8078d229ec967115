"""Who reads: threads that wait, the reader thread when none does, and SIGINT in between."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from jupyter_ray.interrupts import Sleep, shielded
from jupyter_ray.local.turns import REST, Turns
from tests.contract.helpers import eventually
from tests.interrupting import interrupted


class Pipe:
    """Messages of one byte each; notes who took each in. Byte 0 ends it.

    The reader thread, once called away, stays away for `rest` seconds.
    """

    def __init__(self, rest: float = 1000) -> None:
        self.read_end, self.write_end = os.pipe()
        self.came: list[tuple[int, str]] = []
        self.handle: Callable[[int], None] = lambda byte: None
        self.waiting = 0
        self.poll = select.poll()
        self.poll.register(self.read_end, select.POLLIN)
        self.turns = Turns(self.take_in, lambda: self.waiting > 0, rest)
        self.reader = threading.Thread(target=self.turns.serve, name="reader", daemon=True)
        self.reader.start()

    def say(self, *numbers: int) -> None:
        os.write(self.write_end, bytes(numbers))

    def take_in(self, sleep: Sleep | None) -> bool:
        if sleep is not None:
            sleep(self.poll.poll)
        (byte,) = os.read(self.read_end, 1)
        self.came.append((byte, threading.current_thread().name))
        self.handle(byte)
        return byte != 0

    def has(self, byte: int) -> Callable[[], bool]:
        return lambda: any(each == byte for each, _ in self.came)

    def who(self, byte: int) -> str:
        return next(name for each, name in self.came if each == byte)

    def call_away(self) -> None:
        """Have the reader thread let go of the turn: somebody wants to read, and a message comes."""
        eventually(self.reader_reads)
        assert not self.turns.attend(self.has(255))
        self.say(255)
        eventually(lambda: not self.reader_reads())

    def reader_reads(self) -> bool:
        if self.turns._turn.acquire(blocking=False):
            self.turns._turn.release()
            return False
        return True

    def end(self) -> None:
        self.say(0)
        self.turns.attend(lambda: False)
        self.reader.join(30)
        assert not self.reader.is_alive()
        os.close(self.read_end)
        os.close(self.write_end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    pipe.call_away()
    yield pipe
    pipe.end()


HERE = "MainThread"


def test_who_waits_reads(pipe: Pipe) -> None:
    threading.Timer(0.05, pipe.say, (1,)).start()
    assert pipe.turns.attend(pipe.has(1))
    assert pipe.who(1) == HERE


def test_nobody_waits_and_the_reader_thread_reads() -> None:
    pipe = Pipe(REST)
    for byte in range(1, 20):
        pipe.turns.attend(lambda: True)
        pipe.say(byte)
        eventually(pipe.has(byte))
        assert pipe.who(byte) == "reader"
    pipe.end()


def test_what_another_waits_for_is_read_at_once(pipe: Pipe) -> None:
    pipe.waiting = 1
    pipe.turns.attention()
    pipe.say(1)
    eventually(pipe.has(1))
    assert pipe.who(1) == "reader"
    pipe.waiting = 0


def test_who_listens_has_all_read_at_once(pipe: Pipe) -> None:
    with pipe.turns.listening():
        for byte in (1, 2):
            pipe.say(byte)
            eventually(pipe.has(byte))
            assert pipe.who(byte) == "reader"
    pipe.call_away()
    pipe.say(3)
    assert pipe.turns.attend(pipe.has(3))
    assert pipe.who(3) == HERE, "the reader thread rests again"


def test_who_leaves_hands_over_to_the_reader_thread_if_others_wait(pipe: Pipe) -> None:
    pipe.waiting = 1
    pipe.say(1)
    assert pipe.turns.attend(pipe.has(1))
    pipe.say(2)
    eventually(pipe.has(2))
    assert pipe.who(2) == "reader"
    pipe.waiting = 0


def test_the_end_is_told_to_everyone(pipe: Pipe) -> None:
    pipe.say(0)
    assert not pipe.turns.attend(pipe.has(9))
    pipe.reader.join(30)
    assert not pipe.reader.is_alive()
    assert not pipe.turns.attend(pipe.has(9))


def test_a_finalizer_may_wait_while_a_message_is_handled(pipe: Pipe) -> None:
    def handle(byte: int) -> None:
        if byte == 1:
            assert pipe.turns.attend(pipe.has(2))

    pipe.handle = handle
    pipe.say(1, 2)
    assert pipe.turns.attend(pipe.has(2))
    assert [pipe.who(byte) for byte in (1, 2)] == [HERE, HERE]


def test_sigint_ends_the_sleep(pipe: Pipe) -> None:
    def interrupt() -> None:
        eventually(lambda: pipe.turns._attending)
        os.kill(os.getpid(), signal.SIGINT)

    for _ in range(20):
        stop = threading.Thread(target=interrupt)
        stop.start()
        with pytest.raises(KeyboardInterrupt):
            pipe.turns.attend(pipe.has(9))
        stop.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    pipe.say(9)
    assert pipe.turns.attend(pipe.has(9))


def test_sigint_does_not_tear_the_handling_of_a_message(pipe: Pipe) -> None:
    handled: list[int] = []

    def handle(byte: int) -> None:
        signal.raise_signal(signal.SIGINT)
        handled.append(byte)

    pipe.handle = handle
    pipe.say(1)
    with pytest.raises(KeyboardInterrupt):
        pipe.turns.attend(pipe.has(1))
    assert handled == [1]
    pipe.say(2)
    with pytest.raises(KeyboardInterrupt):  # Before it sleeps again.
        pipe.turns.attend(pipe.has(9))
    assert handled == [1, 2]
    pipe.handle = lambda byte: None


def test_other_signals_are_shielded_too(pipe: Pipe) -> None:
    def too_slow(number: int, frame: object) -> None:
        raise TimeoutError("too slow")

    before = signal.signal(signal.SIGALRM, too_slow)
    try:
        pipe.handle = lambda byte: signal.raise_signal(signal.SIGALRM)
        pipe.say(1)
        with pytest.raises(TimeoutError, match="too slow"):
            pipe.turns.attend(pipe.has(1))
        assert pipe.has(1)()
        assert signal.getsignal(signal.SIGALRM) is too_slow
        pipe.handle = lambda byte: None
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(TimeoutError, match="too slow"):
            pipe.turns.attend(pipe.has(9))
    finally:
        signal.signal(signal.SIGALRM, before)
    pipe.say(9)
    assert pipe.turns.attend(pipe.has(9)), "the connection lives"


def test_a_signal_that_comes_with_an_interrupt_is_heard_too() -> None:
    """The interrupt was raised, and a SIGTERM that had come after it was lost."""
    heard: list[int] = []
    others = (signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, lambda number, frame: heard.append(number)) for number in others}

    def act() -> None:
        with shielded():
            for number in (signal.SIGINT, signal.SIGINT, *others):
                os.kill(os.getpid(), number)

    try:
        with pytest.raises(KeyboardInterrupt) as raised:
            act()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard == [*others]
    assert raised.value.__context__ is None, "pressed twice, it is one interrupt"


def test_a_handler_may_put_another_in_its_place(pipe: Pipe) -> None:
    def first(number: int, frame: object) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        pipe.say(1)

    before = signal.signal(signal.SIGUSR1, first)
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        assert pipe.turns.attend(pipe.has(1))
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_interrupt_anywhere_in_a_shield_is_raised_and_leaves_no_handler_of_ours() -> None:
    """One that came right when its handler stood alone again left ours for good, one more each time."""

    def act() -> None:
        with shielded() as shield:
            shield.sleep(lambda: None)

    places = 0
    for where in interrupted(act):
        places += 1
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, where
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, where
    assert places > 20
