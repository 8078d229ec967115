"""Calls that are made again and again with the same arguments, which travel without a header."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import os
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import events as ev
from jupyter_ray.engine import registry
from tests.contract.helpers import Log, eventually

pytestmark = pytest.mark.usefixtures("session")


def test_many_calls_without_arguments_are_calls_of_the_newest_definition() -> None:
    scope: dict[str, Any] = {"ray": ray, "__name__": "__main__"}
    for version in range(3):
        exec(f"@ray.remote\ndef f(more=0):\n    return {version} + more", scope)
        f = scope["f"]
        assert ray.get([f.remote() for _ in range(300)]) == [version] * 300
        assert ray.get([f.remote(), f.remote(5), f.remote()]) == [version, version + 5, version]

    @ray.remote
    def outer() -> tuple[list[int], str, str]:
        return ray.get([f.remote() for _ in range(100)]), *ray.get([named.remote(), parent.remote()])

    @ray.remote
    def named() -> str:
        return str(ray.get_runtime_context().get_task_name())

    @ray.remote
    def parent() -> str:
        return ray.get(me.remote())

    @ray.remote
    def me() -> str:
        return ray.get_runtime_context().get_node_id()

    assert ray.get(outer.remote())[0] == [2] * 100
    assert {name.rpartition(".")[2] for name in ray.get([named.remote() for _ in range(100)])} == {"named"}


@ray.remote(max_restarts=-1, max_task_retries=-1)
class Asked:
    def __init__(self) -> None:
        self.calls = 0

    def count(self, by: int = 1) -> int:
        self.calls += by
        return self.calls

    def about(self) -> tuple[str, str | None, int]:
        context = ray.get_runtime_context()
        return str(context.get_task_name()), context.get_task_id(), os.getpid()


@ray.remote
class AskedInTurns:
    async def about(self) -> tuple[str, str | None, int]:
        context = ray.get_runtime_context()
        return str(context.get_task_name()), context.get_task_id(), os.getpid()


@pytest.mark.parametrize("kind", [Asked, AskedInTurns])
def test_repeated_calls_of_a_method_are_told_apart(kind: Any) -> None:
    actor, name = kind.remote(), "Asked" if kind is Asked else "AskedInTurns"

    @ray.remote
    def ask() -> Any:
        return ray.get([actor.about.remote() for _ in range(200)]), ray.get_runtime_context().get_task_id()

    with Log() as log:
        refs = [actor.about.remote() for _ in range(200)]
        answers = ray.get(refs)
        assert [each[:2] for each in answers] == [(f"{name}.about", ref.task_id().hex()) for ref in refs]
        (asked, parent), (others, other) = ray.get([ask.remote(), ask.remote()])
        of = (
            {task: parent for _, task, _ in asked}
            | {task: other for _, task, _ in others}
            | dict.fromkeys((task for _, task, _ in answers), None)
        )
        assert len(of) == 600
        eventually(lambda: sum(each.task in of for each in log.find(ev.TaskFinished)) == 600)
        eventually(lambda: {each.task: each.parent for each in log.find(ev.TaskSubmitted) if each.task in of} == of)


def test_repeated_calls_of_an_actor_that_is_made_again() -> None:
    actor = Asked.remote()
    assert ray.get([actor.count.remote(2) for _ in range(200)])[-1] == 400
    assert all(way._inside[1] for way in actor._ray_ref._bound.values())  # They went without a header.
    _, _, pid = ray.get([actor.about.remote() for _ in range(200)])[-1]
    ray.kill(actor, no_restart=False)
    eventually(lambda: {each[2] for each in ray.get([actor.about.remote() for _ in range(100)])}.isdisjoint({pid}))
    assert ray.get([actor.count.remote(2) for _ in range(100)])[-1] == 200
    assert ray.get([actor.count.remote() for _ in range(2)]) == [201, 202]


def test_values_are_read_and_stored_past_what_is_wrapped_around_rays_functions() -> None:
    import ray as native

    engine: Any = registry.current()
    for ours, rays in ((engine._get, native.get), (engine._put, native.put)):
        assert (ours.__module__, ours.__name__) == ("ray._private.worker", rays.__name__)
        assert ours is not rays
        assert not hasattr(ours, "__wrapped__")


def test_repeated_calls_fail_and_print_as_others_do() -> None:
    @ray.remote
    def fails() -> None:
        print("before it fails")
        raise ValueError("each time")

    @ray.remote
    class Fails:
        def now(self) -> None:
            print("before it fails")
            raise ValueError("each time")

    actor = Fails.remote()
    with Log() as log:
        refs = [fails.remote() for _ in range(100)] + [actor.now.remote() for _ in range(100)]
        for ref in refs:
            with pytest.raises(ValueError, match="each time"):
                ray.get(ref)
        lines = eventually(lambda: "".join(each.text for each in log.find(ev.LogLines)).count("before it fails") == 200)
    assert lines
