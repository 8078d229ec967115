"""``ray.util.multiprocessing.Pool``."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import pickle
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.util import pool_workers
from jupyter_ray.util.multiprocessing import Pool, TimeoutError
from jupyter_ray.util.multiprocessing.pool import PoolTaskError
from jupyter_ray.util.state import list_actors
from tests.contract.helpers import eventually, is_running
from tests.interrupting import interrupted

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def pool(cluster: Any) -> Iterator[Pool]:
    with Pool(3) as pool:
        yield pool


BASE, CALLS = 0, 0
FILLED: dict[str, str] = {}


class Odd(Exception):
    pass


def square(x: int) -> int:
    return x * x


def picky(x: int) -> int:
    if x % 2:
        raise Odd(x)
    return x


def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.01)
    return path


def test_apply(pool: Pool) -> None:
    def f(a: int, b: int = 0) -> tuple[int, int, int]:
        return a, b, os.getpid()

    assert pool.apply(f, (1,), {"b": 2})[:2] == (1, 2)
    assert pool.apply(f, [3])[2] != os.getpid()
    result = pool.apply_async(f, (4,))
    assert result.get(timeout=30)[0] == 4
    assert result.ready()
    assert result.successful()


def test_apply_raises_what_the_function_raised(pool: Pool) -> None:
    with pytest.raises(Odd) as caught:
        pool.apply(picky, (3,))
    assert caught.value.args == (3,)
    assert "in picky" in str(caught.value.__cause__)
    result = pool.apply_async(picky, (5,))
    result.wait(30)
    assert not result.successful()


def test_errors_that_do_not_pickle_arrive_as_text(pool: Pool) -> None:
    def f() -> None:
        error = ValueError("with a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    with pytest.raises(ray.exceptions.RayTaskError, match="with a lock"):
        pool.apply(f)


@pytest.mark.parametrize("chunksize", [None, 1, 7, 100, 2.5])
def test_map_keeps_the_order(pool: Pool, chunksize: float | None) -> None:
    assert pool.map(square, range(50), chunksize) == [x * x for x in range(50)]
    assert pool.map(square, iter(range(5)), chunksize) == [0, 1, 4, 9, 16]
    assert pool.map(square, [], chunksize) == []
    with pytest.raises(Odd, match="1"):
        pool.map(picky, range(6), chunksize)


def test_starmap(pool: Pool) -> None:
    assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
    assert pool.starmap_async(max, zip(range(4), [9, 0, 9, 0], strict=True)).get() == [9, 1, 9, 3]


@pytest.mark.parametrize("chunksize", [1, 3, 6 / 2])
def test_imap_gives_errors_as_values(pool: Pool, chunksize: float) -> None:
    found = list(pool.imap(picky, range(10), chunksize))
    assert found[::2] == [0, 2, 4, 6, 8]
    assert all(type(error) is PoolTaskError for error in found[1::2])
    raised = [error.underlying for error in found[1::2]]
    assert [(type(error), error.args) for error in raised] == [(Odd, (x,)) for x in (1, 3, 5, 7, 9)]
    assert "in picky" in str(raised[0].__cause__)
    unordered = list(pool.imap_unordered(picky, range(10), chunksize))
    assert sorted(x for x in unordered if not isinstance(x, PoolTaskError)) == [0, 2, 4, 6, 8]
    assert len(unordered) == 10


def test_imap_reads_its_input_as_results_are_taken(pool: Pool) -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    assert list(itertools.islice(pool.imap(square, numbers()), 5)) == [0, 1, 4, 9, 16]
    assert len(read) < 20


def test_imap_unordered_does_not_wait_for_the_slow_one(pool: Pool, tmp_path: Path) -> None:
    gate = tmp_path / "open"

    def f(x: int) -> int:
        if x == 0:
            wait_for(str(gate))
        return x

    results = pool.imap_unordered(f, range(6))
    assert sorted(next(results) for _ in range(5)) == [1, 2, 3, 4, 5]
    with pytest.raises(TimeoutError):
        results.next(timeout=0)
    gate.touch()
    assert results.next(timeout=30) == 0
    with pytest.raises(StopIteration):
        results.next()


def test_a_timer_that_has_not_quite_ended_keeps_nobody_waiting(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    class Late(threading.Timer):
        """On a busy machine its thread loses the processor just there."""

        def run(self) -> None:
            super().run()
            over.wait(120)

    def f(call: tuple[Path, int]) -> int:
        gate, x = call
        if x == 0:
            wait_for(str(gate))
        return x

    monkeypatch.setattr(threading, "Timer", Late)
    gates = [tmp_path / str(number) for number in range(5)]  # The first calls take longer than the timer.
    try:
        for gate in gates:
            results = pool.imap_unordered(f, [(gate, x) for x in range(6)])
            assert sorted(results.next(timeout=30) for _ in range(5)) == [1, 2, 3, 4, 5]
            gate.touch()
            assert results.next(timeout=30) == 0
    finally:
        for gate in gates:
            gate.touch()
        over.set()


def test_processes_take_turns(pool: Pool, tmp_path: Path) -> None:
    gate = tmp_path / "open"

    def f(x: int) -> int:
        (tmp_path / str(os.getpid())).touch()
        wait_for(str(gate))
        return os.getpid()

    result = pool.map_async(f, range(6), chunksize=1)
    eventually(lambda: len(list(tmp_path.iterdir())) == 3)
    gate.touch()
    assert len(set(result.get(timeout=30)[:3])) == 3


def test_timeouts(pool: Pool, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    result = pool.apply_async(wait_for, (str(gate),))
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.01)
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    gate.touch()
    assert result.get() == str(gate)


def test_callbacks(pool: Pool) -> None:
    got: list[Any] = []
    results = [
        pool.apply_async(square, (3,), callback=got.append, error_callback=pytest.fail),
        pool.map_async(square, [1, 2], callback=got.append),
        pool.map_async(picky, [2, 3], callback=pytest.fail, error_callback=got.append),
        pool.map_async(square, [], callback=got.append),
    ]
    for result in results:
        result.wait(30)
    (error,) = (value for value in got if isinstance(value, PoolTaskError))
    assert (type(error.underlying), error.underlying.args) == (Odd, (3,))
    assert sorted(str(value) for value in got if value is not error) == ["9", "[1, 4]", "[]"]


def test_what_the_function_did_not_raise_is_no_error_of_a_task(pool: Pool) -> None:
    died = list(pool.imap(os._exit, [1]))
    assert isinstance(died[0], ray.exceptions.RayActorError)
    got: list[Any] = []
    pool.apply_async(os._exit, (1,), error_callback=got.append).wait(30)
    assert isinstance(got[0], ray.exceptions.RayActorError)


def test_a_process_that_dies_is_replaced(pool: Pool) -> None:
    with pytest.raises(ray.exceptions.RayActorError):
        pool.apply(os._exit, (1,))
    assert pool.map(square, range(12), 1) == [x * x for x in range(12)]


def test_unpicklable_arguments(pool: Pool) -> None:
    with pytest.raises(TypeError, match="lock"):
        pool.apply(square, (threading.Lock(),))
    assert pool.apply(square, (2,)) == 4


def test_the_initializer_runs_in_each_process() -> None:
    def initialize(word: str) -> None:
        os.environ["POOL_WORD"] = word

    def read(_: int) -> tuple[int, str | None]:
        return os.getpid(), os.environ.get("POOL_WORD")

    with Pool(2, initializer=initialize, initargs=("hello",)) as pool:
        assert {word for _, word in pool.map(read, range(20), 1)} == {"hello"}
    with pytest.raises(ray.exceptions.RayActorError, match="ZeroDivisionError"):
        Pool(1, initializer=lambda: 1 // 0)


def test_what_the_initializer_and_earlier_calls_set_is_there_for_later_ones() -> None:
    """As in a process that `multiprocessing` has started; in Ray each function has globals of its own."""

    def initialize(base: int) -> None:
        global BASE
        BASE = base
        FILLED["by"] = "the initializer"

    def add(x: int) -> tuple[int, str, int]:
        global CALLS
        CALLS += 1
        return BASE + x, FILLED["by"], CALLS

    def calls(_: int) -> int:
        return CALLS

    with Pool(1, initializer=initialize, initargs=(10,)) as pool:
        assert pool.map(add, range(2), 1) == [(10, "the initializer", 1), (11, "the initializer", 2)]
        assert pool.map(functools.partial(add), [5]) == [(15, "the initializer", 3)]
        assert pool.apply(calls, (0,)) == 3
    assert (BASE, FILLED, CALLS) == (0, {}, 0)


def test_an_error_names_its_process_and_shows_the_frames_of_the_function(pool: Pool) -> None:
    with pytest.raises(Odd) as caught:
        pool.apply(picky, (3,))
    told = str(caught.value.__cause__)
    assert re.match(r"ray::picky\(\) \(pid=[1-9]", told)
    assert "pool_workers" not in told


def test_processes_are_replaced_after_so_many_batches() -> None:
    def pid(_: int) -> int:
        return os.getpid()

    with Pool(2, maxtasksperchild=1) as pool:
        assert len(set(pool.map(pid, range(6), 1))) == 6
    with Pool(2, maxtasksperchild=2) as pool:
        pids = pool.map(pid, range(6), 1)
        assert max(map(pids.count, pids)) <= 2


def test_processes_that_have_left_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_workers, "_LEAVING", 3)
    with Pool(1, maxtasksperchild=1) as pool:
        pool.map(square, range(8), 1)
        eventually(lambda: pool.apply(square, (1,)) and len(pool._workers._leaving) <= 4)


def test_close_and_join(tmp_path: Path) -> None:
    gate = tmp_path / "open"
    pool = Pool(2)
    pids = set(pool.map(lambda _: os.getpid(), range(20), 1))
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    result = pool.map_async(wait_for, [str(gate)] * 4, 1)
    pool.close()
    for call in (lambda: pool.apply(square, (1,)), lambda: pool.map(square, [1]), lambda: pool.imap(square, [1])):
        with pytest.raises(ValueError, match="not running"):
            call()
    gate.touch()
    pool.join()
    assert result.get(timeout=0) == [str(gate)] * 4
    eventually(lambda: not any(map(is_running, pids)))


def all_there(results: Any) -> bool:
    """Whether all is done that was submitted, and the pool has seen that."""
    workers = results._on_end.__self__
    done = results._taken + len(results._arrived) == results._submitted
    return done and workers._inbox.empty() and not any(worker.batch for worker in workers._workers)


@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
def test_a_closed_pool_lives_until_its_iterators_are_read(name: str) -> None:
    pool = Pool(2)
    pids = set(pool.map(lambda _: os.getpid(), range(20), 1))
    results = getattr(pool, name)(square, range(30))
    pool.close()
    eventually(lambda: all_there(results))
    assert sorted(results) == [x * x for x in range(30)]
    pool.join()
    eventually(lambda: not any(map(is_running, pids)))


@pytest.mark.parametrize("how", ["drops", "joins"])
def test_a_closed_pool_ends_if_an_iterator_is_not_read(how: str) -> None:
    pool = Pool(2)
    pids = set(pool.map(lambda _: os.getpid(), range(20), 1))
    results: Any = pool.imap(square, itertools.count())
    assert next(results) == 0
    pool.close()
    if how == "drops":
        del results
    pool.join()
    eventually(lambda: not any(map(is_running, pids)))
    if how == "joins":  # What it has yet to submit is too late.
        found = list(itertools.islice(results, 10))
        assert found[0] == 1
        assert isinstance(found[-1], ray.exceptions.RayError)


def test_what_is_made_as_the_pool_is_terminated_fails(tmp_path: Path) -> None:
    """Another thread has looked whether the pool is there right before that."""
    pool = Pool(2)
    results = pool.imap(square, range(30))
    pool.terminate()
    assert len([each for each in results if isinstance(each, ray.exceptions.RayError)]) >= 26
    pool._closed = False
    late = [pool.apply_async(square, (1,)), pool.map_async(square, range(3))]
    for result in late:
        with pytest.raises(ray.exceptions.RayError, match="had ended"):
            result.get(timeout=30)


def test_terminate_ends_what_runs(tmp_path: Path) -> None:
    pool = Pool(2)
    pid = pool.apply(os.getpid)
    results = [pool.apply_async(wait_for, (str(tmp_path / "never"),)) for _ in range(5)]
    pool.terminate()
    pool.join()
    for result in results:
        with pytest.raises(ray.exceptions.RayError, match="terminated"):
            result.get(timeout=30)
    eventually(lambda: not is_running(pid))


def test_a_pool_that_nobody_has_ends() -> None:
    pid = Pool(1).apply(os.getpid)
    eventually(lambda: not is_running(pid))
    assert Pool(1).map_async(square, range(9), 1).get(timeout=60) == [x * x for x in range(9)]


def test_a_pool_inside_a_task() -> None:
    @ray.remote
    def f() -> list[int]:
        with Pool(2) as pool:
            return pool.map(square, range(5))

    assert ray.get([f.remote() for _ in range(5)]) == [[0, 1, 4, 9, 16]] * 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pool(0), "at least 1"),
        (lambda: Pool(100), "only 4 CPUs"),
        (lambda: Pool(1, maxtasksperchild=0), "positive"),
        (lambda: Pool(1, ray_remote_args={"nonsense": 1}), "nonsense"),
    ],
)
def test_bad_arguments(make: Callable[[], Pool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_pools_do_not_travel(pool: Pool) -> None:
    with pytest.raises(NotImplementedError, match="pickled"):
        pickle.dumps(pool)
    with pytest.raises(ValueError, match="1\\+"):
        pool.map(square, [1], 0)


def test_options_of_the_processes() -> None:
    def held() -> dict[str, float]:
        return ray.get_runtime_context().get_assigned_resources()

    with Pool(2, ray_remote_args={"num_cpus": 1}) as pool:
        assert pool.apply(held) == {"CPU": 1.0}
        assert ray.available_resources()["CPU"] == 2.0
    eventually(lambda: ray.available_resources().get("CPU") == 4.0)


@pytest.mark.local_only("about the local engine's bookkeeping; on a cluster Ray's own code is interrupted")
def test_an_interrupt_leaves_no_thread_and_no_process() -> None:
    def act() -> object:
        pool = Pool(1)
        return pool, pool.map(square, [1, 2], 1), list(pool.imap(square, [3]))

    def threads() -> int:
        return sum(thread.name == "pool" for thread in threading.enumerate())

    def actors() -> int:
        return len(list_actors(filters=[("state", "!=", "DEAD")]))

    before = threads(), actors()
    for where in interrupted(act, 97):
        assert eventually(lambda: (threads(), actors()) == before), where


def test_a_join_that_was_interrupted_joins_again(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def wait() -> None:
        while not gate.exists():
            time.sleep(0.01)

    pool = Pool(1)
    result = pool.apply_async(wait)
    pool.close()
    strike = threading.Timer(0.2, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    strike.start()
    with pytest.raises(KeyboardInterrupt):
        pool.join()
    strike.join()
    assert not result.ready()
    gate.touch()
    pool.join()
    assert result.ready()
