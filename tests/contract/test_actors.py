"""Actors: order, names, handles, lifetime, options, errors."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.events import HandleDropped, HandlePassed
from tests.contract.helpers import Log, eventually, is_running

pytestmark = pytest.mark.usefixtures("cluster")


@ray.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        import os

        self.value = start
        self.pid = os.getpid()

    def inc(self, by: int = 1) -> int:
        self.value += by
        return self.value

    def get(self) -> int:
        return self.value

    def get_pid(self) -> int:
        return self.pid


def test_state_and_order() -> None:
    counter = Counter.remote(10)
    assert ray.get([counter.inc.remote() for _ in range(100)]) == list(range(11, 111))
    assert ray.get(counter.inc.remote(by=5)) == 115
    assert ray.get(counter.get_pid.remote()) != os.getpid()


def test_calls_keep_their_order_while_one_waits_for_an_argument(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote
    def slow() -> str:
        while not gate.exists():
            time.sleep(0.01)
        return "first"

    @ray.remote
    class List:
        def __init__(self) -> None:
            self.items: list[str] = []

        def add(self, item: str) -> list[str]:
            self.items.append(item)
            return self.items

    items = List.remote()
    items.add.remote(slow.remote())
    last = items.add.remote("second")
    assert ray.wait([last], timeout=0.2)[0] == []
    gate.touch()
    assert ray.get(last) == ["first", "second"]


def test_handles_go_into_tasks_actors_closures_and_containers() -> None:
    counter = Counter.remote()

    @ray.remote
    def by_argument(handle: Any) -> int:
        return ray.get(handle.inc.remote())

    @ray.remote
    def in_container(box: dict[str, Any]) -> int:
        return ray.get(box["handles"][0].inc.remote())

    @ray.remote
    def by_closure() -> int:
        return ray.get(counter.inc.remote())

    @ray.remote
    def nested(handle: Any) -> int:
        return ray.get(by_argument.remote(handle))

    @ray.remote
    class User:
        def __init__(self, handle: Any) -> None:
            self.handle = handle

        def use(self) -> int:
            return ray.get(self.handle.inc.remote())

        def give(self) -> Any:
            return [self.handle]

    user = User.remote(counter)
    calls = [
        by_argument.remote(counter),
        in_container.remote({"handles": [counter]}),
        by_closure.remote(),
        nested.remote(counter),
        user.use.remote(),
        by_argument.remote(ray.put(counter)),
    ]
    assert sorted(ray.get(calls)) == [1, 2, 3, 4, 5, 6]
    [back] = ray.get(user.give.remote())
    assert back == counter
    assert hash(back) == hash(counter)
    assert ray.get(back.inc.remote()) == 7


def test_a_handle_may_be_returned_and_outlives_its_maker() -> None:
    @ray.remote
    def make() -> Any:
        handle = Counter.remote(5)
        ray.get(handle.inc.remote())
        return [handle]

    [handle] = ray.get(make.remote())
    assert ray.get(handle.inc.remote()) == 7


def test_the_runtime_knows_who_holds_a_handle(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote
    def hold(handle: Any) -> None:
        while not gate.exists():
            time.sleep(0.01)

    with Log() as log:
        counter = Counter.remote()
        actor = counter._actor_id.hex()
        task = hold.remote(counter)
        eventually(lambda: log.find(HandlePassed, actor=actor, holder_kind="task"))
        gate.touch()
        ray.get(task)
        eventually(lambda: log.find(HandleDropped, actor=actor))


def test_an_actor_ends_with_its_last_handle() -> None:
    counter = Counter.remote()
    pid = ray.get(counter.get_pid.remote())
    copy = ray.get(ray.put([counter]))[0]
    del counter
    assert ray.get(copy.inc.remote()) == 1
    del copy
    eventually(lambda: not is_running(pid))


def test_queued_calls_are_finished_before_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "log"

    @ray.remote
    class Writer:
        def write(self, text: str) -> str:
            time.sleep(0.01)
            with path.open("a") as file:
                file.write(text)
            return text

    refs = [Writer.remote().write.remote("a")]
    writer = Writer.remote()
    refs += [writer.write.remote(text) for text in "bcdef"]
    del writer
    assert ray.get(refs) == list("abcdef")


def test_kill() -> None:
    counter = Counter.remote()
    pid = ray.get(counter.get_pid.remote())
    ray.kill(counter)
    eventually(lambda: not is_running(pid))
    with pytest.raises(exceptions.RayActorError):
        ray.get(counter.inc.remote(), timeout=30)
    with pytest.raises(ValueError, match="only supported for actors"):
        ray.kill(1)


def test_exit_actor(tmp_path: Path) -> None:
    path = tmp_path / "left"

    @ray.remote(max_restarts=-1)
    class Leaver:
        def __init__(self) -> None:
            import atexit

            atexit.register(path.touch)

        def leave(self) -> None:
            ray.actor.exit_actor()

    leaver = Leaver.remote()
    with pytest.raises(exceptions.RayActorError):
        ray.get(leaver.leave.remote(), timeout=30)
    eventually(path.exists)
    with pytest.raises(exceptions.RayActorError):
        ray.get(leaver.__ray_ready__.remote(), timeout=30)
    with pytest.raises(TypeError):
        ray.actor.exit_actor()


def test_the_methods_of_every_actor() -> None:
    counter = Counter.remote(3)
    assert ray.get(counter.__ray_ready__.remote())
    assert ray.get(counter.__ray_call__.remote(lambda self, n: self.value + n, 4)) == 7
    assert ray.get(counter.__ray_call__.remote(fn=lambda self, n: self.value + n, n=4)) == 7
    with pytest.raises(TypeError, match="missing a required argument: 'fn'"):
        counter.__ray_call__.remote()
    last = counter.inc.remote()
    pid = ray.get(counter.get_pid.remote())
    counter.__ray_terminate__.remote()
    assert ray.get(last) == 4
    eventually(lambda: not is_running(pid))


def test_a_constructor_that_raises() -> None:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("no luck")

        def m(self) -> None: ...

    broken = Broken.remote()
    for _ in range(2):
        with pytest.raises(exceptions.RayActorError, match="no luck") as caught:
            ray.get(broken.m.remote(), timeout=30)
        assert caught.value.actor_init_failed


def test_wrong_arguments_of_a_constructor_in_c() -> None:
    """No signature can be read, so that the constructor itself finds out; its words are in the error."""
    actor = ray.remote(datetime.timezone).remote("not a difference")
    with pytest.raises(exceptions.ActorDiedError, match=r"(?s)creation task.*TypeError: timezone\(\) argument 1"):
        ray.get(actor.utcoffset.remote(None))


def test_errors_of_methods_name_the_actor() -> None:
    @ray.remote
    class Bad:
        def fail(self) -> None:
            raise KeyError("k")

        def fine(self) -> int:
            return 1

        def __repr__(self) -> str:
            return "Bad by name"

    bad = Bad.remote()
    with pytest.raises(KeyError) as caught:
        ray.get(bad.fail.remote())
    assert isinstance(caught.value, exceptions.RayTaskError)
    assert "Bad by name" in str(caught.value)
    assert ray.get(bad.fine.remote()) == 1


def test_named_actors() -> None:
    counter = Counter.options(name="counter").remote(1)
    assert ray.get(ray.get_actor("counter").inc.remote()) == 2

    @ray.remote
    def use() -> int:
        return ray.get(ray.get_actor("counter").inc.remote())

    assert ray.get(use.remote()) == 3
    with pytest.raises(ValueError, match="counter"):
        Counter.options(name="counter").remote()
    again = Counter.options(name="counter", get_if_exists=True).remote(100)
    assert ray.get(again.inc.remote()) == 4
    with pytest.raises(ValueError, match=r"elsewhere|look up"):
        ray.get_actor("counter", namespace="elsewhere")
    elsewhere = Counter.options(name="counter", namespace="elsewhere").remote()
    assert ray.get_actor("counter", namespace="elsewhere") == elsewhere
    ray.kill(counter)

    def is_free() -> Any:
        try:
            return Counter.options(name="counter").remote(9)
        except ValueError:
            return None

    assert ray.get(eventually(is_free).get.remote()) == 9


@pytest.mark.not_through_client("Ray Client's server holds an actor whose name it was asked for")
def test_a_handle_found_by_name_does_not_keep_the_actor() -> None:
    counter = Counter.options(name="weak").remote()
    pid = ray.get(counter.get_pid.remote())
    found = ray.get_actor("weak")
    assert found == counter
    del counter
    eventually(lambda: not is_running(pid))
    with pytest.raises(exceptions.RayActorError):
        ray.get(found.inc.remote(), timeout=30)


def test_detached_actors_live_without_handles() -> None:
    with Log() as log:
        actor = Counter.options(name="detached", lifetime="detached").remote(4)._actor_id.hex()
        eventually(lambda: log.find(HandleDropped, actor=actor))
    found = ray.get_actor("detached")
    assert ray.get(found.inc.remote()) == 5
    ray.kill(found)


def test_methods_with_options() -> None:
    @ray.remote
    class Many:
        @ray.method(num_returns=2)
        def two(self) -> tuple[int, int]:
            return 1, 2

        def numbers(self, n: int) -> Iterator[int]:
            yield from range(n)

        @classmethod
        def kind(cls, x: int) -> tuple[str, int]:
            return cls.__name__, x

    many = Many.remote()
    assert ray.get(many.two.remote()) == [1, 2]
    assert ray.get(many.two.options(num_returns=1).remote()) == (1, 2)
    assert [ray.get(ref) for ref in many.numbers.remote(3)] == [0, 1, 2]
    assert ray.get(many.kind.remote(3)) == ("Many", 3)


def test_inheritance() -> None:
    class Base:
        def __init__(self, x: int) -> None:
            self.x = x

        def base(self) -> int:
            return self.x

        def both(self) -> str:
            return "base"

    @ray.remote
    class Derived(Base):
        def __init__(self, x: int) -> None:
            super().__init__(x + 1)

        def both(self) -> str:
            return "derived, " + super().both()

    derived = Derived.remote(1)
    assert ray.get([derived.base.remote(), derived.both.remote()]) == [2, "derived, base"]


def test_restarts_lose_state_and_fail_calls_in_flight() -> None:
    @ray.remote(max_restarts=1)
    class Fragile:
        def __init__(self) -> None:
            self.calls = 0

        def call(self) -> tuple[int, bool]:
            self.calls += 1
            return self.calls, ray.get_runtime_context().was_current_actor_reconstructed

        def die(self) -> None:
            os._exit(1)

    fragile = Fragile.remote()
    assert ray.get([fragile.call.remote(), fragile.call.remote()]) == [(1, False), (2, False)]
    with pytest.raises(exceptions.RayActorError):
        ray.get(fragile.die.remote(), timeout=30)

    def answer() -> Any:
        try:
            return ray.get(fragile.call.remote(), timeout=30)
        except exceptions.ActorUnavailableError:
            return None

    assert eventually(answer) == (1, True)
    with pytest.raises(exceptions.RayActorError):
        ray.get(fragile.die.remote(), timeout=30)
    with pytest.raises(exceptions.ActorDiedError):
        ray.get(fragile.call.remote(), timeout=30)


def test_calls_with_retries_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "died"

    @ray.remote(max_restarts=1, max_task_retries=1)
    class Fragile:
        def once(self) -> str:
            if not path.exists():
                path.touch()
                os._exit(1)
            return "second time"

    assert ray.get(Fragile.remote().once.remote(), timeout=60) == "second time"


def test_pending_calls_are_limited(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote(max_pending_calls=2)
    class Slow:
        def wait(self) -> int:
            while not gate.exists():
                time.sleep(0.01)
            return 1

    slow = Slow.remote()
    refs = [slow.wait.remote(), slow.wait.remote()]
    with pytest.raises(exceptions.PendingCallsLimitExceeded):
        slow.wait.remote()
    gate.touch()
    assert ray.get(refs) == [1, 1]
    assert eventually(lambda: _try_call(slow))


def _try_call(actor: Any) -> Any:
    try:
        return ray.get(actor.wait.remote())
    except exceptions.PendingCallsLimitExceeded:
        return None


def test_an_actor_of_a_dead_actor_ends() -> None:
    @ray.remote
    class Owner:
        def __init__(self) -> None:
            self.child = Counter.remote()

        def pid(self) -> int:
            return ray.get(self.child.get_pid.remote())

    owner = Owner.remote()
    pid = ray.get(owner.pid.remote())
    ray.kill(owner)
    eventually(lambda: not is_running(pid))


def test_a_method_is_called_where_an_attribute_has_its_name() -> None:
    class Switch:
        def __init__(self) -> None:
            self.pressed = False

        def press(self) -> None:
            self.pressed = True

        def pressed(self) -> bool:  # type: ignore[no-redef]
            return self.pressed

    switch: Any = ray.remote(Switch).remote()
    assert ray.get(switch.pressed.remote()) is False
    ray.get(switch.press.remote())
    assert ray.get(switch.pressed.remote()) is True


def test_what_a_program_notes_on_a_handle_stays_there() -> None:
    actor = Counter.remote()
    actor.note = "mine"
    assert actor.note == "mine"

    @ray.remote
    def noted(handle: Any) -> bool:
        return hasattr(handle, "note")

    assert not ray.get(noted.remote(actor))


@pytest.mark.local_only("in Ray a name leads to its actor for a moment after the last handle is gone")
def test_a_name_is_free_once_its_last_handle_is_gone() -> None:
    @ray.remote(num_cpus=0)
    class Lock:
        def acquire(self) -> bool:
            return True

    for _ in range(20):
        lock: Any = Lock.options(name="in_turn", get_if_exists=True).remote()
        assert ray.get([lock.acquire.remote(), lock.acquire.remote()]) == [True, True]
        assert ray.get(lock.acquire.remote())
        del lock
    with pytest.raises(ValueError, match="in_turn"):
        ray.get_actor("in_turn")


def test_what_an_actor_holds_is_no_attribute_of_its_handle_and_the_error_shows_how_to_read_it() -> None:
    @ray.remote
    class Account:
        def __init__(self) -> None:
            self.balance = 7

        @property
        def doubled(self) -> int:
            return self.balance * 2

    account = Account.remote()
    for name, value in (("balance", 7), ("doubled", 14)):
        with pytest.raises(
            AttributeError, match=rf"Account, has no method of this name\. .*lambda self: self\.{name}\)"
        ):
            getattr(account, name)
        assert ray.get(account.__ray_call__.remote(lambda self, name=name: getattr(self, name))) == value
