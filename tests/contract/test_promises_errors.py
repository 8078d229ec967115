"""Promises about errors: of which class each arrives, what can be read from it, and what raises it."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.exceptions import RayActorError, RayTaskError
from tests.contract.helpers import PATIENCE


class Coded(Exception):
    """It has an attribute, a property and a method."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    @property
    def doubled(self) -> int:
        return 2 * self.code

    def describe(self) -> str:
        return f"code {self.code}"


class Slotted(Exception):
    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


class Both(KeyError, OSError):
    """Python makes its instances as those of an OSError."""


class Final(Exception):
    def __init_subclass__(cls) -> None:
        raise TypeError("final")


class Frozen(Exception):
    """It refuses to be changed, as the instances of a frozen dataclass do."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} is frozen")


class TwoArguments(Exception):
    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


class OnlyByName(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Numbered(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(7, "too far", path)
        self.tried = [path]


class MadeByName(Exception):
    def __new__(cls, *, code: int) -> MadeByName:
        return super().__new__(cls, f"code {code}")

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


@ray.remote(max_retries=0)
def fail(make: Callable[[], BaseException]) -> None:
    raise make()


class _Fails:
    def plain(self, make: Callable[[], BaseException]) -> None:
        raise make()

    def items(self, make: Callable[[], BaseException]) -> Iterator[int]:
        yield 1
        raise make()


Fails: Any = ray.remote(num_cpus=0)(_Fails)


@ray.remote(num_cpus=0)
class FailsInALoop:
    async def plain(self, make: Callable[[], BaseException]) -> None:
        raise make()


@ray.remote(num_cpus=0)
def take(value: Any) -> Any:
    return value


def errors_of(make: Callable[[], BaseException]) -> Iterator[Any]:
    """Yield the error as it comes from everything that can fail."""
    actor, looping = Fails.remote(), FailsInALoop.remote()
    failed = [fail.remote(make), actor.plain.remote(make), looping.plain.remote(make), [*actor.items.remote(make)][-1]]
    for ref in failed:
        with pytest.raises(exceptions.RayError) as found:
            ray.get(ref, timeout=PATIENCE)
        yield found.value


shared = pytest.mark.usefixtures("cluster")


@shared
@pytest.mark.parametrize(
    "make",
    [
        lambda: KeyError("k"),
        lambda: Coded(3),
        lambda: Slotted("here"),
        lambda: Both("two"),
        lambda: FileNotFoundError(2, "no such file", "x.txt"),
        lambda: UnicodeDecodeError("utf-8", b"a", 0, 1, "bad"),
        lambda: TimeoutError("late"),
        lambda: NotImplementedError(),
        lambda: RecursionError("deep"),
    ],
    ids=lambda make: type(make()).__name__,
)
def test_an_error_is_of_its_own_class_and_a_task_s_wherever_it_comes_from(make: Callable[[], Exception]) -> None:
    kind = type(make())
    for error in errors_of(make):
        assert isinstance(error, RayTaskError)
        assert isinstance(error, kind)
        assert type(error).__name__ == f"RayTaskError({kind.__name__})"
        assert type(error.cause) is kind
        assert error.cause.args == make().args
        assert error.args == (error.cause,)


@shared
def test_attributes_properties_and_methods_of_the_original() -> None:
    for error in errors_of(lambda: Coded(3)):
        assert (error.code, error.doubled, error.describe()) == (3, 6, "code 3")
    for error in errors_of(lambda: Slotted("here")):
        assert error.place == "here"


@shared
def test_an_error_arrives_whose_init_takes_other_arguments_than_it_passes_on() -> None:
    """In Ray it does not: whoever catches it by its class misses it."""
    for error in errors_of(lambda: TwoArguments(1, 2)):
        assert isinstance(error, TwoArguments)
        assert error.args == (error.cause,)
        assert error.cause.args == ("1 and 2",)
    for error in errors_of(lambda: OnlyByName(code=7)):
        assert isinstance(error, OnlyByName)
        assert (error.code, str(error.cause)) == (7, "code 7")
    for error in errors_of(lambda: Numbered("there")):
        assert isinstance(error, Numbered)
        assert (error.errno, error.filename, error.tried) == (7, "there", ["there"])


@shared
@pytest.mark.parametrize("make", [lambda: MadeByName(code=7)])
def test_an_error_that_cannot_be_made_again_says_so_and_what_it_said(make: Callable[[], Exception]) -> None:
    for error in errors_of(make):
        assert type(error) is exceptions.UnserializableException
        assert not isinstance(error, RayTaskError)
        assert str(make()) in str(error)


@shared
def test_a_task_that_was_to_get_such_an_error_fails_as_any_other() -> None:
    failed = take.remote(fail.remote(lambda: MadeByName(code=7)))
    for ref in (failed, take.remote(failed)):
        with pytest.raises(exceptions.UnserializableException, match="code 7") as found:
            ray.get(ref, timeout=PATIENCE)
        assert isinstance(found.value, RayTaskError)


@ray.remote(num_cpus=0)
class Awaits:
    async def get(self, refs: list[Any]) -> Any:
        return await refs[0]


@shared
@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
def test_the_end_of_another_iterator_is_no_value_where_it_is_awaited(kind: type[Exception]) -> None:
    async def of(ref: Any, way: str) -> Any:
        if way == "gather":
            return await asyncio.gather(ref)
        return await (asyncio.wrap_future(ref.future()) if way == "future" else ref)

    failed = fail.remote(lambda: kind(7))
    for way in ("await", "gather", "future"):
        with pytest.raises(RuntimeError, match=r"raised .*Iteration") as found:
            asyncio.run(of(failed, way))
        assert isinstance(found.value.__cause__, kind)
        assert isinstance(found.value.__cause__, RayTaskError)
    with pytest.raises(RuntimeError, match=r"raised .*Iteration"):
        ray.get(Awaits.remote().get.remote([failed]), timeout=PATIENCE)
    with pytest.raises(kind):
        ray.get(failed, timeout=PATIENCE)


def chained() -> Exception:
    try:
        raise Coded(4) from TwoArguments(1, 2)
    except Coded as error:
        return error


@shared
def test_an_error_raised_from_one_that_cannot_be_made_again_arrives() -> None:
    for error in errors_of(chained):
        assert isinstance(error, RayTaskError)
        assert isinstance(error, Coded)
        assert "1 and 2" in str(error), "the text has the chain"


@shared
def test_an_error_that_refuses_to_be_changed_arrives_all_the_same() -> None:
    for error in errors_of(lambda: Frozen("solid")):
        assert isinstance(error, RayTaskError)
        assert type(error.cause) is Frozen
        assert error.cause.args == ("solid",)
        assert "Frozen: solid" in str(error)


@shared
def test_an_error_whose_class_is_final_is_a_plain_task_error() -> None:
    for error in errors_of(lambda: Final("the end")):
        assert type(error) is RayTaskError
        assert type(error.cause) is Final
        assert "Final: the end" in str(error)


@shared
@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no groups of exceptions")
def test_a_group_of_errors_can_be_taken_apart() -> None:
    def make() -> BaseException:
        return ExceptionGroup("two", [ValueError(1), KeyError(2)])  # type: ignore[name-defined,unused-ignore]  # noqa: F821

    for error in errors_of(make):
        assert isinstance(error, RayTaskError)
        assert [type(each) for each in error.exceptions] == [ValueError, KeyError]
        caught, rest = error.split(ValueError)
        assert [type(each) for each in caught.exceptions] == [ValueError]
        assert [type(each) for each in rest.exceptions] == [KeyError]


@shared
@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no groups of exceptions")
def test_a_group_of_a_class_of_its_own_arrives_as_that_and_as_a_task_s() -> None:
    class Errors(ExceptionGroup):  # type: ignore[name-defined,misc,unused-ignore]  # noqa: F821
        """As Python's documentation shows it: its arguments are not those of a group."""

        def __new__(cls, errors: list[Exception], code: int) -> Any:
            self = super().__new__(Errors, f"code {code}", errors)
            self.code = code
            return self

        def derive(self, errors: Any) -> Any:
            return Errors(errors, self.code)

    for error in errors_of(lambda: Errors([ValueError(1), KeyError(2)], 7)):
        assert isinstance(error, RayTaskError)
        assert type(error).__name__ == "RayTaskError(Errors)"
        assert (error.code, error.message) == (7, "code 7")
        caught, rest = error.split(ValueError)
        assert [(type(each).__name__, each.code) for each in (caught, rest)] == [("Errors", 7)] * 2
        assert [type(each) for each in rest.exceptions] == [KeyError]


@shared
@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no groups of exceptions")
@pytest.mark.parametrize("inside", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_group_with_an_interrupt_in_it_is_the_cause_of_a_task_s_error(
    inside: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def make() -> BaseException:
        return BaseExceptionGroup("two", [ValueError(1), inside()])  # type: ignore[name-defined,unused-ignore]  # noqa: F821

    for error in errors_of(make):
        assert type(error) is RayTaskError
        group: Any = error.cause
        assert [type(each) for each in group.exceptions] == [ValueError, inside]
        assert "ValueError: 1" in str(error)
    assert not caplog.records


@shared
def test_an_error_whose_class_names_itself_in_new_arrives_as_that_and_as_a_task_s() -> None:
    class Stubborn(ValueError):
        def __new__(cls, *args: Any) -> Any:
            return super().__new__(Stubborn, *args)

    for error in errors_of(lambda: Stubborn("s")):
        assert isinstance(error, RayTaskError)
        assert isinstance(error, Stubborn)
        assert "raise make()" in str(error)


@shared
def test_an_error_of_ray_s_is_raised_by_whoever_gets_it_wherever_it_comes_from() -> None:
    @ray.remote
    def hand_on(refs: list[Any]) -> Any:
        try:
            return ray.get(refs[0])
        except RayTaskError as error:
            return error

    @ray.remote(num_returns=2)
    def two() -> Any:
        return 1, exceptions.RaySystemError("of two")

    @ray.remote
    def items() -> Iterator[Any]:
        yield exceptions.RaySystemError("an item")

    @ray.remote
    def take(value: Any) -> None: ...

    async def awaited(ref: Any) -> Any:
        return await ref

    one, other = two.remote()
    caught = hand_on.remote([fail.remote(lambda: Coded(3))])
    assert ray.get(one, timeout=PATIENCE) == 1
    for ref, kind, text in (
        (caught, Coded, "Coded: 3"),
        (take.remote(caught), Coded, "Coded: 3"),
        (ray.put(exceptions.GetTimeoutError("late")), exceptions.GetTimeoutError, "late"),
        (other, exceptions.RaySystemError, "of two"),
        (next(items.remote()), exceptions.RaySystemError, "an item"),
    ):
        with pytest.raises(kind, match=text) as found:
            ray.get(ref, timeout=PATIENCE)
        assert isinstance(found.value, exceptions.RayError)
        with pytest.raises(kind, match=text):
            asyncio.run(awaited(ref))
    inside = ray.get(ray.put([exceptions.RaySystemError("inside"), ValueError("plain")]))
    assert [str(each) for each in inside] == ["System error: inside", "plain"]
    assert type(ray.get(ray.put(ValueError("plain")))) is ValueError


@shared
def test_a_generator_exit_is_an_error_as_others_are() -> None:
    """Only an interrupt, an exit and a base class of one's own are of the process's and not of the program's."""
    for error in errors_of(lambda: GeneratorExit("left")):
        assert isinstance(error, RayTaskError)
        assert isinstance(error, GeneratorExit)
        assert error.args[0].args == ("left",)
    for error in errors_of(lambda: BaseException("base")):
        assert type(error) is RayTaskError
        assert type(error.cause) is BaseException


@shared
def test_what_refers_to_nothing() -> None:
    nil = ray.ObjectRef.nil()
    uses: list[Callable[[], Any]] = [
        lambda: ray.get(nil),
        lambda: ray.get(nil, timeout=0),
        lambda: ray.get([ray.put(1), nil], timeout=PATIENCE),
        lambda: ray.wait([nil], timeout=PATIENCE),
        lambda: ray.wait([ray.put(1), nil], num_returns=2, timeout=0),
    ]
    for use in uses:
        with pytest.raises(ValueError, match=r"(?i)\bnil"):
            use()


@shared
@pytest.mark.local_only("on a cluster what refers to nothing is refused where it is used")
def test_what_refers_to_nothing_is_refused_where_it_is_passed() -> None:
    nil = ray.ObjectRef.nil()
    uses: list[Callable[[], Any]] = [
        lambda: take.remote(nil),
        lambda: take.remote([nil]),
        lambda: take.remote(value=nil),
        lambda: ray.put([nil]),
    ]
    for use in uses:
        with pytest.raises(ValueError, match=r"(?i)\bnil"):
            use()


@pytest.mark.local_only("Ray waits for ever")
def test_what_nobody_has_made(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    unknown = ray.ObjectRef.from_random()
    uses: list[Callable[[], Any]] = [
        lambda: ray.get(unknown),
        lambda: ray.get(take.remote(unknown)),
        lambda: ray.get(take.remote([unknown]))[0].future().result(PATIENCE),
    ]
    for use in uses:
        with pytest.raises(exceptions.UnknownObjectError, match="does not exist in this session") as found:
            use()
        assert isinstance(found.value, ValueError)
        assert isinstance(found.value, exceptions.ObjectLostError)


@shared
def test_the_text_says_where_it_happened() -> None:
    class Named(_Fails):
        def __repr__(self) -> str:
            return "Named by its repr"

        def where(self) -> str:
            return str(ray.get_runtime_context().get_actor_id())

    with pytest.raises(KeyError) as found:
        ray.get(fail.remote(lambda: KeyError("k")))
    assert "fail() (pid=" in str(found.value)
    assert "ip=" in str(found.value)
    actor: Any = ray.remote(num_cpus=0)(Named).remote()
    with pytest.raises(KeyError) as found:
        ray.get(actor.plain.remote(lambda: KeyError("k")))
    for part in ("Named.plain() (pid=", "ip=", f"actor_id={ray.get(actor.where.remote())}", "repr=Named by its repr"):
        assert part in str(found.value)


@shared
def test_a_timeout_inside_a_task_is_one_outside_too() -> None:
    @ray.remote(num_cpus=0)
    class Never:
        async def answer(self) -> None:
            await asyncio.Event().wait()

    @ray.remote
    def impatient(never: Any, timeout: float) -> None:
        ray.get(never.answer.remote(), timeout=timeout)

    never = Never.remote()
    for timeout in (0, 0.01):
        with pytest.raises(exceptions.GetTimeoutError) as found:
            ray.get(impatient.remote(never, timeout), timeout=PATIENCE)
        assert isinstance(found.value, RayTaskError)
        assert isinstance(found.value, TimeoutError)


@shared
def test_what_a_failed_constructor_makes_of_every_call() -> None:
    @ray.remote(num_cpus=0)
    class Broken:
        def __init__(self) -> None:
            raise KeyError("no luck")

        def plain(self) -> None: ...

        def items(self) -> Iterator[int]:
            yield 1

    broken = Broken.remote()
    stream = broken.items.remote()
    item = next(stream)
    with pytest.raises(StopIteration):
        next(stream)
    several = broken.plain.options(num_returns=2).remote()
    for ref in (broken.plain.remote(), *several, item, broken.__ray_ready__.remote()):
        with pytest.raises(exceptions.ActorDiedError, match="no luck") as found:
            ray.get(ref, timeout=PATIENCE)
        assert found.value.actor_init_failed
        assert found.value.actor_id == broken._actor_id.hex()
        assert not isinstance(found.value, KeyError)


@shared
def test_what_a_dead_actor_makes_of_every_call() -> None:
    async def awaited(ref: Any) -> Any:
        return await ref

    @ray.remote
    def from_a_task(handle: Any) -> None:
        ray.get(handle.plain.remote(None))

    @ray.remote
    def take(value: Any) -> None: ...

    actor = Fails.remote()
    ray.kill(actor)
    call = actor.plain.remote(None)
    assert ray.wait([call], timeout=PATIENCE) == ([call], [])
    item = next(actor.items.remote(None))
    for use in (
        lambda: ray.get(call, timeout=0),
        lambda: ray.get(item, timeout=PATIENCE),
        lambda: ray.get(actor.plain.options(num_returns=2).remote(None), timeout=PATIENCE),
        lambda: ray.get(actor.__ray_ready__.remote(), timeout=PATIENCE),
        lambda: asyncio.run(awaited(actor.plain.remote(None))),
        lambda: call.future().result(PATIENCE),
        lambda: ray.get(from_a_task.remote(actor), timeout=PATIENCE),
        lambda: ray.get(take.remote(call), timeout=PATIENCE),
    ):
        with pytest.raises(RayActorError):
            use()
    assert actor.plain.options(num_returns=0).remote(None) is None
    ray.kill(actor)  # Once more: there is nothing to do.


@shared
def test_a_taken_name_is_an_error_of_its_own() -> None:
    keeper = Fails.options(name="taken").remote()
    for options in ({"name": "taken"}, {"name": "taken", "get_if_exists": False}):
        with pytest.raises(exceptions.ActorAlreadyExistsError, match="taken") as found:
            Fails.options(**options).remote()
        assert isinstance(found.value, ValueError)
    assert Fails.options(name="taken", get_if_exists=True).remote() == keeper


@pytest.mark.local_only("a cluster outlives the session, and what is said of its actors is Ray's wording")
def test_a_handle_of_an_ended_session(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    old = Fails.options(name="old").remote()
    weak = ray.get_actor("old")
    ray.shutdown()
    start(num_cpus=1)
    for handle in (old, weak):
        with pytest.raises(exceptions.ActorHandleNotFoundError, match="a session that has ended") as found:
            ray.kill(handle)
        assert isinstance(found.value, ValueError)
        with pytest.raises(RayActorError, match="class_name: _Fails\n"):
            ray.get(handle.plain.remote(None), timeout=PATIENCE)
    with pytest.raises(ValueError, match="old"):
        ray.get_actor("old")


@shared
@pytest.mark.parametrize("reserved", [True, False])
def test_an_actor_that_waits_for_its_place_in_a_group_that_is_removed(reserved: bool) -> None:
    bundles = [{"CPU": 1.0}] if reserved else [{"CPU": 1.0}] * 9
    group = ray.util.placement_group(bundles, strategy="PACK" if reserved else "STRICT_SPREAD")
    inside = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group)
    actors = [Fails.options(scheduling_strategy=inside, num_cpus=1, max_restarts=1).remote() for _ in range(2)]
    if reserved:
        calls = [actor.__ray_ready__.remote() for actor in actors]
        [ready], _ = ray.wait(calls, timeout=PATIENCE)
        if ready == calls[1]:  # On a cluster it may be the one or the other.
            actors.reverse()
    else:
        assert not group.wait(0.1)
    waiting = [actor.plain.remote(ValueError) for actor in (actors[1:] if reserved else actors)]
    assert ray.wait(waiting, timeout=0.1) == ([], waiting)
    ray.util.remove_placement_group(group)
    for call in (*waiting, actors[-1].plain.remote(ValueError)):
        with pytest.raises(exceptions.ActorUnschedulableError, match="removed"):
            ray.get(call, timeout=PATIENCE)


@pytest.mark.local_only("Ray waits for ever")
def test_what_is_asked_of_a_group_that_is_gone(start: Callable[..., Any]) -> None:
    start(num_cpus=1)
    group = ray.util.placement_group([{"CPU": 1}])
    ray.get(group.ready())
    inside = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group)
    ray.util.remove_placement_group(group)
    actor = Fails.options(scheduling_strategy=inside, num_cpus=1).remote()
    task = fail.options(scheduling_strategy=inside).remote(KeyError)
    for ref, error in (
        (actor.plain.remote(KeyError), exceptions.ActorPlacementGroupRemoved),
        (task, exceptions.TaskPlacementGroupRemoved),
    ):
        with pytest.raises(error, match=r"removed"):
            ray.get(ref, timeout=PATIENCE)
