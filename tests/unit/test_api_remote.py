"""Remote functions, on an engine in this process."""

from __future__ import annotations

import asyncio
import functools
import math
import pickle
import timeit
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pytest

import jupyter_ray as ray
from jupyter_ray.api.remote import RemoteFunction
from jupyter_ray.engine import registry
from tests.fakes import FakeEngine


def test_a_call_is_a_task(engine: FakeEngine) -> None:
    @ray.remote
    def add(a: int, b: int = 1) -> int:
        """Add."""
        return a + b

    assert ray.get(add.remote(1)) == 2
    assert ray.get(add.remote(1, b=5)) == 6
    assert ray.get(add.remote(add.remote(1), 3)) == 5
    assert add.__doc__ == "Add."
    assert repr(add) == f"<RemoteFunction {__name__}.{engine.calls[0][1]}>"
    assert engine.calls[0][1].endswith("add")


def test_options_are_checked_when_they_are_written() -> None:
    with pytest.raises(ValueError, match="Valid ones are"):
        ray.remote(num_cpu=1)(lambda: None)
    with pytest.raises(ValueError, match="num_cpu"):
        ray.remote(num_cpu=1)
    with pytest.raises(TypeError):
        ray.remote(num_cpus="1")(lambda: None)
    with pytest.raises(ValueError, match="max_restarts"):
        ray.remote(max_restarts=1)(lambda: None)

    @ray.remote
    def f() -> None: ...

    with pytest.raises(ValueError, match="Valid ones are"):
        f.options(lifetime="detached")
    with pytest.raises(TypeError):
        f.options(num_cpus="1")
    with pytest.raises(ValueError, match="max_calls"):
        f.options(max_calls=1)


def test_options_give_a_copy(engine: FakeEngine) -> None:
    @ray.remote(num_cpus=2, name="first")
    def f() -> int:
        return 1

    g = f.options(num_cpus=3)
    assert ray.get([f.remote(), g.remote()]) == [1, 1]
    assert [call[4].num_cpus for call in engine.calls] == [2, 3]
    assert [call[4].name for call in engine.calls] == ["first", "first"]
    assert ray.get(f._remote(args=[], num_returns=1)) == 1


def test_the_decorator_with_empty_parentheses_or_arguments_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no parentheses"):
        ray.remote()
    with pytest.raises(AssertionError, match="no parentheses"):
        ray.remote(1, num_cpus=1)  # type: ignore[call-overload]
    with pytest.raises(AssertionError, match="no parentheses"):
        ray.remote(1)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="function or a class"):
        ray.remote(num_cpus=1)(1)


def test_a_remote_function_is_not_called_nor_decorated_again() -> None:
    @ray.remote
    def f() -> None: ...

    with pytest.raises(TypeError, match=r"f\.remote\(\)"):
        f()
    with pytest.raises(TypeError, match="remote already"):
        ray.remote(f)


def test_async_functions_are_no_tasks() -> None:
    async def f() -> None: ...

    with pytest.raises(ValueError, match="async def"):
        ray.remote(f)


@pytest.mark.parametrize(
    ("function", "args", "value"),
    [
        (math.sqrt, (4,), 2),
        (len, ("abc",), 3),
        (min, (3, 1, 2), 1),
        (functools.partial(pow, 2), (3,), 8),
        (str.upper, ("a",), "A"),
        (functools.reduce, (max, [1, 3, 2]), 3),
    ],
    ids=repr,
)
def test_anything_callable(engine: FakeEngine, function: Callable[..., Any], args: Any, value: Any) -> None:
    assert ray.get(ray.remote(function).remote(*args)) == value


def test_an_object_that_can_be_called(engine: FakeEngine) -> None:
    class Twice:
        def __call__(self, x: int) -> int:
            return 2 * x

    assert ray.get(ray.remote(Twice()).remote(4)) == 8
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        ray.remote(Twice()).remote()


def test_wrong_arguments_are_told_at_the_call(engine: FakeEngine) -> None:
    @ray.remote
    def f(a: int, b: int = 1) -> None: ...

    for args, kwargs in [((), {}), ((1, 2, 3), {}), ((1,), {"c": 1}), ((1,), {"a": 1})]:
        with pytest.raises(TypeError, match=r"f\(\) "):
            f.remote(*args, **kwargs)
    assert not engine.calls


def test_the_shapes_of_returns(engine: FakeEngine) -> None:
    def f() -> tuple[int, int]:
        return 1, 2

    assert ray.remote(num_returns=0)(f).remote() is None
    assert ray.get(ray.remote(f).remote()) == (1, 2)
    assert ray.get(ray.remote(num_returns=2)(f).remote()) == [1, 2]
    assert ray.get(ray.remote(f).options(num_returns=2).remote()) == [1, 2]


def test_a_generator_streams(engine: FakeEngine) -> None:
    @ray.remote
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    stream = count.remote(3)
    assert isinstance(stream, ray.ObjectRefGenerator)
    assert [ray.get(ref) for ref in stream] == [0, 1, 2]
    assert ray.get(count.options(num_returns=2).remote(2)) == [0, 1]

    async def consume() -> list[int]:
        return [await ref async for ref in count.remote(2)]

    assert asyncio.run(consume()) == [0, 1]

    @ray.remote
    def plain() -> None: ...

    with pytest.raises(ValueError, match="only be used with generator functions"):
        plain.options(num_returns="streaming")


def test_functions_travel_by_id_inside_an_engine(engine: FakeEngine) -> None:
    offset = 10

    @ray.remote
    def inner(x: int) -> int:
        return x + offset

    @ray.remote
    def outer(function: Any, x: int) -> int:
        value: int = ray.get(function.options(num_cpus=2).remote(x))
        return value

    assert ray.get(outer.remote(inner, 1)) == 11
    assert engine.calls[-1][4].num_cpus == 2
    back = ray.get(ray.put([inner]))[0]
    assert back is inner  # The process that made it gets its own.


def test_functions_pickled_by_hand_carry_their_code(engine: FakeEngine) -> None:
    @ray.remote(num_cpus=3)
    def f(x: int) -> int:
        return x + 1

    data = cloudpickle.dumps(f)
    from jupyter_ray.api import remote

    remote._known.clear()  # As in another process.
    back: RemoteFunction[int] = pickle.loads(data)
    assert back is not f
    assert ray.get(back.remote(1)) == 2
    assert engine.calls[-1][4].num_cpus == 3
    with pytest.raises(TypeError, match="missing a required argument"):
        back.remote()


def test_recursion_by_name(engine: FakeEngine) -> None:
    @ray.remote
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * ray.get(factorial.remote(n - 1))

    assert ray.get(factorial.remote(5)) == 120
    assert isinstance(pickle.loads(cloudpickle.dumps(factorial)), RemoteFunction)


def test_an_invocation_decorator_wraps_the_call(engine: FakeEngine) -> None:
    def invocation_decorator(submit: Callable[..., Any]) -> Callable[..., Any]:
        return lambda args, kwargs: ("wrapped", submit([2 * each for each in args], kwargs))

    def double(function: Any) -> Any:
        function.__ray_invocation_decorator__ = invocation_decorator
        return function

    @ray.remote
    @double
    def f(x: int) -> int:
        return x

    word, ref = f.remote(4)
    assert (word, ray.get(ref)) == ("wrapped", 8)


def test_a_call_costs_little() -> None:
    class Nothing:
        def submit(self, *args: Any) -> list[None]:
            return [None]

    @ray.remote
    def f(x: int) -> None: ...

    nothing: Any = Nothing()
    registry.set_current(nothing)
    try:
        seconds = min(timeit.repeat(lambda: f.remote(1), number=2000, repeat=20)) / 2000
    finally:
        registry.set_current(None)
    assert seconds < 10e-6, f"{seconds * 1e6:.2f} µs"  # About 0.4 µs on an idle machine; the limit is 3.


def test_a_warning_names_the_line_of_the_program() -> None:
    """Each line has its own: Python shows one of ours once, whoever is meant."""

    def items() -> Iterator[int]:
        yield 1

    def program() -> None:
        ray.remote(runtime_env={"FLAG": 1})(items)
        ray.remote(num_returns="dynamic")(items)
        ray.remote(items).options(num_returns="dynamic")

    with pytest.warns() as warned:
        program()
    lines = [each.lineno for each in warned if each.filename == __file__]
    assert len(lines) == len(warned) == len(set(lines)) == 3
