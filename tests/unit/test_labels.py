"""What a well-formed label is, and a well-formed condition on one."""

from __future__ import annotations

from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray._private.label_utils import parse_node_labels_string
from jupyter_ray.labels import matches, wrong_fallback, wrong_key, wrong_selector, wrong_value


@pytest.mark.parametrize(
    "key", ["zone", "ray.io/accelerator-type", "a", "a" * 63, "A_b.c-9", "/a", "a_b/c", ".a/b", "a..b/c"]
)
def test_names(key: str) -> None:
    assert wrong_key(key) is None


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("", "name"),
        ("-zone", "name"),
        ("zone-", "name"),
        ("a" * 64, "name"),
        (3, "name"),
        ("no!domain/zone", "prefix"),
        ("a" * 64 + "/a", "prefix"),
    ],
)
def test_wrong_names(key: Any, part: str) -> None:
    assert f"Invalid label key {part}" in str(wrong_key(key))


def test_values() -> None:
    assert wrong_value("") is None
    assert wrong_value("us-west") is None
    for value in ("_a", "a-", "@", "a" * 64, 3):
        assert "Invalid label key value" in str(wrong_value(value))


@pytest.mark.parametrize(
    "condition", ["spot", "!GPU", "in(A123, B456,C789)", "!in(spot, on-demand)", "(a)", "!(a,b)", "", None]
)
def test_conditions(condition: str | None) -> None:
    assert wrong_selector("label_selector", {"zone": condition}) is None


@pytest.mark.parametrize(
    "condition", ["-spot", "spot_", "in()", "in(spot,", "in(H100, TPU!GPU)", "!!in(a)", "a" * 64, 3]
)
def test_wrong_conditions_are_refused_where_they_are_written(condition: Any) -> None:
    selector = {"zone": condition}
    says = "Invalid label selector value|must be a list of string dictionary label selectors: .*3"
    for write in (
        lambda: ray.remote(label_selector=selector)(len),
        lambda: ray.remote(len).options(label_selector=selector),
        lambda: ray.remote(fallback_strategy=[{"label_selector": selector}])(dict),
        lambda: ray.util.placement_group([{"CPU": 1}], bundle_label_selector=[selector]),
    ):
        with pytest.raises(ValueError, match=says):
            write()
    with pytest.raises(ValueError, match="Invalid label key prefix"):
        ray.remote(label_selector={"!/zone": "a"})(len)


def test_alternatives() -> None:
    assert wrong_fallback("fallback_strategy", [{"label_selector": {"zone": "a"}}]) is None
    assert "Empty dictionary" in str(wrong_fallback("fallback_strategy", [{}]))
    assert "Unsupported option found: 'memory'" in str(wrong_fallback("fallback_strategy", [{"memory": "5m"}]))
    assert "dictionary" in str(wrong_fallback("fallback_strategy", ["a"]))
    assert "must be a dictionary" in str(wrong_fallback("fallback_strategy", [{"label_selector": "a"}]))
    assert wrong_fallback("fallback_strategy", [{"label_selector": None}]) is None


def test_labels_written_as_on_a_command_line() -> None:
    assert parse_node_labels_string('"zone=a, b=c"') == {"zone": "a", "b": "c"}
    assert parse_node_labels_string("") == {}


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("north", True),
        ("south", False),
        ("!south", True),
        ("!north", False),
        ("in(south, north)", True),
        ("in(south,east)", False),
        ("!in(south, east)", True),
        ("!in(north)", False),
        ("", False),
        (None, False),
    ],
)
def test_what_a_condition_accepts(condition: str | None, met: bool) -> None:
    assert matches({"region": condition}, {"region": "north", "zone": ""}) is met
    assert matches({"zone": "", "region": condition}, {"region": "north", "zone": ""}) is met


@pytest.mark.parametrize(("condition", "met"), [("a", False), ("in(a, b)", False), ("!a", True), ("!in(a, b)", True)])
def test_a_label_that_is_not_there_meets_what_excludes_alone(condition: str, met: bool) -> None:
    assert matches({"zone": condition}, {}) is met
    assert matches(None, {})
    assert matches({}, {"zone": "a"})
