"""What libraries and tests take from Ray's inside: small functions with the behaviour that their names promise."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray._common import retry, signature
from jupyter_ray._private import (
    async_compat,
    auto_init_hook,
    client_mode_hook,
    inspect_util,
    label_utils,
    profiling,
    ray_constants,
    ray_microbenchmark_helpers,
    utils,
)
from jupyter_ray._version import RAY_VERSION, commit, version
from jupyter_ray.engine import registry
from jupyter_ray.util import annotations as marks
from jupyter_ray.util.serialization import StandaloneSerializationContext
from tests.fakes import FakeEngine


def call(a: int, b: int = 2, *args: int, c: int = 3, **others: int) -> None: ...


class Methods:
    def plain(self, x: int) -> None: ...

    @classmethod
    def of_class(cls, x: int) -> None: ...

    @staticmethod
    def static(x: int) -> None: ...


class Derived(Methods):
    pass


def names(function: Any, *, ignore_first: bool = False) -> list[str]:
    return [each.name for each in signature.extract_signature(function, ignore_first=ignore_first)]


def test_parameters() -> None:
    assert names(call) == ["a", "b", "args", "c", "others"]
    assert names(Methods.plain, ignore_first=True) == ["x"]
    assert str(signature.get_signature(lambda x, *, y=1: None)) == "(x, *, y=1)"
    with pytest.raises(ValueError, match="must take its instance"):
        signature.extract_signature(lambda: None, ignore_first=True)
    with pytest.raises(TypeError, match="not a callable"):
        signature.extract_signature(3)


def test_arguments_as_one_list_and_back() -> None:
    dummy = signature.DUMMY_TYPE
    parameters = signature.extract_signature(call)
    flat = signature.flatten_args(parameters, (1, 2, 5), {"c": 4, "z": 6})
    assert flat == [dummy, 1, dummy, 2, dummy, 5, "c", 4, "z", 6]
    assert signature.recover_args(flat) == ([1, 2, 5], {"c": 4, "z": 6})
    assert signature.recover_args([]) == ([], {})
    signature.validate_args(parameters, (1,), {})
    with pytest.raises(AssertionError, match="even"):
        signature.recover_args([1])


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2), {"b": 3}, "multiple values for argument 'b'"),
    ],
)
def test_arguments_that_do_not_fit(args: tuple[Any, ...], kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        signature.flatten_args(signature.extract_signature(call), args, kwargs)


class Flaky:
    """It succeeds at its `wanted`-th call."""

    __name__ = "flaky"

    def __init__(self, wanted: int, error: type[BaseException] = ValueError) -> None:
        self.wanted = wanted
        self.error = error
        self.calls = 0

    def __call__(self, prefix: str = "", *, suffix: str = "") -> str:
        self.calls += 1
        if self.calls < self.wanted:
            raise self.error("try again")
        return f"{prefix}{self.calls}{suffix}"


def test_a_call_that_is_tried_again() -> None:
    assert retry.call_with_retry(Flaky(3), "count", None, 3, 0, "no. ", suffix="!") == "no. 3!"
    assert retry.call_with_retry(Flaky(2), "count", ["tr.*n"], max_backoff_s=0) == "2"
    again = retry.retry("count", ["ValueError"], max_attempts=3, max_backoff_s=0)(Flaky(3))
    assert (again.__name__, again()) == ("flaky", "3")


@pytest.mark.parametrize(
    ("flaky", "match", "calls"),
    [
        (Flaky(9), None, 3),
        (Flaky(9), ["something else"], 1),
        (Flaky(9), [], 1),
        (Flaky(9, KeyboardInterrupt), None, 1),
    ],
)
def test_a_call_that_fails_for_good(flaky: Flaky, match: list[str] | None, calls: int) -> None:
    with pytest.raises(flaky.error, match="try again"):
        retry.call_with_retry(flaky, "count", match, 3, 0)
    assert flaky.calls == calls


def test_pauses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with pytest.raises(ValueError, match="try again"):
        retry.call_with_retry(Flaky(99), "count", None, 10, 4)
    assert len(pauses) == 9
    assert all(0 <= pause <= min(2**attempt, 4) for attempt, pause in enumerate(pauses))
    with pytest.raises(AssertionError, match="at least 1"):
        retry.call_with_retry(Flaky(1), "count", None, 0)


def test_what_an_error_says_and_matches() -> None:
    error = ValueError("x")
    error.__cause__ = KeyError("k")
    assert retry.format_exception(error) == "ValueError: x"
    assert retry.format_exception(error, include_cause=True) == "ValueError: x KeyError: 'k'"
    cases = [("a.c", "abc"), ("[", "a["), ("[", "b"), ("z", "abc"), ("B", "abc")]
    assert [retry.matches_error(*case) for case in cases] == [True, True, False, False, False]


def test_what_kind_of_function() -> None:
    instance = Methods()
    functions = [call, Methods.plain, instance.plain, Methods.of_class, Methods.static, lambda: 0]
    assert all(map(inspect_util.is_function_or_method, functions))
    assert not any(map(inspect_util.is_function_or_method, [len, Methods, instance, functools.partial(call)]))
    assert [inspect_util.is_class_method(each) for each in functions] == [False, False, True, True, False, False]
    for kind in (Methods, Derived):
        found = [inspect_util.is_static_method(kind, name) for name in ("static", "of_class", "plain", "absent")]
        assert found == [True, False, False, False]
    assert not any(map(inspect_util.is_cython, functions))


def test_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels.yaml"
    file.write_text("zone: west\nray.io/x: y\n", encoding="utf-8")
    assert label_utils.parse_node_labels_json('{"zone": "west"}') == {"zone": "west"}
    assert label_utils.parse_node_labels_string(" zone = west ,empty=") == {"zone": "west", "empty": ""}
    assert label_utils.parse_node_labels_string("") == {}
    assert label_utils.parse_node_labels_from_yaml_file(str(file)) == {"zone": "west", "ray.io/x": "y"}
    assert label_utils.parse_node_labels_from_yaml_file("") == {}
    assert label_utils.validate_label_key("a.b/c") is None
    assert "a b" in str(label_utils.validate_label_key("a b"))
    for condition in ("a", "!a", "in(a, b)", "!in(a,b)", ""):
        assert label_utils.validate_label_selector_value(condition) is None
        assert label_utils.validate_label_selector({"zone": condition}) is None
        assert label_utils.validate_fallback_strategy([{"label_selector": {"zone": condition}}]) is None
    for condition in ("a b", "!", "in()", "in(a"):
        assert condition in str(label_utils.validate_label_selector_value(condition))
    assert "mpty" in str(label_utils.validate_fallback_strategy([{}]))


@pytest.mark.parametrize(
    "use",
    [
        lambda: label_utils.parse_node_labels_json("[1]"),
        lambda: label_utils.parse_node_labels_json('{"zone": 1}'),
        lambda: label_utils.parse_node_labels_json('{"ray.io/zone": "west"}'),
        lambda: label_utils.parse_node_labels_string("zone"),
        lambda: label_utils.parse_node_labels_string("zone=a=b"),
        lambda: label_utils.validate_label_value("a b"),
        lambda: label_utils.validate_node_label_syntax({"a b": "c"}),
    ],
)
def test_labels_that_are_wrong(use: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"label|Labels"):
        use()


def test_small_things_of_utils(caplog: pytest.LogCaptureFixture) -> None:
    assert utils.split_address("ray://host:10001") == ("ray", "host:10001")
    assert utils.split_address("my_module://a://b") == ("my_module", "a://b")
    with pytest.raises(ValueError, match="://"):
        utils.split_address("host:10001")
    group = "4482dec0faaf5ead891ff1659a9501000000"
    told: dict[str, float] = {
        f"CPU_group_{group}": 1,
        f"CPU_group_0_{group}": 1,
        f"bundle_group_0_{group}": 1000,
        "memory": 3,
    }
    assert utils.parse_pg_formatted_resources_to_original(told) == {"CPU": 1, "memory": 3}
    utils.try_import_each_module(["json", "no_such_module"])
    assert "no_such_module" in caplog.text
    name = utils.get_current_node_cpu_model_name()
    assert name is None or name.strip()
    assert (version, commit) == (RAY_VERSION, "")
    with StandaloneSerializationContext():
        assert ray.cloudpickle.loads(ray.cloudpickle.dumps([1])) == [1]


def test_hooks_change_nothing_but_the_start_of_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")
    ray.shutdown()
    for hook in (client_mode_hook.client_mode_hook, auto_init_hook.wrap_auto_init):
        hooked = hook(lambda x: x + 1)
        assert hooked(1) == 2
    assert not ray.is_initialized()
    with client_mode_hook.disable_client_hook():
        assert not client_mode_hook.client_mode_should_convert()
    with pytest.raises(AttributeError, match="is not offered"):
        client_mode_hook.nothing_of_this_name  # noqa: B018


def test_spans_are_told_where_the_user_asks_for_them(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "PROFILING_ENABLED", False)
    with profiling.profile("load", extra_data={"a": "b"}) as span:
        assert span is None
    assert engine.calls == []
    monkeypatch.setattr(profiling, "PROFILING_ENABLED", True)
    with profiling.profile("load", extra_data={"a": "b"}) as span:
        assert span is None
    assert engine.calls == [("span", "load", {"a": "b"})]
    with pytest.raises(KeyError), profiling.profile("failing"):
        raise KeyError("k")
    _, name, extra = engine.calls[-1]
    assert (name, extra["type"], extra["value"], "KeyError: 'k'" in extra["traceback"]) == (
        "failing",
        "<class 'KeyError'>",
        "'k'",
        True,
    )
    registry.set_current(None)
    with profiling.profile("no session"):
        pass
    assert engine.calls[-1][1] == "failing"


def test_synchronous_functions_as_asynchronous_ones() -> None:
    async def own() -> int:
        return 3

    made = async_compat.sync_to_async(lambda x: x + 1)
    assert inspect.iscoroutinefunction(made)
    assert asyncio.run(made(1)) == 2
    assert async_compat.sync_to_async(own) is own


@pytest.mark.parametrize("asynchronous", [False, True])
def test_how_often_a_second(
    asynchronous: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_microbenchmark_helpers, "_ROUNDS", (0.01, 0.01))
    calls: list[int] = []

    async def later() -> None:
        calls.append(1)

    def measured() -> Any:
        if asynchronous:
            return asyncio.run(ray_microbenchmark_helpers.asyncio_timeit("calls", later, 10, 0))
        return ray_microbenchmark_helpers.timeit("calls", lambda: calls.append(1), 10, warmup_time_sec=0)

    [(name, rate, deviation)] = measured()
    assert (name, rate > 0, deviation >= 0, len(calls) > 2) == ("calls", True, True, True)
    assert re.fullmatch(r"calls per second [\d.]+ \+- [\d.]+\n", capsys.readouterr().out)
    monkeypatch.setattr(ray_microbenchmark_helpers, "filter_pattern", "other")
    assert measured() == [None]


def test_constants_and_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ENABLE_ZERO_COPY_TORCH_TENSORS", raising=False)
    assert ray_constants.WORKER_PROCESS_TYPE_SPILL_WORKER_IDLE == "ray::IDLE_SpillWorker"
    assert ray_constants.RAY_ENABLE_ZERO_COPY_TORCH_TENSORS is False
    for text, flag, number, real in [("True", True, 7, 0.5), ("1", True, 1, 1.0), ("-2", False, -2, -2.0)]:
        monkeypatch.setenv("HERE", text)
        assert ray_constants.env_bool("HERE", not flag) is flag
        assert ray_constants.env_integer("HERE", 7) == number
        assert ray_constants.env_float("HERE", 0.5) == real
    assert ray_constants.env_bool("NOT_HERE", True)
    assert (ray_constants.env_integer("NOT_HERE", 3), ray_constants.env_float("NOT_HERE", 0.1)) == (3, 0.1)


def test_who_has_a_mark_of_its_own() -> None:
    @marks.PublicAPI
    class Base: ...

    class Unmarked(Base): ...

    @marks.DeveloperAPI
    def function() -> None: ...

    assert [marks._is_annotated(each) for each in (Base, Unmarked, function, len)] == [True, False, True, False]
    assert [marks._get_annotation_type(each) for each in (Base, Unmarked)] == ["PublicAPI", None]


@pytest.mark.parametrize("package", ["_private", "_common"])
def test_modules_are_attributes_too(package: str) -> None:
    found = importlib.import_module(f"jupyter_ray.{package}")
    assert len(found._MODULES) > 5
    for name in found._MODULES:
        assert getattr(found, name).__name__ == f"jupyter_ray.{package}.{name}"
