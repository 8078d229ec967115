"""Buffers as arguments: read-only by default, private copies with ``writable``, and back again with ``inout``."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray

SMALL, LARGE = 8, 1 << 17
HINT = r"(?s)writable=.*inout="


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    ray.init(num_cpus=2, num_gpus=0, log_to_driver=False)
    yield
    ray.shutdown()


def set_first(a: Any, value: Any = 9) -> Any:
    a[0] = value
    return a


def write(a: Any, value: Any = 9) -> None:
    a[0] = value


def refuse(a: Any) -> str:
    """Try to write, and tell how that ended."""
    try:
        a[0] = 1
    except (TypeError, ValueError) as error:
        return type(error).__name__
    return "written"


MAKERS: list[Callable[[int], Any]] = [
    np.zeros,
    bytearray,
    lambda n: array.array("d", bytes(8 * n)),
    lambda n: memoryview(bytearray(n)),
    lambda n: np.zeros((4, n // 4), order="F")[0],
]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("make", MAKERS)
def test_a_buffer_is_read_only_whatever_its_size(make: Callable[[int], Any], size: int) -> None:
    buffer = make(size)
    assert ray.get(ray.remote(refuse).remote(buffer)) != "written"
    assert buffer[0] == 0


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("make", MAKERS)
def test_whoever_writes_is_told_what_to_say(make: Callable[[int], Any], size: int) -> None:
    with pytest.raises((TypeError, ValueError), match=HINT):
        ray.get(ray.remote(write).remote(make(size)))


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("writable", [True, ["a"], [0], ("a",)])
def test_writable_gives_a_private_copy(make: Callable[[int], Any], size: int, writable: Any) -> None:
    buffer = make(size)
    returned = ray.get(ray.remote(writable=writable)(set_first).remote(buffer))
    assert (returned[0], len(returned), buffer[0]) == (9, len(buffer), 0)
    by_name = ray.get(ray.remote(writable=writable if writable != [0] else ["a"])(set_first).remote(value=3, a=buffer))
    assert (by_name[0], buffer[0]) == (3, 0)


def test_a_copy_of_what_is_in_the_store_leaves_it_alone() -> None:
    stored = ray.put(np.zeros(LARGE))
    task = ray.remote(writable=["a"])(set_first)
    assert [ray.get(ref)[0] for ref in (task.remote(stored, 1), task.remote(stored, 2))] == [1, 2]
    assert ray.get(stored)[0] == 0


def test_a_copy_keeps_type_shape_and_order() -> None:
    @ray.remote(writable=["a"])
    def describe(a: Any) -> Any:
        return type(a).__name__, a.shape, a.dtype.str, a.flags.f_contiguous, a.flags.owndata, a.flags.writeable

    fortran = np.zeros((3, 4), np.float32, order="F")
    assert ray.get(describe.remote(fortran)) == ("ndarray", (3, 4), "<f4", True, True, True)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("make", MAKERS)
def test_inout_returns_what_was_written(make: Callable[[int], Any], size: int) -> None:
    buffer = make(size)
    for options, call in (({"inout": ["a"]}, (buffer,)), ({"inout": [0]}, (buffer, 9))):
        written = ray.get(ray.remote(**options)(write).remote(*call))
        assert type(written) is type(buffer)
        assert (written[0], written[1], len(written), buffer[0]) == (9, 0, len(buffer), 0)


def test_inout_next_to_a_value_and_to_other_buffers() -> None:
    def fill(a: Any, b: Any, value: Any = None) -> Any:
        a[:] = b[:] = bytes(len(a))
        a[0], b[0] = 1, 2
        return value

    def call(*args: Any, **options: Any) -> Any:
        return ray.get(ray.remote(**options)(fill).remote(bytearray(2), bytearray(2), *args))

    first, second = bytearray(b"\1\0"), bytearray(b"\2\0")
    assert call(inout=["a", "b"]) == (None, first, second)
    assert call("v", inout=["b", "a"]) == ("v", second, first)
    assert call("v", inout=["b"], writable=["a"]) == ("v", second)
    assert call(inout=["b"], writable=True) == second
    assert call("v", inout=[0, 1], num_returns=3) == ["v", first, second]


def test_methods_say_it_too() -> None:
    class Filler:
        @ray.method(inout=["a"])
        def fill(self, a: Any) -> None:
            a[:] = 7

        @ray.method(writable=["a"])
        def total(self, a: Any) -> Any:
            a[:] = 1
            return a.sum()

        def write(self, a: Any) -> None:
            a[:] = 1

    class AsyncFiller:
        @ray.method(inout=["a"])
        async def fill(self, a: Any) -> None:
            a[:] = 7

    for kind in (Filler, AsyncFiller):
        actor = ray.remote(kind).remote()
        assert ray.get(actor.fill.remote(np.zeros(2))).tolist() == [7, 7]
    actor = ray.remote(Filler).remote()  # type: ignore[assignment]
    assert ray.get(actor.total.remote(np.zeros(3))) == 3
    with pytest.raises(ValueError, match=r"read-only.*@ray\.method|(?s:read-only.*@ray\.method)"):
        ray.get(actor.write.remote(np.zeros(3)))
    assert ray.get(actor.write.options(writable=True).remote(np.zeros(3))) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"writable": ["b"]}, r"'b', which is not a parameter of write\(\); it has 'a', 'value'"),
        ({"inout": [2]}, r"2, which is not a parameter of write\(\)"),
        ({"inout": [-1]}, "-1, which is not a parameter"),
        ({"inout": ["a"], "num_returns": 0}, "no place for them"),
    ],
)
def test_options_that_cannot_be_are_refused_when_they_are_written(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ray.remote(**options)(write)


def test_inout_of_a_stream_is_refused() -> None:
    def items(a: Any) -> Iterator[Any]:
        yield a

    with pytest.raises(ValueError, match="Use writable="):
        ray.remote(inout=["a"])(items)
    stream = ray.remote(writable=["a"])(items).remote(bytearray(b"ab"))
    assert [ray.get(ref) for ref in stream] == [bytearray(b"ab")]


def test_what_is_no_buffer_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="'a', which is of type int, not a buffer"):
        ray.get(ray.remote(writable=["a"])(write).remote(1))
    with pytest.raises(ValueError, match=r"'value', which write\(\) was not given"):
        ray.get(ray.remote(writable=["value"])(write).remote(bytearray(1)))


class Frame:
    """As a DataFrame: arrays in an object."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns
        self.first = next(iter(columns.values()))


def fill(frame: Frame) -> Any:
    frame.first[:] = 7
    return frame


def mixed(size: int) -> Frame:
    return Frame(
        {"a": np.zeros(size), "b": np.zeros((2, size), order="F"), "c": np.array([None, "x"]), "d": [ray.put(1)]}
    )


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("by_reference", [False, True])
def test_what_has_arrays_inside_can_be_written_too(size: int, by_reference: bool) -> None:
    frame = mixed(size)
    given: Any = ray.put(frame) if by_reference else frame
    with pytest.raises(ValueError, match=HINT):
        ray.get(ray.remote(fill).remote(given))
    back = ray.get(ray.remote(writable=["frame"])(fill).remote(given))
    assert (back.columns["a"] == 7).all()
    assert back.columns["b"].flags.f_contiguous
    assert list(back.columns["c"]) == [None, "x"]
    assert ray.get(back.columns["d"]) == [1]
    assert not frame.first.any()
    if by_reference:
        assert not ray.get(given).first.any()


def test_inout_returns_what_has_arrays_inside() -> None:
    @ray.remote(inout=["frame"])
    def fill_in_place(frame: Frame) -> None:
        frame.first[:] = 7

    assert (ray.get(fill_in_place.remote(mixed(SMALL))).first == 7).all()

    @ray.remote(writable=True)
    def all_of_them(pair: list[Any], named: dict[str, Any], text: str) -> float:
        pair[0][0] = named["x"][0] = 2
        return float(pair[1][0] + named["x"][0])

    array = np.zeros(3)
    assert ray.get(all_of_them.remote([array, array], {"x": np.ones(2)}, "text")) == 4  # One array, twice, stays one.
