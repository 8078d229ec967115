"""What programs use of Ray's `experimental`: where objects are, and values by key."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray._private.internal_api import memory_summary
from jupyter_ray._private.test_utils import check_spilled_mb
from jupyter_ray.experimental import get_local_object_locations, get_object_locations, internal_kv
from tests.contract.helpers import eventually

MIB = 1024**2


@pytest.mark.not_through_client("Ray does not tell a client where objects are")
def test_where_objects_are(start: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="init"):
        get_object_locations([])
    start()
    here = ray.get_runtime_context().get_node_id()
    gate = tmp_path / "gate"

    @ray.remote
    def wait() -> None:
        eventually(gate.exists)

    @ray.remote
    def large() -> Any:
        return np.ones(3 * MIB, dtype=np.uint8)

    @ray.remote
    def stream() -> Iterator[Any]:
        for _ in range(2):
            yield np.ones(MIB, dtype=np.uint8)

    assert get_object_locations([]) == {}
    small, pending, array = ray.put("123"), wait.remote(), large.remote()
    ray.wait([array])
    found = get_object_locations([small, pending, array])
    assert list(found) == [small, pending, array]
    assert found[pending] == {"node_ids": [], "object_size": None, "did_spill": False}
    assert found[small]["node_ids"] == [here]
    assert found[small]["object_size"] > 3
    assert found[array]["node_ids"], "also where it was fetched to"
    assert found[array]["object_size"] >= 3 * MIB
    assert not found[array]["did_spill"]
    for item in stream.remote():
        assert get_local_object_locations([item])[item]["object_size"] >= MIB
    gate.touch()
    ray.get(pending)
    assert get_object_locations([pending])[pending]["object_size"] > 0


@pytest.mark.local_only("the store belongs to the nodes, and Ray does not check its argument")
def test_an_object_on_disk_is_here_too(start: Callable[..., Any]) -> None:
    start(object_store_memory=80 * MIB)
    here = ray.get_runtime_context().get_node_id()
    refs = [ray.put(np.ones(30 * MIB, dtype=np.uint8)) for _ in range(5)]
    eventually(lambda: get_object_locations(refs)[refs[0]]["did_spill"])
    found = get_object_locations(refs)
    assert all(each["node_ids"] == [here] for each in found.values())
    assert not found[refs[-1]]["did_spill"]
    with pytest.raises(TypeError, match="list of ObjectRefs"):
        get_object_locations([1])  # type: ignore[list-item]


@pytest.mark.local_only("the store belongs to the nodes, and Ray spills in its own order")
def test_how_much_went_to_disk(start: Callable[..., Any]) -> None:
    start(object_store_memory=80 * MIB)
    check_spilled_mb(None)
    refs = [ray.put(np.ones(30 * MIB, dtype=np.uint8)) for _ in range(5)]
    check_spilled_mb(None, spilled=90)
    told = memory_summary(stats_only=True)
    assert "Plasma memory usage 60 MiB, 2 objects, 75.0% full, 75.0% needed" in told
    assert "Spilled 90 MiB, 3 objects" in told
    del refs
    large = ray.put(np.ones(100 * MIB, dtype=np.uint8))
    check_spilled_mb(None, spilled=[60, 90], fallback=100)
    assert ray.get(large).nbytes == 100 * MIB
    with pytest.raises(RuntimeError, match="condition"):
        check_spilled_mb(None, fallback=100)


def test_values_by_key(start: Callable[..., Any]) -> None:
    assert not internal_kv._internal_kv_initialized()
    with pytest.raises(ray.exceptions.RaySystemError, match="has not been started"):
        internal_kv._internal_kv_get("a")
    start()
    space = f"test {ray.get_runtime_context().get_job_id()}"

    @ray.remote
    def worker() -> Any:
        put = internal_kv._internal_kv_put("from a task", "1", namespace=space)
        return internal_kv._internal_kv_initialized(), put, internal_kv._internal_kv_get(b"a", namespace=space)

    assert internal_kv._internal_kv_initialized()
    assert internal_kv._internal_kv_get("a", namespace=space) is None
    assert internal_kv._internal_kv_put("a", "1", namespace=space) is False
    assert internal_kv._internal_kv_put("a", b"2", namespace=space) is True
    assert internal_kv._internal_kv_get("a", namespace=space) == b"2"
    assert internal_kv._internal_kv_put("a", "3", False, namespace=space) is True
    assert ray.get(worker.remote()) == (True, False, b"2")
    assert internal_kv._internal_kv_exists("from a task", namespace=space)
    assert not internal_kv._internal_kv_exists("from a task")
    internal_kv._internal_kv_put("ab", "", namespace=space)
    assert sorted(internal_kv._internal_kv_list("a", namespace=space)) == [b"a", b"ab"]
    assert internal_kv._internal_kv_del("a", namespace=space) == 1
    assert internal_kv._internal_kv_del("a", namespace=space) == 0
    internal_kv._internal_kv_put("ac", "1", namespace=space)
    assert internal_kv._internal_kv_del("a", del_by_prefix=True, namespace=space) == 2
    assert internal_kv._internal_kv_list("", namespace=space) == [b"from a task"]
    with pytest.raises(AssertionError):
        internal_kv._internal_kv_put("a", 1, namespace=space)  # type: ignore[arg-type]
    internal_kv._internal_kv_del("from a task", namespace=space)


def test_no_key_looks_like_that_of_a_namespace(start: Callable[..., Any]) -> None:
    start()
    for ask in (
        lambda: internal_kv._internal_kv_put("@namespace_a", "1"),
        lambda: internal_kv._internal_kv_get(b"@namespace_a", namespace="test"),
        lambda: internal_kv._internal_kv_exists("@namespace_a"),
        lambda: internal_kv._internal_kv_del("@namespace_", del_by_prefix=True),
        lambda: internal_kv._internal_kv_list("@namespace_"),
    ):
        with pytest.raises(ray.exceptions.RaySystemError, match="@namespace_"):
            ask()


@pytest.mark.local_only("Ray records call sites only where RAY_record_ref_creation_sites was set for the cluster")
def test_a_reference_knows_its_line(start: Callable[..., Any]) -> None:
    start()

    @ray.remote
    def f() -> int:
        return 1

    made = f.remote()
    ray.get(made)
    assert made.call_site().endswith("in test_a_reference_knows_its_line")
    assert __file__ in made.call_site()
    assert ray.ObjectRef.from_random().call_site() == ""


def test_resources_cannot_be_changed() -> None:
    with pytest.raises(DeprecationWarning, match="disk cannot be changed any more"):
        ray.experimental.set_resource("disk", 1)


@pytest.mark.parametrize(
    ("module", "name"),
    [("api", "list_tasks"), ("common", "ListApiOptions"), ("exception", "RayStateApiException")],
)
def test_the_state_api_has_its_old_name_too(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = f"jupyter_ray.experimental.state.{module}"
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match="import it from jupyter_ray.util.state"):
        found = importlib.import_module(old)
    now = importlib.import_module("jupyter_ray.util.state" + ("" if module == "api" else f".{module}"))
    assert getattr(found, name) is getattr(now, name)
