"""``ray.util.metrics``: what it records, and how strictly it checks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import jupyter_ray as ray
from jupyter_ray.util.metrics import Counter, Gauge, Histogram

pytestmark = pytest.mark.usefixtures("cluster")


def test_what_is_recorded() -> None:
    counter = Counter("requests", description="calls", tag_keys=("route", "code"))
    counter.set_default_tags({"code": "200"})
    counter.inc(tags={"route": "a"})
    counter.inc(2, {"route": "a", "code": "200"})
    counter.inc(tags={"route": "b", "code": "500", "unknown": "let pass"})
    assert counter.values == {("a", "200"): 3.0, ("b", "500"): 1.0}
    gauge = Gauge("temperature")
    gauge.set(3)
    gauge.set(-1.5)
    assert gauge.values == {(): -1.5}
    histogram = Histogram("latency", boundaries=[1, 10])
    for value in (0.5, 1, 5, 50):
        histogram.observe(value)
    assert histogram.values == {(): [2, 1, 1]}


def test_info() -> None:
    histogram = Histogram("h", "what", boundaries=[0.1, 2], tag_keys=("a",)).set_default_tags({"a": "1"})
    assert histogram.info == {
        "name": "h",
        "description": "what",
        "tag_keys": ("a",),
        "default_tags": {"a": "1"},
        "boundaries": [0.1, 2],
    }


def test_metrics_travel() -> None:
    counter = Counter("c", tag_keys=("a",)).set_default_tags({"a": "x"})

    @ray.remote
    def f() -> dict[tuple[str, ...], float]:
        counter.inc(5)
        return counter.values

    assert ray.get(f.remote()) == {("x",): 5.0}
    assert counter.values == {}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Counter(""), ValueError, "Empty name"),
        (lambda: Counter(1), TypeError, "str"),  # type: ignore[arg-type]
        (lambda: Counter("a", tag_keys=["x"]), TypeError, "tuple"),  # type: ignore[arg-type]
        (lambda: Counter("a", tag_keys=(1,)), TypeError, "str"),  # type: ignore[arg-type]
        (lambda: Counter("a").inc(0), ValueError, ">0"),
        (lambda: Counter("a").inc(-1), ValueError, ">0"),
        (lambda: Counter("a").inc("1"), TypeError, "int or float"),  # type: ignore[arg-type]
        (lambda: Counter("a", tag_keys=("x",)).inc(), ValueError, r"Missing value for tag key\(s\): x"),
        (lambda: Counter("a", tag_keys=("x",)).inc(tags={"y": "1"}), ValueError, r"Missing value for tag key\(s\): x"),
        (lambda: Counter("a", tag_keys=("x",)).inc(tags={"x": 1}), TypeError, "str"),  # type: ignore[dict-item]
        (lambda: Counter("a").set_default_tags({"x": "1"}), ValueError, "Unrecognized"),
        (lambda: Gauge("a").set("hot"), TypeError, "int or float"),  # type: ignore[arg-type]
        (lambda: Histogram("a"), ValueError, "boundaries"),
        (lambda: Histogram("a", boundaries=[0, 1]), ValueError, "greater than 0"),
    ],
)
def test_what_is_refused(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_name_that_could_not_be_exported_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="Invalid metric name: a b"):
        counter = Counter("a b")
    counter.inc()
    assert counter.values == {(): 1.0}
    with pytest.warns(FutureWarning, match="a:b contains a : character"):
        Counter("a:b")
