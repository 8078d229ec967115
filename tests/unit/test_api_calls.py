"""``get``, ``put``, ``wait``, ``cancel``, ``kill``, ``get_actor``: the checks, on an engine in this process."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from tests.fakes import FakeEngine


@ray.remote
def echo(x: Any) -> Any:
    return x


@ray.remote
class Holder:
    def get(self) -> int:
        return 1


def test_get_keeps_order_and_duplicates(engine: FakeEngine) -> None:
    a, b = echo.remote("a"), echo.remote("b")
    assert ray.get([b, a, b]) == ["b", "a", "b"]
    assert ray.get([]) == []
    assert ray.get(a, timeout=0) == "a"
    assert ray.get(a, timeout=-1) == "a"


def test_get_wants_references(engine: FakeEngine) -> None:
    for wrong in (1, (echo.remote(1),), None, {"a": 1}):
        with pytest.raises(ValueError, match="must either be an ObjectRef or a list of ObjectRefs"):
            ray.get(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Attempting to call `get` on the value 1"):
        ray.get([echo.remote(1), 1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="nonnegative"):
        ray.get(echo.remote(1), timeout=-2)


def test_get_is_told_what_to_write_for_a_series_of_references(engine: FakeEngine) -> None:
    ref = ray.put(1)
    for several in (np.array([ref, ref], dtype=object), {ref}, (each for each in [ref])):
        with pytest.raises(ValueError, match=r"Write ray\.get\(list\(\.\.\.\)\) for what it holds\.$"):
            ray.get(several)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"It is already a value\.$"):
        ray.get(np.zeros(2))  # type: ignore[call-overload]


def test_get_raises_the_tasks_error_and_the_timeout(engine: FakeEngine) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("k")

    with pytest.raises(KeyError) as caught:
        ray.get(fail.remote())
    assert isinstance(caught.value, exceptions.RayTaskError)
    engine.hold()
    with pytest.raises(TimeoutError):
        ray.get(echo.remote(1), timeout=0)


def test_put(engine: FakeEngine) -> None:
    value = [1]
    ref = ray.put(value)
    value.append(2)
    assert ray.get(ref) == [1]
    with pytest.raises(TypeError, match="not allowed"):
        ray.put(ref)
    assert ray.get(ray.get(ray.put([ref]))) == [[1]]


def test_wait_splits_in_the_order_given(engine: FakeEngine) -> None:
    done = [echo.remote(n) for n in range(3)]
    engine.hold()
    pending = [echo.remote(n) for n in range(2)]
    mixed = [pending[0], done[2], done[0], pending[1], done[1]]
    assert ray.wait(mixed, num_returns=3) == ([done[2], done[0], done[1]], pending)
    ready, rest = ray.wait(mixed, num_returns=1)
    assert len(ready) == 1
    assert rest == [ref for ref in mixed if ref not in ready]
    assert ray.wait(mixed, num_returns=5, timeout=0)[1] == pending
    assert ray.wait([]) == ([], [])


def test_what_was_meant_is_said(engine: FakeEngine) -> None:
    ref: Any = echo.remote(1)
    wrong: Any
    for wrong, said in (
        (echo.remote, "with parentheses"),
        (echo, r"Call it first, with \.remote"),
        ((ref,), r"ray\.get\(list\(\.\.\.\)\)"),
        (iter([ref]), r"ray\.get\(list\(\.\.\.\)\)"),
        ({"a": ref}, r"list\(d\.values\(\)\)"),
        (1, "already a value"),
        ("text", "already a value"),
    ):
        with pytest.raises(ValueError, match=said):
            ray.get(wrong)
    for wrong, said in (([[ref]], "one flat list"), ([echo.remote], "with parentheses"), ([2], "already a value")):
        with pytest.raises(TypeError, match=said):
            ray.get(wrong)
    for wrong, said in ((ref, "for one reference too"), ((ref,), r"ray\.wait\(list"), (echo.remote, "parentheses")):
        with pytest.raises(TypeError, match=said):
            ray.wait(wrong)
    with pytest.raises(AttributeError, match=r"no attribute 'shape': it stands for a value, which ray\.get\(ref\)"):
        ref.shape  # noqa: B018
    told = pytest.raises(AttributeError, match=r"asyncio\.ensure_future\(ref\)")
    with told if sys.version_info >= (3, 11) else contextlib.nullcontext():  # Python 3.10 makes futures by itself.
        asyncio.run(_wait_for(ref))
    assert not hasattr(ref, "__array__")
    for ask, asked in ((ray.get, ref), (ray.wait, [ref])):
        given: Any
        for given, error, said in (("soon", TypeError, "a number of seconds"), (math.nan, ValueError, "nonnegative")):
            with pytest.raises(error, match=said):
                ask(asked, timeout=given)


async def _wait_for(ref: Any) -> None:
    await asyncio.wait([ref])


def test_wait_wants_different_references(engine: FakeEngine) -> None:
    ref = echo.remote(1)
    for wrong in (ref, (ref,), 1, [1], [ref, None]):
        with pytest.raises(TypeError, match=r"expected a list of ray\.ObjectRef"):
            ray.wait(wrong)  # type: ignore[arg-type]
    for options in ({"num_returns": 0}, {"num_returns": -1}, {"num_returns": 2}, {"timeout": -1}):
        with pytest.raises(ValueError, match=r"nonnegative|num_returns|Invalid number"):
            ray.wait([ref], **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unique"):
        ray.wait([ref, ref])
    for wrong in ("1", [1], None):
        with pytest.raises(TypeError, match="num_returns must be an int"):
            ray.wait([ref], num_returns=wrong)  # type: ignore[arg-type]


def test_wait_looks_again_at_what_a_wait_has_left_and_the_program_has_changed(engine: FakeEngine) -> None:
    refs = [echo.remote(n) for n in range(4)]
    for wrong, error in ((refs, ValueError), (None, TypeError), (7, TypeError)):
        _, left = ray.wait(refs)
        left[0] = left[1] if wrong is refs else wrong
        with pytest.raises(error):
            ray.wait(left)
    (one,), left = ray.wait(refs)
    left[0] = one
    assert ray.wait(left, num_returns=3) == (left, [])
    seen: list[Any] = []
    left = refs
    while left:
        ready, left = ray.wait(left)
        seen += ready
        assert [ref for ref in refs if ref not in seen] == left
    assert len(seen) == 4


def test_wait_takes_streams(engine: FakeEngine) -> None:
    @ray.remote
    def count() -> Iterator[int]:
        yield 1

    stream, ref = count.remote(), echo.remote(1)
    assert ray.wait([stream, ref], num_returns=2) == ([stream, ref], [])
    assert ray.wait([stream, ref], num_returns=1) == ([stream], [ref])
    assert ray.get(stream) is stream


def test_cancel(engine: FakeEngine) -> None:
    @ray.remote
    def count() -> Iterator[int]:
        yield 1

    ref, stream = echo.remote(1), count.remote()
    ray.cancel(ref, force=True)
    ray.cancel(stream, recursive=False)
    assert engine.calls[-2:] == [
        ("cancel", ref.task_id().binary(), True, True),
        ("cancel", stream.task_id().binary(), False, False),
    ]
    for wrong in (1, [ref], None, Holder.remote()):
        with pytest.raises(TypeError, match="only supported for object refs"):
            ray.cancel(wrong)


def test_kill(engine: FakeEngine) -> None:
    holder = Holder.remote()
    ray.kill(holder)
    assert engine.calls[-1] == ("kill", holder._actor_id.binary(), True)
    with pytest.raises(exceptions.RayActorError):
        ray.get(holder.get.remote())
    for wrong in (1, Holder, echo.remote(1)):
        with pytest.raises(ValueError, match="only supported for actors"):
            ray.kill(wrong)


def test_get_actor_wants_a_name(engine: FakeEngine) -> None:
    for name, namespace in (("", None), ("a", ""), ("absent", None)):
        with pytest.raises(ValueError, match=r"non-empty|namespace|absent"):
            ray.get_actor(name, namespace)
    with pytest.raises(TypeError):
        ray.get_actor(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ray.get_actor("a", 3)  # type: ignore[arg-type]


def test_blocking_in_an_async_actor_is_warned_about_once(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_ray.api import mistakes

    monkeypatch.setattr(mistakes, "_warned", set())

    @ray.remote
    class Async:
        async def m(self, refs: list[Any]) -> Any:
            ray.wait(refs)
            return ray.get(refs[0])

    actor = Async.remote()
    for _ in range(2):
        assert ray.get(actor.m.remote([ray.put(1)])) == 1
    texts = [record.getMessage() for record in caplog.records]
    assert [text.split(" inside")[0] for text in texts] == ["Using blocking ray.wait", "Using blocking ray.get"]


def test_a_dead_runtime_is_told(engine: FakeEngine) -> None:
    ref = echo.remote(1)
    engine.die()
    for call in (lambda: ray.get(ref), lambda: echo.remote(1), lambda: ray.put(1), lambda: Holder.remote()):
        with pytest.raises(exceptions.RaySystemError, match=r"init\(\)"):
            call()
