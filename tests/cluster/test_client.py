"""Through Ray Client, from outside of the cluster: what is its own there. The contract runs through it too."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import copy
import importlib
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray import events as ev
from jupyter_ray.engine import registry
from jupyter_ray.engine.base import InitOptions
from jupyter_ray.exceptions import RaySystemError
from tests.cluster.conftest import Join
from tests.cluster.nodes import Cluster
from tests.contract.helpers import Log, eventually

pytestmark = pytest.mark.usefixtures("session")


@ray.remote
def double(value: int) -> int:
    return 2 * value


@ray.remote
def numbers(count: int) -> Iterator[int]:
    yield from range(count)


@ray.remote
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> int:
        self.value += 1
        return self.value


def test_references_are_ray_clients_own() -> None:
    import ray as native

    ref = double.remote(21)
    assert isinstance(ref, native.ObjectRef)
    assert isinstance(ref, ray.ObjectRef)
    assert native.get(ref) == 42
    theirs = native.put(4)
    assert ray.get([theirs, double.remote(theirs)]) == [4, 8]
    [inside] = ray.get(ray.put([ref]))
    assert type(inside) is type(ref)
    assert ray.get(inside) == 42


def test_what_a_function_refers_to_goes_with_its_code() -> None:
    counter, ref = Counter.remote(), ray.put(7)

    @ray.remote
    def both() -> list[int]:
        return ray.get([counter.inc.remote(), ref])

    assert ray.get(both.remote()) == [1, 7]
    assert ray.get(both.remote()) == [2, 7]


def test_remote_functions_pass_through_the_server() -> None:
    @ray.remote
    def call(function: Any) -> Any:
        return function, ray.get(function.remote(4))

    function, value = ray.get(call.remote(double))
    assert value == 8
    assert ray.get(function.remote(5)) == 10


def test_streams_wait_and_are_let_go(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    @ray.remote
    def slow() -> Iterator[int]:
        yield 1
        while not gate.exists():
            time.sleep(0.01)
        yield 2

    stream = slow.remote()
    assert ray.get(next(stream)) == 1
    assert stream._next_sync(0.1).is_nil()  # Not lost: the next question gets it.
    gate.touch()
    assert ray.get(next(stream)) == 2
    eventually(stream.is_finished)
    assert list(stream) == []
    engine: Any = registry.current()
    held = numbers.remote(3)
    assert ray.get(next(held)) == 0
    task = held.task_id().binary()
    del held
    with pytest.raises(KeyError):
        eventually(lambda: engine.ask_relay("look", task) and False, 10)


def test_the_panel_sees_the_cluster_and_not_the_relay() -> None:
    @ray.remote
    def parent(handle: Any) -> int:
        print("in the cluster")
        return int(ray.get(handle.inc.remote()))

    with Log() as log:
        [ready] = eventually(lambda: log.find(ev.RuntimeReady))
        assert len(ready.nodes) == 3
        counter = Counter.remote()
        actor = counter._actor_id.hex()
        ref = parent.remote(counter)
        assert ray.get(ref) == 1
        task = ref.task_id().hex()
        eventually(lambda: log.find(ev.TaskFinished, task=task))
        [called] = eventually(
            lambda: [each for each in log.find(ev.TaskSubmitted, actor=actor) if each.kind == "method"]
        )
        assert called.parent == task
        eventually(lambda: log.find(ev.HandleDropped, actor=actor, holder=task))
        eventually(lambda: log.find(ev.ActorAlive, actor=actor))
        eventually(lambda: [each for each in log.find(ev.LogLines) if "in the cluster" in each.text])
        assert {each.class_name for each in log.find(ev.ActorCreated)} == {"Counter"}
    assert "Counter is alive" in ray.why(counter)
    assert ray.why(ref) == "It is ready."


def test_what_the_relay_tells_is_one_value() -> None:
    """Ray Client's server asks of all that a value holds whether it is a reference: 2,000 tasks took it seconds."""
    engine: Any = registry.current()
    for method, args in (("ask", ("nodes", {})), ("ask", ("tasks", {})), ("hear", (0.0,))):
        assert type(engine.ask_relay(method, *args)) is bytes
    assert len(engine.state.nodes()) == 3


def test_references_and_handles_are_pickled_by_hand() -> None:
    ref, counter = double.remote(21), Counter.remote()
    dumped = pickle.dumps([ref, counter])

    @ray.remote
    def there() -> list[int]:
        found, handle = pickle.loads(dumped)
        return ray.get([found, handle.inc.remote()])

    assert ray.get(there.remote()) == [42, 1]
    for found, handle in (pickle.loads(dumped), copy.deepcopy([ref, counter])):
        assert (type(found), found) == (type(ref), ref)
        assert ray.get(found) == 42
        assert handle == counter
    assert ray.get(handle.inc.remote()) == 2


def test_a_session_says_where_it_is(ray_cluster: Cluster) -> None:
    engine: Any = registry.current()
    assert engine.address == ray.get_runtime_context().gcs_address == ray_cluster.client_address


def _servers() -> list[psutil.Process]:
    """Return the processes that Ray Client's server has started for sessions."""
    return [each for each in psutil.process_iter() if "--mode=specific-server" in _command(each)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # It has ended.
        return []


def test_a_connection_that_is_gone_is_told(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing starts a cluster of this machine's own, as the first use of Ray does where there is no connection."""
    ray.shutdown()
    monkeypatch.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "1")
    before = {each.pid for each in _servers()}
    join()
    [server] = [each for each in _servers() if each.pid not in before]
    counter = Counter.remote()
    ready, waiting = double.remote(1), ray.remote(lambda: time.sleep(600)).remote()
    assert ray.get([ready, counter.inc.remote()]) == [2, 1]
    future = waiting.future()
    over = pytest.raises(RaySystemError, match=r"session has ended.*ray\.init")
    with Log() as log:
        eventually(lambda: log.find(ev.RuntimeReady))
        server.kill()
        with over:
            ray.get(waiting, timeout=100)
        with over:
            future.result(timeout=100)
        asked: list[Callable[[], Any]] = [
            lambda: ray.get(ready),
            lambda: ray.put(1),
            lambda: ray.wait([waiting]),
            lambda: double.remote(1),
            ray.nodes,
            ray.cluster_resources,
            lambda: ray.why(waiting),
            lambda: ray.cancel(waiting),
            lambda: ray.get(counter.inc.remote()),
            lambda: ray.kill(counter),
            lambda: ray.get_actor("a name"),
        ]
        for ask in asked:
            with over:
                ask()
        eventually(lambda: [each for each in log.find(ev.RuntimeStopped) if not each.expected], 60)
    import ray as native

    assert not native.is_initialized()
    ray.shutdown()
    monkeypatch.undo()
    join()
    assert ray.get(double.remote(4)) == 8


def test_a_head_node_without_this_package(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_ray.ray_cluster import client

    ray.shutdown()
    with monkeypatch.context() as patched:
        patched.setattr(client._HandsOn, "__reduce__", lambda self: (importlib.import_module, ("not_there_at_all",)))
        with pytest.raises(ConnectionError, match="pip install jupyter-ray"):
            join()
        assert not ray.is_initialized()
    join()


class Builder:
    """Stands for Ray's: its first connections fail."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.connected = False

    def _init_args(self, **options: Any) -> None:
        pass

    def connect(self) -> None:
        if self._failures:
            raise self._failures.pop(0)
        self.connected = True


_DISCONNECTED = "Request can't be sent because the Ray client has already been disconnected due to an error."


@pytest.mark.parametrize("failure", [ConnectionAbortedError("Initialization failure"), ConnectionError(_DISCONNECTED)])
def test_a_server_that_gives_up_a_connection_as_it_begins_is_asked_again(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_ray.ray_cluster import joining

    builder = Builder(failure, failure)
    monkeypatch.setattr(joining.ray, "client", lambda *args, **options: builder)
    joining._connect_client("ray://127.0.0.1:1", InitOptions(), {})
    assert builder.connected


def test_a_server_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_ray.ray_cluster import joining

    builder = Builder(ConnectionError("ray client connection timeout"))
    monkeypatch.setattr(joining.ray, "client", lambda *args, **options: builder)
    with pytest.raises(ConnectionError, match="timeout"):
        joining._connect_client("ray://127.0.0.1:1", InitOptions(), {})
    assert not builder.connected


def test_sessions_follow_each_other(join: Join) -> None:
    stale = ray.put(1)
    waiting = ray.remote(lambda: time.sleep(600)).remote().future()
    ray.shutdown()
    with pytest.raises(ray.exceptions.RaySystemError, match="session has ended"):
        waiting.result(timeout=30)
    join()
    with pytest.raises(ray.exceptions.RaySystemError):
        ray.get(stale)
    assert ray.get(double.remote(4)) == 8
