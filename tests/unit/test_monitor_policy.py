"""When the kernel sends to the panel: the policy alone, with a clock that the test moves."""

from __future__ import annotations

from jupyter_ray.monitor.policy import Pace, SendPolicy

EIGHTHS = Pace(fast=0.125, slow=0.5)
"""Times that floats add exactly."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A policy that always has changes to tell, and sends as soon as it may."""

    def __init__(self, pace: Pace = EIGHTHS) -> None:
        self.clock = Clock()
        self.policy = SendPolicy(self.clock, pace)
        self.seq = 0
        self.policy.announce("e")

    def send(self) -> str:
        kind = self.policy.take()
        self.seq += 1
        self.policy.sent(self.seq)
        return kind

    def run(self, seconds: float, *, ack: bool) -> list[str]:
        """Let time pass in small steps; a client may acknowledge all that is sent."""
        kinds = []
        for _ in range(round(seconds * 128)):
            if self.policy.due(changed=True) == 0:
                kinds.append(self.send())
                if ack:
                    self.policy.ack("a", "e", self.seq)
            self.clock.now += 1 / 128
        return kinds


def test_before_the_first_hello_one_snapshot_goes_out() -> None:
    bench = Bench()
    assert bench.run(60, ack=False) == ["snapshot"]
    bench.policy.announce("e2")
    assert bench.run(60, ack=False) == ["snapshot"]


def test_a_hello_is_answered_by_a_snapshot_and_then_deltas() -> None:
    bench = Bench()
    bench.run(1, ack=False)
    bench.policy.hello("a")
    kinds = bench.run(0.5, ack=True)
    assert kinds == ["snapshot", "delta", "delta", "delta"]


def test_a_hello_is_answered_without_any_change() -> None:
    bench = Bench()
    bench.send()
    bench.clock.now += 1
    bench.policy.hello("a")
    assert bench.policy.due(changed=False) == 0
    assert bench.send() == "snapshot"
    assert bench.policy.due(changed=False) is None


def test_at_most_ten_messages_a_second() -> None:
    assert (Pace().fast, Pace().slow, Pace().lag, Pace().silence) == (0.1, 0.5, 20, 10.0)
    bench = Bench()
    bench.policy.hello("a")
    assert len(bench.run(10, ack=True)) == 80


def test_hellos_do_not_break_the_pace() -> None:
    bench = Bench()
    bench.policy.hello("a")
    bench.send()
    for _ in range(100):
        bench.policy.hello("b")
    assert bench.policy.due(changed=True) == 0.125


def test_two_a_second_when_twenty_messages_are_not_acknowledged() -> None:
    bench = Bench()
    bench.policy.hello("a")
    first = bench.run(21 / 8, ack=False)
    assert len(first) == 21
    assert len(bench.run(5, ack=False)) == 10
    bench.policy.ack("a", "e", bench.seq)
    assert len(bench.run(1, ack=True)) == 8


def test_the_newest_ack_of_any_client_counts() -> None:
    bench = Bench()
    bench.policy.hello("slow")
    bench.policy.hello("a")
    assert len(bench.run(5, ack=True)) == 40


def test_two_a_second_when_no_client_spoke_for_ten_seconds() -> None:
    bench = Bench()
    bench.policy.hello("a")
    bench.run(0.5, ack=True)
    bench.clock.now += 11
    assert bench.policy.due(changed=True) == 0
    bench.send()
    assert bench.policy.due(changed=True) == 0.5
    bench.policy.ack("a", "e", bench.seq)
    assert bench.policy.due(changed=True) == 0.125


def test_nothing_after_the_last_bye() -> None:
    bench = Bench()
    bench.policy.hello("a")
    bench.policy.hello("b")
    bench.run(1, ack=True)
    bench.policy.bye("a")
    assert bench.policy.due(changed=True) is not None
    bench.policy.bye("b")
    bench.policy.bye("never seen")
    assert bench.run(60, ack=False) == []


def test_a_client_that_owes_an_ack_for_long_is_gone_until_it_speaks() -> None:
    bench = Bench()
    bench.policy.hello("a")
    sent = bench.run(300, ack=False)
    assert bench.policy.clients == 0
    assert len(sent) < 300  # two minutes at two a second, and the first fast ones
    assert bench.run(60, ack=False) == []
    bench.policy.ack("a", "e", bench.seq)
    assert bench.run(0.25, ack=True) == ["delta", "delta"]


def test_a_client_that_has_drawn_everything_is_not_gone() -> None:
    bench = Bench()
    bench.policy.hello("a")
    bench.run(1, ack=True)
    bench.clock.now += 3600
    assert bench.policy.due(changed=True) == 0


def test_acks_of_another_epoch_or_of_the_future_do_not_count() -> None:
    bench = Bench()
    bench.policy.hello("a")
    bench.run(1, ack=False)
    bench.policy.ack("a", "earlier", bench.seq)
    bench.policy.ack("a", "e", bench.seq + 1000)
    assert bench.policy.acked == 0
    bench.policy.ack("a", "e", bench.seq)
    bench.policy.ack("a", "e", 1)
    assert bench.policy.acked == bench.seq


def test_a_new_epoch_keeps_its_clients() -> None:
    bench = Bench()
    bench.policy.hello("a")
    bench.run(1, ack=True)
    bench.policy.announce("e")
    assert bench.policy.acked == bench.seq
    bench.policy.announce("e2")
    bench.seq = 0
    assert bench.policy.acked == 0
    assert bench.run(0.25, ack=True) == ["snapshot", "delta"]


def test_clients_are_bounded() -> None:
    bench = Bench(Pace(clients=3))
    for number in range(10):
        bench.clock.now += 1
        bench.policy.hello(f"client {number}")
    assert bench.policy.clients == 3
    assert "3 clients" in repr(bench.policy)
