"""Promises of Ray's documentation about actors and streams that the other files do not cover."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import ActorDiedError, RayActorError, RayTaskError, WorkerCrashedError
from tests.contract.helpers import eventually, is_running

pytestmark = pytest.mark.usefixtures("cluster")


class _Plain:
    def names(self, **names: Any) -> dict[str, Any]:
        return names

    def leave(self) -> None:
        ray.actor.exit_actor()


def test_any_name_may_be_a_keyword() -> None:
    @ray.remote
    def names(**names: Any) -> dict[str, Any]:
        return names

    given = {"self": 1, "args": 2, "kwargs": 3, "method": 4, "function": 5}
    assert ray.get(names.remote(**given)) == given
    actor = ray.remote(_Plain).remote()
    without_self = {name: value for name, value in given.items() if name != "self"}
    assert ray.get(actor.names.remote(**without_self)) == without_self
    assert ray.get(actor.__ray_call__.remote(lambda self, **names: names, **without_self)) == without_self


class _Hiding:
    """Its attributes have the names of its methods."""

    def __init__(self) -> None:
        vars(self).update(total=0, kind="mine")

    def add(self, amount: int) -> None:
        vars(self)["total"] += amount

    def total(self) -> Any:
        return vars(self)["total"]

    @classmethod
    def kind(cls) -> str:
        return cls.__name__


def test_an_attribute_with_the_name_of_a_method_does_not_hide_it_from_callers() -> None:
    actor = ray.remote(_Hiding).remote()
    actor.add.remote(3)
    assert ray.get(actor.total.remote()) == 3
    assert ray.get(actor.kind.remote()) == "_Hiding"


def test_a_handle_that_was_pickled_by_hand_keeps_nothing_alive() -> None:
    actor = ray.remote(_Hiding).remote()
    dumped = pickle.dumps(actor)
    assert ray.get(pickle.loads(dumped).total.remote()) == 0
    pid = ray.get(actor.__ray_call__.remote(lambda self: os.getpid()))
    del actor
    eventually(lambda: not is_running(pid))
    with pytest.raises(RayActorError):
        ray.get(pickle.loads(dumped).total.remote())


def test_a_dead_actor_says_why() -> None:
    killed, left = ray.remote(_Plain).remote(), ray.remote(_Plain).remote()
    ray.kill(killed)
    with pytest.raises(ActorDiedError, match=r"ray\.kill") as error:
        ray.get(killed.names.remote())
    assert error.value.actor_id == killed._actor_id.hex()
    for call in (left.leave, left.names):
        with pytest.raises(RayActorError, match=r"exit_actor\(\)"):
            ray.get(call.remote())


def _says(file: Path, text: str) -> bool:
    return file.exists() and file.read_text() == text


def test_an_actor_that_leaves_in_peace_cleans_up(tmp_path: Path) -> None:
    class Actor:
        def __init__(self, file: Path) -> None:
            self.file = file

        def _note(self, what: str) -> None:
            with self.file.open("a") as file:
                file.write(what + " ")

        def ready(self) -> None:
            atexit.register(self._note, "atexit")

        def leave(self) -> None:
            ray.actor.exit_actor()

        def __ray_shutdown__(self) -> None:
            self._note("shutdown")
            raise ValueError("is printed, and stops nothing")

        def __del__(self) -> None:
            self._note("del")

    for way in ("dropped", "leaves", "terminated"):
        file = tmp_path / way
        actor = ray.remote(Actor).remote(file)
        ray.get(actor.ready.remote())
        if way == "leaves":
            actor.leave.remote()
        elif way == "terminated":
            actor.__ray_terminate__.remote()
        del actor
        eventually(functools.partial(_says, file, "shutdown atexit del "))
    killed = ray.remote(Actor).remote(tmp_path / "killed")
    pid = ray.get(killed.__ray_call__.remote(lambda self: os.getpid()))
    ray.kill(killed)
    eventually(lambda: not is_running(pid))
    assert not (tmp_path / "killed").exists()


def test_a_constructor_whose_argument_failed() -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("no value")

    class Holder:
        def __init__(self, value: Any) -> None:
            self.value = value

        def get(self) -> Any:
            return self.value

    with pytest.raises(ActorDiedError, match="KeyError: 'no value'") as error:
        ray.get(ray.remote(Holder).remote(fail.remote()).get.remote())
    assert error.value.actor_init_failed


def test_an_async_constructor_is_awaited() -> None:
    class Connected:
        async def __init__(self, number: int) -> None:  # type: ignore[misc]
            await asyncio.sleep(0)
            self.number = number

        def get(self) -> int:
            return self.number

    class Refused:
        async def __init__(self) -> None:  # type: ignore[misc]
            raise ValueError("refused")

        def get(self) -> int:
            return 1

    assert ray.get(ray.remote(Connected).remote(7).get.remote()) == 7
    with pytest.raises(ActorDiedError, match="refused") as error:
        ray.get(ray.remote(Refused).remote().get.remote())
    assert error.value.actor_init_failed


def test_each_concurrency_group_of_an_async_actor_has_its_own_loop(tmp_path: Path) -> None:
    class Actor:
        @ray.method(concurrency_group="io")
        async def thread(self) -> int:
            return threading.get_ident()

        @ray.method(concurrency_group="io")
        def plain(self) -> int:
            return threading.get_ident()

        @ray.method(concurrency_group="compute")
        async def block(self, gate: Path) -> int:
            eventually(gate.exists)
            return threading.get_ident()

        @ray.method(concurrency_group="compute")
        async def sleep(self) -> None:
            await asyncio.sleep(1000)

        async def default(self) -> int:
            return threading.get_ident()

    actor = ray.remote(concurrency_groups={"io": 2, "compute": 1})(Actor).remote()
    gate = tmp_path / "gate"
    blocked = actor.block.remote(gate)
    io, plain, default = ray.get([actor.thread.remote(), actor.plain.remote(), actor.default.remote()])
    assert io == plain
    gate.touch()
    assert len({io, default, ray.get(blocked)}) == 3
    assert ray.get(actor.default.options(concurrency_group="io").remote()) == io
    asleep = actor.sleep.remote()
    ray.cancel(asleep)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(asleep)


def test_an_error_in_the_midst_of_a_stream(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote(max_retries=0)
    def numbers(crash: bool) -> Any:
        yield 1
        if crash:
            eventually(gate.exists)  # On a cluster an item that was not told yet dies with its process.
            os._exit(1)
        raise ValueError("no more")

    raised = numbers.remote(False)
    assert ray.get(next(raised)) == 1
    with pytest.raises(ValueError, match="no more"):
        ray.get(next(raised))
    with pytest.raises(StopIteration):
        next(raised)
    assert ray.get(raised.completed()) is None
    crashed = numbers.remote(True)
    assert ray.get(next(crashed)) == 1
    gate.touch()
    (failed,) = crashed
    for ref in (failed, crashed.completed()):
        with pytest.raises(WorkerCrashedError):
            ray.get(ref)


def test_the_next_item_of_a_stream_within_a_time(tmp_path: Path) -> None:
    @ray.remote
    def numbers() -> Any:
        eventually(gate.exists)
        yield 1

    async def next_item(timeout: float) -> Any:
        return await stream._next_async(timeout_s=timeout)

    gate = tmp_path / "gate"
    stream = numbers.remote()
    assert stream._next_sync(timeout_s=0).is_nil()
    assert asyncio.run(next_item(0)).is_nil()
    gate.touch()
    assert ray.get(asyncio.run(next_item(60))) == 1
    with pytest.raises(StopIteration):
        stream._next_sync(timeout_s=60)


def test_attributes_of_an_error_hide_the_defaults_of_its_class() -> None:
    class Failure(Exception):
        code = 0

    @ray.remote
    def fail() -> None:
        error = Failure("no")
        error.code = 7
        raise error

    with pytest.raises(Failure) as found:
        ray.get(fail.remote())
    assert isinstance(found.value, RayTaskError)
    assert found.value.code == 7


def test_what_a_handle_and_its_class_list() -> None:
    class Listed:
        @staticmethod
        def double(x: int) -> int:
            return 2 * x

        @classmethod
        def make(cls, x: int) -> str:
            return f"{cls.__name__} {x}"

        def namespace(self) -> str:
            return ray.get_runtime_context().namespace

    kind = ray.remote(Listed)
    actor: Any = kind.options(namespace="elsewhere", name="listed").remote()
    methods = ["double", "make", "namespace"]
    assert [name for name in dir(kind) if not name.startswith("_")] == sorted([*methods, "bind", "options", "remote"])
    assert set(dir(actor)) == {*methods, "__init__", "__ray_call__", "__ray_ready__", "__ray_terminate__"}
    assert [name for name in dir(actor.double) if not name.startswith("_")] == ["bind", "options", "remote"]
    assert (kind.double(2), kind.make(3)) == (4, "Listed 3")
    assert ray.get([actor.double.remote(2), actor.make.remote(3)]) == [4, "Listed 3"]
    # Its name is in another namespace; what it asks for is looked for in the session's, as everywhere.
    assert ray.get(actor.namespace.remote()) == "contract"
    with pytest.raises(NotImplementedError, match="graph"):
        actor.double.bind(2)
