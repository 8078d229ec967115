"""Signatures: what a call may pass, checked as Python would."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jupyter_ray.api.parameters import Parameters, read


def plain(a: int, b: int = 2) -> None: ...


def named_only(a: int, *, b: int, c: int = 3) -> None: ...


def open_ended(a: int, /, b: int = 2, *rest: int, **more: int) -> None: ...


def positional(a: int, b: int, /) -> None: ...


class Plain:
    def __init__(self, a: int, b: int = 2) -> None: ...


FUNCTIONS: list[Any] = [plain, named_only, open_ended, positional, functools.partial(plain, 1), Plain, len]


@settings(deadline=None)
@example(open_ended, [], {"a": 0})
@given(
    st.sampled_from(FUNCTIONS[:4]),
    st.lists(st.integers(), max_size=4),
    st.dictionaries(st.sampled_from("abcdx"), st.integers(), max_size=3),
)
def test_it_accepts_what_python_accepts(function: Any, args: list[int], kwargs: dict[str, int]) -> None:
    parameters = read(function)
    try:
        function(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError, match=r"^f\(\) "):
            parameters.check("f", args, kwargs)
    else:
        parameters.check("f", args, kwargs)
    fast = not kwargs and parameters.least <= len(args) <= parameters.most
    if fast:  # The fast path of a call checks nothing else.
        function(*args)


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"c": 3}, "got an unexpected keyword argument 'c'"),
        ((1,), {"a": 3}, "multiple values for argument 'a'"),
    ],
)
def test_the_texts_are_pythons(args: tuple[int, ...], kwargs: dict[str, int], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        read(plain).check("plain", args, kwargs)


def test_a_method_that_is_a_remote_function_gets_no_object() -> None:
    with pytest.raises(TypeError, match=r"missing a required argument: 'a' \(A remote function gets no self: pass"):
        read(Plain.__init__).check("Plain.__init__", (1,), {})


def test_an_unreadable_signature_is_not_checked() -> None:
    parameters = read(dict.fromkeys)
    read(min).check("min", (1, 2, 3), {"anything": 1})
    assert Parameters(None).most > 1000
    assert parameters.least >= 0


def test_classes_and_partials() -> None:
    assert read(Plain).names == ["a", "b"]
    read(functools.partial(plain, 1)).check("p", (), {})
    with pytest.raises(TypeError):
        read(Plain).check("Plain", (), {})
    assert read(Plain.__init__, drop_first=True).names == ["a", "b"]


def test_it_travels_without_defaults() -> None:
    def function(a: int, b: Any = lambda: None) -> None: ...

    parameters = pickle.loads(pickle.dumps(read(function)))
    assert parameters.names == ["a", "b"]
    assert (parameters.least, parameters.most) == (1, 2)


def test_a_decorator_may_take_other_arguments_than_what_it_wraps() -> None:
    """`functools.wraps` shows the wrapped function's signature; Python calls the wrapper (Ray refuses it)."""

    def retried(function: Any) -> Any:
        @functools.wraps(function)
        def call(*args: Any, attempts: int = 3, **kwargs: Any) -> Any:
            return attempts, function(*args, **kwargs)

        return call

    def strict(function: Any) -> Any:
        @functools.wraps(function)
        def call(a: int) -> Any:
            return function(a, 0)

        return call

    parameters = pickle.loads(pickle.dumps(read(retried(plain))))
    parameters.check("plain", (1,), {"attempts": 2})
    assert parameters.names == read(plain).names
    read(strict(lambda a, b: (a, b))).check("strict", (1,), {})
    with pytest.raises(TypeError, match="too many"):
        read(strict(plain)).check("strict", (1, 2, 3, 4, 5), {})
    assert read(retried(Plain.__init__), drop_first=True).names == ["a", "b"]
