"""Actor classes and handles, on an engine in this process."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any, get_args

import cloudpickle
import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.actor import ActorProxy
from jupyter_ray.api.actors import ActorClass
from jupyter_ray.api.handles import ActorHandle, ActorMethod
from tests.fakes import FakeEngine


class Base:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def get(self) -> int:
        return self.value


@ray.remote
class Counter(Base):
    """Counts."""

    STEP = 1

    def inc(self, by: int = STEP) -> int:
        self.value += by
        return self.value

    @ray.method(num_returns=2)
    def two(self) -> tuple[int, int]:
        return self.value, -self.value

    @ray.method(max_task_retries=3, retry_exceptions=[KeyError])
    def risky(self) -> None:
        raise KeyError("no")

    def numbers(self, n: int) -> Iterator[int]:
        yield from range(n)

    @classmethod
    def make(cls, x: int) -> int:
        return x

    @staticmethod
    def static(x: int) -> int:
        return x

    def me(self) -> Any:
        return ray.get_runtime_context().current_actor

    def leave(self) -> None:
        ray.actor.exit_actor()


def test_methods_are_called_on_the_instance(engine: FakeEngine) -> None:
    counter = Counter.remote(5)
    assert ray.get(counter.inc.remote()) == 6
    assert ray.get(counter.inc.remote(by=2)) == 8
    assert ray.get(counter.get.remote()) == 8
    assert ray.get(counter.two.remote()) == [8, -8]
    assert [ray.get(ref) for ref in counter.numbers.remote(2)] == [0, 1]
    assert ray.get(counter.make.remote(3)) == 3
    assert ray.get(counter.__ray_ready__.remote()) is True
    assert ray.get(counter.__ray_call__.remote(lambda self, x: self.value + x, 1)) == 9


def test_an_unknown_method_is_an_attribute_error(engine: FakeEngine) -> None:
    counter = Counter.remote()
    for name in ("absent", "value"):
        with pytest.raises(AttributeError, match=name):
            getattr(counter, name)
    assert not hasattr(counter, "absent")
    assert "inc" in dir(counter)


def test_neither_classes_nor_methods_are_called(engine: FakeEngine) -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError, match=r"Counter\.remote\(\)"):
        Counter()
    with pytest.raises(TypeError, match=r"inc\.remote\(\)"):
        counter.inc()


def test_annotations_name_the_class() -> None:
    class Plain: ...

    made: ActorClass[Plain] = ray.remote(Plain)
    assert isinstance(made, ActorClass)
    assert get_args(ActorProxy[Plain]) == (ActorHandle[Plain], type[Plain])  # type: ignore[misc]


def test_an_actor_class_has_no_subclasses() -> None:
    with pytest.raises(TypeError, match="actor classes"):

        class Sub(Counter):
            pass


def test_the_class_can_be_read_through_the_actor_class() -> None:
    assert Counter.STEP == 1
    assert Counter.static(3) == 3
    assert Counter.__doc__ == "Counts."
    assert Counter.__ray_metadata__.modified_class.__name__ == "Counter"
    assert Counter.__ray_actor_class__(2).inc() == 3
    assert Counter.__ray_actor_class__ is Counter.__ray_metadata__.modified_class
    with pytest.raises(AttributeError):
        Counter.absent  # noqa: B018


def test_wrong_arguments_are_told_at_the_call(engine: FakeEngine) -> None:
    with pytest.raises(TypeError, match="too many positional arguments"):
        Counter.remote(1, 2)
    counter = Counter.remote()
    with pytest.raises(TypeError, match=r"Counter\.inc\(\) got an unexpected keyword argument 'x'"):
        counter.inc.remote(x=1)
    with pytest.raises(TypeError, match="missing a required argument: 'n'"):
        counter.numbers.remote()

    @ray.remote
    class NoInit:
        pass

    with pytest.raises(TypeError):
        NoInit.remote(1)


def test_builtin_classes_are_not_checked(engine: FakeEngine) -> None:
    actor = ray.remote(dict).remote(a=1)
    assert ray.get(actor.get.remote("a")) == 1


def test_options_of_methods(engine: FakeEngine) -> None:
    counter = Counter.options(max_task_retries=5).remote()
    counter.inc.remote()
    counter.risky.remote()
    counter.inc.options(name="mine", max_task_retries=1).remote()
    counter.two.options(num_returns=1).remote()
    options = [call[4] for call in engine.calls[1:]]
    assert [each.max_task_retries for each in options] == [5, 3, 1, 5]
    assert options[1].retry_exceptions == [KeyError]
    assert options[2].name == "mine"
    assert [each.num_returns for each in options] == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="concurrency group 'io'"):
        counter.inc.options(concurrency_group="io")
    with pytest.raises(TypeError, match="Valid ones are"):
        counter.inc.options(num_cpus=1)
    with pytest.raises(ValueError, match="only be used with generator"):
        counter.inc.options(num_returns="streaming")
    assert ray.get(counter.inc._remote(args=[2], num_returns=1)) == 4


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_return": 1}, AssertionError),
        ({"num_returns": -1}, ValueError),
        ({"num_returns": "x"}, TypeError),
        ({"max_task_retries": "x"}, TypeError),
    ],
)
def test_wrong_options_of_method(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        ray.method(**options)


def test_options_of_actors(engine: FakeEngine) -> None:
    with pytest.raises(ValueError, match="Valid ones are"):
        Counter.options(max_calls=1)
    with pytest.raises(ValueError, match="concurrency_groups"):
        Counter.options(concurrency_groups={"io": 1})
    with pytest.raises(ValueError, match="empty string"):
        Counter.options(name="").remote()
    with pytest.raises(TypeError, match="name"):
        Counter.options(name=3)
    with pytest.raises(ValueError, match="namespace"):
        Counter.options(namespace="").remote()
    Counter.options(num_cpus=2).remote()
    Counter.remote()
    assert [call[4].num_cpus for call in engine.calls] == [2, None]
    assert [call[4].max_concurrency for call in engine.calls] == [1, 1]


def test_async_actors_and_groups(engine: FakeEngine) -> None:
    @ray.remote(concurrency_groups={"io": 2})
    class Async:
        @ray.method(concurrency_group="io")
        async def read(self) -> int:
            return 1

        def plain(self) -> int:
            return 2

    actor = Async.remote()
    assert ray.get([actor.read.remote(), actor.plain.remote()]) == [1, 2]
    assert engine.calls[0][4].max_concurrency == 1000
    assert engine.calls[1][4].concurrency_group == "io"
    with pytest.raises(ValueError, match="in order"):
        Async.options(allow_out_of_order_execution=False).remote()
    with pytest.raises(ValueError, match="in order"):
        Counter.options(allow_out_of_order_execution=False, max_concurrency=2).remote()
    with pytest.raises(ValueError, match="does not have"):

        @ray.remote
        class Wrong:
            @ray.method(concurrency_group="absent")
            def m(self) -> None: ...


def test_handles_compare_hash_and_print(engine: FakeEngine) -> None:
    one, other = Counter.remote(), Counter.remote()
    same = ray.get(ray.put([one]))[0]
    assert same == one
    assert hash(same) == hash(one)
    assert one != other
    assert len({one, same, other}) == 2
    assert repr(one) == f"Actor(Counter, {one._actor_id.hex()})"
    assert one._ray_actor_creation_function_descriptor.class_name == "Counter"


def test_handles_travel_and_are_counted(engine: FakeEngine) -> None:
    counter = Counter.remote()
    actor = counter._actor_id.binary()

    @ray.remote
    def use(handles: list[Any]) -> int:
        value: int = ray.get(handles[0].inc.remote())
        return value

    assert engine.held[actor] == 1
    assert ray.get(use.remote([counter])) == 1
    assert engine.held[actor] == 1
    assert not engine.pinned_ids
    pickle.loads(cloudpickle.dumps(counter))
    assert not engine.pinned_ids  # By hand, it keeps nothing alive.
    engine.calls.clear()  # They hold the arguments.
    del counter
    assert engine.held[actor] == 0


def test_the_handle_outlives_the_call_expression(engine: FakeEngine) -> None:
    assert ray.get(Counter.remote().inc.remote()) == 1
    method = Counter.remote().inc
    assert isinstance(method, ActorMethod)
    assert ray.get(pickle.loads(cloudpickle.dumps(method)).remote()) == 1


def test_classes_travel_by_id(engine: FakeEngine) -> None:
    @ray.remote
    def start(kind: Any) -> int:
        value: int = ray.get(kind.options(num_cpus=0).remote(4).get.remote())
        return value

    assert ray.get(start.remote(Counter)) == 4
    data = cloudpickle.dumps(Counter)
    from jupyter_ray.api import actors

    before = dict(actors._known)
    actors._known.clear()
    back: ActorClass = pickle.loads(data)
    actors._known.update(before)
    assert back is not Counter
    assert ray.get(back.remote(3).get.remote()) == 3


def test_named_actors(engine: FakeEngine) -> None:
    counter = Counter.options(name="c").remote(1)
    actor = counter._actor_id.binary()
    found = ray.get_actor("c")
    assert found == counter
    assert ray.get(found.inc.remote()) == 2
    assert engine.held[actor] == 1  # The one found is weak.
    copy = pickle.loads(cloudpickle.dumps(found))
    assert copy == counter
    assert (engine.held[actor], engine.pinned_ids) == (1, [])
    with pytest.raises(ValueError, match="taken"):
        Counter.options(name="c").remote()
    again = Counter.options(name="c", get_if_exists=True).remote(7)
    assert again == counter
    assert ray.get(again.get.remote()) == 2
    with pytest.raises(ValueError, match="must be specified"):
        Counter.options(get_if_exists=True)


def test_pending_calls_are_limited_per_handle(engine: FakeEngine) -> None:
    counter = Counter.options(max_pending_calls=2).remote()
    other = ray.get(ray.put([counter]))[0]
    engine.hold()
    refs = [counter.inc.remote() for _ in range(2)]
    with pytest.raises(exceptions.PendingCallsLimitExceeded, match="max_pending_calls is 2"):
        counter.inc.remote()
    refs.append(other.inc.remote())
    engine.release()
    assert ray.get([*refs, counter.inc.remote()]) == [1, 2, 3, 4]


def test_the_current_actor_and_leaving(engine: FakeEngine) -> None:
    counter = Counter.remote()
    assert ray.get(counter.me.remote()) == counter
    with pytest.raises(TypeError, match="non-actor worker"):
        ray.actor.exit_actor()
    with pytest.raises(RuntimeError, match="only available in an actor"):
        _ = ray.get_runtime_context().current_actor
    with pytest.raises(exceptions.RayActorError, match="exit_actor"):
        ray.get(counter.leave.remote())
    with pytest.raises(exceptions.ActorDiedError):
        ray.get(counter.get.remote())


def test_a_constructors_error_is_raised_at_each_call(engine: FakeEngine) -> None:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("no luck")

        def m(self) -> None: ...

    broken = Broken.remote()
    for _ in range(2):
        with pytest.raises(exceptions.RayActorError, match="no luck") as caught:
            ray.get(broken.m.remote())
        assert caught.value.actor_init_failed


def test_the_type_of_a_handle(engine: FakeEngine) -> None:
    assert isinstance(Counter, ray.actor.ActorClass)
    assert isinstance(Counter.remote(), ray.actor.ActorHandle)
    assert ActorHandle is ray.ActorHandle
