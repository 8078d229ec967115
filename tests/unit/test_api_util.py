"""``ray.util``, on an engine in this process."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import functools
import io
import threading
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import util
from jupyter_ray.api import logs
from jupyter_ray.util import helpers
from jupyter_ray.util.queue import Empty, Full, Queue
from tests.fakes import FakeEngine


@ray.remote
class Worker:
    def double(self, x: int) -> int:
        if x < 0:
            raise ValueError("negative")
        return 2 * x


def double(actor: Any, x: int) -> Any:
    return actor.double.remote(x)


@pytest.fixture
def pool(engine: FakeEngine) -> Any:
    return util.ActorPool([Worker.remote(), Worker.remote()])


def test_a_pool_maps(pool: Any) -> None:
    assert list(pool.map(double, range(5))) == [0, 2, 4, 6, 8]
    assert sorted(pool.map_unordered(double, range(5))) == [0, 2, 4, 6, 8]
    assert not pool.has_next()
    with pytest.raises(StopIteration):
        pool.get_next()
    with pytest.raises(StopIteration):
        pool.get_next_unordered()


def test_a_pool_survives_errors(pool: Any) -> None:
    for value in (1, -1, 2):
        pool.submit(double, value)
    assert pool.get_next() == 2
    with pytest.raises(ValueError, match="negative"):
        pool.get_next()
    assert pool.get_next() == 4
    assert pool.has_free()


def test_a_pool_times_out(pool: Any, engine: FakeEngine) -> None:
    engine.hold()
    pool.submit(double, 1)
    for take in (pool.get_next, pool.get_next_unordered):
        with pytest.raises(TimeoutError):
            take(timeout=0)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0, ignore_if_timedout=True)
    assert not pool.has_next()


def test_actors_come_and_go(pool: Any) -> None:
    actor = pool.pop_idle()
    assert pool.pop_idle() is not None
    assert pool.pop_idle() is None
    pool.submit(double, 4)
    assert not pool.has_next()
    pool.push(actor)
    assert pool.get_next() == 8
    with pytest.raises(ValueError, match="already belongs"):
        pool.push(actor)


def test_order_matters_for_a_pool(pool: Any) -> None:
    pool.submit(double, 1)
    pool.submit(double, 2)
    taken = pool.get_next_unordered()
    assert taken in (2, 4)
    pool.submit(double, 3)
    assert len({taken, *(pool.get_next_unordered() for _ in range(2))}) == 3


def test_a_queue(engine: FakeEngine) -> None:
    queue = Queue(maxsize=2)
    queue.put(1)
    queue.put_nowait(2)
    assert (len(queue), queue.full(), queue.empty()) == (2, True, False)
    with pytest.raises(Full):
        queue.put(3, block=False)
    with pytest.raises(Full):
        queue.put_nowait_batch([3])
    assert queue.get() == 1
    assert queue.get_nowait_batch(1) == [2]
    with pytest.raises(Empty):
        queue.get_nowait()
    with pytest.raises(Empty):
        queue.get_nowait_batch(1)
    queue.put_nowait_batch([1, 2])
    assert [queue.get_nowait(), queue.get(timeout=1)] == [1, 2]
    for wrong in (lambda: queue.put(1, timeout=-1), lambda: queue.get(timeout=-1)):
        with pytest.raises(ValueError, match="non-negative"):
            wrong()


def test_serializability(engine: FakeEngine) -> None:
    lock = threading.Lock()

    def f() -> Any:
        return lock

    report = io.StringIO()
    fine, failures = util.inspect_serializability(f, name="f", print_file=report)
    assert not fine
    assert [(failure.name, failure.obj) for failure in failures] == [("lock", lock)]
    assert "lock" in report.getvalue()
    assert util.inspect_serializability(len, print_file=report) == (True, set())


def test_serializability_of_classes(engine: FakeEngine) -> None:
    """Special methods, static ones and properties have closures as others do, and decorated functions two."""
    lock, other, third = (threading.Lock() for _ in range(3))

    class Holder:
        def __init__(self) -> None:
            self.lock = lock

        @staticmethod
        def other() -> Any:
            return other

        @property
        def third(self) -> Any:
            return third

    def locked(function: Any) -> Any:
        @functools.wraps(function)
        def call() -> Any:
            with lock:
                return function()

        return call

    _, failures = util.inspect_serializability(Holder, name="Holder", print_file=io.StringIO())
    assert {failure.path[:2] for failure in failures} == {
        ("Holder", "__init__"),
        ("Holder", "other"),
        ("Holder", "third"),
    }
    assert {failure.obj for failure in failures} == {lock, other, third}
    _, failures = util.inspect_serializability(locked(int), print_file=io.StringIO())
    assert {failure.obj for failure in failures} == {lock}


def test_serializers(engine: FakeEngine) -> None:
    class Box:
        def __init__(self, x: int) -> None:
            self.x = x
            self.lock = threading.Lock()

    util.register_serializer(Box, serializer=lambda box: box.x, deserializer=Box)
    assert ray.get(ray.put(Box(3))).x == 3
    util.deregister_serializer(Box)
    util.deregister_serializer(Box)
    with pytest.raises(TypeError):
        ray.put(Box(3))


def test_named_actors(engine: FakeEngine) -> None:
    engine.process.namespace = "n"
    kept = [Worker.options(name="a").remote(), Worker.options(name="b", namespace="m").remote()]
    assert util.list_named_actors() == ["a"]
    assert util.list_named_actors(all_namespaces=True) == [
        {"name": "a", "namespace": "n"},
        {"name": "b", "namespace": "m"},
    ]
    assert len(kept) == 2


def test_as_completed_and_map_unordered(engine: FakeEngine) -> None:
    @ray.remote
    def f(x: int) -> int:
        return x

    assert sorted(util.as_completed([f.remote(n) for n in range(25)])) == list(range(25))
    assert sorted(util.map_unordered(f, range(25), backpressure_size=10, chunk_size=5)) == list(range(25))
    assert sorted(util.map_unordered(f, range(5), backpressure_size=1, chunk_size=2)) == list(range(5))
    with pytest.raises(ValueError, match="backpressure_size must be positive"):
        list(util.map_unordered(f, range(5), backpressure_size=0))
    refs = list(util.as_completed([f.remote(1)], yield_obj_refs=True))
    assert ray.get(refs) == [1]


def test_log_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "_logged", {})
    monkeypatch.setattr(helpers, "_log_once_off", False)
    assert [util.log_once("k"), util.log_once("k"), util.log_once("other")] == [True, False, True]
    util.disable_log_once_globally()
    assert not util.log_once("new")
    assert all(getattr(util, name) is not None for name in util.__all__)


def test_the_clouds_id_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_CLOUD_INSTANCE_ID", raising=False)
    assert ray.util.get_node_instance_id() == ""
    monkeypatch.setenv("RAY_CLOUD_INSTANCE_ID", "i-1234")
    assert ray.util.get_node_instance_id() == "i-1234"


def test_the_debugger_stops_at_the_line_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[str] = []
    monkeypatch.setattr("pdb.Pdb.set_trace", lambda self, frame=None, **more: stops.append(frame.f_code.co_name))
    ray.util.pdb.set_trace()
    logs.pause(False)  # Nobody types "continue".
    assert stops == ["test_the_debugger_stops_at_the_line_of_the_call"]
