"""Promises of references: futures of them, who keeps an object alive, which arguments are replaced."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray.events import ObjectFreed
from jupyter_ray.exceptions import GetTimeoutError, TaskCancelledError
from tests.contract.helpers import PATIENCE, Log, eventually

pytestmark = pytest.mark.usefixtures("cluster")


@ray.remote(num_cpus=0)
def after(gate: Path, value: Any) -> Any:
    eventually(gate.exists)
    return value


@ray.remote(num_cpus=0)
def fail() -> None:
    raise KeyError("k")


@ray.remote(num_cpus=0)
class Holder:
    def hold(self, refs: list[Any]) -> None:
        self.refs = refs

    def read(self) -> list[int]:
        return [int(np.sum(value)) for value in ray.get(self.refs)]

    async def await_them(self) -> list[int]:
        return [int(np.sum(await ref)) for ref in self.refs]

    def pass_on(self) -> list[Any]:
        return self.refs

    def drop(self) -> None:
        del self.refs


class Thread:
    """As `Holder`, without a loop."""

    hold, read, drop = (getattr(Holder.__ray_metadata__.modified_class, name) for name in ("hold", "read", "drop"))


def test_a_future_that_is_cancelled_leaves_the_task_alone(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ref = after.remote(gate, 1)
    future = ref.future()
    assert (future.running(), future.done()) == (False, False)
    assert future.cancel()
    assert future.cancelled()

    async def cancel_another() -> None:
        waiting = ref.as_future()
        assert isinstance(waiting, asyncio.Future)
        waiting.cancel()
        task = asyncio.ensure_future(_await(ref))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_await(ref), 0.01)

    asyncio.run(cancel_another())
    assert ray.wait([ref], timeout=0)[0] == []
    gate.touch()
    assert ray.get(ref, timeout=PATIENCE) == 1
    assert ref.future().result(PATIENCE) == 1
    assert not ref.future().running()


async def _await(ref: Any) -> Any:
    return await ref


def test_what_asyncio_does_with_references(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def main() -> None:
        late, early = after.remote(gate, "late"), ray.put("early")
        done, pending = await asyncio.wait(
            [asyncio.ensure_future(_await(late)), early.as_future()], return_when=asyncio.FIRST_COMPLETED
        )
        assert ([each.result() for each in done], len(pending)) == (["early"], 1)
        gate.touch()
        in_turn = [await each for each in asyncio.as_completed([_await(late), _await(early)])]
        assert sorted(in_turn) == ["early", "late"]
        found: Any = await asyncio.gather(late, fail.remote(), return_exceptions=True)
        assert found[0] == "late"
        assert isinstance(found[1], KeyError)
        assert await late == await late == "late"
        assert await asyncio.to_thread(ray.get, late) == "late"

    asyncio.run(main())


def test_futures_of_a_cancelled_and_of_a_failed_task(tmp_path: Path) -> None:
    waiting = after.remote(tmp_path / "never", 1)
    futures = [waiting.future(), fail.remote().future()]
    ray.cancel(waiting, force=True)
    concurrent.futures.wait(futures, PATIENCE)
    assert isinstance(futures[0].exception(), TaskCancelledError)
    assert isinstance(futures[1].exception(), KeyError)


def test_whoever_asks_to_be_told_is_told(tmp_path: Path) -> None:
    told: list[Any] = []
    gate = tmp_path / "gate"
    after.remote(gate, "the value")._on_completed(told.append)
    fail.remote()._on_completed(told.append)
    gate.touch()
    eventually(lambda: len(told) == 2)
    assert "the value" in told
    assert any(isinstance(each, Exception) for each in told)


def test_ready_where_it_is_need_not_be_fetched(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    refs = [after.remote(gate, 1), ray.put(np.zeros(200_000)), fail.remote()]
    assert ray.wait(refs, num_returns=2, timeout=PATIENCE, fetch_local=False) == (refs[1:], refs[:1])
    assert ray.wait(refs, num_returns=3, timeout=0, fetch_local=False)[1] == refs[:1]
    gate.touch()
    assert ray.wait(refs, num_returns=3, timeout=PATIENCE, fetch_local=False) == (refs, [])


@pytest.mark.parametrize("kind", [Holder, ray.remote(num_cpus=0)(Thread)], ids=["looping", "plain"])
@pytest.mark.local_only("Ray has no events for the life of an object")
def test_an_object_lives_as_long_as_any_process_refers_to_it(kind: Any) -> None:
    holder, other = kind.remote(), kind.remote()

    def freed(name: str) -> bool:
        return bool(log.find(ObjectFreed, object=name))

    with Log() as log:
        refs = [ray.put(np.ones(200_000)), ray.remote(np.ones).remote(200_000), ray.put(2)]
        names = [ref.hex() for ref in refs]
        ray.get([holder.hold.remote(refs), other.hold.remote(refs[:1])])
        del refs
        gc.collect()
        assert ray.get(holder.read.remote()) == [200_000, 200_000, 2]
        ray.get(holder.drop.remote())
        eventually(lambda: freed(names[1]) and freed(names[2]))
        assert not freed(names[0]), "the other actor has it"
        assert ray.get(other.read.remote()) == [200_000]
        del other
        eventually(lambda: freed(names[0]))


def test_references_go_from_actor_to_actor() -> None:
    first, second = Holder.remote(), Holder.remote()
    ray.get(first.hold.remote([ray.put(np.ones(200_000)), ray.remote(len).remote("abc")]))
    ray.get(second.hold.remote(ray.get(first.pass_on.remote())))
    ray.get(first.drop.remote())
    assert ray.get([second.read.remote(), second.await_them.remote()]) == [[200_000, 3]] * 2


def test_a_reference_that_was_pickled_by_hand_keeps_its_object_for_ever() -> None:
    ref = ray.put(np.ones(200_000))
    text = ray.cloudpickle.dumps(ref)
    del ref
    gc.collect()
    for _ in range(3):  # What would be freed is freed by now.
        ray.get(ray.put(1))
    assert ray.get(ray.cloudpickle.loads(text), timeout=PATIENCE).sum() == 200_000


class _Tells:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.made = _kinds(args, kwargs)

    def constructor(self) -> Any:
        return self.made

    def method(self, *args: Any, **kwargs: Any) -> Any:
        return _kinds(args, kwargs)

    def items(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield _kinds(args, kwargs)


class _TellsInALoop(_Tells):
    async def coroutine(self, *args: Any, **kwargs: Any) -> Any:
        return _kinds(args, kwargs)


def _kinds(args: Any, kwargs: Any) -> Any:
    found = [*args, *(value for _, value in sorted(kwargs.items()))]
    return [type(each[0] if isinstance(each, list) else each).__name__ for each in found]


def test_references_are_replaced_at_top_level_only_wherever_they_are_arguments() -> None:
    ref = ray.put(1)
    args, kwargs = (ref, [ref]), {"a": ref, "b": [ref]}
    expected = ["int", "ObjectRef", "int", "ObjectRef"]

    @ray.remote
    def task(*args: Any, **kwargs: Any) -> Any:
        return _kinds(args, kwargs)

    @ray.remote
    def by_default(x: Any = ref) -> str:
        return type(x).__name__

    assert ray.get(task.remote(*args, **kwargs)) == expected
    assert ray.get(task.options(num_cpus=0.5).remote(*args, **kwargs)) == expected
    assert ray.get(task._remote(args=args, kwargs=kwargs)) == expected
    assert ray.get(by_default.remote()) == "ObjectRef", "it is no argument of the call"
    for kind in (_Tells, _TellsInALoop):
        actor: Any = ray.remote(num_cpus=0)(kind).remote(*args, **kwargs)
        assert ray.get([actor.constructor.remote(), actor.method.remote(*args, **kwargs)]) == [expected] * 2
        assert ray.get(next(actor.items.remote(*args, **kwargs))) == expected
    assert ray.get(actor.coroutine.remote(*args, **kwargs)) == expected


class _Appends:
    def append(self, first: list[int], second: list[int], *, third: list[int]) -> list[int]:
        first.append(2)
        third.append(3)
        return second


class _AppendsInALoop:
    async def append(self, first: list[int], second: list[int], *, third: list[int]) -> list[int]:
        return _Appends().append(first, second, third=third)


def test_each_place_of_a_reference_has_a_value_of_its_own() -> None:
    @ray.remote
    def made() -> list[int]:
        return [1]

    append = ray.remote(_Appends().append)
    actor: Any = ray.remote(num_cpus=0)(_Appends).remote()
    looping: Any = ray.remote(num_cpus=0)(_AppendsInALoop).remote()
    for ref in (ray.put([1]), made.remote()):
        for call in (append, actor.append, looping.append):
            for _ in range(5):  # By whatever way a call goes.
                assert ray.get(call.remote(ref, ref, third=ref), timeout=PATIENCE) == [1]
        first, second, third = ray.get([ref, ref, ref])
        first.append(2)
        third.append(3)
        assert second == ray.get(ref) == [1]
    late = after.remote(Path("/"), [1])
    waiting = [append.remote(late, late, third=late), actor.append.remote(late, late, third=late)]
    assert ray.get(waiting, timeout=PATIENCE) == [[1], [1]]
    array = ray.put(np.zeros(200_000))
    one, other = ray.get([array, array])
    assert one is not other
    assert not other.flags.writeable


def test_a_value_that_is_given_twice_is_two() -> None:
    class Box:
        def __init__(self) -> None:
            self.items = [ray.put("kept")]
            self.array = np.ones(200_000)

    @ray.remote
    def change(first: Any, second: Any, third: Any) -> tuple[Any, bool]:
        getattr(first, "items", first).append(1)
        return second, second is third

    box = Box()
    assert ray.get(change.remote([], [], third=[])) == ([], False)
    same: list[int] = []
    assert ray.get(change.remote(same, same, third=same)) == ([], False)
    assert same == []
    second, alike = ray.get(change.remote(box, box, third=box))
    assert not alike
    assert ray.get(second.items) == ["kept"]
    assert second.array.sum() == 200_000
    assert not second.array.flags.writeable
    assert len(box.items) == 1
    stream = (each for each in same)
    with pytest.raises(TypeError, match="argument"):
        change.remote(stream, stream, third=None)


@pytest.mark.parametrize("size", [1, 100_000])
def test_arguments_that_share_a_part_are_copies_each(size: int) -> None:
    class Box:
        def __init__(self, inner: Any) -> None:
            self.inner = inner
            self.array = np.ones(size)

    @ray.remote
    def change(first: Any, second: Any, *, third: Any) -> tuple[Any, ...]:
        first.append("changed")
        [inner] = second
        return inner == list(range(size)), third.inner == inner, third.inner is inner, third.array.sum() == size

    part = list(range(size))
    assert ray.get(change.remote(part, [part], third=Box(part))) == (True, True, False, True)
    assert ray.get(change.remote([], [part], third=Box(part))) == (True, True, False, True)


@pytest.mark.local_only("Ray has no events for the life of an object")
def test_an_argument_that_is_given_twice_is_freed_all_the_same() -> None:
    @ray.remote
    def use(*values: Any) -> int:
        return len(values)

    with Log() as log:
        large, holds = ray.put(np.ones(200_000)), ray.put([ray.put(1)])
        names = [large.hex(), ray.get(holds)[0].hex(), holds.hex()]
        assert ray.get(use.remote(large, holds, large, holds)) == 4
        del large, holds
        eventually(lambda: {event.object for event in log.find(ObjectFreed)} >= set(names))


@pytest.mark.parametrize("timeout", [np.float32(PATIENCE), np.int64(PATIENCE), np.float16(0), Fraction(1, 2)])
def test_any_number_limits_a_wait(tmp_path: Path, timeout: Any) -> None:
    here = tmp_path
    ref = ray.put(1)
    assert ray.get(ref, timeout=timeout) == 1
    assert ray.wait([ref], timeout=timeout) == ([ref], [])
    assert ray.get(after.remote(here, 5), timeout=np.float32(PATIENCE)) == 5


def test_many_threads_share_a_reference(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ref, failed = after.remote(gate, 1), fail.remote()

    def get(timeout: float | None) -> Any:
        try:
            return ray.get(ref, timeout=timeout)
        except GetTimeoutError:
            return "late"

    def get_failed() -> bool:
        with pytest.raises(KeyError):
            ray.get([ref, failed])
        return True

    with ThreadPoolExecutor(8) as pool:
        late = [pool.submit(get, timeout) for timeout in (0, 0.01)]
        waiting = [pool.submit(get, timeout) for timeout in (None, PATIENCE)]
        failing = [pool.submit(get_failed) for _ in range(2)]
        assert [each.result(PATIENCE) for each in (*late, *failing)] == ["late", "late", True, True]
        gate.touch()
        assert [each.result(PATIENCE) for each in waiting] == [1, 1]


def test_a_put_value_is_what_it_was_whatever_is_done_later() -> None:
    @ray.remote
    def changed(value: list[int]) -> list[int]:
        value.append(3)
        return value

    value = [1, 2]
    ref = ray.put(value)
    assert ray.get(changed.remote(ref)) == [1, 2, 3]
    first = ray.get(ref)
    first.append(4)
    value.append(5)
    assert ray.get(ref) == [1, 2]
    array = np.zeros(200_000)
    stored = ray.put(array)
    array[0] = 1
    assert ray.get(stored)[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        ray.get(stored)[0] = 1


def test_the_first_failure_is_raised_though_others_are_late(tmp_path: Path) -> None:
    pending = after.remote(tmp_path / "gate", 1)
    begun = time.monotonic()

    @ray.remote
    def from_a_task(refs: list[Any]) -> None:
        ray.get([refs[0], fail.remote()])

    class Waits:
        def plain(self, refs: list[Any]) -> None:
            ray.get([refs[0], fail.remote()])

    actor: Any = ray.remote(num_cpus=0)(Waits).remote()
    uses: list[Callable[[], Any]] = [
        lambda: ray.get([pending, fail.remote()]),
        lambda: ray.get(from_a_task.remote([pending])),
        lambda: ray.get(actor.plain.remote([pending])),
    ]
    for use in uses:
        with pytest.raises(KeyError):
            use()
    assert time.monotonic() - begun < PATIENCE, "it is not late yet"
    (tmp_path / "gate").touch()
    assert ray.get(pending) == 1
